"""What commands and recipes tell goes to the right stream: only `shared/console/command.py` knows of streams."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from shared.console.command import note, prepare, run_app, show
from shared.console.progress import set_quiet
from shared.errors import ConfigError, DataError
from tests.conftest import ROOT

SOURCES = [
    path for folder in ("tsdiff/commands", "speech/commands", "recipes") for path in (ROOT / folder).glob("*.py")
]


class OwnWarning(UserWarning):
    __module__ = "speech.audio.arrays"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.parent.name}-{path.name}")
def test_results_notes_and_errors_are_told_by_show_note_and_fail(path: Path) -> None:
    source = path.read_text()
    for direct in ("console.print(", "console.status(", "\nprint(", " print(", "tqdm"):
        assert direct not in source


def run(command: Callable[[], None]) -> int:
    """The exit status of a command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["command"])
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as stopped:
            run_app(app)
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("quiet", [False, True])
def test_warnings_become_notes_and_errors_one_line(capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    def command() -> None:
        set_quiet(quiet)
        warnings.warn("it is so", stacklevel=1)
        warnings.warn("and [so]", OwnWarning, stacklevel=1)
        note("besides")
        show("a result [of two]")
        raise DataError("no such thing")

    assert run(command) == 1
    set_quiet(False)
    said = capsys.readouterr()
    assert said.out == "a result [of two]\n"
    notes = "note: it is so\nnote: and [so]\nnote: besides\n"
    assert said.err == ("" if quiet else notes) + "error: no such thing\n"


@pytest.mark.parametrize("threads", [0, -3])
def test_there_is_at_least_one_thread(threads: int) -> None:
    with pytest.raises(ConfigError, match=f"threads={threads}"):
        prepare(threads)
