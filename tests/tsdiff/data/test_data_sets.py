"""Series from GluonTS data sets, folders and the package; frequencies; rolling windows."""

from __future__ import annotations

import gzip
import json
import os
import runpy
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import assert_same_entries
from tsdiff.data import (
    EMBEDDED,
    SeriesSet,
    candidate_seasons,
    embedded_series,
    infer_freq,
    load_folder,
    normalise_freq,
    series_from_frame,
    series_from_gluonts,
    split,
    split_windows,
)
from tsdiff.data.frequency import quiet, shifted, unit_freq
from tsdiff.windows.calendar import calendar_features, calendar_width
from tsdiff.windows.config import Calendar

ROOT = Path(__file__).resolve().parents[3]
SERIES = ROOT / os.environ.get("SHARED_DATA", "../shared/data") / "series"
needs_shared = pytest.mark.skipif(not SERIES.is_dir(), reason=f"no shared data at {SERIES}; set SHARED_DATA")


def counting(lengths: dict[str, int]) -> SeriesSet:
    """Hourly series that count upwards from 0."""
    start = pd.Period("2024-03-01 00:00", freq="h")
    return series_from_gluonts([{"item_id": k, "start": start, "target": np.arange(n)} for k, n in lengths.items()])


# --- frequencies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_freq", "wanted"),
    [
        ("H", "h"), ("h", "h"), ("2H", "2h"), ("T", "min"), ("15T", "15min"), ("min", "min"), ("S", "s"), ("D", "D"),
        ("B", "B"), ("W", "W-SUN"), ("W-TUE", "W-TUE"), ("M", "M"), ("ME", "M"), ("MS", "M"), ("BM", "M"),
        ("2ME", "2M"), ("Q", "Q-DEC"), ("QE", "Q-DEC"), ("QS", "Q-DEC"), ("QS-OCT", "Q-DEC"), ("QE-JAN", "Q-JAN"),
        ("A", "Y-DEC"), ("Y", "Y-DEC"), ("YE", "Y-DEC"), ("AS", "Y-DEC"), ("YS-APR", "Y-MAR"), ("A-JUN", "Y-JUN"),
        ("1.5h", "90min"), ("C", "B"), ("BMS", "M"), ("CBME", "M"), ("CBMS", "M"), ("WOM-2TUE", "M"),
        ("BQS-FEB", "Q-OCT"), ("3QE-FEB", "3Q-FEB"), ("BYE-JUN", "Y-JUN"), ("L", "ms"), ("U", "us"), ("N", "ns"),
        ("250ms", "250ms"), ("60min", "h"), ("3600s", "h"), ("120min", "2h"), ("1440min", "24h"), ("24h", "24h"),
        ("90s", "90s"), ("60000ms", "min"),
        (pd.offsets.LastWeekOfMonth(weekday=4), "M"), (pd.offsets.QuarterBegin(startingMonth=1), "Q-DEC"),
    ],
)  # fmt: skip
def test_every_spelling_becomes_one_that_period_takes(given_freq, wanted):
    assert normalise_freq(given_freq) == wanted
    assert normalise_freq(wanted) == wanted
    with quiet():
        assert pd.Period("2024-01-01", freq=wanted).freqstr == wanted


@pytest.mark.parametrize(
    "bad", ["hourly", "", "0h", "-1h", "bh", "cbh", "SM", "SMS", "xyz", None, "9" * 9 + "h", "9" * 20 + "h"]
)
def test_unknown_frequency_is_named_with_examples(bad):
    with pytest.raises(DataError, match="15min") as caught:
        normalise_freq(bad)
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize(
    ("freq", "seasons"),
    [
        ("H", (24, 168, 1)), ("D", (7, 365, 1)), ("W", (52, 1)), ("M", (12, 1)), ("Q", (4, 1)), ("B", (5, 260, 1)),
        ("15min", (96, 672, 1)), ("2h", (12, 84, 1)), ("Y", (1,)), ("7h", (24, 1)), ("ms", (1,)),
        ("7D", (52, 1)), ("14D", (26, 1)), ("2W", (26, 1)), ("2B", (130, 1)), ("6MS", (2, 1)), ("2QE", (2, 1)),
    ],
)  # fmt: skip
def test_candidate_seasons(freq, seasons):
    assert candidate_seasons(freq) == seasons


@pytest.mark.parametrize(
    "freq", ["h", "15min", "D", "B", "W-WED", "MS", "ME", "QS", "QE-JAN", "YE", "s", "2h", "90min"]
)
def test_inference_finds_the_frequency_through_gaps(freq):
    stamps = pd.date_range("2023-01-01", periods=60, freq=freq)
    wanted = normalise_freq(freq)
    whole, holed = infer_freq(stamps), infer_freq(stamps.delete([10, 11, 29, 40]))
    # Quarters of QS and QS-APR are the same ones, so only the grid must agree, not the name of its anchor.
    for found in (whole, holed):
        assert found is not None
        assert found == wanted or (stamps.to_period(found) == stamps.to_period(found)[0] + np.arange(60)).all()


