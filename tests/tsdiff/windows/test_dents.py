"""Stretches in which a series fell, or rose, once and came back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tsdiff import TSDiffPredictor
from tsdiff.windows.dents import without_dents
from tsdiff.windows.simple import Seasons

WEEK = np.array([0.8, 0.9, 1.0, 1.0, 1.1, 1.5, 0.7])
MONTHS, WEEKS, DAYS, HOURS = (12, 0), (52, 0), (7, 365), (24, 168)


def series(seasons: Seasons, count: int, seed: int = 0, additive: bool = False) -> np.ndarray:
    """Around 1000, with its seasons, growth and noise of 3 %."""
    rng, steps = np.random.default_rng(seed), np.arange(count)
    shape = 0.3 * np.sin(2 * np.pi * (steps / seasons[0] + rng.random()))
    if seasons == DAYS:
        shape = np.log(WEEK)[steps % 7] + 0.2 * np.sin(2 * np.pi * steps / 365.25)
    if seasons == HOURS:
        shape = shape + np.where(steps // 24 % 7 >= 5, -0.3, 0.0)
    off = 0.01 * steps / seasons[0] * (seasons[0] in (12, 52)) + shape + 0.03 * rng.normal(size=count)
    made: np.ndarray = 1000 * (1 + off if additive else np.exp(off))
    return made


def dented(values: np.ndarray, ago: int, length: int, by: float, additive: bool = False) -> tuple[np.ndarray, slice]:
    """The values with a dent that ended so many steps ago, and where it is."""
    made, place = values.copy(), slice(len(values) - ago - length, len(values) - ago)
    made[place] += 1000 * (by - 1) if additive else made[place] * (by - 1)
    return made, place


DENTS = [
    (MONTHS, 96, 6, 6, 0.5),
    (MONTHS, 96, 9, 3, 0.3),
    (MONTHS, 84, 14, 4, 0.6),
    (MONTHS, 108, 8, 9, 0.5),
    (MONTHS, 48, 6, 6, 0.5),
    (MONTHS, 96, 7, 5, 1.6),
    (WEEKS, 209, 44, 8, 0.4),
    (WEEKS, 261, 36, 16, 0.6),
    (WEEKS, 209, 40, 5, 0.0),
    (DAYS, 200, 7, 7, 0.0),
    (DAYS, 120, 6, 7, 0.4),
    (DAYS, 1500, 338, 30, 0.4),
    (HOURS, 1440, 24, 24, 0.0),
    (HOURS, 720, 144, 24, 0.1),
    (HOURS, 720, 18, 20, 0.5),
]
"""Seasons, values, how long ago the dent ended, its length, and what it left of the values."""


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize(("seasons", "count", "ago", "length", "by"), DENTS)
def test_the_values_of_a_dent_are_missing(
    seasons: Seasons, count: int, ago: int, length: int, by: float, additive: bool
):
    values, place = dented(series(seasons, count, additive=additive), ago, length, by, additive)
    kept = values.copy()
    missing = np.isnan(without_dents(values, seasons))
    assert_array_equal(values, kept)
    assert missing[place].mean() > 0.9
    missing[max(place.start - 2, 0) : place.stop + 2] = False
    assert not missing.any()


@given(seed=st.integers(0, 999), case=st.sampled_from(DENTS))
def test_what_is_missing_anyway_does_not_count(seed: int, case: tuple[Seasons, int, int, int, float]):
    seasons, count, ago, length, by = case
    values, place = dented(series(seasons, count, seed), ago, length, by)
    ahead = np.concatenate([values, np.full(20, np.nan)])
    assert_array_equal(without_dents(ahead, seasons)[: len(values)], without_dents(values, seasons))
    holes = np.random.default_rng(seed).choice(count, count // 30, replace=False)
    values[holes[(holes < place.start) | (holes >= place.stop)]] = np.nan
    missing = np.isnan(without_dents(values, seasons)) & ~np.isnan(values)
    missing[max(place.start - 3, 0) : place.stop + 3] = False
    assert not missing.any()


@given(seed=st.integers(0, 999), case=st.sampled_from(DENTS), unit=st.sampled_from([1e-6, 1.0, 1e9]))
def test_the_unit_does_not_matter(seed: int, case: tuple[Seasons, int, int, int, float], unit: float):
    seasons, count, ago, length, by = case
    values, _ = dented(series(seasons, count, seed), ago, length, by)
    assert_array_equal(np.isnan(without_dents(values * unit, seasons)), np.isnan(without_dents(values, seasons)))


@given(
    seed=st.integers(0, 9999),
    seasons=st.sampled_from([MONTHS, WEEKS, DAYS, HOURS, (4, 0), (0, 0)]),
    kind=st.sampled_from(
        ["season", "walk", "growth", "shift", "recurs", "counts", "rare", "wild", "returns", "constant", "line", "one"]
    ),
)
def test_other_histories_are_as_they_were(seed: int, seasons: Seasons, kind: str):
    rng = np.random.default_rng(seed)
    season = seasons[0] or 12
    count = int(rng.integers(1, 10 * season + 40))
    if kind == "recurs":  # of three seasons two would be low, and the third the odd one
        count += 4 * season
    steps = np.arange(count)
    plain = series(seasons if seasons[0] > 4 else MONTHS, count, seed)
    values = {
        "season": plain,
        "walk": 100 + rng.normal(size=count).cumsum(),
        "growth": plain * np.exp(0.2 * steps / season),
        "shift": plain * np.where(steps < count - rng.integers(1, 2 * season + 2), 1.0, rng.choice([0.4, 2.0])),
        "recurs": plain * np.where(steps % (2 * season) < max(season // 3, 3), 0.4, 1.0),
        "counts": rng.poisson(5, count) * 1.0,
        "rare": rng.poisson(0.3, count) * 1.0,
        "wild": np.exp(rng.normal(size=count)),
        "returns": np.exp(0.02 * rng.standard_t(4, size=count).cumsum()),
        "constant": np.full(count, 7.0),
        "line": 3.0 + 0.5 * steps,
        "one": np.where(steps == count // 2, 1.0, np.nan),
    }[kind]
    assert without_dents(values, seasons) is values


@pytest.mark.parametrize("known", [30, 40])
def test_a_short_history_has_no_dent(known: int):
    values, _ = dented(series(MONTHS, known), 6, 6, 0.5)
    assert without_dents(values, MONTHS) is values


def test_a_dent_that_has_not_ended_is_none():
    values, _ = dented(series(MONTHS, 96), 0, 8, 0.5)
    assert without_dents(values, MONTHS) is values


@pytest.mark.parametrize(
    ("freq", "seasons", "horizon", "case"),
    [
        ("M", MONTHS, 12, DENTS[0]),
        ("W-SUN", WEEKS, 13, DENTS[6]),
        ("D", DAYS, 14, DENTS[9]),
        ("h", HOURS, 24, DENTS[13]),
    ],
)
def test_forecasts_do_not_repeat_it(
    freq: str, seasons: Seasons, horizon: int, case: tuple[Seasons, int, int, int, float]
):
    _, count, ago, length, by = case
    values = series(seasons, count + horizon)
    history, future = values[:count], values[count:]
    with_dent, _ = dented(history, ago, length, by)
    predictor = TSDiffPredictor.from_pretrained("default").adapted(freq, horizon)
    start = pd.Period("2012-01-01", freq=freq)
    plain, made = predictor.predict([{"start": start, "target": each} for each in (history, with_dent)], 100)
    errors = [float(np.abs(one.quantile(0.5) - future).mean()) for one in (plain, made)]
    assert errors[1] < 1.4 * errors[0] + 0.01 * future.mean()


@pytest.mark.parametrize(("freq", "seasons", "count", "length"), [("D", DAYS, 200, 7), ("h", HOURS, 1008, 24)])
def test_zeros_of_an_outage_that_is_over_are_not_drawn(freq: str, seasons: Seasons, count: int, length: int):
    """As many as it had were, at the lowest times of a season."""
    values, _ = dented(series(seasons, count), length, length, 0.0)
    predictor = TSDiffPredictor.from_pretrained("default").adapted(freq, 2 * length)
    (made,) = predictor.predict([{"start": pd.Period("2024-01-01", freq=freq), "target": values}], 100)
    assert made.samples.min() > 0.3 * values[values > 0].min()


def of_forty(made: Callable[[np.ndarray], np.ndarray]) -> int:
    """In how many of forty monthly series something is found, whose values are made so."""
    return sum(bool(np.isnan(without_dents(made(series(MONTHS, 120, seed)), MONTHS)).any()) for seed in range(40))


@pytest.mark.parametrize(("size", "dents", "peaks"), [(0.2, 40, 20), (0.35, 20, 0), (0.6, 0, 0)])
def test_another_departure_makes_it_no_exception_and_a_peak_the_sooner(size: float, dents: int, peaks: int):
    def twice(values: np.ndarray, by: float) -> np.ndarray:
        values[-18:-12] *= 1 + by
        values[-60:-54] *= 1 + by * size
        return values

    found = [of_forty(lambda values, by=by: twice(values, by)) for by in (-0.5, 0.5)]  # type: ignore[misc]
    for count, least in zip(found, (dents, peaks), strict=True):
        assert count >= least if least else count == 0


@pytest.mark.parametrize(("left", "least", "most"), [(0.0, 40, 40), (0.5, 0, 0), (0.8, 0, 0)])
def test_what_has_not_come_back_is_no_dent(left: float, least: int, most: int):
    def fallen(values: np.ndarray) -> np.ndarray:
        values[-18:-12] *= 0.5
        values[-12:] *= 1 - 0.5 * left
        return values

    assert least <= of_forty(fallen) <= most
