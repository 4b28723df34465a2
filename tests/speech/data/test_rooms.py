"""Rooms: alignment at the direct path, the early target, reverberation times by Schroeder's integral."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyroomacoustics
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, DataError
from speech.data.rooms import (
    WSJ0_REVERB_ROOMS,
    ImpulseResponse,
    Room,
    RoomConfig,
    align,
    draw_room,
    read_responses,
    reverberate,
    simulate,
    simulated_responses,
)
from tests.speech.trees import RATE, decaying_response, hiss, put, speech_like

DRY = speech_like(1.0)


def reverberation_time(response: ImpulseResponse, low_db: float = -5.0, high_db: float = -25.0) -> float:
    """T60 in seconds, from the slope of the decay between `low_db` and `high_db` (Schroeder 1965).

    (−5, −25) is T20; (0, −10) the early decay time.
    """
    energy = np.cumsum(response.samples[response.direct :][::-1].astype(np.float64) ** 2)[::-1]
    decay = 10 * np.log10(energy / energy[0])
    inside = np.flatnonzero((decay <= low_db) & (decay >= high_db))
    if len(inside) < 8 or decay[-1] > high_db:
        raise DataError(f"impulse response {response.id} has no decay from {low_db} to {high_db} dB to measure")
    slope = np.polyfit(inside / response.sample_rate, decay[inside], 1)[0]
    return float(-60 / slope)


def test_alignment_takes_the_delay_away_and_scales_to_one() -> None:
    response = align(0.3 * decaying_response(0.3, delay=500), RATE)
    assert response.direct == 16
    assert response.samples[response.direct] == pytest.approx(1.0)
    assert response.samples.dtype == np.float32


def test_a_stronger_reflection_is_not_the_direct_path() -> None:
    samples = np.zeros(2000)
    samples[100], samples[900] = 0.6, -1.0
    response = align(samples, RATE)
    assert response.samples[response.direct] == 1
    assert response.samples[response.direct + 800] == pytest.approx(-1 / 0.6)


@given(delay=st.integers(0, 3000), gain=st.floats(-2, 2).filter(lambda g: abs(g) > 1e-3))
@settings(deadline=None, max_examples=25)
def test_a_pure_delay_changes_nothing(delay: int, gain: float) -> None:
    samples = np.zeros(delay + 10)
    samples[delay] = gain
    wet, target = reverberate(DRY, align(samples, RATE), 0.0)
    np.testing.assert_allclose(wet, DRY, atol=1e-6)
    np.testing.assert_allclose(target, DRY, atol=1e-6)


def test_reverberation_is_convolution_aligned_at_the_direct_path() -> None:
    response = align(decaying_response(0.2), RATE)
    wet, target = reverberate(DRY, response, 20.0)
    start = response.direct
    np.testing.assert_allclose(wet, np.convolve(DRY, response.samples)[start : start + len(DRY)], atol=1e-5)
    early = response.samples[: start + round(0.02 * RATE) + 1]
    np.testing.assert_allclose(target, np.convolve(DRY, early)[start : start + len(DRY)], atol=1e-5)
    everything, same = reverberate(DRY, response, None)
    np.testing.assert_array_equal(everything, same)


def test_early_part_holds_the_energy_of_its_milliseconds() -> None:
    response = align(decaying_response(0.5), RATE)
    noise = hiss(4.0)
    energies = []
    for early_ms in (0.0, 10.0, 50.0, 200.0):
        _, target = reverberate(noise, response, early_ms)
        ratio = np.mean(target[RATE:] ** 2) / np.mean(noise[RATE:] ** 2)
        assert ratio == pytest.approx(np.sum(response.early(early_ms) ** 2), rel=0.05)
        energies.append(ratio)
    assert energies == sorted(energies)


@settings(deadline=None, max_examples=20)
@given(t60=st.floats(0.1, 1.5), rate=st.sampled_from([16000, 48000]))
def test_reverberation_time_of_an_exponential_decay(t60: float, rate: int) -> None:
    time = np.arange(round(1.5 * t60 * rate)) / rate
    exponential = ImpulseResponse("x", (10 ** (-3 * time / t60)).astype(np.float32), 0, rate)
    for low, high in ((-5, -25), (-5, -35), (0, -10)):
        assert reverberation_time(exponential, low, high) == pytest.approx(t60, rel=0.01)


def test_reverberation_time_needs_a_decay() -> None:
    with pytest.raises(DataError, match="no decay"):
        reverberation_time(ImpulseResponse("x", np.ones(3, np.float32), 0, RATE))


@pytest.mark.parametrize(("t60", "within"), [(0.25, 0.25), (0.5, 0.1)])
def test_simulated_room_reverberates_as_long_as_asked(t60: float, within: float) -> None:
    """Sabine's formula, which sets the walls, errs the more the more they absorb."""
    room = Room((5.0, 4.0, 3.5), (1.0, 1.2, 1.5), (3.2, 2.6, 1.7), t60)
    response = simulate(room, RATE)
    assert reverberation_time(response) == pytest.approx(t60, rel=within)
    assert reverberation_time(response, 0, -10) == pytest.approx(t60, rel=0.15)
    np.testing.assert_array_equal(simulate(room, RATE).samples, response.samples)


