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
_BACK, _NEW, _NEARER = 0.3, 0.25, 0.6
"""The share of jumps at most that lead back to where the one before came from, that of levels that are different, at
least, and how far values are from those a season ago, by how far from those within it, at least: others are offers,
switches, coarse readings or a season."""
_REGULAR, _FEWEST_STAYS = 0.15, 2
"""By how much of their mean the stays between jumps differ at most that come at set times, and how many tell."""
_DOUBT = 0.5
"""How many jumps, and how many that go on the way of the one before, or do not, count as seen besides (Jeffreys
1946)."""
_JUST, _TIMES = 3, 2
"""For how many steps a last jump may be a mistake, if it is to more than twice as much, or to less than half."""
_MOST_DECIMALS = 6


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
    """

    last: float
    age: int
    since: int
    steps: int
    stays: np.ndarray
    sizes: np.ndarray
    relative: bool
    decimals: int | None

    @classmethod
    def of(cls, history: np.ndarray, seasons: Sequence[int]) -> Jumps | None:
        """Those of a history (length,), NaN where missing; None where it does not stay but for some jumps.

        Args:
            history: of the series.
            seasons: in steps; 1 where there is none.
        """
        places = np.flatnonzero(np.isfinite(history))[-_RECENT:]
        values = history[places]
        if len(values) < _FEWEST or (values == 0).mean() > _ZEROS:
            return None
        moves = np.diff(values)
        jumps = np.flatnonzero(moves)
        late = np.count_nonzero(moves[-_FEWEST:]) / _FEWEST
        if not 0 < len(jumps) <= _OFTEN * len(moves) or late > _OF_LATE:
            return None
        levels, times = values[np.append(jumps, len(values) - 1)], places[jumps + 1]
        if not _ever_new(levels) or any(_comes_again(history, season) for season in seasons):
            return None
        single = np.flatnonzero((values[2:] == values[:-2]) & (values[1:-1] != values[2:])) + 1
        if len(single):  # mistakes, or offers of a day
            return cls.of(_put_back(history, places[single], values[single - 1]), seasons)
        if len(values) - 1 - jumps[-1] <= _JUST and _mistaken(levels):
            return None
        differences, relative = moves[jumps], False
        if (values > 0).all():
            logarithms = np.diff(np.log(levels))
            relative = _spread(logarithms) < _spread(differences)
            differences = logarithms if relative else differences
        end = int(places[-1]) + 1
        told = (end - int(times[-1]), len(history) - end, end - 1 - int(places[0]))
        return cls(float(values[-1]), *told, np.diff(times), differences, relative, _decimals(values))

    def paths(self, number: int, horizon: int, rng: np.random.Generator) -> np.ndarray:
        """So many draws of what comes, (number, horizon)."""
        steps = self.since + horizon
        jumps = self._times(number, steps, rng)
        signs = np.sign(self.sizes)
        same = int((signs[1:] == signs[:-1]).sum())
        onwards = rng.beta(same + _DOUBT, len(signs) - 1 - same + _DOUBT, (number, 1))
        turned = jumps & (rng.random((number, steps)) >= onwards)
        sizes = np.abs(rng.choice(self.sizes, (number, steps))) * np.cumprod(np.where(turned, -1, 1), axis=1)
        moved = np.cumsum(signs[-1] * sizes * jumps, axis=1)[:, self.since :]
        made = self.last * np.exp(moved) if self.relative else self.last + moved
        return made if self.decimals is None else np.round(made, self.decimals)

    def _times(self, number: int, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Where each draw jumps, (number, steps): at any time, or mostly when it is time, if they come at set times."""
        count = len(self.sizes)
        chance = rng.beta(count + _DOUBT, max(self.steps - count, 0) + _DOUBT, (number, 1))
        jumps = rng.random((number, steps)) < chance
        to_come = self.stays[self.stays >= self.age]
        if len(self.stays) < _FEWEST_STAYS or not len(to_come):
            return jumps
        if np.ptp(self.stays) > max(_REGULAR * self.stays.mean(), 1):
            return jumps
        first = rng.choice(to_come, (number, 1)) - self.age
        times = np.cumsum(np.hstack([first, rng.choice(self.stays, (number, steps))]), axis=1)
        regular = (times[:, :, None] == np.arange(steps)).any(1)
        return np.where(rng.random((number, 1)) * (count + 1) < 1, jumps, regular)


def filled(history: np.ndarray, seasons: Sequence[int], number: int, rng: np.random.Generator) -> np.ndarray:
    """So many draws of what is missing in a history (length,) that has `Jumps`, (number, missing): what lies on both
    sides of a gap, with one jump at any time if that differs; before the first and after the last value as `paths`."""
    made = np.tile(history, (number, 1))
    for start, stop in stretches(np.isnan(history)):
        steps = stop - start
        if start == 0:
            back = Jumps.of(history[stop:][::-1], seasons)
            made[:, :stop] = history[stop] if back is None else back.paths(number, steps, rng)[:, ::-1]
        elif stop == len(history):
            ahead = Jumps.of(history[:start], seasons)
            made[:, start:] = history[start - 1] if ahead is None else ahead.paths(number, steps, rng)
        else:
            moved = np.arange(steps) >= rng.integers(0, steps + 1, (number, 1))
            made[:, start:stop] = np.where(moved, history[stop], history[start - 1])
    return made[:, np.isnan(history)]


def _ever_new(levels: np.ndarray) -> bool:
    """Whether levels (n,), one after the other, hardly come back."""
    back = (levels[2:] == levels[:-2]).mean() if len(levels) > 2 else 0.0
    return bool(back <= _BACK and len(np.unique(levels)) >= _NEW * len(levels))


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
    recent = history[-_RECENT:]
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
