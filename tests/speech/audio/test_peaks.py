"""speech/audio/peaks.py: the level that peaks reach, clicks left out."""

from __future__ import annotations

import numpy as np
import pytest

from speech.audio.peaks import SteadyPeak, standing_out
from tests.speech.models import noise

FRAME = 512


def level(*blocks: np.ndarray) -> float:
    heard = SteadyPeak(16000)
    for block in blocks:
        heard.push(block.astype(np.float32))
    return heard.level


def of_frames(peaks: np.ndarray) -> np.ndarray:
    """A signal whose frames have these peaks."""
    signal = np.zeros((len(peaks), FRAME), np.float32)
    signal[:, 100] = peaks
    return signal.ravel()


@pytest.mark.parametrize(
    ("frames", "few"), [(1, 0), (7, 0), (8, 1), (15, 1), (16, 2), (48, 6), (349, 6), (350, 7), (500, 10)]
)
def test_a_few_peaks_may_be_twice_the_others(frames: int, few: int) -> None:
    peaks = np.random.default_rng(1).permutation(np.linspace(0.1, 0.2, frames)).astype(np.float32)
    assert level(of_frames(peaks)) == peaks.max()
    largest = np.argsort(peaks)[::-1][:few]
    peaks[largest] *= 30
    others = np.delete(peaks, largest).max()
    assert level(of_frames(peaks)) == (2 * others if few else peaks.max())


def test_silence_has_none_and_is_not_counted() -> None:
    assert level() == level(np.zeros(0)) == level(np.zeros(99 * FRAME)) == 0
    peaks = np.append(np.linspace(0.1, 0.2, 100), 5.0)
    gaps = np.stack([peaks, np.zeros(101)]).T.ravel()
    assert level(of_frames(gaps)) == level(of_frames(peaks)) < 0.5
    assert level(np.full(3, -0.25)) == 0.25


@pytest.mark.parametrize("seconds", [1.0, 5.0, 40.0])
def test_clicks_and_a_thump_are_left_out(seconds: float) -> None:
    signal = noise(round(seconds * 16000))
    peak = np.abs(signal).max()
    for place in (0, 1000, len(signal) - 1):
        clicked = signal.copy()
        clicked[place] = 10.0
        assert peak <= level(clicked) <= 2 * peak
    if seconds > 1:
        clicked[8000:9600] += 10 * np.sin(np.arange(1600) / 16000 * 2 * np.pi * 70).astype(np.float32)
        assert peak <= level(clicked) <= 2 * peak


def test_a_word_in_a_long_recording_counts() -> None:
    signal = 1e-3 * noise(90 * 16000)
    word = noise(16000)
    for start in (0, 700_000, len(signal) - 16000):
        spoken = signal.copy()
        spoken[start : start + 16000] = word
        assert level(spoken) == level(word) == np.abs(word).max()


@pytest.mark.parametrize("value", [2**-15, -(2**-15), 2**-12])
def test_a_word_between_pauses_at_another_value_than_0_counts(value: float) -> None:
    word, pause = noise(3000), np.full(60 * 16000, value, np.float32)
    assert level(pause, word, pause) == level(word)
    assert level(pause) == abs(value)


@pytest.mark.parametrize("samples", [300, 9000, 30 * 16000 + 77])
def test_it_is_the_same_in_any_blocks_and_follows_gains(samples: int) -> None:
    signal = noise(samples)
    places = np.sort(np.random.default_rng(2).integers(0, samples, 20))
    assert level(*np.split(signal, places)) == level(signal)
    assert level(signal / 1024) == level(signal) / 1024
    assert level(np.float32(0.1) * signal) == np.float32(0.1) * np.float32(level(signal))


def test_what_clicks_stand_out_by_is_that_of_the_channels_together() -> None:
    signal = 0.1 * noise(2, 48_000)
    assert standing_out([signal], 16000) == standing_out([], 16000) == standing_out([0 * signal], 16000) == 0
    signal[1, 30_000] = -2.0
    usual = level(np.abs(signal).max(axis=0))
    assert 0.02 < usual < 0.2
    for blocks in ([signal], np.array_split(8 * signal, 7, axis=1)):
        assert standing_out(blocks, 16000) == pytest.approx(20 * np.log10(2.0 / usual))
    signal[0, ::4000] = 2.0
    assert standing_out([signal], 16000) == 0