def test_direct_path_fades_with_distance() -> None:
    near = Room((6.0, 5.0, 3.0), (2.0, 2.0, 1.5), (2.5, 2.0, 1.5), 0.5)
    far = replace(near, microphone=(4.8, 3.9, 1.4))
    shares = []
    for room in (near, far):
        response = simulate(room, RATE)
        shares.append(np.sum(response.early(0) ** 2) / np.sum(response.samples**2))
    assert shares[0] > 2 * shares[1]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), config=st.sampled_from([RoomConfig(), WSJ0_REVERB_ROOMS]))
def test_drawn_rooms_are_what_the_config_says(seed: int, config: RoomConfig) -> None:
    room = draw_room(np.random.default_rng(seed), config)
    assert config.size_m[0] <= min(room.sides[:2])
    assert max(room.sides[:2]) <= config.size_m[1]
    assert config.height_m[0] <= room.sides[2] <= config.height_m[1]
    assert config.t60_s[0] <= room.t60 <= config.t60_s[1]
    for place in (room.source, room.microphone):
        for value, side in zip(place, room.sides, strict=True):
            assert config.wall_distance_m <= value <= side - config.wall_distance_m
    assert config.source_distance_m[0] <= np.linalg.norm(np.subtract(room.source, room.microphone))


@pytest.mark.slow
def test_simulated_rooms_are_a_function_of_their_number(tmp_path: Path) -> None:
    config = RoomConfig(t60_s=(0.2, 0.3))
    three = simulated_responses(3, 1, config)
    two = simulated_responses(2, 1, config, tmp_path)
    kept = simulated_responses(2, 1, config, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    for a, b, c in zip(three, two, kept, strict=False):
        np.testing.assert_array_equal(a.samples, b.samples)
        np.testing.assert_array_equal(b.samples, c.samples)
        assert (a.direct, a.id) == (c.direct, c.id)
    next(iter(tmp_path.iterdir())).write_bytes(b"damaged")
    np.testing.assert_array_equal(simulated_responses(1, 1, config, tmp_path)[0].samples, three[0].samples)
    assert not np.array_equal(simulated_responses(1, 2, config)[0].samples[:500], three[0].samples[:500])


def test_simulated_rooms_do_not_depend_on_the_number_of_cores() -> None:
    room = draw_room(np.random.default_rng(0), RoomConfig())
    before, found = pyroomacoustics.constants.get("num_threads"), []
    try:
        for threads in (1, 3):
            pyroomacoustics.constants.set("num_threads", threads)
            found.append(simulate(room, RATE, seed=3).samples)
            assert pyroomacoustics.constants.get("num_threads") == threads
    finally:
        pyroomacoustics.constants.set("num_threads", before)
    assert np.array_equal(*found)


def test_what_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="t60_s"):
        RoomConfig(t60_s=(0.5, 0.2))
    with pytest.raises(ConfigError, match="wall_distance_m"):
        RoomConfig(wall_distance_m=2.0)
    for name, value in (("sample_rate", 0), ("image_order", -1)):
        with pytest.raises(ConfigError, match=f"{name}={value}"):
            RoomConfig(**{name: value})
    with pytest.raises(ConfigError, match="no room fits"):
        draw_room(np.random.default_rng(0), RoomConfig(source_distance_m=(50.0, 60.0)))
    put(tmp_path / "silent.wav", np.zeros(100))
    with pytest.raises(DataError, match="silent"):
        read_responses(tmp_path, RATE)


def test_of_a_response_of_several_microphones_the_first_is_taken(tmp_path: Path) -> None:
    heard = np.zeros((800, 2), np.float32)
    heard[[100, 300], 0] = 0.8, 0.4
    heard[[160, 500], 1] = 0.8, 0.4  # their mean would be a comb
    put(tmp_path / "binaural.wav", heard)
    (response,) = read_responses(tmp_path, RATE)
    expected = np.zeros(200 + 1)
    expected[[0, 200]] = 1.0, 0.5
    np.testing.assert_allclose(response.samples[response.direct :], expected, atol=1e-3)


def test_measured_responses(shared_data: Path) -> None:
    folder = shared_data / "speech" / "valid" / "rir"
    if not folder.is_dir():
        pytest.skip(f"no impulse responses at {folder}; set SHARED_DATA to the folder that holds them")
    for response in read_responses(folder, RATE):
        assert response.direct <= 16
        assert response.samples[response.direct] == pytest.approx(1.0)
        assert 0.1 < reverberation_time(response, -5, -20) < 6
