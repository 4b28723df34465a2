"""Days of the month and the year on which a series differs are found, foreseen and filled, and not found where there
are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import SampleForecast

from tsdiff import TSDiffPredictor
from tsdiff.data import load_folder
from tsdiff.tasks.calendar_days import calendar_days
from tsdiff.tasks.suited import SUITED

LENGTH, HORIZON = 400, 28
WEEK = np.array([0.8, 0.75, 0.8, 0.9, 1.2, 1.6, 1.1])


def dated(freq: str, length: int = LENGTH + HORIZON) -> pd.DatetimeIndex:
    return pd.date_range("2022-01-03", periods=length, freq=freq)


def last_working_day(dates: pd.DatetimeIndex) -> np.ndarray:
    return np.asarray((dates + pd.offsets.BMonthEnd(0)) == dates)


def due(dates: pd.DatetimeIndex, day: int, roll: str) -> np.ndarray:
    """Where what falls on a day of the month is met: on a weekend, on the working day before or after."""
    every = pd.date_range(dates[0], dates[-1] + pd.Timedelta(days=3))
    days = every[every.day == day].to_numpy().astype("datetime64[D]")
    return np.asarray(dates.isin(np.busday_offset(days, 0, roll=roll)))


PEAKS: dict[str, tuple[str, Callable[[pd.DatetimeIndex], np.ndarray], float]] = {
    "month's end": ("D", lambda dates: dates.is_month_end, 3.0),
    "last working day": ("B", last_working_day, 3.0),
    "last working day among all": ("D", last_working_day, 3.0),
    "first three days": ("D", lambda dates: dates.day <= 3, 2.0),
    "fifteenth": ("D", lambda dates: dates.day == 15, 2.5),
    "closed on the first": ("D", lambda dates: dates.day == 1, 0.1),
    "paid on the 25th, or the Friday before": ("D", lambda dates: due(dates, 25, "backward"), 2.5),
    "paid on the 1st, or the Friday before": ("B", lambda dates: due(dates, 1, "backward"), 2.5),
    "due on the 15th, or the Monday after": ("B", lambda dates: due(dates, 15, "forward"), 2.5),
}


QUARTERS: dict[str, tuple[str, Callable[[pd.DatetimeIndex], np.ndarray], float]] = {
    "quarter's end": ("D", lambda dates: dates.is_quarter_end, 3.0),
    "last working day of a quarter": ("D", lambda dates: last_working_day(dates) & (dates.month % 3 == 0), 3.0),
}


def peaked(kind: str, seed: int = 0) -> tuple[pd.Period, np.ndarray, np.ndarray]:
    """The start, values and peaks (length + horizon,) of a series with a week and growth."""
    freq, peaks, factor = (PEAKS | QUARTERS)[kind]
    dates, rng = dated(freq), np.random.default_rng(seed)
    week = WEEK[dates.dayofweek] * np.linspace(80, 120, len(dates))
    there = np.asarray(peaks(dates))
    values = week * np.where(there, factor, 1.0) * np.exp(0.06 * rng.normal(size=len(dates)))
    return pd.Period(dates[0], freq), values, there


@pytest.mark.parametrize("kind", PEAKS | QUARTERS)
def test_days_of_the_month_are_found(kind: str):
    for seed in range(3):
        start, values, there = peaked(kind, seed)
        found = calendar_days(values[:LENGTH], start, HORIZON)
        assert found is not None
        np.testing.assert_array_equal(found.where.any(axis=0), there)
        assert found.where.sum(axis=0).max() == 1
        usual = np.where(there, np.log((PEAKS | QUARTERS)[kind][2]), 0.0)[:LENGTH]
        assert np.abs(np.log(values[:LENGTH] / found.usual) - usual).max() < 0.3


def test_a_few_months_are_enough():
    start, values, there = peaked("month's end")
    assert calendar_days(values[:90], start, HORIZON) is None  # three
    found = calendar_days(values[:125], start, HORIZON)  # four
    assert found is not None
    assert found.where[:, there[: 125 + HORIZON]].all()


def test_zeros_before_a_series_begins_change_nothing():
    start, values, _ = peaked("month's end")
    alone = calendar_days(values[200:LENGTH], start + 200, HORIZON)
    found = calendar_days(np.r_[np.zeros(200), values[200:LENGTH]], start, HORIZON)
    assert alone is not None
    assert found is not None
    assert found.ratio == alone.ratio
    np.testing.assert_array_equal(found.usual[200:], alone.usual)
    np.testing.assert_array_equal(found.where[:, 200:], alone.where)


def test_days_of_which_others_are_a_part():
    dates = dated("D", 1100)
    last = last_working_day(dates)
    values = np.where(last, 300.0, np.where(dates.is_month_end, 220.0, 100.0))
    values *= np.exp(0.05 * np.random.default_rng(0).normal(size=len(dates)))
    found = calendar_days(values, pd.Period(dates[0], "D"), HORIZON)
    assert found is not None
    np.testing.assert_array_equal(found.where.any(axis=0)[: len(dates)], dates.is_month_end)


def noises(rng: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    week = np.resize(WEEK, length)
    return {
        "noise": rng.normal(size=length),
        "walk": np.cumsum(rng.normal(size=length)),
        "rare counts": 1.0 * rng.poisson(0.3, length),
        "counts with a week": 1.0 * rng.poisson(20 * week),
        "closed days": np.where(np.arange(length) % 7 == 6, 0.0, rng.poisson(20 * week)),
        "outliers": np.where(rng.random(length) < 0.05, rng.exponential(50, length), rng.normal(10, 1, length)),
        "every 30 days": 10.0 * (np.arange(length) % 30 == 5) + rng.normal(size=length),
        "every 355 days": 200.0 * (np.arange(length) % 355 == 354) + rng.normal(100, 5, length),
        "heavy tails": rng.standard_t(2, length),
        "summers": 50 + 200 * np.exp(-(((np.arange(length) % 365.25 - 200) / 20) ** 2)) + rng.normal(0, 3, length),
        "constant": np.full(length, 3.0),
        "zeros": np.zeros(length),
    }


@pytest.mark.parametrize("freq", ["D", "B"])
def test_none_are_found_where_there_are_none(freq: str):
    for seed, length in enumerate((60, 100, 130, 200, 400, 1000)):
        for kind, values in noises(np.random.default_rng(seed), length).items():
            if kind == "every 30 days" and length < 200:
                continue  # that long, they lie on the same days of four months
            assert calendar_days(values, pd.Period("2021-03-01", freq), 30) is None, (kind, length)


YEARS = pd.date_range("2019-06-03", "2024-01-10", freq="D")
EASTER = pd.DatetimeIndex(["2020-04-12", "2021-04-04", "2022-04-17", "2023-04-09"])
FEASTS: dict[str, Callable[[pd.DatetimeIndex], np.ndarray]] = {
    "Christmas": lambda dates: (dates.month == 12) & (dates.day >= 24) & (dates.day <= 26),
    "fourth Thursday of November": lambda d: (d.month == 11) & (d.dayofweek == 3) & (d.day > 21) & (d.day <= 28),
    "last Monday of May": lambda dates: (dates.month == 5) & (dates.dayofweek == 0) & (dates.day > 24),
    "Easter and Good Friday": lambda dates: dates.isin(EASTER) | dates.isin(EASTER - pd.Timedelta(days=2)),
}


def with_feast(kind: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values of `YEARS` with a week, a year and a feast, and where that is."""
    rng, there = np.random.default_rng(seed), np.asarray(FEASTS[kind](YEARS))
    values = 100 * WEEK[YEARS.dayofweek] * (1 + 0.2 * np.cos(2 * np.pi * YEARS.dayofyear.to_numpy() / 365.25))
    return values * np.where(there, 0.3, 1.0) * np.exp(0.06 * rng.normal(size=len(YEARS))), there


