"""The same sound is the same file: no number of chance, and no time of its writing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.audio.chunks import chunks_of
from speech.audio.files import Audio, read_audio
from speech.audio.ogg import is_chained, is_damaged
from speech.audio.writing import write_audio


def sound(folder: Path, pitch: float = 0.05, subtype: str = "PCM_16") -> Audio:
    soundfile.write(folder / "source.wav", 0.1 * np.sin(pitch * np.arange(48000)), 24000, subtype)
    return read_audio(folder / "source.wav")


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
def test_streams_of_ogg_are_numbered_by_what_they_hold(suffix: str, tmp_path: Path) -> None:
    """libsndfile numbers them at random, so that jobs did not give the same bits again."""
    paths = [tmp_path / f"{name}{suffix}" for name in ("one", "again", "other")]
    for path, pitch in zip(paths, (0.05, 0.05, 0.06), strict=True):
        write_audio(path, sound(tmp_path, pitch))
        assert not is_damaged(path)
    one, again, other = (path.read_bytes() for path in paths)
    assert one == again
    assert one[14:18] != other[14:18]
    heard, _ = soundfile.read(paths[0])
    assert len(heard) == 48000
    assert np.abs(heard[1000:-1000] - 0.1 * np.sin(0.05 * np.arange(48000))[1000:-1000]).max() < 0.02
    (joined := tmp_path / f"joined{suffix}").write_bytes(one + other)
    assert is_chained(joined)


@pytest.mark.parametrize("suffix", [".wav", ".aiff"])
def test_samples_that_are_real_numbers_are_not_dated(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"made{suffix}"
    write_audio(path, sound(tmp_path, subtype="FLOAT"))
    with open(path, "rb") as file:
        (peaks,) = [chunk for chunk in chunks_of(file) if chunk.name == "PEAK"]
        file.seek(peaks.body + 4)
        assert file.read(4) == bytes(4)
    assert np.abs(soundfile.read(path)[0]).max() == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("suffix", [".mka", ".webm"])
def test_films_have_no_numbers_of_chance(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("av")
    paths = [tmp_path / f"{name}{suffix}" for name in ("one", "again")]
    for path in paths:
        write_audio(path, sound(tmp_path))
    one, again = (path.read_bytes() for path in paths)
    assert one == again
    assert read_audio(paths[0]).waveform.shape[1] >= 48000
