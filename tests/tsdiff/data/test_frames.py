"""Frames in, frames out: names and ids are the caller's, and what was repaired or left out is said."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import DataError
from tsdiff import TSDiffPredictor, set_quiet
from tsdiff.data import load_dataset, series_from_frame
from tsdiff.data.known import Names, read_frame
from tsdiff.data.origin import Origin, Zone
from tsdiff.data.timestamps import to_timestamps
from tsdiff.tasks.anomaly.scores import anomaly_scores

BERLIN = "Europe/Berlin"


def frame(stamps: pd.DatetimeIndex, ids: Any = ("a",), names: tuple[str, str, str] = ("shop", "when", "sold")) -> Any:
    """A long table of noisy sines."""
    rng = np.random.default_rng(0)
    item, time, target = names
    wave = 10 + np.sin(np.arange(len(stamps)))
    parts = [pd.DataFrame({item: one, time: stamps, target: wave + rng.normal(size=len(stamps))}) for one in ids]
    return pd.concat(parts, ignore_index=True)


NAMES: dict[str, Any] = {"target": "sold", "item_id": "shop", "timestamp": "when"}


def both(predictor: TSDiffPredictor, table: pd.DataFrame, **names: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is forecast, and the table with its gaps filled."""
    options = names or NAMES
    return predictor.forecast_df(table, num_samples=2, **options), predictor.impute_df(table, num_samples=2, **options)


# --- names and ids -----------------------------------------------------------------------------------------


