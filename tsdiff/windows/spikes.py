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


def without_spikes(values: np.ndarray, seasons: Seasons = (0, 0)) -> np.ndarray:
    """Values whose last 60 hold no single ones far off their neighbours, which are put back to the median around them;
    where a season explains values, by what they depart from it.

    A series that is often zero, or has more than three of them, is left as it is: there they belong to it.

    Args:
        values: (n,), finite.
        seasons: of the series.
    """
    recent = values[-_REMEMBERED:]
    if len(recent) < _FEWEST or (recent == 0).mean() > _MOST_ZEROS:
        return values
    departs = _departures(values, seasons)
    count = min(len(departs), _LATE)
    padded = np.pad(departs[-count - 3 :] if len(departs) > count + 3 else departs, (0, 3), mode="reflect")
    around = np.median(sliding_window_view(padded, 7), axis=1)[-count:]
    count = len(around)
    off = departs[-count:] - around
    usual = _BY_STEPS * np.median(np.abs(np.diff(departs)))
    spread = _BY_SPREAD * np.median(np.abs(departs - np.median(departs)))
    far = (np.abs(off) > usual) & (np.abs(off) > spread)
    if not 1 <= far.sum() <= _MOST:
        return values
    cleaned = values.copy()
    cleaned[-count:][far] -= off[far]
    return cleaned


def _departures(values: np.ndarray, seasons: Seasons) -> np.ndarray:
    """What the last values depart from the seasons before and after, by the season that leaves least of their spread;
    themselves where none leaves much less."""
    found = values[-_REMEMBERED:]
    least = _EXPLAINS * float(np.median(np.abs(found - np.median(found))))
    for season in (one for one in seasons if one > 1):
        told = values[-max(_REMEMBERED, (_SEASONS + 1) * season) :]
        if len(told) < _SEASONS * season:
            continue
        departs = (told - usual_of_seasons(told, season))[-max(_SEASONS * season, _LATE) :]
        spread = float(np.median(np.abs(departs - np.median(departs))))
        if spread < least:
            found, least = departs, spread
    return found
