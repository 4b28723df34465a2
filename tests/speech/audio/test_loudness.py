"""speech/audio/loudness.py: what the standards say of tones, blocks of any size, and the gain that follows."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from shared.errors import ConfigError
from speech.audio.loudness import LoudnessMeter, Measured, checked_goal, levelling
from tests.speech.models import gain_enhancer


def measure(wave: np.ndarray, rate: int = 48000, block: int = 10_000) -> Measured:
    meter = LoudnessMeter(rate, len(wave))
    for start in range(0, wave.shape[1], block):
        meter.push(wave[:, start : start + block])
    return meter.close()


def tone(seconds: float, decibels: float, channels: int = 2, rate: int = 48000) -> np.ndarray:
    """1 kHz, of this peak level below full scale."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 10 ** (decibels / 20) * np.sin(2 * np.pi * 1000 * time)
    return np.stack([wave] * channels).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize(("decibels", "channels", "loudness"), [(-23, 2, -23.0), (-33, 2, -33.0), (0, 1, -3.01)])
def test_tones_have_the_loudness_of_the_standards(rate, decibels, channels, loudness):
    """EBU Tech 3341, cases 1 and 2; BS.1770: a full-scale tone of 997 Hz in one channel."""
    found = measure(tone(3, decibels, channels, rate), rate)
    assert found.loudness == pytest.approx(loudness, abs=0.1)
    assert found.peak == pytest.approx(10 ** (decibels / 20), abs=0.01)


def test_quiet_parts_do_not_count():
    """EBU Tech 3341, case 3, shortened: −36, −23 and −36 LUFS."""
    wave = np.concatenate([tone(2, -36, rate=16000), tone(30, -23, rate=16000), tone(2, -36, rate=16000)], axis=1)
    assert measure(wave, 16000).loudness == pytest.approx(-23, abs=0.1)


def test_blocks_of_any_size_give_the_same():
    wave = (0.1 * np.random.default_rng(0).standard_normal((2, 60_000))).astype(np.float32)
    assert measure(wave, block=777) == measure(wave, block=60_000)


def test_the_true_peak_lies_between_samples():
    """A tone at a quarter of the rate whose samples are all 3 dB below its peak."""
    wave = 0.5 * np.sin(np.pi / 2 * np.arange(48_000) + np.pi / 4)
    found = measure(wave[None].astype(np.float32))
    assert np.abs(wave).max() == pytest.approx(0.354, abs=1e-3)
    assert found.peak == pytest.approx(0.5, rel=0.1)  # 0.6 dB is what the standard allows at this rate


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize("last", [1, 20, 200])
def test_a_peak_at_the_very_end_counts(rate, last):
    """The meter tells of whole tenths of a second: what is loudest behind them was cut off by the gain."""
    wave = 0.03 * np.random.default_rng(0).standard_normal((2, round(2.08 * rate))).astype(np.float32)
    before = measure(wave, rate)
    wave[1, -last] = 0.9
    found = measure(wave, rate)
    assert found.peak == pytest.approx(0.9, rel=0.02)
    assert found.loudness == before.loudness  # whose gating blocks are whole, too
    assert levelling(-16.0, found).gain * 0.9 == pytest.approx(10 ** (-1 / 20), rel=0.02)


@pytest.mark.parametrize("wave", [np.zeros((1, 48_000), np.float32), np.ones((1, 900), np.float32), np.zeros((2, 0))])
def test_silence_and_blips_have_no_loudness(wave):
    found = measure(wave)
    assert found.loudness is None
    said = levelling(-16.0, found)
    assert (said.gain, said.loudness) == (1.0, None)
    assert said.note is not None
    assert "silent, or shorter than 0.4 s" in said.note


def test_a_voice_too_quiet_to_be_measured_is_not_called_silent_alone():
    whisper = measure((1e-4 * np.random.default_rng(0).standard_normal((1, 48_000))).astype(np.float32))
    for said in (levelling(-16.0, whisper), levelling("keep", Measured(-20.0, 0.5), whisper)):
        assert said.note is not None
        assert said.note.endswith("is silent, or shorter than 0.4 s, or below -70 LUFS")


def test_the_gain_reaches_the_goal():
    wave = (0.05 * np.random.default_rng(0).standard_normal((1, 96_000))).astype(np.float32)
    before = measure(wave)
    for goal in (-40.0, -30.0, -23.0):
        done = levelling(goal, before)
        assert (done.loudness, done.note) == (goal, None)
        assert measure(np.float32(done.gain) * wave).loudness == pytest.approx(goal, abs=0.02)
    assert levelling("keep", before, Measured(-31.0, 0.5)).loudness == -31.0
    assert levelling("keep", before, Measured(None, 0.0)).gain == 1.0


def test_no_true_peak_exceeds_its_limit():
    wave = 0.02 * np.random.default_rng(0).standard_normal((1, 96_000))
    wave[0, 50_000] = 0.5
    done = levelling(-16.0, measure(wave.astype(np.float32)))
    after = measure((done.gain * wave).astype(np.float32))
    assert 0.88 < after.peak <= 10 ** (-1 / 20)
    assert after.loudness == pytest.approx(done.loudness, abs=0.05)
    assert done.note is not None
    assert "not -16.0: its true peak is then at -1 dB" in done.note


def test_goals_that_cannot_be_are_refused():
    assert (checked_goal("-16"), checked_goal("keep"), checked_goal(None)) == (-16.0, "keep", None)
    for value in ("loud", "", "-4", -71, 3, "nan"):
        with pytest.raises(ConfigError, match=f"loudness={value!r}|loudness={value}"):
            checked_goal(value)
    with pytest.raises(ConfigError, match="loudness of 9 channels is not defined"):
        LoudnessMeter(16000, 9)


@pytest.mark.parametrize("windows", [{}, {"window_seconds": 1.0, "overlap_seconds": 0.3}])
@pytest.mark.parametrize("full_scale", [2.0**15, 2.0**31])
def test_samples_far_beyond_full_scale_get_the_loudness_too(full_scale, windows, tmp_path):
    wave = (full_scale * 0.05 * np.random.default_rng(0).standard_normal((1, 32_000))).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave.T, 16000, "FLOAT")
    enhancer = gain_enhancer(1.0, **windows)
    results = [enhancer.enhance_file(tmp_path / "a.wav", tmp_path / "b.wav", loudness=-30)]
    results += enhancer.enhance_dir(tmp_path, tmp_path / "out", loudness=-30, progress=False, workers=1).files[:1]
    for result in results:
        assert result.notes == ()
        assert result.loudness == -30
        assert measure(soundfile.read(result.target, dtype="float32")[0][None], 16000).loudness == pytest.approx(
            -30, abs=0.1
        )
