"""Frames in, frames out: times are in the caller's zone and where the caller dates periods."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from shared.console.notes import Note
from shared.errors import DataError
from tests.tsdiff.data.test_frames import BERLIN, NAMES, both, frame
from tsdiff.data import load_dataset, series_from_frame
from tsdiff.data.origin import Zone

CHANGES = ["2024-03-28", "2024-10-24"]
"""Days before the clocks change in Berlin."""


@pytest.mark.parametrize("start", CHANGES)
@pytest.mark.parametrize(("freq", "horizon"), [("h", 48), ("15min", 8), ("D", 7), ("W-SUN", 3), ("MS", 3)])
def test_zoned_times_come_back_in_their_zone(default, start, freq, horizon):
    clock = None if freq in ("h", "15min") else BERLIN
    whole = pd.date_range(start, periods=50 + horizon, freq=freq, tz=clock or "UTC").tz_convert(BERLIN)
    given = frame(whole[:50])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is lost, so that nothing is said but of the clocks
        warnings.filterwarnings("ignore", "the clocks of")
        made = default.adapted(freq, horizon).forecast_df(given, num_samples=2, **NAMES)
    assert made["when"].dtype == given["when"].dtype
    assert list(made["when"]) == list(whole[50:])
    with pytest.warns(UserWarning, match="1 gap filled"):
        filled = default.adapted(freq, horizon).impute_df(given.drop(index=[20]), num_samples=2, **NAMES)
    assert list(filled["when"]) == list(whole[:50])
    assert list(filled["when"][filled["imputed"]]) == [whole[20]]


@pytest.mark.parametrize("tz", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_hours_of_zones_off_by_minutes_stay_whole(default, tz):
    whole = pd.date_range("2024-04-05", periods=63, freq="h", tz=tz)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "the clocks of")
        made = default.adapted("h", 3).forecast_df(frame(whole[:60]), num_samples=2, **NAMES)
    assert list(made["when"]) == list(whole[60:])


def test_fixed_offsets_come_back(default):
    zone = timezone(timedelta(hours=5, minutes=30))
    given = frame(pd.date_range("2024-01-01", periods=40, freq="D", tz=zone))
    made, _ = both(default.adapted("D", 3), given)
    assert list(made["when"]) == list(pd.date_range("2024-02-10", periods=3, freq="D", tz=zone))


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "datetimes"])
@pytest.mark.parametrize("start", CHANGES)
def test_offsets_without_a_zone_are_said_to_be_lost(default, start, as_text):
    """As pandas writes zoned times to CSV: two offsets, where the clocks change, and no zone to have them from."""

    def bare(stamps: pd.DatetimeIndex) -> Any:
        if as_text:
            return stamps.map(str)
        return np.array([s.to_pydatetime().replace(tzinfo=timezone(s.utcoffset())) for s in stamps], dtype=object)

    days = pd.date_range(start, periods=40, freq="D", tz=BERLIN)
    with pytest.warns(UserWarning, match="several offsets and no zone; its local calendar days are kept"):
        made = default.adapted("D", 3).forecast_df(frame(bare(days)), num_samples=2, **NAMES)
    first = pd.Timestamp(start) + pd.Timedelta(days=40)
    assert list(made["when"]) == list(pd.date_range(first, periods=3, freq="D"))
    hours = pd.date_range(start, periods=150, freq="h", tz=BERLIN)
    with pytest.warns(UserWarning, match="several offsets and no zone; its times are in UTC"):
        made = default.adapted("h", 3).forecast_df(frame(bare(hours)), num_samples=2, **NAMES)
    assert list(made["when"]) == list(hours[-1].tz_convert("UTC") + pd.to_timedelta([1, 2, 3], unit="h"))


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin"])
@pytest.mark.parametrize("clock", ["UTC", None])
def test_whole_hours_stay_those_of_utc_or_of_the_zone(default, zone, clock):
    """Hours of UTC are at half past in Kolkata, and not to be moved; hours of its own are whole there."""
    whole = pd.date_range("2024-01-10", periods=40, freq="h", tz=clock or zone).tz_convert(zone)
    series = series_from_frame(frame(whole[:37]), **NAMES)
    assert (series.freq, series.notes) == ("h", [])
    made = default.predict_df(frame(whole[:37]), prediction_length=3, num_samples=2)
    assert list(made["when"]) == list(whole[37:])


@pytest.mark.parametrize("freq", ["BME", "BQE", "BYE", "CBME", "BMS", "BQS", "BYS-APR"])
def test_working_days_come_back_as_they_went_in(default, freq):
    stamps = pd.date_range("2020-01-01", periods=27, freq=freq)
    made = default.predict_df(frame(stamps[:24]), prediction_length=3, num_samples=2)
    assert list(made["when"]) == list(stamps[24:])


def test_nothing_is_said_of_how_pandas_keeps_business_days(default):
    table = frame(pd.bdate_range("2024-01-01", periods=90), ids=("a", "b")).drop(index=[20, 50])
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        forecast = default.predict_df(table, prediction_length=3, num_samples=2, target="sold", id_column="shop")
        filled = default.impute_df(table, num_samples=2, target="sold", id_column="shop")
        default.cross_validation_df(table, 2, prediction_length=3, num_samples=2, target="sold", id_column="shop")
    assert len(forecast) == 6
    assert len(filled) == 180


def test_trading_days_that_end_months_are_found_and_dated_at_their_ends(default):
    """Of New York: Good Friday was the last Friday of March 2013 and 2018, Memorial Day the last Monday of May 2010."""
    ends = pd.date_range("2010-01-01", "2020-12-31", freq="BME")
    closed = pd.DatetimeIndex(["2010-05-31", "2013-03-29", "2018-03-30"])
    stamps = ends.where(~ends.isin(closed), ends - pd.offsets.BDay())
    with pytest.warns(Note, match=r"to the last workday of their periods \(2010-05-28 00:00:00 to 2010-05-31"):
        made = default.predict_df(frame(stamps), prediction_length=2, num_samples=2)
    assert [str(day.date()) for day in made["when"]] == ["2021-01-29", "2021-02-26"]


def test_stamps_are_moved_to_the_nearer_end_of_their_months():
    months = pd.date_range("2020-01-01", periods=24, freq="MS")
    apart = np.arange(24) == 0  # those of one day of the month stay where they are
    sides = [
        series_from_frame(frame(months + pd.to_timedelta(day + apart, unit="D")), **NAMES, freq="M").stamp
        for day in (0, 2, 9, 19, 27)
    ]
    assert sides == ["start", "start", "start", "end", "end"]


def test_a_wide_table_is_told_its_own_column_of_times(default):
    hours = pd.date_range(CHANGES[0], periods=150, freq="h", tz=BERLIN).map(str)
    with pytest.warns(Note, match="column 'hour' has several offsets"):
        default.predict_df(pd.DataFrame({"hour": hours, "a": 1.0, "b": 2.0}), prediction_length=3, num_samples=2)


@pytest.mark.parametrize(("kind", "call"), [("pandas.Series", "to_frame"), ("pyarrow.Table", "to_pandas")])
def test_what_is_no_frame_yet_is_told_how_to_become_one(default, kind, call):
    given = frame(pd.date_range("2024-01-01", periods=40))
    other = given.set_index("when")["sold"] if kind == "pandas.Series" else pa.Table.from_pandas(given)
    with pytest.raises(DataError, match=rf"a {kind} is no pandas DataFrame; give its \.{call}\(\)"):
        default.predict_df(other, prediction_length=3)
    for take in (load_dataset, lambda data: default.fine_tune(data, 0.1, prediction_length=3)):
        with pytest.raises(DataError, match=rf"a {kind} is no GluonTS dataset and no pandas .*; give its \.{call}\(\)"):
            take(other)
    with pytest.raises(DataError, match=rf"future_df is a {kind}; give its \.{call}\(\)"):
        default.predict_df(given, other, prediction_length=3)


def test_times_by_the_halves_of_the_day_are_read_in_silence():
    stamps = pd.date_range("2024-01-01", periods=40, freq="12h")
    given = frame(stamps).assign(when=stamps.strftime("%m/%d/%Y %I:%M %p"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        series = series_from_frame(given, **NAMES)
    assert (series.freq, series[0]["start"].start_time) == ("12h", stamps[0])


def test_days_that_the_clocks_begin_late_are_days():
    """In Cairo the clocks skip midnight, so that a day begins at 01:00."""
    naive = pd.date_range("2024-04-20", periods=12, freq="D")
    whole = naive.tz_localize("Africa/Cairo", nonexistent="shift_forward")
    assert len({stamp.hour for stamp in whole}) == 2
    for freq in (None, "D"):
        series = series_from_frame(frame(whole), freq=freq, **NAMES)
        assert (series.freq, series.notes) == ("D", [])
        assert not np.isnan(series[0]["target"]).any()
    message = r"2024-04-26 00:00:00 is not in zone Africa/Cairo, .*01:00:00\+03:00 is given"
    with pytest.warns(UserWarning, match=message):
        assert list(series.origin.zone.restored(naive)) == list(whole)


def test_days_that_the_clocks_begin_twice_begin_at_the_first():
    havana = Zone(ZoneInfo("America/Havana"), days=True)
    with pytest.warns(UserWarning, match=r"2024-11-03 00:00:00 is twice in zone America/Havana"):
        found = havana.restored(pd.date_range("2024-11-02", periods=3, freq="D"))
    assert [stamp.utcoffset() for stamp in found] == [timedelta(hours=h) for h in (-4, -4, -5)]


def test_one_day_with_its_frequency_stays_that_day():
    given = frame(pd.DatetimeIndex(["2024-05-01"]).tz_localize(BERLIN))
    assert series_from_frame(given, freq="D", **NAMES)[0]["start"] == pd.Period("2024-05-01", freq="D")
    assert series_from_frame(given, freq="h", **NAMES)[0]["start"] == pd.Period("2024-04-30 22:00", freq="h")


def test_python_datetimes_with_a_zone():
    stamps = np.array([datetime(2024, 3, 29 + d, tzinfo=ZoneInfo(BERLIN)) for d in range(3)], dtype=object)
    origin = series_from_frame(frame(stamps), freq="D", **NAMES).origin
    assert (str(origin.zone.tz), origin.zone.days) == (BERLIN, True)
