"""Runs over a folder that are killed at any moment: no file is ever half there, and the next run tidies up."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from shared.files.io import UNFINISHED
from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from speech.enhancer import Enhancer
from tests.speech.models import noise, tiny_enhancer

SAMPLES = 24_000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recordings")
    names = ["a.wav", "b.flac", "c.ogg", "d.mp3", "deep/e.wav", "deep/f.flac", "deep/g.wav", "h" * 240 + ".wav"]
    for seed, name in enumerate(names):
        write_audio(root / name, Audio(noise(2, SAMPLES, seed=seed), 16000, metadata={"title": name[:9]}))
    return root


def below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def run(enhancer: Enhancer, source: Path, target: Path) -> None:
    enhancer.enhance_dir(source, target, existing="overwrite", workers=1, progress=False)
    os._exit(0)


def kill_runs(count: int, enhancer: Enhancer, source: Path, target: Path) -> int:
    """Start and kill so many runs, look at what is there each time, and return how many temporaries were left."""
    rng, context, left = np.random.default_rng(0), multiprocessing.get_context("fork"), 0
    for _ in range(count):
        process = context.Process(target=run, args=(enhancer, source, target))
        process.start()
        process.join(rng.uniform(0.02, 0.6))
        process.kill()
        process.join()
        for path in below(target):
            if path.name.startswith(UNFINISHED):
                left += 1
                continue
            assert read_audio(path).info == read_audio(source / path.relative_to(target)).info
    return left


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_runs_leave_whole_files_and_the_next_run_tidies_up(recordings: Path, tmp_path: Path, count: int) -> None:
    enhancer = tiny_enhancer(steps=1, enhancer={"window_seconds": 0.5, "overlap_seconds": 0.2})
    left = kill_runs(count, enhancer, recordings, tmp_path / "out")
    assert left > 0
    report = enhancer.enhance_dir(recordings, tmp_path / "out", existing="overwrite", progress=False)
    assert report.failed == {}
    assert {path.relative_to(tmp_path / "out") for path in below(tmp_path / "out")} == {
        path.relative_to(recordings) for path in below(recordings)
    }
