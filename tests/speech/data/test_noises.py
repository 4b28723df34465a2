"""Noise by formula: levels, spectra and loudness over time that the formulas promise, decided by the generator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.data.noises import KINDS, REWORKED, calls, coloured_noise, engine, hum, impacts, rumble, smooth, ticks
from tests.speech.trees import RATE


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), length=st.integers(1, 40000), seed=st.integers(0, 2**31))
def test_every_kind_is_finite_of_unit_level_and_decided_by_the_generator(kind: str, length: int, seed: int) -> None:
    noise = KINDS[kind](length, np.random.default_rng(seed))
    assert noise.shape == (length,)
    assert noise.dtype == np.float32
    assert np.isfinite(noise).all()
    assert not noise.any() or length < 4 or noise.std() == pytest.approx(1, rel=1e-3)
    np.testing.assert_array_equal(noise, KINDS[kind](length, np.random.default_rng(seed)))


@settings(max_examples=60, deadline=None)
@given(way=st.sampled_from(sorted(REWORKED)), length=st.integers(1, 40000), seed=st.integers(0, 2**31))
def test_what_is_made_of_a_noise_is_as_long_finite_and_decided_by_the_generator(
    way: str, length: int, seed: int
) -> None:
    noise = np.random.default_rng(seed).standard_normal(length).astype(np.float32)
    made = REWORKED[way](noise, np.random.default_rng(seed))
    assert made.shape == (length,)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    np.testing.assert_array_equal(made, REWORKED[way](noise, np.random.default_rng(seed)))


def test_backwards_twice_is_the_noise_and_the_beat_of_others_is_in_their_loudness() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(4 * RATE).astype(np.float32)
    back = REWORKED["backwards"]
    np.testing.assert_array_equal(back(back(noise, rng), rng), noise)
    for way in ("pulsed", "grains"):
        loudness = [np.square(REWORKED[way](noise, rng)).reshape(-1, 40).mean(1) for _ in range(20)]
        uneven = [float(x.std() / x.mean()) for x in loudness]
        assert np.median(uneven) > 2 * np.square(noise).reshape(-1, 40).mean(1).std(), way


def test_ticks_come_in_an_even_beat_and_engines_in_bursts() -> None:
    rng = np.random.default_rng(5)

    def beat(noise: np.ndarray, step: int) -> float:
        """The highest correlation of the loudness with itself, a quarter of a second to three seconds later or less."""
        loudness = np.abs(noise).reshape(-1, step).mean(1)
        loudness = loudness - loudness.mean()
        size = len(loudness)
        found = np.fft.irfft(np.abs(np.fft.rfft(loudness, 2 * size)) ** 2)[:size]
        first = int(np.argmax(found < 0))  # where the loudness of one burst has nothing to do with itself
        return float(found[first : size // 2].max() / found[0])

    white = rng.standard_normal(8 * RATE)
    assert np.median([beat(ticks(8 * RATE, rng), 160) for _ in range(20)]) > 0.3 > 2 * beat(white, 160)
    assert np.median([beat(engine(8 * RATE, rng), 8) for _ in range(20)]) > 2 * beat(white, 8)


def test_calls_leave_pauses_and_glide() -> None:
    rng = np.random.default_rng(2)
    quiet = []
    for _ in range(30):
        loudness = np.sqrt(np.square(calls(8 * RATE, rng)).reshape(-1, 400).mean(1))
        quiet.append(float((loudness < 0.1).mean()))
    assert np.mean(np.array(quiet) > 0.2) > 0.6


def test_coloured_noise_falls_between_white_and_brown() -> None:
    rng = np.random.default_rng(0)
    frequency = np.fft.rfftfreq(1 << 15)[200:]
    slopes = []
    for _ in range(40):
        power = np.abs(np.fft.rfft(coloured_noise(1 << 15, rng)))[200:] ** 2
        slopes.append(-np.polyfit(np.log(frequency), np.log(power), 1)[0])
    assert -0.1 < min(slopes) < 0.5
    assert 1.5 < max(slopes) < 2.1


def test_hum_is_concentrated_on_few_lines_and_impacts_on_few_moments() -> None:
    rng = np.random.default_rng(3)

    def concentration(values: np.ndarray) -> float:
        ordered = np.sort(values)[::-1]
        return float(ordered[: len(ordered) // 20].sum() / ordered.sum())

    white = rng.standard_normal(4 * RATE)
    lines = [concentration(np.abs(np.fft.rfft(hum(4 * RATE, rng))) ** 2) for _ in range(20)]
    moments = [concentration(impacts(4 * RATE, rng) ** 2) for _ in range(20)]
    assert np.median(lines) > 0.8 > 2 * concentration(np.abs(np.fft.rfft(white)) ** 2)
    assert np.median(moments) > 2 * concentration(white**2)


def test_rumble_is_low_and_falls_by_6_to_18_dB_an_octave() -> None:
    rng = np.random.default_rng(1)
    frequency = np.fft.rfftfreq(1 << 15, 1 / RATE)
    high = (frequency > 600) & (frequency < 4000)
    slopes, shares = [], []
    for _ in range(40):
        power = np.abs(np.fft.rfft(rumble(1 << 15, rng) * np.hanning(1 << 15))) ** 2
        slopes.append(10 * np.polyfit(np.log2(frequency[high]), np.log10(power[high]), 1)[0])
        shares.append(power[(frequency > 5) & (frequency < 500)].sum() / power.sum())
    assert -19 < min(slopes) < -15
    assert -9 < max(slopes) < -5
    assert np.median(shares) > 0.9


def test_smooth_goes_through_normal_numbers() -> None:
    curve = smooth(400_000, np.random.default_rng(0), 100)
    assert curve[::100].std() == pytest.approx(1, rel=0.05)
    assert np.abs(np.diff(curve)).max() < 6 * np.pi / 200
