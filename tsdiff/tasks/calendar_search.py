"""Finds the days of the month, and of the year, on which values of days differ beyond chance.

A step is held against the same day of the weeks around it, or against the days around it, whichever tells more. A day
of the month (counted from its begin or its end, in days or working days, or the working day next to one of a weekend),
of a quarter's end or of the year is taken where its steps are farther off, on one side, than chance has it (binomial
test).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import comb

import numpy as np

from tsdiff.tasks.dates import in_years

REMEMBERED = 2200
"""Steps of history that are looked at."""
WEEKS, DAYS = 4, 3
"""How many weeks, or days, before and after a step tell what it would be."""
_FEWEST, _MOST = 4, 8
"""Months that have to be seen, and days of the month that are taken at most."""
LEAST = 20 * _FEWEST
"""Values that have to be known."""
_CHANCE, _MOSTLY = 1e-6, 0.75
"""Chance of a day that is found where there is none, and share of its months that it has to differ in."""
_YEARLY_CHANCE, _FEWEST_YEARS, _EACH_YEAR, _BUT_WEEKENDS, _CLEAR = 5e-6, 2, 0.8, 0.65, 3.0
"""The same of the days of a year: chance, years that have to be seen, share of them, and of those of a date that all
the others are a weekend's, where it changes less; and by how many deviations of others such a day has to be off."""
_DAYS_APART = 3
"""Days from one to the next of those around a day that tell whether it is off alone."""
_BESIDE = 3
"""Days before and after a feast that may be part of it."""
_AROUND, _OFTEN = 45, 0.2
"""Steps around a day, and the share of them that are off, from which on they are by chance, as in a noisy season."""
_YEAR, _SAME = 365, 10
"""Days of a year, and steps within which some may belong together, so that one tells nothing of what chance has of the
other."""


class Search:
    """The days on which a series, or its logarithm, differs, see `tsdiff.tasks.calendar_days.CalendarDays`.

    Args:
        target: the series (length,), NaN where missing.
        dates: of each step, those of the horizon too, datetime64[D], (length + horizon,).
        days: days of the month among which is searched, (days, length + horizon), see `tsdiff.tasks.dates.in_months`.
        working: whether weeks have five steps.
        ratio: whether the logarithm is looked at, of a positive series.
        together: whether days of the year speak for each other: of many that are off each year some are less likely to
            be by chance than one alone.

    Attributes:
        off, ratio: see there.
    """

    def __init__(
        self,
        target: np.ndarray,
        dates: np.ndarray,
        days: np.ndarray,
        working: bool,
        ratio: bool,
        together: bool = False,
    ):
        self.ratio, self.off = ratio, list[np.ndarray]()
        self._back = np.exp if ratio else np.asarray
        self._target, self._values = target, np.log(target) if ratio else target
        self._usual, self._left = self._values.copy(), self._values.copy()
        self._flags, self._missed = list[np.ndarray](), list[np.ndarray]()
        self._free, self._works = np.ones(len(dates), dtype=bool), np.is_busday(dates)
        week = 5 if working else 7
        near = _near(self._left, week)
        while len(self._flags) < _MOST and (chosen := _unlikeliest(self._left - near, days)) is not None:
            if not self._take(chosen, near):
                days = days[(days != chosen).any(axis=1)]
            near = _near(self._left, week)
        if np.ptp(dates[: len(target)]).astype(int) > _YEAR:
            # A date that is a feast is many a weekday of a month, but not the other way round.
            first, *others = zip(in_years(dates), (_BUT_WEEKENDS, *[_EACH_YEAR] * 4), strict=True)
            for names in [[first, *others]] if together else [[first], others]:
                taken = 1
                while taken:  # without those that are, others are less like chance
                    away = self._left - near
                    found = _of_the_year(_sudden(away) if together else away, dates, names, together)
                    taken = sum(self._take(chosen, near) for chosen in found)
                    if together:
                        self._take_beside(near)

    @property
    def usual(self) -> np.ndarray:
        """The series without them."""
        return self._back(self._usual)

    @property
    def flags(self) -> np.ndarray:
        """Where they are, (days, length + horizon)."""
        return np.array(self._flags)

    @property
    def missed(self) -> float:
        """By how much the days miss values on average."""
        return float(np.concatenate(self._missed).mean())

    def _take(self, chosen: np.ndarray, near: np.ndarray) -> bool:
        """Count a day, flagged in `chosen` (length + horizon,), among those that are off what `near` (length,) says of
        their steps; as two days where its weekends are off by clearly less or more than its working days. False, and
        nothing is changed, where more than a fifth of its values was counted before, under other names."""
        away, length = self._left - near, len(near)
        known = chosen[:length] & np.isfinite(away)
        if known.sum() < _EACH_YEAR * (chosen[:length] & np.isfinite(self._values)).sum():
            return False
        noise = 1.4826 * _typical(away[~known])
        parts = [known & self._works[:length], known & ~self._works[:length]]
        apart = min(part.sum() for part in parts) >= _FEWEST_YEARS and (
            abs(np.median(away[parts[0]]) - np.median(away[parts[1]])) > _CLEAR * noise
        )
        for here, which in zip(parts, (self._works, ~self._works), strict=True) if apart else ((known, True),):
            off, times = away[here], int(here.sum())
            middle = float(np.median(off))
            spread = off - middle
            chance = min(noise**2 / max(float(spread.var()), 1e-300), 1.0)  # the share of it that other steps have, too
            self._usual[here] = near[here] + chance * spread
            wider = np.sqrt((times + 1) / max(times - 1, 1))  # few are more alike
            self.off.append(middle + wider * np.sqrt(1 - chance) * spread)
            self._missed.append(np.abs(self._target[here] - self._back(near[here] + middle)))
            self._flags.append(chosen & self._free & which)
        self._free &= ~chosen
        self._left[chosen[:length]] = np.nan
        return True

    def _take_beside(self, near: np.ndarray) -> None:
        """The days around those of the year that were off, too, whenever they were seen: they are the same feast's."""
        away = _sudden(self._left - near)
        limit = _CLEAR * 1.4826 * _typical(away)
        feasts = deque(self._flags)
        while feasts:
            feast = feasts.popleft()
            for step in both(_BESIDE):
                beside = np.zeros_like(feast)
                beside[max(step, 0) : len(feast) + min(step, 0)] = feast[max(-step, 0) : len(feast) - max(step, 0)]
                beside &= self._free
                off = away[beside[: len(away)]]
                off = off[np.isfinite(off)]
                if len(off) and max(off.min(), -off.max()) > limit:
                    self._take(beside, near)
                    feasts.append(beside)


