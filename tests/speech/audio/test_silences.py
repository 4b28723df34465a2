"""Digital silence in a recording, and what is heard in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.audio.silences import GoingOn, bridged, silences
from speech.enhancer import Enhancer

RATE = 1000  # a tenth of a second is 100 samples
LSB = np.float32(2**-15)


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


def gone_on(waveform: np.ndarray, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """A signal (channels, samples) that comes in blocks of these sizes, in turn."""
    going_on, made, place, turn = GoingOn(RATE, len(waveform)), [], 0, 0
    while place < waveform.shape[1]:
        made.append(going_on.push(waveform[:, place : place + sizes[turn % len(sizes)]]))
        place, turn = place + sizes[turn % len(sizes)], turn + 1
    assert going_on.samples == waveform.shape[1]
    return np.concatenate([a for a, _ in made], axis=1), np.concatenate([b for _, b in made], axis=1)


def test_while_it_comes_what_sounded_goes_on_backwards_and_forwards_until_there_is_sound() -> None:
    ramp = np.arange(1, 301, dtype=np.float32)
    waveform = np.concatenate([ramp, np.zeros(1000, np.float32), ramp])
    ((made,), (silent,)) = gone_on(waveform[None], [1600])
    assert np.flatnonzero(silent).tolist() == list(range(324, 1300))
    assert (made[~silent] == waveform[~silent]).all()
    turn = np.concatenate([ramp[:99:-1], ramp[100:]])  # a fifth of a second, there and back
    assert (made[silent] == np.tile(turn, 3)[24:1000]).all()


@pytest.mark.parametrize("sizes", [[1], [7, 0, 31], [200, 3], [512]])
@pytest.mark.parametrize("values", [[0], [0, LSB, -LSB]])
def test_what_goes_on_is_the_same_in_blocks_of_any_size_and_at_any_level(sizes: list[int], values: list[float]) -> None:
    generator = np.random.default_rng(0)
    waveform = generator.standard_normal((2, 4000)).astype(np.float32)
    for channel in waveform:
        for start in generator.integers(0, 4000, 12):
            channel[start : start + generator.integers(1, 400)] = generator.choice(values)
    waveform[1, :400] = 0
    made, silent = gone_on(waveform, [4000])
    in_blocks, silent_in_blocks = gone_on(waveform, sizes)
    assert (in_blocks == made).all()
    assert (silent_in_blocks == silent).all()
    assert silent.any(axis=1).all()
    assert ((silent & (waveform != 0)).any(axis=1) == (len(values) > 1)).all()  # held at another value
    louder, _ = gone_on(1024 * waveform, sizes)
    assert (louder == 1024 * made).all()


def test_a_lost_packet_and_silence_before_all_sound_stay_as_they_are() -> None:
    waveform = sound((0, 300), (1, 200), (0, 20), (1, 200))
    ((made,), (silent,)) = gone_on(waveform[None], [100])
    assert (made == waveform).all()
    assert np.flatnonzero(silent).tolist() == list(range(24, 300))


@pytest.mark.parametrize("value", [LSB, -LSB, 8 * LSB, -8 * LSB, np.float32(0.009)])
def test_a_quarter_of_a_second_at_another_small_value_is_silence(value: float) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 300).astype(np.float32)
    waveform = np.concatenate([noise, sound((value, 250)), noise, sound((value, 249)), noise, sound((value, 400))])
    assert silences(waveform, 1.0, RATE) == [slice(300, 550), slice(1399, 1799)]
    ((made,), (silent,)) = gone_on(waveform[None], [1799])
    assert np.flatnonzero(silent).tolist() == [549, *range(1399 + 249, 1799)]
    assert (made[~silent] == waveform[~silent]).all()
    assert made[silent].std() > 0.3


def test_plateaus_and_slow_or_faint_sounds_are_none() -> None:
    time = np.arange(4000) / RATE
    clipped = (3 * np.sin(2 * np.pi * time)).clip(-1, 1)  # 0.4 s at full scale
    rumble = 0.01 * np.sin(2 * np.pi * 0.05 * time)
    dithered = 0.001 + LSB * np.random.default_rng(0).integers(-1, 2, 4000)
    for wave in (clipped, rumble, dithered):
        waveform = np.concatenate([[1.0], wave, [1.0]]).astype(np.float32)
        assert silences(waveform, 1.0, RATE) == []
        assert not gone_on(waveform[None], [512])[1].any()


def broken_off(value: float, rate: int) -> np.ndarray:
    """Noise that stops for a second each second, at this value."""
    time = np.arange(4 * rate) / rate
    wave = 0.2 * np.random.default_rng(0).standard_normal(4 * rate) * (1 + np.sin(20 * time)) / 2
    return np.round(np.where(time % 2 < 1, wave, value) * 2**15).astype(np.int16)


@pytest.mark.parametrize("model", ["default", "causal"])
@pytest.mark.parametrize(("value", "rate"), [(-LSB, 16000), (8 * LSB, 48000)])
def test_pauses_at_another_value_are_enhanced_as_those_at_zero(
    model: str, value: float, rate: int, tmp_path: Path
) -> None:
    enhancer, made = Enhancer.from_pretrained(model, upper_band="drop"), []
    for name, held in (("zero", 0.0), ("held", value)):
        soundfile.write(tmp_path / f"{name}.wav", broken_off(held, rate), rate)
        enhancer.enhance_file(tmp_path / f"{name}.wav", tmp_path / f"{name}_out.wav", name="a")
        made.append(soundfile.read(tmp_path / f"{name}_out.wav")[0])
    zero, held = made
    time = np.arange(4 * rate) / rate % 2
    assert np.abs(held[(time > 1.3) & (time < 1.95)]).max() <= LSB
    if model == "default":  # a stream cannot know at once that a value is held
        assert np.abs(held - zero).max() < 0.25 * np.abs(zero).max()
