"""Times of tables: what is read, in which zone, by which calendar, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from shared.errors import DataError
from tests.tsdiff.data.test_data import long_frame
from tsdiff.data import (
    candidate_seasons,
    series_from_frame,
    to_timestamps,
)
from tsdiff.data.frequency import quiet


def period_range(start: pd.Period, length: int) -> pd.PeriodIndex:
    with quiet():
        return pd.period_range(start, periods=length, freq=start.freq)


@pytest.mark.parametrize(
    ("stamps", "words"),
    [
        ([1704067200, 1704070800, 1704074400], r"numbers.*unit='s'"),
        ([20240101, 20240102, 20240103], r"numbers.*%Y%m%d"),
        ([1, 2, 3], r"numbers.*pd\.to_datetime\(df\['timestamp'\], unit='D'\), which makes days of numbered steps"),
        (["2024-01-01", "soon", "2024-01-03"], r"'soon' is not a date"),
        ([202052, 202053, 202101], r"pd\.to_datetime\(df\['timestamp'\].*'1', format='%G%V%u'\), if these are weeks"),
        (["2020-52", "2020-53", "2021-01"], r"'2020-52' is not a date; .*, weeks of ISO 8601 as 2024-W05"),
        (["KW 53/2020", "KW 01/2021"], r"'KW 53/2020' is not a date; .*, weeks of ISO 8601 as 2024-W05"),
        (["31 Mär 2024"], r"is not a date; .*18:00, months by their numbers or in English"),
        (["Feb-24", "Mär-24", "Apr-24"], r"'Mär-24' is not a date; .*, months by their numbers or in English"),
        (["00:00", "01:00", "02:00"], r"holds times of day without a date \(first: '00:00'\)"),
        (["9:00:00 AM", "10:00:00 AM", "11:00:00 AM"], "holds times of day without a date"),
        (["01/02/2024", "01/03/2024", "01/04/2024"], r"cannot be told apart"),
        ([pd.Timestamp("2024-01-01"), 3, pd.Timestamp("2024-01-02")], r"mixes dates and numbers"),
    ],
)
def test_times_that_cannot_be_read_for_sure_are_refused(stamps, words):
    with pytest.raises(DataError, match=words):
        series_from_frame(pd.DataFrame({"timestamp": stamps, "target": 1.0}), freq="D")


@pytest.mark.parametrize(
    "stamps",
    [
        ["2024-01-12", "2024-01-13", "2024-01-14"],
        ["12/01/2024", "13/01/2024", "14/01/2024"],
        ["01/12/2024", "01/13/2024", "01/14/2024"],
        ["2024-01-12", "2024-01-13 00:00", "2024-01-14T00:00:00"],
        [pd.Period("2024-01-12"), pd.Period("2024-01-13"), pd.Period("2024-01-14")],
        [pd.Timestamp("2024-01-12").date(), pd.Timestamp("2024-01-13").date(), pd.Timestamp("2024-01-14").date()],
    ],
)
def test_unmistakable_dates_are_read(stamps):
    series = series_from_frame(pd.DataFrame({"timestamp": stamps, "target": [1.0, 2.0, 3.0]}))
    assert series[0]["start"] == pd.Period("2024-01-12", freq="D")
    assert len(series[0]["target"]) == 3


def test_hours_with_a_zone_are_counted_in_utc():
    frame = long_frame({"a": 48}, start="2024-03-30")
    frame["timestamp"] = frame["timestamp"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    frame_of_text = frame.assign(timestamp=frame["timestamp"].map(str))
    for table in (frame, frame_of_text):  # the clocks change within, so the text has two offsets
        series = series_from_frame(table)
        assert series[0]["start"] == pd.Period("2024-03-30 00:00", freq="h")
        assert (str(series.origin.zone.tz), series.notes) == ("Europe/Berlin", []) or "UTC" in series.notes[0]
        assert not np.isnan(series[0]["target"]).any()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
def test_messages_tell_times_as_the_table_has_them(zone):
    times = pd.date_range("2024-03-30 12:00", periods=40, freq="h", tz=zone)
    frame = pd.DataFrame({"unique_id": 3, "ds": times, "y": np.arange(40.0)})
    assert series_from_frame(frame, target="y").origin.item_id == "unique_id"
    with pytest.raises(DataError, match=f"'3' has timestamp {re.escape(str(times[30]))} more than once"):
        series_from_frame(pd.concat([frame, frame.iloc[[30]]]), target="y")
    frame.loc[31, "ds"] += pd.Timedelta(minutes=10)
    said = f"{re.escape(str(frame['ds'][31]))} is not on the grid .* starts at {re.escape(str(times[0]))};"
    with pytest.raises(DataError, match=said):
        series_from_frame(frame, target="y", freq="h")
    frame["ds"] = times + pd.Timedelta(minutes=7)
    series = series_from_frame(pd.concat([frame, frame.assign(unique_id=4, ds=times)]), target="y", freq="h")
    assert [f"({times[0] + pd.Timedelta(minutes=7)} to {times[0]})" in note for note in series.notes] == [True]


def test_days_with_a_zone_are_local_days():
    frame = long_frame({"a": 10}, freq="D", start="2024-03-28")
    frame["timestamp"] = frame["timestamp"].dt.tz_localize("Europe/Berlin")
    frame_of_text = frame.assign(timestamp=frame["timestamp"].map(str))
    for table in (frame, frame_of_text):
        series = series_from_frame(table)
        assert (series.freq, series[0]["start"]) == ("D", pd.Period("2024-03-28", freq="D"))
        assert not np.isnan(series[0]["target"]).any()
    assert "local calendar days" in series.notes[0]


def test_steps_beyond_what_timestamps_hold_are_told():
    with pytest.raises(DataError, match="2262-04-10 to 2262-04-13 is not within 1677-09-21 to 2262-04-11"):
        to_timestamps(period_range(pd.Period("2262-04-10", "D"), 4))


@pytest.mark.parametrize("freq", ["h", "D", "B", "W-MON", "W-SUN", "MS", "ME", "QS", "QE", "YE", "2ME", "30min"])
def test_timestamps_come_back_as_they_went_in(freq):
    frame = long_frame({"a": 12}, freq=freq)
    series = series_from_frame(frame, freq=freq)
    periods = period_range(series[0]["start"], 12)
    assert to_timestamps(periods, series.stamp).tolist() == frame["timestamp"].tolist()
    assert series.notes == []


@pytest.mark.parametrize(
    ("freq", "first", "moved"),
    [
        ("h", "2024-03-01 00:30", "2024-03-01 00:00"),
        ("D", "2024-03-01 12:00", "2024-03-01"),
        ("W", "2024-03-06", "2024-03-04"),
    ],
)
def test_series_whose_timestamps_lie_within_their_periods_start_with_them_and_lead_back(freq, first, moved):
    steps = pd.to_timedelta(np.arange(5), unit="W" if freq == "W" else freq)
    frame = pd.DataFrame({"timestamp": pd.Timestamp(first) + steps, "target": np.arange(5.0)})
    series = series_from_frame(frame, freq=freq)
    periods = to_timestamps(period_range(series[0]["start"], 5))
    assert periods[0] == pd.Timestamp(moved)
    assert series.notes == []
    assert series.origin.zone.restored(periods).tolist() == frame["timestamp"].tolist()


RETAIL = {
    "months of 4, 5 and 4 weeks": ([4, 5, 4] * 12, "M", 12),
    "with a year of 53 weeks": ([4, 5, 4] * 3 + [4, 5, 5] + [4, 5, 4] * 8, "M", 12),
    "quarters": ([13] * 7 + [14] + [13] * 8, "Q-DEC", 4),
    "13 periods a year": ([4] * 12 + [5] + [4] * 26, "4W-SUN", 13),
    "always 4 weeks": ([4] * 39, "4W-SUN", 13),
}


@pytest.mark.parametrize("name", RETAIL)
def test_retail_calendars_are_regular_or_told_how_they_become_so(name):
    weeks, freq, season = RETAIL[name]
    stamps = pd.Timestamp("2021-01-31") + pd.to_timedelta(7 * np.r_[0, np.cumsum(weeks)[:-1]], unit="D")
    frame = pd.DataFrame({"ds": stamps, "y": np.arange(len(stamps))})
    if len(set(weeks)) > 1:
        with pytest.raises(
            DataError, match=r"cannot be inferred: timestamps are (4 or 5|13 or 14) weeks apart"
        ) as caught:
            series_from_frame(frame, target="y")
        code = re.search(r"\(times.*timestamp\(\)|pd\.date_range\(.*\)", str(caught.value))
        frame["ds"] = eval(code[0], {"pd": pd, "times": frame["ds"]})
    series = series_from_frame(frame, target="y")
    assert (series.freq, candidate_seasons(series.freq)[0]) == (freq, season)
    np.testing.assert_array_equal(series[0]["target"], frame["y"])


def test_periods_of_four_weeks_are_no_months():
    frame = pd.DataFrame({"ds": pd.date_range("2021-01-31", periods=40, freq="28D"), "y": 1.0})
    with pytest.raises(DataError, match="timestamps are 4 weeks apart; give freq='28D'"):
        series_from_frame(frame, target="y", freq="M")
    assert len(series_from_frame(frame, target="y", freq="28D")[0]["target"]) == 40


@pytest.mark.parametrize(
    ("times", "freq"),
    [
        (pd.date_range("2024-01-01", periods=60)[np.isin(np.arange(60) % 7, [0, 2, 4])], "D"),
        (pd.date_range("2024-01-01", periods=60, freq="5min").delete([*range(1, 40, 2), *range(41, 60, 3)]), "5min"),
    ],
    ids=["Monday, Wednesday, Friday", "every 10 or 5 minutes"],
)
def test_times_off_the_grid_of_their_usual_step_are_told_one_that_holds_them(times, freq):
    frame = pd.DataFrame({"timestamp": times, "target": 1.0})
    with pytest.raises(DataError, match=f"or give freq='{freq}', whose grid all of them are on"):
        series_from_frame(frame)
    assert series_from_frame(frame, freq=freq).freq == freq
    jittered = frame.assign(timestamp=times + pd.to_timedelta(np.arange(len(times)) * 7 % 11, "s"))
    with pytest.raises(DataError, match="or give the frequency it has"):
        series_from_frame(jittered)


def test_series_that_differ_in_frequency_are_refused():
    frame = pd.concat([long_frame({"a": 20}), long_frame({"b": 20}, freq="D")])
    with pytest.raises(DataError, match=r"'a' looks like 'h', 'b' like 'D'"):
        series_from_frame(frame)


def test_periods_keep_their_own_frequency():
    periods = pd.period_range("2024-01-01", periods=6, freq="W-MON")
    series = series_from_frame(pd.DataFrame({"timestamp": periods, "target": np.arange(6.0)}))
    assert (series.freq, series[0]["start"], series.stamp) == ("W-MON", periods[0], "start")


@pytest.mark.parametrize(
    "stamps",
    [
        np.array(["1500-01-01", "1501-01-01", "1502-01-01"], dtype="datetime64[s]"),
        pd.period_range("1500", periods=3, freq="Y"),
        pd.period_range("1659-01", periods=3, freq="M").astype(object),
    ],
    ids=["times", "periods", "periods as objects"],
)
def test_times_beyond_what_pandas_counts_are_refused(stamps):
    with pytest.raises(DataError, match="outside the years 1678 to 2261"):
        series_from_frame(pd.DataFrame({"timestamp": stamps, "target": 1.0}))


def test_weeks_of_iso_8601_are_dates():
    mondays = pd.date_range("2020-12-14", periods=8, freq="W-MON")  # 2020 has a week 53
    values = np.arange(8.0)
    wanted = series_from_frame(pd.DataFrame({"timestamp": mondays, "target": values}))
    for form in ("%G-W%V", "%GW%V", " %G-W%V-1 "):
        found = series_from_frame(pd.DataFrame({"week": mondays.strftime(form), "target": values}))
        assert (found.freq, found.stamp, found[0]["start"]) == (wanted.freq, wanted.stamp, wanted[0]["start"])
    days = pd.date_range("2024-12-27", periods=8)
    (entry,) = series_from_frame(pd.DataFrame({"timestamp": days.strftime("%GW%V%u"), "target": np.arange(8.0)}))
    assert entry["start"] == pd.Period("2024-12-27", freq="D")
    odd = pd.DataFrame({"timestamp": ["2021-W52", "2021-W53", "2022-W01"], "target": 1.0})
    with pytest.raises(DataError, match="'2021-W53' is no week of its year"):
        series_from_frame(odd)


@pytest.mark.parametrize(
    "form", ["{y}Q{q}", "{y}-q{q}", "{y} Q{q}", "{y}:Q{q}", "Q{q} {y}", "Q{q}-{y}", "Q{q}-{s}", "Q{q}'{s}"]
)
def test_quarters_are_dates_however_they_are_written(form):
    days = pd.date_range("2019-10-01", periods=8, freq="QS")
    texts = [form.format(y=day.year, s=f"{day:%y}", q=day.quarter) for day in days]
    series = series_from_frame(pd.DataFrame({"when": texts, "gdp": np.arange(8.0)}), target="gdp")
    assert (series.freq, series[0]["start"], series.stamp) == ("Q-DEC", pd.Period("2019Q4"), "start")
    np.testing.assert_array_equal(series[0]["target"], np.arange(8.0))


@pytest.mark.parametrize("form", ["%b-%y", "%y-%b", "%b %y", "%b'%y", "%B/%y", "%b. %Y", "%Y%b", "%B, %Y"])
def test_months_by_name_are_dates(form):
    """As spreadsheets write them; days without a year are told apart."""
    days = pd.date_range("1995-11-01", periods=80, freq="MS")
    frame = pd.DataFrame({"when": days.strftime(form), "sold": np.arange(80.0)})
    for texts in (frame["when"], frame["when"].str.upper()):
        (entry,) = series_from_frame(frame.assign(when=texts))
        assert entry["start"] == pd.Period("1995-11", "M")
        np.testing.assert_array_equal(entry["target"], np.arange(80.0))


@pytest.mark.parametrize("form", ["%b-%d", "%d-%b"])
@pytest.mark.parametrize("freq", ["D", "W"])
def test_days_without_a_year_are_told_what_to_do(form, freq):
    days = pd.date_range("2012-01-01", periods=50, freq=freq).strftime(form)
    frame = pd.DataFrame({"timestamp": days, "target": 1.0})
    with pytest.raises(DataError, match=r"may be a day without a year, or a month; .* \+ ' 2024'\)"):
        series_from_frame(frame)
    assert len(pd.to_datetime(frame["timestamp"] + " 2012")) == 50
    with pytest.raises(DataError, match="'Jan-12' may be"):
        series_from_frame(pd.DataFrame({"timestamp": ["Jan-12"], "target": 1.0}), freq="M")


@pytest.mark.parametrize("form", ["{y}M{m:02}", "{y}-M{m:02}", "{y}m{m}"])
def test_months_of_statistical_offices_are_dates(form):
    days = pd.date_range("2019-10-01", periods=14, freq="MS")
    texts = [form.format(y=day.year, m=day.month) for day in days]
    series = series_from_frame(pd.DataFrame({"when": texts, "cpi": np.arange(14.0)}), target="cpi")
    assert (series.freq, series[0]["start"]) == ("M", pd.Period("2019-10"))
    np.testing.assert_array_equal(series[0]["target"], np.arange(14.0))


def test_six_digits_are_told_how_to_be_read():
    """201001 may be January 2010, or the first of October 2020."""
    texts = pd.date_range("2010-01-01", periods=12, freq="MS").strftime("%Y%m")
    with pytest.raises(
        DataError, match=r"'201001' may be a month or a day.*pd\.to_datetime\(df\['when'\], format='%Y%m'"
    ):
        series_from_frame(pd.DataFrame({"when": texts, "y": 1.0}), target="y", timestamp="when")


def test_codes_that_begin_like_years_are_no_dates():
    frame = pd.DataFrame({"unit": ["2000W90", "2000M25"] * 4, "on": pd.date_range("2024-01-01", periods=8), "y": 1.0})
    assert series_from_frame(frame, target="y")[0]["start"] == pd.Period("2024-01-01", "D")


DAILY = pd.date_range("2023-12-20", periods=400, freq="D")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"year": DAILY.year, "month": DAILY.month, "day": DAILY.day}),
        pd.DataFrame({"Year": DAILY[::31].year, "Month": DAILY[::31].month}),
        pd.DataFrame({"Year": DAILY[5::7].isocalendar().year.array, "Week": DAILY[5::7].isocalendar().week.array}),
    ],
    ids=["days", "months", "weeks"],
)
def test_parts_of_dates_in_columns_of_their_own_are_told_how_they_are_joined(frame):
    df = frame.assign(flow=np.arange(len(frame)) + 0.5)
    with pytest.raises(DataError, match="join its ") as told:
        series_from_frame(df, target="flow")
    exec(re.search(r"df\[.*?(?=, if|$)", str(told.value))[0])  # type: ignore[index]  # what it advises works
    made = series_from_frame(df.iloc[:, -2:], target="flow")
    assert (len(made[0]["target"]), np.isnan(made[0]["target"]).sum()) == (len(frame), 0)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Atlantic/Azores"])
@pytest.mark.parametrize("freq", ["h", "30min"])
def test_the_hour_that_clocks_have_twice_is_told_as_such(zone, freq):
    times = pd.date_range("2022-10-01", "2023-12-01", freq=freq, tz=zone)
    twice = times[times.tz_localize(None).duplicated()][0].tz_localize(None)
    frame = pd.DataFrame({"timestamp": times.tz_localize(None), "target": 1.0})
    with pytest.raises(DataError, match=rf"{twice} more than once.*clocks.*as in {twice}\+02:00 and {twice}\+01:00"):
        series_from_frame(frame)


@pytest.mark.parametrize(
    "repeated",
    [["2024-01-03 14:00"], ["2024-01-03 02:00", "2024-01-05 02:00"], ["2024-01-03 02:00"] * 2, ["2024-01-03"]],
)
def test_other_times_that_repeat_are_no_matter_of_clocks(repeated):
    freq = "D" if len(repeated[0]) == 10 else "h"
    times = pd.date_range("2024-01-01", "2024-01-09", freq=freq).append(pd.DatetimeIndex(repeated))
    with pytest.raises(DataError, match="more than once") as told:
        series_from_frame(pd.DataFrame({"timestamp": times, "target": 1.0}))
    assert "clocks" not in str(told.value)
