"""Days of the month on which a daily series differs: month's ends, paydays, the day that bills are sent.

A model of days and weeks does not see them, for months differ in length. A step is held against the same day of the
weeks around it, or against the days around it, whichever tells more, and a day of the month (counted from its begin or
its end, in days or working days) is taken where its steps are farther off, on one side, than chance has it (binomial
test). The model is shown what such a step would have been, and what it was off in a past month is added to what the
model draws.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import comb
from typing import TypeVar

import numpy as np
import pandas as pd

from tsdiff.data.entries import Entry, named_entries, target_of
from tsdiff.data.frequency import quiet
from tsdiff.sampling.zeros import Support
from tsdiff.tasks.covariates import Effect

Made = TypeVar("Made")

_REMEMBERED = 1500
"""Steps of history that are looked at."""
_WEEKS, _DAYS = 4, 3
"""How many weeks, or days, before and after a step tell what it would be."""
_FEWEST, _MOST = 4, 8
"""Months that have to be seen, and days of the month that are taken at most."""
_LEAST = 20 * _FEWEST
"""Values that have to be known."""
_CHANCE, _MOSTLY = 1e-6, 0.75
"""Chance of a day that is found where there is none, and share of its months that it has to differ in."""
_FROM_BEGIN, _FROM_END, _WORKING = 28, 4, 3
"""Days that are counted from the begin and the end of a month, and working days from either."""


DAILY = ("D", "B")
"""Normalised frequencies of series that have days of the month."""


@dataclass(frozen=True)
class MonthDays:
    """Days of the month on which a series differs.

    Attributes:
        usual: the series without them, (length,).
        where: (days, length + horizon), the steps that are such days; no step is two.
        off: of each what past months were off, (months,).
        ratio: whether it is the logarithm that was off.
    """

    usual: np.ndarray
    where: np.ndarray
    off: list[np.ndarray]
    ratio: bool

    def joined(self, samples: np.ndarray, steps: np.ndarray, seed: int) -> np.ndarray:
        """Samples (number, n) of some steps (n,) as they would be, each with what a past month was off."""
        made, rng = np.array(samples, dtype=np.float64), np.random.default_rng(seed)
        for flags, off in zip(self.where[:, steps], self.off, strict=True):
            for place in np.flatnonzero(flags):
                drawn = rng.permutation(np.resize(off, len(made)))
                made[:, place] = made[:, place] * np.exp(drawn) if self.ratio else made[:, place] + drawn
        return made


def month_days(target: np.ndarray, start: pd.Period, horizon: int) -> MonthDays | None:
    """The days of the month on which a series differs; None where there is none.

    Args:
        target: (length,), NaN where missing, of days or of working days.
        start: of its first step.
        horizon: steps to forecast.
    """
    before = max(len(target) - _REMEMBERED, 0)
    values, working = target[before:], start.freqstr.startswith("B")
    if np.isfinite(values).sum() < _LEAST:
        return None
    days = _named(_dates(start, before, len(target) + horizon, working))
    week = 5 if working else 7
    found = _found(values, days, week, ratio=False)
    if found is None:
        return None
    if np.nanmin(values) > 0:
        ratio = _found(values, days, week, ratio=True)
        found = found if ratio is None else min(found, ratio, key=lambda one: one.missed)
    usual = np.concatenate([target[:before], found.usual])
    where = np.concatenate([np.zeros((len(found.off), before), dtype=bool), found.flags], axis=1)
    return MonthDays(usual, where, found.off, found.ratio)


def _such_as(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values not below 0 where those that were seen are not, and whole where these are."""
    support = Support.of(seen)
    values = np.maximum(values, 0.0) if support.nonnegative else values
    return np.rint(values) if support.counts else values


@dataclass(frozen=True)
class _Found:
    """Days of the month that were found, as `MonthDays` has them, where they are, (days, length + horizon), and by how
    much they miss values on average."""

    usual: np.ndarray
    flags: np.ndarray
    off: list[np.ndarray]
    ratio: bool
    missed: float


def _found(target: np.ndarray, days: np.ndarray, week: int, ratio: bool) -> _Found | None:
    """The days on which a series, or its logarithm, differs; None where there is none."""
    values, length = np.log(target) if ratio else target, len(target)
    back = np.exp if ratio else np.asarray
    left, usual, free = values.copy(), values.copy(), np.ones(days.shape[1], dtype=bool)
    flags: list[np.ndarray] = []
    off, missed = [], []
    while len(flags) < _MOST:
        near = _near(left, week)
        away = left - near
        chosen = _unlikeliest(away, days)
        if chosen is None:
            break
        here = chosen[:length] & np.isfinite(away)
        middle, noise = float(np.median(away[here])), 1.4826 * _typical(away[~here])
        spread = away[here] - middle
        chance = min(noise**2 / max(float(spread.var()), 1e-300), 1.0)  # the share of it that other steps have, too
        usual[here] = near[here] + chance * spread
        off.append(middle + np.sqrt(1 - chance) * spread)
        missed.append(np.abs(target[here] - back(near[here] + middle)))
        flags.append(chosen & free)
        free &= ~chosen
        left[chosen[:length]] = np.nan
    if not flags:
        return None
    return _Found(back(usual), np.array(flags), off, ratio, float(np.concatenate(missed).mean()))