IDS: dict[str, pd.Series] = {
    "int": pd.Series([10, 9]),
    "negative": pd.Series([-1, 7], dtype="int16"),
    "nullable": pd.Series([3, 1], dtype="Int64"),
    "bool": pd.Series([True, False]),
    "float": pd.Series([1.5, 0.25]),
    "object": pd.Series(["b", "a"], dtype=object),
    "string": pd.Series(["b", "a"], dtype="string"),
    "category": pd.Series(pd.Categorical(["x", "y"], categories=["y", "unused", "x"], ordered=True)),
    "date": pd.Series(pd.to_datetime(["2024-01-01", "2023-01-01"])),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_keep_their_dtype_and_columns_their_names(default, kind):
    given = frame(pd.date_range("2024-01-01", periods=40, freq="D"), ids=[0, 1])
    given["shop"] = IDS[kind].loc[given["shop"]].array
    made, filled = both(default.adapted("D", 3), given)
    for found in (made, filled):
        assert found["shop"].dtype == given["shop"].dtype
        assert set(found["shop"]) == set(given["shop"])
    assert list(made.columns[:3]) == ["shop", "when", "mean"]
    assert list(filled.columns[:5]) == ["shop", "when", "sold", "imputed", "mean"]
    merged = filled.merge(given, on=["shop", "when"])
    assert len(merged) == 80
    np.testing.assert_allclose(merged["sold_x"], merged["sold_y"])


def apart() -> pd.DataFrame:
    """Two series whose periods have nothing in common."""
    early, late = (pd.date_range(start, periods=30, freq="D") for start in ("2024-01-01", "2024-01-31"))
    names = ("unique_id", "ds", "y")
    return pd.concat([frame(early, ["a"], names), frame(late, ["b"], names)], ignore_index=True)


@pytest.mark.parametrize("levels", [["unique_id"], ["unique_id", "ds"], ["ds", "unique_id"]])
def test_ids_in_the_index_are_those_of_the_series(default, levels):
    """Not one series of all: also of what is to come, and of tables with covariates."""
    table, options = apart(), {"prediction_length": 3, "num_samples": 2}
    given, predictor = table.set_index(levels), default.adapted("D", 3)
    pd.testing.assert_frame_equal(predictor.predict_df(given, **options), predictor.predict_df(table, **options))
    pd.testing.assert_frame_equal(predictor.impute_df(given), predictor.impute_df(table))
    assert [entry["item_id"] for entry in load_dataset(given)] == ["a", "b"]
    past = table.groupby("unique_id").head(26).assign(promotion=1.0)
    ahead = table.groupby("unique_id").tail(4).drop(columns="y").assign(promotion=0.0)
    made = predictor.predict_df(past.set_index(levels), ahead.set_index(levels), **options)
    pd.testing.assert_frame_equal(made, predictor.predict_df(past, ahead, **options))


JITTER = {
    "one series": lambda one, many: one,
    "ids": lambda one, many: many,
    "ids in the index": lambda one, many: many.set_index("unique_id"),
    "ids and times in the index": lambda one, many: many.set_index(["unique_id", "ds"]),
    "times in the index": lambda one, many: one.set_index("ds"),
    "wide": lambda one, many: one.set_index("ds").rename(columns={"y": "a"}).assign(b=1.0),
    "wide with a column of times": lambda one, many: one.rename(columns={"y": "a"}).assign(b=1.0),
}


@pytest.mark.parametrize("kind", JITTER)
def test_irregular_times_are_told_the_call_that_makes_them_regular(kind):
    """Of the nearest usual frequency, not of whatever step comes first."""
    days = pd.date_range("2024-01-01", periods=30, freq="D")
    jitter = pd.to_timedelta(np.random.default_rng(0).integers(0, 3600, 30), unit="s")
    one = pd.DataFrame({"ds": days + jitter, "y": np.arange(30.0)})
    df = JITTER[kind](one, pd.concat([one.assign(unique_id=name) for name in "ab"]))
    with pytest.raises(DataError, match="not on the grid of any usual frequency") as told:
        read_frame(df, Names().of(df))
    call = str(told.value).split("for example with ")[1].split(", or give")[0]
    regular = eval(call, {"df": df, "pd": pd})
    made = read_frame(regular, Names().of(regular))
    assert made.freq == "D"
    for entry in made:
        assert entry["item_id"] == "b" or np.array_equal(entry["target"], np.arange(30.0))


@pytest.mark.parametrize(("step", "usual"), [("5min", "5min"), ("7min", "5min"), ("30min", "30min"), ("12h", "12h")])
def test_irregular_times_are_told_a_step_like_theirs(step, usual):
    """Two visits a day are not to be one mean, nor three values of five minutes."""
    jitter = pd.to_timedelta(np.random.default_rng(0).integers(0, 20, 60), unit="s")
    given = frame(pd.date_range("2024-01-01", periods=60, freq=step) + jitter)
    with pytest.raises(DataError, match=rf"pd\.Grouper\(key='when', freq='{usual}'\)"):
        series_from_frame(given, **NAMES)


def test_an_index_of_ids_may_be_named(default):
    table, options = apart().rename(columns={"unique_id": "shop"}), {"prediction_length": 3, "num_samples": 2}
    named = default.predict_df(table, id_column="shop", **options)
    for levels in (["shop"], ["shop", "ds"]):
        pd.testing.assert_frame_equal(default.predict_df(table.set_index(levels), id_column="shop", **options), named)
    with pytest.warns(Note, match="columns 'shop' are not used"):
        default.predict_df(table.set_index(["shop", "ds"]), **options)


def test_levels_without_a_name_are_told_by_what_they_hold():
    parts = {name: part.drop(columns="unique_id") for name, part in apart().groupby("unique_id")}
    for given in (parts, {name: part.set_index("ds").rename_axis(None) for name, part in parts.items()}):
        made = load_dataset(pd.concat(given))
        assert [entry["item_id"] for entry in made] == ["a", "b"]
        assert made.origin.timestamp in ("ds", "timestamp")
    numbered = pd.concat({1: parts["a"], 2: parts["b"]}).set_index("ds", append=True).droplevel(1)
    assert [entry["item_id"] for entry in load_dataset(numbered)] == ["1", "2"]
    again = apart().groupby("unique_id")[["ds", "y"]].apply(lambda part: part.iloc[::-1])
    assert [len(entry["target"]) for entry in load_dataset(again)] == [30, 30]


def test_a_table_without_ids_or_with_times_as_its_index(default):
    stamps = pd.date_range("2024-01-01", periods=40, freq="D")
    plain = frame(stamps).drop(columns="shop")
    made, _ = both(default.adapted("D", 3), plain.rename(columns={"when": "ds"}), target="sold")
    assert list(made.columns[:2]) == ["item_id", "ds"]
    assert set(made["item_id"]) == {"sold"}
    for index, name in (("when", "when"), (None, "timestamp")):
        made, filled = both(default.adapted("D", 3), plain.set_index("when").rename_axis(index), target="sold")
        assert (made.columns[1], filled.columns[1]) == (name, name)


def test_names_that_results_have_already_are_not_taken_twice(default):
    given = frame(pd.date_range("2024-01-01", periods=40, freq="D"), names=("mean", "0.5", "imputed"))
    options = {"item_id": "mean", "timestamp": "0.5", "target": "imputed"}
    made, filled = both(default.adapted("D", 3), given, **options)
    assert list(made.columns[:3]) == ["item_id", "timestamp", "mean"]
    assert list(filled.columns[:4]) == ["item_id", "timestamp", "value", "imputed"]


def test_columns_of_a_wide_table_are_ids_of_their_kind():
    stamps = pd.date_range("2024-03-28", periods=50, freq="D", tz=BERLIN, name="when")
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=[10, 9], index=stamps)
    for table in (wide, wide.reset_index()):
        series = load_dataset(table, timestamp="when")
        assert [entry["item_id"] for entry in series] == ["9", "10"]
        results = pd.DataFrame({"item_id": ["10", "9"], "timestamp": pd.date_range("2024-05-17", periods=2, freq="D")})
        back = series.origin.restored(results)
        assert back["when"].dtype == stamps.dtype
        assert back["item_id"].tolist() == [10, 9]


