"""speech/folders.py: a tree comes out as files one by one do; bad files are told and left out; runs go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import ConfigError, DataError
from speech.audio import Audio, read_audio, write_audio
from speech.enhancer import Enhancer
from speech.folders import find_audio
from tests.speech.models import noise, tiny_enhancer, tiny_model

OPTIONS = {"window_seconds": 0.5, "overlap_seconds": 0.2}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Good files of several lengths, rates and kinds in a tree, with bad ones among them."""
    root = tmp_path_factory.mktemp("noisy")
    for i, samples in enumerate([4000, 4100, 7000, 1, 100, 12_000]):
        write_audio(root / f"{i}.wav", Audio(noise(1 + i % 2, samples, seed=i), 16000, "WAV", "FLOAT"))
    write_audio(root / "deep/er/0.wav", Audio(noise(1, 4000), 16000, "WAV", "FLOAT"))
    write_audio(root / "same.wav", Audio(noise(1, 22_050, seed=8), 44100))
    write_audio(root / "same.flac", Audio(noise(1, 8000, seed=9), 8000, "FLAC", "PCM_16"))
    write_audio(root / "silence.ogg", Audio(np.zeros((1, 6000), np.float32), 16000))
    write_audio(root / "nan.wav", Audio(np.full((1, 3000), np.nan, np.float32), 16000, "WAV", "FLOAT"))
    (root / "text.wav").write_text("not audio")
    (root / "empty.wav").write_bytes(b"")
    write_audio(root / "cut.flac", Audio(noise(1, 9000), 16000))
    (root / "cut.flac").write_bytes((root / "cut.flac").read_bytes()[:9000])
    (root / "notes.txt").write_text("left alone")
    (root / ".hidden.wav").write_text("left alone")
    return root


def waves_in(folder: Path) -> dict[str, np.ndarray]:
    return {name: read_audio(folder / name).waveform for name in files_in(folder)}


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_is_its_files_one_by_one(tree, tmp_path, workers):
    enhancer = Enhancer(tiny_model(steps=2), **OPTIONS)
    threads = torch.get_num_threads()
    report = enhancer.enhance_dir(tree, tmp_path / "out", workers=workers, progress=False)
    assert torch.get_num_threads() == threads
    assert set(report.failed) == {"text.wav", "empty.wav", "cut.flac"}
    assert "not audio" in report.failed["text.wav"]
    assert "empty" in report.failed["empty.wav"]
    assert "cut short" in report.failed["cut.flac"]
    names = [file.name for file in report.files]
    assert names == sorted(names)
    assert set(names) == set(files_in(tmp_path / "out"))
    assert {"deep/er/0.wav", "same.wav", "same.flac"} < set(names)
    assert {file.name: file.replaced for file in report.files if file.replaced} == {"nan.wav": 3000}
    assert report.nfe == enhancer.nfe == 2
    assert report.audio_seconds == pytest.approx(sum(read_audio(tree / n).info.seconds for n in names))
    one = Enhancer(enhancer.model, **OPTIONS, batch_size=1)
    for name in names:
        result = one.enhance_file(tree / name, tmp_path / "one" / Path(name).name, name=name)
        alone, together = (read_audio(p) for p in (tmp_path / "one" / Path(name).name, tmp_path / "out" / name))
        assert alone.info == together.info
        np.testing.assert_allclose(together.waveform, alone.waveform, atol=1e-5 if "FLOAT" in alone.subtype else 4e-5)
        assert result == next(file for file in report.files if file.name == name) or result.nfe == 0
    assert not read_audio(tmp_path / "out/silence.ogg").waveform.any()
    same = [read_audio(tmp_path / "out" / n).waveform for n in ("0.wav", "deep/er/0.wav")]
    assert np.abs(same[0] - same[1]).max() > 1e-4


