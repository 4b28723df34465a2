"""One folder, several processes: who reads or writes while another writes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from gluonts.model.predictor import Predictor

from shared.errors import CheckpointError
from shared.files.checkpoint import open_checkpoint
from shared.files.io import held
from tests.tsdiff.test_saved import ensemble_of, pool_of, random_predictor
from tsdiff import Sampling, TSDiffPredictor
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.model.model import FORMAT, VERSION


@dataclass(frozen=True)
class Meanwhile:
    """A sampler of one's own, at whose reading something is done once."""

    kind: str = field(default="meanwhile", kw_only=True)
    todo: ClassVar[list[Callable[[], Any]]] = []

    def __post_init__(self) -> None:
        if self.todo:
            self.todo.pop()()

    def __call__(self, run: Any) -> None:
        """Leave the noise."""


def own_sampler(seed: int) -> TSDiffPredictor:
    return random_predictor(seed, Sampling(steps=2, method=Meanwhile()))


def test_what_another_process_writes_anew_while_it_is_read_is_refused(tmp_path: Path):
    """Old weights came with the new sampling and horizon."""
    own_sampler(0).serialize(tmp_path)
    Meanwhile.todo.append(lambda: own_sampler(1).with_horizon(2).serialize(tmp_path))
    with pytest.raises(CheckpointError, match="was written anew while it was read; read it again"):
        TSDiffPredictor.from_pretrained(tmp_path, custom=[Meanwhile])
    assert TSDiffPredictor.from_pretrained(tmp_path, custom=[Meanwhile]).prediction_length == 2


def test_an_ensemble_that_is_written_anew_while_it_is_read_is_refused(tmp_path: Path):
    """Its first members were of the one, and the last of the other; classes of one's own could not be given at all."""
    ensemble_of(own_sampler(0), own_sampler(1)).serialize(tmp_path)
    Meanwhile.todo.append(lambda: ensemble_of(own_sampler(2), own_sampler(3)).serialize(tmp_path))
    with pytest.raises(CheckpointError, match="was written anew"):
        EnsemblePredictor.from_pretrained(tmp_path, custom=[Meanwhile])
    assert isinstance(EnsemblePredictor.from_pretrained(tmp_path, custom=[Meanwhile]).sampling.method, Meanwhile)


def test_weights_that_were_written_anew_are_not_taken_for_those_that_were_opened(tmp_path: Path):
    random_predictor(0).model.save_pretrained(tmp_path)
    found = open_checkpoint(tmp_path, FORMAT, VERSION)
    random_predictor(1).model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="read it again"):
        found.state()


@pytest.mark.parametrize("make", [lambda: random_predictor(1), lambda: ensemble_of(random_predictor(1))])
def test_forecasters_that_are_written_at_once_take_turns(make: Callable[[], Any], tmp_path: Path):
    """Their files were mixed: weights of the one, horizon and sampling of the other."""
    kind = make()
    kind.serialize(tmp_path)
    before = {file: file.stat().st_ino for file in tmp_path.rglob("*") if file.is_file()}
    with ThreadPoolExecutor() as pool:
        handle = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            waiting = pool.submit(kind.serialize, tmp_path)
            with pytest.raises(NotYet):
                waiting.result(timeout=0.5)
            assert {file: file.stat().st_ino for file in before} == before
        finally:
            os.close(handle)
        waiting.result(timeout=30)
    assert all(file.stat().st_ino != old for file, old in before.items())


def test_a_folder_that_a_training_holds_is_waited_for_no_longer_than_it_takes(tmp_path: Path):
    with held(tmp_path), held(tmp_path, patience=0.1):
        (tmp_path / "written").touch()
    assert (tmp_path / "written").exists()


def test_an_ensemble_whose_member_is_missing_names_it(tmp_path: Path):
    """It was told to be neither a folder, a bundled name nor a hub id."""
    ensemble_of(random_predictor(0), random_predictor(1)).serialize(tmp_path)
    (tmp_path / "1").rename(tmp_path / "one")
    with pytest.raises(CheckpointError, match="an ensemble of 2 members and lacks the folder of 1; copy it again"):
        EnsemblePredictor.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", [ensemble_of, pool_of])
def test_members_of_a_larger_one_that_nothing_replaces_go_with_it(kind: Callable[..., Any], tmp_path: Path):
    """Nothing read them; files and folders of others stay."""
    one = random_predictor(0)
    for place, make in enumerate([kind, ensemble_of, lambda first, *_: first, lambda first, *_: first.model]):
        folder = tmp_path / str(place)
        kind(one, random_predictor(1), random_predictor(2)).serialize(folder)
        (folder / "1" / "notes.txt").write_text("kept")
        one.serialize(folder / "3")
        made = make(one, random_predictor(1)) if place < 2 else make(one)
        made.save_pretrained(folder)
        held = {part.name: sorted(file.name for file in part.iterdir()) for part in folder.iterdir() if part.is_dir()}
        whole = held["3"]
        assert whole == ["config.json", "gluonts-config.json", "model.safetensors", "predictor.json", "sampling.json"]
        if place < 2:
            assert held == {"0": whole, "1": sorted([*whole, "notes.txt"]), "3": whole}
            assert repr(Predictor.deserialize(folder)) == repr(made)
        else:
            assert held == {"1": ["notes.txt"], "3": whole}
