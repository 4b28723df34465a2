"""When running totals start again from 0 by the calendar, such as sales of a month to date."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tsdiff.data.frequency import quiet

_UNITS = ("M", "Q", "Y")
"""Stretches of the calendar that totals are of."""
_FEWEST, _FEWEST_LATE, _STEPS, _OFTEN = 2, 3, 6, 0.9
"""How often one has started again at least, also where that is later than a stretch begins; the fewest steps of a
stretch, for four quarters may rise each year; and the share of stretches that begin so, at least, where there was
anything to fall from."""
_LARGEST, _LATEST = 3, 0.9
"""What has come in the first step, by the most that came in any other, at most, as in the first month of a year; and
how late after the beginning of a stretch a total starts again, by the shortest, at most: on the 25th of each month."""


def restarts_of(history: np.ndarray, start: pd.Period, horizon: int = 0) -> np.ndarray | None:
    """The steps (k,) of a history (n,), NaN where missing, and of the horizon after it, at which a total starts again
    from 0 by the calendar: each time a month, a quarter or a year begins, or as many steps later. None where it falls
    at other steps, does not at some of these, or has done so but once, or twice at other steps than the
    first ones.

    Args:
        history: of the series.
        start: of its first step.
        horizon: in steps.
    """
    growth = np.diff(history)
    falls = np.flatnonzero(growth < 0) + 1
    if len(falls) < _FEWEST or np.diff(falls).min() < _STEPS or not (growth > 0).any():
        return None
    if history[falls].min() < 0 or history[falls].max() > _LARGEST * np.nanmax(growth):
        return None
    for unit in _UNITS:
        begun = _beginnings(start, falls[-1] + 1, unit)
        if len(begun) < _FEWEST or np.diff(begun).min() < _STEPS:
            continue
        late = int(falls[-1] - begun[-1])
        if late > _LATEST * np.diff(begun).min() or (late and len(falls) < _FEWEST_LATE):
            continue
        found = _beginnings(start, len(history) + horizon, unit, late)
        past = found[found < len(history)]
        could = (history[past - 1] > 0) & np.isfinite(history[past])
        if np.isin(falls, past).all() and np.isin(past[could], falls).mean() >= _OFTEN:
            return found
    return None


def _beginnings(start: pd.Period, steps: int, unit: str, late: int = 0) -> np.ndarray:
    """The steps, of so many, but the first, that are the first ones of months, quarters or years, or as many later."""
    with quiet():
        periods = pd.period_range(start - late, periods=steps, freq=start.freq)
        return np.flatnonzero(np.diff(periods.asfreq(unit, how="S").astype(np.int64))) + 1
