"""Snapshots of a population: Gaussian bridges in closed form, and dynamics that are known."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov

from shared.errors import ConfigError, DataError
from tsdiff.tasks.population import PopulationSettings, Reference, coupled, fit_population, refitted, snapshots_of


def normal(mean: float, std: float, count: int = 300) -> np.ndarray:
    """Evenly likely places of a normal law, (count, 1), with its variance."""
    places = np.array([NormalDist().inv_cdf((place + 0.5) / count) for place in range(count)])
    return (mean + std * places / places.std())[:, None]


def decaying(time: float) -> tuple[float, float]:
    """Mean and deviation of dX = (1 − X) dt + √.5 dW from N(3, .3²)."""
    kept = math.exp(-time)
    return 1 + 2 * kept, math.sqrt(kept**2 * 0.3**2 + 0.25 * (1 - kept**2))


def test_transitions_are_those_of_an_ornstein_uhlenbeck_process() -> None:
    over = Reference(np.array([[-1.3]]), np.array([0.7]), 0.4).over(0.8)
    kept = math.exp(-1.3 * 0.8)
    assert over.kept.item() == pytest.approx(kept)
    assert over.moved.item() == pytest.approx(0.7 / 1.3 * (1 - kept))
    assert over.spread.item() == pytest.approx(0.4 * (1 - kept**2) / 2.6)
    density = over.log_densities(np.array([[2.0]]), np.array([[0.5]])).item()
    law = NormalDist(2 * kept + over.moved.item(), math.sqrt(over.spread.item()))
    assert density == pytest.approx(math.log(law.pdf(0.5)))


def test_a_rotation_turns_and_transitions_follow_each_other() -> None:
    turning = Reference(np.array([[0.0, -1.0], [1.0, 0.0]]), np.array([0.2, -0.1]), 0.3)
    quarter, half = turning.over(math.pi / 2), turning.over(math.pi)
    np.testing.assert_allclose(quarter.kept, [[0, -1], [1, 0]], atol=1e-12)
    np.testing.assert_allclose(quarter.spread, 0.3 * math.pi / 2 * np.eye(2), atol=1e-12)
    np.testing.assert_allclose(quarter.kept @ quarter.moved + quarter.moved, half.moved, atol=1e-12)


@pytest.mark.parametrize("rate", [-1.0, 0.0, 0.7])
def test_the_coupling_of_gaussians_has_the_closed_covariance(rate: float) -> None:
    s0, s1 = 0.6, 1.1
    over = Reference(np.array([[rate]]), np.array([0.4]), 0.5).over(1.0)
    x, y = normal(-1.0, s0), normal(2.0, s1)
    coupling, _ = coupled(over.log_densities(x, y), np.zeros(len(y)), 1e-6)
    f, tau = over.kept.item(), over.spread.item()
    wanted = (math.sqrt(4 * f**2 * s0**2 * s1**2 + tau**2) - tau) / (2 * f)
    assert ((x + 1).T @ coupling @ (y - 2)).item() == pytest.approx(wanted, rel=0.01)
    np.testing.assert_allclose(coupling.sum(0), 1 / len(y), atol=1e-12)


def test_between_snapshots_the_bridge_of_gaussians() -> None:
    (s0, s1), diffusion = (0.6, 1.1), 0.8
    settings = PopulationSettings(diffusion, rounds=0)
    found = fit_population([normal(0.0, s0), normal(2.0, s1)], [0.0, 1.0], settings)
    covariance = (math.sqrt(4 * s0**2 * s1**2 + diffusion**2) - diffusion) / 2
    for t in (0.25, 0.5):
        drawn = found.at(t, 20000)
        variance = (1 - t) ** 2 * s0**2 + t**2 * s1**2 + 2 * t * (1 - t) * covariance + diffusion * t * (1 - t)
        assert drawn.mean() == pytest.approx(2 * t, abs=0.03)
        assert drawn.var() == pytest.approx(variance, rel=0.04)
    times, paths = found.paths(20000)
    assert paths.shape == (20000, 11, 1)
    middle = paths[:, np.searchsorted(times, 0.5 - 1e-9), 0]
    assert middle.var() == pytest.approx(found.at(0.5, 20000, seed=1).var(), rel=0.05)


def test_each_gap_is_a_bridge_of_its_own() -> None:
    snapshots, settings = [normal(0.0, 0.5), normal(1.0, 1.0), normal(0.0, 0.7)], PopulationSettings(0.5, rounds=0)
    whole = fit_population(snapshots, [0, 1, 3], settings)
    for gap in range(2):
        alone = fit_population(snapshots[gap : gap + 2], [0, 1 + gap], settings)
        np.testing.assert_allclose(whole.couplings[gap], alone.couplings[0], atol=1e-12)
    first, _, last = (one[rows, 0] for one, rows in zip(snapshots, whole.members(40000), strict=True))
    ends = [(alone.T @ c @ other).item() for alone, c, other in zip(
        [snapshots[0], snapshots[1] - 1], whole.couplings, [snapshots[1] - 1, snapshots[2]], strict=True
    )]  # fmt: skip
    assert np.cov(first, last)[0, 1] == pytest.approx(ends[0] * ends[1], abs=0.02)  # Markov; the middle's variance is 1


def test_a_refit_finds_the_process_of_long_paths() -> None:
    truth = Reference(np.array([[-0.5, -2.0], [2.0, -0.3]]), np.array([0.3, -0.2]), 0.4)
    over, rng = truth.over(0.1), np.random.default_rng(0)
    paths = [rng.standard_normal((4000, 2))]
    for _ in range(30):
        mean = paths[-1] @ over.kept.T + over.moved
        paths.append(mean + rng.standard_normal((4000, 2)) @ np.linalg.cholesky(over.spread).T)
    found = refitted(np.arange(31) * 0.1, np.stack(paths, axis=1), 0.4)
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=0.03)
    np.testing.assert_allclose(found.offset, truth.offset, atol=0.03)


def test_rounds_find_the_dynamics_and_what_was_left_out() -> None:
    times = [0.0, 0.4, 1.2, 2.0]
    snapshots = [normal(*decaying(time), 120) for time in times]
    plain = fit_population(snapshots, times, PopulationSettings(0.5, rounds=0))
    found = fit_population(snapshots, times, PopulationSettings(0.5, rounds=6, paths=2000))
    assert found.reference.matrix.item() == pytest.approx(-1.0, abs=0.05)
    assert found.reference.offset.item() == pytest.approx(1.0, abs=0.08)
    assert found.mismatch[-1] < found.mismatch[1] < found.mismatch[0]
    mean, std = decaying(0.8)
    assert abs(found.at(0.8, 5000).mean() - mean) < 0.5 * abs(plain.at(0.8, 5000).mean() - mean)
    mean, std = decaying(3.0)
    later = found.at(3.0, 5000)
    assert later.mean() == pytest.approx(mean, abs=0.1)
    assert later.std() == pytest.approx(std, rel=0.05)


def test_the_same_seed_gives_the_same_population() -> None:
    snapshots = [normal(0.0, 1.0, 20), normal(1.0, 1.0, 30)]
    first, second = (
        fit_population(snapshots, [0, 1], PopulationSettings(1.0, rounds=2, paths=50, seed=-1)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.reference.matrix, second.reference.matrix)
    np.testing.assert_array_equal(first.paths(3, -5)[1], second.paths(3, -5)[1])
    np.testing.assert_array_equal(first.at(1.0, 4), snapshots[1][first.members(4)[1]])


def test_snapshots_of_a_table() -> None:
    frame = pd.DataFrame({"hour": [3, 0, 3, 0], "a": [1.0, 2.0, 3.0, 4.0], "b": [0.0, 1.0, 0.0, 1.0]})
    snapshots, times = snapshots_of(frame, "hour", ["a", "b"])
    assert times == [0.0, 3.0]
    np.testing.assert_array_equal(snapshots[1], [[1.0, 0.0], [3.0, 0.0]])
    with pytest.raises(DataError, match="no column c; there are hour, a, b"):
        snapshots_of(frame, "hour", ["c"])
    with pytest.raises(DataError, match="hours since"):
        snapshots_of(frame.assign(hour=pd.to_datetime(frame.hour)), "hour", ["a"])
    np.testing.assert_array_equal(snapshots_of(frame, "hour", "a")[0][0], [[2.0], [4.0]])


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        # A missing time was a snapshot of its own, without anyone.
        ("hour", [3, 0, math.nan, 0], r"'hour' has 1 value that is missing.*dropna\(subset=\['hour', 'a', 'b'\]\)"),
        ("b", [math.nan, 1.0, math.inf, 1.0], r"'b' has 2 values that are missing or infinite"),
        ("a", pd.array([1, None, 3, 4], dtype="Int64"), "'a' has 1 value that is missing"),
        ("a", ["1", "2", "x", "4"], "'a' is not numeric: row 2 holds 'x'"),
    ],
)
def test_a_table_with_values_that_are_none_is_refused(column: str, values: object, message: str) -> None:
    frame = pd.DataFrame({"hour": [3, 0, 3, 0], "a": [1.0, 2.0, 3.0, 4.0], "b": [0.0, 1.0, 0.0, 1.0]})
    with pytest.raises(DataError, match=message):
        snapshots_of(frame.assign(**{column: values}), "hour", ["a", "b"])


GOOD = [normal(0.0, 1.0, 10), normal(1.0, 1.0, 10)]


@pytest.mark.parametrize(
    ("snapshots", "times", "told"),
    [
        (GOOD[:1], [0], "two or more"),
        (GOOD, [0], "a time for each"),
        (GOOD, [1, 1], "rising"),
        (GOOD, [0, math.nan], "rising"),
        ([GOOD[0], np.ones((10, 2))], [0, 1], r"need \(n, 1\)"),
        ([GOOD[0], GOOD[1][:2]], [0, 1], "at least 3"),
        ([GOOD[0], GOOD[1] * math.nan], [0, 1], "leave those individuals out"),
        (GOOD, list(pd.date_range("2024-01-01", periods=2)), "hours since the first snapshot"),
        ([np.array(["a", "b", "c"])] * 2, [0, 1], "of numbers are taken"),
    ],
)
def test_bad_snapshots_are_refused(snapshots, times, told: str) -> None:
    with pytest.raises(DataError, match=told):
        fit_population(snapshots, times, PopulationSettings(1.0))


@pytest.mark.parametrize("time", [0.5, 5.0, 60.0, 1e6])
def test_transitions_of_rates_that_differ_much_are_exact_however_long(time: float) -> None:
    """Of 5 units of time the variances were −1e24, and of 800 not a number."""
    matrix = np.array([[-20.0, 3.0], [0.5, -0.1]])
    found = Reference(matrix, np.array([1.0, 0.0]), 0.5).over(time)
    in_the_end, kept = solve_continuous_lyapunov(matrix, -0.5 * np.eye(2)), expm(matrix * time)
    np.testing.assert_allclose(found.kept, kept, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.spread, in_the_end - kept @ in_the_end @ kept.T, rtol=1e-6)
    np.testing.assert_allclose(found.moved, np.linalg.solve(matrix, (kept - np.eye(2)) @ [1.0, 0.0]), rtol=1e-6)


def test_a_time_that_is_none_or_beyond_all_numbers_is_refused() -> None:
    found = fit_population(GOOD, [0, 1], PopulationSettings(1.0, rounds=0))
    for time in (math.inf, "noon"):
        with pytest.raises(ConfigError, match="need a finite number"):
            found.at(time, 3)  # type: ignore[arg-type]
    growing = replace(found, reference=Reference(np.eye(1), np.zeros(1), 1.0))
    with pytest.raises(ConfigError, match="grow beyond all numbers"):
        growing.at(5000.0, 3)
    with pytest.raises(ConfigError, match="need PopulationSettings"):
        fit_population(GOOD, [0, 1], None)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="columns is empty"):
        snapshots_of(pd.DataFrame({"hour": [0, 1]}), "hour", [])


def test_what_cannot_be_found_names_the_remedy() -> None:
    with pytest.raises(ConfigError, match="depend linearly"):
        fit_population([np.tile(one, 2) for one in GOOD], [0, 1], PopulationSettings(1.0, paths=1, steps=2))
    with pytest.raises(ConfigError, match="give a larger one"):
        fit_population(
            [np.random.default_rng(0).normal(0, 9, (40, 2)), GOOD[1].repeat(2, 1)], [0, 1], PopulationSettings(1e-6)
        )
    with pytest.raises(ConfigError, match="nothing is known before"):
        fit_population(GOOD, [0, 1], PopulationSettings(1.0, rounds=0)).at(-1.0, 3)
    for wrong in ({"diffusion": 0.0}, {"rounds": -1}, {"tolerance": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            PopulationSettings(**{"diffusion": 1.0, **wrong})
