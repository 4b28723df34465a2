"""Digital silence in a recording, and what is heard in its place."""

from __future__ import annotations

import numpy as np
import pytest

from speech.audio.silences import bridged, silences

RATE = 1000  # a tenth of a second is 100 samples


def sound(*pieces: tuple[float, int]) -> np.ndarray:
    """Constants, one behind another, of so many samples."""
    return np.concatenate([np.full(count, value, np.float32) for value, count in pieces])


def test_silence_of_a_tenth_of_a_second_is_found_wherever_it_is() -> None:
    waveform = sound((0, 100), (1, 5), (0, 99), (1, 5), (0, 300), (1, 1), (0, 120))
    assert silences(waveform, 1.0, RATE) == [slice(0, 100), slice(209, 509), slice(510, 630)]
    assert silences(sound((1, 500)), 1.0, RATE) == []
    assert silences(np.zeros(150, np.float32), 1.0, RATE) == [slice(0, 150)]
    assert silences(np.zeros(0, np.float32), 1.0, RATE) == []


@pytest.mark.parametrize(("residue", "found"), [(1e-6, 1), (1e-4, 0)])
def test_what_resampling_leaves_is_silence_at_any_level_and_a_faint_sound_is_not(residue: float, found: int) -> None:
    waveform = sound((1, 50), (residue, 200), (1, 50))
    for level in (1.0, 1e-3, 1e4):
        assert len(silences(level * waveform, level, RATE)) == found


def test_a_sound_goes_on_backwards_and_fades_and_one_before_it_begins_so() -> None:
    ramp = np.arange(1, 301, dtype=np.float32)
    waveform = np.concatenate([ramp, np.zeros(1000, np.float32), ramp])
    made = bridged(waveform, [slice(300, 1300)], RATE)
    fading = np.cos(np.linspace(0, np.pi / 2, 200))
    assert made[300:500] == pytest.approx(fading * ramp[::-1][:200], abs=1e-3)
    assert not made[500:1100].any()
    assert made[1100:1300] == pytest.approx((fading * ramp[:200])[::-1], abs=1e-3)
    assert (made[:300] == waveform[:300]).all()
    assert (made[1300:] == waveform[1300:]).all()
    assert not waveform[300:1300].any()


def test_beside_a_short_silence_both_sounds_cross_and_their_energy_stays() -> None:
    noise = np.random.default_rng(0).standard_normal(2150).astype(np.float32)
    waveform = noise.copy()
    waveform[1000:1150] = 0
    energy = np.square(bridged(waveform, [slice(1000, 1150)], RATE)[1000:1150]).mean()
    assert energy == pytest.approx(1, abs=0.3)


def test_a_short_sound_goes_on_forwards_again_and_what_is_all_silence_stays() -> None:
    waveform = sound((0, 400), (1, 1), (2, 1), (0, 400))
    made = bridged(waveform, [slice(0, 400), slice(402, 802)], RATE)
    assert made[396:406] == pytest.approx([1, 2, 2, 1, 1, 2, 2, 1, 1, 2], rel=0.01)
    assert not bridged(np.zeros(300, np.float32), [slice(0, 300)], RATE).any()
