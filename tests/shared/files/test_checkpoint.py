"""Checkpoints and atomic writes: round trips, damage, and writers that are stopped."""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shared.errors import CheckpointError
from shared.files.checkpoint import (
    CONFIG,
    WEIGHTS,
    load_state,
    open_checkpoint,
    resolve,
    save_checkpoint,
)
from shared.files.io import atomic_path, write_json, write_text
from shared.files.settings import dataclass_from
from tests.isolated import forked

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(config=st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=4), rows=st.integers(0, 5))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, config: dict[str, object], rows: int) -> None:
    config = {k: v for k, v in config.items() if k not in ("format", "version")}
    folder = tmp_path_factory.mktemp("model")
    state = {"a": torch.randn(rows, 3), "b.c": torch.arange(4), "scalar": torch.tensor(2.5, dtype=torch.float64)}
    save_checkpoint(folder, "kind", 3, config, state)
    found = open_checkpoint(folder, "kind", 3)
    found_config, found_state = found.config, found.state()
    assert found_config == config
    assert found_state.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(found_state[name], tensor)
        assert found_state[name].dtype == tensor.dtype


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "m", "kind", 1, {"width": 4}, nn.Linear(2, 2).state_dict())
    return tmp_path / "m"


def test_tied_weights_are_saved_under_each_name_and_stay_tied(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        first, second = nn.Linear(3, 3), nn.Linear(3, 3)
        second.weight = first.weight
        return nn.Sequential(first, second)

    network = tied()
    save_checkpoint(tmp_path, "toy", 1, {}, network.state_dict())
    found = open_checkpoint(tmp_path, "toy", 1).restore(tied)
    assert found[0].weight is found[1].weight
    assert torch.equal(found[0].weight, network[0].weight)


def test_another_kind_or_version_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="format 'kind', not 'other'"):
        open_checkpoint(saved, "other", 1)
    with pytest.raises(CheckpointError, match=r"version 1 .* reads 2"):
        open_checkpoint(saved, "kind", 2)


@pytest.mark.parametrize("keep", [0, 5, 60, -4])
def test_truncated_weights_are_refused(saved: Path, keep: int) -> None:
    whole = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(whole[:keep])
    with pytest.raises(CheckpointError, match=WEIGHTS):
        open_checkpoint(saved, "kind", 1)


def test_missing_files(saved: Path) -> None:
    (saved / CONFIG).unlink()
    assert open_checkpoint(saved, "kind", 1).config == {"width": 4}  # the weights carry it
    (saved / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS}$"):
        open_checkpoint(saved, "kind", 1)


def test_the_folder_of_a_training_leads_to_its_model(saved: Path) -> None:
    run = saved.parent / "run"
    run.mkdir()
    saved.rename(run / "model")
    with pytest.raises(CheckpointError, match=r"run holds no model.safetensors; .*; give .*run/model, which does"):
        open_checkpoint(run, "kind", 1)


def test_a_config_that_disagrees_is_said_and_not_used(saved: Path) -> None:
    changed = json.loads((saved / CONFIG).read_text()) | {"width": 5}
    (saved / CONFIG).write_text(json.dumps(changed))
    with pytest.warns(UserWarning, match=CONFIG):
        assert open_checkpoint(saved, "kind", 1).config == {"width": 4}


@pytest.mark.parametrize("text", ["{", '{"width": 5,}', ""])
def test_a_config_that_is_no_json_any_more_is_said(saved: Path, text: str) -> None:
    (saved / CONFIG).write_text(text)  # as after a slip in an editor
    with pytest.warns(UserWarning, match=rf"{CONFIG} cannot be read; the configuration inside {WEIGHTS} is used"):
        assert open_checkpoint(saved, "kind", 1).config == {"width": 4}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    layer = nn.BatchNorm1d(2)
    state = {**layer.state_dict(), "running_mean": torch.tensor([0.0, value])}
    load_state(layer, state, "here")  # what is measured may have no value
    with pytest.raises(CheckpointError, match=r"here: 'bias' has values that are not finite; copy or train"):
        load_state(layer, {**state, "bias": torch.tensor([value, 0.0])}, "here")


