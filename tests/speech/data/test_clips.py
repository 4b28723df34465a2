"""speech/data/clips.py: recordings as mixing takes them, at one rate, kept for the next time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from shared.errors import DataError
from speech.data import MixConfig, MixSource, validation_pairs
from speech.data.clips import audio_files, read_clips, speaker_of
from tests.speech.trees import RATE, hiss, mixing_folders, put, speech_like


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return mixing_folders(tmp_path_factory.mktemp("mixing"))


def test_clips_are_read_mono_at_the_rate_and_bad_files_named(tmp_path: Path) -> None:
    stereo = np.stack([speech_like(1.0, rate=48000)] * 2, 1)
    put(tmp_path / "a" / "stereo.wav", stereo, 48000)
    put(tmp_path / "a" / "silent.wav", np.zeros(RATE, np.float32))
    put(tmp_path / "a" / "blip.wav", np.ones(10, np.float32))
    told = r"2 of 3 files in .*a are left out, a/blip for one: they are silent or shorter than 0\.1 s"
    with pytest.warns(UserWarning, match=told):
        (clip,) = read_clips(tmp_path / "a", RATE, cache=tmp_path / "kept")
    with pytest.warns(UserWarning, match=told):
        read_clips(tmp_path / "a", RATE, cache=tmp_path / "kept")
    assert abs(len(clip) - RATE) <= 1
    assert np.abs(clip.read(2000, 10000)).max() > 0.2
    put(tmp_path / "loud" / "loud.wav", 4 * speech_like(1.0), subtype="FLOAT")
    np.testing.assert_allclose(read_clips(tmp_path / "loud", RATE)[0].read(), 2 * speech_like(1.0), atol=2e-4)
    for name, content in (("text.wav", b"this is not audio"), ("empty.flac", b"")):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read_clips(tmp_path / name, RATE)
    put(tmp_path / "nan" / "nan.wav", np.array([0.1, np.nan], np.float32), subtype="FLOAT")
    with pytest.raises(DataError, match=r"nan\.wav"):
        read_clips(tmp_path / "nan", RATE)
    put(tmp_path / "nan" / "fine.wav", speech_like(1.0))
    (tmp_path / "nan" / "text.wav").write_bytes(b"this is not audio")
    with pytest.raises(DataError, match=r"^2 files cannot be used: \S*nan\.wav holds NaN.*; \S*text\.wav is not audio"):
        read_clips(tmp_path / "nan", RATE)
    empty = tmp_path / "void"
    empty.mkdir()
    with pytest.raises(DataError, match="no audio"):
        read_clips(empty, RATE)


def test_a_file_without_samples_is_left_out_as_one_that_is_silent(tmp_path: Path) -> None:
    """It kept the whole folder from being trained on."""
    folder = tmp_path / "noise"
    put(folder / "hiss.wav", hiss(1.0))
    put(folder / "stopped.wav", np.zeros(0, np.float32))
    for _ in range(2):  # decoded, and kept
        with pytest.warns(UserWarning, match=r"1 of 2 files in .*noise are left out, noise/stopped for one"):
            assert [clip.id for clip in read_clips(folder, RATE, cache=tmp_path / "kept")] == ["noise/hiss"]
    (folder / "hiss.wav").unlink()
    with pytest.raises(DataError, match="every file in"):
        read_clips(folder, RATE)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights")
def test_links_to_folders_are_followed_each_folder_once(tmp_path: Path) -> None:
    """Folders to train on are often put together by links."""
    for place in ("elsewhere/deep/a.wav", "noise/b.wav", "noise/real/c.wav"):
        put(tmp_path / place, hiss(1.0))
    for name, to in {"all": "elsewhere", "again": "elsewhere/deep", "real2": "noise/real"}.items():
        (tmp_path / "noise" / name).symlink_to(tmp_path / to)
    noise = tmp_path / "noise"
    assert audio_files(noise) == [noise / name for name in ("again/a.wav", "b.wav", "real/c.wav")]
    assert sorted(clip.id.split("/")[1] for clip in read_clips(noise, RATE)) == ["a", "b", "c"]
    assert len(audio_files(noise, once=False)) == 5
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "link").symlink_to(tmp_path / "elsewhere/deep")
    assert audio_files(tmp_path / "only") == [tmp_path / "only/link/a.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights")
@pytest.mark.parametrize("link", ["noise/up", "noise/here", "noise/deep/back", "noise/out/around"])
def test_a_link_that_leads_back_is_not_followed_for_ever(tmp_path: Path, link: str) -> None:
    targets = {"up": ".", "here": "noise", "back": "noise/deep", "around": "beside"}
    put(tmp_path / "noise/b.wav", hiss(1.0))
    put(tmp_path / "noise/deep/c.wav", hiss(1.0))
    put(tmp_path / "beside/far/d.wav", hiss(1.0))
    (tmp_path / "noise/out").symlink_to(tmp_path / "beside/far")
    (tmp_path / link).symlink_to(tmp_path / targets[link.split("/")[-1]])
    told = r"1 files or folders below .*noise are passed over, .* for one: it leads back to"
    with pytest.warns(UserWarning, match=told):
        assert [path.name for path in audio_files(tmp_path / "noise")] == ["b.wav", "c.wav", "d.wav"]


def test_kept_clips_equal_decoded_ones(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    decoded = read_clips(folders[0], RATE, cache=tmp_path)
    kept = read_clips(folders[0], RATE, cache=tmp_path)
    assert isinstance(kept[0].samples, np.memmap)
    for a, b in zip(decoded, kept, strict=True):
        assert (a.id, a.speaker, a.power) == (b.id, b.speaker, b.power)
        np.testing.assert_array_equal(a.samples, b.samples)
    (store,) = tmp_path.glob("*.npy")
    store.write_bytes(store.read_bytes()[:1000])
    again = read_clips(folders[0], RATE, cache=tmp_path)
    np.testing.assert_array_equal(again[0].samples, decoded[0].samples)


def test_speakers_by_name() -> None:
    assert speaker_of(Path("x/103-1240-0000.flac")) == "x/103"
    assert speaker_of(Path("x/p226_001.wav")) == "x/p226"
    assert speaker_of(Path("x/LJ001-0001.flac")) == "x"


def test_clean_speech_below_the_models_rate_is_told(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    clean, noise = tmp_path / "clean", tmp_path / "noise"
    put(noise / "hiss.wav", hiss(1.0, rate=8000), 8000)
    put(clean / "whole.wav", speech_like(1.0))
    put(clean / "wide.wav", speech_like(1.0, rate=44100), 44100)
    for rate in (RATE, 48000):  # what 44.1 kHz lack of 48 nobody hears
        config = MixConfig(sample_rate=rate, babble=0.0, reverb=0.0)
        MixSource(clean, noise, config=config, cache=tmp_path / "kept")
    assert ["clean/whole for one (16000 Hz)" in str(each.message) for each in recwarn] == [True]  # of 48 kHz alone
    put(clean / "call.wav", speech_like(1.0, rate=8000), 8000)
    config = MixConfig(babble=0.0, reverb=0.0)
    told = r"1 of 3 recordings of clean speech have rates below 16000 Hz, clean/call for one \(8000 Hz\)"
    for _ in range(2):  # decoded, and kept
        with pytest.warns(UserWarning, match=told):
            MixSource(clean, noise, config=config, cache=tmp_path / "kept")
    with pytest.warns(UserWarning, match=told):
        validation_pairs(clean, noise, count=1, config=config)
