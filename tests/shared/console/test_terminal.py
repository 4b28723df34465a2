"""shared/console/levels.py and keys.py: on a terminal, a real one, and not elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from shared.console.command import fail, note
from shared.console.keys import keys
from shared.console.levels import Meters, gauge
from shared.console.progress import set_quiet, track

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")


@pytest.fixture
def terminal() -> Iterator[tuple[int, IO[str]]]:
    """The end where somebody sits, and the end that a program has."""
    here, there = os.openpty()
    with open(there, "w") as file:
        yield here, file
    os.close(here)


def test_a_gauge_tells_its_level() -> None:
    assert gauge(0.0).endswith("-60.0 dB")
    assert gauge(1.0) == f"[{'#' * 20}]   0.0 dB"
    assert gauge(0.1) == f"[{'#' * 13}{' ' * 7}] -20.0 dB"
    assert gauge(4.0).count("#") == 20


@pytest.mark.parametrize("quiet", [False, True])
def test_meters_are_for_terminals(
    terminal: tuple[int, IO[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    elsewhere = Meters()
    elsewhere(0.5, 0.1, "enhanced")
    elsewhere.close()
    assert capsys.readouterr().err == ""
    here, there = terminal
    monkeypatch.setattr(sys, "stderr", there)
    set_quiet(quiet)
    try:
        meters = Meters()
        meters(0.5, 0.1, "enhanced")
        meters(0.9, 0.9, "too soon to be shown")
        meters.close()
    finally:
        set_quiet(False)
    there.write("end")
    there.flush()
    said = ""
    while not said.endswith("end"):
        said += os.read(here, 1000).decode()
    if quiet:
        assert said == "end"
    else:
        assert "-6.0 dB  out" in said
        assert "-20.0 dB  enhanced" in said
        assert said.endswith("\n" + "end")
        assert "too soon" not in said


def test_a_terminal_that_is_closed_is_written_to_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the work came to was lost to an "Input/output error" of its meters, or of a note."""
    here, there = os.openpty()
    done = False
    with contextlib.suppress(OSError), open(there, "w") as file:  # which fails to write the rest as it is closed
        monkeypatch.setattr(sys, "stderr", file)
        meters = Meters()
        os.close(here)
        meters(0.5, 0.1, "enhanced")
        meters.close()
        note("all of it was written")
        fail("nobody reads this")
        done = True
    assert done


def test_keys_are_heard_without_waiting(terminal: tuple[int, IO[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    import termios

    here, there = terminal
    monkeypatch.setattr(sys, "stdin", there)
    before = termios.tcgetattr(there)
    with keys() as pressed:
        assert pressed() == ""
        os.write(here, b" x ")
        assert pressed() == " x "
        assert pressed() == ""
    assert termios.tcgetattr(there) == before


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nowhere:
        monkeypatch.setattr(sys, "stdin", nowhere)
        with keys() as pressed:
            assert pressed() == ""


def test_a_program_without_a_console_has_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python sets closed streams to None."""
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stderr", None)
    meters = Meters()
    meters(0.5, 0.1, "enhanced")
    meters.close()
    with keys() as pressed:
        assert pressed() == ""
    assert list(track(range(3), "counting", "items", total=3)) == [0, 1, 2]
