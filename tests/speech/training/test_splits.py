"""Training and validation read their own folders, and nothing of the other's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import DataError
from speech.data import PRESETS
from speech.training.recordings import training_source, validation_set
from speech.training.settings import DataSettings, Experiment, ValidationSettings
from tests.speech.trees import RATE, hiss, mixing_folders, put, speech_like


def mixed(root: Path) -> None:
    mixing_folders(root, seconds=1.0)


def paired(root: Path) -> None:
    for n in range(2):
        speech = speech_like(1.0, n)
        put(root / "clean" / f"{n}.wav", speech)
        put(root / "noisy" / f"{n}.wav", speech + hiss(1.0, n))


def experiment(layout: Any) -> Experiment:
    """One in which every recording has noise and, where it is mixed, a room."""
    base = Experiment(validation=ValidationSettings(files=2))
    mix = replace(base.data.mix, reverb=1.0, seconds=0.5, synthetic=0.0, babble=0.0, clean=0.0, silence=0.0)
    return replace(base, data=DataSettings(layout=layout, mix=mix, batch_size=2))


LAYOUTS = pytest.mark.parametrize(
    ("layout", "make", "kinds"),
    [("mix", mixed, ("clean", "noise", "rir")), ("split", paired, ("clean", "noisy"))],
    ids=["mixed", "pairs"],
)


def made_and_spoiled(root: Path, make: Callable[[Path], None], kinds: tuple[str, ...], spoiled: str) -> None:
    """Both splits, one with a file in each of its folders that cannot be read."""
    for split in ("train", "valid"):
        make(root / split)
    for kind in kinds:
        (root / spoiled / kind / "0-damaged.wav").write_bytes(b"no audio")


@LAYOUTS
def test_validation_reads_nothing_of_the_training_folder(
    tmp_path: Path, layout: str, make: Callable[[Path], None], kinds: tuple[str, ...]
) -> None:
    made_and_spoiled(tmp_path, make, kinds, "train")
    made = experiment(layout)
    assert [len(noisy) for _, _, noisy in validation_set(made, tmp_path)] == [RATE, RATE]
    with pytest.raises(DataError, match="damaged"):
        training_source(made, tmp_path, 1)


@LAYOUTS
def test_training_reads_nothing_of_the_validation_folder(
    tmp_path: Path, layout: str, make: Callable[[Path], None], kinds: tuple[str, ...]
) -> None:
    made_and_spoiled(tmp_path, make, kinds, "valid")
    made = experiment(layout)
    assert training_source(made, tmp_path, 1).batch(np.random.default_rng(0)).x0.shape[0] == 2
    with pytest.raises(DataError, match="damaged"):
        validation_set(made, tmp_path)


def test_pairs_that_begin_with_silence_are_validated_where_they_sound(tmp_path: Path) -> None:
    silence, speech = np.zeros(2 * RATE, np.float32), speech_like(0.5)
    put(tmp_path / "valid" / "clean" / "a.wav", np.concatenate([silence, speech]))
    put(tmp_path / "valid" / "noisy" / "a.wav", np.concatenate([silence, speech + hiss(0.5, 0)]))
    made = replace(experiment("split"), validation=ValidationSettings(files=1, seconds=0.5))
    ((_, clean, noisy),) = validation_set(made, tmp_path)
    assert clean.shape == noisy.shape == (RATE // 2,)
    assert np.abs(clean).max() > 0.01
    np.testing.assert_allclose(noisy - clean, hiss(0.5, 0), atol=1e-4)


def test_validation_has_rooms_where_they_are_simulated(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        put(tmp_path / part / "clean" / "a.wav", speech_like(1.0))
    made = Experiment(task="dereverb", data=DataSettings(mix=PRESETS["dereverb"]))
    refused = r"their own targets.*add a folder rir, set data\.simulated_rooms, or .*validation\.files=0"
    with pytest.warns(UserWarning, match="without rooms"), pytest.raises(DataError, match=refused):
        validation_set(made, tmp_path)
    simulated = replace(made, data=replace(made.data, simulated_rooms=2))
    recordings = validation_set(simulated, tmp_path)
    assert len(recordings) == made.validation.files
    assert all(np.abs(noisy - clean).max() > 1e-3 for _, clean, noisy in recordings)


def test_what_else_pairs_may_want_is_told(tmp_path: Path) -> None:
    paired(tmp_path / "train")
    with pytest.raises(DataError, match=r"'valid' pairs.*train without validation \(validation\.files=0\)"):
        validation_set(experiment("split"), tmp_path)
    with pytest.raises(DataError, match=r"no folder noise; .*for pairs .*data\.layout=split"):
        training_source(experiment("mix"), tmp_path, 1)


def test_pairs_to_validate_on_are_not_the_first_by_name(tmp_path: Path) -> None:
    for n in range(20):
        for kind in ("clean", "noisy"):
            put(tmp_path / "valid" / kind / f"{'ab'[n // 10]}{n}.wav", speech_like(0.1, n))
    made = replace(experiment("split"), validation=ValidationSettings(files=6))
    names = [name for name, _, _ in validation_set(made, tmp_path)]
    assert len(set(names)) == 6
    assert {name[0] for name in names} == {"a", "b"}  # both speakers
    assert names == [name for name, _, _ in validation_set(made, tmp_path)]
    other = replace(made, validation=ValidationSettings(files=6, seed=1))
    assert names != [name for name, _, _ in validation_set(other, tmp_path)]
    every = replace(made, validation=ValidationSettings(files=50))
    assert len(validation_set(every, tmp_path)) == 20
