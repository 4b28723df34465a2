"""The fixed validation mixtures: the same at every call, whole files, no silent target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.errors import ConfigError
from speech.data import MixConfig, preset, validation_pairs
from tests.speech.trees import RATE, mixing_folders, put, speech_like

CONFIG = MixConfig(clean=0.5, silence=0.5)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return mixing_folders(tmp_path_factory.mktemp("validation"), 2.0)


def test_they_are_fixed(folders: tuple[Path, Path, Path]) -> None:
    first = validation_pairs(*folders, count=5, config=CONFIG)
    again = validation_pairs(*folders, count=3, config=replace(CONFIG, seconds=9.0, batch_size=1))
    for (name, clean, noisy), (name2, clean2, noisy2) in zip(first, again, strict=False):
        assert name == name2
        np.testing.assert_array_equal(clean, clean2)
        np.testing.assert_array_equal(noisy, noisy2)
    other = validation_pairs(*folders, count=5, seed=1, config=CONFIG)
    assert any(not np.array_equal(a[2], b[2]) for a, b in zip(first, other, strict=True))


def test_they_are_whole_files_with_noise(folders: tuple[Path, Path, Path]) -> None:
    items = validation_pairs(*folders, count=8, config=CONFIG)
    assert len({name for name, _, _ in items}) == 8
    for _, clean, noisy in items:
        assert clean.shape == noisy.shape == (2 * RATE,)
        assert clean.any()
        assert not np.array_equal(clean, noisy)
    cut = validation_pairs(*folders, count=2, seconds=0.5, config=CONFIG)
    assert cut[0][1].shape == (RATE // 2,)


def test_noise_by_formula_needs_no_recordings(folders: tuple[Path, Path, Path]) -> None:
    for _, clean, noisy in validation_pairs(folders[0], None, count=3, config=replace(CONFIG, synthetic=1.0)):
        assert np.abs(noisy - clean).max() > 1e-3


def test_other_tasks_and_missing_folders(folders: tuple[Path, Path, Path]) -> None:
    clean, noise, rooms = folders
    (_, dry, wet) = validation_pairs(clean, None, rooms, count=1, config=preset("dereverb"))[0]
    assert np.abs(dry - wet).max() > 1e-3
    assert len(validation_pairs(clean, noise, count=1)) == 1
    with pytest.raises(ConfigError, match="count=0"):
        validation_pairs(clean, noise, count=0)
    with pytest.raises(ConfigError, match=r"seconds=-1\.0"):  # which would leave out the end of each file
        validation_pairs(clean, noise, count=1, seconds=-1.0)


def test_of_a_file_that_begins_with_silence_a_part_that_is_heard_is_used(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    silence = 1e-4 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    put(tmp_path / "late.wav", np.concatenate([silence, speech_like(1.0)]))
    (_, clean, _) = validation_pairs(tmp_path, folders[1], count=1, seconds=0.5, config=MixConfig(level_db=None))[0]
    assert clean.shape == (RATE // 2,)
    assert np.abs(clean).max() > 0.01


def test_the_part_that_is_used_is_no_scrap_from_the_end(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    speech = speech_like(0.51)
    speech[RATE // 2 :] = 0.3
    put(tmp_path / "late.wav", np.concatenate([np.zeros(RATE, np.float32), speech]))
    (_, clean, _) = validation_pairs(tmp_path, folders[1], count=1, seconds=0.5)[0]
    assert clean.shape == (RATE // 2,)


def test_the_only_recording_is_no_noise_to_itself(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    put(tmp_path / "only.wav", speech_like(1.0))
    mixed = validation_pairs(
        tmp_path, folders[1], count=3, config=replace(CONFIG, babble=1.0, synthetic=0.0, filtered=0.0)
    )
    for _, clean, noisy in mixed:
        along = (noisy @ clean) / (clean @ clean) * clean
        assert np.square(noisy - along).mean() > 1e-3 * np.square(along).mean()