def test_data_that_was_no_table_keeps_our_names():
    results = pd.DataFrame({"item_id": ["a"], "timestamp": pd.to_datetime(["2024-01-01"]), "value": [1.0]})
    made = Origin(target="value").restored(results)
    pd.testing.assert_frame_equal(made, results)
    empty = Origin("shop", "when", labels=pd.Series(dtype=int), zone=Zone(ZoneInfo(BERLIN))).restored(pd.DataFrame())
    assert empty.empty


# --- what is said ------------------------------------------------------------------------------------------


def test_each_repair_and_each_series_left_out_is_a_warning(default):
    given = frame(pd.date_range("2024-01-01", periods=60, freq="D"), ids=[1, 2, 3])
    given.loc[given["shop"] == 2, "sold"] = np.nan
    given.loc[5, "sold"] = np.inf
    given = given.drop(index=[30]).iloc[::-1]
    for call in (default.adapted("D", 3).forecast_df, default.adapted("D", 3).impute_df):
        with pytest.warns(UserWarning, match="left out") as said:
            made = call(given, num_samples=2, **NAMES)
        texts = [str(one.message) for one in said]
        assert texts[0] == "series '2' left out: no observed value"
        for part in ("'1': unsorted timestamps were sorted", "'1': 1 gap filled", "'1': 1 infinity treated as missing"):
            assert sum(part in text for text in texts) == 1
        assert {one.filename for one in said} == {__file__}
        assert set(made["shop"]) == {1, 3}
    with pytest.raises(DataError, match="no usable series"):
        default.adapted("D", 3).forecast_df(given[given["shop"] == 2], **NAMES)


@pytest.mark.slow
def test_anomaly_scores_of_a_frame_say_it_too(trained):
    given = frame(pd.date_range("2024-01-01", periods=60, freq="h"), ids=["a", "b"])
    given.loc[given["shop"] == "b", "sold"] = np.nan
    with pytest.warns(UserWarning, match="series 'b' left out: no observed value"):
        assert len(anomaly_scores(trained, given, **NAMES)) == 1