def test_what_exists_is_skipped_or_written_anew(tree, tmp_path):
    enhancer = tiny_enhancer(steps=1, enhancer=OPTIONS)
    out = tmp_path / "out"
    first = enhancer.enhance_dir(tree, out, progress=False)
    made = waves_in(out)
    (out / "0.wav").write_bytes(b"older")
    again = enhancer.enhance_dir(tree, out, progress=False)
    assert again.files == []
    assert set(again.skipped) == {file.name for file in first.files}
    assert set(again.failed) == set(first.failed)
    assert (out / "0.wav").read_bytes() == b"older"
    (out / "1.wav").unlink()
    assert [f.name for f in enhancer.enhance_dir(tree, out, progress=False).files] == ["1.wav"]
    enhancer.enhance_dir(tree, out, existing="overwrite", progress=False)
    anew = waves_in(out)
    assert set(anew) == set(made)
    for name, wave in made.items():
        np.testing.assert_allclose(anew[name], wave, atol=1e-6)


def test_a_batch_that_fails_is_tried_file_by_file(tree, tmp_path):
    enhancer = tiny_enhancer(steps=1, enhancer={**OPTIONS, "batch_size": 4})
    calls = []

    def fails_on_two(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        calls.append(len(inputs[0]))
        if len(inputs[0]) > 1:
            raise RuntimeError("out of memory")

    enhancer.model.backbone.register_forward_pre_hook(fails_on_two)
    report = enhancer.enhance_dir(tree, tmp_path / "out", progress=False, workers=1)
    assert max(calls) > 1
    done = {file.name for file in report.files}
    assert {"0.wav", "2.wav", "deep/er/0.wav", "same.wav"} <= done
    assert "RuntimeError: out of memory" in report.failed["1.wav"]
    assert not (tmp_path / "out/1.wav").exists()


def test_a_target_that_cannot_be_written_does_not_stop_the_others(tree, tmp_path):
    (tmp_path / "deep").write_text("a file where a folder should be")
    report = tiny_enhancer(steps=1, enhancer=OPTIONS).enhance_dir(tree, tmp_path, progress=False)
    assert "cannot be written" in report.failed["deep/er/0.wav"]
    assert len(report.files) == 10


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_keeps_what_is_done_and_leaves_no_half_file(tree, tmp_path, workers):
    enhancer = tiny_enhancer(steps=1, enhancer=OPTIONS)
    calls = []

    def stop(*_: object) -> None:
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt

    hook = enhancer.model.backbone.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        enhancer.enhance_dir(tree, tmp_path / "out", progress=False, workers=workers)
    assert len(calls) < 12
    hook.remove()
    done = files_in(tmp_path / "out")
    assert not [name for name in done if Path(name).name.startswith(".")]
    report = enhancer.enhance_dir(tree, tmp_path / "out", progress=False)
    assert set(report.skipped) == set(done)
    assert len(report.files) + len(done) == 11
    assert done or workers > 1


def test_targets_inside_the_source_are_not_searched(tree, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 900), 16000))
    for _ in range(2):
        assert find_audio(tmp_path, tmp_path / "out") == [tmp_path / "a.wav"]
        tiny_enhancer(steps=1).enhance_dir(tmp_path, tmp_path / "out", progress=False)


def test_folders_that_cannot_be_enhanced(tree, tmp_path):
    enhancer = tiny_enhancer()
    with pytest.raises(DataError, match="is the folder of the noisy files itself"):
        enhancer.enhance_dir(tree, tree)
    with pytest.raises(DataError, match="no such folder"):
        enhancer.enhance_dir(tmp_path / "none", tmp_path / "out")
    with pytest.raises(DataError, match="is a file"):
        enhancer.enhance_dir(tree / "0.wav", tmp_path / "out")
    (tmp_path / "notes.txt").write_text("no audio here")
    with pytest.raises(DataError, match="holds no audio files"):
        enhancer.enhance_dir(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match="existing='ask'"):
        enhancer.enhance_dir(tree, tmp_path / "out", existing="ask")
    with pytest.raises(ConfigError, match="workers=0"):
        enhancer.enhance_dir(tree, tmp_path / "out", workers=0)
