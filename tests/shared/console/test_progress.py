"""What long work shows of itself, on a terminal, in a log, and when it is to be quiet."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterator

import pytest

from shared.console import progress
from shared.objectives import DiffusionLoss
from shared.predictions import Denoiser
from shared.sde import VPSDE
from shared.training.module import DiffusionModule, TrainingConfig, fit
from shared.training.monitoring import time_limit
from tests.shared.training.test_training import Net, Points, make_module

PARTS = (888.8319999999993, 0.1, 0.2, 3000.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def loud() -> Iterator[None]:
    yield
    progress.set_quiet(False)


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, pause: float = 0.0) -> str:
    """What `stream` holds after some progress."""
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.bar(7200.0, "enhancing", "s") as bar:
        for part in PARTS:
            time.sleep(pause)
            bar.update(part)
        bar.refresh()
    return stream.getvalue()


def test_a_terminal_has_a_bar_with_whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    said = shown(monkeypatch, Terminal())
    assert re.search(r"enhancing:  54%\|.*\| 3889/7200 s \[00:0\d<\d\d:\d\d, .* s/s\]", said)
    assert not re.search(r"\d\.\d{3}", said)


def test_a_log_has_whole_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.02)
    lines = shown(monkeypatch, io.StringIO(), pause=0.03).splitlines()
    assert 2 <= len(lines) <= len(PARTS) + 1
    for line in lines:
        assert re.fullmatch(r"enhancing: \d+ %, \d+ of 7200 s in \d\d:\d\d, \d\d:\d\d left", line)


def test_a_log_has_nothing_of_short_work(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress.track(range(5), "scoring", "files", total=5)) == [0, 1, 2, 3, 4]
    assert stream.getvalue() == ""


def test_items_are_counted_unless_they_are_not_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, shows in (({}, True), ({"show": False}, False)):
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(progress.track(iter("abc"), "scoring", "files", total=3, **options)) == ["a", "b", "c"]
        assert ("scoring:   0%|" in stream.getvalue()) is shows


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch, loud: None) -> None:
    progress.set_quiet(True)
    assert shown(monkeypatch, Terminal()) == ""


def test_a_limit_by_the_clock_is_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, seconds = Terminal(), 3.0
    monkeypatch.setattr(sys, "stderr", stream)
    config = TrainingConfig(max_steps=10**7, learning_rate=1e-3)
    module = DiffusionModule(Denoiser(Net(), VPSDE()), DiffusionLoss(), config)
    fit(module, Points(), callbacks=[time_limit(seconds / 60)])
    left = [60 * int(m) + int(s) for m, s in re.findall(r"<(\d+):(\d\d),", stream.getvalue())]
    assert len(left) >= 3
    assert max(left) <= seconds
    assert left[-1] <= 1
    assert "/10000000 steps" not in stream.getvalue().split("\r")[-1]


@pytest.mark.parametrize("asked", [True, False])
def test_training_shows_a_bar_when_asked_for(asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    fit(make_module(max_steps=3), Points(), progress=asked, description="learning points")
    said = stream.getvalue()
    assert ("learning points" in said and "3/3" in said) == asked
    assert bool(said) == asked
