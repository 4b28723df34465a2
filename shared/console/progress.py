"""Progress of long work: a bar on a terminal or in a notebook, a line a minute in a log, and nothing when quiet.

All of it goes to standard error, so that standard output holds results alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm.auto import tqdm
from tqdm.std import tqdm as terminal_bar

from shared.console.harmless import harmless

T = TypeVar("T")

LINE_EVERY = 60.0
"""Seconds between two lines in a log."""

_BAR = "{l_bar}{bar}| {done}/{whole}{unit} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
_LINE = "{desc}: {percentage:.0f} %, {done} of {whole}{unit} in {elapsed}, {remaining} left{postfix}"

_quiet = False


def set_quiet(quiet: bool) -> None:
    """From now on show no progress and give no notes (`shared.console.notes`), or show and give them again."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether progress, and on the command line notes, are left out."""
    return _quiet


def bar(
    total: float, description: str, unit: str, *, initial: float = 0, show: bool = True, leave: bool = True
) -> terminal_bar:
    """What shows the progress of something: a tqdm, with `update`, `set_postfix`, `close`, `n` and `total`.

    Args:
        total: how much there is; shown in whole numbers, or with one digit if it is a float below 100.
        description: what is done.
        unit: of `total`, such as "steps" or "s".
        initial: what was done before.
        show: whether to show anything.
        leave: whether a bar stays when it is closed.
    """
    if not show or _quiet or sys.stderr is None:  # closed, as of a program without a console
        return terminal_bar(total=total, initial=initial, disable=True)
    about: dict[str, Any] = {"total": total, "desc": harmless(description), "unit": f" {unit}", "initial": initial}
    if _notebook() or sys.stderr.isatty():
        return _Bar(bar_format=_BAR, mininterval=0.5, leave=leave, dynamic_ncols=True, **about)
    return _Lines(bar_format=_LINE, mininterval=LINE_EVERY, miniters=0, delay=LINE_EVERY, leave=False, **about)


def track(items: Iterable[T], description: str, unit: str, *, total: int, show: bool = True) -> Iterator[T]:
    """The items, and how many of them were taken; see `bar`."""
    with bar(total, description, unit, show=show, leave=False) as shown:
        for item in items:
            yield item
            shown.update(1)


def _notebook() -> bool:
    """Whether tqdm found a notebook, whose bars are widgets; its standard error is no terminal."""
    return any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)


class _Counted:
    """Adds `done` and `whole` to what a bar's format may name: numbers without a float's tail."""

    @property
    def format_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = super().format_dict  # type: ignore[misc]
        whole = found["total"]
        digits = 0 if isinstance(whole, int) or whole >= 100 else 1
        return {**found, "done": f"{found['n']:.{digits}f}", "whole": f"{whole:.{digits}f}"}


class _Bar(_Counted, tqdm):
    """A bar."""


class _Lines(_Counted, terminal_bar):
    """A line now and then, for logs."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if msg is None:  # otherwise tqdm clears a bar, which a line is not
            self.fp.write(f"{self}\n")
            self.fp.flush()
        return False