@pytest.mark.parametrize("kind", FEASTS)
@pytest.mark.parametrize("years", [2.7, 4])
def test_days_of_the_year_are_found(kind: str, years: float):
    values, there = with_feast(kind)
    last = np.flatnonzero(there)
    begin = int(last[-1] - 20 - 365.25 * years)
    begin, end = max(begin, 0), int(last[-1] - 5)
    found = calendar_days(values[begin:end], pd.Period(YEARS[begin], "D"), 12)
    assert found is not None
    np.testing.assert_array_equal(found.where.any(axis=0), there[begin : end + 12])


CLOSED = pd.date_range("2019-12-15", "2023-12-30", freq="D")
"""Of whose four Christmases two 25th, and two 26th, are on a weekend."""


def holidays(dates: pd.DatetimeIndex) -> np.ndarray:
    month, day, weekday = dates.month, dates.day, dates.dayofweek
    return np.asarray(
        ((month == 12) & ((day == 25) | (day == 26)))
        | ((month == 1) & (day == 1))
        | dates.isin(EASTER + pd.Timedelta(days=1))
        | dates.isin(EASTER - pd.Timedelta(days=2))
        | ((month == 5) & (weekday == 0) & ((day <= 7) | (day > 24)))
        | ((month == 8) & (weekday == 0) & (day > 24))
    )


