"""Music is told from speech and noise, and is left as it is where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recipes.fit_music import recordings
from shared.errors import ConfigError, DataError
from speech import Enhancer
from speech.audio.files import read_audio
from speech.audio.music import MusicKeeper, MusicShare, features, likelihoods
from speech.audio.resampling import resample
from tests.speech.models import decibels, gain_enhancer, noise, tiny_enhancer
from tests.speech.trees import hiss, put

RATE = 16000


def tune(seconds: float, seed: int = 0) -> np.ndarray:
    """Notes of a third of a second, of ten harmonics each, two at a time."""
    rng, length = np.random.default_rng(seed), RATE * 5 // 16
    time = np.arange(length) / RATE
    notes = []
    for _ in range(int(np.ceil(3.2 * seconds))):
        pitches = 220 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 2) / 12)
        notes.append(sum(np.sin(2 * np.pi * k * f * time) / k for f in pitches for k in range(1, 11)))
    whole = 0.1 * np.concatenate(notes)[: round(seconds * RATE)]
    return (whole / np.abs(whole).max() * 0.5).astype(np.float32)


def shares(waveform: np.ndarray, size: int | None = None) -> np.ndarray:
    music = MusicShare(1)
    for start in range(0, len(waveform), size or len(waveform)):
        block = waveform[None, start : start + (size or len(waveform))]
        assert music.push(block) is block
    return music.shares()


def spoken(shared_data: Path, place: int, seconds: int = 12) -> np.ndarray:
    files = sorted((shared_data / "speech/valid/clean").rglob("*.flac"))
    waves = [resample(*(lambda a: (a.waveform[0], a.sample_rate))(read_audio(path)), RATE) for path in files[place::9]]
    return np.concatenate(waves)[: seconds * RATE]


def test_a_tune_is_music_and_speech_and_noise_are_not(shared_data: Path) -> None:
    assert shares(tune(12)).min() == 1
    for seed in range(3):
        assert shares(noise(12 * RATE, seed=seed)).max() == 0
        speech = spoken(shared_data, seed)
        assert shares(speech).max() == 0
        loud = noise(len(speech), seed=seed) / 0.1 * speech.std()
        assert shares(speech + loud.astype(np.float32)).mean() < 0.1
        mixed = tune(12, seed) + 0.03 * noise(12 * RATE)
        assert shares(mixed).mean() > 0.8


@pytest.mark.parametrize("size", [1000, 16001, 100000])
def test_blocks_of_any_size_give_the_same(size: int) -> None:
    whole = np.concatenate([tune(9), noise(9 * RATE)])
    np.testing.assert_allclose(shares(whole, size), shares(whole), atol=0.01)


@pytest.mark.parametrize("samples", [0, 1, 1279, 1280, 16000, 96000])
def test_short_recordings_are_judged_too(samples: int) -> None:
    found = shares(tune(7)[:samples]) if samples else MusicShare(1).shares()
    assert found.shape == (1,)
    assert np.isfinite(found).all()
    if samples >= 16000:
        assert found[0] > 0.5


def test_silence_is_none() -> None:
    assert shares(np.zeros(10 * RATE, np.float32)).max() == 0


def test_channels_are_judged_by_their_power() -> None:
    wave, hiss = tune(8), noise(8 * RATE)
    alone, equal = features(wave), features(np.stack([wave, wave]))
    np.testing.assert_array_equal(equal, alone)
    np.testing.assert_array_equal(features(np.stack([wave, -wave])), alone)  # whose mean is silent
    for sides in ([wave, 0 * wave], [wave, -wave], [0.1 * wave + hiss * 0.01, -wave]):
        music = MusicShare(2)
        music.push(np.stack(sides))
        assert music.shares().min() == 1
    music = MusicShare(2)
    music.push(np.stack([hiss, -hiss]))
    assert music.shares().max() == 0


def test_it_does_not_depend_on_the_level() -> None:
    wave = tune(8)
    loud, quiet = (likelihoods(features(wave * scale)) for scale in (1.0, 0.01))
    np.testing.assert_allclose(loud, quiet, atol=0.02)


def test_shares_rise_and_fall_in_between() -> None:
    keeper = MusicKeeper(np.array([0.0, 1.0]), RATE)
    enhanced, recording = np.zeros((1, 8 * RATE), np.float32), np.ones((1, 8 * RATE), np.float32)
    pieces = [keeper.mixed(enhanced[:, a:b], recording[:, a:b]) for a, b in ((0, 5000), (5000, 128000))]
    found = np.concatenate(pieces, axis=1)[0]
    assert found[: 3 * RATE].max() == pytest.approx(0, abs=1e-3)
    assert found[5 * RATE :].min() == pytest.approx(1, abs=1e-3)
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("rate", [RATE, pytest.param(44100, marks=pytest.mark.slow)])
def test_music_stays_and_noise_goes(tmp_path: Path, rate: int) -> None:
    music, hiss = tune(20), noise(20 * RATE)
    whole = resample(np.concatenate([music, hiss])[None], RATE, rate)
    options = {"upper_band": "follow", "keep_music": True}
    found = gain_enhancer(0.1, **options, window_seconds=4, overlap_seconds=1).enhance(whole, rate)
    inside = slice(2 * rate, 15 * rate)
    np.testing.assert_array_equal(found[:, inside], whole[:, inside])
    after = slice(28 * rate, 38 * rate)
    assert decibels(found[:, after], whole[:, after]) == pytest.approx(-20, abs=0.5)
    at_once = gain_enhancer(0.1, **options, window_seconds=60).enhance(whole, rate)
    assert decibels(found - at_once, at_once) < -60
    soundfile.write(tmp_path / "a.wav", whole.T, rate, subtype="FLOAT")
    result = gain_enhancer(0.1, **options).enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert "% taken for music" in " ".join(result.notes)
    plain = gain_enhancer(0.1, upper_band="follow").enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert "music" not in " ".join(plain.notes)


@pytest.mark.parametrize("upper_band", ["enhance", "follow", "drop"])
def test_music_above_the_models_band_stays_bit_for_bit(upper_band: Any) -> None:
    """Cymbals were lost, as the band above 8 kHz had gains of its own there, too."""
    rate = 44100
    hats = np.diff(noise(12 * rate), n=4, append=np.zeros(4)) / 100 * (np.arange(12 * rate) % 9000 < 2000)
    whole = resample(tune(12)[None], RATE, rate) + hats.astype(np.float32)
    for window in (4, 60):  # in pieces, and at once
        options = {"upper_band": upper_band, "keep_music": True, "window_seconds": window, "overlap_seconds": 1}
        found = gain_enhancer(0.1, **options).enhance(whole, rate)
        inside = slice(4 * rate, 8 * rate)
        np.testing.assert_array_equal(found[:, inside], whole[:, inside])


def test_where_it_cannot_be_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="ten seconds"):
        gain_enhancer(1.0, keep_music=True).stream(RATE)
    from speech.model.frontend import FrontEndConfig

    with pytest.raises(ConfigError, match="16000 Hz"):
        tiny_enhancer(
            frontend=FrontEndConfig(sample_rate=48000, n_fft=126, hop_length=32), enhancer={"keep_music": True}
        )
    assert Enhancer(gain_enhancer(1.0).model, keep_music=True).keep_music


def test_fitting_tells_a_folder_of_short_recordings(tmp_path: Path) -> None:
    put(tmp_path / "a.wav", hiss(6.0))
    with pytest.raises(DataError, match="no recording of more than 6 s"):
        recordings(tmp_path, 20)
    put(tmp_path / "b.wav", hiss(9.0))
    assert [len(wave) for wave in recordings(tmp_path, 8)] == [8 * 16000]
