"""Trends: against their recursion and least squares, and on series that go on by a law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tsdiff.windows.simple import simple_forecasts
from tsdiff.windows.trends import Damping, break_places, damped_trend, fitted_damping, season_shape, since_break

SEEDS = st.integers(0, 2**32 - 1)
DRIFT, DAMPED, GROWN, BROKEN = range(28, 32)


def step_by_step(values: np.ndarray, slope: float, damping: Damping, horizon: int) -> np.ndarray:
    """The forecasts of one origin by the definitions, a value after the other."""
    level, trend = values[0], slope
    for value in values[1:]:
        coming = level + damping.phi * trend
        level = coming + damping.alpha * (value - coming)
        trend = damping.phi * trend + damping.beta * (value - coming)
    made, reach = [], 0.0
    for step in range(1, horizon + 1):
        reach += damping.phi**step
        made.append(level + reach * trend)
    return np.array(made)


@given(
    count=st.integers(8, 200),
    horizon=st.integers(1, 30),
    damping=st.builds(Damping, st.sampled_from([0.1, 0.6]), st.sampled_from([0.01, 0.1]), st.sampled_from([0.8, 0.99])),
    seed=SEEDS,
)
def test_filters_do_what_the_recursion_says(count, horizon, damping, seed):
    values = np.random.default_rng(seed).normal(size=count).cumsum()
    made = damped_trend(values, np.array([count]), horizon, damping)
    begun = values[: min(10, count // 2)]
    slope = np.polyfit(np.arange(len(begun)), begun, 1)[0]
    assert_allclose(made[0], step_by_step(values, slope, damping, horizon), rtol=1e-8, atol=1e-8)


@given(count=st.integers(8, 120), cut=st.integers(0, 60), seed=SEEDS)
def test_each_origin_knows_its_own_values_alone(count, cut, seed):
    rng = np.random.default_rng(seed)
    values, damping = rng.normal(size=count + cut).cumsum(), Damping(0.3, 0.05, 0.9)
    ends = np.array([count + cut, count])
    assert_allclose(
        damped_trend(values, ends, 5, damping)[1],
        damped_trend(values[:count], ends[1:], 5, damping)[0],
        rtol=1e-7,
        atol=1e-7,
    )
    assert_allclose(since_break(values, ends, 5)[1], since_break(values[:count], ends[1:], 5)[0], rtol=1e-7, atol=1e-7)


def test_rates_are_those_of_the_series():
    rng = np.random.default_rng(0)
    steps = np.arange(400)
    wandering = fitted_damping(rng.normal(size=400).cumsum(), 10)
    still = fitted_damping(rng.normal(size=400), 10)
    straight = fitted_damping(3.0 * steps + 0.1 * rng.normal(size=400), 10)
    assert wandering.alpha == 0.9
    assert still.alpha == 0.1
    assert straight.phi == 0.999


def test_a_slope_that_turns_is_followed():
    steps = np.arange(300.0)
    values = 40 * np.sin(steps / 60)
    made = damped_trend(values, np.array([300]), 5, fitted_damping(values, 5))
    assert_allclose(made[0], 40 * np.sin(np.arange(300, 305) / 60), atol=0.6)


@given(count=st.integers(21, 200), season=st.sampled_from([3, 4, 7]), slope=st.floats(-1, 1), seed=SEEDS)
def test_the_shape_of_a_season_on_a_line_is_exact(count, season, slope, seed):
    shape = np.random.default_rng(seed).normal(size=season)
    shape -= shape.mean()
    steps = np.arange(count + season)
    values = np.resize(shape, count + season) + slope * steps + 10
    assert_allclose(season_shape(values[:count], season), np.resize(shape, count + season)[count:], atol=1e-8)


def test_noise_has_hardly_a_shape():
    rng = np.random.default_rng(1)
    sizes = [np.abs(season_shape(rng.normal(size=70), 7)).mean() for _ in range(100)]
    assert np.mean(sizes) < 0.15  # a mean of eight values is off by .28
    assert np.median(sizes) < 0.1


@pytest.mark.parametrize(("count", "season"), [(50, 0), (5, 7), (20, 7), (0, 0)])
def test_without_three_seasons_there_is_no_shape(count, season):
    assert not season_shape(np.arange(float(count)), season).any()


@pytest.mark.parametrize("after", [4, 15, 40])
@pytest.mark.parametrize("kind", ["step", "bend", "both lines"])
def test_what_follows_a_break_goes_on(kind, after):
    time = np.arange(170.0) - 150 + after
    law = {
        "step": 5.0 * (time >= 0),
        "bend": 2.0 * np.maximum(time, 0),
        "both lines": 0.5 * time + 2.0 * np.maximum(time, 0),
    }[kind]
    noise = 0.05 * np.random.default_rng(2).normal(size=170)
    made = since_break((law + noise)[:150], np.array([150]), 20)[0]
    assert_allclose(made, law[150:], atol=0.5 if after > 4 else 1.5)


def test_a_break_is_what_least_squares_says():
    rng, time = np.random.default_rng(3), np.arange(100.0) - 79
    values = (1.5 * np.maximum(time + 20, 0) + rng.normal(size=100))[:80]
    made, best = since_break(values, np.array([80]), 20)[0], np.inf
    for after in break_places(80):
        table = np.stack([np.ones(100), np.maximum(time + after, 0)], axis=1)
        fit, left = np.linalg.lstsq(table[:80], values, rcond=None)[:2]
        if left[0] < best:
            best, wanted = left[0], table[80:] @ fit
    assert_allclose(made, wanted, atol=1e-8)


def test_noise_has_no_break():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(100, 60))
    level = [since_break(row, np.array([60]), 10)[0] for row in values]
    flat = [np.allclose(made, row.mean()) for made, row in zip(level, values, strict=True)]
    assert np.mean(flat) > 0.85


@given(count=st.integers(8, 90), level=st.floats(-1e6, 1e6), unit=st.sampled_from([1e-3, 1.0, 1e4]), seed=SEEDS)
def test_level_and_unit_do_not_matter(count, level, unit, seed):
    values, ends = np.random.default_rng(seed).normal(size=count), np.array([count])
    damping = Damping(0.3, 0.05, 0.9)
    for forecast in (lambda x: damped_trend(x, ends, 6, damping), lambda x: since_break(x, ends, 6)):
        assert_allclose(forecast(level + unit * values), level + unit * forecast(values), rtol=1e-6, atol=1e-5 * unit)


def test_they_are_among_the_simple_forecasts():
    rng = np.random.default_rng(5)
    steps, ends = np.arange(134), np.array([120, 110])
    week = np.resize(rng.normal(size=7), 134)
    week -= week[:133].mean()
    made, usable = simple_forecasts((100 + 2 * steps + week)[:120], ends, 14, (7, 0))
    assert usable[:, [DRIFT, DAMPED, GROWN, BROKEN]].all()
    assert_allclose(made[0, BROKEN], (100 + 2 * steps + week)[120:], atol=1e-6)
    assert_allclose(made[0, DAMPED], (100 + 2 * steps + week)[120:], atol=0.5)
    grown = np.exp(0.02 * steps) * np.exp(0.3 * week)
    assert_allclose(simple_forecasts(grown[:120], ends, 14, (7, 0))[0][0, GROWN], grown[120:], rtol=0.02)
    drift = 3.0 + 0.5 * steps + 0.0 * week
    assert_allclose(simple_forecasts(drift[:120], ends, 14, (7, 0))[0][0, DRIFT], drift[120:], rtol=1e-9)


def test_rates_are_told_by_what_the_first_forecast_knows():
    values = np.exp(0.03 * np.arange(80) + 0.05 * np.random.default_rng(6).normal(size=80))
    ends = np.array([80])
    alone, _ = simple_forecasts(values, ends, 10, (7, 0))
    later, _ = simple_forecasts(np.append(values, np.full(20, 1e4)), ends, 10, (7, 0))
    assert_allclose(later[0, [DRIFT, DAMPED, GROWN, BROKEN]], alone[0, [DRIFT, DAMPED, GROWN, BROKEN]], rtol=1e-9)


@pytest.mark.parametrize("values", [np.zeros(40), np.full(40, 1e8), np.r_[np.zeros(39), 1.0], np.r_[5.0, np.zeros(39)]])
def test_constants_and_single_values_stay_finite(values):
    made, _ = simple_forecasts(values, np.array([40, 30]), 12, (7, 0))
    assert np.isfinite(made).all()
    if values.std() == 0:
        assert_allclose(made, values[0], rtol=1e-9, atol=1e-9)