def test_holidays_that_change_no_weekend():
    rng = np.random.default_rng(0)
    there = holidays(CLOSED) & (CLOSED.dayofweek < 5)
    calls = 300 * np.where(CLOSED.dayofweek < 5, 1.0, 0.3) * np.where(there, 0.25, 1.0)
    values = calls * np.exp(0.07 * rng.normal(size=len(CLOSED)))
    found = calendar_days(values[:-21], pd.Period(CLOSED[0], "D"), 21)  # Christmas 2023 is on a Monday
    assert found is not None
    np.testing.assert_array_equal(found.where.any(axis=0), there)


@pytest.mark.parametrize("kind", FEASTS)
def test_days_of_the_year_are_foreseen(default: TSDiffPredictor, kind: str):
    values, there = with_feast(kind)
    end = int(np.flatnonzero(there)[-1]) - 9
    past = entry_of(pd.Period(YEARS[0], "D"), values[:end])
    (made,) = default.adapted("D", 14).predict([past])
    low, middle, high = np.quantile(made.samples, [0.05, 0.5, 0.95], axis=0)
    true = values[end : end + 14]
    assert np.abs(np.log(middle / true)).max() < 0.35
    assert ((low < true) & (true < high)).mean() > 0.7
    (plain,) = default.adapted("D", 14).with_sampling(calendar_days=False).predict([past])
    feast = there[end : end + 14]
    off, off_without = (np.abs(np.log(one / true))[feast].max() for one in (middle, np.median(plain.samples, axis=0)))
    assert off_without > 5 * off  # years of whole weeks ago tell a part of what falls on a weekday
    assert off_without > (0.3 if "Thursday" in kind else 0.5)


def test_real_series_have_feasts(shared_data: Path):
    for entry in load_folder(shared_data / "series" / "chicago_l_daily").train:
        found = calendar_days(np.asarray(entry["target"], dtype=float), entry["start"], 730)
        assert found is not None
        days = pd.period_range(entry["start"], periods=found.where.shape[1]).to_timestamp()
        there = found.where.any(axis=0)
        # Both are Sundays in the first of these years, and at one station such Sundays are as any.
        assert {"01-01", "12-25"} <= set(days[-730:][there[-730:]].strftime("%m-%d"))
        assert there[-730:-365].sum() < 40


