"""Files of synthetic data sets: read back as they were written, whole or not at all."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.common import load_datasets

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import sines
from tests.tsdiff.tasks.test_synthesis import NAN, entry
from tsdiff.data import load_folder, load_table, series_from_frame
from tsdiff.data.frequency import quiet
from tsdiff.tasks.synthesis import (
    save_series,
    series_frame,
)


@pytest.mark.parametrize(
    "freq", ["15min", "B", "Q-DEC", *(pytest.param(freq, marks=pytest.mark.slow) for freq in ("h", "D", "W-SUN", "M"))]
)
def test_files_read_back_as_they_were_written(tmp_path, monkeypatch, freq):
    monkeypatch.setattr("tsdiff.tasks.synthesis.save._CHUNK", 16)
    rng = np.random.default_rng(0)
    with quiet():
        made = [
            entry(rng.normal(size=20) * 10.0 ** rng.integers(-6, 7), f"synthetic_{k:03d}", freq=freq)
            | {"start": pd.Period("2024-01-01", freq=freq) + k, "source": f"s{k % 3}"}
            for k in range(40)
        ]
    stamp = "end" if freq in ("W-SUN", "M", "Q-DEC") else "start"
    count = save_series(
        iter(made),
        parquet_path=tmp_path / "s.parquet",
        csv_path=tmp_path / "s.csv",
        gluonts_folder=tmp_path / "s",
        prediction_length=4,
        stamp=stamp,
    )
    assert count == 40
    folder = load_folder(tmp_path / "s")
    assert (folder.freq, folder.prediction_length, folder.test) == (made[0]["start"].freqstr, 4, None)
    plain = load_datasets(tmp_path / "s", tmp_path / "s" / "train", tmp_path / "s" / "train")
    tables = [series_from_frame(load_table(tmp_path / name), freq=freq) for name in ("s.parquet", "s.csv")]
    for read in (folder.train, list(plain.train), *tables):
        assert len(read) == 40
        for was, now in zip(made, read, strict=True):
            assert (now["item_id"], now["start"]) == (was["item_id"], was["start"])
            # GluonTS's own reader takes single precision.
            np.testing.assert_array_equal(now["target"], was["target"].astype(now["target"].dtype))
    assert {now["target"].dtype for read in (folder.train, *tables) for now in read} == {np.dtype(np.float64)}
    assert [e["source"] for e in folder.train] == [m["source"] for m in made]


def test_multivariate_series_and_missing_values_survive(tmp_path):
    target = np.array([[1.0, NAN, 3.0], [4.0, 5.0, 6.0]], dtype=np.float32)
    wide = {"item_id": "m", "start": pd.Period("2024-01-01", freq="D"), "target": target}
    save_series([wide], gluonts_folder=tmp_path / "s", csv_path=tmp_path / "s.csv.gz")
    with gzip.open(tmp_path / "s" / "train" / "data.json.gz") as stream:
        assert b'"Nan"' in stream.read()
    frame = pd.read_csv(tmp_path / "s.csv.gz")
    assert list(frame.columns) == ["item_id", "timestamp", "target_0", "target_1"]
    np.testing.assert_array_equal(frame[["target_0", "target_1"]].to_numpy().T, target)
    pd.testing.assert_frame_equal(
        series_frame([wide]).drop(columns="timestamp"), frame.drop(columns="timestamp"), check_dtype=False
    )


def test_tables_have_the_names_and_the_zone_of_the_source(tmp_path):
    hours = pd.date_range("2024-03-01", periods=60, freq="h", tz="Europe/Berlin")
    source = series_from_frame(
        pd.DataFrame({"Zähler": 7, "Zeit": hours, "Verbrauch": np.arange(60.0)}), item_id="Zähler", target="Verbrauch"
    )
    made = [{**source[0], "item_id": "synthetic_0"}]
    save_series(made, parquet_path=tmp_path / "s.parquet", csv_path=tmp_path / "s.csv", origin=source.origin)
    for name in ("s.parquet", "s.csv"):
        frame = load_table(tmp_path / name)
        assert list(frame.columns) == ["Zähler", "Zeit", "Verbrauch"]
        assert set(frame["Zähler"]) == {"synthetic_0"}
        assert list(pd.to_datetime(frame["Zeit"])) == list(hours)


def test_a_writer_that_is_stopped_leaves_the_old_files(tmp_path):
    paths = {"parquet_path": tmp_path / "s.parquet", "csv_path": tmp_path / "s.csv", "gluonts_folder": tmp_path / "s"}
    save_series(sines(2), **paths)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def broken():
        yield from sines(1)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        save_series(broken(), **paths)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert save_series(sines(3), **paths) == 3
    assert len(load_folder(tmp_path / "s").train) == 3


def test_files_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep")
    with pytest.raises(ConfigError, match="holds something other than a GluonTS data set"):
        save_series(sines(), gluonts_folder=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "keep"
    with pytest.raises(ConfigError, match="nothing to write to"):
        save_series(sines())
    with pytest.raises(DataError, match="no series to write"):
        save_series([], csv_path=tmp_path / "s.csv")
    with pytest.raises(DataError, match="series 'b' has frequency 'D', not 'h'"):
        save_series([entry(np.ones(3)), entry(np.ones(3), "b", freq="D")], csv_path=tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()
