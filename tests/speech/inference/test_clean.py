"""What stays of recordings that are clean already."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from speech import Enhancer
from speech.audio.bands import UpperBand
from speech.audio.files import read_audio
from speech.audio.resampling import resample
from speech.inference.clean import CleanKeeper
from speech.metrics import pesq_wb
from speech.model.model import SpeechModel

RATE = 16000


def pair(below_db: float, seconds: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """An enhanced signal and its recording, of which so much was taken; (1, samples) each."""
    steps = np.arange(int(seconds * RATE))
    enhanced = np.sin(0.3 * steps)[None].astype(np.float32)
    return enhanced, enhanced + np.float32(10 ** (-below_db / 20)) * np.cos(0.3 * steps)[None].astype(np.float32)


@pytest.mark.parametrize(
    ("below_db", "share"), [(60.0, 0.2), (26.5, 0.2), (22.5, 0.1 * 17.5 / 20), (18.5, 0.0), (-10.0, 0.0)]
)
def test_the_share_goes_by_what_was_taken(below_db: float, share: float) -> None:
    enhanced, recording = pair(below_db)
    made = enhanced + CleanKeeper(0.2, RATE, 1).stays(enhanced, recording)
    assert_allclose(
        (made - enhanced)[:, RATE:], share * (recording - enhanced)[:, RATE:], atol=2e-3 * 10 ** (-below_db / 20)
    )
    if share == 0:
        assert_array_equal(made[:, RATE:], enhanced[:, RATE:])


@given(cuts=st.lists(st.integers(0, 3000), max_size=6), level=st.floats(1e-6, 1.0), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_blocks_and_levels_change_nothing(cuts: list[int], level: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    enhanced = rng.normal(size=(2, 3000)).astype(np.float32)
    recording = enhanced + np.float32(10 ** rng.uniform(-2, 0)) * rng.normal(size=(2, 3000)).astype(np.float32)
    whole = enhanced + CleanKeeper(0.15, RATE, 2).stays(enhanced, recording)
    keeper, edges = CleanKeeper(0.15, RATE, 2), [0, *sorted(cuts), 3000]
    parts = [enhanced[:, a:b] + keeper.stays(enhanced[:, a:b], recording[:, a:b]) for a, b in pairwise(edges) if b > a]
    assert_array_equal(np.concatenate(parts, axis=1), whole)
    quiet = np.float32(level) * enhanced + CleanKeeper(0.15, RATE, 2).stays(
        np.float32(level) * enhanced, np.float32(level) * recording
    )
    assert_allclose(quiet, np.float32(level) * whole, rtol=1e-4, atol=1e-5 * level)


def test_each_channel_has_its_own_share_and_silence_stays_silent() -> None:
    clean, noisy = pair(40.0), pair(5.0)
    enhanced, recording = (np.concatenate([a, b, np.zeros_like(a)]) for a, b in zip(clean, noisy, strict=True))
    made = enhanced + CleanKeeper(0.2, RATE, 3).stays(enhanced, recording)
    assert not np.array_equal(made[0], enhanced[0])
    assert_array_equal(made[1:], enhanced[1:])


@pytest.mark.parametrize(("below_db", "kept"), [(24.0, 0.0), (30.0, 0.25), (60.0, 1.0)])
def test_what_was_taken_from_pauses_stays_away_unless_it_is_far_below_the_speech(below_db: float, kept: float) -> None:
    enhanced, recording = pair(30.0, 12.0)
    taken = np.float32(10 ** ((30 - below_db) / 20)) * (recording - enhanced)
    pause = slice(11 * RATE, 12 * RATE)
    enhanced[:, pause] = 0.0
    recording[:, pause] = taken[:, pause]
    made = enhanced + CleanKeeper(0.2, RATE, 1).stays(enhanced, recording)
    later = slice(11 * RATE + RATE // 4, 11 * RATE + RATE // 3)
    assert_allclose(made[:, later], 0.2 * kept * recording[:, later], atol=0.01 * np.abs(taken).max())


def test_rumble_makes_no_clean_voice_a_noisy_one_and_stays_away_from_pauses() -> None:
    enhanced, recording = pair(30.0, 12.0)
    rumble = np.float32(0.1) * np.sin(2 * np.pi * 30 / RATE * np.arange(12 * RATE)).astype(np.float32)
    pause = slice(11 * RATE, 12 * RATE)
    enhanced[:, pause] = 0.0
    recording[:, pause] = 0.0
    made = enhanced + CleanKeeper(0.2, RATE, 1).stays(enhanced, recording + rumble)
    share = (made - enhanced) / np.where(np.abs(recording + rumble - enhanced) > 0.05, recording + rumble - enhanced, 1)
    assert_allclose(share[:, 4 * RATE : 11 * RATE].max(), 0.15, atol=0.02)  # 0.02 if rumble counted
    assert_array_equal(made[:, 11 * RATE + RATE // 4 :], 0.0)


def test_the_lowest_rates_are_served() -> None:
    enhanced, recording = pair(40.0)
    for rate in (100, 200, 1000, 2000):
        assert np.isfinite(CleanKeeper(0.2, rate, 1).stays(enhanced, recording)).all()


def test_noise_after_a_clean_minute_is_let_through_for_no_more_than_a_moment() -> None:
    enhanced, recording = pair(40.0, 60.0)
    start = 50 * RATE
    recording[:, start:] += np.random.default_rng(0).normal(size=10 * RATE).astype(np.float32)
    made = enhanced + CleanKeeper(0.15, RATE, 1).stays(enhanced, recording)
    assert_array_equal(made[:, start + RATE // 10 : start + RATE], enhanced[:, start + RATE // 10 : start + RATE])


@pytest.fixture(scope="module")
def bundled() -> SpeechModel:
    return SpeechModel.from_pretrained("default")


def test_blocks_of_a_recording_come_to_the_same(bundled: SpeechModel) -> None:
    rng = np.random.default_rng(1)
    recording = rng.normal(size=(1, 3 * RATE)).astype(np.float32) * np.sin(np.arange(3 * RATE) / 2000) ** 2
    recording = recording.astype(np.float32)
    wet, whole, pieces = recording * np.float32(0.98), *(Enhancer(bundled).engine.blend(RATE, 1) for _ in range(2))
    whole.hear(recording)
    expected = whole.result(wet, last=True)
    assert_allclose(expected, (0.98 + 0.15 * 0.02) * recording, atol=1e-6)
    made = []
    for start in range(0, 3 * RATE, 7001):
        pieces.hear(recording[:, start : start + 7001])
        made.append(pieces.result(wet[:, start : start + 7001]))
    assert_array_equal(np.concatenate(made, axis=1), expected)


def test_the_bundled_enhancer_takes_less_from_clean_speech_and_as_much_from_noisy(
    bundled: SpeechModel, shared_data: Path
) -> None:
    paths = sorted((shared_data / "speech/fullband/valid/clean").rglob("*.ogg"))[:3]
    assert bundled.config.sampling.clean_share == 0.15
    settings = replace(bundled.config.sampling, clean_share=0.0)
    as_it_ships, without = Enhancer(bundled), Enhancer(bundled, sampling=settings)
    rng = np.random.default_rng(0)
    for path in paths:
        audio = read_audio(path)
        clean = resample(audio.waveform[0], audio.sample_rate, RATE)[: 6 * RATE]
        assert (
            pesq_wb(clean, as_it_ships.enhance(clean, RATE), RATE)
            > pesq_wb(clean, without.enhance(clean, RATE), RATE) + 0.03
        )
        noisy = clean + clean.std() * rng.normal(size=len(clean)).astype(np.float32) * np.float32(0.5)
        assert_array_equal(as_it_ships.enhance(noisy, RATE), without.enhance(noisy, RATE))


@pytest.mark.parametrize("band", ["enhance", "drop"])
def test_what_is_above_the_models_band_is_left_alone(bundled: SpeechModel, shared_data: Path, band: UpperBand) -> None:
    """As if there were no share, where it has gains of its own; where it is dropped, nothing comes back."""
    audio = read_audio(sorted((shared_data / "speech/fullband/valid/clean").rglob("*.ogg"))[0])
    clean, settings = audio.waveform[0], replace(bundled.config.sampling, clean_share=0.0)
    one, other = (
        Enhancer(bundled, sampling=sampling, upper_band=band).enhance(clean, 48000) for sampling in (None, settings)
    )
    changed = np.abs(np.fft.rfft(one - other))
    above = np.fft.rfftfreq(len(clean), 1 / 48000) > 8200
    assert changed[above].max() <= 1e-3 * changed.max()
    assert (changed.max() > 0) == (band == "enhance")
