"""Days of the month, and of the year, on which a series of hours, or of steps that divide a day, differs: Christmas,
Easter Monday, paydays.

Such days are found as those of daily series are (`tsdiff.tasks.calendar_search`), in two of them: what the days of a
series are like, from a usual day (0) to the day of rest (1), which weather does not hide, and their means. The model is
shown what the hours of such a day would have been, and its draws of one become like the same days in the past: each
hour as far off that of a usual day, or of the last days of rest, whichever tells more, or as many times as large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsdiff.data.frequency import base_freq, freq_of, multiple
from tsdiff.sampling.dependence import normal_scores
from tsdiff.tasks.calendar_days import MANY
from tsdiff.tasks.calendar_search import DAYS, LEAST, REMEMBERED, WEEKS, Search, both, known_median, middle
from tsdiff.tasks.dates import in_months
from tsdiff.windows.gaps import bridged_line, stretches

_MINUTES = {"h": 60, "min": 1}
_DAY, _WEEK = 1440, 7
_DOUBT = 0.5
"""Times that were not off, which the mean of those that were is taken with: few were more off than they will be."""
_PARTS = 4
"""The part of a day beside another that tells of its level."""
_BRIDGED = 8
"""The part of a day that a gap may be, as the hour that a summer's time leaves out, to have a line put over it."""
_FLOOR = 0.02
"""Share of the mean that is added to values before their logarithm is taken, for some are 0."""


@dataclass(frozen=True)
class CalendarHours:
    """Days of the month and the year on which a series of hours differs.

    Attributes:
        usual: the series without them, (length,).
        off: of each what its hours were off in the past, (times, hours of a day).
        which: of each day from the first value's to the horizon's, as which of them it is; -1 for none.
        like: (days, hours), what the hours of such a day are off before, for it is like a day of rest.
        first: hour of the first value.
        floor: added to values of which the logarithm was off; None where they were off themselves.
    """

    usual: np.ndarray
    off: list[np.ndarray]
    which: np.ndarray
    like: np.ndarray
    first: int
    floor: float | None

    def joined(self, samples: np.ndarray, steps: np.ndarray, seed: int) -> np.ndarray:
        """Samples (number, n) of some steps (n,) as they would be, each with what such a day was off."""
        made, rng = np.array(samples, dtype=np.float64), np.random.default_rng(seed)
        days, hours = np.divmod(steps + self.first, self.like.shape[1])
        for day in np.unique(days[self.which[days] >= 0]):
            here = days == day
            drawn = (self.like[day] + _drawn(self.off[self.which[day]], len(made), rng))[:, hours[here]]
            made[:, here] = _back(_forward(made[:, here], self.floor) + drawn, self.floor)
        return made


