"""bands.py: what lies above the model's band is kept as it was, follows the model's gain, or is left out."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal

from shared.errors import ConfigError
from speech import metrics
from speech.audio.files import Audio, read_audio
from speech.audio.resampling import resample
from speech.audio.writing import write_audio
from speech.enhancer import Enhancer
from speech.inference.advice import SettingWarning
from tests.speech.models import decibels, gain_enhancer, level, noise, tiny_enhancer, tiny_model

RATES = [22050, 44100, 48000]
WINDOWS = {"window_seconds": 0.5, "overlap_seconds": 0.2}


def above(waveform: np.ndarray, rate: int, edge: float = 9500.0) -> np.ndarray:
    """What lies above 9.5 kHz."""
    return signal.sosfiltfilt(signal.butter(8, edge, "highpass", fs=rate, output="sos"), waveform)


def streamed(enhancer: Enhancer, waveform: np.ndarray, rate: int) -> np.ndarray:
    stream = enhancer.stream(rate, channels=len(waveform))
    size = rate // 100
    parts = [stream.push(waveform[:, start : start + size]) for start in range(0, waveform.shape[1], size)]
    return np.concatenate([*parts, stream.flush()], axis=1)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("options", [{}, WINDOWS], ids=["short", "long"])
def test_what_the_model_leaves_alone_comes_back_as_it_was(rate, options):
    waveform = noise(2, rate)
    enhanced = gain_enhancer(upper_band="follow", **options).enhance(waveform, rate)
    inner = slice(rate // 20, -rate // 20)  # of a recording's last samples resampling keeps nothing
    assert decibels((enhanced - waveform)[:, inner], waveform[:, inner]) < -60
    dropped = gain_enhancer(upper_band="drop", **options).enhance(waveform, rate)
    assert level(above(dropped, rate)[:, inner]) < level(waveform) - 60


@pytest.mark.parametrize("rate", RATES)
def test_a_stream_is_as_transparent(rate):
    waveform = noise(2, rate)
    enhanced = streamed(gain_enhancer(upper_band="follow"), waveform, rate)
    inner = slice(rate // 20, -rate // 20)
    assert decibels((enhanced - waveform)[:, inner], waveform[:, inner]) < -60
    dropped = streamed(gain_enhancer(upper_band="drop"), waveform, rate)
    assert level(above(dropped, rate)[:, inner]) < level(waveform) - 60


def test_the_gain_is_the_models_and_at_most_one():
    waveform = noise(1, 48000)
    for amplitude, expected in ((0.1, 0.1), (0.5, 0.5), (1.2, 1.0)):
        enhanced = gain_enhancer(amplitude, upper_band="follow").enhance(waveform, 48000)
        ratio = level(above(enhanced, 48000)[:, 5000:-5000]) - level(above(waveform, 48000)[:, 5000:-5000])
        assert ratio == pytest.approx(20 * np.log10(expected), abs=0.3)


def test_the_gain_follows_in_time():
    rate, bursts = 48000, np.zeros(2 * 48000, np.float32)
    bursts[12000:36000] = bursts[60000:84000] = 1
    waveform = noise(1, len(bursts)) * (0.02 + bursts)

    def gate(y: torch.Tensor) -> torch.Tensor:
        return (y.abs().square().mean(dim=-2, keepdim=True) > 0.03).float()

    enhanced = above(gain_enhancer(gate, upper_band="follow").enhance(waveform, rate), rate)
    before = above(waveform, rate)
    voice, pause = slice(14000, 34000), slice(42000, 58000)
    assert level(enhanced[:, voice]) == pytest.approx(level(before[:, voice]), abs=0.5)
    assert level(enhanced[:, pause]) < level(before[:, pause]) - 20


def test_up_to_the_models_rate_nothing_changes():
    for rate in (8000, 16000):
        waveform = noise(2, rate)
        one, other = (tiny_enhancer(enhancer={"upper_band": choice}) for choice in ("follow", "drop"))
        np.testing.assert_array_equal(one.enhance(waveform, rate), other.enhance(waveform, rate))


def test_what_is_dropped_leaves_what_the_model_made():
    waveform = noise(1, 44100)
    enhancer = tiny_enhancer(enhancer={"upper_band": "drop"})
    model_rate = enhancer.enhance(resample(waveform, 44100, 16000), 16000)
    expected = resample(model_rate, 16000, 44100, length=44100)
    np.testing.assert_allclose(enhancer.enhance(waveform, 44100), expected, atol=1e-6)


@pytest.mark.parametrize("mix", [1.0, 0.7])
def test_short_long_file_folder_agree(tmp_path, mix):
    model, waveform = tiny_model(steps=2), noise(2, 60000)
    whole = Enhancer(model, mix=mix, upper_band="follow")
    windows = Enhancer(model, mix=mix, upper_band="follow", **WINDOWS)
    write_audio(tmp_path / "in/a.wav", Audio(waveform, 44100, "WAV", "FLOAT"))
    expected = whole.enhance(waveform, 44100, seed=whole.seed_of("a.wav"))
    for place, enhancer in enumerate((whole, windows)):
        enhancer.enhance_file(tmp_path / "in/a.wav", tmp_path / "file.wav")
        enhancer.enhance_dir(tmp_path / "in", tmp_path / f"out{place}", progress=False)
        for path in (tmp_path / "file.wav", tmp_path / f"out{place}/a.wav"):
            found = read_audio(path).waveform
            assert decibels(found - expected, expected) < -80
    assert level(above(expected, 44100)) > -60


def test_it_is_said_once_where_nobody_chose(tmp_path):
    enhancer = tiny_enhancer(steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enhancer.enhance(noise(100), 16000)
        for choice in ("follow", "drop"):
            tiny_enhancer(steps=1, enhancer={"upper_band": choice}).enhance(noise(4000), 48000)
    with pytest.warns(SettingWarning, match=r"band ends at 8 kHz.*is kept.*drop leaves it out"):
        enhancer.enhance(noise(4000), 48000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enhancer.enhance(noise(4000), 48000)
    write_audio(tmp_path / "in/a.wav", Audio(noise(1, 3000), 48000))
    with pytest.warns(SettingWarning, match="band ends at 8 kHz"):
        tiny_enhancer(steps=1).enhance_dir(tmp_path / "in", tmp_path / "out", progress=False)
    with pytest.warns(SettingWarning, match="band ends at 8 kHz"):
        tiny_enhancer(steps=1, causal=True).stream(48000)


def test_an_unknown_choice_is_refused():
    with pytest.raises(ConfigError, match="upper_band='double'"):
        tiny_enhancer(enhancer={"upper_band": "double"})


def test_real_speech_at_48_khz(shared_data: Path):
    folder = shared_data / "speech/fullband/valid/clean"
    audio = read_audio(sorted(folder.rglob("*.ogg"))[0])
    clean, rate = audio.waveform[:1, : 3 * audio.sample_rate], audio.sample_rate
    for choice, least in (("follow", 25), ("drop", None)):
        enhanced = Enhancer.from_pretrained("default", device="cpu")
        enhanced = Enhancer(enhanced.model, upper_band=choice).enhance(clean, rate)
        if least is None:
            assert level(above(enhanced, rate)) < level(above(clean, rate)) - 30
            continue
        assert metrics.si_sdr(clean[0], enhanced[0], rate) > least
        assert level(above(enhanced, rate)) == pytest.approx(level(above(clean, rate)), abs=2)
