"""Series that stay where they are but for jumps to new values, as prices, tariffs, interest rates and meters of a total
do: what comes is drawn from how often they jumped and how far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsdiff.windows.gaps import stretches

_RECENT, _FEWEST = 2000, 12
"""Values that are looked at, and how many there are at least."""
_OFTEN, _OF_LATE, _ZEROS = 1 / 6, 1 / 3, 0.1
"""Shares of steps up to which jumps are few, among all and the last twelve, and of zeros, which belong to amounts."""
_BACK, _ROUND, _NEARER = 0.3, 0.7, 0.6
"""The share of jumps at most that lead back to where the one before came from, and, of any more, to where the first of
them came from; and how far values are from those a season ago, by how far from those within it, at least: others are
offers, switches, coarse readings, cycles or a season."""
_REGULAR, _FEWEST_STAYS = 0.15, 2
"""By how much of their mean the stays between jumps differ at most that come at set times, and how many tell."""
_UNEVEN = 2.5
"""By how many standard deviations the jumps of the two halves differ at least where only the later one tells."""
_LATEST = 400
"""Last levels that are compared with one another."""
_ENOUGH, _ALIKE, _STEADY, _ANEW = 12, 0.75, 0.4, 1.2
"""Jumps from which on their stays and levels tell more: which share of them of one size at least, and how much one stay
differs from the next (local variation, Shinomoto et al. 2003; 1 in the mean if jumps come by chance) at most where they
are the readings of something that moves all the time; and how far any two levels are apart, by how far one is from the
next, at most where each is drawn anew."""
_DOUBT = 0.5
"""How many jumps, and how many that go on the way of the one before, or do not, count as seen besides (Jeffreys
1946)."""
_JUST, _TIMES = 3, 2
"""For how many steps a last jump may be a mistake, if it is to more than twice as much, or to less than half."""
_MOST_DECIMALS = 6
_MOST_GROWN = 10.0
"""How many times what was seen relative jumps lead to at most, and to what part of it at least, in long horizons."""


@dataclass(frozen=True)
class Jumps:
    """How a series jumps.

    Attributes:
        last: its last known value.
        age: steps for which it had been there then.
        since: steps that are missing after it.
        steps: that were looked at.
        stays: steps from one jump to the next, (jumps − 1,).
        sizes: of the jumps, (jumps,): differences, or of their logarithms.
        relative: whether they are those of logarithms, which are more alike.
        decimals: that its values have; None if more than six.
        extent: its least and largest value.
        levels: where it has been, (jumps + 1,), if where it comes to does not depend on where it was; else None.
    """

    last: float
    age: int
    since: int
    steps: int
    stays: np.ndarray
    sizes: np.ndarray
    relative: bool
    decimals: int | None
    extent: tuple[float, float]
    levels: np.ndarray | None

    @classmethod
    def of(cls, history: np.ndarray, seasons: Sequence[int], recent: int = _RECENT) -> Jumps | None:
        """Those of a history (length,), NaN where missing; None where it does not stay but for some jumps.

        Args:
            history: of the series.
            seasons: in steps; 1 where there is none.
            recent: last values that are looked at.
        """
        places = np.flatnonzero(np.isfinite(history))[-recent:]
        values = history[places]
        if len(values) < _FEWEST or (values == 0).mean() > _ZEROS:
            return None
        moves = np.diff(values)
        jumps = np.flatnonzero(moves)
        late = np.count_nonzero(moves[-_FEWEST:]) / _FEWEST
        if not 0 < len(jumps) <= _OFTEN * len(moves) or late > _OF_LATE:
            return None
        levels, times = values[np.append(jumps, len(values) - 1)], places[jumps + 1]
        if _go_back(levels) or any(_comes_again(history, season) for season in seasons):
            return None
        single = np.flatnonzero((values[2:] == values[:-2]) & (values[1:-1] != values[2:])) + 1
        if len(single):  # mistakes, or offers of a day
            return cls.of(_put_back(history, places[single], values[single - 1]), seasons, recent)
        half = len(moves) // 2
        if _uneven(jumps < half):
            return cls.of(history[places[half] :], seasons)
        stays = np.diff(times)
        if not _regular(stays) and _coarse(stays, np.abs(moves[jumps])):
            return None
        if len(values) - 1 - jumps[-1] <= _JUST and _mistaken(levels):
            return None
        differences, relative = moves[jumps], False
        if (values > 0).all():
            logarithms = np.diff(np.log(levels))
            relative = _spread(logarithms) < _spread(differences)
            differences = logarithms if relative else differences
        end = int(places[-1]) + 1
        told = (end - int(times[-1]), len(history) - end, end - 1 - int(places[0]))
        anew = levels if _anew(levels) else None
        extent = float(values.min()), float(values.max())
        return cls(float(values[-1]), *told, stays, differences, relative, _decimals(values), extent, anew)

    def paths(self, number: int, horizon: int, rng: np.random.Generator) -> np.ndarray:
        """So many draws of what comes, (number, horizon)."""
        steps = self.since + horizon
        jumps = self._times(number, steps, rng)
        if self.levels is not None:
            latest = np.maximum.accumulate(np.where(jumps, np.arange(steps), -1), axis=1)[:, self.since :]
            levels = np.take_along_axis(rng.choice(self.levels, (number, steps)), np.maximum(latest, 0), axis=1)
            return np.where(latest < 0, self.last, levels)
        signs = np.sign(self.sizes)
        same = int((signs[1:] == signs[:-1]).sum())
        onwards = rng.beta(same + _DOUBT, len(signs) - 1 - same + _DOUBT, (number, 1))
        turned = jumps & (rng.random((number, steps)) >= onwards)
        sizes = np.abs(rng.choice(self.sizes, (number, steps))) * np.cumprod(np.where(turned, -1, 1), axis=1)
        moved = np.cumsum(signs[-1] * sizes * jumps, axis=1)[:, self.since :]
        if self.relative:
            least, most = np.log(self.extent) - np.log(self.last)
            grown = np.log(_MOST_GROWN)
            made = self.last * np.exp(moved.clip(least - grown, most + grown))
        else:
            made = self.last + moved
        return made if self.decimals is None else np.round(made, self.decimals)

    def _times(self, number: int, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Where each draw jumps, (number, steps): at any time, or mostly when it is time, if they come at set times."""
        count = len(self.sizes)
        chance = rng.beta(count + _DOUBT, max(self.steps - count, 0) + _DOUBT, (number, 1))
        jumps = rng.random((number, steps)) < chance
        to_come = self.stays[self.stays >= self.age]
        if not _regular(self.stays) or not len(to_come):
            return jumps
        first = rng.choice(to_come, (number, 1)) - self.age
        times = np.cumsum(np.hstack([first, rng.choice(self.stays, (number, steps))]), axis=1)
        rows, places = np.nonzero(times < steps)
        regular = np.zeros((number, steps), dtype=bool)
        regular[rows, times[rows, places]] = True
        return np.where(rng.random((number, 1)) * (count + 1) < 1, jumps, regular)