def _of_the_year(
    away: np.ndarray, dates: np.ndarray, names: Sequence[tuple[np.ndarray, float]], together: bool
) -> list[np.ndarray]:
    """The days of the year that are off, and not by chance: flags (steps,) of each, the least likely day first.

    Args:
        away: how far steps are off, (length,), NaN where that is not known.
        dates: of the steps, (steps,).
        names: what `in_years` calls the days, (steps,), each with the share of years in which a day has to differ.
        together: whether one such day makes others more likely.
    """
    past, seen = dates[: len(away)], []
    limit, known = _CLEAR * 1.4826 * _typical(away), np.isfinite(away)
    years, works = past.astype("datetime64[Y]").astype(int), np.is_busday(past)
    for named, share in names:
        of = named[: len(away)]
        told = of >= 0
        table = np.full((years[-1] - years[0] + 1, max(int(of.max()) + 1, 1)), np.nan)
        table[years[told] - years[0], of[told]] = away[told]
        times = np.isfinite(table).sum(axis=0)
        most = np.ceil(share * times).astype(int)
        for side in (1, -1):
            ordered = -np.sort(-side * table, axis=0)  # NaN comes last
            least = np.take_along_axis(ordered, np.maximum(most - 1, 0)[None], axis=0)[0]
            for one in np.flatnonzero((times >= _FEWEST_YEARS) & (least > limit)):
                places = np.flatnonzero((of == one) & known)
                if _whole(side * away[places] / limit, works[places]):
                    seen.append((side * away >= least[one], places, named == one))
    others = known & ~_explained(np.abs(away) > limit, known, seen) if together else known
    found = []
    for beyond, places, flags in seen:
        elsewhere = others.copy()
        for place in places:
            elsewhere[max(place - _SAME, 0) : place + _SAME + 1] = False
        found.append((_tail(int(beyond[places].sum()), len(places), beyond[elsewhere]), places[-1], flags))
    found.sort(key=lambda one: one[0])
    if not together:
        return [flags for chance, _, flags in found if chance < _YEARLY_CHANCE]
    ranks = [len({last for _, last, _ in found[: place + 1]}) for place in range(len(found))]
    taken = [place for place, rank in enumerate(ranks) if found[place][0] < _YEARLY_CHANCE * rank]
    return _apart([flags for _, _, flags in found[: max(taken, default=-1) + 1]])


def _sudden(away: np.ndarray) -> np.ndarray:
    """How far steps are off, (length,); where those around a step are more than half as far off to the same side, as at
    a season's turn, and the step is far off, how far beyond them."""
    around, limit = np.nan_to_num(middle(away, _DAYS_APART * both(DAYS))), _CLEAR * 1.4826 * _typical(away)
    return np.where((np.abs(away) > limit) & (around * away > away**2 / 2), away - around, away)


