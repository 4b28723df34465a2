"""Series from tables: what is repaired, what is refused, what comes out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import assert_same_entries
from tsdiff.data import (
    infer_freq,
    load_dataset,
    load_table,
    series_from_frame,
    series_from_gluonts,
)

ROOT = Path(__file__).resolve().parents[3]


SERIES = ROOT / os.environ.get("SHARED_DATA", "../shared/data") / "series"


needs_shared = pytest.mark.skipif(not SERIES.is_dir(), reason=f"no shared data at {SERIES}; set SHARED_DATA")


def long_frame(lengths: dict[str, int], freq: str = "h", start: str = "2024-03-01") -> pd.DataFrame:
    """A table in long format; the values count upwards from 1 within each series."""
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range(start, periods=length, freq=freq),
                "target": np.arange(1.0, length + 1),
            }
        )
        for item, length in lengths.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_tidy_table_gives_gluonts_entries_and_no_notes():
    series = series_from_frame(long_frame({"b": 30, "a": 20}))
    assert [entry["item_id"] for entry in series] == ["a", "b"]
    assert (series.freq, series.notes, series.skipped, len(series)) == ("h", [], {}, 2)
    assert series[0]["start"] == pd.Period("2024-03-01 00:00", freq="h")
    assert series[0]["target"].dtype == np.float64
    np.testing.assert_array_equal(series[1]["target"], np.arange(1.0, 31))


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_a_target_is_no_covariate_of_itself(kind):
    """Forecasts that were told it had a CRPS of 0."""
    frame = long_frame({"a": 20})
    with pytest.raises(ConfigError, match="'target' is a target and a covariate"):
        series_from_frame(frame, **{kind: ["target"]})
    with pytest.raises(ConfigError, match="'y' is a target and a covariate"):
        series_from_frame(frame.rename(columns={"target": "y"}), target="y", **{kind: ["y"]})


def test_one_series_without_ids_is_named_after_its_target():
    frame = long_frame({"a": 5}).drop(columns="item_id").rename(columns={"target": "load", "timestamp": "Date"})
    assert series_from_frame(frame, target="load")[0]["item_id"] == "load"


@pytest.mark.parametrize("index", [pd.date_range("2024-01-01", periods=9, freq="D", name="when"), None])
def test_an_index_of_times_serves_as_timestamps(index):
    index = pd.period_range("2024-01-01", periods=9, freq="D", name="when") if index is None else index
    frame = pd.DataFrame({"target": np.arange(9.0)}, index=index)
    for timestamp in (None, "when"):
        series = series_from_frame(frame, timestamp=timestamp)
        assert series[0]["start"] == pd.Period("2024-01-01", freq="D")


def test_integer_ids_keep_their_numeric_order():
    frame = long_frame({"10": 4, "9": 4}).astype({"item_id": int})
    assert [entry["item_id"] for entry in series_from_frame(frame)] == ["9", "10"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_never_changes_the_entries(seed):
    frame = long_frame({"a": 12, "b": 7, "c": 9})
    shuffled = frame.sample(frac=1.0, random_state=np.random.default_rng(seed))
    assert_same_entries(series_from_frame(frame), series_from_frame(shuffled))


@settings(max_examples=40, deadline=None)
@given(dropped=st.sets(st.integers(1, 38)), freq=st.sampled_from(["h", "D", "B", "W-MON", "MS", "ME", "QE", "15min"]))
def test_dropped_rows_become_missing_and_nothing_else(dropped, freq):
    frame = long_frame({"a": 40}, freq=freq)
    series = series_from_frame(frame.drop(index=list(dropped)), freq=freq)
    target = series[0]["target"]
    assert set(np.flatnonzero(np.isnan(target))) == dropped
    kept = np.setdiff1d(np.arange(40), list(dropped))
    np.testing.assert_array_equal(target[kept], frame["target"].to_numpy()[kept])
    assert (len(series.notes) == 1) == bool(dropped)


@settings(max_examples=10, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=30))
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_table_survives_the_way_through_a_file(tmp_path_factory, suffix, values):
    frame = long_frame({"a": len(values)}).assign(target=values)
    path = tmp_path_factory.mktemp("table") / f"table{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_csv(path, index=False)
    assert_same_entries(series_from_frame(frame), series_from_frame(load_table(path)))


def test_ids_that_differ_in_spaces_alone_are_told():
    """A value with a slip in its id was a series of its own, without a word."""
    frame = long_frame({"a b": 9, " a b": 9, "c": 9, "c ": 9, "C": 9, "d": 9})
    (note,) = series_from_frame(frame).notes
    assert note.startswith("ids ' a b' and 'a b', and 1 more differ in spaces alone")
    assert not series_from_frame(long_frame({"a b": 9, "ab": 9})).notes


def test_each_repair_is_noted_with_the_name_of_its_series():
    frame = long_frame({"a": 20, "b": 20, "c": 20})
    frame.loc[3, "target"] = np.inf
    frame.loc[4, "target"] = -np.inf
    frame.loc[40:, "target"] = 7.0
    frame = frame.drop(index=[25, 26, 27])
    frame.iloc[[0, 1]] = frame.iloc[[1, 0]].to_numpy()
    series = series_from_frame(frame)
    assert series.notes == [
        "series 'a': unsorted timestamps were sorted",
        "series 'a': 2 infinities treated as missing",
        "series 'b': 3 gaps filled as missing",
        "series 'c' is constant (7); its forecasts will be too",
    ]
    assert np.isnan(series[0]["target"]).sum() == 2


def test_useless_series_are_skipped_with_a_reason_and_the_others_go_on():
    frame = long_frame({"a": 20, "short": 3, "void": 20})
    frame.loc[frame["item_id"] == "void", "target"] = np.nan
    series = series_from_frame(frame, min_length=10)
    assert [entry["item_id"] for entry in series] == ["a"]
    assert series.skipped == {"short": "3 values, fewer than the 10 needed", "void": "no observed value"}
    with pytest.raises(DataError, match=r"no usable series.*void: no observed value"):
        series_from_frame(frame[frame["item_id"] == "void"])


def test_the_callers_table_is_not_changed():
    frame = long_frame({"a": 10}).sample(frac=1.0, random_state=1)
    frame.iloc[0, 2] = np.inf
    before = frame.copy()
    series_from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "load"}, ["'load'", "'timestamp'", "'target'"]),
        ({"item_id": "region"}, ["'region'", "'item_id'"]),
        ({"timestamp": "when"}, ["'when'", "'timestamp'"]),
        ({"freq": "fortnight"}, ["'fortnight'", "15min"]),
    ],
)
def test_a_missing_column_or_frequency_is_named_with_what_there_is(options, words):
    with pytest.raises(DataError) as caught:
        series_from_frame(long_frame({"a": 5}), **options)
    assert all(word in str(caught.value) for word in words)


def test_no_timestamps_at_all():
    with pytest.raises(DataError, match=r"timestamp.*'target'"):
        series_from_frame(pd.DataFrame({"target": [1.0, 2.0]}))


def test_repeated_timestamps_are_named_with_a_remedy():
    frame = long_frame({"a": 5, "b": 5})
    frame.loc[7, "timestamp"] = frame.loc[6, "timestamp"]
    with pytest.raises(DataError, match=r"'b'.*2024-03-01 01:00:00 more than once; aggregate"):
        series_from_frame(frame)
    remedy = r"name the column that tells them apart \(item_id, of frames id_column, on the command line --id\)"
    with pytest.raises(DataError, match=remedy):
        series_from_frame(frame.rename(columns={"item_id": "region"}))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([3.0, 4200.0, -999.0, 80.0, -999.0, 0.0], "-999 2 times"),  # a flow with floods
        ([-3.0, 9.5, -99.9, 8.0], "-99.9 1 time"),
        ([3.0, 9999.0, 5.0], "9999 1 time"),
        ([-30.0, 95.0, -99.0, 8.0], None),  # a loss
        ([80.0, 99.0, 98.0], None),
        ([8.0, -1000.0, 9.0], None),
        ([np.nan, -99.0], None),
    ],
)
def test_values_that_seem_to_say_that_one_is_missing_are_told(values, code):
    made = series_from_gluonts([{"start": pd.Period("2024-01-01", "D"), "target": np.array(values), "item_id": "a"}])
    told = [] if code is None else [f"series 'a' holds {code}, far off all else; if that says that a value is missing"]
    assert [note[: len(told[0]) if told else None] for note in made.notes] == told


@pytest.mark.parametrize("hours", [24, 5])
def test_hours_in_a_column_of_their_own_are_told_how_they_join_their_dates(hours):
    """A table of an exchange: date, hour from 1 to 24, price."""
    dates = pd.Series(np.repeat(pd.date_range("2024-01-01", periods=9), hours))
    frame = pd.DataFrame({"date": dates, "hour": np.tile(np.arange(hours) + 1, 9), "price": 1.5})
    with pytest.raises(DataError, match="more than once") as told:
        series_from_frame(frame, target="price", timestamp="date")
    assert ("pd.to_datetime(date) + pd.to_timedelta(hour, unit='h')" in str(told.value)) is (hours == 24)


@pytest.mark.parametrize(
    ("freq", "stamps", "offending"),
    [
        ("h", ["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 02:17", "2024-01-01 03:00"], "02:17"),
        ("2h", ["2024-01-01 01:00", "2024-01-01 03:00", "2024-01-01 04:00"], "04:00"),
        ("D", ["2024-01-01", "2024-01-02", "2024-01-03 12:00"], "2024-01-03 12:00"),
        ("B", ["2024-01-05", "2024-01-06", "2024-01-08"], "2024-01-06"),
        ("W", ["2024-01-01", "2024-01-08", "2024-01-16"], "2024-01-16"),
        ("M", ["2024-01-01", "2024-02-01", "2024-02-20"], "2024-02-20"),
        ("Q", ["2024-01-01", "2024-04-01", "2024-06-01"], "2024-06-01"),
    ],
)
def test_timestamps_off_the_grid_are_named(freq, stamps, offending):
    frame = pd.DataFrame({"item_id": "plant 7", "timestamp": stamps, "target": 1.0})
    with pytest.raises(DataError, match=rf"'plant 7'.*{offending}.*resample"):
        series_from_frame(frame, freq=freq)


def test_a_stray_year_is_refused_before_it_fills_the_memory():
    frame = long_frame({"a": 50}).astype({"timestamp": "datetime64[ns]"})
    frame.loc[49, "timestamp"] = pd.Timestamp("2204-03-01")
    with pytest.raises(DataError, match=r"'a' has 50 rows.*2204.*check its first and last"):
        series_from_frame(frame, freq="h")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["1", "2", "three"], "row 2 holds 'three'"),
        ([1 + 2j, 1.0, 2.0], "complex"),
        (list(pd.date_range("2024", periods=3)), "not numeric"),
        ([pd.Timestamp("2024-01-01"), 1.0, "2"], "row 0 holds"),
        ([1e300, 1.0, 2.0], "too large"),
    ],
)
def test_values_that_are_no_numbers_are_refused(values, words):
    frame = long_frame({"a": 3}).drop(columns="target").assign(target=values)
    with pytest.raises(DataError, match=words):
        series_from_frame(frame)


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float32", "boolean", "bool[pyarrow]", "str", "object"])
def test_every_kind_of_number_is_read(dtype):
    frame = long_frame({"a": 4})
    values = pd.Series([0, 1, 0, 1]).astype(dtype)
    np.testing.assert_array_equal(series_from_frame(frame.assign(target=values))[0]["target"], [0, 1, 0, 1])


def test_missing_ids_and_missing_times_are_refused():
    frame = long_frame({"a": 5})
    with pytest.raises(DataError, match=r"missing item ids, the first in row 2"):
        series_from_frame(frame.assign(item_id=["a", "a", None, "a", "a"]))
    frame.loc[3, "timestamp"] = pd.NaT
    with pytest.raises(DataError, match=r"1 missing timestamps, the first in row 3"):
        series_from_frame(frame)


def test_an_empty_table_and_a_bad_minimum_are_refused():
    with pytest.raises(DataError, match="no rows"):
        series_from_frame(long_frame({"a": 3}).iloc[:0])
    with pytest.raises(ConfigError, match="min_length=0: need"):
        series_from_frame(long_frame({"a": 3}), min_length=0)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.csv", None, "no such file"),
        ("table.xlsx", b"x", r"unknown kind.*\.csv, \.csv\.gz, \.tsv, .*\.parquet"),
        ("empty.csv", b"", "empty"),
        ("header.csv", b"timestamp,target\n", "no rows"),
        ("torn.parquet", b"PAR1garbage", "cannot be read"),
        ("torn.csv.gz", b"\x1f\x8bgarbage", "cannot be read"),
        ("binary.csv", b"\x81\x8d\n\x80", "cannot be read"),
        ("marked.csv", b"\xff\xfe\x00\x81\n\x80", "no rows"),
    ],
)
def test_files_that_are_no_tables_are_refused_by_name(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        load_table(path)
    assert name in str(caught.value)


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.float64])
def test_masked_values_of_an_entry_are_missing(kind):
    target = np.ma.masked_array(np.arange(4, dtype=kind), mask=[False, True, False, False])
    series = load_dataset([{"start": pd.Period("2024", "D"), "target": target}])
    np.testing.assert_array_equal(series[0]["target"], [0, np.nan, 2, 3])


def test_inference_gives_up_rather_than_guess():
    assert infer_freq(pd.DatetimeIndex(["2024-01-01", "2024-01-02"])) is None
    with pytest.raises(DataError, match=r"cannot be inferred.*give freq"):
        series_from_frame(long_frame({"a": 2}))
