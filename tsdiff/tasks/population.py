"""A population that was only seen in snapshots: paths between them, and the dynamics that explain them best.

At each of some times other individuals were measured, so that nothing tells who became whom. Between neighbouring
snapshots the Schrödinger bridge of a reference process dX = (A X + c) dt + √diffusion dW couples them, the reference is
refitted to the paths that come out, and so on (Shen, Berlinghieri and Broderick 2025, "Multi-marginal Schrödinger
bridges with iterative reference refinement"). The reference is Markov, so bridges of single gaps, put end to end, are
the bridge of all. A linear reference has transitions and bridges in closed form, and Sinkhorn's iterations couple the
samples, so that nothing is trained; the published method takes other drifts too, and learns and integrates each bridge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from shared.checks import Checked, Count, Finite, Natural, Positive, checked
from shared.errors import ConfigError, DataError, counted
from shared.random import natural
from tsdiff.data.columns import column_of, numbers_of
from tsdiff.data.known import listed

if TYPE_CHECKING:
    import pandas as pd

_MOST_ITERATIONS = 5000


@dataclass(frozen=True)
class Transition:
    """X_t | X_s = x ~ N(kept·x + moved, spread), of the reference over some time.

    Attributes:
        kept: (d, d).
        moved: (d,).
        spread: (d, d), positive definite.
    """

    kept: np.ndarray
    moved: np.ndarray
    spread: np.ndarray

    def log_densities(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log density of each y (m, d) after each x (n, d), in nats, (n, m)."""
        root = np.linalg.inv(np.linalg.cholesky(self.spread))
        volume = np.log(np.diag(root)).sum() - 0.5 * len(root) * np.log(2 * np.pi)
        means, ends = (x @ self.kept.T + self.moved) @ root.T, y @ root.T
        squares = (means**2).sum(1)[:, None] - 2 * means @ ends.T + (ends**2).sum(1)
        return volume - 0.5 * squares


@dataclass(frozen=True)
class Reference:
    """dX = (A X + c) dt + √diffusion dW.

    Attributes:
        matrix: A, (d, d), a unit of time.
        offset: c, (d,).
        diffusion: variance a unit of time, of every coordinate.
    """

    matrix: np.ndarray
    offset: np.ndarray
    diffusion: float

    def over(self, time: float) -> Transition:
        """The transition over some time: that of a short one (Van Loan 1978), doubled, since the integral of a long one
        cancels where one rate is much larger than another."""
        from scipy.linalg import expm

        d = len(self.offset)
        times = max(0, math.ceil(math.log2(max(time * float(np.linalg.norm(self.matrix)), 1.0))))
        short = time / 2**times
        drift = np.zeros((d + 1, d + 1))
        drift[:d, :d], drift[:d, d] = self.matrix, self.offset
        end = expm(drift * short)
        block = np.zeros((2 * d, 2 * d))
        block[:d, :d], block[:d, d:], block[d:, d:] = -self.matrix, self.diffusion * np.eye(d), self.matrix.T
        parts = expm(block * short)
        kept, moved, spread = end[:d, :d], end[:d, d], parts[d:, d:].T @ parts[:d, d:]
        for _ in range(times):
            kept, moved, spread = kept @ kept, kept @ moved + moved, kept @ spread @ kept.T + spread
        return Transition(kept, moved, (spread + spread.T) / 2)

    def between(
        self, x: np.ndarray, y: np.ndarray, before: float, after: float, rng: np.random.Generator
    ) -> np.ndarray:
        """A draw of the bridge from x (n, d) to y (n, d), `before` after x and `after` before y, (n, d)."""
        first, second = self.over(before), self.over(after)
        reached = second.kept @ first.spread
        gain = np.linalg.solve(reached @ second.kept.T + second.spread, reached).T
        mean = x @ first.kept.T + first.moved
        mean = mean + (y - second.moved - mean @ second.kept.T) @ gain.T
        return mean + _noise(first.spread - gain @ reached, x.shape, rng)


@dataclass(frozen=True)
class PopulationSettings(Checked):
    """How paths and reference are found.

    Args:
        diffusion: of the reference, variance a unit of time, known; the smaller, the straighter the paths.
        rounds: refits of the reference; 0 keeps Brownian motion.
        steps: places of a path in the shortest gap, by which the reference is refitted; longer gaps have more.
        paths: that are drawn for a refit.
        tolerance: of the coupling's marginals, in all.
        seed: of what is drawn.

    Raises:
        ConfigError: values out of range.
    """

    diffusion: Positive
    rounds: Natural = 10
    steps: Count = 10
    paths: Count = 1000
    tolerance: Positive = 1e-4
    seed: int = 0
    kind: Literal["population"] = field(default="population", repr=False)


