"""Dents: stretches in which a series fell, or rose, once and came back, as in a pandemic, a strike or an outage.

What was a season ago is what most simple forecasts repeat, and so they repeat a dent. A history is forecast as if the
values of a dent were missing. There must be much evidence that it is one: several other seasons, with each other and
with what came before and after, say the same of those steps, and the history holds nothing else of that size.
"""

from __future__ import annotations

import numpy as np

from tsdiff.windows.medians import median
from tsdiff.windows.simple import Seasons

_SEASONS_KNOWN, _FEWEST_KNOWN, _FEWEST_STEPS = 3, 48, 5
"""Seasons, and values, that a history has at least, and steps of a season."""
_SEASONS_LATE, _FEWEST_LATE, _SEASONS_AGO, _FEWEST_AGO = 3, 90, 2, 28
"""Last seasons, and values at least, whose departures are compared, and before how many a dent begins at most: older
ones mislead forecasts less than their gaps do."""
_NEARBY, _FEWEST_NEARBY, _TRIMMED = 3, 2, 3
"""Seasons before and after that are compared, how many there must be of both, and from how many on the highest and the
lowest are left out."""
_MANY = 20
"""How many short seasons the longer one has where both are looked at, as a year has weeks; a week has fewer days."""
_SHORTEST, _PARTS, _FEW, _LONGEST_OF_FEW = 3, 21, 8, 2
"""Steps of a dent at least, and how often the shortest one fits into a season; it lasts a season at most, or where that
has few steps, two."""
_USUAL, _DEEP, _TINY = 2.5, 4.0, 1e-9
"""By how many deviations a step counts as of a dent, and the mean of one is off; and the least deviation, by the
largest value."""
_LARGEST_REST, _LARGEST_BESIDE_PEAK = 0.4, 0.25
"""The largest other departure of that length, by the depth of a dent or the height of a peak, which volatile series
have many of."""
_EACH, _ALIKE, _RECOVERED = 0.6, 0.8, 0.25
"""By the depth of a dent: how far off it each of the seasons compared is at least, how far apart they are at most, and
how far off what came before and after is."""
_VISIBLE, _MOST_ZEROS = 0.5, 0.2
"""Of a series that is never below 0: the level before and after by that in the dent, below which none would be seen
there, and the share of zeros from which on they belong to it."""


def without_dents(values: np.ndarray, seasons: Seasons) -> np.ndarray:
    """A history (n,), NaN where missing, in which the values of dents are missing, too; itself where there are none.

    Args:
        values: of the history; what is missing at its end is not counted.
        seasons: of the series.
    """
    seen = np.flatnonzero(~np.isnan(values))
    history = values[: int(seen[-1]) + 1] if len(seen) else values[:0]
    found = [dent for season in _periods(len(history), seasons) if (dent := _dent(history, season)) is not None]
    if not found:
        return values
    made = values.copy()
    for dent in found:
        made[dent] = np.nan
    return made


def _periods(count: int, seasons: Seasons) -> list[int]:
    """Seasons, in steps, of which so many values hold enough: of days the week and the year, of hours the week alone,
    whose days differ."""
    first, second = seasons
    longer = round(second / first) * first if second else 0
    wanted = [longer, first] if not longer or longer >= _MANY * first else [longer]
    return [one for one in wanted if one >= _FEWEST_STEPS and count >= max(_SEASONS_KNOWN * one, _FEWEST_KNOWN)]


def _dent(values: np.ndarray, season: int) -> slice | None:
    """The steps of a history (n,) that are a dent by its other seasons; None where it has none."""
    count, late = len(values), max(_SEASONS_LATE * season, _FEWEST_LATE)
    lowest, told = float(np.nanmin(values)), values[-late - _NEARBY * season :]
    line = np.log(told) if lowest > 0 else told
    departs = line[-late:] - _usual(_seasons_around(line, season, max(len(line) - late, 0)))
    deviation = max(1.4826 * _median(np.abs(departs)), _TINY * float(np.nanmax(np.abs(line))))
    longest = season * (_LONGEST_OF_FEW if season <= _FEW else 1)
    earliest = max(season, count - max(_SEASONS_AGO * season, _FEWEST_AGO))
    for sign in (-1.0, 1.0):
        start, stop = _largest(sign * departs - _USUAL * deviation)
        off = departs[start:stop]
        if not max(_SHORTEST, round(season / _PARTS)) <= len(off) <= longest or np.isnan(off).any():
            continue
        place = slice(start + count - len(departs), stop + count - len(departs))
        if sign * float(off.mean()) < _DEEP * deviation or place.start < earliest:
            continue
        if _is_dent(values, season, place, sign):
            return place
    return None


