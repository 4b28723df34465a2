"""`speech enhance` of several recordings into a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from shared.errors import DataError
from shared.files.documents import read_json
from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from tests.recipes.harness import Ran, Recipes
from tests.speech.models import gain_enhancer, noise, tiny_model


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Recipes:
    running = Recipes(tmp_path_factory.mktemp("several"))
    tiny_model(steps=1).save_pretrained(running.folder / "model")
    return running


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Recordings in two folders."""
    paths = [tmp_path / name for name in ("one/a.wav", "one/b.flac", "two/c.wav")]
    for place, path in enumerate(paths):
        write_audio(path, Audio(noise(1, 3000 + place, seed=place), 16000))
    return paths


def enhance(recipes: Recipes, *arguments: object) -> Ran:
    return recipes.run("enhance", *arguments, "--model", recipes.folder / "model", "--mix", 0.1)


def test_several_recordings_go_into_a_folder(recipes: Recipes, tmp_path: Path, three: list[Path]) -> None:
    report = tmp_path / "report"
    done = enhance(recipes, *three, f"{tmp_path}/out/", "--output", report, "--picture")
    assert done.code == 0, done.said
    assert "3 enhanced" in done.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", "b.flac", "c.wav"]
    rows = read_json(report / "metrics.json")["per_file"]
    assert [(row["file"], row["output"]) for row in rows] == [
        (name, f"{tmp_path}/out/{name}") for name in ("a.wav", "b.flac", "c.wav")
    ]
    assert imread(report / "pictures/c.wav.png").std() > 0.1
    again = enhance(recipes, *three, tmp_path / "out")
    assert (again.code, "3 skipped" in again.err) == (0, True)
    later = (tmp_path / "out/c.wav").stat().st_mtime + 60
    os.utime(three[2], (later, later))
    assert "is skipped changed after the result was made (c.wav)" in enhance(recipes, *three, tmp_path / "out").err
    assert "3 enhanced" in enhance(recipes, *three, tmp_path / "out", "--overwrite").out
    assert "3 to enhance" in enhance(recipes, *three, f"{tmp_path}/other/", "--dry-run").out
    assert not (tmp_path / "other").exists()


def test_a_bad_one_keeps_no_other_from_being_enhanced(recipes: Recipes, tmp_path: Path, three: list[Path]) -> None:
    three[1].write_text("no audio")
    done = enhance(recipes, *three, tmp_path / "none.wav", f"{tmp_path}/out/")
    assert done.code == 1
    assert "failed: b.flac: " in done.err
    assert f"failed: none.wav: {tmp_path}/none.wav: no such file" in done.err
    assert "2 enhanced" in done.out
    done = enhance(recipes, *three, tmp_path / "one")  # where two of them lie
    assert f"failed: a.wav: {tmp_path}/one/a.wav is the noisy file itself" in done.err
    assert (tmp_path / "one/c.wav").is_file()


def test_what_cannot_be_meant_is_refused_before_the_work(recipes: Recipes, tmp_path: Path, three: list[Path]) -> None:
    first, second, third = three
    write_audio(tmp_path / "two/A.wav", Audio(noise(1, 100), 16000))
    cases: list[tuple[list[object], str]] = [
        ([first, second, third], f"{third} is no folder; of three names or more the last is one for all results"),
        ([first, second, tmp_path / "out"], f"{tmp_path}/out/ makes it one"),
        ([first, tmp_path / "two/A.wav", f"{tmp_path}/out/"], f"the results of {first} and {tmp_path}/two/A.wav would"),
        ([first, tmp_path / "two", f"{tmp_path}/out/"], f"{tmp_path}/two is a folder, which is enhanced alone"),
        ([first, "-", f"{tmp_path}/out/"], "standard input is enhanced alone"),
        ([first, "", f"{tmp_path}/out/"], "the target is ''"),
        ([first, second, f"{tmp_path}/out/", "--engine", "local"], "--engine takes a folder"),
    ]
    before = third.read_bytes()
    for arguments, said in cases:
        done = enhance(recipes, *arguments)
        assert (done.code, "Traceback" in done.err) == (1, False)
        assert said in done.err
        assert not (tmp_path / "out").exists()
    assert third.read_bytes() == before


def test_files_are_what_they_are_alone(tmp_path: Path, three: list[Path]) -> None:
    enhancer = gain_enhancer(0.5)
    report = enhancer.enhance_dir([*three, three[0]], tmp_path / "out", progress=False)
    assert [(file.name, file.target) for file in report.files] == [
        (path.name, tmp_path / "out" / path.name) for path in three
    ]
    for path in three:
        enhancer.enhance_file(path, tmp_path / "alone" / path.name)
        np.testing.assert_array_equal(
            read_audio(tmp_path / "alone" / path.name).waveform, read_audio(tmp_path / "out" / path.name).waveform
        )
    write_audio(tmp_path / "two/a.wav", Audio(noise(1, 100), 16000))
    both = re.escape(f"{three[0]} and {tmp_path}/two/a.wav would both be {tmp_path}/out/a.wav")
    with pytest.raises(DataError, match=both):
        enhancer.enhance_dir([three[0], tmp_path / "two/a.wav"], tmp_path / "out", progress=False)
