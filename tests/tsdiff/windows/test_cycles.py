"""Cycles that keep to no calendar: the season that is found, waves, and what simple forecasts make of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tsdiff import TSDiffPredictor
from tsdiff.windows.anchors import pooled
from tsdiff.windows.cycles import Waves, found_season
from tsdiff.windows.simple import simple_forecasts

STEPS = np.arange(400)


def periodic(shape: str, period: float, steps: np.ndarray) -> np.ndarray:
    phase = steps / period % 1
    return {"sine": np.sin(2 * np.pi * phase), "saw": 2 * phase - 1, "pulse": (phase < 0.2).astype(float)}[shape]


@pytest.mark.parametrize("shape", ["sine", "saw", "pulse"])
@pytest.mark.parametrize("period", [5, 23, 60, 130])
def test_the_season_is_found_in_noise_and_around_a_line(shape, period):
    rng = np.random.default_rng(period)
    noise = 0.2 * rng.normal(size=400)
    assert abs(found_season(periodic(shape, period, STEPS) + 0.01 * STEPS + noise) - period) <= period // 20


@given(
    seed=st.integers(0, 1000),
    level=st.floats(-1e6, 1e6),
    unit=st.floats(1e-3, 1e3),
)
@settings(deadline=None, max_examples=30)
def test_a_season_has_no_unit_and_no_level(seed, level, unit):
    rng = np.random.default_rng(seed)
    values = np.sin(2 * np.pi * STEPS / rng.uniform(4, 100)) + 0.3 * rng.normal(size=400)
    assert found_season(level + unit * values) == found_season(values) > 1


def test_noise_lines_and_constants_show_no_season():
    rng = np.random.default_rng(0)
    assert sum(found_season(rng.normal(size=300)) > 0 for _ in range(200)) <= 4
    for values in (np.zeros(50), np.full(50, 1e9), np.arange(50.0), np.zeros(0), np.ones(5)):
        assert found_season(values) == 0


@pytest.mark.parametrize("periods", [(10.3,), (7.7, 31.0), (5.0, 12.4, 77.0)])
def test_waves_of_any_period_go_on(periods):
    steps = np.arange(600)
    values = 7 - 0.02 * steps + sum(np.sin(2 * np.pi * steps / period + period) for period in periods)
    waves = Waves(values[:400])
    assert_allclose(np.sort(2 * np.pi / waves.frequencies), sorted(periods), rtol=1e-3)
    for _ in range(3):
        waves.fit(values[:400])
    assert_allclose(2 * np.pi / np.sort(waves.frequencies)[::-1], sorted(periods), rtol=1e-9)
    assert_allclose(waves.ahead(np.arange(200)), values[400:], atol=1e-6)


def test_tides_are_foreseen():
    """Of the sun and the moon, twice and once a day: M2, S2, K1, O1 (periods in hours, sizes of a harbour)."""
    constituents = {12.4206: 2.0, 12.0: 0.7, 23.9345: 0.4, 25.8193: 0.3}
    rng, steps = np.random.default_rng(0), np.arange(960 + 72)
    tide = sum(size * np.sin(2 * np.pi * steps / period + period) for period, size in constituents.items())
    seen = tide[:960] + 0.05 * rng.normal(size=960)
    entry = {"start": pd.Period("2024-01-01", "h"), "target": seen.astype(np.float32)}
    (made,) = TSDiffPredictor.from_pretrained("default").adapted("h", 72).predict([entry], 100)
    assert np.abs(made.quantile(0.5) - tide[960:]).mean() < 0.03
    assert (made.quantile(0.95) - made.quantile(0.05)).mean() < 0.3  # 3.3 deviations of the noise are .16


def test_a_frequency_is_as_sure_as_it_can_be():
    """The Cramér-Rao bound of a sine's frequency is 24 σ² / (A² n (n² − 1)) (Rife and Boorstyn 1974)."""
    rng, count, noise, frequency = np.random.default_rng(3), 200, 0.5, 2 * np.pi / 17.3
    found = []
    for _ in range(300):
        wave = np.sin(frequency * np.arange(count) + rng.uniform(0, 6)) + noise * rng.normal(size=count)
        waves = Waves(wave)
        found.append(waves.frequencies[np.abs(waves.frequencies - frequency).argmin()])
    bound = np.sqrt(24 * noise**2 / (count * (count**2 - 1)))
    assert 0.85 < np.std(found) / bound < 1.2
    assert abs(np.mean(found) - frequency) < 4 * bound / np.sqrt(300)


