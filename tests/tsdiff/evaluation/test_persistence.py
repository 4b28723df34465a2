"""Excursions: counting them, what is cut off by a series' ends, and Gaussian series whose excursions are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.errors import ConfigError, DataError
from tests.tsdiff.tasks.test_realism import ar1
from tsdiff.evaluation.persistence import (
    Excursions,
    excursion_distance,
    excursions,
    mean_excursion,
    persistence_exponent,
    sign_change_chance,
)

STEP = 0.25
"""Of simulated smooth series, in the time of their correlation."""


def smooth(count: int, steps: int, seed: int = 0) -> np.ndarray:
    """Stationary Gaussian series of correlation sech(t/2), by its spectrum, (count, steps)."""
    length = 1 << (2 * steps - 1).bit_length()
    lags = np.minimum(np.arange(length), length - np.arange(length)) * STEP
    power = np.maximum(np.fft.rfft(1 / np.cosh(lags / 2)).real, 0)
    white = np.fft.rfft(np.random.default_rng(seed).normal(size=(count, length)))
    return np.fft.irfft(white * np.sqrt(power), length)[:, :steps]


def random_acceleration(t: float) -> float:
    return (3 * math.exp(-t / 2) - math.exp(-3 * t / 2)) / 2


# --- counting --------------------------------------------------------------------------------------------


def test_runs_are_counted_and_the_first_is_left_out() -> None:
    values = np.array([[1, 1, -1, -1, -1, 1, 1], [-1, 1, -1, 1, -1, 1, 1], [1, 1, 1, 1, 1, 1, 1]])
    found = excursions(values, 0.0)
    assert found.lengths.tolist() == [3, 2, 1, 1, 1, 1, 2]
    assert found.ended.tolist() == [True, False, True, True, True, True, False]
    assert found.started == 3
    # By hand: of 7 runs 4 end after 1 step; of the 3 left at 2 none ends and two are cut; the last ends after 3.
    np.testing.assert_allclose(found.survival(), [1, 3 / 7, 3 / 7, 0])
    assert found.mean == pytest.approx(1 + 6 / 7)


def test_levels_of_each_series_and_values_that_equal_one() -> None:
    values = np.array([[0.0, 1, 2, 1, 0, 3], [10, 11, 12, 11, 10, 13]])
    one, other = (excursions(values[i : i + 1], level) for i, level in ((0, 1.0), (1, 11.0)))
    both = excursions(values, np.array([1.0, 11.0]))
    assert one.lengths.tolist() == other.lengths.tolist() == [1, 2, 1]
    assert both.lengths.tolist() == [1, 2, 1, 1, 2, 1]


def test_cut_runs_do_not_shorten_the_distribution() -> None:
    # Geometric runs of mean 20 seen through windows of 40 steps.
    rng = np.random.default_rng(1)
    signs = np.where(np.cumsum(rng.random((4000, 40)) < 0.05, axis=1) % 2, 1.0, -1.0)
    found = excursions(signs, 0.0)
    places = np.arange(30)
    np.testing.assert_allclose(found.survival(29), 0.95**places, atol=0.02)
    whole = found.lengths[found.ended]
    assert whole.mean() < 13  # without those that are cut they seem short


# --- closed forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("correlation", "curvature", "exponent"), [
    (lambda t: 1 / math.cosh(t / 2), 0.25, 0.18621),
    (random_acceleration, 0.75, 0.26467),
])  # fmt: skip
def test_exponents_of_the_independent_interval_approximation(correlation, curvature, exponent) -> None:
    assert persistence_exponent(correlation, curvature) == pytest.approx(exponent, abs=2e-5)


def test_excursions_of_a_smooth_gaussian_series_are_as_the_closed_forms_say() -> None:
    found = excursions(smooth(400, 4000), 0.0)
    assert STEP * found.mean == pytest.approx(mean_excursion(0.25), rel=0.03)  # Rice: 2π
    assert found.tail_rate() / STEP == pytest.approx(0.1862, rel=0.08)


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.9, -0.5])
def test_ar1_changes_sign_as_the_arc_cosine_says(phi: float) -> None:
    values = ar1(200, 2000, phi, seed=3)
    changes = (values[:, 1:] > 0) != (values[:, :-1] > 0)
    assert changes.mean() == pytest.approx(sign_change_chance(phi), rel=0.02)
    assert excursions(values, 0.0).mean == pytest.approx(1 / sign_change_chance(phi), rel=0.03)


def test_where_the_closed_forms_do_not_hold_they_say_so() -> None:
    with pytest.raises(ConfigError, match="measure the excursions"):
        persistence_exponent(lambda t: math.cos(t) * math.exp(-t / 5), 1.0)
    with pytest.raises(ConfigError, match="curvature"):
        persistence_exponent(lambda t: math.exp(-t), math.inf)  # Ornstein–Uhlenbeck
    for curvature, correlation in ((1.0, lambda t: math.exp(-t)), (0.3, lambda t: 1 / math.cosh(t / 2))):
        with pytest.raises(ConfigError, match=rf"curvature={curvature}: near 0 the correlation bends by .*; give −r″"):
            persistence_exponent(correlation, curvature)
    with pytest.raises(ConfigError, match="from -1 to 1"):
        sign_change_chance(1.2)


# --- comparing -------------------------------------------------------------------------------------------


def test_distances_are_those_of_the_distributions() -> None:
    one = Excursions(np.array([2, 2, 2, 2]), np.ones(4, bool), 1)
    double = Excursions(np.array([4, 4]), np.ones(2, bool), 1)
    found = excursion_distance(one, double)
    assert found.ks == 1
    assert found.wasserstein == pytest.approx(math.log(2))
    same = excursion_distance(one, one)
    assert (same.ks, same.wasserstein) == (0, 0)
    none = Excursions(np.zeros(0, int), np.zeros(0, bool), 3)
    assert math.isnan(excursion_distance(one, none).ks)
    assert math.isnan(none.mean)
    assert math.isnan(none.tail_rate())


def test_series_of_one_spectrum_are_told_apart_by_their_excursions() -> None:
    """A square wave of random phase, and its phase-randomised twin of the same spectrum."""
    rng = np.random.default_rng(0)
    place = np.arange(960)[None] + rng.integers(0, 48, size=(200, 1))
    square = np.where(place % 48 < 24, 1.0, -1.0)
    transform = np.fft.rfft(square)
    twin = np.fft.irfft(np.abs(transform) * np.exp(2j * np.pi * rng.random(transform.shape)), 960)
    real, made = excursions(square, 0.0), excursions(twin, 0.0)
    assert excursion_distance(real, made).ks > 0.5
    other = excursions(square[::-1, ::-1], 0.0)
    assert excursion_distance(real, other).ks < 0.05


def test_values_that_have_no_side_are_refused() -> None:
    with pytest.raises(DataError, match="missing or infinite"):
        excursions(np.array([[1.0, np.nan, 2.0]]), 0.0)
    with pytest.raises(DataError, match="at least two steps"):
        excursions(np.ones(5), 0.0)
    with pytest.raises(DataError, match=r"levels of shape \(2,\) for 3 series: give one, or one of each"):
        excursions(np.ones((3, 5)), np.zeros(2))
