"""Days of the month and the year on which series of hours, and of other parts of a day, differ are found and foreseen,
spoil nothing after them, and are not found where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffPredictor
from tsdiff.data import load_folder
from tsdiff.tasks.calendar_hours import calendar_hours, steps_of_day
from tsdiff.tasks.suited import SUITED

START, END = "2017-09-01", "2021-02-01"
EASTER = pd.DatetimeIndex(["2018-04-01", "2019-04-21", "2020-04-12"])
WORKING = np.array([4, 3, 3, 3, 3, 5, 8, 11, 12, 12, 12, 12, 13, 12, 12, 12, 13, 14, 15, 14, 12, 10, 8, 5]) / 10
RESTING = 0.8 * np.array([5, 4, 3, 3, 3, 3, 4, 5, 7, 9, 11, 12, 13, 12, 11, 11, 11, 12, 14, 14, 12, 10, 8, 6]) / 10


def feasts(days: pd.DatetimeIndex) -> np.ndarray:
    month, day, weekday = days.month, days.day, days.dayofweek
    return np.asarray(
        ((month == 12) & ((day == 25) | (day == 26)))
        | ((month == 1) & (day == 1))
        | ((month == 5) & (day == 1))
        | ((month == 11) & (weekday == 3) & (day > 21) & (day < 29))
        | days.isin(EASTER + pd.Timedelta(days=1))
        | days.isin(EASTER - pd.Timedelta(days=2))
    )


def load(freq: str = "h", seed: int = 0, low: float = 0.95) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """A load with weather, whose feasts are like Sundays, or `low` times as large."""
    rng = np.random.default_rng(seed)
    days = pd.date_range(START, END)
    weather = np.zeros(len(days))
    for place in range(1, len(days)):
        weather[place] = 0.7 * weather[place - 1] + 0.03 * rng.normal()
    there = feasts(days)
    rests = there | (days.dayofweek >= 5)
    hours = 1000 * np.where(rests[:, None], RESTING, WORKING) * np.where(there, low, 1.0)[:, None]
    hours = hours * np.exp(weather)[:, None] * np.exp(0.02 * rng.normal(size=hours.shape))
    times = pd.date_range(START, periods=hours.size, freq="h")
    if freq != "h":
        fine = pd.date_range(START, times[-1], freq=freq)
        return fine, np.interp(fine.astype(np.int64), times.astype(np.int64), hours.ravel())
    return times, hours.ravel()


def named(found: Any, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The days that were found."""
    return times[0].normalize() + pd.to_timedelta(np.flatnonzero(found.which >= 0), unit="D")


def entry_of(times: pd.DatetimeIndex, values: np.ndarray, freq: str) -> dict[str, Any]:
    return {"item_id": "a", "start": pd.Period(times[0], freq), "target": values}


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default")


@pytest.mark.parametrize("freq", ["h", "30min", "2h"])
def test_feasts_are_found(freq: str):
    for seed in range(3):
        times, values = load(freq, seed)
        found = calendar_hours(values, pd.Period(times[0], freq), 24)
        assert found is not None
        days = named(found, times)
        working = days[days.dayofweek < 5]
        expected = times[feasts(times.normalize()) & (times.dayofweek < 5) & (times.hour == 0)].normalize().unique()
        assert len(expected.difference(working)) <= 2
        assert len(working.difference(expected)) <= 2


@pytest.mark.parametrize("begin", [0, 7])
def test_what_the_model_sees_has_no_feasts(begin: int):
    times, values = load()
    times, values = times[begin:], values[begin:]
    found = calendar_hours(values, pd.Period(times[0], "h"), 24)
    assert found is not None
    easter = (times >= "2020-04-13") & (times < "2020-04-14")
    week_before = np.roll(easter, -7 * 24)
    assert np.abs(np.log(found.usual[easter] / values[week_before])).max() < 0.25
    assert np.abs(np.log(values[easter] / values[week_before])).max() > 0.5
    other = ~times.normalize().isin(named(found, times))
    np.testing.assert_array_equal(found.usual[other], values[other])