def _unlikeliest(away: np.ndarray, days: np.ndarray) -> np.ndarray | None:
    """Of the days (days, steps) the one that is the least by chance, by what steps are off (length,); None where all
    may be."""
    known = np.isfinite(away)
    heres = days[:, : len(away)] & known
    chances = [_chance(away[here], away[known & ~here]) if here.sum() >= _FEWEST else 1.0 for here in heres]
    best = int(np.argmin(chances))
    made: np.ndarray | None = days[best] if chances[best] < _CHANCE else None
    return made


def _chance(here: np.ndarray, elsewhere: np.ndarray) -> float:
    """Of so many steps of a day that are half as far off as it is, by the share of such steps elsewhere; 1 where it
    differs in too few months."""
    half = float(np.median(here)) / 2
    if half == 0:
        return 1.0
    count, beyond = len(here), int((here / half >= 1).sum())
    if beyond < _MOSTLY * count:
        return 1.0
    share = float((elsewhere / half >= 1).sum() + 1) / (len(elsewhere) + 2)
    more = range(beyond, count + 1)
    return sum(comb(count, times) * share**times * (1 - share) ** (count - times) for times in more)


def _typical(away: np.ndarray) -> float:
    """The median size of what is known; infinite where nothing is."""
    known = np.abs(away[np.isfinite(away)])
    return float(np.median(known)) if known.size else np.inf


def _near(values: np.ndarray, week: int) -> np.ndarray:
    """What each step would be by those around it: the same days of the weeks around it, or the days around it."""
    made = [_middle(values, week * _both(_WEEKS)), _middle(values, _both(_DAYS))]
    return min(made, key=lambda one: _typical(values - one))


def _both(most: int) -> np.ndarray:
    steps = np.arange(1, most + 1)
    return np.r_[-steps, steps]


def _middle(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The median of those values, so many steps away from each, that are known."""
    far = int(steps.max())
    padded = np.concatenate([np.full(far, np.nan), values, np.full(far, np.nan)])
    around = np.stack([padded[far + step : far + step + len(values)] for step in steps])
    around.sort(axis=0)  # NaN comes last
    count = np.isfinite(around).sum(axis=0)
    places = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(steps) - 1)])
    made: np.ndarray = np.take_along_axis(around, places, axis=0).mean(axis=0)
    return made


def _dates(start: pd.Period, begin: int, end: int, working: bool) -> np.ndarray:
    """Those of some steps after a start, from … to."""
    with quiet():
        first, steps = np.datetime64(start.to_timestamp(), "D"), np.arange(begin, end)
    made: np.ndarray = np.busday_offset(first, steps) if working else first + steps
    return made


def _named(dates: np.ndarray) -> np.ndarray:
    """Where each day of the month is that can be named, (days, steps)."""
    month = dates.astype("datetime64[M]")
    begin, end = month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]")
    works, working = np.is_busday(dates), np.arange(_WORKING)[:, None]
    named = [
        (dates - begin).astype(int) == np.arange(_FROM_BEGIN)[:, None],
        (end - dates).astype(int) - 1 == np.arange(_FROM_END)[:, None],
        works & (np.busday_count(begin, dates) == working),
        works & (np.busday_count(dates, end) - 1 == working),
    ]
    return np.concatenate(named)


def around_month_days(
    make: Callable[[Iterable[Entry], int], Iterator[Made]],
    dataset: Iterable[Entry],
    num_samples: int,
    horizon: int = 0,
    told: Callable[[Entry, str], Effect | None] = lambda entry, name: None,
) -> Iterator[tuple[Made, np.ndarray, MonthDays | None]]:
    """What is made of daily series as they would be without days of the month that differ.

    Args:
        make: makes it, entry by entry, in order.
        dataset, num_samples: for `make`.
        horizon: steps to forecast.
        told: what covariates of a named entry do, which is not for days of the month to tell.

    Yields:
        What was made, the series' values, and these days.
    """
    waiting: deque[tuple[np.ndarray, MonthDays | None]] = deque()

    def usual() -> Iterator[Entry]:
        for name, entry in named_entries(dataset):
            target = target_of(entry, name)
            effect = told(entry, name)
            left = target if effect is None else effect.without(target)
            found = month_days(left, entry["start"], horizon) if target.ndim == 1 else None
            waiting.append((target, found))
            if found is None:
                yield entry
                continue
            without = found.usual if effect is None else effect.back(found.usual)
            yield {**entry, "target": _such_as(target, without)}

    for made in make(usual(), num_samples):
        yield made, *waiting.popleft()
