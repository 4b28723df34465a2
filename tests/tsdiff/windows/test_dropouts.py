"""Single zeros of a sensor tell nothing; all other zeros do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tsdiff import TSDiffPredictor
from tsdiff.sampling.zeros import within_gaps
from tsdiff.windows.dropouts import without_dropouts

HOURS = np.arange(24 * 60)
LOAD = 100 + 50 * np.sin(2 * np.pi * HOURS / 24) + 4 * np.sin(0.7 * HOURS**1.3)
RNG = np.random.default_rng(0)
MISSED = np.array([33, 141, 307, 455, 694, 817, 1012, 1249])


def missed(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    made = values.copy()
    made[places] = 0.0
    return made


@given(places=st.lists(st.integers(2, 470), min_size=1, max_size=6, unique=True), decimals=st.integers(0, 3))
@settings(deadline=None)
def test_single_zeros_at_any_hours_are_missing(places: list[int], decimals: int) -> None:
    chosen = 3 * np.array(places)
    assume(np.bincount(chosen % 24).max() == 1)  # two at an hour may be a habit
    history = missed(np.round(LOAD, decimals), chosen)
    assert np.array_equal(np.isnan(without_dropouts(history, (24, 168))), history == 0)


def test_nights_stay_and_so_do_zeros_in_a_row_and_those_beside_gaps() -> None:
    sun = np.maximum(0.0, np.sin(2 * np.pi * (HOURS - 6) / 24)) * LOAD
    noons = np.array([12 + 24 * 3, 37 + 24 * 20, 11 + 24 * 41])
    found = np.flatnonzero(np.isnan(without_dropouts(missed(sun, noons), (24, 168))))
    assert np.array_equal(found, noons)
    history = missed(LOAD, np.array([100, 101, 102, 500, 900]))
    history[501] = np.nan
    assert np.array_equal(np.flatnonzero(np.isnan(without_dropouts(history, (24, 168)))), [501, 900])


OTHERS = {
    "none": LOAD,
    "negative": missed(LOAD - 60, MISSED),
    "low counts": RNG.poisson(4, 1440),
    "middling counts": RNG.poisson(8, 4000),
    "by chance": np.where(RNG.random(1440) < 0.1, 0.0, LOAD),
    "volatile": np.maximum(np.exp(RNG.normal(size=1440)) - 0.1, 0.0),
    "each noon": missed(LOAD, np.arange(12, 1440, 24)),
    "each Sunday noon": missed(LOAD, np.arange(156, 1440, 168)),
    "noons of late": missed(LOAD, np.array([1428, 1404])),
    "few": missed(LOAD[:40], np.array([20])),
    "only zeros": np.zeros(100),
    "nothing": np.full(100, np.nan),
    "empty": np.zeros(0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_zeros_are_values(name: str) -> None:
    history = OTHERS[name].astype(float)
    assert without_dropouts(history, (24, 168)) is history


def test_forecasts_have_no_zeros_at_the_lowest_hours() -> None:
    """A twentieth of the samples of the lowest hours were 0, and what was forecast lay farther off."""
    predictor = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    start = pd.Period("2026-01-05", freq="h")
    histories = LOAD[:-24], missed(LOAD, MISSED)[:-24]
    plain, made = predictor.predict([{"start": start, "target": each} for each in histories], 100)
    assert made.samples.min() > 20
    assert np.abs(made.quantile(0.5) - plain.quantile(0.5)).max() < 5


def test_gaps_have_no_zeros_at_the_lowest_hours() -> None:
    values = missed(LOAD, MISSED)
    values[600:648] = np.nan
    drawn = LOAD[600:648] + 5 * RNG.normal(size=(100, 48))
    assert (within_gaps(drawn, values, (24, 168)) > 0).all()
