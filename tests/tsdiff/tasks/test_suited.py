"""What suits a series is told by its values as models read them: what is infinite or masked is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsdiff import Sampling
from tsdiff.automatic.guards import Guard
from tsdiff.automatic.predictor import AutoPredictor, Member
from tsdiff.tasks.imputation.filling import Imputation
from tsdiff.tasks.suited import Suited, suited_gaps

LENGTH, H = 200, 5


@pytest.fixture
def naive() -> AutoPredictor:
    """Draws counts without a network."""
    return AutoPredictor([Member("naive", 1.0, Guard("naive", "D", H))], sampling=Sampling(counts=True))


def with_missing(values: np.ndarray, how: str) -> np.ndarray:
    """Values (n,) of which one is missing."""
    away = np.arange(len(values)) == 150
    if how == "masked":
        return np.ma.array(np.where(away, 1e6, values), mask=away)
    return np.where(away, np.inf if how == "infinite" else np.nan, values)


@pytest.mark.parametrize("how", ["infinite", "masked"])
def test_what_counts_as_missing_is_none_of_the_sizes_that_are_drawn(naive: AutoPredictor, how: str):
    rng = np.random.default_rng(0)
    sold = (rng.random(LENGTH) < 0.3) * rng.integers(1, 5, LENGTH).astype(float)
    entry = {"start": pd.Period("2024-01-01", "D")}
    one, other = (
        next(naive.predict([{**entry, "target": with_missing(sold, kind)}], 300)).samples for kind in ("nan", how)
    )
    assert one.max() == 4
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bounds", [{"maximum": 3.0}, {"minimum": 1.0}, {"minimum": 0.0, "maximum": 2.0}])
def test_counts_keep_to_the_bounds_that_are_given(naive: AutoPredictor, bounds: dict[str, float]):
    rng = np.random.default_rng(0)
    sold = (rng.random(LENGTH) < 0.3) * rng.integers(1, 6, LENGTH).astype(float)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": with_missing(sold, "nan")}
    least, most = bounds.get("minimum", 0.0), bounds.get("maximum", 5.0)
    forecast = next(naive.with_sampling(**bounds).predict([entry], 300)).samples
    drawn = rng.normal(2, 2, size=(300, 1))
    made = Imputation("a", entry["start"], entry["target"], drawn)
    drawing = Sampling(counts=True, **bounds)
    filled = next(suited_gaps(lambda entries, _: (made for _ in entries), [entry], 300, drawing, "D")).samples
    for samples in (forecast, filled):
        assert (samples.min(), samples.max()) == (least, most)


def test_a_shop_that_is_closed_on_sundays_is_open_on_other_days():
    """Zero is a value that its sales often reach and never pass: all samples below it were zero, 5 to 10 %."""
    rng, days = np.random.default_rng(0), np.arange(LENGTH)
    sold = np.where(days % 7 == 6, 0.0, rng.poisson(30, LENGTH))
    gap = (days >= 100) & (days < 114)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": np.where(gap, np.nan, sold)}
    made = Imputation("a", entry["start"], entry["target"], rng.normal(30, 20, size=(300, 14)))
    (filled,) = suited_gaps(lambda entries, _: (made for _ in entries), [entry], 300, Sampling(counts=True), "D")
    zero, sunday = (filled.samples == 0).mean(axis=0), days[gap] % 7 == 6
    assert zero[sunday].min() > 0.95
    assert zero[~sunday].max() < 0.02 < (made.samples < 0).mean()


@pytest.mark.parametrize(("nonnegative", "whole"), [(True, False), (False, False), (False, True)])
def test_amounts_may_be_below_zero_where_that_is_asked_for(nonnegative: bool, whole: bool):
    """Counts may not: their samples are such as they are."""
    values = 1 + 9 * np.random.default_rng(0).random(LENGTH)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", "D")}
    entry["target"] = with_missing(np.rint(values) if whole else values, "nan")
    made = Imputation("a", entry["start"], entry["target"], np.linspace(-3, 5, 300)[:, None])
    drawing = Sampling(counts=True, nonnegative=nonnegative)
    filled = next(suited_gaps(lambda entries, _: (made for _ in entries), [entry], 300, drawing, "D"))
    assert Suited.of(entry["target"], drawing).nonnegative == (nonnegative or whole)
    assert (filled.samples.min() < 0) == (not nonnegative and not whole)


def test_masked_channels_are_drawn_together_as_missing_ones(naive: AutoPredictor):
    walks = np.random.default_rng(0).normal(size=(2, LENGTH)).cumsum(axis=1)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", "D")}
    one, other = (
        next(naive.predict_jointly([{**entry, "target": np.ma.stack([with_missing(w, kind) for w in walks])}], 50))
        for kind in ("nan", "masked")
    )
    np.testing.assert_array_equal(one.samples, other.samples)
