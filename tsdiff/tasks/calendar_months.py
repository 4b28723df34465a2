"""What the months of a monthly series are made of: how many of each weekday they have, their length, and Easter, which
lies in March or April. Sums over a month go by them where weekdays differ (Findley et al. 1998, "New capabilities and
methods of the X-12-ARIMA seasonal-adjustment program"); they enter as covariates do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tsdiff.data.entries import target_of
from tsdiff.tasks.covariates import Effect, effect_of
from tsdiff.tasks.dates import easter_sundays

MONTHLY = "M"
"""Normalised frequency of series that have such months."""
_REMEMBERED, _SEASON = 360, 12
_LEAST_ROWS = 52
"""Months, and changes over a year, that are looked at."""
_LEAST_RATIO = 2.5
"""F statistic from which on a regression is worth a try, which has to prove itself then; chance has it in a hundredth
of all series."""
_BEFORE_EASTER = 7
"""Days before Easter that belong to it; the month has the share of them that lies in it."""


def month_features(start: pd.Period, count: int) -> np.ndarray:
    """What some months are made of: how many more of each weekday than Sundays they have, their days, and their share
    of Easter.

    Args:
        start: the first of them.
        count: how many.

    Returns:
        (8, count).
    """
    months = (start.ordinal + np.arange(count)).astype("datetime64[M]")
    begin, end = months.astype("datetime64[D]"), (months + np.timedelta64(1, "M")).astype("datetime64[D]")
    weekdays = np.array([np.busday_count(begin, end, weekmask=np.eye(7, dtype=bool)[day]) for day in range(7)])
    days = easter_sundays(months)[:, None] - np.arange(_BEFORE_EASTER)
    feast = ((days >= begin[:, None]) & (days < end[:, None])).mean(axis=1)
    return np.concatenate([weekdays[:6] - weekdays[6], [(end - begin).astype(int)], [feast]]).astype(float)


def month_effect(entry: Mapping[str, Any], name: str, horizon: int) -> Effect | None:
    """What the calendar does to an entry of a name and the months after it; None where nothing speaks for it."""
    target = target_of(entry, name)
    if target.ndim > 1:
        return None
    features = month_features(entry["start"], len(target) + horizon)
    return effect_of(target, features, _SEASON, horizon) if _may_tell(target, features) else None


def _may_tell(target: np.ndarray, features: np.ndarray) -> bool:
    """Whether changes of a series (length,) over a year go with those of its features (8, at least length), or those of
    its logarithm do, by more than chance."""
    values = target[-_REMEMBERED:]
    told = features[:, : len(target)].T[-_REMEMBERED:]
    known = np.isfinite(values)
    if known.sum() < _LEAST_ROWS + _SEASON or np.ptp(values[known]) == 0:
        return False
    series = np.log(values) if values[known].min() > 0 else values
    rows = np.column_stack([series, told])
    changes = rows[_SEASON:] - rows[:-_SEASON]
    changes = changes[np.isfinite(changes).all(axis=1)]
    width = changes.shape[1] - 1
    if len(changes) < _LEAST_ROWS:
        return False
    limit = 4 * np.median(np.abs(changes[:, 0] - np.median(changes[:, 0])))
    changed = np.clip(changes[:, 0] - np.median(changes[:, 0]), -limit, limit)
    fresh, told = changed[1:] - _memory(changed) * changed[:-1], changes[1:, 1:]
    fresh, told = fresh - fresh.mean(), told - told.mean(axis=0)
    left = fresh - told @ np.linalg.lstsq(told, fresh, rcond=None)[0]
    error, whole = float(left @ left), float(fresh @ fresh)
    return error > 0 and (whole - error) / width >= _LEAST_RATIO * error / (len(fresh) - width - 1)


def _memory(values: np.ndarray) -> float:
    power = float((values**2).sum())
    return float((values[1:] * values[:-1]).sum()) / power if power > 0 else 0.0
