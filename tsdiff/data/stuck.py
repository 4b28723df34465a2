"""Sensors that are stuck: a series that goes on with one value, which it never did before."""

from __future__ import annotations

import numpy as np

_FEWEST, _TIMES = 12, 3
"""Equal last values of a stuck sensor, at least, and how many times as many as ever were before they are more than."""
_USUAL = 0.2
"""The share of values before, zeros left out, that repeat the one before them, beyond which that is usual."""


def stuck_values(values: np.ndarray) -> int:
    """How many last known values of a series (n,), NaN where missing, are equal as if its sensor were stuck: no fewer
    than twelve, many more than were equal before, no more than came before, and of a series that hardly repeats a
    value. 0 where there are none, or where that is usual, as of counts, prices, and nights of the sun.

    Zeros are no repetitions, as of nights before a series that is stuck at another value; one that was 0 before and
    ends in zeros is over, closed or at night.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return 0
    others = np.flatnonzero(known != known[-1])
    begin = int(others[-1]) + 1 if others.size else 0
    before, count = known[:begin], len(known) - begin
    if not _FEWEST <= count <= len(before) or (known[-1] == 0 and (before == 0).any()):
        return 0
    again = (np.diff(before) == 0) & (before[1:] != 0)
    longest = int(np.diff(np.flatnonzero(~again), prepend=-1, append=len(again)).max(initial=1))
    return count if again.sum() <= _USUAL * np.count_nonzero(before) and count > _TIMES * longest else 0