def test_state_that_does_not_fit_names_the_keys() -> None:
    module = nn.Linear(2, 3)
    state = {"weight": torch.zeros(3, 4), "extra": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        load_state(module, state, "here")
    message = str(caught.value)
    assert "missing key 'bias'" in message
    assert "unexpected key 'extra'" in message
    assert "(3, 4)" in message


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Settings:
    name: str
    kind: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=Inner)
    table: tuple[float, ...] = ()


def test_dataclass_from_json() -> None:
    values = {"name": "x", "kind": "b", "inner": {"size": 3}, "table": [1, 2.5]}
    assert dataclass_from(Settings, values, "f") == Settings("x", "b", Inner(3), (1.0, 2.5))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"name": "x", "colour": 1}, "colour"),
        ({}, "name"),
        ({"name": "x", "kind": "c"}, "kind"),
        ({"name": "x", "inner": {"size": "many"}}, "inner.size"),
    ],
)
def test_settings_that_do_not_fit_are_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        dataclass_from(Settings, values, "f")


def test_resolve(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert resolve(saved, Path("/nowhere")) == saved
    assert resolve("m", saved.parent) == saved
    with pytest.raises(CheckpointError, match="bundled names: m"):
        resolve("unknown", saved.parent)
    with pytest.raises(CheckpointError, match=r"bundled names: m$"):
        resolve("unknown", saved.parent, "kind")
    with pytest.raises(CheckpointError, match="no model is bundled"):
        resolve("unknown", saved.parent, "another kind")
    with pytest.raises(CheckpointError, match="no model is bundled"):
        resolve("unknown", Path("/nowhere"))
    with pytest.raises(CheckpointError, match=r"^'owner/name' is no folder here.* hub"):
        resolve("owner/name", saved.parent)
    for other in ("owner/folder/name", "./name", "/name", "~/name", "name"):
        with pytest.raises(CheckpointError, match=f"^'{other}' is neither a folder, a bundled name nor a hub id"):
            resolve(other, saved.parent)
    with pytest.raises(CheckpointError, match="is a file; a model is a folder with config"):
        resolve(str(saved / "model.safetensors"), saved.parent)


def test_a_bundled_name_goes_before_a_folder_here(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    here = tmp_path / "here"
    (here / "m").mkdir(parents=True)
    monkeypatch.chdir(here)
    assert resolve("m", saved.parent) == saved
    assert not recwarn
    (here / "m" / WEIGHTS).write_bytes((saved / WEIGHTS).read_bytes())
    with pytest.warns(UserWarning, match=r"'m' is the bundled model; the one in the folder here is '\./m'"):
        assert resolve("m", saved.parent) == saved
    for path in ("./m", Path("m"), here / "m", str(here / "m")):
        assert resolve(path, saved.parent).samefile(here / "m")
    (here / "m" / WEIGHTS).unlink()
    (here / "m").rmdir()
    with pytest.raises(CheckpointError, match="'m' is neither"):
        resolve(Path("m"), saved.parent)


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text(f"half of the n{1 / 0}")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_json_refuses_what_json_cannot_hold(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1.5})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1.5}


def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask


def save_for_ever(folder: Path) -> None:
    for n in itertools.count():
        save_checkpoint(folder, "kind", 1, {"n": n}, {"w": torch.full((200_000,), float(n))})


def test_a_killed_save_leaves_a_model_that_belongs_together(tmp_path: Path) -> None:
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        process = forked(save_for_ever, folder)
        while not (folder / CONFIG).exists():
            time.sleep(0.001)
        time.sleep(0.013 * attempt)
        process.kill()
        process.join()
        found = open_checkpoint(folder, "kind", 1)
        config, state = found.config, found.state()
        assert bool((state["w"] == float(config["n"])).all())
