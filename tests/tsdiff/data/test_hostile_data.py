"""Tables, folders and models that ask for more than they are: one short line, before memory is taken."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import feather, parquet

from shared.errors import CheckpointError, ConfigError, DataError
from shared.sde import DiscreteVPSDE, linear_betas
from tests.isolated import outcome_of
from tests.tsdiff.published import published_state
from tsdiff.data import load_dataset, tables
from tsdiff.data.frames import load_table
from tsdiff.data.tables import LIMIT, LONGEST_LINE
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.importing import import_checkpoint
from tsdiff.model.backbones import PatchedS4D, S4Backbone, S4Config, S4DConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling

ROWS = 200_000
RECORD = json.dumps({"start": "2020-01-01", "target": [0.0] * 1000}).encode() + b"\n"


def packed_table(folder: Path, suffix: str) -> Path:
    """Some kilobytes that unpack to three megabytes."""
    path = folder / f"x{suffix}"
    frame = pd.DataFrame({"timestamp": np.full(ROWS, np.datetime64("2020-01-01", "s")), "target": 0.0})
    if suffix == ".csv.gz":
        with gzip.open(path, "wb") as stream:
            stream.write(b"timestamp,target\n" + b"2020-01-01,1.0\n" * ROWS)
    elif suffix == ".parquet":
        parquet.write_table(pa.Table.from_pandas(frame), path, compression="zstd")
    elif suffix == ".feather":
        feather.write_feather(frame, path, compression="zstd", chunksize=10_000)
    else:
        (folder / "train").mkdir(parents=True)
        (folder / "metadata.json").write_text('{"freq": "D", "prediction_length": 2}')
        with gzip.open(folder / "train" / "data.json.gz", "wb") as stream:
            stream.write(RECORD * 600)
        return folder
    return path


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet", ".feather", "folder"])
def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed_table(tmp_path / "set" if suffix == "folder" else tmp_path, suffix)
    monkeypatch.setenv(LIMIT, "2000000")
    with pytest.raises(DataError, match=f"unpacks to more than 2000000; .*{LIMIT}=bytes"):
        load_dataset(path)
    monkeypatch.setenv(LIMIT, "much")
    with pytest.raises(ConfigError, match="give a whole number of bytes"):
        load_dataset(path)
    monkeypatch.delenv(LIMIT)
    if suffix == "folder":
        assert len(load_dataset(path)) == 600
    else:
        assert len(load_table(path)) == ROWS


def test_a_gigabyte_of_zeros_takes_no_memory(tmp_path: Path) -> None:
    """A member of a megabyte, repeated, is a packed file too."""
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"0" * (1 << 20)) * 1100)
    result = outcome_of(load_table, path)
    assert result.kind == "refused", result
    assert result.megabytes < 100


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_too_many_columns(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".csv":
        path.write_text(",".join(f"c{i}" for i in range(300_000)) + "\n" + ",".join("1" for i in range(300_000)))
    else:
        monkeypatch.setattr(tables, "MOST_COLUMNS", 30)
        parquet.write_table(pa.table({f"c{i}": [1] for i in range(31)}), path)
    with pytest.raises(DataError, match=r"columns, more than \d+; write a row for each value"):
        load_table(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather"])
def test_a_cell_of_any_length(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    size = 5_000_000 if suffix == ".csv" else 1_000_000
    frame = pd.DataFrame({"item_id": ["a", "y" * size], "timestamp": ["2020-01-01"] * 2, "target": [1.0, 2.0]})
    {".csv": frame.to_csv, ".parquet": frame.to_parquet, ".feather": frame.to_feather}[suffix](path)
    with pytest.raises(DataError, match=f"column 'item_id' has {size} characters, more than 10000"):
        load_table(path)
    (tmp_path / "y.csv").write_text("x" * (17 << 20))
    with pytest.raises(DataError, match="a first line of more than 16777216 bytes"):
        load_table(tmp_path / "y.csv")
    (tmp_path / "z.csv").write_text("timestamp," + "x" * 20_000 + "\n2020-01-01,1\n")
    with pytest.raises(DataError, match="a column's name has 20000 characters"):
        load_table(tmp_path / "z.csv")


LINES = {
    "deep": (b'{"start": "2020-01-01", "target": ' + b"[" * 100_000, r"line 2 of data\.json is no JSON"),
    "latin": (b'{"start": "2020-01-01", "item_id": "\xdf"}', r"line 2 of data\.json is no JSON"),
    "no record": (b"[1, 2]", "line 2 of data.json is no record"),
    "long": (b" " * (LONGEST_LINE + 1), "line 2 of data.json has more than 67108864 bytes"),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_that_are_no_records(tmp_path: Path, name: str) -> None:
    line, why = LINES[name]
    (tmp_path / "train").mkdir()
    (tmp_path / "metadata.json").write_text('{"freq": "D"}')
    (tmp_path / "train" / "data.json").write_bytes(RECORD + line)
    with pytest.raises(DataError, match=why):
        load_dataset(tmp_path)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"freq": "\xdf"}', b" " * (17 << 20), b"[1]"])
def test_a_folder_s_metadata(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "metadata.json").write_bytes(content)
    with pytest.raises(DataError, match=r"metadata\.json"):
        load_dataset(tmp_path)


def test_names_that_no_file_system_takes() -> None:
    for name in ("x" * 5000 + ".csv", "a\0b.csv", "x" * 5000):
        with pytest.raises((DataError, ConfigError, CheckpointError)) as caught:
            load_dataset(name)
        assert len(str(caught.value)) <= 2000
        with pytest.raises(CheckpointError):
            TSDiff.from_pretrained(name)
        with pytest.raises(CheckpointError):
            import_checkpoint(name)


# --- models --------------------------------------------------------------------------------------------------

SMALL = TSDiffConfig("h", 8, 24, backbone=S4DConfig(patch=8, width=4, blocks=1, state=2))


def hostile(folder: Path, path: str, value: Any) -> Path:
    """A small model whose configuration says something else at "section.name"."""
    TSDiff(SMALL).save_pretrained(folder)
    (folder / "model.safetensors").rename(folder / "whole")
    values = json.loads((folder / "config.json").read_text())
    *sections, name = path.split(".")
    inner = values
    for section in sections:
        inner = inner[section]
    inner[name] = value
    from safetensors.torch import load_file, save_file

    save_file(load_file(folder / "whole"), folder / "model.safetensors", {"config": json.dumps(values)})
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("backbone.blocks", 10**6),
        ("context_length", 10**12),
        ("prediction_length", 2**70),
        ("lags", [10**12]),
        ("categories", [10**9]),
        ("backbone", {"kind": "s4", "state": 10**5, "width": 4, "blocks": 1}),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("backbone.width", 10**6),
                ("backbone.state", 10**6),
                ("backbone.patch", 10**9),
                ("context_length", 8 * 10**6 - 8),
                ("channels", 10**6),
                ("categories", [1] * 100_000),
                ("static_features", 10**9),
                ("sde.betas", [0.1] * 200_000),
            )
        ),
    ],
)
def test_a_configuration_that_asks_for_too_much(tmp_path: Path, path: str, value: Any) -> None:
    result = outcome_of(TSDiff.from_pretrained, hostile(tmp_path, path, value))
    assert result.kind == "refused", result
    assert "CheckpointError" in result.what
    assert result.cpu < 5
    assert result.megabytes < 400


def test_settings_that_no_shape_tells_have_ranges() -> None:
    for changes in ({"steps": 10**7}, {"batch_rows": 10**9}, {"skip": 10**9}):
        with pytest.raises(ConfigError, match="need a whole number from 1 to"):
            Sampling(**changes)
    for changes in ({"context_length": 2**17}, {"lags": (2**21,)}, {"channels": 2**17}):
        with pytest.raises(ConfigError, match=r"need (at most|values)"):
            replace(SMALL, **changes)
    with pytest.raises(ConfigError, match="take larger patches"):
        PatchedS4D(S4DConfig(patch=1, width=4), length=5000)
    with pytest.raises(ConfigError, match="shorten the windows"):
        S4Backbone(S4Config(), length=10**6)
    for size in ({"state": 1024}, {"state": 512, "width": 64}):
        with pytest.raises(ConfigError, match=r"dense matrices|at most 512"):
            S4Config(**size)
    with pytest.raises(ConfigError, match="need a whole number from 1 to 100000"):
        linear_betas(10**9)
    with pytest.raises(ConfigError, match="1 to 100000 numbers"):
        DiscreteVPSDE([0.1] * 100_001)


@pytest.mark.parametrize("horizon", [-5, 0, 10**12])
def test_a_kernel_s_length_in_the_weights(tmp_path: Path, horizon: int) -> None:
    """0 would double for ever, and a kernel of a million million steps is made whole."""
    config = replace(SMALL, backbone=S4Config(width=4, blocks=1, state=4, step_embedding=4))
    model = TSDiff(config)
    for name, value in model.state_dict().items():
        if name.endswith("horizon"):
            value.fill_(horizon)
    model.save_pretrained(tmp_path)

    def use() -> None:
        TSDiff.from_pretrained(tmp_path)(torch.zeros(1, 32, 1), torch.full((1,), 0.5))

    result = outcome_of(use)
    assert result.kind == "refused", result
    assert result.megabytes < 400


def test_settings_beside_a_model(tmp_path: Path) -> None:
    TSDiff(SMALL).save_pretrained(tmp_path)
    for content in (b"[" * 100_000, b'{"guidance": "\xdf"}', b'{"steps": 10000000}', b'{"steps": 1e400}', b"[1]"):
        (tmp_path / "sampling.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"sampling\.json"):
            TSDiffPredictor.from_pretrained(tmp_path)
    for content in (b"[" * 100_000, b'{"members": 1000000000}', b'{"members": "\xdf"}', b"[1]", b'{"members": -1}'):
        (tmp_path / "ensemble.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"ensemble\.json"):
            EnsemblePredictor.from_pretrained(tmp_path)


def test_published_shapes_that_ask_for_too_much(tmp_path: Path) -> None:
    """A wide first layer alone makes no wide network."""
    state = published_state()
    state["backbone.input_init.0.weight"] = torch.zeros(10**5, 1, 1)
    torch.save(state, tmp_path / "x.pt")
    result = outcome_of(import_checkpoint, tmp_path / "x.pt", {"context_length": 24, "prediction_length": 24})
    assert result.kind == "refused", result
    assert result.megabytes < 400
    for changes in ({"timesteps": 10**9}, {"dropout": "much"}, {"context_length": 10**12}):
        torch.save(published_state(), tmp_path / "y.pt")
        result = outcome_of(import_checkpoint, tmp_path / "y.pt", {"freq": "H", "prediction_length": 24, **changes})
        assert result.kind == "refused", result
    for length in (float("nan"), 1e30, -1.0):
        state = published_state()
        state["backbone.residual_blocks.0.s4block.layer.kernel.kernel.L"] = torch.tensor(length)
        torch.save(state, tmp_path / "z.pt")
        with pytest.raises((CheckpointError, ConfigError)):
            import_checkpoint(tmp_path / "z.pt")


def test_a_published_configuration_is_read_with_care(tmp_path: Path) -> None:
    torch.save(published_state(), tmp_path / "x.pt")
    for content in (b"[" * 500, b"freq: \xdf", b"freq: 2001-99-99"):
        (tmp_path / "x.yaml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"x\.yaml"):
            import_checkpoint(tmp_path / "x.pt", tmp_path / "x.yaml")