def _is_dent(values: np.ndarray, season: int, place: slice, sign: float) -> bool:
    """Whether a stretch of a history (n,) is a dent, down or up by the sign: of positive values by units, by which the
    least months tell too little, and by shares, by which they tell too much."""
    lowest = float(np.nanmin(values))
    told = [values, np.log(values)] if lowest > 0 else [values]
    return all(_stands_out(line, season, place, sign) for line in told) and (
        lowest != 0 or _would_be_seen(values, season, place)
    )


def _stands_out(values: np.ndarray, season: int, place: slice, sign: float) -> bool:
    """Whether all other values of a series (n,) agree that a stretch is off, down or up by the sign, and it alone."""
    others, length = values.copy(), place.stop - place.start
    others[place] = np.nan
    around = _seasons_around(others, season)
    there = around[:, place]
    there = there[~np.isnan(there).any(1)]
    if len(there) < _FEWEST_NEARBY:
        return False
    each = sign * (values[place] - there).mean(1)
    depth = float(median(each))
    if depth <= 0 or each.min() < _EACH * depth or float(np.ptp(there, axis=0).mean()) > _ALIKE * depth:
        return False
    departs = others - _usual(around)
    for side in _sides(place):
        off = departs[side][~np.isnan(departs[side])]
        if len(off) < max(_SHORTEST, length / 2) or abs(float(median(off))) > _RECOVERED * depth:
            return False
    return _largest_mean(departs, length) <= (_LARGEST_REST if sign < 0 else _LARGEST_BESIDE_PEAK) * depth


def _would_be_seen(values: np.ndarray, season: int, place: slice) -> bool:
    """Whether a history (n,) from 0 on, most of which is above, is high enough before and after a stretch to tell a
    dent from the low part of a season that goes on."""
    others = values.copy()
    others[place] = np.nan
    usual = _usual(_seasons_around(others, season))
    level = _VISIBLE * float(usual[place].mean())
    return bool((others == 0).mean() <= _MOST_ZEROS) and all(np.nanmean(usual[side]) >= level for side in _sides(place))


def usual_of_seasons(values: np.ndarray, season: int) -> np.ndarray:
    """What the seasons before and after say of each of some values (n,), NaN where they are too few."""
    return _usual(_seasons_around(values, season))


def _sides(place: slice) -> tuple[slice, slice]:
    """As many steps before a stretch and after it."""
    length = place.stop - place.start
    return slice(max(place.start - length, 0), place.start), slice(place.stop, place.stop + length)


def _seasons_around(line: np.ndarray, season: int, first: int = 0) -> np.ndarray:
    """What the seasons before and after each step, from `first` on, were there, less what the series grows in between:
    (2 `_NEARBY`, n - first), NaN where unknown."""
    count, since = len(line), max(first, season)
    growth = _median(line[since:] - line[since - season : count - season])
    around = np.full((2 * _NEARBY, count - first), np.nan)
    for away in range(1, _NEARBY + 1):
        lag = away * season
        unknown = max(lag - first, 0)
        around[2 * away - 2, unknown:] = line[first + unknown - lag : max(count - lag, 0)] + away * growth
        around[2 * away - 1, : max(count - first - lag, 0)] = line[first + lag :] - away * growth
    return around


def _usual(around: np.ndarray) -> np.ndarray:
    """The mean of seasons (k, n), without the highest and the lowest where there are enough; NaN where too few are."""
    known = ~np.isnan(around)
    count, total = known.sum(0), np.where(known, around, 0.0).sum(0)
    trimmed = count >= _TRIMMED
    total = np.where(trimmed, total - np.fmax.reduce(around) - np.fmin.reduce(around), total)
    return np.where(count >= _FEWEST_NEARBY, total / np.maximum(count - 2 * trimmed, 1), np.nan)


def _median(values: np.ndarray) -> float:
    """Of those that are known; 0 of none."""
    known = values[~np.isnan(values)]
    return float(median(known)) if len(known) else 0.0


def _largest(gains: np.ndarray) -> tuple[int, int]:
    """From and to where the sum of numbers (n,) is largest; NaN counts as none."""
    total = np.concatenate([[0.0], np.cumsum(np.where(np.isnan(gains), 0.0, gains))])
    stop = int((total - np.minimum.accumulate(total)).argmax())
    return int(total[: stop + 1].argmin()), stop


def _largest_mean(departs: np.ndarray, length: int) -> float:
    """The largest mean, by its size, of so many neighbours of which most are known; infinite where none are."""
    known = np.concatenate([[0], np.cumsum(~np.isnan(departs))])
    total = np.concatenate([[0.0], np.cumsum(np.where(np.isnan(departs), 0.0, departs))])
    count, sums = known[length:] - known[:-length], np.abs(total[length:] - total[:-length])
    enough = count > 0.8 * length
    return float((sums[enough] / count[enough]).max()) if enough.any() else np.inf
