"""Series by formula that the weighing of simple forecasts learns from, and windows of them.

What people try first and the sets hardly hold: straight lines and growth with nothing but noise, of which the best
forecast is known, from five values on; lines that are broken or bent, of late too; levels and slopes that wander;
series that wander and come back, of which lines are bad forecasts; seasons with the same noise everywhere, or with more
where they are high; two seasons at once with noise that lasts; peaks once a year or a week; cycles that keep to no
calendar; and among all these some with single values far off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.signal import lfilter

from shared.random import log_uniform
from tsdiff.pretraining.weighing import told_of
from tsdiff.windows.anchors import seasons_of
from tsdiff.windows.simple import Seasons

from . import parts

_FREQUENCIES = {"h": 0.2, "D": 0.17, "W-SUN": 0.21, "M": 0.13, "Q-DEC": 0.08, "Y-DEC": 0.09, "15min": 0.07, "B": 0.05}
"""Of the plain windows, and their shares."""
_LINES = {"line": 0.24, "broken": 0.14, "bent": 0.06, "growth": 0.08, "states": 0.08}
_SEASONS = {"season": 0.05, "seasons": 0.08, "peak": 0.08, "cycle": 0.07}
_KINDS = _LINES | _SEASONS | {"wandering": 0.12}
"""Of plain windows, and their shares."""
_SPIKED = 0.15
"""Share of them that have single values far off."""
_PEAKED = (168, 260, 365)
"""Longer seasons that have peaks."""
YOUNG_SEASONAL = {"season": 0.5, "seasons": 0.38, "peak": 0.12}
YOUNG_OTHERS = {"line": 0.4, "growth": 0.14, "broken": 0.12, "bent": 0.08, "states": 0.12, "wandering": 0.14}
"""Of windows of which little more than a season is known, and their shares among those that have one, or need none."""
_YOUNG_SEASONS = 2.2
"""As many are known of a young history at most."""


def is_young(known: int, seasons: Seasons) -> bool:
    """Whether one or two seasons are known: no past tells what a season ago is worth, and only other series do."""
    return 0 < seasons[0] <= known <= _YOUNG_SEASONS * seasons[0]


def young_length(rng: np.random.Generator, season: int) -> int:
    """Steps of a young history; most are little longer than a season."""
    return season - 1 + _log_uniform(rng, 1, (_YOUNG_SEASONS - 1) * season + 1)


def plain_windows(
    seed: int, young: Mapping[str, float] | None = None, older: bool = False
) -> Iterator[dict[str, np.ndarray]]:
    """`told_of` for forecasts of lines and growth with noise, of series that wander and come back, of seasons and of
    cycles.

    Args:
        seed: of the windows.
        young: kinds of young histories, and their shares; None makes others, too.
        older: no young ones.
    """
    rng = np.random.default_rng([seed, 8])
    while True:
        freq, kind = _one_of(rng, _FREQUENCIES), _one_of(rng, young or _KINDS)
        seasons = seasons_of(freq)
        unfit = not seasons[0] and (young or kind in ("season", "seasons"))
        if unfit or (kind == "peak" and seasons[1] not in _PEAKED):
            continue
        known = young_length(rng, seasons[0]) if young else _log_uniform(rng, *_lengths(freq, kind, seasons))
        horizon = min(_log_uniform(rng, 2, 60), known // 2 if known > 16 and not young else known)
        if older and is_young(known, seasons):
            continue
        made = _plain(rng, kind, known + horizon, horizon, seasons)
        if known > 20 and rng.random() < _SPIKED:
            made = spiked(rng, made, known)
        row = told_of(made[:known], made[known:], seasons, rng)
        if row is not None:
            yield row


def _one_of(rng: np.random.Generator, chances: Mapping[str, float]) -> str:
    return str(rng.choice(list(chances), p=list(chances.values())))


def _lengths(freq: str, kind: str, seasons: Seasons) -> tuple[int, int]:
    """Values that are known of a plain window, at least and at most."""
    whole = {"season": 3 * seasons[0], "seasons": 3 * seasons[0], "peak": 2 * seasons[1] + seasons[0], "cycle": 20}
    most = 80 if freq in ("Q-DEC", "Y-DEC") else 600 if kind in ("line", "growth") else 1500
    return whole.get(kind, 5), most


def _plain(rng: np.random.Generator, kind: str, count: int, horizon: int, seasons: Seasons) -> np.ndarray:
    if kind == "line":
        return line(rng, count, horizon)
    if kind == "broken":
        return broken(rng, count, horizon, seasons[0])
    if kind == "bent":
        return bent(rng, count, horizon)
    if kind == "growth":
        return growth(rng, count, horizon)
    if kind == "states":
        return states(rng, count, seasons[0])
    if kind == "seasons":
        return two_seasons(rng, count, seasons)
    if kind == "wandering":
        return wandering(rng, count, seasons[0])
    if kind == "season":
        return seasonal(rng, count, seasons[0])
    return cycle(rng, count) if kind == "cycle" else peaked(rng, count, horizon, seasons)


def line(rng: np.random.Generator, count: int, horizon: int) -> np.ndarray:
    """A straight line with noise, (count,); now and then it has another slope before, or is bent into growth."""
    steps, slope = np.arange(count), rng.choice([-1, 1]) * 10 ** rng.uniform(-2, 2)
    noise = rng.normal(size=count) if rng.random() < 0.8 else rng.standard_t(4, size=count)
    size = abs(slope) * horizon * log_uniform(rng, 0.03, 1.5)
    values = 10 ** rng.uniform(0, 3) + slope * steps + size * noise
    if rng.random() < 0.15 and count > horizon + 40:
        turn = int(rng.integers(10, count - horizon - 10))
        values[:turn] -= slope * rng.uniform(-1, 1) * (turn - steps[:turn])
    if rng.random() < 0.15:
        values = 100 * np.exp(values / np.abs(values).max() * rng.uniform(0.2, 2))
    return values


def spiked(rng: np.random.Generator, values: np.ndarray, known: int) -> np.ndarray:
    """The values, of which one to three of the last ones that are known are far off, (count,)."""
    made, recent = values.copy(), values[max(0, known - 200) : known]
    places = known - 1 - rng.integers(0, min(known - 1, 200), rng.integers(1, 4))
    spread = np.abs(np.diff(recent)).mean() if rng.random() < 0.5 else recent.std()
    made[places] += spread * rng.choice([-1, 1, 1]) * log_uniform(rng, 2, 30, len(places))
    return made


def broken(rng: np.random.Generator, count: int, horizon: int, season: int) -> np.ndarray:
    """A line that is broken at random, often in the last steps that are known, where its slope is another or none, with
    noise, (count,); some have a season."""
    known, every = count - horizon, log_uniform(rng, 10, max(count, 20))
    breaks = np.flatnonzero(rng.random(count) < 1 / every)
    if rng.random() < 0.6:
        last = _log_uniform(rng, 2, max(3, min(known - 2, 3 * horizon)))
        breaks = np.append(breaks[breaks < known - last], known - last)
    slopes = rng.normal(size=len(breaks) + 1) * (rng.random(len(breaks) + 1) < 0.6)
    values = np.cumsum(slopes[np.searchsorted(breaks, np.arange(count), side="right")])
    values += horizon * log_uniform(rng, 0.02, 1.0) * rng.normal(size=count)
    if season and rng.random() < 0.5:
        values += horizon * rng.uniform(0.1, 1.0) * np.resize(rng.normal(size=season), count)
    values *= 10 ** rng.uniform(-2, 2)
    return values - values.min() + 10 ** rng.uniform(0, 3) if rng.random() < 0.5 else values


def bent(rng: np.random.Generator, count: int, horizon: int) -> np.ndarray:
    """Growth that slows down, or a logistic curve, up or down, at any stage, with noise, (count,)."""
    steps, known = np.arange(count), count - horizon
    pace = log_uniform(rng, max(horizon / 3, 2), max(known, 4))
    middle = rng.uniform(known - 2 * pace, known + pace)
    shape = np.tanh((steps - middle) / pace) if rng.random() < 0.5 else -np.exp(-np.maximum(steps - middle, 0) / pace)
    values = rng.choice([-1, 1]) * shape + log_uniform(rng, 0.005, 0.2) * rng.normal(size=count)
    return 10 ** rng.uniform(0, 3) * (values + rng.choice([1.5, 3.0, 10.0]))


def growth(rng: np.random.Generator, count: int, horizon: int) -> np.ndarray:
    """Growth or decay by the same share each step, with noise by the level, (count,); now and then it ends in the
    history, and the level stays."""
    steps = np.arange(count)
    rate = rng.choice([-1, 1]) * 10 ** rng.uniform(-2.5, -0.9)
    rate *= min(1.0, 12 / (abs(rate) * count))  # over so many powers of e at most
    size = min(abs(rate) * horizon * log_uniform(rng, 0.05, 1.0), 0.3)
    grown = rate * (
        np.minimum(steps, rng.integers((count - horizon) // 2, count - horizon)) if rng.random() < 0.15 else steps
    )
    return 10 ** rng.uniform(0, 3) * np.exp(grown - min(grown.min(), 0.0) + size * rng.normal(size=count))


def states(rng: np.random.Generator, count: int, season: int) -> np.ndarray:
    """A level, and a slope that may die away, which take their part of each step's noise (the laws of exponential
    smoothing, Hyndman et al. 2008), (count,); among them random walks with a drift. Some have a season, some are
    positive."""
    alpha = min(log_uniform(rng, 0.05, 2.0), 1.0)
    beta = alpha * rng.uniform(0, 0.3) if rng.random() < 0.5 else 0.0
    phi = 1.0 if rng.random() < 0.6 else rng.uniform(0.8, 0.99)
    noise = rng.normal(size=count) if rng.random() < 0.7 else rng.standard_t(4, size=count)
    changes = lfilter([1.0, alpha - 1 - phi + phi * beta, phi * (1 - alpha)], [1.0, -phi], noise)
    changes += rng.normal() * log_uniform(rng, 0.03, 1.0) * phi ** np.arange(count)
    values = np.cumsum(changes)
    if season and rng.random() < 0.4:
        values = values + rng.uniform(0.5, 5) * np.resize(rng.normal(size=season), count)
    if rng.random() < 0.3:
        values = np.exp(rng.uniform(0.2, 1.5) * values / (np.abs(values).max() + 1e-9))
    return 10 ** rng.uniform(0, 2) * (values + rng.choice([0.0, 20.0, 100.0]))


def two_seasons(rng: np.random.Generator, count: int, seasons: Seasons) -> np.ndarray:
    """A season within a longer one, if there is one, with noise that lasts for a step or many, (count,).

    Where the longer one is a few of the first, these differ in level and size, as the days of a week do; else it is two
    waves, as a year.
    """
    first, second = seasons
    steps = np.arange(count) + rng.integers(0, max(second, first))
    shape = rng.normal(size=first) if rng.random() < 0.3 else _smooth(rng, first)
    values = np.resize(shape, first)[steps % first]
    if second and second % first == 0 and second <= 14 * first:
        days = second // first
        free = rng.normal(size=(2, days))
        pair = np.where(np.arange(days) < days - max(1, days // 4), 0.0, rng.normal(size=(2, 1)))
        level, size = free if rng.random() < 0.5 else pair
        day = steps // first % days
        values = values * np.exp(0.5 * size[day]) + rng.uniform(0, 1.5) * level[day]
    elif second:
        values = values * rng.uniform(0.2, 1) + _smooth(rng, second)[steps % second]
    memory = np.exp(-1 / log_uniform(rng, 0.3, 150))
    noise = lfilter([1.0], [1.0, -memory], rng.normal(size=count + 300))[300:]
    values = values / values.std() + log_uniform(rng, 0.03, 1.5) * noise / noise.std()
    if rng.random() < 0.3:
        values = np.exp(rng.uniform(0.2, 0.8) * values)
    return 10 ** rng.uniform(0, 2) * (values + rng.choice([0.0, 3.0, 10.0]))


def _smooth(rng: np.random.Generator, season: int) -> np.ndarray:
    """One season of a few waves, (season,)."""
    turns = np.arange(1, min(4, max(season // 2, 1)) + 1)[:, None]
    angle = 2 * np.pi * (np.arange(season) / season * turns + rng.random(turns.shape))
    return (rng.normal(size=turns.shape) / turns * np.sin(angle)).sum(0)


def seasonal(rng: np.random.Generator, count: int, season: int) -> np.ndarray:
    """A season's shape with noise, the same everywhere or by the level, (count,); some drift."""
    smooth = np.sin(2 * np.pi * (np.arange(season) / season + rng.random()))
    shape = smooth if rng.random() < 0.5 else rng.normal(size=season)
    shape = (shape - shape.min()) / np.ptp(shape)
    level = shape + log_uniform(rng, 0.05, 3.0)
    noise = log_uniform(rng, 0.02, 0.5) * rng.normal(size=count)
    values = np.resize(level, count)
    if rng.random() < 0.3:
        values = values + rng.normal() * np.linspace(0, 1, count)
    return 10 ** rng.uniform(0, 3) * (values + noise if rng.random() < 0.6 else values * np.exp(noise / level.mean()))