@pytest.mark.parametrize(
    ("freq", "origin"),
    [
        ("h", "2020-11-24 00:00"),
        ("h", "2020-12-24 00:00"),
        ("30min", "2020-12-25 09:00"),
        pytest.param("30min", "2020-11-24 00:00", marks=pytest.mark.slow),
        pytest.param("30min", "2020-12-24 00:00", marks=pytest.mark.slow),
        pytest.param("h", "2020-12-25 09:00", marks=pytest.mark.slow),
    ],
)
def test_feasts_are_foreseen(default: TSDiffPredictor, freq: str, origin: str):
    times, values = load(freq)
    end = int(times.get_loc(pd.Timestamp(origin)))
    steps = steps_of_day(freq)
    assert steps is not None
    horizon = 4 * steps
    past = entry_of(times, values[:end], freq)
    (made,) = default.adapted(freq, horizon).predict([past])
    low, middle, high = np.quantile(made.samples, [0.05, 0.5, 0.95], axis=0)
    true = values[end : end + horizon]
    assert made.info[SUITED].calendar_days > 0
    assert np.mean(np.abs(np.log(middle / true))) < 0.12
    assert ((low < true) & (true < high)).mean() > 0.6
    (plain,) = default.adapted(freq, horizon).with_sampling(calendar_days=False).predict([past])
    errors = [np.abs(np.median(one.samples, axis=0) - true).mean() for one in (made, plain)]
    assert errors[0] < 0.7 * errors[1]


def test_feasts_are_not_repeated_a_week_later(default: TSDiffPredictor):
    times, values = load()
    end = int(times.get_loc(pd.Timestamp("2020-05-02")))
    true = values[end : end + 7 * 24]
    one = default.adapted("h", 7 * 24)
    errors = []
    for predictor in (one, one.with_sampling(calendar_days=False)):
        (made,) = predictor.predict([entry_of(times, values[:end], "h")])
        errors.append(np.abs(np.median(made.samples, axis=0) - true)[-24:].mean())  # the Friday after
    assert errors[0] < 0.6 * errors[1]


def test_counts_stay_counts(default: TSDiffPredictor):
    times, values = load(low=0.3)
    counts = np.random.default_rng(0).poisson(values / 100).astype(float)
    end = int(times.get_loc(pd.Timestamp("2020-12-25")))
    (made,) = default.adapted("h", 24).predict([entry_of(times, counts[:end], "h")])
    assert made.info[SUITED].calendar_days > 0
    np.testing.assert_array_equal(made.samples, np.rint(made.samples))
    assert made.samples.min() >= 0
    assert made.samples.mean() == pytest.approx(counts[end : end + 24].mean(), rel=0.3)


def test_paydays_of_a_shop(default: TSDiffPredictor):
    times, values = load()
    times, values = times[: 24 * 200], values[: 24 * 200] * np.where(times[: 24 * 200].day == 25, 2.0, 1.0)
    end = int(times.get_loc(pd.Timestamp("2018-02-25")))
    (made,) = default.adapted("h", 24).predict([entry_of(times, values[:end], "h")])
    assert np.median(made.samples) == pytest.approx(np.median(values[end : end + 24]), rel=0.25)


