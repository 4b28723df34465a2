"""Single values far off those around: found, put back, and kept out of what fills gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdiff import TSDiffPredictor
from tsdiff.tasks.suited import SUITED
from tsdiff.windows.anchors import pooled
from tsdiff.windows.filling import expected
from tsdiff.windows.spikes import without_spikes, without_spikes_anywhere

START = pd.Period("2024-01-01", "D")
DAYS = np.arange(60)
WEEK = 20.0 + DAYS % 7
GAPS = {
    "every ninth": DAYS % 9 == 4,
    "some": np.isin(DAYS, [3, 20, 21, 33, 48, 52]),
    "a week": (DAYS > 40) & (DAYS < 48),
}


@pytest.fixture(scope="module")
def daily() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("D", 7)


def changed(values: np.ndarray, seasons: tuple[int, int] = (0, 0)) -> list[int]:
    """Which values are put back."""
    cleaned = without_spikes(values, seasons)
    return np.flatnonzero(~((cleaned == values) | np.isnan(values))).tolist()


def moved(values: np.ndarray, seasons: tuple[int, int]) -> list[int]:
    """Which values are put back, wherever they are."""
    cleaned = without_spikes_anywhere(values, seasons)
    return np.flatnonzero(~((cleaned == values) | np.isnan(values))).tolist()


def test_one_outlier_does_not_set_the_level():
    rng = np.random.default_rng(3)
    values = 50 + rng.normal(size=200)
    values[-1] *= 10
    assert without_spikes(values)[-1] < 60
    assert np.abs(pooled(values, 14, (7, 365)).mean - 50).max() < 5


def test_spikes_that_belong_to_a_series_stay():
    rng = np.random.default_rng(4)
    sparse = rng.poisson(0.2, 200).astype(float)
    often = 50 + rng.normal(size=200) + 40 * (rng.random(200) < 0.15)
    for values in (sparse, often):
        assert without_spikes(values) is values


@pytest.mark.parametrize("seed", range(6))
def test_beside_a_change_of_level_among_gaps_values_stay(seed):
    rng = np.random.default_rng(seed)
    days = np.arange(150)
    values = 20 + 30.0 * (days >= 70) + 2 * np.sin(2 * np.pi * days / 7) + rng.normal(size=150)
    values[rng.random(150) < 0.5] = np.nan
    assert not moved(values, (7, 365))
    place = int(np.flatnonzero(~np.isnan(values))[-20])
    values[place] *= 10
    assert moved(values, (7, 365)) == [place]


@pytest.mark.parametrize("period", [25, 23, 24])
def test_jumps_of_a_cycle_that_is_not_quite_a_day_stay(period):
    rng = np.random.default_rng(7)
    for count in range(200, 200 + period, 3):
        values = 10 + 2 * (np.arange(count) / period % 1) + 0.1 * rng.normal(size=count)
        assert without_spikes(values, (24, 168)) is values
        values[-20] *= 5
        assert changed(values, (24, 168)) == [count - 20]


def test_a_single_value_is_found_where_nothing_is_known_a_season_away():
    values = np.sin(2 * np.pi * np.arange(120) / 24) + 0.01 * np.random.default_rng(0).normal(size=120)
    values[[45, 46, 47, 93, 94, 95]] = np.nan  # two seasons away is all that tells of step 70
    assert changed(values, (24, 168)) == []
    values[70] += 9
    assert changed(values, (24, 168)) == [70]


def test_few_values_have_to_say_it_louder():
    values = np.array([100.0, 102.0, 99.0, 101.0, 98.0, 100.0, 103.0, 101.0, 99.0, 102.0, 100.0, 98.0, 101.0, 99.0])
    values[-1] = 150.0  # more than 15 times the median step, 2.5, and less than twice that
    assert changed(values) == [13]
    assert changed(values[-8:]) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 11), st.floats(5, 1e3), st.sampled_from([-1.0, 1.0]), st.data())
def test_of_a_few_values_one_is_put_back(count, level, sign, data):
    at = data.draw(st.integers(0, count - 1) if count >= 6 else st.sampled_from([0, count - 1]))
    values = level + np.array([0.0, 2.0, -1.0, 1.0, -2.0, 0.5, 1.5, -1.5, -0.5, 2.5, -2.5])[:count]
    assert changed(values) == []
    values[at] += sign * 1000
    assert changed(values) == [at]
    assert abs(without_spikes(values)[at] - level) <= 2.5


def test_a_single_zero_is_put_back_among_four_values_as_well():
    assert changed(np.array([999.0, 1001.0, 998.0, 0.0])) == [3]
    assert changed(np.array([0.0, 1001.0, 998.0, 0.0])) == []


@pytest.mark.parametrize("at", [[3, 4], [9, 10], [2, 9]])
def test_two_of_a_few_values_are_a_change_or_a_weekend(at):
    values = np.array([100.0, 101.0, 99.0, 100.0, 102.0, 101.0, 98.0, 100.0, 99.0, 101.0, 100.0])
    values[at] = 20.0
    assert changed(values) == []


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("values", [[100, 102, 99, 101], [100, 102, np.nan, 99, 98, 101], [5, 5, 5, 5, 5]])
def test_a_value_that_makes_half_of_the_few_steps_is_put_back(daily, values, at):
    values = np.array(values, dtype=float)
    slipped, at = values.copy(), int(np.flatnonzero(~np.isnan(values))[min(at, np.isfinite(values).sum() - 2)])
    slipped[at] *= 10
    assert changed(slipped) == [at]
    plain, made = daily.predict([{"start": START, "target": row} for row in (values, slipped)], num_samples=100)
    assert np.abs(np.median(made.samples, 0) - np.median(plain.samples, 0)).max() < 5


@pytest.mark.parametrize(
    "values", [[1, 2, 4, 8, 16], [6357, 620, 396, 385], [100, 300, 100, 95], [100, 100, 900, 950], [9, 40, 9, 40, 9]]
)
def test_growth_steps_and_swings_of_four_or_five_values_stay(values):
    assert changed(np.array(values, dtype=float)) == []


def test_a_short_history_is_forecast_as_without_its_mistake(daily):
    values = np.array([102.0, 99.0, 101.0, 98.0, 100.0, 103.0, 100.0])
    slipped = values.copy()
    slipped[-1] *= 10
    plain, made = daily.predict([{"start": START, "target": row} for row in (values, slipped)], num_samples=100)
    assert np.abs(np.median(made.samples, 0) - np.median(plain.samples, 0)).max() < 5
    assert made.info[SUITED].outliers == 1


@pytest.mark.parametrize("old", [9.99, 250.0])
@pytest.mark.parametrize("days", [1, 2, 3])
def test_a_price_that_has_just_changed_is_no_mistake(daily, old, days):
    values = np.r_[np.full(30, old), np.full(days, 1.3 * old)]
    assert changed(values, (7, 365)) == []
    plain = daily.with_sampling(counts=False)  # else it goes on as what stays but for jumps, for certain at first
    (made,) = plain.predict([{"start": START, "target": values}], num_samples=100)
    low, high = np.quantile(made.samples[:, 0], [0.05, 0.95])
    assert high > low + 0.05 * old
    assert high > 1.1 * old


def test_of_a_constant_a_value_that_came_back_or_is_far_is_put_back():
    constant = np.full(40, 9.99)
    for at, value in ((30, 12.99), (39, 50.0), (39, -3.0)):
        values = constant.copy()
        values[at] = value
        assert changed(values) == [at]
    offers = constant.copy()
    offers[[10, 25, 39]] = 7.99  # each of a day, before the last
    assert changed(offers) == [10, 25, 39]


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("at", [10, 39, 50, 57])
def test_an_outlier_among_gaps_is_kept_out_of_what_fills_them(daily, gaps, at):
    values = np.where(GAPS[gaps], np.nan, WEEK)
    values[at] += 500
    filled = expected(values, (7, 365)).values
    assert np.abs(filled - WEEK)[GAPS[gaps]].max() < 0.1
    assert filled[at] == values[at]
    entry = {"start": START, "target": values}
    (made,) = daily.predict([entry], num_samples=50)
    assert np.abs(np.median(made.samples, 0) - (20 + np.arange(60, 67) % 7)).max() < 0.5
    assert made.info[SUITED].outliers == 1
    (imputed,) = daily.impute([entry], num_samples=50)
    assert np.abs(np.median(imputed.samples, 0) - WEEK[GAPS[gaps]]).max() < 0.5


def test_an_outlier_is_put_back_wherever_it_is():
    rng = np.random.default_rng(0)
    week = 20.0 + np.arange(900) % 7 + 0.3 * rng.normal(size=900)
    values = week.copy()
    values[rng.random(900) < 0.1] = np.nan
    values[500] = np.nan
    places = np.arange(3, 900, 41)
    values[places] = week[places] + 60
    cleaned = without_spikes_anywhere(values, (7, 365))
    known = ~np.isnan(values)
    assert np.array_equal(np.isnan(cleaned), ~known)
    assert np.abs(cleaned - week)[places].max() < 3
    kept = known.copy()
    kept[places] = False
    assert np.array_equal(cleaned[kept], values[kept])
    assert without_spikes_anywhere(cleaned, (7, 365)) is not values


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[10.0, 1000, 10, 1000], [1000.0, 10, 1000, 10, 1000], [3.0, 9, 27, 81], [5.0] * 4])
def test_few_values_that_are_all_as_far_off_stay_without_a_word(values: list[float]) -> None:
    np.testing.assert_array_equal(without_spikes(np.array(values), (7,)), values)
