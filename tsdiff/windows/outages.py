"""Zeros that tell nothing of what follows: of outages that are over, and a last one that may not be in yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FEWEST_SHUT, _MOST_SHUT, _MOSTLY, _HARDLY, _AGAIN = 3, 3, 0.5, 0.1, 0.8
"""Zeros that an outage has at least, how many are no habit, the share of zeros among the values of one, and at times of
the season that are zero anyway, that of the other values up to which zeros are rare, and that of what is known a longer
season before or after of what comes again."""
_SEASONS_SHUT = 4
"""How many seasons a series has been zero, at least, that is closed for a part of the longer one."""
_SEASONS_FULL, _FEWEST_FULL, _FULL, _TINY = 3, 12, 0.2, 1e-200
"""How many seasons and values before a last 0 tell of it, and the least of these by their median, at least, so that it
is none of them."""


def without_outages(history: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """A history (n,) whose zeros are NaN, as what is missing is, where they are of outages, a few at most, beside which
    it is hardly zero but at times of the season at which it usually is. The zeros of one lie together, as many values
    on either side are not zero, and a season of them before the first and after the last. What comes each longer
    season, as a school's holidays, is none. The history itself where there are none.

    Args:
        history: NaN where missing; of one that falls below 0 zeros are values as all others.
        seasons: in steps, the primary one and then a longer one; 0 or 1 where there is none.
    """
    season = max(seasons[0], 1)
    places = _usually_open(history, season)
    each = [run for run in _runs(places, history) if comes_each_longer_season(history, places[run], seasons)]
    places = np.delete(places, np.concatenate([*each, np.zeros(0, dtype=int)]))
    shut, runs = history[places] == 0, _runs(places, history)
    if not shut.any():
        return history
    zeros, least = np.flatnonzero(shut), max(len(np.unique(places % season)), _FEWEST_SHUT)
    before = np.diff([-1, *(run[0] for run in runs)]) - np.array([1, *(np.ptp(run) + 1 for run in runs[:-1])])
    after = np.append(before[1:], len(shut) - 1 - runs[-1][-1])
    long = [place for place, run in enumerate(runs) if len(run) >= _FEWEST_SHUT]
    if not 1 <= len(long) <= _MOST_SHUT or after[long[-1]] < least:
        return history
    while long and before[long[0]] < least:  # what has not been otherwise for a season
        long.pop(0)
    if not long:
        return history
    lasted = np.array([np.ptp(runs[place]) + 1 for place in long])
    outages = np.concatenate([runs[place] for place in long])
    apart = (np.minimum(before, after)[long] >= lasted).all() and len(outages) >= _MOSTLY * lasted.sum()
    others = (len(zeros) - len(outages) + 1) / (len(shut) - len(outages) + 2)
    return _missing(history, places[outages]) if apart and others <= _HARDLY else history


def _runs(places: np.ndarray, history: np.ndarray) -> list[np.ndarray]:
    """Which of some steps of a history (n,) are zero, those that lie together."""
    zeros = np.flatnonzero(history[places] == 0)
    return np.split(zeros, np.flatnonzero(np.diff(zeros) > _FEWEST_SHUT) + 1)


def comes_each_longer_season(history: np.ndarray, zeros: np.ndarray, seasons: Sequence[int]) -> bool:
    """Whether a run of zeros of a history (n,), at these steps (k,), comes each longer season: nearly all that is known
    one before is zero, too, or one after; not where there is none. `seasons` as in `without_outages`."""
    longer = seasons[1] if len(seasons) > 1 else 0
    if longer <= 1 or len(zeros) < _FEWEST_SHUT:
        return False
    for steps in (zeros - longer, zeros + longer):
        there = history[steps[(steps >= 0) & (steps < len(history))]]
        there = there[np.isfinite(there)]
        if 2 * len(there) >= len(zeros) and (there == 0).mean() >= _AGAIN:
            return True
    return False


def without_last_closure(history: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """A history (n,), which ends in the NaN of what is to be forecast, whose last zeros are NaN, too, where they come
    each longer season, as of a beach in winter, and the series will open again: they tell when it is closed, not how
    much comes then. The history itself otherwise. `seasons` as in `without_outages`."""
    places = np.flatnonzero(np.isfinite(history))
    positive, season, longer = np.flatnonzero(history > 0), max(seasons[0], 1), seasons[1] if len(seasons) > 1 else 0
    if not len(positive) or (history < 0).any() or longer <= 1:
        return history
    last = places[places > positive[-1]]
    before = history[max(positive[-1] + 1 - len(last), 0) : positive[-1] + 1]
    if len(last) < _SEASONS_SHUT * season or (before == 0).sum() > _MOSTLY * len(before):
        return history
    ahead = np.arange(places[-1] + 1, len(history)) - longer
    opens = (history[ahead[ahead >= 0]] > 0).any()
    return _missing(history, last) if opens and comes_each_longer_season(history, last, seasons) else history


def without_last_zero(history: np.ndarray, season: int) -> np.ndarray:
    """A history (n,) whose last value is NaN where it is a 0, the first in seasons in which none is near 0 at any time
    at which it is not usually: of a month that is not over or of what is not in yet, or the beginning of an outage. The
    history itself otherwise."""
    places = _usually_open(history, season)
    if not len(places) or history[places[-1]] != 0:
        return history
    before = history[places[:-1]][-max(_SEASONS_FULL * season, _FEWEST_FULL) :]
    if len(before) < _FEWEST_FULL or not before.min() >= max(_FULL * np.median(before), _TINY):
        return history
    return _missing(history, places[-1:])


def _usually_open(history: np.ndarray, season: int) -> np.ndarray:
    """Where values are known, at times of the season at which most are not zero; nowhere if there are no zeros, or
    values below."""
    known, zero = np.isfinite(history), history == 0
    if not zero.any() or (history < 0).any():
        return np.zeros(0, dtype=int)
    phases = np.arange(len(history)) % season
    of_all, of_zeros = (np.bincount(phases[flag], minlength=season) for flag in (known, zero))
    return np.flatnonzero(known & (of_zeros < np.maximum(_MOSTLY * of_all, 2))[phases])


def _missing(history: np.ndarray, places: np.ndarray) -> np.ndarray:
    made = history.copy()
    made[places] = np.nan
    return made
