"""speech/audio/resampling.py: blocks, phase, lengths, rates that cannot be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from speech.audio.resampling import Resampler, resample
from tests.speech.audio.test_audio import sound


@settings(max_examples=30, deadline=None)
@given(
    rates=st.sampled_from(
        [(48000, 16000), (16000, 48000), (44100, 16000), (16000, 44100), (8000, 16000), (16000,) * 2]
    ),
    samples=st.integers(1, 6000),
    cuts=st.lists(st.integers(1, 2000), max_size=4),
)
def test_resampled_blocks_joined_are_the_resampled_whole(rates, samples, cuts):
    wave = sound(2, samples)
    resampler = Resampler(*rates, channels=2)
    edges = [0, *sorted({min(cut, samples) for cut in cuts}), samples]
    blocks = [wave[:, a:b] for a, b in itertools.pairwise(edges)]
    streamed = np.concatenate(list(resampler.stream(iter(blocks))), axis=1)
    np.testing.assert_allclose(streamed, resample(wave, *rates), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 192000])
def test_a_tone_keeps_its_phase_and_length_through_resampling(rate):
    time = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    there = resample(tone, rate, 16000)
    assert len(there) == 16000
    middle = slice(2000, 14000)
    np.testing.assert_allclose(there[middle], np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)[middle], atol=1e-5)
    back = resample(there, 16000, rate, length=rate)
    assert back.shape == tone.shape
    np.testing.assert_allclose(back[rate // 8 : -rate // 8], tone[rate // 8 : -rate // 8], atol=2e-5)


@pytest.mark.parametrize("samples", [0, 1, 2, 100])
def test_short_waveforms_resample_to_any_length(samples):
    wave = sound(2, samples)
    assert resample(wave, 192_000, 16_000, length=7).shape == (2, 7)
    assert resample(np.zeros((0, samples), np.float32), 8000, 16000).shape[0] == 0


def test_impossible_rates_are_refused():
    with pytest.raises(ConfigError, match="0 and 16000 Hz"):
        resample(sound(), 0, 16000)