@pytest.mark.parametrize("months", [1, 3, 12])
@pytest.mark.parametrize("day", [15, 30])
def test_months_dated_by_one_day_are_found_through_gaps(months, day):
    starts = pd.date_range("2005-02-01", periods=40, freq=f"{months}MS")
    stamps = starts + pd.to_timedelta(np.minimum(day, starts.days_in_month) - 1, unit="D") + pd.Timedelta("9h")
    for some in (stamps, stamps.delete([10, 11, 29])):
        found = infer_freq(some)
        assert found is not None
        assert (stamps.to_period(found) == stamps.to_period(found)[0] + np.arange(40)).all()


def test_months_by_other_days_are_not_guessed():
    assert infer_freq(pd.DatetimeIndex(["2020-01-15", "2020-02-14", "2020-03-18", "2020-04-15"])) is None


EVERY_ALIAS = (
    "s", "90s", "min", "15min", "h", "2h", "36h", "D", "7D", "30D", "B", "2B", "C", "W", "W-MON", "2W-WED", "ms",
    "250ms", "us", "500us", "ns", "100ns", "ME", "MS", "BME", "BMS", "CBME", "CBMS", "WOM-1MON", "3MS", "6ME", "QE",
    "QS", "QE-JAN", "QS-FEB", "BQE", "BQS-NOV", "2QS", "3QE-FEB", "YE", "YS", "YE-JUN", "YS-APR", "BYE", "BYS", "2YS",
    "5YE",
)  # fmt: skip


@pytest.mark.parametrize("freq", EVERY_ALIAS)
def test_every_offset_of_pandas_makes_series_with_a_calendar(freq):
    stamps = pd.date_range("2021-03-31", periods=40, freq=freq)
    frame = pd.DataFrame({"timestamp": stamps, "target": np.arange(40.0)})
    gaps = [3, 4, 17, 30]
    for options in ({"freq": freq}, {}):
        whole = series_from_frame(frame, **options)
        holed = series_from_frame(frame.drop(index=gaps), **options)
        np.testing.assert_array_equal(whole[0]["target"], np.arange(40))
        assert np.flatnonzero(np.isnan(holed[0]["target"])).tolist() == gaps
        start = whole[0]["start"]
        assert start.freqstr == whole.freq == normalise_freq(whole.freq)
        with quiet():
            periods = pd.period_range(start, periods=45, freq=whole.freq)
            assert [shifted(start, steps) for steps in (0, 7, 44)] == [periods[steps] for steps in (0, 7, 44)]
            unit = unit_freq(whole.freq)
            assert (stamps.to_period(unit).asi8 == periods[:40].asfreq(unit, how="start").asi8).all()
        for kind in get_args(Calendar):
            features = calendar_features(start, 45, kind)
            assert features.shape == (45, calendar_width(whole.freq, kind))
            assert np.isfinite(features).all()
            np.testing.assert_array_equal(calendar_features(shifted(start, 5), 40, kind, age=5), features[5:])


# --- GluonTS -----------------------------------------------------------------------------------------------


def test_a_gluonts_dataset_is_checked_iterated_and_left_alone():
    raw = [
        {"item_id": "a", "start": pd.Period("2024-01", "M"), "target": [1.0, np.inf, 3.0], "feat_static_cat": [4]},
        {"start": "2024-02", "target": np.arange(4), "feat_static_cat": np.array([2])},
        {"item_id": "void", "start": pd.Period("2024-01", "M"), "target": np.full(5, np.nan)},
    ]

    class OnlyIterable:
        def __iter__(self):
            return iter(raw)

    series = series_from_gluonts(OnlyIterable(), "ME")
    assert [entry["item_id"] for entry in series] == ["a", "1"]
    assert series[0]["feat_static_cat"] == [4]
    assert np.isnan(series[0]["target"][1])
    assert raw[0]["target"][1] == np.inf
    assert series[1]["start"] == pd.Period("2024-02", "M")
    assert series.skipped == {"void": "no observed value"}
    assert series_from_gluonts(series).freq == "M"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"start": pd.Period("2024", "h")}, "no 'target'; its fields are start"),
        ({"start": pd.Period("2024", "h"), "target": ["x"]}, "not numeric"),
        ({"start": pd.Period("2024", "h"), "target": np.ones((2, 3, 1))}, r"shape \(2, 3, 1\)"),
        ({"start": pd.Period("2024", "D"), "target": [1.0]}, "frequency 'D', not 'h'"),
        ({"start": "soon", "target": [1.0]}, "'soon' is not a date"),
        ({"target": [1.0]}, "no 'start'"),
    ],
)
def test_bad_gluonts_entries_are_refused(entry, words):
    with pytest.raises(DataError, match=words):
        series_from_gluonts([entry], "h")