@dataclass(frozen=True)
class Population:
    """What `fit_population` found.

    Attributes:
        snapshots: samples (n, d) of each time.
        times: rising.
        settings: by which it was found.
        reference: the refitted one.
        couplings: of each gap, (n, m), which sums to 1.
        mismatch: of each round, Σ over gaps of the couplings' divergence from the reference before it was refitted, in
            nats, but for a constant; it falls as far as chance in the paths lets it.
    """

    snapshots: tuple[np.ndarray, ...]
    times: tuple[float, ...]
    settings: PopulationSettings
    reference: Reference
    couplings: tuple[np.ndarray, ...]
    mismatch: tuple[float, ...]

    def members(self, count: int, seed: int = 0) -> list[np.ndarray]:
        """Individuals that are the same through all snapshots: of each snapshot the rows (count,) that they are."""
        rng = np.random.default_rng(natural(seed))
        rows = [rng.integers(len(self.snapshots[0]), size=checked(Count, count=count))]
        for coupling in self.couplings:
            chances = (coupling / coupling.sum(1, keepdims=True)).cumsum(1)
            drawn = (chances[rows[-1]] < rng.random((count, 1))).sum(1)
            rows.append(np.minimum(drawn, coupling.shape[1] - 1))
        return rows

    def paths(self, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Paths of individuals through all snapshots: their times (places,), and values (count, places, d)."""
        rng = np.random.default_rng([natural(seed), 1])
        members = [one[rows] for one, rows in zip(self.snapshots, self.members(count, seed), strict=True)]
        shortest = min(np.diff(self.times))
        times, values = [self.times[0]], [members[0]]
        for (start, end), goal in zip(pairwise(self.times), members[1:], strict=True):
            grid = np.linspace(start, end, round(self.settings.steps * (end - start) / shortest) + 1)
            for now, after in pairwise(grid[:-1]):
                values.append(self.reference.between(values[-1], goal, after - now, end - after, rng))
            times.extend(grid[1:])
            values.append(goal)
        return np.array(times), np.stack(values, axis=1)

    def at(self, time: float, count: int, seed: int = 0) -> np.ndarray:
        """The population at a time between snapshots, by their bridge, or after the last, by the reference, (count, d).

        Raises:
            ConfigError: a time before the first snapshot, or so late that the dynamics leave what numbers hold.
        """
        time = checked(Finite, time=time)
        if not time >= self.times[0]:
            raise ConfigError(f"time={time}: the first snapshot is of {self.times[0]}, and nothing is known before it")
        rng = np.random.default_rng([natural(seed), 2])
        members = [one[rows] for one, rows in zip(self.snapshots, self.members(count, seed), strict=True)]
        if time in self.times:
            return members[self.times.index(time)]
        gap = int(np.searchsorted(self.times, time)) - 1
        if gap == len(self.couplings):
            with np.errstate(over="ignore", invalid="ignore"):
                ahead = self.reference.over(time - self.times[-1])
            if not all(np.isfinite(part).all() for part in (ahead.kept, ahead.moved, ahead.spread)):
                raise ConfigError(f"time={time}: the dynamics grow beyond all numbers by then; take an earlier one")
            return members[-1] @ ahead.kept.T + ahead.moved + _noise(ahead.spread, members[-1].shape, rng)
        start, end = self.times[gap : gap + 2]
        return self.reference.between(members[gap], members[gap + 1], time - start, end - time, rng)


def fit_population(snapshots: Sequence[np.ndarray], times: Sequence[float], settings: PopulationSettings) -> Population:
    """Couple snapshots of a population, and find the linear dynamics that explain them best.

    Args:
        snapshots: samples (n, d) of each time, other individuals each; (n,) of a single quantity.
        times: rising, in any unit.
        settings: see `PopulationSettings`.

    Raises:
        DataError: fewer than two snapshots, times that do not rise, samples that are not finite, are too few, or do
            not agree in their number of quantities.
        ConfigError: a diffusion too small for samples to reach each other, or quantities that depend on each other.
    """
    if not isinstance(settings, PopulationSettings):
        raise ConfigError(f"settings={settings!r}: need PopulationSettings(diffusion=…)")
    samples, at = _checked_snapshots(snapshots, times)
    d = samples[0].shape[1]
    reference = Reference(np.zeros((d, d)), np.zeros(d), settings.diffusion)
    starts = [np.zeros(len(one)) for one in samples[1:]]
    mismatch: list[float] = []
    for number in range(settings.rounds + 1):
        couplings = []
        total = 0.0
        for gap, (time, after) in enumerate(pairwise(at)):
            chances = reference.over(after - time).log_densities(samples[gap], samples[gap + 1])
            coupling, starts[gap] = coupled(chances, starts[gap], settings.tolerance)
            couplings.append(coupling)
            total += float((coupling * (np.log(np.maximum(coupling, 1e-300)) - chances)).sum())
        mismatch.append(total)
        found = Population(samples, at, settings, reference, tuple(couplings), tuple(mismatch))
        if number < settings.rounds:
            reference = refitted(*found.paths(settings.paths, settings.seed + number), settings.diffusion)
    return found


def coupled(chances: np.ndarray, start: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The coupling of uniform marginals that is nearest to exp(chances) (n, m), by Sinkhorn's iterations.

    Args:
        chances: log densities (n, m).
        start: the potential (m,) to begin with, such as that of a similar problem.
        tolerance: of the marginals, in all.

    Returns:
        The coupling (n, m), which sums to 1, and its potential (m,).

    Raises:
        ConfigError: the marginals are not met after 5000 iterations.
    """
    n, m = chances.shape
    other = start
    for _ in range(_MOST_ITERATIONS):
        one = -np.log(n) - _log_sum(chances + other, 1)
        other = -np.log(m) - _log_sum(chances + one[:, None], 0)
        coupling = np.exp(chances + one[:, None] + other)
        if np.abs(coupling.sum(1) - 1 / n).sum() < tolerance:
            return coupling, other
    raise ConfigError(
        f"snapshots are not coupled after {_MOST_ITERATIONS} iterations: individuals move farther than this diffusion "
        "takes them; give a larger one, a larger tolerance, or quantities in comparable units"
    )


def refitted(times: np.ndarray, paths: np.ndarray, diffusion: float) -> Reference:
    """The most likely linear reference of paths (count, places, d) at times (places,).

    Least squares of the paths' changes, as of a chain whose transitions are the process', for steps nearly equal.

    Raises:
        ConfigError: quantities that depend linearly on each other.
    """
    steps = np.diff(times)
    states, changes = paths[:, :-1].reshape(-1, paths.shape[2]), np.diff(paths, axis=1)
    states = np.column_stack([states, np.ones(len(states))])
    weights = np.sqrt(np.tile(steps, len(paths)))[:, None]
    rates = (changes / steps[:, None]).reshape(-1, paths.shape[2])
    found, _, rank, _ = np.linalg.lstsq(states * weights, rates * weights, rcond=1e-9)
    if rank < states.shape[1]:
        raise ConfigError("quantities that depend linearly on each other, or never change: leave some out")
    size = len(found)
    change = np.zeros((size, size))
    change[:-1] = found.T * steps.mean()
    rate = (change - change @ change / 2 + change @ change @ change / 3) / steps.mean()  # log(1 + change)
    return Reference(rate[:-1, :-1], rate[:-1, -1], diffusion)


def snapshots_of(frame: pd.DataFrame, time: str, columns: str | Sequence[str]) -> tuple[list[np.ndarray], list[float]]:
    """Snapshots and their times of a long table: a row an individual.

    Args:
        frame: the table.
        time: the column of times, numbers.
        columns: of the quantities, or of the only one.

    Raises:
        DataError: a column is missing, twice there or not of numbers, times are not numbers, or a value is missing.
    """
    columns = listed(columns)
    if not columns:
        raise DataError("columns is empty; name those of the quantities")
    missing = [name for name in (time, *columns) if name not in frame]
    if missing:
        raise DataError(f"no column {', '.join(map(str, missing))}; there are {', '.join(map(str, frame))}")
    found = {name: column_of(frame, name) for name in (time, *columns)}
    if found[time].dtype.kind not in "iuf":
        raise DataError(f"times of type {found[time].dtype}: give numbers, such as hours since the first snapshot")
    numbers = {name: numbers_of(column, name) for name, column in found.items()}
    for name, values in numbers.items():
        if bad := int((~np.isfinite(values)).sum()):
            raise DataError(
                f"column {name!r} has {counted(bad, 'value that is', 'values that are')} missing or infinite; leave "
                f"those individuals out, such as by frame.dropna(subset={[time, *columns]})"
            )
    at, values = numbers[time], np.column_stack([numbers[name] for name in columns])
    times = np.unique(at).tolist()
    return [values[at == one] for one in times], times


def _checked_snapshots(
    snapshots: Sequence[np.ndarray], times: Sequence[float]
) -> tuple[tuple[np.ndarray, ...], tuple[float, ...]]:
    try:
        samples = [np.asarray(one, dtype=np.float64) for one in snapshots]
        at = tuple(float(time) for time in times)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"snapshots and times of numbers are taken, times such as hours since the first snapshot ({error})"
        ) from error
    samples = [one[:, None] if one.ndim == 1 else one for one in samples]
    if len(samples) < 2 or len(at) != len(samples):
        raise DataError(f"{len(samples)} snapshots at {len(at)} times: need two or more, and a time for each")
    if not np.isfinite(at).all() or any(before >= after for before, after in pairwise(at)):
        raise DataError(f"times {at}: need rising ones; put snapshots of one time together")
    for time, one in zip(at, samples, strict=True):
        if one.ndim != 2 or one.shape[1] != samples[0].shape[-1] or not one.shape[1]:
            raise DataError(f"the snapshot of time {time} has shape {one.shape}: need (n, {samples[0].shape[-1]})")
        if len(one) < one.shape[1] + 2:
            raise DataError(f"{len(one)} individuals at time {time}: need at least {one.shape[1] + 2}")
        if not np.isfinite(one).all():
            raise DataError(f"values at time {time} that are not finite: leave those individuals out")
    return tuple(samples), at


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    top = values.max(axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis)) + top.squeeze(axis)


def _noise(covariance: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return rng.standard_normal(shape) @ (vectors * np.sqrt(np.maximum(values, 0))).T
