"""Kinds of synthetic series, each with the seasons of a frequency.

A batch of series of one frequency is drawn at once: each starts at a random time, so that its season lies as its
calendar says, and is of one of the `KINDS`. Values have no unit; models scale windows anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from shared.errors import ConfigError
from shared.random import log_uniform
from tsdiff.data.frequency import normalise_freq, quiet
from tsdiff.windows.calendar import SEASON_WIDTH, calendar_features, season_of

from . import parts

_STARTS = 48
"""Different first steps of the series of one call."""

_LARGEST = 1e6


@dataclass(frozen=True)
class Grid:
    """The time steps of a batch of series.

    Attributes:
        season: steps of the primary season; 0 for none.
        first, second: place in the primary and the longer season, 0 … 1, (count, length); second is None where there
            is no longer one.
    """

    season: float
    first: np.ndarray
    second: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int]:
        """(count, length)."""
        count, length = self.first.shape
        return count, length

    def seasonal(self, rng: parts.Rng) -> np.ndarray:
        """The season and, in some rows, the longer one, (count, length), of about unit variance; 0 without a season."""
        count, length = self.shape
        if not self.season:
            return np.zeros((count, length))
        wave = parts.season(rng, self.first, self.season)
        if self.second is None:
            return wave
        if self.season >= 8:  # the longer season is a week of days
            days = parts.days_of_week(rng, self.second)
            kind = rng.random((count, 1))
            return np.where(kind < 0.3, wave, np.where(kind < 0.7, wave + 0.6 * days, wave * (1 + 0.4 * days)))
        yearly = parts.shape(rng, self.second, 8)
        return wave + rng.choice([0.0, 0.5, 1.5], (count, 1)) * yearly


@dataclass(frozen=True)
class SyntheticSeries:
    """Series of one frequency.

    Attributes:
        freq: normalised.
        values: (count, length) float32, finite.
        kinds: what each is, a key of `KINDS`.
        starts: first step of each, a place in `features`.
        features: the features "season" of every start, (starts, length, `SEASON_WIDTH`) float32.
        periods: first step of every start.
    """

    freq: str
    values: np.ndarray
    kinds: tuple[str, ...]
    starts: np.ndarray
    features: np.ndarray
    periods: tuple[pd.Period, ...]


def _mixture(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Sums of Gaussian processes: level, trend, memory, season and noise in random shares."""
    count, length = grid.shape
    share = rng.dirichlet([0.5, 0.4, 0.4, 1.2, 0.5], size=count).T[..., None] ** 0.5
    level = np.where(rng.random((count, 1)) < 0.5, parts.walk(rng, count, length), parts.lines(rng, count, length))
    return (
        share[0] * 2 * level
        + share[1] * parts.smooth(rng, count, length)
        + share[2] * parts.memory(rng, count, length)
        + share[3] * grid.seasonal(rng)
        + 0.5 * share[4] * parts.noise(rng, count, length)
    )


