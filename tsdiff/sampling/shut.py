"""Times of a season at which a series is nearly always zero, while it is not at most others, as Sundays of a shop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SEASONS_SEEN = 28
"""Seasons that tell, at most."""
_SHUT, _OPEN = 0.9, 0.5
"""Shares of zeros at such a time, at least, unless all are zero, and at all others together, at most."""
_FEWEST = 3
"""Zeros that tell where there is nothing else at such a time."""
_BY_CHANCE = 0.05
"""Times that would be zero as often as they were by the share of the others, at most."""


def shut_shares(history: np.ndarray, places: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """The share of zeros at steps, (steps,), whose time of a season is nearly always zero, and was when last seen; NaN
    at all others.

    Args:
        history: (length,), NaN where missing.
        places: (steps,) of the steps, counted from the history's end on.
        seasons: in steps, the primary one first; of the longer ones those are looked at that are multiples of it.
    """
    found = np.full(len(places), np.nan)
    for season in seasons:
        if season > 1 and season % seasons[0] == 0:
            found = np.fmax(found, _by_season(history[-_SEASONS_SEEN * season :], season)[places % season])
    return found


def _by_season(recent: np.ndarray, season: int) -> np.ndarray:
    """Those shares of the times of one season, (season,), from the history's end on, drawn to the share of all."""
    phases, known, zero = (np.arange(len(recent)) - len(recent)) % season, np.isfinite(recent), recent == 0
    count, zeros = (np.bincount(phases[flag], minlength=season) for flag in (known, zero))
    shares, last = (zeros + zeros.sum() / max(count.sum(), 1)) / (count + 1), np.full(season, np.nan)
    last[phases[known]] = recent[known]
    shut = ((shares >= _SHUT) | ((zeros == count) & (count >= _FEWEST))) & (last == 0)
    others = int(count[~shut].sum())
    share = zeros[~shut].sum() / others if others else 1.0
    shut &= (share <= _OPEN) & (season * share**count <= _BY_CHANCE)
    return np.where(shut, shares, np.nan)
