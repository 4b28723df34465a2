"""speech/audio/limiter.py and levelled.py: a goal is reached with peaks turned down, as little and as smoothly as can
be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from speech.audio.coding import AudioInfo
from speech.audio.levelled import MOST_LIMITED_DB, Levelled, levelled, measured
from speech.audio.limiter import PeakLimiter
from speech.audio.loudness import PEAK_DB, LoudnessGoal
from speech.audio.peaks import standing_out
from tests.speech.audio.test_loudness import measure, tone
from tests.speech.models import gain_enhancer, noise

HIGHEST = 10 ** (PEAK_DB / 20)


def voiced(seconds: float, rate: int, crest: float = 20.0, channels: int = 1) -> np.ndarray:
    """Pulses of a voice through resonances, in syllables and pauses, bent so that the highest peak is so many dB above
    the root of the mean square: (channels, samples), each channel at half of the one before."""
    rng, time = np.random.default_rng(0), np.arange(round(seconds * rate)) / rate
    wave = np.zeros(len(time))
    places = (np.cumsum(rng.uniform(0.007, 0.009, round(seconds / 0.01))) * rate).astype(int)
    wave[places] = rng.uniform(0.3, 1, len(places))
    for hertz, width in ((500, 80), (1500, 120), (2500, 200)):
        pole = np.exp(-np.pi * width / rate + 2j * np.pi * hertz / rate)
        wave = signal.lfilter([1], [1, -2 * pole.real, abs(pole) ** 2], wave)
    wave *= 10 ** -rng.uniform(0, 0.8, round(2 * seconds))[(2 * time).astype(int)]
    wave *= np.clip(np.sin(2 * np.pi * 2 * time), 0, 1) / np.abs(wave).max()
    low, high = 0.3, 4.0
    for _ in range(16):
        power = (low + high) / 2
        made = np.sign(wave) * np.abs(wave) ** power
        excess = 20 * np.log10(np.abs(made).max() / np.sqrt(np.square(made).mean())) - crest
        low, high = (power, high) if excess < 0 else (low, power)
    assert abs(excess) < 0.1
    return np.stack([made / np.abs(made).max() / 8 / 2**channel for channel in range(channels)]).astype(np.float32)


def at(goal: LoudnessGoal, wave: np.ndarray, rate: int) -> tuple[np.ndarray, Levelled]:
    info = AudioInfo(rate, *wave.shape)

    def read() -> Iterator[np.ndarray]:
        yield from np.array_split(wave, 5, axis=1)

    found = levelled(goal, read, info, measured(read, info), None)
    return np.concatenate(list(found.blocks()), axis=1), found


def limited(wave: np.ndarray, rate: int, ceiling: float, size: int) -> tuple[np.ndarray, float]:
    limiter = PeakLimiter(rate, len(wave), ceiling)
    blocks = limiter.stream(wave[:, start : start + size] for start in range(0, wave.shape[1], size))
    return np.concatenate(list(blocks), axis=1), limiter.reduction


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (44100, 1), (48000, 2)])
def test_speech_of_a_crest_of_20_db_gets_its_loudness_below_the_peak(rate: int, channels: int) -> None:
    wave = voiced(4, rate, 20, channels)
    made, found = at(-16.0, wave, rate)
    there = measure(made, rate)
    assert there.loudness == pytest.approx(-16, abs=0.1)
    assert there.peak <= HIGHEST
    assert found.done.loudness == pytest.approx(there.loudness, abs=0.05)
    assert 2 < found.done.limited < MOST_LIMITED_DB + 0.1
    said = f"its peaks were limited by up to {found.done.limited:.1f} dB, so that its true peak stays below -1 dB"
    assert (found.done.note, found.done.missing) == (said, 0)


def test_peaks_are_not_limited_by_more_than_8_db() -> None:
    wave = voiced(4, 16000, 27)
    made, found = at(-16.0, wave, 16000)
    there = measure(made, 16000)
    assert there.loudness is not None
    assert there.loudness < -16.5
    assert 0.86 < there.peak <= HIGHEST
    assert found.done.limited == pytest.approx(MOST_LIMITED_DB, abs=0.3)
    assert found.done.missing == pytest.approx(-16 - there.loudness, abs=0.05)
    assert found.done.note is not None
    assert f"its loudness is {there.loudness:.1f} LUFS, not -16.0: its true peak is then at -1 dB" in found.done.note


@pytest.mark.parametrize("rate", [8000, 44100, 96000, 192000])
def test_peaks_between_the_samples_of_whole_bands_stay_below_too(rate: int) -> None:
    made, found = at(-7.0, noise(2, rate), rate)
    assert measure(made, rate).peak <= HIGHEST
    assert found.done.limited > 1


def test_what_has_room_gets_one_gain() -> None:
    wave = voiced(3, 16000)
    made, found = at(-30.0, wave, 16000)
    assert (found.done.limited, found.done.missing, found.done.note) == (0, 0, None)
    assert np.array_equal(made, wave * np.float32(found.done.gain))
    untouched, reduction = limited(wave, 16000, 1.0, 999)
    assert reduction == 0
    assert np.array_equal(untouched, wave)


@pytest.mark.parametrize("rate", [1000, 16000, 48000])
def test_blocks_of_any_size_are_limited_alike(rate: int) -> None:
    wave = 4 * noise(2, rate // 2)
    whole = limited(wave, rate, 0.4, len(wave[0]))
    for size in (1, 77, 5000) if rate == 1000 else (77, 5000):
        made = limited(wave, rate, 0.4, size)
        assert np.abs(made[0] - whole[0]).max() < 1e-6
        assert made[1] == pytest.approx(whole[1])
    assert whole[0].shape == wave.shape
    assert np.abs(whole[0]).max() <= 0.4 + 1e-6
    for short in (0, 1, 3):
        assert limited(wave[:, :short], rate, 0.4, 10)[0].shape == (2, short)


def test_only_what_is_near_a_peak_is_turned_down_in_all_channels_alike() -> None:
    rate = 16000
    wave = np.concatenate([tone(2, -20, 1, rate), tone(2, -26, 1, rate)])
    wave[0, rate] = 0.8
    made, reduction = limited(wave, rate, 0.4, 5000)
    gains = made / np.where(wave == 0, 1, wave)
    assert reduction == pytest.approx(6, abs=0.3)
    assert np.abs(made).max() <= 0.4
    before, after = round((1 - 0.011) * rate), round((1 + 0.13) * rate)
    assert np.array_equal(made[:, :before], wave[:, :before])
    assert np.array_equal(made[:, after:], wave[:, after:])
    heard = np.flatnonzero(np.abs(wave).min(axis=0) > 1e-3)
    assert gains[0, heard] == pytest.approx(gains[1, heard], rel=1e-5)
    smooth = np.interp(np.arange(len(wave[0])), heard, gains[0, heard])
    assert np.abs(np.diff(smooth)).max() < 0.02  # no click: it moves over several milliseconds


@pytest.mark.parametrize("channels", [1, 2])
def test_a_lone_click_or_knock_does_not_hold_the_loudness_down(channels: int) -> None:
    """It may be turned down by 8 dB and what it stands out by; all else gets the gain, and little of the limiter."""
    rate = 16000
    for length in (1, 1600):
        wave = 0.5 * voiced(6, rate, 16, channels)
        fading = np.exp(-np.arange(length) / 300) * np.sin(np.pi / 2 + np.arange(length) / 10)
        wave[0, 40_000 : 40_000 + length] += 0.9 * fading.astype(np.float32)
        made, found = at(-16.0, wave, rate)
        there = measure(made, rate)
        assert there.loudness == pytest.approx(-16, abs=0.1)
        assert there.peak <= HIGHEST
        assert found.done.missing == 0
        assert MOST_LIMITED_DB + 2 < found.done.limited < 40
        said = f"its peaks were limited by up to {found.done.limited:.1f} dB where clicks or knocks stand out, so that"
        assert said in (found.done.note or "")
        away = np.r_[0:39_000, 50_000 : wave.shape[1]]
        down = made[:, away] / np.where(wave[:, away] == 0, np.inf, wave[:, away]) / found.done.gain
        assert down[wave[:, away] != 0].min() > 10 ** (-MOST_LIMITED_DB / 20)


def test_a_click_beyond_which_8_db_do_not_lead_is_turned_down_by_what_it_stands_out_by_too() -> None:
    wave = 0.2 * noise(1, 96_000)
    wave[0, 50_000] = 0.5
    found = at(-5.0, wave, 48000)[1].done
    most = MOST_LIMITED_DB + standing_out([wave], 48000)
    assert most > MOST_LIMITED_DB
    assert found.gain == pytest.approx(10 ** (most / 20) * HIGHEST / 0.5, rel=0.03)
    assert found.loudness is not None
    assert found.missing == pytest.approx(-5 - found.loudness, abs=0.01)


@pytest.mark.parametrize("windows", [{}, {"window_seconds": 1.0, "overlap_seconds": 0.3}])
def test_files_and_folders_have_their_loudness_with_peaks_limited(windows: dict[str, float], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    wave = voiced(4, 16000, 20, 2)
    soundfile.write(tmp_path / "in/a.wav", wave.T, 16000, "PCM_24")
    enhancer = gain_enhancer(1.0, **windows)
    alone = enhancer.enhance_file(tmp_path / "in/a.wav", tmp_path / "b.wav", loudness=-16)
    both = [alone, *enhancer.enhance_dir(tmp_path / "in", tmp_path / "out", loudness=-16, progress=False).files]
    for result in both:
        heard = soundfile.read(result.target, dtype="float32")[0].T
        found = measure(heard, 16000)
        assert heard.shape == wave.shape
        assert found.loudness == pytest.approx(-16, abs=0.1)
        assert found.peak <= HIGHEST
        assert result.peaks_limited > 2
        assert f"its peaks were limited by up to {result.peaks_limited:.1f} dB" in result.notes[0]
    assert both[0].peaks_limited == pytest.approx(both[1].peaks_limited, abs=0.01)