def _drawn(off: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draws (number, hours) of what a day's hours are off together, from what they were (times, hours): less on
    average, for chance had part in it."""
    mean, spread = off.mean(axis=0), off - off.mean(axis=0)
    if len(off) >= MANY:
        away = spread[rng.permutation(np.resize(np.arange(len(off)), number))]
    else:
        away = rng.permutation(normal_scores(number))[:, None] * spread.std(axis=0)
    return mean * len(off) / (len(off) + _DOUBT) + away


def _forward(values: np.ndarray, floor: float | None) -> np.ndarray:
    return values if floor is None else np.log(np.maximum(values, 0.0) + floor)


def _back(values: np.ndarray, floor: float | None) -> np.ndarray:
    return values if floor is None else np.exp(values) - floor


def steps_of_day(freq: str) -> int | None:
    """How many steps of a normalised frequency a day has; None of one that is no whole part of a day, of minutes at
    least."""
    step = multiple(freq) * _MINUTES.get(base_freq(freq), _DAY)
    return _DAY // step if step < _DAY and _DAY % step == 0 else None


def calendar_hours(target: np.ndarray, start: pd.Period, horizon: int) -> CalendarHours | None:
    """The days of the month and the year on which a series differs; None where there is none, of a series with gaps of
    more than three hours or at its end, and of one whose steps no day begins with.

    Args:
        target: (length,), NaN where missing, of steps that divide a day.
        start: of its first step.
        horizon: steps to forecast.
    """
    freq = freq_of(start)
    steps = steps_of_day(freq)
    if steps is None or (minute := start.ordinal * _MINUTES[base_freq(freq)]) % (_DAY // steps):
        return None
    first = minute % _DAY // (_DAY // steps)
    begun = int(np.argmax(np.nan_to_num(target) != 0)) if len(target) else 0
    ended, total = (first + len(target)) // steps, -(-(first + len(target) + horizon) // steps)
    begin = max(-(-(first + begun) // steps), ended - REMEMBERED)
    known = target[begin * steps - first :] if ended - begin >= LEAST else target[:0]
    missing = np.isnan(known)
    if not len(known) or missing[-1] or any(end - gap > steps // _BRIDGED for gap, end in stretches(missing)):
        return None
    known = bridged_line(known)
    hours = known[: (ended - begin) * steps].reshape(-1, steps)
    dates = (minute // _DAY + np.arange(begin, total)).astype("datetime64[D]")
    which = _found(hours, dates)
    if which.max() < 0:
        return None
    padded = np.concatenate([known, np.full(-len(known) % steps, np.nan)]).reshape(-1, steps)
    floors = (None,) if known.min() < 0 else (None, _FLOOR * float(known.mean()))
    made = min((_Hours(padded, dates, which, floor) for floor in floors), key=lambda one: one.missed)
    usual = np.where(missing, np.nan, made.usual.ravel()[: len(known)])
    usual = np.concatenate([target[: len(target) - len(known)], usual])
    which = np.concatenate([np.full(begin, -1), which])
    like = np.concatenate([np.zeros((begin, steps)), made.like])
    return CalendarHours(usual, made.off, which, like, first, made.floor)


def _found(hours: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """As which day that differs each date counts, -1 for none, by the values (days, hours) of the first of them."""
    means = hours.mean(axis=1)
    days, which, count = in_months(dates), np.full(len(dates), -1), 0
    for values in (_restful(hours, dates), np.log(means) if means.min() > 0 else means):
        left = np.where(which[: len(values)] < 0, values, np.nan)
        if np.isfinite(left).sum() < LEAST:
            continue
        for flags in Search(left, dates, days, working=False, ratio=False, together=True).flags:
            new = flags & (which < 0)
            if new[: len(values)].any():
                which[new], count = count, count + 1
    return which


def _restful(hours: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """How much each day (days, hours) is like the day of rest, by its shape alone."""
    shapes = np.sqrt(hours) if hours.min() >= 0 else hours  # neither as far off where it is large, nor as many times
    shapes = shapes - shapes.mean(axis=1, keepdims=True)
    weekdays = dates[: len(hours)].astype(int) % _WEEK
    of = np.array([np.median(shapes[weekdays == day], axis=0) for day in range(_WEEK)])
    usual = np.median(of, axis=0)
    rest = of[_rest(of)] - usual
    return (shapes - usual) @ rest / max(float(rest @ rest), 1e-300)


def _rest(of: np.ndarray) -> int:
    """Which of the days of the week (7, hours) is the least like the others."""
    return int(np.argmax(((of - np.median(of, axis=0)) ** 2).sum(axis=1)))


class _Hours:
    """What the hours of days that differ were off, see `CalendarHours`.

    Attributes:
        usual: (days, hours), what the series would have been.
        off, like, floor: see there.
        missed: by how much the days miss values on average.
    """

    def __init__(self, hours: np.ndarray, dates: np.ndarray, which: np.ndarray, floor: float | None):
        self.floor, self.off, missed = floor, list[np.ndarray](), list[np.ndarray]()
        self.usual, self.like = hours.copy(), np.zeros((len(dates), hours.shape[1]))
        values = _forward(hours, floor)
        self._left = np.where(which[: len(hours), None] < 0, values, np.nan)
        self._weekdays = dates.astype(int) % _WEEK
        level = self._level()
        of = [known_median(self._left[self._weekdays[: len(hours)] == day]) for day in range(_WEEK)]
        rest = _rest(np.array(of))
        for one in range(which.max() + 1):
            days = np.flatnonzero(which == one)
            past = days[days < len(hours)]
            near = [np.array([self._near(int(day), to) for day in days]) for to in (None, rest)]
            off = [values[past] - level[past] - those[: len(past)] for those in near]
            known = np.isfinite(off[0] + off[1]).all(axis=1)
            off = [those[known] if known.any() else np.zeros((1, hours.shape[1])) for those in off]
            means = [those.sum(axis=0) / (len(those) + _DOUBT) for those in off]
            best = int(np.argmin([np.abs(those - mean).mean() for those, mean in zip(off, means, strict=True)]))
            self.off.append(off[best])
            self.like[days] = near[best] - near[0]
            self.usual[past] = _back(values[past] - self.like[past] - off[best].mean(axis=0), floor)
            made = _back(level[past] + near[best][: len(past)] + means[best], floor)
            missed.append(np.abs(made - hours[past])[known])
        self.missed = float(np.concatenate(missed).mean())

    def _level(self) -> np.ndarray:
        """How far off the hours of each day (days, hours) are as the last of the day before it and the first of the day
        after it are, or as the days around it where those differ."""
        steps = self._left.shape[1]
        away = self._left - np.array([middle(values, _WEEK * both(WEEKS)) for values in self._left.T]).T
        around = np.nan_to_num(middle(away.mean(axis=1), both(DAYS)))
        some = -(-steps // _PARTS)
        before = np.r_[np.nan, away[:-1, -some:].mean(axis=1)]
        after = np.r_[away[1:, :some].mean(axis=1), np.nan]
        before, after = (np.where(np.isfinite(one), one, around)[:, None] for one in (before, after))
        return before + (after - before) * (np.arange(steps) + 0.5) / steps

    def _near(self, day: int, to: int | None) -> np.ndarray:
        """What a day would be by the weeks around it, (hours,): by the same days, or by those of another weekday."""
        begin = day if to is None else day - (self._weekdays[day] - to) % _WEEK
        weeks = both(WEEKS) if to is None else np.arange(-WEEKS, WEEKS)
        late = max(0, -(-(begin - _WEEK - len(self._left) + 1) // _WEEK))  # weeks that are not known
        rows = begin + _WEEK * (weeks - late)
        return known_median(self._left[rows[(rows >= 0) & (rows < len(self._left))]])