def stays_throughout(history: np.ndarray, seasons: Sequence[int]) -> bool:
    """Whether a history (length,) has `Jumps` from its first to its last value: a part may be quite unlike the end."""
    return all(Jumps.of(one, seasons, len(one)) is not None for one in (history, history[::-1]))


def filled(history: np.ndarray, seasons: Sequence[int], number: int, rng: np.random.Generator) -> np.ndarray:
    """So many draws of what is missing in a history (length,) that `stays_throughout`, (number, missing): what lies on
    both sides of a gap, and jumps from one to the other at any time, as many as there usually are, at least one; before
    the first and after the last value as `paths`."""
    made, whole = np.tile(history, (number, 1)), Jumps.of(history, seasons, len(history))
    for start, stop in stretches(np.isnan(history)):
        steps = stop - start
        if start == 0:
            back = Jumps.of(history[stop:][::-1], seasons)
            made[:, :stop] = history[stop] if back is None else back.paths(number, steps, rng)[:, ::-1]
        elif stop == len(history):
            ahead = Jumps.of(history[:start], seasons)
            made[:, start:] = history[start - 1] if ahead is None else ahead.paths(number, steps, rng)
        else:
            made[:, start:stop] = _between(history[start - 1], history[stop], steps, whole, number, rng)
    return made[:, np.isnan(history)]


