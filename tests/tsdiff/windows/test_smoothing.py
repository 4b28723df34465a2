"""Exponential smoothing by filters: against its recursion, and on series of which the best rates are known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tsdiff.windows.simple import simple_forecasts
from tsdiff.windows.smoothing import Rates, smoothed_forecasts

RATES = [Rates(*some) for some in product((0.0, 0.5, 1.0), (1.0, 0.9), (0.0, 0.8))] + [Rates(0.8, 0.0, 0.0)]


def step_by_step(values: np.ndarray, horizon: int, season: int, rates: Rates) -> np.ndarray:
    """The forecasts of one origin by the definitions, a value after the other."""
    level, lead = values.mean(), -len(values) % season if season else 0
    series = list((np.concatenate([values[season - lead : season], values]) if season else values) - level)
    total, weight, off = series[:season], [1.0] * season, [0.0] * max(season - lead, 0)
    for place in range(season, len(series)):
        phase = place % season if season else 0
        off.append(series[place] - (total[phase] / weight[phase] if season else 0.0))
        if season:
            total[phase] = rates.keep * total[phase] + series[place]
            weight[phase] = rates.keep * weight[phase] + 1
    begin = min(season, len(off) - 1)
    smoothed = off[begin]
    for value in off[begin + 1 :]:
        smoothed = rates.smooth * rates.carry * smoothed + (1 - rates.smooth) * value
    made, expected = [], []
    for ahead in range(horizon):
        coming = smoothed * rates.carry ** (ahead + 1)
        if season:
            phase = (len(series) + ahead) % season
            gain = 1 / weight[(len(series) - 1) % season]
            usual = total[phase] / weight[phase]
            expected.append(usual if ahead < season else expected[-season] + gain * (made[-season] - expected[-season]))
        made.append(coming + (expected[-1] if season else 0.0))
    return np.array(made) + level


@given(
    season=st.sampled_from([0, 2, 7]),
    count=st.integers(14, 120),
    horizon=st.integers(1, 20),
    rates=st.sampled_from(RATES),
    seed=st.integers(0, 2**32 - 1),
)
def test_filters_do_what_the_recursion_says(season, count, horizon, rates, seed):
    values = np.random.default_rng(seed).normal(size=count).cumsum()
    made, _ = smoothed_forecasts(values, np.array([count]), horizon, season, rates)
    assert_allclose(made[0], step_by_step(values, horizon, season, rates), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("season", [0, 7])
def test_rates_are_those_of_the_series(season):
    rng, ends = np.random.default_rng(3), np.array([700])
    wave = 10 * np.resize(rng.normal(size=7), 700) if season else np.zeros(700)
    noise = rng.normal(size=700)
    _, of_noise = smoothed_forecasts(wave + noise, ends, 7, season)
    _, of_walk = smoothed_forecasts(wave + noise.cumsum(), ends, 7, season)
    assert of_noise.carry == 0 or of_noise.smooth >= 0.95
    assert of_walk.carry >= 0.97
    assert of_walk.smooth <= 0.5
    if season:
        assert of_noise.keep == 1.0
        changing = noise.reshape(100, 7).cumsum(0).reshape(-1)
        assert smoothed_forecasts(changing, ends, 7, season)[1].keep == 0.0


def test_a_line_with_seasons_goes_on():
    steps = np.arange(130)
    values = 3 + 2 * steps + 5 * np.sin(2 * np.pi * steps / 12)
    made, _ = smoothed_forecasts(values[:90], np.array([90, 80]), 40, 12)
    assert_allclose(made[0], values[90:])
    assert_allclose(made[1], values[80:120])


@given(
    seed=st.integers(0, 2**32 - 1),
    unit=st.floats(1e-3, 1e3),
    level=st.floats(-1e4, 1e4),
    season=st.sampled_from([0, 4]),
)
def test_units_and_levels_do_not_matter(seed, unit, level, season):
    values = np.random.default_rng(seed).normal(size=60).cumsum()
    ends = np.array([60, 50, 40])
    made, rates = smoothed_forecasts(values, ends, 9, season)
    moved, _ = smoothed_forecasts(level + unit * values, ends, 9, season, rates)
    assert_allclose(moved, level + unit * made, rtol=1e-7, atol=1e-7 * (unit + abs(level)))


def test_rates_know_nothing_of_what_the_first_origin_does_not():
    rng = np.random.default_rng(4)
    values = rng.normal(size=80)
    other = values.copy()
    other[50:] += 100
    ends = np.array([80, 50])
    (made, rates), (changed, same) = (smoothed_forecasts(given, ends, 6, 7) for given in (values, other))
    assert rates == same
    assert_allclose(made[1], changed[1])


@pytest.mark.parametrize("season", [0, 7, 60])
def test_what_lies_far_back_is_not_looked_at(season):
    values = np.random.default_rng(5).normal(size=1000).cumsum()
    other = values.copy()
    other[: 990 - max(9 * season, 400)] += 1000
    ends = np.array([1000, 990])
    (made, rates), (changed, same) = (smoothed_forecasts(given, ends, 12, season) for given in (values, other))
    assert rates == same
    assert_allclose(made, changed)
    nearer = other.copy()
    nearer[990 - 1 - season] += 1000
    kept, moved = (smoothed_forecasts(given, ends, 12, season, rates)[0] for given in (other, nearer))
    assert np.abs(moved - kept).max() > 1


@pytest.mark.parametrize("season", [0, 3, 24])
@pytest.mark.parametrize("horizon", [1, 2, 30, 130])
def test_short_histories(season, horizon):
    for count in range(max(6, 2 * season), max(6, 2 * season) + 30):
        values = np.random.default_rng(count).normal(size=count)
        made, _ = smoothed_forecasts(values, np.array([count]), horizon, season)
        assert np.isfinite(made).all()


def test_growth_is_smoothed_in_logarithms_and_does_not_run_away():
    steps = np.arange(120)
    values = np.exp(0.02 * steps + 0.3 * np.sin(2 * np.pi * steps / 12))
    made, usable = simple_forecasts(values[:96], np.array([96]), 24, (12, 0))
    assert usable[0, 23]
    assert_allclose(made[0, 23], values[96:], rtol=1e-9)
    steep, _ = simple_forecasts(2.0 ** np.arange(60), np.array([60]), 120, (12, 0))
    assert steep[0, 23].max() <= 10 * 2.0**59 * (1 + 1e-9)
    _, with_zero = simple_forecasts(np.append(values[:95], 0.0), np.array([96]), 24, (12, 0))
    assert not with_zero[0, 23]


def test_a_year_of_days_is_fifty_two_weeks():
    """Weekdays stay weekdays: a year of 365 days would shift them by one."""
    days = np.arange(4 * 364)
    values = np.where(days % 7 < 5, 100.0, 20.0) * (1 + 0.5 * np.sin(2 * np.pi * days / 364))
    made, usable = simple_forecasts(values[:-14], np.array([len(values) - 14]), 14, (7, 365))
    assert usable[0, 24]
    assert_allclose(made[0, 24], values[-14:], rtol=1e-9)
