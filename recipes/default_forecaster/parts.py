"""What synthetic series are made of: levels, seasons, noise. Every function draws `count` rows at once."""

from __future__ import annotations

import numpy as np

from shared.random import log_uniform

Rng = np.random.Generator


def walk(rng: Rng, count: int, length: int) -> np.ndarray:
    """Random walks (count, length), started at 0, of unit variance after `length` steps; some with a drift."""
    moves = rng.normal(size=(count, length))
    drift = rng.normal(size=(count, 1)) * (rng.random((count, 1)) < 0.3) * 0.1
    return np.cumsum(moves + drift, axis=1) / np.sqrt(length)


def volatile_walk(rng: Rng, count: int, length: int) -> np.ndarray:
    """Walks (count, length) whose volatility wanders and whose moves have heavy tails, as prices have."""
    degrees = rng.choice([3.0, 5.0, 10.0, 100.0], size=(count, 1))
    moves = rng.standard_t(np.broadcast_to(degrees, (count, length)))
    volatility = np.exp(rng.uniform(0, 0.6, (count, 1)) * memory(rng, count, length, 20, 100))
    reverting = 1 - rng.choice([0.0, 0.0, 0.005, 0.03], size=(count, 1))
    return recursion(moves * volatility, reverting) / np.sqrt(length)


def recursion(moves: np.ndarray, share: np.ndarray) -> np.ndarray:
    """x_t = share·x_{t−1} + moves_t for each row; share is (count, 1)."""
    out = np.empty_like(moves)
    state = np.zeros(len(moves))
    for step in range(moves.shape[1]):
        state = share[:, 0] * state + moves[:, step]
        out[:, step] = state
    return out


def memory(rng: Rng, count: int, length: int, shortest: float = 1.0, longest: float = 100.0) -> np.ndarray:
    """Stationary first-order autoregressions (count, length) of unit variance; memories in steps, log-uniform."""
    lasting = log_uniform(rng, shortest, longest, (count, 1))
    share = np.exp(-1 / lasting)
    moves = rng.normal(size=(count, length)) * np.sqrt(1 - share**2)
    moves[:, 0] /= np.sqrt(1 - share[:, 0] ** 2)
    return recursion(moves, share)


def smooth(rng: Rng, count: int, length: int, shortest: float = 15.0, longest: float = 300.0) -> np.ndarray:
    """Draws (count, length) of a Gaussian process with the squared-exponential kernel, of unit variance.

    By random Fourier features (Rahimi and Recht 2007); length scales in steps, log-uniform.
    """
    scale = log_uniform(rng, shortest, longest, (count, 1))
    total, steps = np.zeros((count, length)), np.arange(length)
    features = 24
    for _ in range(features):
        angle = rng.normal(size=(count, 1)) / scale * steps + rng.uniform(0, 2 * np.pi, (count, 1))
        total += np.cos(angle)
    return total * np.sqrt(2 / features)


def lines(rng: Rng, count: int, length: int) -> np.ndarray:
    """Piecewise linear trends (count, length) with a few kinks, of about unit size."""
    kinks = (rng.random((count, length)) < rng.choice([0.0, 1.0, 3.0], (count, 1)) / length) * rng.normal(
        size=(count, length)
    )
    slope = rng.normal(size=(count, 1)) + np.cumsum(kinks, axis=1)
    return 2 * np.cumsum(slope, axis=1) / length


def jumps(rng: Rng, count: int, length: int, most: float = 3.0) -> np.ndarray:
    """Levels (count, length) that jump now and then."""
    rate = rng.uniform(0, most, (count, 1)) / length
    return np.cumsum((rng.random((count, length)) < rate) * rng.normal(size=(count, length)), axis=1)


def shape(rng: Rng, phase: np.ndarray, season: float, smoothness: float | None = None) -> np.ndarray:
    """A random shape of the season at places `phase` (count, length) in 0 … 1, of unit variance over a season.

    Harmonics fall off with a power that differs between rows; none is above half the season's steps.
    """
    count = len(phase)
    most = int(max(1, min(season // 2, 10)))
    falling = rng.uniform(0.3, 2.5, (count, 1)) if smoothness is None else np.full((count, 1), smoothness)
    total, energy = np.zeros(phase.shape), np.zeros((count, 1))
    angle = 2 * np.pi * phase
    for harmonic in range(1, most + 1):
        size = harmonic**-falling
        a, b = rng.normal(size=(count, 1)) * size, rng.normal(size=(count, 1)) * size
        total += a * np.sin(harmonic * angle) + b * np.cos(harmonic * angle)
        energy += (a**2 + b**2) / 2
    return total / np.sqrt(energy)


def season(rng: Rng, phase: np.ndarray, steps: float) -> np.ndarray:
    """Seasons (count, length) of unit variance: fixed, changing in size, or passing from one shape into another."""
    count, length = phase.shape
    first = shape(rng, phase, steps)
    kind = rng.random((count, 1))
    size = np.exp(0.5 * smooth(rng, count, length, 60, 400))
    turn = smooth(rng, count, length, 100, 500)
    blended = np.cos(turn) * first + np.sin(turn) * shape(rng, phase, steps)
    return np.where(kind < 0.5, first, np.where(kind < 0.75, first * size, blended))


def waves(rng: Rng, count: int, length: int, shortest: float = 3.0, longest: float = 200.0) -> np.ndarray:
    """Cycles (count, length) that keep to no calendar, of about unit variance: a shape that comes again and again, or
    a few sine waves; periods in steps, log-uniform."""

    def period() -> np.ndarray:
        return log_uniform(rng, shortest, longest, (count, 1))

    steps, one = np.arange(length), period()
    falling = rng.uniform(0.3, 2.5, (count, 1))
    again, energy, several = np.zeros((count, length)), np.full((count, 1), 1e-9), np.zeros((count, length))
    for harmonic in range(1, 11):
        size = harmonic**-falling * (harmonic <= np.maximum(one / 2, 1)) * rng.normal(size=(count, 1))
        again += size * np.cos(2 * np.pi * (harmonic * steps / one + rng.random((count, 1))))
        energy += size**2 / 2
    for place in range(3):
        size = rng.uniform(0.3, 1.4, (count, 1)) * (rng.random((count, 1)) < 0.5**place)
        several += size * np.cos(2 * np.pi * (steps / period() + rng.random((count, 1))))
    return np.where(rng.random((count, 1)) < 0.6, again / np.sqrt(energy), several)


def days_of_week(rng: Rng, phase: np.ndarray) -> np.ndarray:
    """A level for each seventh of the longer season (count, length): weekends, closing days; about unit variance."""
    count = len(phase)
    levels = rng.normal(size=(count, 7)) * rng.choice([0.2, 1.0], (count, 1))
    weekend = rng.normal(size=(count, 1)) * (rng.random((count, 1)) < 0.7) * 1.5
    levels[:, 5:] += weekend
    place = np.clip((phase * 7).astype(np.int64), 0, 6)
    chosen = np.take_along_axis(levels, place, axis=1)
    return chosen - levels.mean(axis=1, keepdims=True)


def noise(rng: Rng, count: int, length: int) -> np.ndarray:
    """Noise (count, length) of about unit variance, in some rows with heavy tails, in some in clusters."""
    degrees = rng.choice([3.0, 6.0, 1000.0, 1000.0], size=(count, 1))
    drawn = rng.standard_t(np.broadcast_to(degrees, (count, length)))
    clusters = np.exp(rng.choice([0.0, 0.0, 0.5], (count, 1)) * memory(rng, count, length, 5, 60))
    return drawn * clusters
