"""Single values far off what lies around them, as a sensor's fault or a slipped decimal point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tsdiff.windows.dents import usual_of_seasons
from tsdiff.windows.medians import median

_REMEMBERED, _FEWEST, _LATE = 400, 4, 60
"""Last values that tell what is usual, how many there are at least, and among how many the single ones are sought."""
_FEW, _STRICTER = 12, 2
"""Values below which they tell less, as that the fifth is a Saturday, and how much further off a single one is then."""
_FEWER, _TIMES = 6, 4
"""Values below which one between others makes half of the steps from one to the next itself, and how many times as
large as those around it is a single one then."""
_BY_STEPS, _BY_SPREAD = 15, 6
"""How far off one is: by the median step from one value to the next, and by the median distance from their median."""
_MOST, _MOST_OF_FEW, _MOST_ZEROS = 3, 1, 0.2
"""Single ones, also of few values, which may hold a weekend, and the share of zeros, that are not more than chance."""
_SEASONS, _EXPLAINS = 3, 0.7
"""Seasons that tell of one, and how much of the spread of values a season leaves at most that explains them."""
_NEAR, _SMOOTH = 1, 12
"""By how many steps earlier or later than a season what belongs to one may come, and the steps of the shortest where it
may; days of a week differ."""
_SAME = 2
"""Values at the same time of the season, next to each other, as which a usual one is."""


def without_spikes(values: np.ndarray, seasons: Sequence[int] = ()) -> np.ndarray:
    """Values whose last 60 known ones hold no single ones far off their neighbours, which are put back to the median
    around them; where a season explains values, by what they depart from it, if the seasons beside hold nothing like
    them.

    A series that is often zero, or has more than three of them, of fewer than twelve values more than one, is left as
    it is: there they belong to it. Where most values repeat the one before, as prices do, a last one that is new and at
    most twice as large is a new level, unless others came back before.

    Args:
        values: (n,), NaN where missing.
        seasons: of the series.
    """
    known = np.flatnonzero(~np.isnan(values))
    recent = values[known[-_REMEMBERED:]]
    if len(recent) < _FEWEST or np.count_nonzero(recent == 0) > max(_MOST_ZEROS * len(recent), 1):
        return values
    few = len(recent) < _FEW
    departs, places, season = _departures(values, known, seasons)
    off, around = _off_neighbours(departs, few)
    usual, spread = _usual(departs)
    limit, late = max(usual, spread) * (_STRICTER if few else 1), places[-len(off) :]
    far = np.abs(off) > limit
    if len(off) < _FEWER:
        far |= _amid_few(departs, off, around)
    if season >= _SMOOTH:
        far &= ~(_off_seasons_beside(values, season, late) <= spread)  # nothing is known there: nothing like them
    for place in np.flatnonzero(far) if season else ():
        far[place] = not _on_level(values, season, int(late[place]), spread)
    if usual == 0:
        far &= ~_new_level(off, around, far)
    cleaned, most = values, _MOST_OF_FEW if few else _MOST
    while far.any():  # the farthest first: values a season away may look far off because of it
        most -= 1
        if most < 0:
            return values
        farthest = int(np.argmax(np.abs(off) * far))
        cleaned, far[farthest] = cleaned.copy(), False
        cleaned[late[farthest]] -= off[farthest]
        if season and far.any():
            off, _ = _off_neighbours(_off_season(cleaned, season)[places - len(values)], few)
            far &= np.abs(off) > limit
    return cleaned


def without_spikes_anywhere(values: np.ndarray, seasons: Sequence[int] = ()) -> np.ndarray:
    """`without_spikes` of every 60 known values of a series (n,), NaN where missing: of the later half by what came
    before, of the earlier one by what came after."""
    for _ in range(2):
        known = np.flatnonzero(~np.isnan(values))
        for stop in range(len(known), len(known) // 2, 3 - _LATE):  # the first three of them have too few before
            end = int(known[stop - 1]) + 1
            told = values[:end]
            cleaned = without_spikes(told, seasons)
            values = values if cleaned is told else np.concatenate([cleaned, values[end:]])
        values = values[::-1]
    return values


def _usual(values: np.ndarray) -> tuple[float, float]:
    """How far off single ones are at least, by the steps from one of these values (n,) to the next and their spread."""
    steps, spread = np.diff(values), values - median(values)
    return _BY_STEPS * float(median(np.abs(steps))), _BY_SPREAD * float(median(np.abs(spread)))


def _amid_few(values: np.ndarray, off: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Which of very few values (n,), between others, is far off by what these say without it, and many times as large
    as them; of the first and the last a year's or a week's beginning may be so."""
    farthest = np.abs(off) == np.abs(off).max()
    far = farthest & (np.abs(off) >= (_TIMES - 1) * np.abs(around))
    far[[0, -1]] = False
    others = values[~farthest]
    if len(others) < 2:  # all are as far off: none is the single one
        return np.zeros(len(values), dtype=bool)
    return far & (np.abs(off) > _STRICTER * max(_usual(others)))