def entry_of(start: pd.Period, values: np.ndarray, **fields: Any) -> dict[str, Any]:
    return {"item_id": "a", "start": start, "target": values, **fields}


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default")


@pytest.mark.parametrize("kind", PEAKS)
def test_they_are_foreseen(default: TSDiffPredictor, kind: str):
    start, values, there = peaked(kind)
    (made,) = default.adapted(start.freqstr, HORIZON).predict([entry_of(start, values[:LENGTH])])
    assert made.info[SUITED].calendar_days > 0
    low, middle, high = np.quantile(made.samples, [0.05, 0.5, 0.95], axis=0)
    true = values[LENGTH:]
    assert np.abs(np.log(middle / true)).max() < 0.35
    assert ((low < true) & (true < high)).mean() > 0.75
    assert np.abs(np.log(high / low)[there[LENGTH:]]).max() < 0.8


def test_they_are_as_uncertain_as_they_were(default: TSDiffPredictor):
    dates, rng = dated("D"), np.random.default_rng(0)
    peaks = rng.uniform(200, 600, len(dates))
    values = np.where(dates.is_month_end, peaks, rng.normal(100, 5, len(dates)))
    (made,) = default.adapted("D", HORIZON).predict([entry_of(pd.Period(dates[0], "D"), values[:LENGTH])], 400)
    there = dates[LENGTH:].is_month_end
    low, high = np.quantile(made.samples, [0.05, 0.95], axis=0)
    assert (high - low)[there].min() > 200
    assert np.median((high - low)[~there]) < 30


@pytest.mark.parametrize("horizon", [1, 3, 28])
def test_bills_on_the_first_of_each_month_and_nothing_else(default: TSDiffPredictor, horizon: int):
    dates = dated("D", 393 + 28)
    bills = np.where(dates.day == 1, 900.0, 0.0)
    begin = len(dates) - 28 if horizon == 28 else int(np.flatnonzero(bills)[-1])
    (made,) = default.adapted("D", horizon).predict([entry_of(pd.Period(dates[0], "D"), bills[:begin])])
    np.testing.assert_array_equal(np.median(made.samples, axis=0), bills[begin : begin + horizon])


def test_gaps_over_them_are_filled_with_them(default: TSDiffPredictor):
    start, values, there = peaked("month's end")
    place = int(np.flatnonzero(there)[6])
    gaps = values[:LENGTH].copy()
    gaps[place - 3 : place + 4] = np.nan
    (made,) = default.adapted("D", HORIZON).impute([entry_of(start, gaps)])
    np.testing.assert_array_equal(made.target, gaps)
    assert np.abs(np.log(made.median / values[:LENGTH])).max() < 0.35


@pytest.mark.parametrize("covariate", ["the peaks", "promotions"])
def test_what_covariates_tell_is_left_to_them(default: TSDiffPredictor, covariate: str):
    start, values, there = peaked("month's end")
    promoted = there if covariate == "the peaks" else np.random.default_rng(1).random(len(values)) < 0.15
    values = values * np.where(promoted & (covariate == "promotions"), 1.8, 1.0)
    one = default.adapted("D", HORIZON).with_sampling(covariates=True)
    (made,) = one.predict([entry_of(start, values[:LENGTH], feat_dynamic_real=1.0 * promoted[None])])
    about = made.info[SUITED]
    assert about.gain > 0
    assert about.calendar_days == (covariate == "promotions")
    assert np.abs(np.log(np.median(made.samples, axis=0) / values[LENGTH:])).max() < 0.4


def test_they_can_be_refused_and_change_no_other_series(default: TSDiffPredictor):
    start, values, there = peaked("month's end")
    plain = np.where(there, values / 3, values)
    with_days, without = default.adapted("D", HORIZON), default.adapted("D", HORIZON).with_sampling(calendar_days=False)
    entries = [entry_of(start, one[:LENGTH]) for one in (values, plain)]
    found, same = with_days.predict(entries)
    refused, other = without.predict(entries)
    np.testing.assert_array_equal(same.samples, other.samples)
    refusing = {"calendar_days": 0, "outliers": 2}  # the last month's ends, which are far off their days of the week
    assert refused.info[SUITED] == replace(found.info[SUITED], **refusing)
    assert np.median(refused.samples, axis=0).max() < 250 < np.median(found.samples, axis=0).max()


