"""Folders in units, worked in this process: the bits of single files on one thread, and goings-on after stops."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.errors import CheckpointError, ConfigError, DataError, DiffusionError
from shared.scale import Outcome, Unit
from shared.scale.units import one_thread
from speech import Enhancer, scale
from speech.audio.files import Audio
from speech.audio.writing import write_audio
from speech.metrics import evaluate
from speech.metrics.evaluation import Scoring
from speech.model.config import Companion
from speech.model.model import SpeechModel
from speech.scale.work import rows_of
from tests.speech.models import noise, tiny_model

HERE: dict[str, Any] = {"engine": "local", "progress": False}
WINDOWS = {"window_seconds": 0.5, "overlap_seconds": 0.2}


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """A tree of short and long files, one of them broken."""
    folder = tmp_path / "noisy"
    for place, samples in enumerate([4000, 4100, 12_000]):
        write_audio(folder / f"{place}.wav", Audio(noise(1 + place % 2, samples, seed=place), 16000))
    write_audio(folder / "deep/er/0.flac", Audio(noise(1, 9000, seed=9), 44100))
    (folder / "text.wav").write_text("not audio")
    return folder


def sounds(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".wav", ".flac")
    }


def enhanced(noisy: Path, target: Path, model: Path, **changes: Any) -> Any:
    return scale.enhance_dir(noisy, target, model=model, enhancer={**WINDOWS, "seed": 3}, **{**HERE, **changes})


def test_files_are_those_of_enhance_file(noisy: Path, model: Path, tmp_path: Path):
    report = enhanced(noisy, tmp_path / "out", model, size=2)
    assert [file.name for file in report.files] == ["0.wav", "1.wav", "2.wav", "deep/er/0.flac"]
    assert list(report.failed) == ["text.wav"]
    one = Enhancer.from_pretrained(model, device="cpu")
    one = Enhancer(one.model, seed=3, **WINDOWS)
    with one_thread():
        for file in report.files:
            wanted = one.enhance_file(noisy / file.name, tmp_path / "one" / file.name, name=file.name)
            assert (wanted.removed, wanted.nfe, wanted.seconds) == (file.removed, file.nfe, file.seconds)
            assert file.target == tmp_path / "out" / file.name
    assert sounds(tmp_path / "out") == sounds(tmp_path / "one")


def test_two_files_with_one_target_are_not_both_enhanced(model: Path, tmp_path: Path):
    pytest.importorskip("av")  # without which .ac3 is passed over
    write_audio(tmp_path / "in/t.ac3.wav", Audio(noise(1, 900), 16000))
    (tmp_path / "in/t.ac3").write_bytes((tmp_path / "in/t.ac3.wav").read_bytes())
    report = enhanced(tmp_path / "in", tmp_path / "out", model)
    assert [file.name for file in report.files] == ["t.ac3"]
    assert "that of t.ac3; rename" in report.failed["t.ac3.wav"]


def test_a_job_goes_on_and_follows_what_changes(noisy: Path, model: Path, tmp_path: Path):
    out = tmp_path / "out"
    first = enhanced(noisy, out, model)
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")}
    again = enhanced(noisy, out, model)
    assert (again.files, again.failed) == (first.files, first.failed)
    assert (first.before, again.before, again.real_time_factor) == (0, len(first.files), None)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")} == made
    (noisy / "0.wav").unlink()
    write_audio(noisy / "1.wav", Audio(noise(1, 5000, seed=5), 16000))
    write_audio(noisy / "00.wav", Audio(noise(1, 5000, seed=6), 16000))
    kept = enhanced(noisy, out, model)
    assert kept.skipped == ["1.wav"]
    assert [file.name for file in kept.files] == ["00.wav", "2.wav", "deep/er/0.flac"]
    anew = tmp_path / "anew"
    enhanced(noisy, anew, model)
    assert sounds(anew)["00.wav"] == sounds(out)["00.wav"]
    with pytest.raises(ConfigError, match=r"other settings \(seed: 3 there, 4 now\)"):
        scale.enhance_dir(noisy, out, model=model, enhancer={**WINDOWS, "seed": 4}, **HERE)


def test_a_job_does_not_go_on_with_another_companion(noisy: Path, model: Path, tmp_path: Path):
    pair = SpeechModel.from_pretrained(model)
    pair.config = replace(pair.config, companion=Companion("beside"))
    pair.save_pretrained(tmp_path / "pair")
    how: dict[str, Any] = {"model": tmp_path / "pair", "enhancer": {**WINDOWS, "quality": "best"}, **HERE}
    for steps in (1, 2):
        tiny_model(steps=steps).save_pretrained(tmp_path / "pair" / "beside")
        if steps == 1:
            assert len(scale.enhance_dir(noisy, tmp_path / "out", **how).files) == 4
    with pytest.raises(ConfigError, match=r"other settings .*companion"):
        scale.enhance_dir(noisy, tmp_path / "out", **how)


def test_results_that_were_removed_are_made_again(noisy: Path, model: Path, tmp_path: Path):
    out = tmp_path / "out"
    first = enhanced(noisy, out, model)
    made = sounds(out)
    (out / "1.wav").unlink()
    again = enhanced(noisy, out, model)
    assert (again.files, again.skipped) == (first.files, [])
    assert sounds(out) == made


def test_what_was_passed_over_is_made_where_it_is_to_be_overwritten(noisy: Path, model: Path, tmp_path: Path):
    out = tmp_path / "out"
    write_audio(out / "1.wav", Audio(noise(1, 500), 16000))
    assert enhanced(noisy, out, model).skipped == ["1.wav"]
    report = enhanced(noisy, out, model, existing="overwrite")
    assert ([file.name for file in report.files][1], report.skipped) == ("1.wav", [])
    enhanced(noisy, tmp_path / "anew", model)
    assert sounds(out) == sounds(tmp_path / "anew")


def test_what_failed_is_tried_again(noisy: Path, model: Path, tmp_path: Path):
    """As after a disk that was full, or a package that was missing: the recording itself has not changed."""
    out = tmp_path / "out"
    (out / "2.wav").mkdir(parents=True)  # what no file may replace
    first = enhanced(noisy, out, model, existing="overwrite")
    assert list(first.failed) == ["2.wav", "text.wav"]
    assert "2.wav is a folder" in first.failed["2.wav"]
    assert list((out / "2.wav").iterdir()) == []
    (out / "2.wav").rmdir()
    again = enhanced(noisy, out, model, existing="overwrite")
    assert (list(again.failed), again.before) == (["text.wav"], 3)
    enhanced(noisy, tmp_path / "anew", model)
    assert sounds(out) == sounds(tmp_path / "anew")


def test_scores_of_what_could_not_be_read_are_tried_again(tmp_path: Path):
    """As after a disk that was away: the recording is of the same time and size."""
    for folder in ("clean", "enhanced"):
        for name in ("a", "b"):
            write_audio(tmp_path / folder / f"{name}.wav", Audio(noise(1, 4000, seed=len(folder)), 16000))
    (tmp_path / "clean" / "b.wav").unlink()
    path = tmp_path / "enhanced" / "a.wav"
    whole, about = path.read_bytes(), path.stat()

    def scores(content: bytes) -> tuple[list[str], bool]:
        path.write_bytes(content)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
        how: dict[str, Any] = {"output": tmp_path / "scores", "metrics": ["lsd"], "size": 1, **HERE}
        frame = scale.evaluate(tmp_path / "clean", tmp_path / "enhanced", **how)
        return list(frame["reason"] != ""), bool(np.isfinite(frame["lsd"][0]))

    assert scores(bytes(len(whole))) == ([True, True], False)
    assert scores(whole) == ([False, True], True)
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "scores").rglob("*.json")}
    assert scores(whole) == ([False, True], True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "scores").rglob("*.json")} == records


def test_scores_are_those_of_evaluate(noisy: Path, model: Path, tmp_path: Path):
    enhanced(noisy, tmp_path / "out", model)
    folders = (noisy, tmp_path / "out", noisy)
    names = ["si_sdr", "lsd"]
    found = scale.evaluate(*folders, output=tmp_path / "scores", metrics=names, size=2, **HERE)
    wanted = evaluate(*folders, metrics=names, workers=1, progress=False)
    pd.testing.assert_frame_equal(found, wanted, check_exact=True)
    assert np.isinf(found["noisy_si_sdr"].dropna()).all()  # each against itself
    assert (found["reason"] != "").sum() >= 1


def test_files_over_which_workers_died_are_in_the_scores_with_the_reason():
    given_up = Scoring("a", {"enhanced": [Path("a.wav")]}, ("lsd",), align=False)
    unit = Unit("part", (given_up,), "digest", ("a",))
    row = rows_of(unit, Outcome(failed={"a": "5 workers died over it"}))["a"]  # as `shared.scale.on_ray` gives it
    assert (row["reason"], np.isnan(row["lsd"])) == ("5 workers died over it", True)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"model": "nothing"}, CheckpointError, "nothing"),
        ({"enhancer": {"draws": 0}}, ConfigError, "draws"),
        ({"existing": "keep"}, ConfigError, "existing"),
        ({"loudness": "loud"}, ConfigError, "loud"),
        ({"size": 0}, ConfigError, "size=0"),
    ],
)
def test_what_cannot_be_is_told(
    changes: dict[str, Any], error: type[DiffusionError], said: str, noisy: Path, model: Path, tmp_path: Path
):
    with pytest.raises(error, match=said):
        scale.enhance_dir(noisy, tmp_path / "out", **{"model": model, **HERE, **changes})


def test_a_folder_that_is_not_there_is_told(model: Path, tmp_path: Path):
    with pytest.raises(DataError, match="no such folder"):
        enhanced(tmp_path / "nowhere", tmp_path / "out", model)
