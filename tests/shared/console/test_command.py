"""An error of a command is one line, told as it is, and an exit status."""

from __future__ import annotations

import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from shared.checks import Duration
from shared.console.command import Verb, group, interrupted, run, run_app
from shared.console.notes import tell
from shared.errors import DataError


def command_that_raises(error: Exception) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    return app


@pytest.mark.parametrize("error", [DataError("[bold]a[/bold].csv is not there [/x]"), OSError("[red]disk[/red]")])
def test_names_in_brackets_are_names(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fail"])
    with pytest.raises(SystemExit) as stop:
        run_app(command_that_raises(error))
    said = capsys.readouterr()
    assert stop.value.code == 1
    assert (said.out, said.err.strip()) == ("", f"error: {error}")


def test_warnings_of_libraries_say_where_and_ours_do_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    def warned() -> None:
        warnings.warn_explicit("it will go", FutureWarning, "library.py", 41)
        warnings.warn_explicit("it is short", UserWarning, "ours.py", 7)

    monkeypatch.setattr("sys.argv", ["warned"])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit):
            run_app(app)
    said = " ".join(capsys.readouterr().err.split())
    assert said == "note: FutureWarning: it will go (library.py:41) note: it is short"


def test_a_note_that_comes_again_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    def telling() -> None:
        for text in ("one is short", "two is short", "one is short"):
            tell(text)
            warnings.warn_explicit("as loud", UserWarning, "ours.py", 7)  # of one file after the other

    monkeypatch.setattr("sys.argv", ["telling"])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    for _ in range(2):  # in the next run it is told anew
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            with pytest.raises(SystemExit):
                run_app(app)
        said = capsys.readouterr().err.splitlines()
        assert said == [f"note: {text}" for text in ("one is short", "as loud", "two is short", "as loud", "as loud")]


def test_a_group_lists_verbs_by_the_docstring_of_their_options() -> None:
    @dataclass(frozen=True)
    class Options:
        """Cook soup."""

    def clean() -> None:
        """Clean the pot."""

    app = group("A kitchen.", {"cook": Verb(Options, "kitchen.cook"), "clean": clean})
    listed = CliRunner().invoke(app, ["--help"]).output
    for told in ("A kitchen.", "Cook soup.", "Clean the pot."):
        assert told in listed


@dataclass(frozen=True)
class Cooking:
    """Cook soup."""

    minutes: Annotated[Duration | None, typer.Option(help="Of boiling.")] = None
    heat: Annotated[Duration, typer.Option(help="Of the plate.")] = 3.0


def test_help_names_types_as_users_know_them() -> None:
    app = group("A kitchen.", {"cook": Verb(Cooking, "kitchen.cook"), "eat": Verb(Cooking, "kitchen.eat")})
    told = CliRunner().invoke(app, ["cook", "--help"]).output
    assert "--minutes <float>" in told
    assert "--heat <float>" in told


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["", "out"], "source"),
        (["in", ""], "places"),
        (["in", "out", "--output="], "output"),
        (["in", "out", "--model", ""], "model"),
        (["in", "out", "--title", ""], None),
        ([".", "out"], None),
        (["in", ".", "--title="], None),
        (["in", "./", "--title="], None),
        (["in", "out", "--output=.", "--title="], None),
    ],
)
def test_an_empty_path_is_not_the_current_folder(
    words: list[str], refused: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def copy(
        source: Path,
        places: list[Path],
        output: Annotated[Path, typer.Option()] = Path("runs"),
        model: Annotated[str, typer.Option()] = "default",
        title: Annotated[str, typer.Option()] = "a",
    ) -> None:
        ran.append((source, places, output, model, title))

    monkeypatch.setattr("sys.argv", ["copy", *words])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with pytest.raises(SystemExit) as stop:
        run(copy, None)
    if refused is None:
        assert (stop.value.code, len(ran)) == (0, 1)
    else:
        assert (stop.value.code, ran) == (2, [])
        assert f"{refused} is '', as of a variable that is not set" in capsys.readouterr().err


@pytest.mark.parametrize(("signals", "code"), [((), 130), ((signal.SIGINT,), 130), ((signal.SIGTERM,), 143)])
def test_what_was_stopped_ends_as_the_shell_has_it_of_the_signal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, signals: tuple[int, ...], code: int
) -> None:
    def main() -> None:
        raise interrupted(KeyboardInterrupt(*signals))

    monkeypatch.setattr(sys, "argv", ["verb"])
    with pytest.raises(SystemExit) as ended:
        run(main, None)
    assert ended.value.code == code
    assert "the same command goes on" in capsys.readouterr().err
