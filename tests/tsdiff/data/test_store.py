"""Series in memory and in a file: the same behind the same interface, and gone afterwards."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from shared.files import io
from shared.files.io import UNFINISHED
from tests.conftest import ROOT
from tests.stops import stopped_everywhere
from tsdiff.data import SeriesStore, series_from_gluonts, split, spool
from tsdiff.data.covariates import Layout
from tsdiff.data.spool import InMemory, Spooled


@st.composite
def datasets(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A few entries of one layout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    channels, rows = draw(st.integers(0, 3)), draw(st.integers(0, 2))
    categories, reals = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    freq = draw(st.sampled_from(["h", "B", "15min", "M"]))
    entries = []
    for place in range(draw(st.integers(1, 5))):
        length = draw(st.integers(1, 12))
        target = rng.normal(size=(channels, length) if channels else length)
        target[rng.random(target.shape) < 0.2] = np.nan
        target[..., 0] = 1.0
        entry: dict[str, Any] = {"item_id": f"s{place}", "start": pd.Period("2024-01-02", freq=freq) + place}
        entry["target"] = target
        if rows:
            entry["feat_dynamic_real"] = rng.normal(size=(rows, length + draw(st.integers(0, 3)))).astype(np.float32)
        if categories:
            entry["feat_static_cat"] = rng.integers(0, 4, categories)
        if reals:
            entry["feat_static_real"] = rng.normal(size=reals).astype(np.float32)
        entries.append(entry)
    return entries


def assert_equal(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    assert (left["item_id"], left["start"]) == (right["item_id"], right["start"])
    for name in left.keys() - {"item_id", "start"}:
        np.testing.assert_array_equal(left[name], right[name])
        assert left[name].dtype == right[name].dtype


@pytest.mark.filterwarnings("ignore::FutureWarning")
@given(datasets(), st.sampled_from([None, 0, 20]))
@settings(max_examples=80, deadline=None)
def test_entries_come_back_as_they_went_in(entries, spool_above):
    checked = series_from_gluonts(entries)
    with SeriesStore.of(checked, spool_above=spool_above) as store:
        assert store.spooled == (spool_above is not None and store.nbytes > spool_above)
        assert len(store) == len(checked)
        assert store.layout == checked.layout == Layout.of(store[0])
        assert store.lengths.tolist() == [entry["target"].shape[-1] for entry in checked]
        for place, (entry, stored) in enumerate(zip(checked, store, strict=True)):
            assert_equal(stored, entry)
            assert_equal(store[place - len(store)], entry)
            np.testing.assert_array_equal(store.target(place), np.atleast_2d(entry["target"]))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@given(datasets(), st.integers(-15, 15), st.integers(0, 20), st.sampled_from([None, 0]))
@settings(max_examples=80, deadline=None)
def test_a_window_is_the_series_with_nan_around_it(entries, first, length, spool_above):
    with SeriesStore.of(entries, spool_above=spool_above) as store:
        for place in range(len(store)):
            for window, whole in (
                (store.window(place, first, length), store.target(place)),
                (store.dynamic_window(place, first, length), store.dynamic(place)),
            ):
                assert window.shape == (len(whole), length)
                padded = np.pad(whole, ((0, 0), (40, 40)), constant_values=np.nan)
                np.testing.assert_array_equal(window, padded[:, 40 + first : 40 + first + length])
                window += 1  # the caller's own


def hourly(count: int = 3, length: int = 50, **fields: Any) -> list[dict[str, Any]]:
    start = pd.Period("2024-01-01", freq="h")
    values = np.arange(count * length, dtype=np.float64).reshape(count, length)
    return [{"item_id": f"s{i}", "start": start, "target": row, **fields} for i, row in enumerate(values)]


def test_a_stop_at_any_moment_of_its_beginning_leaves_no_file(tmp_path: Path):
    stops = 0
    for stop in stopped_everywhere(lambda: Spooled.of(InMemory(), tmp_path), io, spool):
        assert list(tmp_path.iterdir()) == [], stop
        stops += 1
    assert stops > 100


def test_the_file_lies_where_asked_and_is_removed(tmp_path: Path):
    store = SeriesStore.of(hourly(), spool_above=0, folder=tmp_path / "state")
    assert [file.stat().st_size for file in (tmp_path / "state").iterdir()] == [3 * 50 * 8]
    store.close()
    assert list((tmp_path / "state").iterdir()) == []
    with pytest.raises(DataError, match="is gone"):
        store.target(0)
    store = SeriesStore.of(hourly(), spool_above=0, folder=tmp_path / "state")
    del store
    gc.collect()
    assert list((tmp_path / "state").iterdir()) == []


def test_an_error_on_the_way_leaves_no_file(tmp_path: Path):
    def broken():
        yield from hourly()
        raise DataError("the source failed")

    with pytest.raises(DataError, match="the source failed"):
        SeriesStore.of(broken(), spool_above=0, folder=tmp_path)
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def _sum_of_first(store: SeriesStore) -> float:
    return float(store.target(0).sum())


def test_other_processes_read_the_file_and_leave_it(tmp_path: Path):
    store = SeriesStore.of(hourly(), spool_above=0, folder=tmp_path)
    _sum_of_first(store)  # opens the file before the fork
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_sum_of_first, [store] * 4) == [np.arange(50).sum()] * 4
    assert _sum_of_first(store) == np.arange(50).sum()
    copy = pickle.loads(pickle.dumps(store))  # how a process that was started afresh gets it
    assert_equal(copy[2], store[2])
    del copy
    gc.collect()
    assert len(list(tmp_path.iterdir())) == 1
    store.close()


def test_memory_holds_views_of_the_callers_arrays_that_cannot_be_written():
    entries = hourly()
    store = SeriesStore.of(entries)
    assert not store.spooled
    assert np.shares_memory(store.target(1), entries[1]["target"])
    with pytest.raises(ValueError, match="read-only"):
        store.target(1)[0, 0] = 5
    assert SeriesStore.of(store) is store


def test_a_spooled_store_splits_and_trains_like_a_list(tmp_path: Path):
    entries = hourly(length=60, feat_static_cat=np.array([1]))
    with SeriesStore.of(entries, spool_above=0, folder=tmp_path) as store:
        ours, theirs = split(store, 6, 2, 1), split(entries, 6, 2, 1)
        for one, other in zip([*ours.train, *ours.test.input], [*theirs.train, *theirs.test.input], strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": pd.Period("2024-01-01", freq="D")}, "'odd' has frequency 'D', not 'h'"),
        ({"target": np.zeros((2, 5), np.float32)}, "'odd' has 2 target dimensions, the series before it 0"),
        ({"feat_static_cat": np.array([1])}, "'odd' has 1 values in feat_static_cat"),
        ({"feat_dynamic_real": np.zeros((1, 50), np.float32)}, "'odd' has 1 rows of feat_dynamic_real"),
    ],
)
def test_a_series_unlike_the_others_is_named(change, message):
    with pytest.raises(DataError, match=message):
        SeriesStore.of([*hourly(), {**hourly()[0], "item_id": "odd", **change}])


def test_what_a_killed_process_spooled_is_removed_and_what_a_living_one_did_stays(tmp_path: Path):
    (tmp_path / f"{UNFINISHED}killed.f32").write_bytes(bytes(4000))
    first = SeriesStore.of(hourly(), spool_above=0, folder=tmp_path)
    (one,) = os.listdir(tmp_path)
    assert one.startswith(UNFINISHED)
    assert one != f"{UNFINISHED}killed.f32"
    other = "import sys; from shared.files.io import remove_unfinished; remove_unfinished(sys.argv[1])"
    subprocess.run([sys.executable, "-c", other, tmp_path], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert os.listdir(tmp_path) == [one]
    first.close()
    assert os.listdir(tmp_path) == []


def test_no_series_and_no_room_are_said(tmp_path: Path):
    with pytest.raises(DataError, match="no series"):
        SeriesStore.of([])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another folder"):
        SeriesStore.of(hourly(), spool_above=0, folder=tmp_path / "file" / "below")
    if Path("/dev/full").exists():  # a disk that is always full
        full = Spooled(tmp_path)
        full._writer = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
            full.append([np.zeros((1, 10), np.float32)])
