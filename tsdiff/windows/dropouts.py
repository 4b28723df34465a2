"""Dropouts: single zeros among values far above 0, as of a sensor that misses a reading now and then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FEWEST = 48
"""Values that have to be known."""
_HIGH, _NEAR, _BETWEEN = 0.2, 0.25, 0.25
"""The least neighbour of one, by the median of what is not zero; the share of its lower neighbour up to which a value
is near 0; and how many of these that are not 0 there are, by the dropouts, at most: of volatile series zeros are the
least of many low values."""
_STEPS = 10
"""How many steps from one value that a series takes to the next a neighbour is above 0, at least: below, as of small
counts or a calm wind, 0 is a value such as others."""
_RARE = 0.05
"""The share of values between high ones up to which they are chance of a sensor, not of the series."""
_OFTEN = 0.25
"""The share of zeros at a time of the season from which on two are a habit of it."""


def without_dropouts(history: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """A history (n,) whose single zeros are NaN, as what is missing is, where they are rare, at no certain time of a
    season, and between values far above 0, none of which is nearly as low. The history itself where there are none.

    Args:
        history: NaN where missing; of one that falls below 0 zeros are values as all others.
        seasons: in steps; those up to 1 are none.
    """
    zero = history == 0
    if not zero.any() or (history < 0).any() or np.isfinite(history).sum() < _FEWEST or not (history > 0).any():
        return history
    lower = np.full(len(history), np.nan)
    lower[1:-1] = np.minimum(history[:-2], history[2:])
    positive = history[history > 0]
    high = max(_HIGH * np.median(positive), _STEPS * np.median(np.diff(np.unique(positive), prepend=0)))
    between = (lower >= high) & np.isfinite(history)
    single = between & zero
    for season in seasons:
        single &= ~_habits(history, season)
    near = between & ~zero & (history <= _NEAR * lower)
    rare = single.sum() <= _RARE * between.sum() and near.sum() <= _BETWEEN * single.sum()
    return np.where(single, np.nan, history) if rare and single.any() else history


def _habits(history: np.ndarray, season: int) -> np.ndarray:
    """Where a history (n,) is at a time of a season that is zero often, or was the last two times."""
    if not 1 < season < len(history):
        return np.zeros(len(history), dtype=bool)
    grid = np.concatenate([np.full(-len(history) % season, np.nan), history]).reshape(-1, season)
    known, zero = np.isfinite(grid), grid == 0
    ago = known[::-1].cumsum(axis=0)[::-1]  # 1 at the last known one of each time
    often = (zero.sum(axis=0) >= np.maximum(_OFTEN * known.sum(axis=0), 2)) | ((zero & (ago <= 2)).sum(axis=0) == 2)
    return np.resize(np.roll(often, len(history) % season), len(history))
