"""Running totals that start again by the calendar: found, and forecast by what they grow by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdiff import TSDiffPredictor
from tsdiff.tasks.restarts import restarts_of
from tsdiff.tasks.suited import SUITED
from tsdiff.tasks.totals import growth_by_calendar

START = pd.Period("2023-03-03", "D")
DAYS = pd.period_range(START, periods=460, freq="D")
SOLD = np.random.default_rng(0).poisson(np.array([30, 30, 30, 30, 30, 12, 4])[DAYS.dayofweek]).astype(float)


def to_date(growth: np.ndarray, periods: pd.PeriodIndex, unit: str, late: int = 0) -> np.ndarray:
    """What has come since the last month, quarter or year began, or a few steps later."""
    return pd.Series(growth).groupby((periods - late).asfreq(unit)).cumsum().to_numpy()


@given(
    first=st.integers(0, 400),
    length=st.integers(100, 460),
    freq_unit=st.sampled_from([("D", "M"), ("D", "Q"), ("M", "Y"), ("6h", "M")]),
    late=st.integers(0, 3),
)
@settings(deadline=None)
def test_restarts_are_found_from_wherever_a_series_begins(
    first: int, length: int, freq_unit: tuple[str, str], late: int
) -> None:
    freq, unit = freq_unit
    periods = pd.period_range(pd.Period("1995-01-01", freq) + first, periods=length + 30, freq=freq)
    growth = np.resize(SOLD, length + 30) + 1
    total = to_date(growth, periods, unit, late)
    numbers = (periods - late).asfreq(unit).asi8
    expected = np.flatnonzero(np.diff(numbers)) + 1
    found = restarts_of(total[:length], periods[0], 30)
    if (expected < length).sum() < (3 if late else 2):
        assert found is None
        return
    assert found is not None
    np.testing.assert_array_equal(found, expected)
    grown = growth_by_calendar(total[:length], found[found < length], 1)
    if grown is not None:  # sums of poisson draws may look like a line with noise
        np.testing.assert_allclose(grown, growth[1:length])


MONTHLY = to_date(SOLD, DAYS, "M")
FIRSTS = np.flatnonzero(DAYS.day == 1)
STEPS = np.arange(460)
OTHERS = {
    "one restart": MONTHLY[: FIRSTS[1]],
    "each 30 days": to_date(SOLD, pd.period_range(START, periods=460, freq="D"), "Y") % 900,
    "one that falls within months, too": MONTHLY - 5 * (DAYS.day == 20),
    "a month without restart": np.where(DAYS.month == 6, MONTHLY + 900, MONTHLY),
    "stock": 2000 + MONTHLY,
    "stock that is filled up": 1000 - MONTHLY,
    "below 0": MONTHLY - 100,
    "quarters that rise each year": np.resize([20.0, 40.0, 60.0, 100.0], 460),
    "noise": 100 + np.random.default_rng(1).normal(size=460),
    "a season": 100 + 50 * np.sin(STEPS / 7),
    "never": np.cumsum(SOLD),
    "constant": np.full(460, 5.0),
    "nothing": np.full(460, np.nan),
    "empty": np.zeros(0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_not_taken_for_totals_of_months(name: str) -> None:
    start = pd.Period("1900Q1", "Q") if name.startswith("quarters") else START
    assert restarts_of(np.asarray(OTHERS[name], dtype=float), start, 30) is None


def test_gaps_hide_no_restarts() -> None:
    gapped = MONTHLY.copy()
    gapped[[5, 90, 91, FIRSTS[3], FIRSTS[6] - 1]] = np.nan
    found = restarts_of(gapped, START)
    assert found is not None
    np.testing.assert_array_equal(found, FIRSTS)
    grown = growth_by_calendar(gapped, found, 7)
    assert grown is not None
    known = np.isfinite(grown)
    np.testing.assert_allclose(grown[known], SOLD[1:][known])
    assert (~known).sum() == 8  # of what is missing, and of the step after it but for a restart


def test_a_month_to_date_is_forecast_to_start_again() -> None:
    """It was forecast by what it was four weeks before: three times the error."""
    daily = TSDiffPredictor.from_pretrained("default").adapted("D", 40)
    history = MONTHLY[:-40]
    (made,) = daily.predict([{"start": START, "target": history}], num_samples=100)
    (grown,) = daily.predict([{"start": START + 1, "target": SOLD[1:-40]}], num_samples=100)
    months = DAYS[-40:].month.to_numpy()
    begun = np.where(months == months[0], history[-1], 0.0)
    for row, growth in zip(made.samples, grown.samples, strict=True):
        expected = pd.Series(growth).groupby(months).cumsum().to_numpy() + begun
        np.testing.assert_allclose(row, expected)
    assert made.info[SUITED].total
    assert np.abs(made.quantile(0.5) - MONTHLY[-40:]).mean() < 20
    assert (made.samples == np.rint(made.samples)).all()


def test_a_forecast_that_begins_with_a_month_starts_from_0() -> None:
    daily = TSDiffPredictor.from_pretrained("default").adapted("D", 5)
    (made,) = daily.predict([{"start": START, "target": MONTHLY[: FIRSTS[-2]]}], num_samples=50)
    assert made.samples[:, 0].max() < 70 < MONTHLY[FIRSTS[-2] - 1]


def test_gaps_of_a_month_to_date_are_filled_as_before() -> None:
    daily = TSDiffPredictor.from_pretrained("default").adapted("D", 14)
    (filled,) = daily.impute([{"start": START, "target": np.where(STEPS == 200, np.nan, MONTHLY)}], 20)
    assert np.isfinite(filled.samples).all()
