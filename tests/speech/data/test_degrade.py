"""Degradations: levels, bands measured in the spectrum, codecs aligned with their input, loss at its rate."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from speech.data.degrade import (
    CODECS,
    band_limit,
    change_speed,
    clip,
    encode,
    lose_packets,
    needed_for,
    random_equaliser,
    random_filter,
    reduce_rate,
)
from tests.speech.trees import RATE, hiss, speech_like

SPEECH = speech_like(1.5)


def ratio_db(original: np.ndarray, changed: np.ndarray) -> float:
    return 10 * float(np.log10(np.sum(original**2) / np.sum((changed - original) ** 2)))


def response_db(changed: np.ndarray, original: np.ndarray, low: float, high: float, rate: int = RATE) -> float:
    """Energy in a band after over before."""
    frequency = np.fft.rfftfreq(len(original), 1 / rate)
    band = (frequency >= low) & (frequency < high)
    window = np.blackman(len(original))
    after, before = (np.sum(np.abs(np.fft.rfft(window * x))[band] ** 2) for x in (changed, original))
    return 10 * float(np.log10(after / before))


def lag(changed: np.ndarray, original: np.ndarray) -> int:
    size = 2 * len(original)
    product = np.fft.rfft(changed, size) * np.fft.rfft(original, size).conj()
    peak = int(np.argmax(np.fft.irfft(product, size)))
    return peak if peak < len(original) else peak - size


@given(level=st.floats(0.01, 1.0))
def test_clipping_is_at_a_share_of_the_peak(level: float) -> None:
    clipped = clip(SPEECH, level)
    peak = np.float32(np.abs(SPEECH).max() * level)
    assert np.abs(clipped).max() == pytest.approx(peak, rel=1e-6)
    inside = np.abs(SPEECH) < peak
    np.testing.assert_array_equal(clipped[inside], SPEECH[inside])


@settings(deadline=None, max_examples=20)
@given(low=st.floats(100, 800), high=st.floats(2000, 6000), order=st.integers(4, 16))
def test_band_limits_in_the_spectrum(low: float, high: float, order: int) -> None:
    noise = hiss(2.0, 1)
    limited = band_limit(noise, RATE, low, high, order)
    assert response_db(limited, noise, 1.5 * low, high / 1.5) == pytest.approx(0, abs=0.5)
    octave = 6.02 * order
    if high < 3900:
        assert response_db(limited, noise, 2 * high, 8000) < max(-octave, -60) + 3
    assert response_db(limited, noise, 0.0, low / 2) < max(-octave, -60) + 6
    edge = response_db(limited, noise, 0.98 * high, 1.02 * high)
    assert edge == pytest.approx(-3.0, abs=1.0)


def test_band_limit_has_no_delay_and_keeps_the_length() -> None:
    limited = band_limit(SPEECH, RATE, 300, 3400)
    assert limited.shape == SPEECH.shape
    assert limited.dtype == np.float32
    assert lag(limited, SPEECH) == 0
    np.testing.assert_allclose(band_limit(SPEECH, RATE), SPEECH, atol=1e-6)


def test_reduced_rate_has_nothing_above_its_half() -> None:
    noise = hiss(2.0)
    reduced = reduce_rate(noise, RATE, 8000)
    assert response_db(reduced, noise, 4100, 8000) < -40
    assert response_db(reduced, noise, 0, 3500) == pytest.approx(0, abs=0.05)
    assert reduced.shape == noise.shape
    assert reduce_rate(noise, RATE, RATE) is noise


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_are_aligned_and_as_long(codec: str) -> None:
    coded = encode(SPEECH, RATE, codec, 0.7)  # type: ignore[arg-type]
    assert coded.shape == SPEECH.shape
    assert coded.dtype == np.float32
    assert abs(lag(coded, SPEECH)) <= (codec == "adpcm")  # which lags where the slope is too steep for it
    assert ratio_db(SPEECH, coded) > 5
    np.testing.assert_array_equal(coded, encode(SPEECH, RATE, codec, 0.7))  # type: ignore[arg-type]
    if codec in ("mulaw", "alaw", "gsm", "adpcm"):
        noise = hiss(1.0)
        assert response_db(encode(noise, RATE, codec), noise, 4500, 8000) < -25  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", ["mp3", "vorbis", "opus"])
def test_more_bits_are_closer(codec: str) -> None:
    few, many = (ratio_db(SPEECH, encode(SPEECH, RATE, codec, quality)) for quality in (0.0, 1.0))  # type: ignore[arg-type]
    assert many > few + 5


def test_mulaw_against_its_formula() -> None:
    narrow = reduce_rate(SPEECH, RATE, 6000)
    coded = encode(narrow, RATE, "mulaw")
    code = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    ideal = np.sign(code) * (256 ** (np.abs(np.round(code * 128)) / 128) - 1) / 255
    assert ratio_db(narrow, coded) == pytest.approx(ratio_db(narrow, ideal.astype(np.float32)), abs=0.5)


def test_codecs_at_rates_that_they_do_not_have() -> None:
    music = speech_like(0.5, rate=44100)
    coded = encode(music, 44100, "opus", 1.0)
    assert coded.shape == music.shape
    assert ratio_db(music, coded) > 8


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_random_filters_are_stable_and_decided_by_the_generator(seed: int) -> None:
    impulse = np.zeros(RATE, np.float32)
    impulse[0] = 1
    filtered = random_filter(impulse, np.random.default_rng(seed))
    assert np.abs(filtered[RATE // 2 :]).max() < 1e-6
    assert 0.05 < np.sum(filtered**2) < 60
    np.testing.assert_array_equal(filtered, random_filter(impulse, np.random.default_rng(seed)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), length=st.integers(2, 20000))
def test_a_random_equaliser_has_no_phase(seed: int, length: int) -> None:
    """A cosine of a whole number of periods stays one: only its level changes."""
    wave = np.cos(2 * np.pi * max(1, length // 8) * np.arange(length) / length).astype(np.float32)
    if scipy.fft.next_fast_len(length, real=True) != length:
        assert random_equaliser(wave, np.random.default_rng(seed)).shape == (length,)
        return
    changed = random_equaliser(wave, np.random.default_rng(seed))
    gain = changed @ wave / (wave @ wave)
    assert 10 ** (-40 / 20) < gain < 10 ** (40 / 20)
    np.testing.assert_allclose(changed, gain * wave, atol=2e-4 * gain)


@pytest.mark.parametrize("speed", [0.7, 0.93, 1.0, 1.25, 2.0])
def test_speed_moves_a_tone_by_its_factor(speed: float) -> None:
    length = RATE
    tone = np.sin(2 * np.pi * 500 * np.arange(needed_for(length, speed)) / RATE).astype(np.float32)
    faster = change_speed(tone, speed, length)
    assert faster.shape == (length,)
    spectrum = np.abs(np.fft.rfft(faster * np.hanning(length)))
    assert np.argmax(spectrum) == pytest.approx(500 * speed, abs=1)
    assert np.sum(spectrum[round(500 * speed) - 3 : round(500 * speed) + 4] ** 2) > 0.999 * np.sum(spectrum**2)


@pytest.mark.parametrize(("rate", "burst"), [(0.05, 1.0), (0.1, 2.0), (0.3, 4.0), (0.8, 4.0)])
def test_packets_are_lost_at_the_rate_in_bursts(rate: float, burst: float) -> None:
    received = lose_packets(np.ones(8000 * 400, np.float32), RATE, np.random.default_rng(0), rate, burst)
    lost = received.reshape(-1, 320)[:, 0] == 0
    assert lost.mean() == pytest.approx(rate, rel=0.2)
    starts = np.count_nonzero(np.diff(lost.astype(int)) == 1) + lost[0]
    assert lost.sum() / starts == pytest.approx(burst, rel=0.2) if burst > 1 else lost.sum() / starts < 1.2
    np.testing.assert_array_equal(lose_packets(SPEECH, RATE, np.random.default_rng(0), 0.0), SPEECH)


def test_bursts_are_longer_where_so_many_packets_are_lost_that_but_one_is_received_between() -> None:
    lost = lose_packets(np.ones(8000 * 400, np.float32), RATE, np.random.default_rng(0), 0.9, 2.0) == 0
    assert lost.mean() == pytest.approx(0.9, rel=0.02)


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(ConfigError, match=r"level=0\.0: need"):
        clip(SPEECH, 0.0)
    with pytest.raises(ConfigError, match="9000"):
        band_limit(SPEECH, RATE, high=9000)
    with pytest.raises(ConfigError, match="amr"):
        encode(SPEECH, RATE, "amr")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="quality=2"):
        encode(SPEECH, RATE, "mp3", 2.0)
    with pytest.raises(ConfigError, match="rate 1"):
        lose_packets(SPEECH, RATE, np.random.default_rng(0), 1.0)


def test_silence_stays_silent() -> None:
    silence = np.zeros(4000, np.float32)
    assert not clip(silence, 0.5).any()
    assert not band_limit(silence, RATE, 100, 3000).any()
    for codec in CODECS:
        assert np.abs(encode(silence, RATE, codec)).max() < 1e-3
