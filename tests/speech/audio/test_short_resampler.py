"""speech/audio/short_resampler.py: what passes, what does not, blocks of any size, and a delay that is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from speech.audio.resampling import resample
from speech.audio.short_resampler import ShortResampler

PAIRS = [(48000, 16000), (16000, 48000), (44100, 16000), (16000, 44100), (8000, 16000), (16000, 8000), (16000, 22050)]


def tone(frequency: float, rate: int, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(samples) / rate)[None].astype(np.float32)


def whole(signal: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    return ShortResampler(from_rate, to_rate, len(signal)).push(signal, last=True)


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
def test_the_band_passes_at_its_time_and_what_is_above_does_not(from_rate, to_rate):
    band = min(from_rate, to_rate) / 2
    for share in (0.01, 0.5, 0.87):
        result = whole(tone(share * band, from_rate, from_rate // 2), from_rate, to_rate)
        expected = tone(share * band, to_rate, result.shape[1])
        inner = slice(to_rate // 50, -to_rate // 50)
        assert np.abs(result - expected)[:, inner].max() < 3e-4
    for share in (1.0, 1.1, 1.5):  # would be folded down, by ear too
        if share * band < from_rate / 2:
            result = whole(tone(share * band + 20, from_rate, from_rate // 2), from_rate, to_rate)
            assert np.abs(result)[:, to_rate // 50 : -to_rate // 50].max() < 10 ** (-75 / 20)


@settings(max_examples=30, deadline=None)
@given(
    rates=st.sampled_from([*PAIRS, (22050, 16000), (16000, 16000), (11025, 16000)]),
    samples=st.integers(0, 3000),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
)
def test_blocks_of_any_size_give_what_the_whole_gives(rates, samples, cuts):
    signal = np.random.default_rng(samples).standard_normal((2, samples)).astype(np.float32)
    resampler = ShortResampler(*rates, channels=2)
    edges = [0, *sorted(min(cut, samples) for cut in cuts), samples]
    parts, inside = [], 0.0
    for first, last in itertools.pairwise(edges):
        parts.append(resampler.push(signal[:, first:last]))
        made = sum(part.shape[1] for part in parts)
        inside = max(inside, last / rates[0] - made / rates[1])
    parts.append(resampler.push(signal[:, :0], last=True))
    joined = np.concatenate(parts, axis=1)
    np.testing.assert_array_equal(joined, whole(signal, *rates))
    assert abs(joined.shape[1] - samples * rates[1] / rates[0]) <= 1
    assert inside <= resampler.delay + 1 / rates[0] + 1 / rates[1]
    assert resampler.delay < 0.006


def test_it_is_the_librarys_where_both_pass_all():
    signal = resample(np.random.default_rng(0).standard_normal((1, 4000)).astype(np.float32), 8000, 48000)
    theirs, ours = resample(signal, 48000, 16000), whole(signal, 48000, 16000)
    inner = slice(500, -500)
    assert np.abs(theirs - ours)[:, inner].max() < 2e-3 * np.abs(theirs).max()


def test_rates_without_a_common_divisor_and_impossible_ones():
    assert whole(np.ones((1, 4409), np.float32), 44099, 16000)[0, 300:1200] == pytest.approx(1, abs=1e-5)
    with pytest.raises(ConfigError, match="rates 0 and 16000"):
        ShortResampler(0, 16000, 1)
