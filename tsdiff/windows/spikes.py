"""Single values far off what lies around them, as a sensor's fault or a slipped decimal point."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tsdiff.windows.dents import usual_of_seasons
from tsdiff.windows.simple import Seasons

_REMEMBERED, _FEWEST, _LATE = 400, 12, 60
"""Last values that tell what is usual, how many there are at least, and among how many the single ones are sought."""
_BY_STEPS, _BY_SPREAD = 15, 6
"""How far off one is: by the median step from one value to the next, and by the median distance from their median."""
_MOST, _MOST_ZEROS = 3, 0.2
"""Single ones, and the share of zeros, that are not more than chance."""
_SEASONS, _EXPLAINS = 3, 0.7
"""Seasons that tell of one, and how much of the spread of values a season leaves at most that explains them."""
_NEAR, _SMOOTH = 1, 12
"""By how many steps earlier or later than a season what belongs to one may come, and the steps of the shortest where it
may; days of a week differ."""


def without_spikes(values: np.ndarray, seasons: Seasons = (0, 0)) -> np.ndarray:
    """Values whose last 60 hold no single ones far off their neighbours, which are put back to the median around them;
    where a season explains values, by what they depart from it, if the seasons beside hold nothing like them.

    A series that is often zero, or has more than three of them, is left as it is: there they belong to it.

    Args:
        values: (n,), finite.
        seasons: of the series.
    """
    recent = values[-_REMEMBERED:]
    if len(recent) < _FEWEST or (recent == 0).mean() > _MOST_ZEROS:
        return values
    departs, season = _departures(values, seasons)
    count = min(len(departs), _LATE)
    padded = np.pad(departs[-count - 3 :] if len(departs) > count + 3 else departs, (0, 3), mode="reflect")
    around = np.median(sliding_window_view(padded, 7), axis=1)[-count:]
    count = len(around)
    off = departs[-count:] - around
    usual = _BY_STEPS * np.median(np.abs(np.diff(departs)))
    spread = _BY_SPREAD * np.median(np.abs(departs - np.median(departs)))
    far = (np.abs(off) > usual) & (np.abs(off) > spread)
    if season >= _SMOOTH:
        far &= _off_seasons_beside(values, season, count) > spread
    if not 1 <= far.sum() <= _MOST:
        return values
    cleaned = values.copy()
    cleaned[-count:][far] -= off[far]
    return cleaned


def _departures(values: np.ndarray, seasons: Seasons) -> tuple[np.ndarray, int]:
    """What the last values depart from the seasons before and after, by the season that leaves least of their spread,
    and that season; themselves, and 0, where none leaves much less."""
    found, best = values[-_REMEMBERED:], 0
    least = _EXPLAINS * float(np.median(np.abs(found - np.median(found))))
    for season in (one for one in seasons if one > 1):
        told = values[-max(_REMEMBERED, (_SEASONS + 1) * season) :]
        if len(told) < _SEASONS * season:
            continue
        departs = (told - usual_of_seasons(told, season))[-max(_SEASONS * season, _LATE) :]
        spread = float(np.median(np.abs(departs - np.median(departs))))
        if spread < least:
            found, best, least = departs, season, spread
    return found, best


def _off_seasons_beside(values: np.ndarray, season: int, count: int) -> np.ndarray:
    """How far the last values are off the nearest that the seasons beside them hold about that time, (count,), 0 at
    most if between them: jumps of cycles that are not quite as long as the season, or that come a step late, are no
    mistakes."""
    near = sliding_window_view(np.pad(values, _NEAR, mode="edge"), 2 * _NEAR + 1)
    steps = np.arange(len(values) - count, len(values))
    before, after = steps - season, steps + season
    beside = np.stack([np.where(before < 0, after, before), np.where(after < len(values), after, before)])
    late = values[-count:]
    return np.maximum(late - near.max(1)[beside].max(0), near.min(1)[beside].min(0) - late)