def _apart(days: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Those of some days (steps,) that are not within `_SAME` steps of an earlier one, which may be the same feast."""
    made = list[np.ndarray]()
    for flags in days:
        around = np.convolve(flags, np.ones(2 * _SAME + 1), "same") > 0
        if not any((other & around).any() for other in made):
            made.append(flags)
    return made


def _explained(
    off: np.ndarray, known: np.ndarray, seen: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Which steps (length,) are off because of a day that was seen. A day explains none where one of its steps lies
    among many that are off."""
    window = np.ones(2 * _AROUND + 1)
    often = np.convolve(off, window, "same") >= _OFTEN * np.convolve(known, window, "same")
    made = np.zeros(len(off), dtype=bool)
    for beyond, places, _ in seen:
        if not often[places].any():
            made[places[beyond[places]]] = True
    return made


def _whole(off: np.ndarray, works: np.ndarray) -> bool:
    """Whether a day is off beyond the limit in nearly all years in which it was a working day; and, where it was one in
    some years and a weekend in others, by more than half the limit on one weekend at least.

    Args:
        off: how far it is off, as a multiple of the limit, (years,).
        works: whether it was a working day, (years,).
    """
    misses = int((works & (off <= 1)).sum())
    either = bool(works.all()) or not works.any()
    return misses <= (1 - _EACH_YEAR) * len(off) and (either or float(off[~works].max()) > 0.5)


def _unlikeliest(away: np.ndarray, days: np.ndarray) -> np.ndarray | None:
    """Of the days (days, steps) the one that is the least likely to be off by chance, by how far steps are off,
    (length,); None where all may be so by chance."""
    here = days[:, : len(away)] & np.isfinite(away)
    count, above, below = here.sum(axis=1), (here & (away > 0)).sum(axis=1), (here & (away < 0)).sum(axis=1)
    one_sided = np.maximum(above, below) >= np.maximum(_MOSTLY * count, _FEWEST * _MOSTLY)
    if not one_sided.any():
        return None
    days = days[one_sided]
    chances = [_chance(away, some) for some in here[one_sided]]
    best = int(np.argmin(chances))
    return days[best] if chances[best] < _CHANCE else None


def _chance(away: np.ndarray, here: np.ndarray) -> float:
    """The chance that so many steps of a day, flagged in `here` (length,), are at least half as far off as its median,
    by the share of steps elsewhere that are; 1 where it has too few steps, or too few of them are."""
    those = away[here]
    count, half = len(those), float(np.median(those)) / 2 if len(those) >= _FEWEST else 0.0
    if half == 0 or (beyond := int((those / half >= 1).sum())) < _MOSTLY * count:
        return 1.0
    return _tail(beyond, count, away[~here & np.isfinite(away)] / half >= 1)


def _tail(there: int, count: int, elsewhere: np.ndarray) -> float:
    """The chance that so many of a count, or more, are true where they are so as often as those elsewhere (binomial
    law)."""
    share = (float(elsewhere.sum()) + 1) / (len(elsewhere) + 2)
    more = range(there, count + 1)
    return sum(comb(count, times) * share**times * (1 - share) ** (count - times) for times in more)


def _typical(away: np.ndarray) -> float:
    """The median size of what is known, or the mean one where most are 0; infinite where nothing is known."""
    known = np.abs(away[np.isfinite(away)])
    return float(np.median(known) or known.mean()) if known.size else np.inf


def _near(values: np.ndarray, week: int) -> np.ndarray:
    """What each step would be by the same days of the weeks around it, or by the days around it: by those of the two
    that are nearer to the values."""
    made = [middle(values, week * both(WEEKS)), middle(values, both(DAYS))]
    return min(made, key=lambda one: _typical(values - one))


def both(most: int) -> np.ndarray:
    """How far so many steps before and after a step are from it: −1, −2, …, 1, 2, …"""
    steps = np.arange(1, most + 1)
    return np.r_[-steps, steps]


def middle(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The median, at each step of values (length,), of those that are known so many `steps` away from it."""
    far = int(steps.max())
    padded = np.concatenate([np.full(far, np.nan), values, np.full(far, np.nan)])
    return known_median(np.stack([padded[far + step : far + step + len(values)] for step in steps]))


def known_median(values: np.ndarray) -> np.ndarray:
    """The median over the first axis of what is known."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    count = np.isfinite(ordered).sum(axis=0)
    places = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(ordered) - 1)])
    return np.take_along_axis(ordered, places, axis=0).mean(axis=0)
