"""Where a band ends: lower rates and coders leave an edge that is heard, and what is below it stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from speech.audio.edges import BandEdge, said_of_band, with_band_kept
from speech.audio.files import read_audio
from speech.audio.resampling import resample
from speech.data.degrade import encode
from tests.speech.models import decibels, noise

RATE = 16000


def edges(waveform: np.ndarray, size: int | None = None) -> list[float]:
    edge = BandEdge(RATE, len(waveform))
    for start in range(0, waveform.shape[1], size or waveform.shape[1]):
        block = waveform[:, start : start + (size or waveform.shape[1])]
        assert edge.push(block) is block
    return edge.edges()


@pytest.fixture(scope="module")
def speech(shared_data: Path) -> np.ndarray:
    audio = read_audio(sorted((shared_data / "speech/valid/clean").rglob("*.flac"))[0])
    return resample(audio.waveform, audio.sample_rate, RATE)


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 12000])
def test_the_edge_of_a_lower_rate_is_heard(speech: np.ndarray, rate: int) -> None:
    narrow = resample(resample(speech, RATE, rate), rate, RATE)
    as_pcm = np.round(narrow * 32767) / np.float32(32767)
    for given in (narrow, as_pcm, as_pcm * np.float32(0.01)):
        assert edges(given)[0] == pytest.approx(rate / 2, rel=0.06)


def test_a_telephone_is_heard_and_whole_speech_is_whole(speech: np.ndarray) -> None:
    assert edges(encode(speech[0], RATE, "gsm")[None])[0] < 4100
    assert edges(speech) == [8000.0]


@pytest.mark.parametrize("rate", [8000, 11025, 14000])
def test_clicks_and_cuts_do_not_make_a_band_whole(speech: np.ndarray, rate: int) -> None:
    narrow = resample(resample(speech, RATE, rate), rate, RATE)
    clicked = narrow.copy()
    clicked[0, 3000::RATE] += np.float32(0.3)
    loudest = int(np.abs(narrow).argmax())
    clicked[0, loudest : loudest + 20] = 0
    for given in (clicked, narrow[:, :loudest]):
        assert edges(given)[0] == pytest.approx(edges(narrow)[0], abs=2 * RATE / 512)


def test_a_band_up_to_what_is_heard_is_whole() -> None:
    wide = resample(resample(noise(1, 24000), 48000, 42000), 42000, 48000)
    edge = BandEdge(48000, 1)
    edge.push(wide)
    assert edge.edges() == [24000.0]
    assert said_of_band(24000.0, 24000.0) == "nothing is missing up to 20 kHz: left as it is"
    assert said_of_band(3906.0, 8000.0) == "its band ends at 3.9 kHz: what lies above was added"


def test_channels_are_heard_apart_and_blocks_change_nothing() -> None:
    whole = noise(1, RATE)[0]
    both = np.stack([whole, resample(resample(whole, RATE, 8000), 8000, RATE, length=RATE)])
    found = edges(both)
    assert found[0] == 8000.0
    assert found[1] == pytest.approx(4000, rel=0.05)
    for size in (1, 97, 512, 5000):
        assert edges(both[:, :6000], size) == edges(both[:, :6000])


@pytest.mark.parametrize("samples", [0, 1, 300, 511])
def test_the_shortest_recordings_have_an_edge(samples: int) -> None:
    assert edges(noise(2, samples), 100) == pytest.approx([8000.0, 8000.0], abs=200)


def test_silence_lacks_nothing() -> None:
    assert edges(np.zeros((1, RATE), np.float32)) == [8000.0]


@pytest.mark.parametrize("edge", [2000.0, 3900.0])
def test_below_the_edge_is_the_recording_and_above_it_the_estimate(edge: float) -> None:
    recording, made = noise(RATE), noise(RATE, seed=1)
    found = with_band_kept(made, recording, edge, RATE)
    assert found.dtype == np.float32
    assert found.shape == made.shape
    below = signal.butter(10, 0.8 * edge, fs=RATE, output="sos")
    above = signal.butter(10, 1.1 * edge, "highpass", fs=RATE, output="sos")
    kept, added = (signal.sosfiltfilt(each, found) for each in (below, above))
    assert decibels(kept - signal.sosfiltfilt(below, recording), kept) < -40
    assert decibels(added - signal.sosfiltfilt(above, made), added) < -40


def test_where_nothing_is_missing_the_recording_stays() -> None:
    recording = noise(1000)
    found = with_band_kept(noise(1000, seed=1), recording, 8000.0, RATE)
    np.testing.assert_array_equal(found, recording)
    assert found is not recording
