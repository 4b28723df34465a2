"""speech/inference/removed.py: levels before and after; speech/inference/segments.py: how far draws are apart."""

from __future__ import annotations

import numpy as np
import pytest

from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from speech.enhancer import Enhancer
from speech.inference.removed import Levels, Removed
from speech.inference.segments import Spread
from tests.speech.models import gain_enhancer, noise, tiny_model


def removed(noisy: np.ndarray, enhanced: np.ndarray, rate: int = 16000, block: int = 4000) -> Removed:
    levels = Levels(rate, len(noisy))
    for start in range(0, noisy.shape[1], block):
        levels.push(noisy[:, start : start + block], enhanced[:, start : start + block])
    return levels.removed()


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.01, 2.0])
def test_a_gain_removes_its_decibels(gain):
    wave = noise(2, 32_000)
    found = removed(wave, gain * wave)
    assert found.overall == pytest.approx(-20 * np.log10(gain), abs=1e-4)
    assert (found.in_pauses, found.pauses) == (None, 0.0)


def test_pauses_are_where_the_result_is_quiet():
    speech, hiss = noise(1, 64_000, seed=1), 0.1 * noise(1, 64_000, seed=2)
    speech[:, 16_000:48_000] = 0
    found = removed(speech + hiss, speech + 0.01 * hiss)
    assert found.pauses == pytest.approx(0.5)
    assert found.in_pauses == pytest.approx(40, abs=0.01)
    assert 0 < found.overall < 0.1


def test_a_click_makes_no_pause_of_speech():
    wave = noise(1, 64_000)
    wave[0, 100] = 30.0
    assert removed(wave, wave).pauses == 0


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 9999])
def test_blocks_of_any_size_and_short_recordings(samples):
    wave = noise(1, samples)
    whole = removed(wave, 0.5 * wave, block=max(1, samples))
    assert removed(wave, 0.5 * wave, block=77) == whole
    assert whole.overall == pytest.approx(6.02 if samples else 0, abs=0.01)


def test_silence_is_counted_from_120_decibels_below_full_scale():
    silence = np.zeros((1, 3200), np.float32)
    assert removed(silence, silence).overall == 0
    assert removed(silence + 1, silence).overall == pytest.approx(120, abs=0.01)


def test_the_report_of_a_file_tells_the_gain_of_a_model_that_is_one(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(2, 40_000), 16000, "WAV", "FLOAT"))
    enhancer = gain_enhancer(0.5)
    result = enhancer.enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert result.removed is not None
    assert result.removed.overall == pytest.approx(6.02, abs=0.05)
    assert result.spread is None
    (tmp_path / "in").mkdir()
    write_audio(tmp_path / "in/a.wav", Audio(noise(2, 40_000), 16000, "WAV", "FLOAT"))
    (of_folder,) = enhancer.enhance_dir(tmp_path / "in", tmp_path / "out", progress=False).files
    assert of_folder.removed is not None
    assert of_folder.removed.overall == pytest.approx(result.removed.overall, abs=1e-3)


def test_spread_is_that_of_independent_draws():
    rng = np.random.default_rng(0)
    signal, draws = rng.standard_normal(200_000), 4
    each = signal + 0.1 * rng.standard_normal((draws, signal.size))
    mean = each.mean(axis=0)
    spread = Spread(draws, float(np.square(each).sum() / draws), float(np.square(mean).sum()))
    assert spread.decibels == pytest.approx(-20, abs=0.1)
    assert Spread(1, 1.0, 1.0).decibels is None
    assert Spread(3, 0.0, 0.0).decibels is None
    assert Spread(3, 1.0, 1.0).decibels == -100


def test_a_model_that_draws_tells_its_spread(tmp_path):
    wave = noise(1, 8000)
    write_audio(tmp_path / "a.wav", Audio(wave, 16000, "WAV", "FLOAT"))
    model = tiny_model(steps=2)
    result = Enhancer(model, draws=3).enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
    assert result.spread is not None
    assert result.spread < 40
    assert Enhancer(model).enhance_file(tmp_path / "a.wav", tmp_path / "c.wav").spread is None
    assert read_audio(tmp_path / "b.wav").waveform.shape == wave.shape
