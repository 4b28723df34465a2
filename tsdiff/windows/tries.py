"""Tries: which of a history's pasts are forecast to see how good a forecast is, and what came of them.

Late ones, one after the other, and some whole seasons ago, on such days as what is to be forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsdiff.windows.simple import Seasons, simple_forecasts

SEASONS_AGO, WEEKS_AGO = 2, 6
"""Long seasons, and of hours weeks, that are gone back for tries."""

_FEWEST_TRIED, _FEWEST_KNOWN, _ORIGINS = 4, 3, 12
"""Values of a history in which a forecast is tried, and that a try knows, at least, and late tries at most."""
_DAYS, _SURE = 7, 2.0
"""Of a week, and standard errors."""


def seen_backtests(known: np.ndarray, horizon: int, seasons: Seasons) -> tuple[int, np.ndarray]:
    """`backtests` of a history (n,) of which some values are known: each begins after the last known value before, and
    sees one. They are longer than the horizon where no such ones are, as of every second value."""
    count, longer = len(known), horizon
    latest = np.maximum.accumulate(np.where(known, np.arange(1, count + 1), 0))
    while True:
        tried, ends = backtests(count, longer, seasons)
        ends = np.unique(latest[ends - 1])[::-1]
        ends = ends[(ends >= _FEWEST_KNOWN) & _begins_and_sees(ends, known, tried)]
        if len(ends) or longer >= count or not known[-1]:
            return tried, ends
        longer *= 2


def _begins_and_sees(ends: np.ndarray, known: np.ndarray, steps: int) -> np.ndarray:
    """Which ends come after a known value (n,), and before one in so many steps; what fills a gap is told by both of
    its sides."""
    return known[ends - 1] & known[ends[:, None] + np.arange(steps)].any(1)


def backtests(count: int, horizon: int, seasons: Seasons) -> tuple[int, np.ndarray]:
    """The horizon of past forecasts, and how many values each knew, the latest first."""
    step = max(1, horizon // 2 if horizon < 24 else horizon // 3)
    least = max(_FEWEST_KNOWN, min(2 * seasons[0], count // 2))
    ends = count - horizon - step * np.arange(_ORIGINS)
    ends = ends[ends >= least]
    if len(ends) or count < _FEWEST_TRIED:
        return horizon, ends
    shorter = max(1, min(horizon, count // 3))
    ends = count - shorter - max(1, shorter // 2) * np.arange(_ORIGINS)
    return shorter, ends[ends >= max(_FEWEST_KNOWN, count // 3)]


def has_weeks(seasons: Seasons) -> bool:
    """Whether the longer season is a week, and the first a day."""
    return bool(seasons[0]) and seasons[1] == _DAYS * seasons[0]


def mean_error(errors: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """The mean over the last axis, the steps, of errors (origins, …, steps), of those that were seen, (origins, steps),
    at least one of each origin; None for all."""
    if seen is None:
        return errors.mean(-1)
    weights = seen.reshape(len(seen), *[1] * (errors.ndim - 2), seen.shape[1]).astype(np.float64)
    return (errors * weights).sum(-1) / weights.sum(-1)


@dataclass(frozen=True)
class Earlier:
    """Tries whole long seasons ago, the latest first.

    Attributes:
        made: (tries, CANDIDATES, steps).
        usable: (tries, CANDIDATES): those that can be used now, too.
        actual: what came, (tries, steps).
        seen: of which that was observed, (tries, steps); None for all.
    """

    made: np.ndarray
    usable: np.ndarray
    actual: np.ndarray
    seen: np.ndarray | None

    def surely_behind(self, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Logarithm of each error by the best one's, 0 to 4, less what may be chance: two standard errors over the
        tries, of which there are at least two; and how many there are, (CANDIDATES,)."""
        off, there = np.log(mean_error(np.abs(self.made - self.actual[:, None]), self.seen) + least), self.usable
        tries = there.sum(0)
        mean = (off * there).sum(0) / np.maximum(tries, 1)
        best = int(np.argmin(np.where(2 * tries >= tries.max(), mean, np.inf)))
        with_best = there[:, best]
        off, there = (off - off[:, best, None])[with_best], there[with_best]
        tries = there.sum(0)
        mean = (off * there).sum(0) / np.maximum(tries, 1)
        deviation = np.sqrt(((off - mean) ** 2 * there).sum(0) / np.maximum(tries, 1))
        sure = np.clip(mean - _SURE * deviation / np.sqrt(np.maximum(tries, 1)), 0, 4)
        return np.where(tries > 1, sure, 0.0), tries

    def behind(self, tries: int, least: float) -> np.ndarray:
        """Logarithm of each mean error by the best one's in the latest tries, 0 to 4, (CANDIDATES,)."""
        some = slice(tries)
        seen = None if self.seen is None else self.seen[some]
        off = mean_error(np.abs(self.made[some] - self.actual[some, None]), seen)
        count = self.usable[some].sum(0)
        errors = np.where(count > 0, (off * self.usable[some]).sum(0) / np.maximum(count, 1), np.inf)
        return np.clip(np.log((errors + least) / (errors.min() + least)), 0, 4)


def a_season_ago(
    values: np.ndarray, known: np.ndarray | None, earliest: tuple[int, int], usable: np.ndarray, seasons: Seasons
) -> Earlier | None:
    """Tries long seasons ago that know two whole ones, or one if less than two tries do; None where there are none, or
    the others go back as far.

    Args:
        values, known, seasons: as in `pooled`.
        earliest: how many values the earliest of the other tries knew, and the steps of each.
        usable: which candidates can be used now.
    """
    (before, steps), season = earliest, seasons[1] or seasons[0]
    if not season:
        return None
    most = WEEKS_AGO if has_weeks(seasons) else SEASONS_AGO
    ends = len(values) - season * np.arange(1, most + 1)
    ends = ends[(ends >= season) & (ends < before)]
    ends = two if len(two := ends[ends >= 2 * season]) > 1 else ends
    if known is not None:
        ends = ends[_begins_and_sees(ends, known, steps)]
    if not len(ends):
        return None
    places = ends[:, None] + np.arange(steps)
    made, there = simple_forecasts(values[: ends[0]], ends, steps, seasons)
    return Earlier(made, there & usable, values[places], None if known is None else known[places])
