"""What the console commands share: options, help, where results, notes and errors go, the output folder.

Results go to standard output; notes, warnings, progress and errors go to standard error.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import MISSING, dataclass, fields
from functools import reduce
from importlib import import_module
from operator import or_
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from rich.console import Console, ConsoleOptions
from rich.table import Table
from typer.core import TyperCommand

from shared.checks import Count, checked
from shared.console.harmless import harmless
from shared.console.notes import Note, for_users
from shared.console.progress import is_quiet, set_quiet
from shared.console.tables import turned
from shared.errors import ConfigError, DiffusionError
from shared.files.io import UNENCODABLE, temporary_path
from shared.signals import HANGUP, ending


def _console(**settings: Any) -> Console:
    """A console that shows text as it is: names in brackets, or between colons, are no markup."""
    return Console(markup=False, emoji=False, highlight=False, **settings)


console = _console()
"""Of results."""

_aside = _console(stderr=True)

_CONTEXT = {"max_content_width": 120}
"""Help as wide as the terminal, up to this."""

_LOG_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""
_WIDEST = 10_000

_QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors: no notes, no progress.")]


def _tell_version(wanted: bool) -> None:
    if wanted:
        from shared.version import __version__

        console.print(f"anchored-diffusion {__version__}")
        raise typer.Exit


_VersionOption = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")
]


@dataclass(frozen=True)
class Verb:
    """A verb of a console command, which its help page does not load.

    Attributes:
        options: a frozen dataclass, a field an option; its docstring is the help. What it inherits stands in the help
            under the docstring of the class that it is from.
        module: whose `main` takes them.
    """

    options: type
    module: str

    def command(self, version: bool = False) -> Callable[..., None]:
        """The function for typer; with --version where it is a script of its own."""
        kinds = get_type_hints(self.options, include_extras=True)
        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=_shown(kinds[field.name]),
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
            )
            for field in fields(self.options)
        ]
        required_first = sorted(parameters, key=lambda one: one.default is not inspect.Parameter.empty)
        main: Callable[..., None] = lambda **values: import_module(self.module).main(self.options(**values))  # noqa: E731
        return _quietable(main, required_first, version)

    def page(self) -> type[TyperCommand]:
        """The command's help page: its own options, then those that it shares with others, by the class they are of."""
        place = {
            name: kind.__doc__ for kind in reversed(self.options.__mro__) for name in inspect.get_annotations(kind)
        }
        own = self.options.__doc__

        class Page(TyperCommand):
            def format_options(self, ctx: Any, formatter: Any) -> None:
                parts: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
                for option in self.get_params(ctx):
                    title = place.get(str(option.name), own)
                    if option.param_type_name == "argument":
                        title = "Arguments"
                    if (record := option.get_help_record(ctx)) is not None:
                        parts.setdefault("Options" if title == own else str(title), []).append(record)
                for title, records in parts.items():
                    if records:
                        with formatter.section(title):
                            formatter.write_dl(records)

        return Page


def _shown(kind: Any) -> Any:
    """The type of an option as typer takes it: without the bounds of one that may be None, which help would show as
    they are written here. The options themselves check them."""
    inner, *marks = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if get_origin(inner) in (Union, UnionType):
        inner = reduce(or_, (get_args(one)[0] if get_origin(one) is Annotated else one for one in get_args(inner)))
    return Annotated[(inner, *marks)] if marks else inner


def _quietable(
    call: Callable[..., None], parameters: Iterable[inspect.Parameter], version: bool
) -> Callable[..., None]:
    """A function for typer that takes --quiet besides, and --version where it is a script of its own."""

    def called(*, quiet: bool, version: bool = False, **values: Any) -> None:
        set_quiet(quiet or is_quiet())
        _refuse_unnamed(values)
        call(**values)

    added = {"quiet": _QuietOption, **({"version": _VersionOption} if version else {})}
    keyword = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(name, keyword, default=False, annotation=kind) for name, kind in added.items()]
    signature = inspect.Signature([*(one.replace(kind=keyword) for one in parameters), *more])
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return called


def _refuse_unnamed(values: Mapping[str, Any]) -> None:
    """Refuse an empty path, which would be the current folder, and an empty model, which would be the usual one: nobody
    means that by a variable that is not set.

    Raises:
        typer.BadParameter: an argument is empty, and it is one of these.
    """
    empty = any(not word or re.fullmatch("--[a-z-]+=", word) for word in sys.argv[1:])
    this = any(re.fullmatch(r"(--[a-z-]+=)?\.(/\.?)*", word) for word in sys.argv[1:])
    for name, value in values.items() if empty and not this else ():
        found = value if isinstance(value, list | tuple) else (value,)
        if Path() in found or (name == "model" and "" in found):
            raise typer.BadParameter(f"{name} is '', as of a variable that is not set; name one (. is this folder)")


def _add(app: typer.Typer, name: str | None, verb: Verb | Callable[..., None], about: str | None) -> None:
    """Make a verb, or a function whose parameters are options, a command of an application, or, nameless, all of it."""
    alone = name is None
    if isinstance(verb, Verb):
        command, page = verb.command(alone), verb.page()
    else:
        command, page = (
            _quietable(verb, inspect.signature(verb, eval_str=True).parameters.values(), alone),
            TyperCommand,
        )
    app.command(name, cls=page, help=kept_lines(about), context_settings=_CONTEXT)(command)


