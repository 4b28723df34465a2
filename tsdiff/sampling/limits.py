"""Limits that a series shows: values that it reaches again and again and never passes, as a percentage 100, a battery
its capacity, a full room its seats, a meter its least reading."""

from __future__ import annotations

import numpy as np

_RECENT = 2000
"""Values that are looked at."""
_LEAST, _SHARE = 8, 0.01
"""How many of them are at a limit, and which share."""
_VISITS = 4
"""How many times a series has to come there: what is held for long once, such as a rate, is no limit."""
_TIMES = 4
"""How many times as often as the next value that limit is taken: whole numbers end in one that is rarer."""


def limits_of(values: np.ndarray) -> tuple[float | None, float | None]:
    """The value that a history (length,), NaN where missing, shows itself not to fall below, and the one that it does
    not rise above; None where it shows none."""
    seen = values[-_RECENT:]
    seen = seen[np.isfinite(seen)]
    low = _highest(-seen)
    return None if low is None else -low, _highest(seen)


def _highest(seen: np.ndarray) -> float | None:
    """The largest value (n,), if it is a limit."""
    if not seen.size:
        return None
    there = seen == seen.max()
    count = int(there.sum())
    if count == seen.size or count < max(_LEAST, _SHARE * seen.size):
        return None
    visits = int((there[1:] & ~there[:-1]).sum()) + int(there[0])
    following = int((seen == seen[~there].max()).sum())
    return float(seen.max()) if visits >= _VISITS and count >= _TIMES * following else None
