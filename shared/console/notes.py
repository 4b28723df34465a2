"""What a user should know beside the results, as warnings of a kind of their own."""

from __future__ import annotations

import sys
import warnings

from shared.console.progress import is_quiet

_OWN = ("shared", "tsdiff", "speech")


class Note(UserWarning):
    """What was repaired, left out or assumed; `set_quiet(True)` silences all of them."""


def tell(text: str) -> None:
    """Warn, on behalf of the first caller outside these packages; say nothing when quiet."""
    if not is_quiet():
        warnings.warn(text, Note, stacklevel=_level() + 1)


def for_users(category: type[Warning]) -> bool:
    """Whether a warning of this kind is meant for users, and not one of a library about itself."""
    return category is UserWarning or _is_own(category.__module__)


def _level() -> int:
    """How many calls above `tell` the packages' caller is."""
    level, frame = 1, sys._getframe(2)
    while frame.f_back is not None and _is_own(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    return level


def _is_own(module: str) -> bool:
    return module.partition(".")[0] in _OWN
