"""speech/audio/plots.py: spectrograms in blocks, of any length, in no more columns than a picture has."""

from __future__ import annotations

import os

import numpy as np
import pytest
from matplotlib.image import imread

from speech.audio.files import Audio
from speech.audio.plots import picture_files, spectrogram
from speech.audio.writing import write_audio
from tests.speech.models import noise

RATE = 16000


@pytest.mark.parametrize("samples", [1, 100, 16_000, 700_000])
def test_blocks_of_any_size_give_the_same_picture(samples):
    wave = noise(samples)
    whole = spectrogram([wave], samples, RATE)
    pieces = spectrogram((wave[i : i + 7777] for i in range(0, samples, 7777)), samples, RATE)
    np.testing.assert_allclose(pieces.levels, whole.levels, atol=1e-3)
    assert whole.levels.shape == (257, min(1200, samples // 128 + 1))
    assert whole.seconds == samples / RATE


@pytest.mark.parametrize("seconds", [2, 60])
def test_a_tone_lies_at_its_time_and_frequency(seconds):
    """Of amplitude 0.5, so that its level is 12 dB below full scale; in the last quarter alone."""
    time = np.arange(seconds * RATE) / RATE
    wave = 0.5 * np.sin(2 * np.pi * 1000 * time) * (time >= 0.75 * seconds)
    found = spectrogram([wave.astype(np.float32)], len(wave), RATE).levels
    columns = found.shape[1]
    assert set(found[:, int(0.78 * columns) :].argmax(axis=0)) == {32}
    np.testing.assert_allclose(found[32, int(0.78 * columns) : -2], -12.04, atol=0.1)
    assert found[:, : int(0.72 * columns)].max() < -200


def test_channels_are_drawn_by_their_mean_power_whatever_is_in_the_first():
    """One of two that are silent, or against each other: 3 and 0 dB below one alone."""
    wave, nothing = noise(1, 20_000), np.zeros((1, 20_000), np.float32)
    alone = spectrogram([wave], 20_000, RATE).levels
    for other, lower in ((nothing, 10 * np.log10(2)), (-wave, 0)):
        both = np.concatenate([other, wave])
        found = spectrogram([both[:, :7777], both[:, 7777:]], 20_000, RATE, channels=2).levels
        np.testing.assert_allclose(found, alone - lower, atol=1e-3)


def test_a_picture_shows_what_is_in_the_second_channel_alone(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(np.concatenate([np.zeros((1, RATE), np.float32), noise(1, RATE)]), RATE))
    picture_files(tmp_path / "a.png", tmp_path / "a.wav", tmp_path / "a.wav", "a")
    assert imread(tmp_path / "a.png")[100:280, 200:900, :3].mean() > 0.2


def test_a_picture_shows_all_of_a_recording(tmp_path):
    wave = noise(2, 60 * RATE)
    wave[:, : 45 * RATE] *= 1e-4
    write_audio(tmp_path / "a.wav", Audio(wave, RATE))
    picture_files(tmp_path / "a.png", tmp_path / "a.wav", tmp_path / "a.wav", "a.wav")
    bright = imread(tmp_path / "a.png")[..., :3].mean(axis=2)[100:300].mean(axis=0)
    assert bright[900:1000].mean() > bright[200:600].mean() + 0.2


@pytest.mark.parametrize("samples", [1, RATE])
def test_silence_is_black(tmp_path, samples):
    write_audio(tmp_path / "a.wav", Audio(np.zeros((1, samples), np.float32), RATE))
    picture_files(tmp_path / "a.png", tmp_path / "a.wav", tmp_path / "a.wav", "$a_{$")  # a name, no formula
    assert imread(tmp_path / "a.png")[100:280, 200:900, :3].max() < 0.05


def test_samples_that_are_not_finite_do_not_spoil_a_picture(tmp_path):
    wave = noise(1, RATE)
    write_audio(tmp_path / "good.wav", Audio(wave, RATE))
    bad = wave.copy()
    bad[0, 100], bad[0, 200] = np.nan, 1e38
    write_audio(tmp_path / "bad.wav", Audio(bad, RATE, subtype="FLOAT"))
    pictures = []
    for name in ("good", "bad"):
        picture_files(tmp_path / "a.png", tmp_path / f"{name}.wav", tmp_path / "good.wav", "a.wav")
        pictures.append(imread(tmp_path / "a.png")[..., :3])
    np.testing.assert_allclose(pictures[1].mean(axis=(1, 2)), pictures[0].mean(axis=(1, 2)), atol=0.05)


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_names_that_are_not_utf8_are_drawn(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(noise(1, RATE), RATE))
    picture_files(tmp_path / "a.png", tmp_path / "a.wav", tmp_path / "a.wav", os.fsdecode(b"\xff\xfe.wav"))
    assert imread(tmp_path / "a.png").std() > 0.05
