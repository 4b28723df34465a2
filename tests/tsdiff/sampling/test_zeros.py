"""Samples take the values that a series takes: none below zero, whole numbers, and as many zeros."""

from __future__ import annotations

import numpy as np
import pytest

from tsdiff.sampling.zeros import Support, within


@pytest.mark.parametrize(
    ("values", "nonnegative", "counts"),
    [
        ([0, 1, 5, np.nan], True, True),
        ([0.5, 2.0], True, False),
        ([-1, 2], False, False),
        ([np.nan], False, False),
        ([np.inf, 3], True, True),
    ],
)
def test_what_a_series_takes_is_read_from_it(values, nonnegative, counts):
    found = Support.of(np.array(values, dtype=float))
    assert (found.nonnegative, found.counts) == (nonnegative, counts)


def normal(mean: float, deviation: float, steps: int = 14) -> np.ndarray:
    """Samples of a Gaussian forecast."""
    return np.random.default_rng(1).normal(mean, deviation, (400, steps)).astype(np.float32)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.7, 2.0])
def test_counts_are_whole_with_the_share_of_zeros_of_the_history(rate):
    history = np.random.default_rng(0).poisson(rate, 300).astype(float)
    made = within(normal(rate, np.sqrt(rate)), history, 7)
    assert (made == np.rint(made)).all()
    assert made.min() == 0
    assert made.dtype == np.float32
    assert (made == 0).mean() == pytest.approx((history[-200:] == 0).mean(), abs=0.03 + 0.05 * (rate == 2.0))


def test_lumpy_demand_is_zero_as_often_as_it_was_and_large_values_stay():
    rng = np.random.default_rng(0)
    history = np.where(rng.random(300) < 0.8, 0.0, rng.normal(50, 5, 300))
    samples = normal(10, 20)
    made = within(samples, history, 1)
    assert (made == 0).mean() == pytest.approx((history[-200:] == 0).mean(), abs=0.02)
    np.testing.assert_array_equal(made[made > 0], samples[made > 0])
    sure = within(normal(60, 2), history, 1)  # far from zero: a value as large is none
    assert sure.min() > 40


def test_the_share_of_zeros_is_that_of_the_times_of_the_season():
    rng = np.random.default_rng(0)
    day = np.arange(24 * 28) % 24
    history = np.where(day < 12, 0.0, rng.poisson(3.0, len(day)) + 1.0)
    nights, days = within(normal(0.4, 0.5, 12), history, 24), within(normal(4.0, 1.0, 24)[:, 12:], history[12:], 24)
    assert (nights == 0).mean() > 0.85
    later = within(normal(4.0, 1.5, 12), history[:-12], 24)
    assert (later == 0).mean() < 0.02
    assert days.shape == (400, 12)


def test_zeros_alone_go_on_and_series_without_zeros_get_none_but_by_rounding():
    assert not within(normal(0.0, 0.3), np.zeros(50), 7).any()
    counts = np.arange(1.0, 60.0)
    np.testing.assert_array_equal(within(np.array([[0.4, 0.6, 2.4, 2.6, -3.0]]), counts, 1), [[0, 1, 2, 3, 0]])
    positive = counts + 0.5
    np.testing.assert_array_equal(within(np.array([[-0.4, 0.6]]), positive, 1), [[0.0, 0.6]])


def test_not_asked_for_only_the_bound_is_kept():
    samples = np.array([[-1.0, 0.3, 2.7]])
    np.testing.assert_array_equal(within(samples, np.array([0.0, 1.0, 2.0]), 1, counts=False), [[0.0, 0.3, 2.7]])
