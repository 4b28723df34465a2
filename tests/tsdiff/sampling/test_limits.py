"""Limits that a series shows are kept, and none is taken for one that is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffPredictor
from tsdiff.sampling.limits import limits_of
from tsdiff.tasks.suited import SUITED

LENGTH, HORIZON = 400, 24


def charged(rng: np.random.Generator, length: int = LENGTH) -> np.ndarray:
    """A level that is 100 for half of each day, and falls in between."""
    hours = np.arange(length) % 24
    return np.minimum(100.0, 130 - 4.0 * hours + rng.normal(0, 2, length))


def made(kind: str, rng: np.random.Generator) -> np.ndarray:
    steps = np.arange(LENGTH)
    return {
        "noise": rng.normal(size=LENGTH),
        "counts": 1.0 * rng.poisson(2, LENGTH),
        "rare counts": 1.0 * rng.poisson(0.1, LENGTH),
        "whole degrees": np.rint(20 + 8 * np.sin(steps / 24 * 2 * np.pi)),
        "held since lately": np.minimum(steps / 4.0, 80.0),
        "stairs": np.floor(steps / 50),
        "on and off": 1.0 * (rng.random(LENGTH) < 0.5),
        "constant": np.full(LENGTH, 7.0),
        "few": np.array([3.0, 5.0, 5.0]),
        "none known": np.full(LENGTH, np.nan),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "noise", "counts", "rare counts", "whole degrees", "held since lately", "stairs", "on and off", "constant",
        "few", "none known",
    ],
)  # fmt: skip
def test_what_is_no_limit(kind: str):
    for seed in range(5):
        values = made(kind, np.random.default_rng(seed))
        low, high = limits_of(values)
        assert high is None
        assert low in (None, 0.0)  # where most counts are 0


def test_a_share_of_one_in_a_hundred_is_enough():
    """Of minutes of a processor's load, which is 100 % at its peak alone; 2 % were asked for."""
    for seed in range(5):
        rng, steps = np.random.default_rng(seed), np.arange(2000)
        load = np.round(60 + 25 * np.sin(2 * np.pi * steps / 1440) + rng.normal(0, 10, 2000), 1)
        assert 0.01 <= (load >= 100).mean() < 0.02
        assert limits_of(np.minimum(load, 100)) == (None, 100.0)
        assert limits_of(load) == (None, None)


def test_limits_on_either_side():
    rng = np.random.default_rng(0)
    values = charged(rng)
    assert limits_of(values) == (None, 100.0)
    assert limits_of(-values) == (-100.0, None)
    assert limits_of(np.clip(rng.normal(size=LENGTH), -1, 1)) == (-1.0, 1.0)
    values[rng.random(LENGTH) < 0.5] = np.nan
    assert limits_of(values) == (None, 100.0)


def test_what_was_passed_once_is_none():
    values = charged(np.random.default_rng(0))
    values[50] = 101.0
    assert limits_of(values) == (None, None)


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("h", HORIZON)


def entry_of(values: np.ndarray, **fields: Any) -> dict[str, Any]:
    return {"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": values, **fields}


def test_forecasts_keep_within(default: TSDiffPredictor):
    rng = np.random.default_rng(0)
    values = charged(rng, LENGTH + HORIZON)
    (one,) = default.predict([entry_of(values[:LENGTH])])
    assert one.info[SUITED].limited
    assert one.samples.max() == 100.0
    full = values[LENGTH:] == 100.0
    assert (np.median(one.samples, axis=0)[full] > 99).all()
    (shifted,) = default.predict([entry_of(values[:LENGTH] - 150)])  # a limit below zero
    assert shifted.samples.max() == -50.0
    (refused,) = default.with_sampling(counts=False).predict([entry_of(values[:LENGTH])])
    assert refused.samples.max() > 100.0
    (given,) = default.with_sampling(maximum=101.0).predict([entry_of(values[:LENGTH])])
    assert 100.0 < given.samples.max() <= 101.0


def test_gaps_keep_within(default: TSDiffPredictor):
    values = charged(np.random.default_rng(0))
    gaps = values.copy()
    gaps[200:230] = np.nan
    (one,) = default.impute([entry_of(gaps)])
    assert one.samples.max() == 100.0
    (refused,) = default.with_sampling(counts=False).impute([entry_of(gaps)])
    assert refused.samples.max() > 100.0


def test_others_stay_as_they_are(default: TSDiffPredictor):
    values = made("noise", np.random.default_rng(0))
    (one,) = default.predict([entry_of(values)])
    (other,) = default.with_sampling(counts=False).predict([entry_of(values)])
    np.testing.assert_array_equal(one.samples, other.samples)
    assert not one.info[SUITED].limited
