"""Folders and named sets by the one call for every source: streams, the sets of the papers, what is kept."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import ConfigError, DataError
from tests.tsdiff.data.test_data_sets import needs_shared, write_folder
from tests.tsdiff.data.test_load import assert_same
from tsdiff.data import SeriesStore, load_dataset, load_folder, stream_folder
from tsdiff.data.benchmarks import PAPER_SETS, load_paper_set, paper_set
from tsdiff.data.frequency import quiet
from tsdiff.data.load import load_named


def lines(count: int = 4) -> list[dict[str, Any]]:
    return [{"item_id": f"s{i}", "start": "2024-01-01", "target": list(range(i, i + 9))} for i in range(count)]


def test_a_folder_streams_the_series_it_loads(tmp_path: Path):
    folder = write_folder(tmp_path / "set", [*lines(), {"item_id": "void", "start": "2024-01-01", "target": []}])
    loaded, stream = load_folder(folder), stream_folder(folder)
    assert (stream.freq, stream.prediction_length) == (loaded.freq, loaded.prediction_length) == ("h", 2)
    assert len(stream.train) == 4
    for _ in range(2):
        assert_same(list(stream.train), loaded.train)
        assert stream.train.skipped == loaded.train.skipped == {"void": "0 values, fewer than the 1 needed"}
    with SeriesStore.of(stream.train, spool_above=0) as store:
        assert_same(store, loaded.train)
    assert_same(load_dataset(folder), loaded.train)
    assert loaded.test is not None
    assert_same(load_dataset(folder, part="test"), loaded.test)
    with pytest.raises(ConfigError, match="has frequency 'h', not 'D'"):
        load_dataset(folder, freq="D")


def test_a_folder_may_hold_multivariate_series_with_features(tmp_path: Path):
    target = [[1.0, None, 3.0], [4.0, "NaN", 6.0]]
    line = {"item_id": "m", "start": "2024-01-01", "target": target, "feat_dynamic_real": [[1, 2, 3, 4]]}
    entry = load_folder(write_folder(tmp_path / "set", [{**line, "feat_static_cat": [1]}])).train[0]
    np.testing.assert_array_equal(entry["target"], np.array([[1, np.nan, 3], [4, np.nan, 6]], dtype=np.float32))
    np.testing.assert_array_equal(entry["feat_dynamic_real"], [[1, 2, 3, 4]])
    assert entry["feat_static_cat"].tolist() == [1]


def test_a_stream_names_the_series_that_is_wrong_when_it_comes_to_it(tmp_path: Path):
    folder = write_folder(tmp_path / "set", [*lines(2), {"item_id": "bad", "start": "2024-01-01", "target": [[[1]]]}])
    seen = []
    with pytest.raises(DataError, match=r"train: series 'bad': its target has shape \(1, 1, 1\)"):
        seen.extend(entry["item_id"] for entry in stream_folder(folder).train)
    assert seen == ["s0", "s1"]


def test_named_sets_come_from_the_folder_given(tmp_path: Path):
    folder = write_folder(tmp_path / "m4_hourly", lines())
    assert_same(load_dataset("m4_hourly", folder=tmp_path), load_folder(folder).train)
    with pytest.raises(DataError, match="'m4_secondly' is no file, no folder and no set that GluonTS knows"):
        load_dataset("m4_secondly", folder=tmp_path)
    with pytest.raises(DataError, match=r"nowhere' is no folder; give that which holds constant/"):
        load_dataset("constant", folder=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file"):
        load_dataset("nowhere.csv")


def test_without_a_network_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(
        DataError, match=r"solar_nips cannot be downloaded .*give that as the data, .* holds solar_nips/ as --folder"
    ):
        load_dataset("solar_nips")
    assert list((tmp_path / ".gluonts" / "datasets").iterdir()) == []  # nothing half-made is left


def test_a_named_set_is_kept_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    first = load_named("constant")  # the one set that GluonTS makes up, so that no network is needed
    kept = tmp_path / ".gluonts" / "datasets" / "constant"
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    assert_same(load_dataset("constant"), first.train)
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before


def test_the_papers_sets_are_those_of_its_table():
    assert len(PAPER_SETS) == 8
    for name, found in PAPER_SETS.items():
        assert found.name == name
        assert (found.freq == "h") == (found.prediction_length in (24, 48))
        assert found.context_length + found.prediction_length in (360, 390)
    with pytest.raises(ConfigError, match="no set 'm5'; there are solar_nips"):
        paper_set("m5")


def test_another_version_of_a_set_is_refused(tmp_path: Path):
    write_folder(tmp_path / "m4_hourly", lines())
    with pytest.raises(DataError, match="forecasts 2 steps of 'h', the paper's set 48 of 'h'"):
        load_paper_set("m4_hourly", tmp_path)


@needs_shared
@pytest.mark.parametrize(("name", "windows"), [("m4_hourly", 414), ("exchange_rate_nips", 40)])
def test_the_papers_sets_load_from_a_folder(shared_data: Path, name: str, windows: int):
    data = load_paper_set(name, shared_data / "series")
    found = paper_set(name)
    assert len(data.test) == windows == len(data.train) * found.windows
    with quiet():
        past, label = next(iter(data.test))
    assert label["target"].shape == (found.prediction_length,)
    np.testing.assert_array_equal(past["target"], data.train[0]["target"][: len(past["target"])])