def _between(
    before: float, after: float, steps: int, jumps: Jumps | None, number: int, rng: np.random.Generator
) -> np.ndarray:
    """So many draws of that many steps between two values, (number, steps)."""
    usual = 1 if jumps is None or before == after else round(steps * len(jumps.sizes) / jumps.steps)
    count = max(usual, 1)
    done = rng.multinomial(count, np.full(steps + 1, 1 / (steps + 1)), number).cumsum(axis=1)[:, :steps]
    between = before + (after - before) * done / count
    if jumps is not None and jumps.decimals is not None:
        between = np.round(between, jumps.decimals)
    return np.where(done == 0, before, np.where(done == count, after, between))


def _go_back(levels: np.ndarray) -> bool:
    """Whether levels (n,), one after the other, often come back at once, or go round."""
    back = (levels[2:] == levels[:-2]).mean() if len(levels) > 2 else 0.0
    levels = levels[-_LATEST:]
    rounds = any((levels[lag:] == levels[:-lag]).mean() > _ROUND for lag in range(3, len(levels) // 2 + 1))
    return bool(back > _BACK or rounds)


def _uneven(earlier: np.ndarray) -> bool:
    """Whether jumps, told which of them (n,) are in the earlier half, are more, or less, there than by chance."""
    return bool(abs(len(earlier) - 2 * earlier.sum()) > _UNEVEN * np.sqrt(len(earlier)))


def _regular(stays: np.ndarray) -> bool:
    """Whether stays (n,) are those of jumps at set times."""
    return len(stays) >= _FEWEST_STAYS and bool(np.ptp(stays) <= max(_REGULAR * stays.mean(), 1))


def _coarse(stays: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether stays (n,) between jumps of these sizes (n + 1,) are those of a slope or wave that is read coarsely: one
    is about as long as the next, and jumps are by one unit, but for those over gaps."""
    if len(stays) < _ENOUGH or np.isclose(sizes, np.median(sizes)).mean() < _ALIKE:
        return False
    return bool(3 * np.mean((np.diff(stays) / (stays[1:] + stays[:-1])) ** 2) < _STEADY)


def _anew(levels: np.ndarray) -> bool:
    """Whether levels (n,), one after the other, are as far apart as any two of them."""
    levels = levels[-_LATEST:]
    count = len(levels)
    apart = np.abs(levels[:, None] - levels).sum() / (count * (count - 1))
    return count > _ENOUGH and bool(apart < _ANEW * np.abs(np.diff(levels)).mean())


def _put_back(history: np.ndarray, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    made = history.copy()
    made[places] = values
    return made


def _mistaken(levels: np.ndarray) -> bool:
    """Whether the last of levels (n,) is far off the one before as no other was."""
    before, last = levels[-2:]
    near = min(before, before * _TIMES, before / _TIMES) <= last <= max(before, before * _TIMES, before / _TIMES)
    sizes = np.abs(np.diff(levels))
    return bool(not near and sizes[-1] > _TIMES * sizes[:-1].max(initial=0.0))


def _comes_again(history: np.ndarray, season: int) -> bool:
    """Whether values (n,), NaN where missing, are much nearer to those a season ago than to those within it."""
    recent = history[-max(_RECENT, 2 * season) :]
    lags = [season, season // 4, season // 2, 3 * season // 4]
    if season < 4 or len(recent) < 2 * season:
        return False
    whole, *within = (_apart(recent, lag) for lag in lags)
    return whole < _NEARER * float(np.mean(within))


def _apart(values: np.ndarray, lag: int) -> float:
    """How far values (n,) are from those so many steps before, in the mean; NaN where no two are known."""
    off = np.abs(values[lag:] - values[:-lag])
    known = off[np.isfinite(off)]
    return float(known.mean()) if len(known) else float("nan")


def _spread(sizes: np.ndarray) -> float:
    """How much the sizes of jumps (n,) differ, by their mean size."""
    sizes = np.abs(sizes)
    return float(sizes.std() / sizes.mean())


def _decimals(values: np.ndarray) -> int | None:
    """With how many decimals values (n,) are written; None if with more than six."""
    scale = max(float(np.abs(values).max()), 1.0)
    for decimals in range(_MOST_DECIMALS + 1):
        if np.abs(values - np.round(values, decimals)).max() <= 1e-12 * scale:
            return decimals
    return None