def peaked(rng: np.random.Generator, count: int, horizon: int, seasons: Seasons) -> np.ndarray:
    """A season with a peak, or a dip, once in the longer season, near what is forecast, and noise, (count,)."""
    long, width = seasons[1], max(2, round(seasons[1] * log_uniform(rng, 0.01, 0.1)))
    middle = count - rng.integers(-width, horizon + width)
    away = (np.arange(count) - middle + long // 2) % long - long // 2
    bump = np.exp(-0.5 * (away / width) ** 2) if rng.random() < 0.5 else (np.abs(away) <= width).astype(float)
    shape = rng.normal(size=seasons[0]) * rng.uniform(0.05, 0.3)
    size = rng.uniform(0.3, 2.0) if rng.random() < 0.7 else -rng.uniform(0.3, 0.8)
    level = (1 + np.resize(shape, count)) * (1 + size * bump) * (1 + rng.normal() * 0.2 * np.linspace(0, 1, count))
    return 10 ** rng.uniform(0, 3) * level * (1 + rng.uniform(0.02, 0.15) * rng.normal(size=count))


def wandering(rng: np.random.Generator, count: int, season: int) -> np.ndarray:
    """A first-order autoregression with a memory of 2 to 200 steps, (count,); some have a season, or are positive."""
    before = 300
    memory = np.exp(-1 / log_uniform(rng, 2, 200))
    noise = rng.normal(size=count + before) if rng.random() < 0.5 else rng.standard_t(3, size=count + before)
    values = lfilter([1.0], [1.0, -memory], noise)[before:]
    values /= values.std()
    if season and rng.random() < 0.5:
        values = values + rng.uniform(0.1, 1) * np.resize(rng.normal(size=season), count)
    if rng.random() < 0.5:
        values = np.exp(rng.uniform(0.3, 1.2) * values)
    return 10 ** rng.uniform(0, 2) * values


def cycle(rng: np.random.Generator, count: int) -> np.ndarray:
    """A cycle that keeps to its period and to no calendar, (count,), with little noise or much; some around a line."""
    values = parts.waves(rng, 1, count, 3.0, max(6.0, count / 3))[0]
    values += log_uniform(rng, 0.01, 1.0) * rng.normal(size=count)
    if rng.random() < 0.3:
        values += rng.normal() * np.linspace(-1, 1, count)
    return 10 ** rng.uniform(0, 2) * (values + rng.choice([0.0, 10.0]))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> int:
    return int(log_uniform(rng, low, high))
