"""What the console commands share: options, help, where results, notes and errors go, the output folder.

Results go to standard output; notes, warnings, progress and errors go to standard error.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from shared.console.progress import is_quiet, set_quiet
from shared.errors import ConfigError, DiffusionError
from shared.files.io import UNENCODABLE, atomic_path, temporary_path

if TYPE_CHECKING:
    import pandas as pd

console = Console()
"""Of results."""

_aside = Console(stderr=True)

_CONTEXT = {"max_content_width": 120}
"""Help as wide as the terminal, up to this."""

_LOG_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""

DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: a GPU where there is one.")]
_QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors: no notes, no progress.")]


def _tell_version(wanted: bool) -> None:
    if wanted:
        from shared.version import __version__

        console.print(f"anchored-diffusion {__version__}", highlight=False)
        raise typer.Exit


_VersionOption = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")
]


def show(result: str | Table) -> None:
    """A result, on standard output."""
    known = console.is_terminal or "COLUMNS" in os.environ
    place = console if known else Console(width=_LOG_WIDTH)
    place.print(result, markup=False, highlight=False, soft_wrap=isinstance(result, str))


def note(text: str) -> None:
    """What a user should know beside the results, on standard error; left out with --quiet."""
    if not is_quiet():
        _aside.print(f"note: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def fail(text: str) -> None:
    """What went wrong, on standard error."""
    _aside.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


def status(text: str) -> AbstractContextManager[Any]:
    """Tells what is going on, while it goes on, on a terminal."""
    return nullcontext() if is_quiet() or not _aside.is_terminal else _aside.status(text)


def prepare(threads: int | None) -> None:
    """What every command does before its work: sets the threads.

    Raises:
        ConfigError: fewer than one thread.
    """
    import torch

    if threads is not None:
        if threads < 1:
            raise ConfigError(f"--threads {threads}: need at least one thread")
        torch.set_num_threads(threads)


def _note_warning(message: Warning | str, category: type[Warning], *place: Any) -> None:
    """A warning as a note; those of libraries about themselves say where."""
    own = category is UserWarning or category.__module__.split(".")[0] in ("shared", "tsdiff", "speech")
    note(str(message) if own else f"{category.__name__}: {message} ({place[0]}:{place[1]})")


def run(command: Callable[..., None], about: str | None) -> None:
    """Run one command as a script: its options, `about` as help, and what it raises as one line and exit status 1."""
    app = _typer()
    set_quiet(False)
    app.command(help=kept_lines(about), context_settings=_CONTEXT)(_with_options(command, version=True))
    run_app(app)


def group(about: str, verbs: Mapping[str, Callable[..., None] | typer.Typer], short: Mapping[str, str]) -> typer.Typer:
    """An application of several verbs.

    Args:
        about: its help.
        verbs: a function, or an application of its own, by name.
        short: what the list of verbs says of each.
    """
    app = _typer(no_args_is_help=True, help=kept_lines(about))

    @app.callback()
    def options(context: typer.Context, quiet: _QuietOption = False, version: _VersionOption = False) -> None:
        set_quiet(quiet or (context.parent is not None and is_quiet()))

    for name, verb in verbs.items():
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name, short_help=short[name])
        else:
            app.command(name, short_help=short[name], help=kept_lines(verb.__doc__))(_with_options(verb))
    return app


def verbs_of(package: str, short: Mapping[str, str], named: str | None) -> dict[str, Callable[..., None] | typer.Typer]:
    """The verbs of a package of commands. Imports take seconds: where one is named, the others are not imported."""
    found: dict[str, Callable[..., None] | typer.Typer] = {}
    for name in short:
        if named not in (None, name):
            found[name] = _not_imported
            continue
        module = import_module(f"{package}.{name}")
        found[name] = module.application() if hasattr(module, "application") else module.main
    return found


def named_verb(arguments: list[str]) -> str | None:
    """The first argument that is no option."""
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _not_imported() -> None:
    """Stands for a verb that the command line does not name."""


def run_app(app: typer.Typer) -> None:
    """Run a typer application; errors that its user can act on become one line, and warnings notes."""
    warnings.showwarning = _note_warning  # type: ignore[assignment]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may hold bytes that are no text
            stream.reconfigure(errors=UNENCODABLE)
    try:
        app()
    except BrokenPipeError:  # whoever read the results has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (DiffusionError, OSError) as error:
        fail(f"error: {error}")
        sys.exit(1)


def kept_lines(about: str | None) -> str | None:
    """A help text whose indented paragraphs, the examples, keep their lines."""
    return about and re.sub(r"\n\n(?=    )", "\n\n\b\n", about)


def _typer(**settings: Any) -> typer.Typer:
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=_CONTEXT,
        **settings,
    )


def _with_options(command: Callable[..., None], version: bool = False) -> Callable[..., None]:
    """The command with --quiet, and --version where it is a script of its own."""
    own = inspect.signature(command, eval_str=True)
    added = {"quiet": _QuietOption, **({"version": _VersionOption} if version else {})}

    @wraps(command)
    def wrapped(*args: Any, quiet: bool = False, version: bool = False, **kwargs: Any) -> None:
        set_quiet(quiet or is_quiet())
        command(*args, **kwargs)

    keyword = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(name, keyword, default=False, annotation=kind) for name, kind in added.items()]
    wrapped.__signature__ = own.replace(parameters=[*own.parameters.values(), *more])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {**command.__annotations__, **added}
    return wrapped


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
        frame.to_csv(temporary, index=False, float_format="%.6g", errors=UNENCODABLE)
