"""Days of the month, and of the year, on which a daily series differs: month's ends, paydays, bills on the first,
Christmas; and the shape of all its months (`tsdiff.tasks.calendar_shape`).

A model of days and weeks does not see them, for months and years are no whole number of weeks. They are found beyond
chance (`tsdiff.tasks.calendar_search`). The model is shown what such a step would have been, and what it was off in the
past is added to what the model draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tsdiff.data.entries import Entry, named_entries, target_of
from tsdiff.sampling.dependence import normal_scores
from tsdiff.sampling.zeros import Support
from tsdiff.tasks.calendar_search import LEAST, REMEMBERED, Search
from tsdiff.tasks.calendar_shape import MonthShape, month_shape
from tsdiff.tasks.covariates import Tells
from tsdiff.tasks.dates import dates_of, in_months
from tsdiff.tasks.noted import Made, Make, made_of


class Days(Protocol):
    """Days on which a series differs."""

    @property
    def usual(self) -> np.ndarray:
        """The series without them, (length,)."""

    @property
    def off(self) -> Sequence[np.ndarray]:
        """Of each what it was off in the past."""

    def joined(self, samples: np.ndarray, steps: np.ndarray, seed: int) -> np.ndarray:
        """Samples (number, n) of some steps (n,) as they would be, each with what such a day was off."""
        ...


FindDays = Callable[[np.ndarray, Any, int], Days | None]
"""Finds the days on which a series (length,) from a start differs, with a horizon."""

MANY = 8
"""So often seen, what a day was off is drawn from; rarer ones are drawn from a normal law."""
DAILY = ("D", "B")
"""Normalised frequencies of series that have such days."""


@dataclass(frozen=True)
class CalendarDays:
    """Days of the month and the year on which a series differs, and the shape of its months.

    Attributes:
        usual: the series without them, (length,).
        where: (days, length + horizon), the steps that are such days; no step is two.
        off: of each what it was off in the past, (times,).
        ratio: whether it is the logarithm that was off.
        shape: of all months; days are off what they would be by it. None where there is none.
    """

    usual: np.ndarray
    where: np.ndarray
    off: list[np.ndarray]
    ratio: bool
    shape: MonthShape | None = None

    def joined(self, samples: np.ndarray, steps: np.ndarray, seed: int) -> np.ndarray:
        """Samples (number, n) of some steps (n,) as they would be, each with what such a day was off."""
        made, rng = np.array(samples, dtype=np.float64), np.random.default_rng(seed)
        for flags, off in zip(self.where[:, steps], self.off, strict=True):
            for place in np.flatnonzero(flags):
                drawn = _drawn(off, len(made), rng)
                made[:, place] = made[:, place] * np.exp(drawn) if self.ratio else made[:, place] + drawn
        return made if self.shape is None else self.shape.added(made, steps)


def _drawn(off: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of what a day is off, from what it was."""
    made = np.resize(off, number) if len(off) >= MANY else np.median(off) + off.std() * normal_scores(number)
    return rng.permutation(made)


def calendar_days(target: np.ndarray, start: pd.Period, horizon: int) -> CalendarDays | None:
    """The days of the month and the year on which a series differs, and the shape of its months; None where there is
    none of them.

    Args:
        target: (length,), NaN where missing, of days or of working days.
        start: of its first step.
        horizon: steps to forecast.
    """
    begun = int(np.argmax(np.nan_to_num(target) != 0)) if len(target) else 0  # zeros before tell nothing of its days
    before = max(len(target) - REMEMBERED, begun)
    values, working = target[before:], start.freqstr.startswith("B")
    if np.isfinite(values).sum() < LEAST:
        return None
    dates = dates_of(start, before, len(target) + horizon)
    shape = month_shape(values, dates, 5 if working else 7)
    values = values if shape is None else shape.without(values)
    days = in_months(dates)
    found = Search(values, dates, days, working, ratio=False)
    if not found.off and shape is None:
        return None
    if found.off and np.nanmin(values) > 0:
        ratio = Search(values, dates, days, working, ratio=True)
        found = min((one for one in (found, ratio) if one.off), key=lambda one: one.missed)
    usual = np.concatenate([target[:before], found.usual])
    flags = found.flags.reshape(len(found.off), len(dates))
    where = np.concatenate([np.zeros((len(flags), before), dtype=bool), flags], axis=1)
    return CalendarDays(usual, where, found.off, found.ratio, None if shape is None else shape.after(before))


def _such_as(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values not below 0 where those that were seen are not, and whole where these are."""
    support = Support.of(seen)
    values = np.maximum(values, 0.0) if support.nonnegative else values
    return np.rint(values) if support.counts else values


def around_calendar_days(
    find: FindDays,
    make: Make[Made],
    dataset: Iterable[Entry],
    num_samples: int,
    horizon: int = 0,
    told: Tells = lambda entry, name: None,
) -> Iterator[tuple[Made, np.ndarray, Days | None]]:
    """What is made of series as they would be without days that differ.

    Args:
        find: finds these days.
        make: makes it, entry by entry, in order.
        dataset, num_samples: for `make`.
        horizon: steps to forecast.
        told: what covariates of a named entry do, which is not for days of the month to tell.

    Yields:
        What was made, the series' values, and these days.
    """

    def usual() -> Iterator[tuple[Entry, tuple[np.ndarray, Days | None]]]:
        for name, entry in named_entries(dataset):
            target = target_of(entry, name)
            effect = told(entry, name)
            left = target if effect is None else effect.without(target)
            found = find(left, entry.get("start"), horizon) if target.ndim == 1 else None
            if found is not None:
                without = found.usual if effect is None else effect.back(found.usual)
                entry = {**entry, "target": _such_as(target, without)}
            yield entry, (target, found)

    for made, (target, days) in made_of(make, usual(), num_samples):
        yield made, target, days
