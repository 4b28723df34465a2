"""Trends from many origins of a series at once: a smoothed slope that dies away, and a line since the last break.

They take values less their season's shape (`season_shape`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

FEWEST_SLOPED = 8
"""Values that both need."""


@dataclass(frozen=True)
class Damping:
    """How fast a level and its slope are forgotten: the share of a new value in each, and of the slope that stays."""

    alpha: float
    beta: float
    phi: float


_MOST_SEASONS, _MOST_STEPS, _SETTLING = 8, 400, 10
"""Last seasons that a shape is taken from, last values that slopes are smoothed of, and first ones that begin them."""
_ALPHAS, _BETAS, _PHIS = (0.1, 0.3, 0.6, 0.9), (0.02, 0.1, 0.3), (0.98, 0.9, 0.999)
"""Rates that are tried: of levels, of slopes by those, and of what stays of slopes, the usual one first."""
_ONE = np.ones(1)
_LEAST_BROKEN, _MOST_BROKEN, _HORIZONS_BROKEN = 60, 200, 6
"""Last values that a break is looked for in: so many horizons, but not fewer nor more than these."""
_LATEST, _EACH, _PLACES = 2, 30, 16
"""Values after the latest place where a break is tried, up to which each place is, and how many of the earlier ones."""
_PARAMETERS = {"level": 1, "line": 2, "broken level": 4, "broken line": 5}
"""What each pays for; a break for its place too, and for the choice of its kind."""
_TINY = 1e-300


def season_shape(values: _Floats, season: int) -> _Floats:
    """What a season adds at the steps after a history, the next one first: (season,), or (1,), 0, where there is none.

    The mean of up to eight last seasons around a moving one (classical decomposition, Hyndman and Athanasopoulos 2021,
    section 3.4), drawn to 0 by as much of it as chance would make.

    Args:
        values: (n,), finite.
        season: steps; 0 for none.
    """
    count = min(len(values) // season, _MOST_SEASONS) if season else 0
    if count < 3:
        return np.zeros(max(season, 1))
    recent = values[len(values) - count * season :] - values[-1]
    sums = np.concatenate([[0.0], np.cumsum(recent)])
    smooth = (sums[season:] - sums[:-season]) / season
    if season % 2 == 0:
        smooth = (smooth[1:] + smooth[:-1]) / 2
    off, known = np.zeros((2, count, season))
    inside = slice(season // 2, season // 2 + len(smooth))
    off.flat[inside], known.flat[inside] = recent[inside] - smooth, 1.0
    shape = off.sum(0) / known.sum(0)
    chance = float((known * (off - shape) ** 2).sum() / known.sum()) / (count - 2)
    shape -= shape.mean()
    return shape * max(0.0, 1 - chance / (float((shape**2).mean()) + _TINY))


def damped_trend(values: _Floats, ends: NDArray[np.int_], horizon: int, damping: Damping) -> _Floats:
    """A smoothed level, and a smoothed slope that dies away (Gardner and McKenzie 1985), at the steps after each end:
    (origins, horizon).

    Args:
        values: (n,), finite.
        ends: how many values each knows, (origins,), each at least `FEWEST_SLOPED`.
        horizon: steps.
        damping: as `fitted_damping` finds it; it does not depend on the level, nor on the unit.
    """
    dropped = max(0, int(ends.min()) - _MOST_STEPS)
    values, ends = values[dropped:], ends - dropped
    slope = _first_slope(values[: int(ends.min())])
    level, trend = (part[0] for part in _states(values, slope, [damping]))
    return level[ends - 1, None] + trend[ends - 1, None] * _grown(np.arange(1, horizon + 1), damping.phi)


def fitted_damping(values: _Floats, horizon: int, near: Damping | None = None) -> Damping:
    """Of a few rates those whose absolute errors one step, half a horizon and a horizon ahead are the least in the mean
    of the last values (n,), at least `FEWEST_SLOPED`.

    Args:
        values, horizon: of the series.
        near: the level's and the slope's, of which `phi` alone is fitted; None fits all, `phi` last.
    """
    values = values[-_MOST_STEPS:]
    count, begin, slope = len(values), min(_SETTLING, len(values) // 2), _first_slope(values)
    farthest = max(1, min(horizon, (count - begin) // 2))

    def best(rates: list[Damping]) -> tuple[float, Damping]:
        level, trend = _states(values, slope, rates)
        phis, total = np.array([[one.phi] for one in rates]), np.zeros(len(rates))
        for step in {1, max(1, farthest // 2), farthest}:
            missed = _grown(step, phis) * trend[:, begin : count - step]
            missed += level[:, begin : count - step]
            missed -= values[begin + step :]
            total += np.abs(missed, out=missed).mean(1)
        return float(total.min()), rates[int(total.argmin())]

    if near:
        return best([replace(near, phi=phi) for phi in _PHIS])[1]
    error, usual = best([Damping(alpha, alpha * beta, _PHIS[0]) for alpha in _ALPHAS for beta in _BETAS])
    other, rates = best([replace(usual, phi=phi) for phi in _PHIS[1:]])
    return rates if other < error else usual


def _first_slope(values: _Floats) -> float:
    """Of the line through the first values, at most half of them."""
    begun = values[: min(_SETTLING, len(values) // 2)]
    place = np.arange(len(begun)) - (len(begun) - 1) / 2
    return float(place @ begun) / float(place @ place)


def _grown(steps: Any, phi: Any) -> Any:
    """How many times its slope a level has grown after so many steps."""
    return phi * (1 - phi**steps) / (1 - phi)


def _states(values: _Floats, slope: float, rates: list[Damping]) -> tuple[_Floats, _Floats]:
    """Levels and slopes after each value (n,), (rates, n) each, of a series that began at the first with a slope."""
    from scipy.signal import lfilter  # takes a while to load

    alpha, beta, phi = np.array([(one.alpha, one.beta, one.phi) for one in rates]).T[..., None]
    # The slopes by the recursion's equivalent ARIMA(1, 1, 2), which the first slope has pushed too.
    kept = np.concatenate([np.ones_like(phi), alpha - 1 - phi + phi * beta, phi * (1 - alpha)], axis=1)
    trend = np.full((len(rates), len(values)), slope)
    trend[:, 1:] = beta * np.diff(values)
    trend[:, 1:2] -= (1 - alpha) * slope
    for pushed, own in zip(trend, kept, strict=True):
        pushed[:] = lfilter(_ONE, own, pushed)
    missed = np.zeros_like(trend)
    missed[:, 1:] = (trend[:, 1:] - phi * trend[:, :-1]) / beta
    return values - (1 - alpha) * missed, trend


def since_break(values: _Floats, ends: NDArray[np.int_], horizon: int) -> _Floats:
    """A level or a line through the last values, broken or bent where that explains more than chance would (Bayesian
    information criterion, Schwarz 1978), at the steps after each end: (origins, horizon).

    Args:
        values: (n,), finite.
        ends: how many values each knows, (origins,), each at least `FEWEST_SLOPED`.
        horizon: steps.
    """
    count = min(int(ends.min()), max(_LEAST_BROKEN, min(_HORIZONS_BROKEN * horizon, _MOST_BROKEN)))
    last = values[ends - 1, None]
    rows = values[ends[:, None] - count + np.arange(count)] - last
    power, kinds = (rows**2).sum(1), list(_PARAMETERS.values())
    scores, made = [], []
    for kind, table in enumerate(_break_tables(count, horizon)):
        parts = rows @ table.seen.T
        left, said = power - (parts**2).sum(1), parts @ table.future
        gains = rows @ table.breaks_seen.T
        best = np.abs(gains).argmax(1)
        gain = gains[np.arange(len(rows)), best]
        made += [said, said + gain[:, None] * table.breaks_future[best]]
        for unexplained, parameters in ((left, kinds[kind]), (left - gain**2, kinds[kind + 2])):
            noise = np.maximum(unexplained, 0.0) / count + 1e-12 * power / count + _TINY
            scores.append(count * np.log(noise) + parameters * np.log(count))
    return np.stack(made)[np.argmin(scores, axis=0), np.arange(len(ends))] + last


def break_places(count: int) -> _Floats:
    """How many steps before the last of `count` values breaks are tried."""
    far = np.geomspace(_EACH, max(count - 3, _EACH), _PLACES).round()
    places = np.unique(np.concatenate([np.arange(_LATEST, _EACH), far]))
    return places[places <= count - 3]


@dataclass(frozen=True)
class _BreakTable:
    """Orthonormal rows over the last values, and what they go on to: of a level, or a line, (1 or 2, …); and of single
    steps and bends, less what the former explain of them, (places, …)."""

    seen: _Floats
    future: _Floats
    breaks_seen: _Floats
    breaks_future: _Floats


@lru_cache(maxsize=16)
def _break_tables(count: int, horizon: int) -> tuple[_BreakTable, _BreakTable]:
    """Of a level, and of a line."""
    time = np.arange(count + horizon) - count + 1.0
    after = break_places(count)[:, None]
    breaks = np.concatenate([(time > -after).astype(np.float64), np.maximum(time + after, 0.0)])

    def table(degree: int) -> _BreakTable:
        powers = np.stack([time**power for power in range(degree + 1)])
        basis = np.linalg.inv(np.linalg.qr(powers[:, :count].T)[1]).T @ powers
        left = breaks - (breaks[:, :count] @ basis[:, :count].T) @ basis
        sizes = np.linalg.norm(left[:, :count], axis=1, keepdims=True)
        left = (left / np.maximum(sizes, _TINY))[sizes[:, 0] > 1e-9]
        return _BreakTable(basis[:, :count], basis[:, count:], left[:, :count], left[:, count:])

    return table(0), table(1)