def show(result: str | Table) -> None:
    """A result, on standard output: a line, or a table. One that is too wide is turned, and one that then is too is not
    broken."""
    # A console keeps the COLUMNS that it was made under.
    place = console if console.is_terminal else _console(width=None if "COLUMNS" in os.environ else _LOG_WIDTH)
    if isinstance(result, Table) and (needed := place.measure(result, options=_unbounded(place)).maximum) > place.width:
        other = turned(result)
        if place.measure(other, options=_unbounded(place)).maximum <= place.width:
            result = other
        else:
            place = _console(width=needed)
    place.print(harmless(result) if isinstance(result, str) else result, soft_wrap=isinstance(result, str))


def show_lines(result: str) -> None:
    """A result of several lines, as a table of Markdown."""
    for line in result.split("\n"):
        show(line)


def _unbounded(place: Console) -> ConsoleOptions:
    """Options by which a table is measured as wide as it wants to be."""
    return place.options.update(width=_WIDEST)


def note(text: str) -> None:
    """What a user should know beside the results, on standard error; left out with --quiet."""
    if not is_quiet():
        _tell(f"note: {text}", "yellow")


def fail(text: str) -> None:
    """What went wrong, on standard error."""
    _tell(text, "red")


def _tell(text: str, style: str) -> None:
    """A line on standard error; none where that takes no more, as a terminal that was closed: the work matters more."""
    with suppress(OSError):
        _aside.print(harmless(text), style=style, soft_wrap=True)


def interrupted(stop: KeyboardInterrupt) -> typer.Exit:
    """The end of a training that was stopped, which is said: as the shell has it of the signal, 130, 143 or 129."""
    note("interrupted; the same command goes on from here")
    return typer.Exit(128 + next(iter(stop.args), signal.SIGINT))


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """A request to end (SIGTERM), or a terminal that is closed (SIGHUP), ends the block as Ctrl-C does: what is not
    finished is removed; the status is 143, or 129."""

    def stop(number: int, frame: FrameType | None) -> None:
        # another one ends it at once, but a hangup, which comes twice
        signal.signal(number, signal.SIG_IGN if number == HANGUP else signal.SIG_DFL)
        raise KeyboardInterrupt(number)

    heard = [number for number in ending() if signal.getsignal(number) == signal.SIG_DFL]
    heard = heard if current_thread() is main_thread() else []
    for number in heard:
        signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise typer.Exit(128 + next(iter(stopped.args), signal.SIGINT)) from None
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


def status(text: str) -> AbstractContextManager[Any]:
    """Tells what is going on, while it goes on, on a terminal."""
    return nullcontext() if is_quiet() or not _aside.is_terminal else _aside.status(harmless(text))


def prepare(threads: int | None) -> None:
    """What every command does before its work: sets the threads.

    Raises:
        ConfigError: fewer than one thread.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(checked(Count, **{"--threads": threads}))


def _noting() -> Callable[..., None]:
    """What shows warnings as notes; those of libraries about themselves say where. What a verb repeats of the same, as
    of forecasts of windows and then of what comes, is said once."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if not issubclass(category, Note) or str(message) not in told:
            note(str(message) if for_users(category) else f"{category.__name__}: {message} ({place[0]}:{place[1]})")
        told.add(str(message))

    return show


def run(verb: Verb | Callable[..., None], about: str | None) -> None:
    """Run one verb as a script: `about` as help, and what it raises as one line and exit status 1."""
    app = _typer()
    set_quiet(False)
    _add(app, None, verb, about)
    run_app(app)


def group(about: str, verbs: Mapping[str, Verb | Callable[..., None] | typer.Typer]) -> typer.Typer:
    """An application of several verbs by name, each a `Verb`, a function, or an application of its own."""
    app = _typer(no_args_is_help=True, help=kept_lines(about), add_completion=True)

    @app.callback()
    def options(context: typer.Context, quiet: _QuietOption = False, version: _VersionOption = False) -> None:
        set_quiet(quiet or (context.parent is not None and is_quiet()))

    for name, verb in verbs.items():
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name)
        else:
            _add(app, name, verb, inspect.getdoc(verb.options if isinstance(verb, Verb) else verb))
    return app


def run_app(app: typer.Typer) -> None:
    """Run a typer application; errors that its user can act on become one line, and warnings notes."""
    warnings.showwarning = _noting()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may hold bytes that are no text
            stream.reconfigure(errors=UNENCODABLE)
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except typer.Abort:
        fail("Aborted!")
        sys.exit(1)
    except BrokenPipeError:  # whoever read the results has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (DiffusionError, OSError) as error:
        fail(f"error: {error}")
        sys.exit(1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # of typer: what was typed is no command
            raise
        said = harmless(error.format_message())
        error.format_message = lambda: said
        error.show()  # type: ignore[attr-defined]
        sys.exit(error.exit_code)  # type: ignore[attr-defined]


def kept_lines(about: str | None) -> str | None:
    """A help text whose indented paragraphs, the examples, keep their lines."""
    return about and re.sub(r"\n\n(?=    )", "\n\n\b\n", about)


def _typer(add_completion: bool = False, **settings: Any) -> typer.Typer:
    return typer.Typer(
        add_completion=add_completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=_CONTEXT,
        **settings,
    )


def given(**options: Any) -> dict[str, Any]:
    """The options that the user gave, of those that are None where they are left out."""
    return {name: value for name, value in options.items() if value is not None}


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
