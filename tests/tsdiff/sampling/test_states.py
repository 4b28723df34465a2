"""Series of two states are forecast and filled by these alone, and counts are none of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffPredictor
from tsdiff.sampling.states import as_states, states_of
from tsdiff.tasks.suited import SUITED

HORIZON = 14


def switched(seed: int, length: int = 200, chance: float = 0.1) -> np.ndarray:
    """On and off, by runs."""
    return 1.0 * (np.cumsum(np.random.default_rng(seed).random(length) < chance) % 2)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.2, 0.3), (-1.0, 1.0), (0.0, 1500.0)])
def test_two_values_are_states(low, high):
    values = low + (high - low) * switched(3)
    assert states_of(values) == (low, values.max())
    values[::3] = np.nan
    assert states_of(values) == (low, np.nanmax(values))


def test_what_has_no_two_states():
    rng = np.random.default_rng(0)
    steps = np.arange(200)
    others = {
        "rare counts": 1.0 * (rng.random(200) < 0.1),
        "one change": 10.0 + (steps > 90),
        "constant": np.full(200, 3.0),
        "three values": 1.0 * rng.integers(0, 3, 200),
        "few": np.array([0.0, 1.0, 0.0, 1.0]),
        "none known": np.full(20, np.nan),
        "none": np.zeros(0),
    }
    assert {name: states_of(values) for name, values in others.items()} == dict.fromkeys(others)


def test_draws_keep_their_order_and_mean():
    samples = np.random.default_rng(1).normal(0.7, 0.2, (200, 5)).astype(np.float32)
    made = as_states(samples, (0.0, 1.0))
    assert made.dtype == np.float32
    assert set(np.unique(made)) == {0.0, 1.0}
    np.testing.assert_allclose(made.mean(0), samples.mean(0), atol=0.005)
    assert all(samples[made[:, at] == 1, at].min() > samples[made[:, at] == 0, at].max() for at in range(5))
    np.testing.assert_array_equal(as_states(made, (0.0, 1.0)), made)
    assert (as_states(samples + 2, (0.0, 1.0)) == 1).all()
    assert (as_states(samples - 2, (0.0, 1.0)) == 0).all()


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("D", HORIZON)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.5, 2.5)])
def test_forecasts_and_gaps_are_one_or_the_other(default, low, high):
    values = low + (high - low) * switched(4)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": values}
    (ahead,) = default.predict([entry])
    assert ahead.info[SUITED].limited
    assert set(np.unique(ahead.samples)) <= {low, high}
    gaps = values.copy()
    inside = int(np.flatnonzero((values[2:] == high) & (values[1:-1] == high) & (values[:-2] == high))[9]) + 1
    gaps[[inside, *range(80, 100)]] = np.nan
    (filled,) = default.impute([{**entry, "target": gaps}])
    assert set(np.unique(filled.samples)) <= {low, high}
    assert filled.median[inside] == high  # as on both sides
    refused = default.with_sampling(counts=False)
    assert not set(np.unique(next(iter(refused.predict([entry]))).samples)) <= {low, high}
