"""Dates of daily and monthly series, and what they are called: days of a month and of a year, and Easter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from dateutil.easter import easter

_FROM_BEGIN, _FROM_END, _WORKING = 28, 4, 3
"""Days that are counted from the begin and the end of a month, and working days from either."""
_ROLLS: tuple[tuple[int, Literal["backward", "forward"]], ...] = ((1, "backward"), (-1, "forward"))
"""On which side a weekend's day lies from the working day that meets what is due on it."""
_BEFORE_EASTER = 50
"""Days before Easter from which on days are counted by it."""
_DAY, _MONTH = np.timedelta64(1, "D"), np.timedelta64(1, "M")


def dates_of(start: pd.Period, begin: int, end: int) -> np.ndarray:
    """Dates of some steps of a series of days, or of working days, from … to: (end - begin,) datetime64[D].

    They are counted from the period's own number, for timestamps of pandas begin in 1677.
    """
    steps = start.ordinal + np.arange(begin, end)
    if start.freqstr.startswith("B"):
        return np.busday_offset(np.datetime64("1970-01-01"), steps)
    return steps.astype("datetime64[D]")


def easter_sundays(dates: np.ndarray) -> np.ndarray:
    """Easter of the year of each date, of the western churches: shaped like `dates`, datetime64[D]."""
    years, place = np.unique(dates.astype("datetime64[Y]"), return_inverse=True)
    return np.array([easter(year.astype(int) + 1970) for year in years], dtype="datetime64[D]")[place]


def in_months(dates: np.ndarray) -> np.ndarray:
    """Where each day of a month is that can be named, of dates (steps,): (days, steps)."""
    month = dates.astype("datetime64[M]")
    begin, end = month.astype("datetime64[D]"), (month + _MONTH).astype("datetime64[D]")
    works, working, days = np.is_busday(dates), np.arange(_WORKING)[:, None], np.arange(_FROM_BEGIN)[:, None]
    last = [dates + _DAY == end, works & (np.busday_count(dates, end) == 1)]
    named = [
        (dates - begin).astype(int) == days,
        (end - dates).astype(int) - 1 == np.arange(_FROM_END)[:, None],
        works & (np.busday_count(begin, dates) == working),
        works & (np.busday_count(dates, end) - 1 == working),
        np.array(last) & (month.astype(int) % 3 == 2),
    ]
    for step, roll in _ROLLS:
        due = [dates + step * far * _DAY for far in range(3)]
        met = [(_day(one) == days) & (np.busday_offset(one, 0, roll) == dates) for one in due]
        named.append(np.any(met, axis=0))
    return np.concatenate(named)


def _day(dates: np.ndarray) -> np.ndarray:
    """Of the month, from 0."""
    return (dates - dates.astype("datetime64[M]").astype("datetime64[D]")).astype(int)


def in_years(dates: np.ndarray) -> Iterator[np.ndarray]:
    """Names of dates (steps,), numbers that no two dates of a year share, below 0 for none: month and day; the same of
    working days alone, for many feasts change no weekend; month, weekday, and as which of these in its month, counted
    from the begin and from the end; days from Easter."""
    months = dates.astype("datetime64[M]")
    begin, end = months.astype("datetime64[D]"), (months + _MONTH).astype("datetime64[D]")
    day, left = (dates - begin).astype(int), (end - dates).astype(int) - 1
    month, weekday = months.astype(int) % 12, dates.astype(int) % 7
    yield month * 31 + day
    yield np.where(np.is_busday(dates), month * 31 + day, -1)
    for week in (day // 7, left // 7):
        yield (month * 7 + weekday) * 5 + week
    yield (dates - easter_sundays(dates)).astype(int) + _BEFORE_EASTER