def test_a_start_without_frequency_needs_one():
    with pytest.raises(DataError, match="give freq"):
        series_from_gluonts([{"start": "2024-01-01", "target": [1.0]}])
    with pytest.raises(DataError, match="no series at all"):
        series_from_gluonts([], "h")


def write_folder(folder: Path, lines: list[dict], freq: str = "H") -> Path:
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / part / "data.json.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "metadata.json").write_text(json.dumps({"freq": freq, "prediction_length": 2}))
    return folder


def test_a_folder_with_long_lines_is_read_right(tmp_path):
    # Lines beyond 64 KiB are where random access in GluonTS 0.17 returns wrong records.
    lines = [
        {"item_id": f"s{i}", "start": "2024-01-01", "target": np.linspace(i, i + 1, 5000).tolist()} for i in range(6)
    ]
    folder = load_folder(write_folder(tmp_path / "set", lines))
    assert (folder.freq, folder.prediction_length) == ("h", 2)
    assert folder.test is not None
    for part in (folder.train, folder.test):
        for line, entry in zip(lines, part, strict=True):
            assert entry["item_id"] == line["item_id"]
            np.testing.assert_array_equal(entry["target"], line["target"])


def test_broken_folders_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no metadata\.json"):
        load_folder(tmp_path / "nowhere")
    folder = write_folder(tmp_path / "set", [{"start": "2024-01-01", "target": [1.0, 2.0]}])
    whole = (folder / "train" / "data.json.gz").read_bytes()
    (folder / "train" / "data.json.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="train: cannot be read"):
        load_folder(folder)
    (folder / "train" / "data.json.gz").unlink()
    with pytest.raises(DataError, match=r"train: it holds no data\.json"):
        load_folder(folder)
    (folder / "metadata.json").write_text("{")
    with pytest.raises(DataError, match=r"metadata\.json is not valid JSON"):
        load_folder(folder)


# --- windows -----------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(horizon=st.integers(1, 6), windows=st.integers(1, 4), extra=st.integers(1, 9))
def test_windows_tile_the_end_and_the_training_part_stops_before(horizon, windows, extra):
    length = horizon * windows + extra
    series = counting({"a": length, "b": length + 3})
    parts = split_windows(series, horizon, windows)
    assert len(parts.test) == len(list(parts.test)) == 2 * windows
    for entry, cut in zip(series, parts.train, strict=True):
        np.testing.assert_array_equal(cut["target"], entry["target"][: len(entry["target"]) - horizon * windows])
    for item, whole in zip("ab", series, strict=True):
        pairs = [pair for pair in parts.test if pair[0]["item_id"] == item]
        labels = np.concatenate([label["target"] for _, label in pairs])
        np.testing.assert_array_equal(labels, whole["target"][-horizon * windows :])
        for past, label in pairs:
            assert label["start"] == past["start"] + len(past["target"])
            assert label["target"].shape == (horizon,)


def test_short_series_are_left_out_of_a_split_with_a_reason():
    series = counting({"a": 30, "b": 6})
    parts = split_windows(series, 3, 2)
    assert [entry["item_id"] for entry in parts.train] == ["a"]
    assert "need at least 7" in parts.skipped["b"]
    with pytest.raises(DataError, match=r"no usable series \(a: 30 values.*\); fewer windows, or .* need less"):
        split_windows(series, 30, 1)
    with pytest.raises(ConfigError, match="windows=0: need"):
        split_windows(series, 3, 0)


def covered(length: int, channels: int, rows: int, name: str) -> dict:
    """A series whose values and features tell their own position."""
    steps = np.arange(length, dtype=np.float32)
    target = np.stack([steps + 1000 * c for c in range(channels)]) if channels else steps
    entry = {"item_id": name, "start": pd.Period("2024-03-01 00:00", freq="h"), "target": target}
    if rows:
        entry["feat_dynamic_real"] = np.stack([np.arange(length + 5, dtype=np.float32)] * rows)
    return entry


@settings(max_examples=60, deadline=None)
@given(
    horizon=st.integers(1, 5),
    tests=st.integers(1, 4),
    validations=st.integers(0, 3),
    stride=st.one_of(st.none(), st.integers(1, 7)),
    extra=st.integers(1, 9),
    channels=st.integers(0, 2),
    rows=st.integers(0, 2),
)
def test_train_validation_and_test_follow_each_other(horizon, tests, validations, stride, extra, channels, rows):
    step = stride or horizon
    for_test = horizon + (tests - 1) * step
    for_validation = horizon + (validations - 1) * step if validations else 0
    length = for_test + for_validation + extra
    entries = [covered(length, channels, rows, "a"), covered(length + 4, channels, rows, "b")]
    parts = split(series_from_gluonts(entries), horizon, tests, validations, stride)
    assert len(parts.test) == len(list(parts.test)) == 2 * tests
    assert (parts.validation is None) == (validations == 0)
    for place, entry in enumerate(entries):
        end = entry["target"].shape[-1]
        wanted = {
            "test": [end - for_test + i * step for i in range(tests)],
            "validation": [end - for_test - for_validation + i * step for i in range(validations)],
        }
        for name, firsts in wanted.items():
            pairs = list(getattr(parts, name) or [])[place * len(firsts) : (place + 1) * len(firsts)]
            for first, (past, label) in zip(firsts, pairs, strict=True):
                np.testing.assert_array_equal(past["target"], entry["target"][..., :first])
                np.testing.assert_array_equal(label["target"], entry["target"][..., first : first + horizon])
                assert label["start"] == entry["start"] + first
                if rows:  # known up to the end of the horizon, and no further
                    known = entry["feat_dynamic_real"][:, : first + horizon]
                    np.testing.assert_array_equal(past["feat_dynamic_real"], known)
        for part, stop in ((parts.train, end - for_test - for_validation), (parts.before_test, end - for_test)):
            np.testing.assert_array_equal(part[place]["target"], entry["target"][..., :stop])
            if rows:
                np.testing.assert_array_equal(part[place]["feat_dynamic_real"], entry["feat_dynamic_real"][:, :stop])


def test_a_split_names_what_does_not_fit():
    series = counting({"a": 30, "b": 9})
    parts = split(series, 3, 2, 1)
    assert parts.skipped == {"b": "9 values, but 2 × 3 for testing and 1 × 3 for validation need at least 10"}
    assert [entry["item_id"] for entry in parts.before_test] == ["a"]
    for settings_, words in (
        ({"validation_windows": -1}, "validation_windows=-1: need"),
        ({"stride": 0}, "stride=0: need"),
        ({"test_windows": 0}, "windows=0: need"),
    ):
        with pytest.raises(ConfigError, match=words):
            split(series, 3, **settings_)


# --- embedded ----------------------------------------------------------------------------------------------


def test_the_embedded_data_are_small_and_whole():
    series = embedded_series()
    assert (len(series), series.freq) == (10, "h")
    assert {len(entry["target"]) for entry in series} == {17_568}
    assert not any(np.isnan(entry["target"]).any() for entry in series)
    assert (EMBEDDED["pjm_hourly"].prediction_length, EMBEDDED["pjm_hourly"].windows) == (24, 7)
    for name in EMBEDDED:
        assert (ROOT / "tsdiff" / "embedded" / f"{name}.parquet").stat().st_size < 500_000
        assert (ROOT / "tsdiff" / "embedded" / f"{name}.md").is_file()
    with pytest.raises(ConfigError, match=r"'mars'; there is pjm_hourly"):
        embedded_series("mars")


@needs_shared
def test_the_embedded_data_equal_their_source_exactly():
    folder = load_folder(SERIES / "pjm_hourly")
    series = embedded_series()
    assert folder.test is not None
    assert_same_entries(series, folder.test[-10:])
    parts = split_windows(series, 24, 7)
    assert_same_entries(parts.train, folder.train)


@needs_shared
def test_the_recipe_makes_the_embedded_file_again(tmp_path, capsys):
    main = runpy.run_path(str(ROOT / "recipes" / "make_embedded.py"))["main"]
    main(SERIES / "pjm_hourly", tmp_path)
    assert "pjm_hourly.parquet" in capsys.readouterr().out
    made = pd.read_parquet(tmp_path / "pjm_hourly.parquet")
    pd.testing.assert_frame_equal(made, pd.read_parquet(ROOT / "tsdiff" / "embedded" / "pjm_hourly.parquet"))
    with pytest.raises(DataError, match=r"metadata\.json"):
        main(tmp_path, tmp_path)


@needs_shared
@pytest.mark.parametrize("name", ["exchange_rate_nips", "fred_md", "tourism_quarterly", "electricity_weekly"])
def test_real_folders_of_other_frequencies_load(name):
    folder = load_folder(SERIES / name)
    assert folder.test is not None
    assert folder.prediction_length is not None
    assert len(split_windows(folder.test, folder.prediction_length).test) == len(folder.test)