def _off_neighbours(values: np.ndarray, all_of_them: bool) -> tuple[np.ndarray, np.ndarray]:
    """How far the last values (n,) are off the median of each and the three before and after, turned round at the end,
    and that median: of all of them or of those that have three before."""
    padded = np.pad(values[-_LATE - 3 :], (3 if all_of_them else 0, 3), mode="reflect")
    around = np.asarray(median(sliding_window_view(padded, 7)))
    return values[-len(around) :] - around, around


def _new_level(off: np.ndarray, around: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Which values, by how far they are off the median around them, end a series and are at most twice as large, where
    none of those that are far off has come back before."""
    back = np.flatnonzero(off == 0)
    since = int(back[-1]) + 1 if len(back) else 0
    new = np.zeros(len(off), dtype=bool)
    if not far[:since].any():
        new[since:] = np.abs(off[since:]) <= np.abs(around[since:])
    return new


def _departures(values: np.ndarray, known: np.ndarray, seasons: Sequence[int]) -> tuple[np.ndarray, np.ndarray, int]:
    """What the last known values depart from the seasons before and after, by the season that leaves least of their
    spread, their places, and that season; themselves, and 0, where none leaves much less.

    Args:
        values: (n,), NaN where missing.
        known: places of those that are not.
        seasons: of the series.
    """
    places, best = known[-_REMEMBERED:], 0
    found = values[places]
    least = _EXPLAINS * float(median(np.abs(found - median(found))))
    for season in (one for one in seasons if 1 < one <= len(values) // _SEASONS):
        departs = _off_season(values, season)
        there = np.flatnonzero(~np.isnan(departs))[-max(_SEASONS * season, _LATE) :]
        if len(there) < _FEW:
            continue
        here, there = departs[there], there + len(values) - len(departs)
        spread = float(median(np.abs(here - median(here))))
        if spread < least:
            found, places, best, least = here, there, season, spread
    return found, places, best


def _off_season(values: np.ndarray, season: int) -> np.ndarray:
    """What the last values depart from what the seasons before and after say of them, NaN where too little is known."""
    told = values[-max(_REMEMBERED, (_SEASONS + 1) * season) :]
    return told - usual_of_seasons(told, season)


def _on_level(values: np.ndarray, season: int, place: int, spread: float) -> bool:
    """Whether a value is as those that come next at its time of the season, two before it or two after it: beside a
    change of level gaps may leave but seasons of the other side to say what is usual."""
    same, at = values[place % season :: season], place // season
    sides = (side[~np.isnan(side)][:_SAME] for side in (same[:at][::-1], same[at + 1 :]))
    return any(len(side) == _SAME and bool((np.abs(side - values[place]) <= spread).all()) for side in sides)


def _off_seasons_beside(values: np.ndarray, season: int, places: np.ndarray) -> np.ndarray:
    """How far values at those places are off the nearest that the seasons beside them hold about that time, (places,),
    0 at most if between them, NaN where nothing is known there: jumps of cycles that are not quite as long as the
    season, or that come a step late, are no mistakes."""
    near = sliding_window_view(np.pad(values, _NEAR, mode="edge"), 2 * _NEAR + 1)
    before, after = places - season, places + season
    beside = np.stack([np.where(before < 0, after, before), np.where(after < len(values), after, before)])
    highest, lowest = (reduce(reduce(near, axis=1)[beside], axis=0) for reduce in (np.fmax.reduce, np.fmin.reduce))
    return np.maximum(values[places] - highest, lowest - values[places])
