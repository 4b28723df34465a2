"""What the console commands share: errors as one line, the output folder, files written whole."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import typer
from rich.console import Console

from shared.errors import ConfigError, DiffusionError
from shared.io import atomic_path, temporary_path

console = Console()


def run(command: Callable[..., None], about: str | None) -> None:
    """Run one command as a script: its options, `about` as help, and what it raises as one line and exit status 1."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(help=about)(command)
    run_app(app)


def run_app(app: typer.Typer) -> None:
    """Run a typer application; errors that its user can act on become one line."""
    try:
        app()
    except (DiffusionError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


def claim_output(output: Path) -> None:
    """Make the folder for the results, and see before the work whether it takes files.

    Raises:
        ConfigError: it does not.
    """
    try:
        with temporary_path(output):
            pass
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be written ({error.strerror}); choose another folder") from error


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame atomically."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g")
