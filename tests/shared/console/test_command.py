"""An error of a command is one line, told as it is, and an exit status."""

from __future__ import annotations

import pytest
import typer

from shared.console.command import run_app
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
