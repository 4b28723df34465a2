"""Histories whose unit has changed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tsdiff import TSDiffPredictor
from tsdiff.windows.units import in_units_of_now

WEEK = np.array([0.6, 0.8, 1.0, 1.0, 1.2, 1.6, 0.4])


def sales(seed: int, count: int = 200) -> np.ndarray:
    """With a week and noise of 5 %, around 20."""
    steps = np.arange(count)
    values: np.ndarray = 20 * WEEK[steps % 7] * np.exp(0.05 * np.random.default_rng(seed).normal(size=count))
    return values


@given(seed=st.integers(0, 99), since=st.integers(8, 100), ratio=st.sampled_from([1e-6, 1e-3, 5e-3, 60.0, 1e3, 1e6]))
def test_a_history_comes_in_the_unit_of_its_last_values(seed: int, since: int, ratio: float):
    values, since = sales(seed), since if ratio > 1 else min(since, 20)
    changed = values.copy()
    changed[:-since] *= ratio
    changed[[3, 50, 120]] = np.nan
    kept = changed.copy()
    made = in_units_of_now(changed, 7)
    assert_array_equal(changed, kept)
    assert_array_equal(made[-since:], changed[-since:])
    assert_array_equal(np.isnan(made), np.isnan(changed))
    known = ~np.isnan(made)
    assert_allclose(made[known], values[known], rtol=0.12)


@given(
    seed=st.integers(0, 999), kind=st.sampled_from(["walk", "noise", "growth", "shift", "spike", "launch", "season"])
)
def test_other_histories_are_as_they_were(seed: int, kind: str):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(40 if kind == "season" else 5, 300))
    steps = np.arange(count)
    made = {
        "walk": np.exp(0.3 * rng.normal(size=count).cumsum()),
        "noise": np.exp(2 * rng.normal(size=count)),
        "growth": 3.0**steps * np.exp(0.1 * rng.normal(size=count)) if count < 200 else np.exp(0.1 * steps),
        "shift": np.where(steps < 0.7 * count, 50.0, 100.0) + rng.normal(size=count),
        "spike": np.where(steps >= count - rng.integers(1, 7), 1e4, 10.0) + rng.uniform(0, 1, count),
        "launch": np.where(steps < count - 20, 0.0, 30.0 + rng.normal(size=count)),
        "season": 10.0 ** (steps // 12 % 2 * 3) + rng.uniform(0, 1, count),
    }[kind]
    assert in_units_of_now(made, 12) is made


@pytest.mark.parametrize("since", [10, 60])
def test_forecasts_are_those_of_a_history_in_one_unit(since: int):
    predictor = TSDiffPredictor.from_pretrained("default").adapted("D", 14)
    values = sales(1)
    changed = values.copy()
    changed[:-since] *= 1000
    start = pd.Period("2024-01-01", "D")
    one, other = predictor.predict([{"start": start, "target": each} for each in (values, changed)], 100)
    assert_allclose(other.quantile(0.5), one.quantile(0.5), rtol=0.1)
    widths = [made.quantile(0.95) - made.quantile(0.05) for made in (one, other)]
    assert 0.6 < widths[1].mean() / widths[0].mean() < 1.6