def noises(rng: np.random.Generator, days: int) -> dict[str, np.ndarray]:
    hours = np.arange(24 * days)
    season = 100 * np.where(hours // 24 % 7 < 5, WORKING[hours % 24], RESTING[hours % 24])
    weather = np.repeat(rng.normal(size=days), 24)
    return {
        "noise": rng.normal(size=len(hours)),
        "walk": np.cumsum(rng.normal(size=len(hours))),
        "season": season * (1 + 0.05 * rng.normal(size=len(hours))),
        "season with weather": season * np.exp(0.1 * weather + 0.02 * rng.normal(size=len(hours))),
        "counts": 1.0 * rng.poisson(season / 10),
        "rare counts": 1.0 * rng.poisson(season / 300),
        "a day without weeks": 10 + np.sin(hours * np.pi / 12) + 0.3 * rng.normal(size=len(hours)),
        "sun": np.maximum(np.sin((hours % 24 - 6) * np.pi / 12), 0) * np.repeat(rng.beta(2, 1, days), 24),
        "summers": season * (2 + np.cos(2 * np.pi * hours / 8766)) * (1 + 0.05 * rng.normal(size=len(hours))),
        "constant": np.full(len(hours), 3.0),
        "zeros": np.zeros(len(hours)),
    }


def test_none_are_found_where_there_are_none():
    for seed, days in enumerate((3, 60, 100, 400, 730, 1100)):
        for kind, values in noises(np.random.default_rng(seed), days).items():
            assert calendar_hours(values, pd.Period("2021-03-01", "h"), 48) is None, (kind, days)


def test_what_is_not_looked_at():
    times, values = load()
    start = pd.Period(times[0], "h")
    assert calendar_hours(values, start, 24) is not None
    gap = values.copy()
    gap[5000:5004] = np.nan  # more than three hours
    assert calendar_hours(gap, start, 24) is None
    assert calendar_hours(np.r_[values, np.nan], start, 24) is None
    assert calendar_hours(values[:1500], start, 24) is None
    assert calendar_hours(values[1::2], pd.Period(times[1], "2h"), 12) is None  # no step begins at 0:00
    assert [steps_of_day(freq) for freq in ("7h", "s", "D", "W-SUN", "M")] == [None] * 5
    assert [steps_of_day(freq) for freq in ("h", "12h", "30min", "15min", "min")] == [24, 2, 48, 96, 1440]


def test_hours_that_clocks_leave_out_hide_no_feasts(default: TSDiffPredictor):
    times, values = load()
    end = int(times.get_loc(pd.Timestamp("2020-12-24")))
    left_out = (times.month == 3) & (times.dayofweek == 6) & (times.day > 24) & (times.hour == 2)
    assert left_out.sum() == 3
    gaps = np.where(left_out, np.nan, values)
    whole, found = (calendar_hours(one[:end], pd.Period(times[0], "h"), 96) for one in (values, gaps))
    assert whole is not None
    assert found is not None
    np.testing.assert_array_equal(found.which, whole.which)
    np.testing.assert_array_equal(np.isnan(found.usual), left_out[:end])
    np.testing.assert_allclose(found.usual[~left_out[:end]], whole.usual[~left_out[:end]], rtol=0.05)
    (made,) = default.adapted("h", 96).predict([entry_of(times, gaps[:end], "h")])
    assert made.info[SUITED].calendar_days > 0
    assert np.mean(np.abs(np.log(np.median(made.samples, axis=0) / values[end : end + 96]))) < 0.12


def test_a_beginning_without_values_changes_nothing():
    times, values = load()
    alone = calendar_hours(values[24 * 100 :], pd.Period(times[24 * 100], "h"), 24)
    assert alone is not None
    for before in (0.0, np.nan):
        found = calendar_hours(np.r_[np.full(24 * 100, before), values[24 * 100 :]], pd.Period(times[0], "h"), 24)
        assert found is not None
        np.testing.assert_array_equal(found.usual[24 * 100 :], alone.usual)
        np.testing.assert_array_equal(found.which[100:], alone.which)


def test_they_can_be_refused_and_change_no_other_series(default: TSDiffPredictor):
    times, values = load()
    end = int(times.get_loc(pd.Timestamp("2020-12-25")))
    plain = noises(np.random.default_rng(0), 900)["season with weather"]
    with_days, without = default.adapted("h", 24), default.adapted("h", 24).with_sampling(calendar_days=False)
    entries = [entry_of(times, one, "h") for one in (values[:end], plain)]
    (found, same), (refused, other) = with_days.predict(entries), without.predict(entries)
    np.testing.assert_array_equal(same.samples, other.samples)
    assert same.info[SUITED] == other.info[SUITED]
    assert found.info[SUITED].calendar_days > 0 == refused.info[SUITED].calendar_days


def test_a_real_load_has_feasts(shared_data: Path):
    entry = next(iter(load_folder(shared_data / "series" / "vic_elec_half_hourly").train))
    found = calendar_hours(np.asarray(entry["target"], dtype=float), entry["start"], 48 * 20)
    assert found is not None
    days = pd.Timestamp("2011-12-31") + pd.to_timedelta(np.flatnonzero(found.which >= 0), unit="D")
    assert {"2014-04-18", "2014-04-21", "2014-06-09", "2014-11-04", "2014-12-25"} <= set(days.strftime("%Y-%m-%d"))
    assert len(days) < 60