def test_noise_has_no_waves():
    rng = np.random.default_rng(4)
    assert sum(len(Waves(rng.normal(size=300)).frequencies) for _ in range(200)) <= 20


@pytest.mark.parametrize("values", [np.zeros(100), np.full(100, 1e12), np.ones(1), np.arange(3.0), np.arange(100.0)])
def test_what_has_no_waves_goes_on_without(values):
    assert not len(Waves(values).frequencies)


def test_waves_stay_near_what_was_seen():
    rng = np.random.default_rng(5)
    for _ in range(50):
        values = rng.normal(size=rng.integers(8, 300)).cumsum()
        waves = Waves(values)
        if len(waves.frequencies):
            wide = values.max() - values.min()
            ahead = waves.ahead(np.arange(1000))
            assert ahead.min() >= values.min() - wide - 1e-9
            assert ahead.max() <= values.max() + wide + 1e-9


@pytest.mark.parametrize("shape", ["sine", "saw"])
@pytest.mark.parametrize("period", [10, 25, 37])
def test_one_of_the_simple_forecasts_follows_a_cycle(shape, period):
    rng = np.random.default_rng(period)
    steps = np.arange(448)
    truth = 10 + periodic(shape, period, steps)
    values = (truth + 0.1 * rng.normal(size=448))[:400]
    made, usable = simple_forecasts(values, np.array([400, 368, 336]), 48, (24, 168))
    errors = np.abs(made[0, 25:28] - truth[400:]).mean(1)
    assert usable[:, 25:28].all()
    assert errors.min() < 0.06
    assert errors[0] < 0.12  # all last values know every shape
    assert errors[1 if shape == "sine" else 2] < 0.06


def test_the_calendars_own_season_is_not_found_again():
    values = periodic("saw", 24, STEPS)
    assert found_season(values) == 24
    assert not simple_forecasts(values, np.array([400]), 10, (24, 168))[1][0, 27]
    assert simple_forecasts(values, np.array([400]), 10, (7, 0))[1][0, 27]


@given(seed=st.integers(0, 500), count=st.integers(1, 300), size=st.sampled_from([1e-12, 1.0, 1e12]))
@settings(deadline=None, max_examples=60)
def test_forecasts_of_whatever_comes_are_finite(seed, count, size):
    rng = np.random.default_rng(seed)
    kind = seed % 5
    values = [
        rng.normal(size=count),
        rng.normal(size=count).cumsum(),
        rng.poisson(0.2, count).astype(float),
        np.repeat(rng.normal(), count),
        np.sin(np.arange(count) * rng.uniform(0.01, 3)),
    ][kind] * size
    pool = pooled(values, 13, (7, 365))
    assert np.isfinite(pool.forecasts).all()
    assert np.isfinite(pool.mean).all()
    assert pool.scale > 0


@pytest.mark.parametrize("unit", [2.0**-66, 2.0**40])
def test_waves_have_no_unit(unit):
    values = np.random.default_rng(1).normal(size=300).cumsum()
    one, other = Waves(values[:260]), Waves(unit * values[:260])
    for waves, seen in ((one, values), (other, unit * values)):
        waves.fit(seen)
    assert_allclose(other.frequencies, one.frequencies, rtol=1e-9)
    assert_allclose(other.ahead(np.arange(20)) / unit, one.ahead(np.arange(20)), rtol=1e-9)
