"""speech/inference/folders.py: a tree comes out as files one by one do; bad files are told and left out; runs go on."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from shared.errors import ConfigError, DataError
from shared.files.io import UNFINISHED
from speech.audio.files import Audio, read_audio
from speech.audio.search import find_audio
from speech.audio.writing import refuse_full, write_audio
from speech.enhancer import Enhancer
from speech.inference.folders import _batches
from speech.inference.plan import like_results, meeting, plan_folder
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
        other = next(file for file in report.files if file.name == name)
        assert (result.removed, other.target) != (None, result.target)
        assert other.removed.overall == pytest.approx(result.removed.overall, abs=1e-2)
        assert replace(other, target=result.target, removed=result.removed) == result or result.nfe == 0
    assert not read_audio(tmp_path / "out/silence.ogg").waveform.any()
    same = [read_audio(tmp_path / "out" / n).waveform for n in ("0.wav", "deep/er/0.wav")]
    assert np.abs(same[0] - same[1]).max() > 1e-4


def test_files_that_run_together_are_as_long_and_no_more_than_memory_is_for(tmp_path, monkeypatch):
    enhancer = tiny_enhancer(steps=1, enhancer=OPTIONS)
    for i, samples in enumerate([4000] * 5 + [2000] * 3):
        write_audio(tmp_path / f"noisy/{i}.wav", Audio(noise(1, samples, seed=i), 16000, "WAV", "FLOAT"))
    monkeypatch.setattr(enhancer.engine.runner, "_batch_frames", 2 * enhancer.engine.runner.bucket(4000))
    paths, _ = find_audio(tmp_path / "noisy", tmp_path / "out")
    files = plan_folder(paths, tmp_path / "noisy", tmp_path / "out", "skip", None).files
    groups = [[file.info.samples for file in group] for group in _batches(enhancer.engine, files)]
    assert groups == [[4000, 4000], [4000, 4000], [4000], [2000, 2000], [2000]]


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


def test_where_nothing_can_be_written_nothing_more_is_enhanced(tmp_path):
    """Of thousands of recordings, all after a disk was full were enhanced, for hours, and each refused."""
    for i in range(9):
        write_audio(tmp_path / f"in/{i}.wav", Audio(noise(1, 7000, seed=i), 16000))
    (tmp_path / "file").write_text("a file where a folder should be")
    enhancer, calls = tiny_enhancer(steps=1, enhancer=OPTIONS), list[int]()
    enhancer.model.backbone.register_forward_hook(lambda *_: calls.append(1))
    report = enhancer.enhance_dir(tmp_path / "in", tmp_path / "file" / "out", progress=False, workers=1)
    assert all("cannot be written (Not a directory)" in why for why in report.failed.values())
    assert (len(report.failed), len(calls)) == (9, 1)
    with pytest.raises(DataError, match=r"a\.wav cannot be written \(its disk has room for \d+ bytes"):
        refuse_full(tmp_path / "a.wav", 10**18)
    refuse_full(tmp_path / "a.wav", 1)
    assert not (tmp_path / "a.wav").exists()


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
    assert len(calls) < 11 + workers  # the other worker may be within a file
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
        assert find_audio(tmp_path, tmp_path / "out") == ([tmp_path / "a.wav"], {})
        tiny_enhancer(steps=1).enhance_dir(tmp_path, tmp_path / "out", progress=False)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the right of root to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_files_that_may_not_be_read_are_told_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.flac", "c.mp3"):
        soundfile.write(tmp_path / "in" / name, noise(16_000), 16000)
        (tmp_path / "in" / name).chmod(0)
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)
    with as_nobody():
        failed = tiny_enhancer().enhance_dir("in", "out", progress=False).failed
    assert failed == {
        name: f"in/{name} may not be read; change its permissions" for name in ("a.wav", "b.flac", "c.mp3")
    }


def test_what_is_passed_over_is_told_with_the_remedy(tmp_path):
    root, other = tmp_path / "in", tmp_path / "other"
    for name in ("a.wav", "deep/b.wav"):
        write_audio(root / name, Audio(noise(1, 900), 16000))
    for name in ("talk.m4a", "deep/FILM.MP4", "x.aac", "x.webm", "x.wma", "x.wv", "x.amr"):
        (root / name).write_bytes(b"...")
    for name in ("notes.txt", ".hidden.m4a", "cover.jpg"):
        (root / name).write_bytes(b"...")
    write_audio(other / "c.wav", Audio(noise(1, 900), 16000))
    (root / "linked").symlink_to(other)
    (root / "d.wav").symlink_to(other / "c.wav")
    (root / "gone.wav").symlink_to(other / "no.wav")
    os.mkfifo(root / "pipe.wav")
    (root / "enhanced").symlink_to(tmp_path / "out")
    (root / "back").symlink_to(root)
    (tmp_path / "out").mkdir()
    report = tiny_enhancer(steps=1).enhance_dir(root, tmp_path / "out", progress=False)
    assert [file.name for file in report.files] == ["a.wav", "d.wav", "deep/b.wav", "linked/c.wav"]
    told = ["back", "deep/FILM.MP4", "gone.wav", "pipe.wav", "talk.m4a", "x.aac", "x.amr", "x.webm", "x.wma", "x.wv"]
    assert list(report.failed) == told
    for name in ("talk.m4a", "deep/FILM.MP4", "x.amr"):
        assert "not audio that libsndfile or FFmpeg reads, or is damaged" in report.failed[name]
    assert "it lies in; remove the link" in report.failed["back"]
    assert "no such file" in report.failed["gone.wav"]
    assert f"gone.wav links to {other / 'no.wav'}, and there is" in report.failed["gone.wav"]
    assert "is no regular file" in report.failed["pipe.wav"]


def test_two_files_with_one_target_are_not_both_enhanced(tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    paths = [root / name for name in ("deep/t.wav", "t.ac3", "t.ac3.wav", "t.wav")]
    for path in paths:
        write_audio(path.with_suffix(".wav"), Audio(noise(1, 900), 16000))
    (root / "t.ac3").write_bytes((root / "t.wav").read_bytes())  # the content decides how it is read
    plan = plan_folder(paths, root, out, "skip", None)
    assert [file.name for file in plan.files] == ["deep/t.wav", "t.ac3", "t.wav"]
    assert list(plan.failed) == ["t.ac3.wav"]
    assert "t.ac3.wav, in the place of that of t.ac3; rename one" in plan.failed["t.ac3.wav"]
    assert list(meeting(["A/x.wav", "B/x.wav", "a/X.wav", "x.wav"])) == ["a/X.wav"]


def test_a_folder_that_may_not_be_read_is_told():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        write_audio(root / "a.wav", Audio(noise(1, 900), 16000))
        (root / "closed").mkdir(mode=0)
        with as_nobody():
            found, passed = find_audio(root, root / "out")
        (root / "closed").chmod(0o755)
    assert [path.name for path in found] == ["a.wav"]
    assert passed == {"closed": "the folder cannot be read (Permission denied); change its permissions"}


def test_what_a_killed_run_left_in_a_folder_is_removed_though_all_is_skipped(tmp_path):
    write_audio(tmp_path / "in/a.wav", Audio(noise(1, 900), 16000))
    shutil.copytree(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / f"{UNFINISHED}0123.wav").write_bytes(b"half")
    assert tiny_enhancer(steps=1).enhance_dir(tmp_path / "in", tmp_path / "out", progress=False).skipped == ["a.wav"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.wav"]


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
    (tmp_path / "talk.m4a").write_text("...")
    report = enhancer.enhance_dir(tmp_path, tmp_path / "out", progress=False)
    assert (list(report.failed), report.files) == (["talk.m4a"], [])
    with pytest.raises(ConfigError, match="existing='ask'"):
        enhancer.enhance_dir(tree, tmp_path / "out", existing="ask")
    with pytest.raises(ConfigError, match="workers=0"):
        enhancer.enhance_dir(tree, tmp_path / "out", workers=0)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a.wav", "b.wav", "out/a.wav", "out/b.wav"], {"out": 2}),
        (["a.wav", "b.wav", "out/a.wav"], {"out": 1}),
        (["a.wav", "b.wav", "out/a.wav", "out/c.wav"], {}),
        (["a.wav", "runs/enhance/enhanced/a.wav"], {"runs/enhance/enhanced": 1}),
        (["x/a.wav", "out/x/a.wav"], {"out": 1}),
        (["a.wav", "out/a.wav", "two/a.wav", "two/out/a.wav"], {"out": 1, "two": 2}),
        (["call.amr", "out/call.amr.wav"], {"out": 1}),
        (["left/a.wav", "right/a.wav"], {}),
    ],
)
def test_folders_that_may_hold_earlier_results(names, found):
    """`speech enhance . two/` took what `speech enhance . out/` had made, in silence."""
    assert like_results(names) == found


def test_a_target_that_ends_with_a_slash_is_a_folder(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, 4000), 16000))
    result = tiny_enhancer(steps=1).enhance_file(tmp_path / "a.wav", f"{tmp_path}/new/")
    assert result.target == tmp_path / "new/a.wav"
    assert result.target.is_file()