def test_frames_tell_how_many_have_them(default: TSDiffPredictor):
    _, values, there = peaked("month's end")
    dates = dated("D", LENGTH)
    frame = pd.DataFrame({"unique_id": "a", "ds": dates, "y": values[:LENGTH]})
    other = pd.DataFrame({"unique_id": "b", "ds": dates, "y": np.where(there, values / 3, values)[:LENGTH]})
    table = default.predict_df(pd.concat([frame, other]), prediction_length=HORIZON)
    assert table.attrs["calendar_days"] == 1


def test_a_forecast_that_knows_them_is_refined_without_adding_them_again(default: TSDiffPredictor):
    start, values, there = peaked("month's end")
    ahead = values[LENGTH:] * np.exp(0.05 * np.random.default_rng(1).normal(size=(50, HORIZON)))
    base = SampleForecast(ahead, start_date=start + LENGTH, item_id="a")
    (made,) = default.adapted("D", HORIZON).refine([base], [entry_of(start, values[:LENGTH])])
    peak = np.median(made.samples, axis=0)[there[LENGTH:]]
    assert (peak < 1.3 * values[LENGTH:][there[LENGTH:]]).all()


def test_weeks_before_christmas_have_no_holes(default: TSDiffPredictor):
    """Days of a long feast are other weekdays of the month each year, which is not what they are off by."""
    days, rng = pd.date_range("2020-01-01", "2023-12-28"), np.random.default_rng(0)
    peak = np.where((days.month == 12) & (days.day <= 24), days.day / 24, 0.0)
    values = 100 * (1 + 0.3 * (days.dayofweek >= 5)) * (1 + 1.5 * peak) * (1 + 0.05 * rng.normal(size=len(days)))
    (made,) = default.adapted("D", 28).predict([entry_of(pd.Period(days[0], "D"), np.asarray(values)[:-28])])
    assert np.abs(np.log(np.median(made.samples, axis=0) / values[-28:]))[5:].max() < 0.35


def test_one_series_under_two_plans_is_forecast_by_each(default: TSDiffPredictor):
    """Entries may share their values, and have other covariates ahead."""
    rng, start = np.random.default_rng(0), pd.Period("2022-01-03", "D")
    promoted = 1.0 * (rng.random(LENGTH + HORIZON) < 0.2)
    values = 100 + 60 * promoted[:LENGTH] + rng.normal(0, 3, LENGTH)
    plans = [np.r_[promoted[:LENGTH], np.full(HORIZON, flag)][None] for flag in (0.0, 1.0)]
    one = default.adapted("D", HORIZON).with_sampling(covariates=True)
    without, beside = one.predict([entry_of(start, values, feat_dynamic_real=plan) for plan in plans])
    assert np.median(without.samples) == pytest.approx(100, abs=5)
    assert np.median(beside.samples) == pytest.approx(160, abs=5)


@pytest.mark.parametrize(("freq", "start"), [("D", "1650-01-01"), ("M", "1659-01")])
def test_series_begin_before_timestamps_do(default: TSDiffPredictor, freq: str, start: str):
    """Temperatures have been taken down since 1659, timestamps of pandas begin in 1677."""
    length = len(pd.period_range(start, "1990-01-01", freq=freq))
    values = np.random.default_rng(0).normal(9, 1, length)
    (made,) = default.adapted(freq, 12).predict([entry_of(pd.Period(start, freq), values)])
    assert np.median(made.samples) == pytest.approx(9, abs=1)
