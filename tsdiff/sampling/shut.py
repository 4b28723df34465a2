"""Times of a season at which a series is nearly always zero, while it is not at most others, as Sundays of a shop or
months of a beach."""

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
_MANY, _FEWEST_LONG = 20, 2
"""Short seasons that a long one has, as a year has weeks, of which single steps tell too little; and how many long ones
have to be seen in which a series was zero for a whole short one."""


def shut_shares(history: np.ndarray, places: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """The share of zeros at steps, (steps,), whose time of a season is nearly always zero. NaN at all others.

    A time of the primary season that was so up to its last n seasons, in which it was not, is so still: one may be an
    exception, and after two or more the next is zero with a chance of at most m / (m + n), where m − 1 seasons before
    were exceptions (Laplace's rule of succession). Of a season of many primary ones, as a year of weeks, the steps of
    one of these around the same time are looked at together, and have to be zero in the last two or more.

    Args:
        history: (length,), NaN where missing.
        places: (steps,) of the steps, counted from the history's end on.
        seasons: in steps, the primary one first; of the longer ones those are looked at that are multiples of it, or
            hold many.
    """
    found = np.full(len(places), np.nan)
    for season in seasons:
        if season >= _MANY * seasons[0] > _MANY:
            found = np.fmax(found, _in_long_seasons(history, places, season, seasons[0] // 2))
        if season > 1 and season % seasons[0] == 0:
            shares = _by_season(history[-_SEASONS_SEEN * season :], season, season == seasons[0])
            found = np.fmax(found, shares[places % season])
    return found


def _by_season(recent: np.ndarray, season: int, opening: bool) -> np.ndarray:
    """Those shares of the times of one season, (season,), from the history's end on, drawn to the share of all; with
    `opening` those too that were not zero at last."""
    grid = np.concatenate([np.full(-len(recent) % season, np.nan), recent]).reshape(-1, season)
    known, zero, rows = np.isfinite(grid), grid == 0, np.arange(len(grid))[:, None]
    since = rows > np.where(zero, rows, -1).max(axis=0)
    count, zeros, opened = (known & ~since).sum(axis=0), zero.sum(axis=0), (known & since).sum(axis=0)
    shares = (zeros + zeros.sum() / max(known.sum(), 1)) / (count + 1)
    shut = (zeros > 0) & ((shares >= _SHUT) | ((zeros == count) & (count >= _FEWEST)))
    others = int(known[:, ~shut].sum())
    share = zeros[~shut].sum() / others if others else 1.0
    shut &= (share <= _OPEN) & (season * share**count <= _BY_CHANCE) & (opening | (opened == 0))
    exceptions = count - zeros + 1
    share_since = np.where(opened > 1, exceptions / (exceptions + opened), 1.0)
    return np.where(shut, np.minimum(shares, share_since), np.nan)


def _in_long_seasons(history: np.ndarray, places: np.ndarray, season: int, around: int) -> np.ndarray:
    """The share of zeros, (steps,), of steps at which the last long seasons were zero, a few steps around them, too. A
    step of the history tells of itself."""
    known, zero = np.isfinite(history), history == 0
    if not zero.any():
        return np.full(len(places), np.nan)
    others, zeros = (np.append(0, np.cumsum(flag)) for flag in (known & ~zero, zero))
    seen = np.zeros(len(places), dtype=int)
    told, shut = np.zeros(len(places), dtype=int), np.ones(len(places), dtype=bool)
    for ago in range(len(history) // season + 2):
        begin = len(history) + places - ago * season - around
        end = begin + 2 * around + 1
        within = (begin >= 0) & (end <= len(history))
        begin, end = np.where(within, begin, 0), np.where(within, end, 0)
        there = zeros[end] - zeros[begin]
        shut &= ~within | (others[end] == others[begin])
        seen += shut & (there > around)
        told += np.where(shut, there, 0)
    share = float(zero.sum() / known.sum())
    certain = (seen >= _FEWEST_LONG) & (season * share**told <= _BY_CHANCE)
    return np.where(certain, (seen + 1) / (seen + 2), np.nan)