def _product(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Positive series: growth times season times noise, as demand and traffic."""
    count, length = grid.shape
    growth = rng.uniform(0, 0.8, (count, 1)) * parts.lines(rng, count, length)
    growth += rng.uniform(0, 0.5, (count, 1)) * parts.walk(rng, count, length)
    wave = rng.uniform(0.05, 0.6, (count, 1)) * grid.seasonal(rng)
    rough = rng.uniform(0.01, 0.2, (count, 1)) * parts.noise(rng, count, length)
    return np.exp(growth + wave + 0.5 * rough + 0.1 * rng.random((count, 1)) * parts.memory(rng, count, length))


def _counts(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Counts: Poisson, in some rows overdispersed, with a seasonal rate; many zeros where the rate is low."""
    count, length = grid.shape
    rate = np.exp(
        rng.uniform(-1, 3.5, (count, 1))
        + rng.uniform(0.1, 1.2, (count, 1)) * grid.seasonal(rng)
        + 0.5 * parts.memory(rng, count, length, 10, 200) * rng.random((count, 1))
    )
    spread = rng.choice([0.0, 0.3, 1.0], (count, 1))
    gamma = rng.gamma(1 / np.maximum(spread, 1e-3), np.maximum(spread, 1e-3), (count, length))
    return rng.poisson(np.minimum(rate * np.where(spread > 0, gamma, 1.0), 1e5)).astype(np.float64)


def _on_and_off(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Series that are 0 for a part of each season and differ from one season to the next, as solar power."""
    count, length = grid.shape
    if not grid.season:
        return _sparse(rng, grid)
    wave = parts.shape(rng, grid.first, grid.season, smoothness=2.5)
    bright = np.maximum(wave - rng.uniform(-0.6, 0.6, (count, 1)), 0)
    days = parts.memory(rng, count, length, 0.3 * grid.season, 3 * grid.season)
    clouds = parts.memory(rng, count, length, 1, 6)
    size = 1 / (1 + np.exp(-rng.uniform(0.2, 2.5, (count, 1)) * (days + 0.5 * clouds) - rng.normal(size=(count, 1))))
    return bright * size


def _sparse(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Intermittent demand: now and then an amount."""
    count, length = grid.shape
    chance = 1 / (1 + np.exp(-(rng.normal(-1, 1, (count, 1)) + grid.seasonal(rng))))
    return (rng.random((count, length)) < chance) * np.ceil(rng.gamma(2.0, rng.uniform(0.5, 5, (count, 1)), grid.shape))


def _regimes(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Levels that jump, and two regimes of different season and noise that take turns."""
    count, length = grid.shape
    state = parts.jumps(rng, count, length, 6.0)
    second = 1 / (1 + np.exp(-20 * (state - np.median(state, axis=1, keepdims=True))))
    calm = grid.seasonal(rng) + 0.2 * parts.noise(rng, count, length)
    lively = rng.uniform(0, 1.5, (count, 1)) * grid.seasonal(rng) + rng.normal(size=(count, 1))
    lively = lively + 0.5 * parts.memory(rng, count, length)
    return (1 - second) * calm + second * lively + rng.uniform(0, 1.5, (count, 1)) * state


def _prices(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Walks with wandering volatility and heavy tails."""
    return np.exp(rng.uniform(0.05, 0.8, (len(grid.first), 1)) * np.clip(parts.volatile_walk(rng, *grid.shape), -9, 9))


def _cycles(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Second-order autoregressions with cycles that keep to no calendar, around a trend."""
    count, length = grid.shape
    period = log_uniform(rng, 4, 150, (count, 1))
    lasting = np.exp(-1 / (period * rng.uniform(0.3, 6, (count, 1))))
    first, second = 2 * lasting * np.cos(2 * np.pi / period), -(lasting**2)
    moves = rng.normal(size=(count, length + 200))
    out = np.zeros_like(moves)
    for step in range(2, length + 200):
        out[:, step] = first[:, 0] * out[:, step - 1] + second[:, 0] * out[:, step - 2] + moves[:, step]
    out = out[:, 200:]
    out /= out.std(axis=1, keepdims=True) + 1e-9
    return out + rng.uniform(0, 1, (count, 1)) * parts.lines(rng, count, length) + 0.3 * grid.seasonal(rng)


def _waves(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Cycles that keep to no calendar and to their period, with little noise or much, some around a trend."""
    count, length = grid.shape
    rough = log_uniform(rng, 0.01, 1.0, (count, 1)) * parts.noise(rng, count, length)
    size = np.exp(rng.choice([0.0, 0.0, 0.4], (count, 1)) * parts.smooth(rng, count, length, 60, 400))
    trend = rng.choice([0.0, 0.0, 1.0], (count, 1)) * parts.lines(rng, count, length)
    return (
        parts.waves(rng, count, length) * size + rough + trend + rng.choice([0.0, 0.4], (count, 1)) * grid.seasonal(rng)
    )


def _outbreaks(rng: parts.Rng, grid: Grid) -> np.ndarray:
    """Peaks once a season whose height and time differ, over a low base, as influenza."""
    count, length = grid.shape
    if grid.season < 8:
        return _product(rng, grid)
    late = 0.04 * parts.memory(rng, count, length, grid.season, 3 * grid.season)
    wave = np.cos(2 * np.pi * (grid.first - rng.random((count, 1)) + late))
    height = 0.5 * parts.memory(rng, count, length, grid.season / 2, 2 * grid.season)
    rough = rng.uniform(0.01, 0.1, (count, 1)) * parts.noise(rng, count, length)
    trend = 0.4 * rng.random((count, 1)) * parts.lines(rng, count, length)
    return np.exp(rng.uniform(0.3, 1.8, (count, 1)) * wave + height + rough + trend)


KINDS: Mapping[str, Callable[[parts.Rng, Grid], np.ndarray]] = MappingProxyType(
    {
        "mixture": _mixture,
        "product": _product,
        "counts": _counts,
        "on_and_off": _on_and_off,
        "sparse": _sparse,
        "regimes": _regimes,
        "prices": _prices,
        "cycles": _cycles,
        "waves": _waves,
        "outbreaks": _outbreaks,
    }
)
"""By name; each draws all rows of a grid."""

SHARES: Mapping[str, float] = MappingProxyType(
    {
        "mixture": 0.3,
        "product": 0.22,
        "counts": 0.06,
        "on_and_off": 0.08,
        "sparse": 0.02,
        "regimes": 0.07,
        "prices": 0.1,
        "cycles": 0.04,
        "waves": 0.05,
        "outbreaks": 0.06,
    }
)
"""Of each kind where a frequency says nothing else."""

_BUSINESS = {**SHARES, "prices": 0.6, "counts": 0.02, "on_and_off": 0.0, "sparse": 0.01}


def generate(
    freq: str, count: int, length: int, rng: parts.Rng, shares: Mapping[str, float] | None = None
) -> SyntheticSeries:
    """Draw series of one frequency.

    Args:
        freq: in any pandas spelling.
        count: how many.
        length: steps of each.
        rng: the same generator state gives the same series.
        shares: of the kinds; None takes `SHARES`, for business days with more prices.

    Raises:
        ConfigError: count or length below 1, or an unknown kind.
        DataError: an unknown frequency.
    """
    freq = normalise_freq(freq)
    if count < 1 or length < 1:
        raise ConfigError(f"count={count}, length={length}: need at least one of each")
    if shares is None:
        shares = _BUSINESS if freq == "B" else SHARES
    if unknown := [name for name in shares if name not in KINDS]:
        raise ConfigError(f"unknown kinds of series {unknown}; there are {', '.join(KINDS)}")
    names, weights = list(shares), np.array(list(shares.values()), dtype=np.float64)
    with quiet():
        base = pd.Period("1990-01-01", freq=freq)
        reach = max(1, (pd.Period("2020-01-01", freq=freq) - base).n)
        periods = tuple(base + int(shift) for shift in rng.integers(0, reach, _STARTS))
    features = np.stack([calendar_features(start, length, "season") for start in periods])
    starts = rng.integers(0, _STARTS, count)
    kinds = np.sort(rng.choice(len(names), size=count, p=weights / weights.sum()))
    values = np.empty((count, length), dtype=np.float32)
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        grid = _grid(features[starts[rows]], season_of(freq))
        values[rows] = _tidy(KINDS[names[kind]](rng, grid))
    return SyntheticSeries(freq, values, tuple(names[kind] for kind in kinds), starts, features, periods)


def _grid(features: np.ndarray, season: float) -> Grid:
    assert features.shape[2] == SEASON_WIDTH
    first = np.arctan2(features[..., 0], features[..., 1]) / (2 * np.pi) % 1.0
    longer = bool(np.abs(features[..., 4:6]).any())
    second = np.arctan2(features[..., 4], features[..., 5]) / (2 * np.pi) % 1.0 if longer else None
    return Grid(season, first, second)


def _tidy(values: np.ndarray) -> np.ndarray:
    """Finite float32 values."""
    return np.clip(np.nan_to_num(values, posinf=_LARGEST, neginf=-_LARGEST), -_LARGEST, _LARGEST).astype(np.float32)