def test_many_remarks_of_a_kind_are_one_line_and_many_kinds_are_counted():
    table = frame(pd.date_range("2024-01-01", periods=20, freq="D"), ids=range(30)).drop(index=range(10, 600, 20))
    series = series_from_frame(table.drop(index=[25]), **NAMES)
    first, alike = series.remarks({"x": "too short"})
    assert first == "series 'x' left out: too short"
    assert alike.startswith("series '0': 1 gap filled as missing; and 29 more alike: '1', '2', '3',")
    assert alike.endswith("'20', … 9 more")
    assert series.notes[1] == "series '1': 2 gaps filled as missing"
    remarks = series.remarks({str(place): f"reason {chr(65 + place)}" for place in range(26)})
    assert len(remarks) == 21
    assert remarks[-1] == "and 7 more of the kind"


def test_quiet_says_nothing(default):
    given = frame(pd.date_range("2024-01-01", periods=60, freq="D")).drop(index=[30])
    set_quiet(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(default.adapted("D", 3).forecast_df(given, num_samples=2, **NAMES)) == 3
    finally:
        set_quiet(False)
    with pytest.warns(Note, match="1 gap filled"):
        default.adapted("D", 3).forecast_df(given, num_samples=2, **NAMES)


# --- files -------------------------------------------------------------------------------------------------


def test_commands_write_tables_in_the_terms_of_their_data(tmp_path: Path):
    from tsdiff.commands import forecast, impute
    from tsdiff.commands.options import Forecast, Impute

    whole = pd.date_range("2024-10-20", periods=83, freq="D", tz=BERLIN)
    frame(whole[:80], ids=[7, 12]).drop(index=[20]).to_parquet(tmp_path / "data.parquet")
    common: dict[str, Any] = {"freq": "D", "prediction_length": 3, "no_train": True, "samples": 2}
    common |= {"data": tmp_path / "data.parquet", "target": "sold", "item_id": "shop", "timestamp": "when"}
    forecast.main(Forecast(**common, output=tmp_path / "forecast"))
    future = pd.read_csv(tmp_path / "forecast/future.csv")
    assert future["shop"].tolist() == [7] * 3 + [12] * 3
    assert future["when"].tolist() == [str(stamp) for stamp in whole[80:]] * 2
    scored = pd.read_csv(tmp_path / "forecast/forecasts.csv")
    assert scored["when"].tolist() == [str(stamp) for stamp in whole[77:80]] * 2
    impute.main(Impute(**common, output=tmp_path / "impute"))
    filled = pd.read_csv(tmp_path / "impute/imputed.csv")
    assert filled[["shop", "when"]].to_numpy().tolist() == [[7, str(whole[20])]]


def test_values_named_y_beside_unique_id_and_ds_are_found():
    days = pd.date_range("2024-01-01", periods=5)
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": range(5)})
    series = series_from_frame(frame)
    np.testing.assert_array_equal(series[0]["target"], range(5))
    assert series.origin.target == "y"


def test_what_is_moved_within_its_periods_is_told_of_each_series():
    hours = pd.date_range("2024-01-01", periods=5, freq="h")
    late = hours + pd.Timedelta("30min")
    parts = {"a": late, "b": hours, "c": late[2:], "d": hours}
    table = pd.concat(
        [pd.DataFrame({"item_id": k, "timestamp": v, "target": np.arange(len(v))}) for k, v in parts.items()]
    )
    notes = series_from_frame(table, freq="h").notes
    assert [note for note in notes if "moved" in note] == [
        "series 'a': timestamps are moved to the start of their periods (2024-01-01 00:30:00 to 2024-01-01 00:00:00)",
        "series 'c': timestamps are moved to the start of their periods (2024-01-01 02:30:00 to 2024-01-01 02:00:00)",
    ]


@pytest.mark.parametrize(
    ("first", "freq", "step"),
    [
        ("2024-01-01 00:53", "h", "1h"),
        ("2024-01-01 12:00", "D", "1D"),
        ("2024-01-01 00:00:00.5", "s", "1s"),
        ("2024-03-25 09:53+01:00", "h", "1h"),
        ("2024-01-01 00:07", "30min", "30min"),
    ],
)
def test_results_lie_within_their_periods_where_all_timestamps_do(first, freq, step):
    stamps = pd.date_range(first, periods=40, freq=step)
    if stamps.tz is not None:
        stamps = stamps.tz_convert("Europe/Vienna")
    series = series_from_frame(pd.DataFrame({"time": stamps[:36], "value": np.arange(36.0)}), freq=freq)
    assert not [note for note in series.notes if "moved" in note]
    entry = series[0]
    after = pd.period_range(entry["start"] + 36, periods=4, freq=entry["start"].freq)
    made = series.origin.restored(pd.DataFrame({"item_id": "value", "timestamp": to_timestamps(after, series.stamp)}))
    assert made["time"].tolist() == stamps[36:].tolist()


@pytest.mark.parametrize("given", ["QS", "QE", "YS", "YE"])
@pytest.mark.parametrize("anchor", ["JAN", "FEB", "MAR", "APR", "NOV", "DEC"])
@pytest.mark.parametrize("zone", [None, "Europe/Vienna"])
def test_quarters_and_years_of_any_month_come_back_where_their_frequency_is_given_without_it(given, anchor, zone):
    stamps = pd.date_range("2001-01-01", periods=20, freq=f"{given}-{anchor}", tz=zone)
    series = series_from_frame(pd.DataFrame({"time": stamps[:16], "value": np.arange(16.0)}), freq=given)
    assert series.freq == f"{given[0]}-DEC"
    assert not [note for note in series.notes if "moved" in note]
    after = pd.period_range(series[0]["start"] + 16, periods=4, freq=series[0]["start"].freq)
    made = series.origin.restored(pd.DataFrame({"item_id": "value", "timestamp": to_timestamps(after, series.stamp)}))
    assert made["time"].tolist() == stamps[16:].tolist()


@pytest.mark.parametrize("day", [2, 15, 16, 25, 28])
def test_months_dated_on_one_day_are_so_in_forecasts(day):
    stamps = pd.DatetimeIndex([f"{year}-{month:02}-{day:02}" for year in range(2018, 2024) for month in range(1, 13)])
    frame = pd.DataFrame({"time": stamps[:-2], "value": np.arange(70.0)})
    made = TSDiffPredictor.from_pretrained("default").predict_df(frame, prediction_length=2, num_samples=2)
    assert made["time"].tolist() == stamps[-2:].tolist()


@pytest.mark.parametrize(("true", "given", "told"), [("D", "h", "'D', not 'h'"), ("W-MON", "D", "'W-MON', not 'D'")])
def test_a_frequency_that_leaves_most_steps_empty_is_questioned(true, given, told):
    times = pd.date_range("2024-01-01", periods=30, freq=true)
    frame = pd.DataFrame({"timestamp": times, "target": np.arange(30.0)})
    (note,) = series_from_frame(frame, freq=given).notes
    assert note.endswith(f"gaps filled as missing: its times look like {told}; is freq right?")
    days = pd.date_range("2024-01-01", periods=30, freq=given)
    few = pd.DataFrame({"timestamp": days, "target": np.arange(30.0)}).drop([4, 9])
    (note,) = series_from_frame(few, freq=given).notes
    assert note.endswith("2 gaps filled as missing")
    worked = pd.DataFrame({"timestamp": pd.bdate_range("2024-01-01", periods=30), "target": np.arange(30.0)})
    assert series_from_frame(worked, freq="D").notes == ["series 'target': 10 gaps filled as missing"]


def test_rows_that_may_stand_for_no_sale_are_told():
    """A table of sales alone was forecast as if the days without one were unknown, without a word of zeros."""
    days = pd.date_range("2024-01-01", periods=90)[np.random.default_rng(0).random(90) < 0.3]
    sold = pd.DataFrame({"timestamp": days, "target": np.arange(1.0, len(days) + 1)})
    told = "most of its steps; where no row means 0, as of what is not sold, add rows of 0"
    (note,) = series_from_frame(sold, freq="D").notes
    assert note.endswith(told)
    assert series_from_frame(sold.iloc[[0, -1]], freq="D").notes[0].endswith("gaps filled as missing")
    for least in (0.0, -1.0):
        (note,) = series_from_frame(sold.assign(target=sold["target"].where(sold.index > 3, least)), freq="D").notes
        assert note.endswith("gaps filled as missing")
