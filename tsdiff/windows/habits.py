"""Times of a season that have a new habit: zero since a few seasons and not before, or the other way round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FEWEST, _LONGER = 3, 2
"""Seasons that make a habit, and how much longer it has lasted than any stretch of it before."""
_BY_CHANCE = 0.01
"""Times of a season that would have one by chance, at most."""
_MOST_SHUT = 0.5
"""The share of the other times, of those mostly not zero, that ended in a zero up to which zeros are a habit of some:
beyond, all is shut."""


def without_old_habits(history: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """A history (n,) whose values are NaN where they are from before the time of the season took to being zero, or to
    not being so: Sundays on which a shop is open since a month. That it would go on as long by the share of those
    before alike is a chance of one in a hundred for all times together (Laplace's rule of succession). The history
    itself where there is no such time.

    Args:
        history: NaN where missing; of one that falls below 0 zeros are values as all others.
        seasons: in steps, the primary one first; of the longer ones those are looked at that are multiples of it.
    """
    if not (history == 0).any() or (history < 0).any():
        return history
    old = np.zeros(len(history), dtype=bool)
    for season in seasons:
        if season > 1 and season % seasons[0] == 0:
            old |= _old(history, season)
    return np.where(old, np.nan, history) if old.any() else history


def _old(history: np.ndarray, season: int) -> np.ndarray:
    """Where values are from before a habit of their time of one season, (n,)."""
    grid = np.concatenate([np.full(-len(history) % season, np.nan), history]).reshape(-1, season)
    known, zero, rows = np.isfinite(grid), grid == 0, np.arange(len(grid))[:, None]
    last = np.where(known, rows, -1).max(axis=0)
    ends_in_zero = (last >= 0) & zero[last, np.arange(season)]
    alike = known & (zero == ends_in_zero)
    changed = np.where(known & ~alike, rows, -1).max(axis=0)
    before, since = rows <= changed, (alike & (rows > changed)).sum(axis=0)
    seen, same = (known & before).sum(axis=0), (alike & before).sum(axis=0)
    factorials = np.concatenate([[0.0], np.log(np.arange(1, len(grid) + 2)).cumsum()])
    # The product of (same + 1 + i) / (seen + 2 + i) over the seasons i of the habit.
    chance = factorials[same + since] - factorials[same] + factorials[seen + 1] - factorials[seen + 1 + since]
    new = (changed >= 0) & (since >= _FEWEST) & (season * np.exp(chance) <= _BY_CHANCE)
    for place in np.flatnonzero(new):
        earlier = alike[: changed[place] + 1, place][known[: changed[place] + 1, place]]
        new[place] = since[place] > _LONGER * _longest(earlier)
    others = ends_in_zero[~new & (2 * zero.sum(axis=0) < known.sum(axis=0))]
    if not others.size or others.mean() > _MOST_SHUT:
        new &= ~ends_in_zero
    return (before & new).ravel()[-len(history) :]


def _longest(flags: np.ndarray) -> int:
    """The longest stretch of such flags, (n,), whose last one is not set."""
    return int(np.diff(np.flatnonzero(~flags), prepend=-1).max()) - 1
