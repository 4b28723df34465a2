"""The shape that every month of a daily series has, as of what runs up to the month's end and begins anew, or is spent
from one payday to the next.

Most days of such a month are off its level, and days around one tell little of it: each has to be told by its like in
other months.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tsdiff.tasks.calendar_search import WEEKS, both, known_median, middle

_LATELY, _FEWEST = 750, 8
"""Last steps that tell of a shape, and months of which values have to be known."""
_EXPLAINED = 0.5
"""What is left of days by the shape of the other months, by what is without one, at most: of the typical day, for a few
days that differ are no shape, and of squares, for what begins anew at other days each month is none either."""
_FAR = 6.0
"""Times what a typical day is off, beyond which it is no farther: one wrong value hides no shape."""
_CYCLES, _BETTER = (28.0, 29.0, 29.53, 30.0, 31.0), 0.85
"""Days of cycles that keep to no calendar, such as the moon's, and what is left by months, by what is left by these, at
most."""
_CLOSED = 0.9
"""Share of the zeros that are among zeros of the weeks around, as of a shop that is closed on Sundays, from which on
they stay what they are."""
_PLACES, _PASSES = 31, 3
"""Places of a month, and how often its level is told anew."""
_DAY, _MONTH = np.timedelta64(1, "D"), np.timedelta64(1, "M")


@dataclass(frozen=True)
class MonthShape:
    """The shape of the months of a series.

    Attributes:
        off: what each place of a month is off the month's level, (31,).
        places: of the steps, (length + horizon,).
        ratio: whether it is the logarithm that is off.
    """

    off: np.ndarray
    places: np.ndarray
    ratio: bool

    def after(self, steps: int) -> MonthShape:
        """That of a series with so many steps before, of which it tells nothing."""
        return replace(self, places=np.concatenate([np.zeros(steps, dtype=int), self.places]))

    def without(self, values: np.ndarray) -> np.ndarray:
        """Values (length,) of the series' first steps as they would be without it."""
        off = self.off[self.places[: len(values)]]
        return values / np.exp(off) if self.ratio else values - off

    def added(self, samples: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Samples (number, n) of some steps (n,), as they would be without it, with it."""
        off = self.off[self.places[steps]]
        return samples * np.exp(off) if self.ratio else samples + off


def month_shape(values: np.ndarray, dates: np.ndarray, week: int) -> MonthShape | None:
    """The shape of a series' months; None where they have none beyond chance.

    Args:
        values: of a daily series, (length,), NaN where missing.
        dates: of its steps and of those to come, (length + horizon,) datetime64[D].
        week: its steps.
    """
    begin = max(len(values) - _LATELY, 0)
    late = values[begin:]
    shapes = [_shape(seen, dates, begin, week, ratio) for seen, ratio in _scales(late, week)]
    found = [one for one in shapes if one is not None]
    if len(found) < 2:
        return found[0][0] if found else None
    return min(found, key=lambda one: float(np.nanmean(np.abs(one[1] / late - 1))))[0]  # all are positive


def _scales(values: np.ndarray, week: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Values (n,) of which months may have a shape, NaN where they have none, and whether it is a ratio."""
    zero, opened = values == 0, values
    if zero.any() and (zero & (middle(values, week * both(WEEKS)) == 0)).sum() >= _CLOSED * zero.sum():
        opened = np.where(zero, np.nan, values)
    else:
        yield values, False
    if not (opened <= 0).any():
        yield opened, True


def _shape(
    values: np.ndarray, dates: np.ndarray, begin: int, week: int, ratio: bool
) -> tuple[MonthShape, np.ndarray] | None:
    """The shape of values (n,) from a step on, or of their logarithms, and what they would be by it, (n,)."""
    past, seen = slice(begin, begin + len(values)), np.log(values) if ratio else values
    counted = _counted(seen - middle(seen, week * both(WEEKS)), dates[past])
    if counted is None:
        return None
    everywhere, months = list(_places(dates))[counted], _months(dates[past])
    off, places = np.zeros(_PLACES), everywhere[past]
    for _ in range(_PASSES):  # the weeks around a day are always the same places of a month, and off themselves
        near = middle(seen - off[places], week * both(WEEKS))
        off = _between(known_median(_table(seen - near, months, places)))
    told = near + off[places]
    return MonthShape(off, everywhere, ratio), np.exp(told) if ratio else told


def _counted(away: np.ndarray, dates: np.ndarray) -> int | None:
    """As which of `_places` the places of a month are counted that tell best how far steps (n,) are off; None where
    none of them tells enough."""
    months, typical = _months(dates), _typical(away)
    if len(np.unique(months[np.isfinite(away)])) < _FEWEST:
        return None
    tables = [_table(away, months, places) for places in _places(dates)]
    most, limit = _EXPLAINED * typical, _FAR * typical
    if not min(_typical(table - known_median(table)) for table in tables) < most:  # a quick way out of most
        return None
    left = [_left(table) for table in tables]
    spreads = [_spread(one, limit) for one in left]
    best = int(np.argmin(spreads))
    if not (_typical(left[best]) < most and spreads[best] < _EXPLAINED * _spread(away, limit)):
        return None
    days = (dates - dates[0]).astype(int)
    cycles = [_table(away, (days / cycle).astype(int), (days % cycle).astype(int)) for cycle in _CYCLES]
    return best if spreads[best] < _BETTER * min(_spread(_left(table), limit) for table in cycles) else None


def _months(dates: np.ndarray) -> np.ndarray:
    """Of dates (n,), as numbers that follow each other."""
    return dates.astype("datetime64[M]").astype(int)


def _places(dates: np.ndarray) -> Iterator[np.ndarray]:
    """The place of dates (steps,) in their months, from 0: counted from the begin, from the end, and by the share that
    is over."""
    month = dates.astype("datetime64[M]")
    begin, end = month.astype("datetime64[D]"), (month + _MONTH).astype("datetime64[D]")
    day, length = (dates - begin).astype(int), (end - begin).astype(int)
    yield day
    yield _PLACES - length + day
    yield np.rint(day * (_PLACES - 1) / (length - 1)).astype(int)


def _between(off: np.ndarray) -> np.ndarray:
    """What places are off, (places,); those that were never seen by those around them."""
    known = np.isfinite(off)
    return np.interp(np.arange(len(off)), np.flatnonzero(known), off[known])


def _table(away: np.ndarray, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Steps (length,) by their month, counted in `rows` (length,), and their place in it: (months, places)."""
    made = np.full((rows[-1] - rows[0] + 1, _PLACES), np.nan)
    made[rows - rows[0], places] = away
    return made


def _left(table: np.ndarray) -> np.ndarray:
    """What each month of a table (months, places) is off the shape of the others, (months, places)."""
    others = np.repeat(table[:, None], len(table), axis=1)
    others[np.arange(len(table)), np.arange(len(table))] = np.nan
    return table - known_median(others)


def _typical(away: np.ndarray) -> float:
    """The median size of what is known; infinite where nothing is."""
    known = np.abs(away[np.isfinite(away)])
    return float(np.median(known)) if known.size else np.inf


def _spread(away: np.ndarray, limit: float) -> float:
    """The root of the mean square of what is known, none taken for more than the limit; infinite where nothing is."""
    known = np.minimum(np.abs(away[np.isfinite(away)]), limit)
    return float(np.sqrt(np.mean(known**2))) if known.size else np.inf
