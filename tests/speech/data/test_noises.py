"""Noise by formula: levels, spectra and loudness over time that the formulas promise, decided by the generator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.data.noises import KINDS, coloured_noise, hum, impacts, rumble, smooth
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
