"""Whispers, singing and drawn-out voices, made of recorded ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import lfilter, sawtooth

from speech.data.clips import Waveform
from speech.data.voices import VOICES, drawn_out, sung, whispered
from tests.speech.trees import RATE, hiss, speech_like

PITCH = 125.0


def vowel(seconds: float = 2.0, formant: float = 1500.0) -> Waveform:
    """A buzz through one resonance, 100 Hz wide."""
    buzz = sawtooth(2 * np.pi * PITCH * np.arange(int(seconds * RATE)) / RATE)
    radius = np.exp(-np.pi * 100 / RATE)
    voice = lfilter([1.0], [1.0, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], buzz)
    return (0.1 * voice / voice.std()).astype(np.float32)


def likeness(x: Waveform, lag: int) -> float:
    """Autocorrelation over the lag; 1 where it repeats exactly."""
    return float(x[lag:] @ x[:-lag] / (x @ x))


def spectrum(x: Waveform) -> tuple[Waveform, Waveform]:
    return np.fft.rfftfreq(len(x), 1 / RATE), np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2


def test_a_whisper_keeps_the_formant_and_loses_the_pitch() -> None:
    voice = vowel()
    whisper = whispered(voice, RATE, np.random.default_rng(0))
    period = round(RATE / PITCH)
    assert likeness(voice, period) > 0.95
    assert abs(likeness(whisper, period)) < 0.2
    frequency, energy = spectrum(whisper)
    near = np.abs(frequency - 1500) < 150
    assert energy[near].mean() > 20 * energy[(frequency > 2500) & (frequency < 6000)].mean()
    assert 0.3 < whisper.std() / voice.std() < 1.5


def test_a_whisper_is_loud_when_the_voice_is_and_silent_where_it_is_silent() -> None:
    voice = np.concatenate([0.1 * vowel(0.5), np.zeros(RATE // 2, np.float32), vowel(0.5)])
    whisper = whispered(voice, RATE, np.random.default_rng(1))
    margin = RATE // 20
    quiet, silent, loud = (whisper[i * RATE // 2 + margin : (i + 1) * RATE // 2 - margin] for i in range(3))
    assert np.abs(silent).max() < 1e-7
    assert 20 * np.log10(loud.std() / quiet.std()) == pytest.approx(20, abs=1.5)


def beats_of(voice: Waveform) -> int:
    loud = np.convolve(voice**2, np.ones(RATE // 50), "same") > 0.1 * 0.1**2 * (RATE // 50)
    return int((np.diff(loud.astype(int)) > 0).sum())


def pitch(voice: Waveform) -> tuple[float, float]:
    """Hz, and how alike what follows is."""
    period = max(range(20, 300), key=lambda lag: likeness(voice, lag) - 1e-4 * lag)
    return RATE / period, likeness(voice, period)


BEATS = np.concatenate([vowel(0.1), np.zeros(RATE // 10, np.float32)] * 10)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_drawn_out_lasts_longer_at_its_pitch(seed: int) -> None:
    assert beats_of(BEATS) == 9  # the first is at the start
    assert beats_of(drawn_out(BEATS, RATE, np.random.default_rng(seed))) <= 7
    longer = drawn_out(vowel(), RATE, np.random.default_rng(seed))
    hz, alike = pitch(longer)
    assert hz == pytest.approx(PITCH, rel=0.02)
    assert alike > 0.9
    middle = slice(RATE // 4, -RATE // 4)
    assert 0.8 < longer[middle].std() / vowel()[middle].std() < 1.2


def test_singing_has_notes_of_its_own_and_the_formant_of_the_words() -> None:
    made = [sung(vowel(), RATE, np.random.default_rng(seed)) for seed in range(6)]
    pitches = []
    for voice in made:
        frequency, energy = spectrum(voice)
        near = np.abs(frequency - 1500) < 250
        assert energy[near].mean() > 20 * energy[(frequency > 2500) & (frequency < 6000)].mean()
        notes = [pitch(voice[start : start + RATE // 10]) for start in range(RATE // 4, RATE, RATE // 16)]
        hz, alike = np.median(notes, axis=0)
        assert alike > 0.6
        assert 50 < hz < 800
        pitches.append(round(hz))
    assert len(set(pitches)) == 6
    assert beats_of(sung(BEATS, RATE, np.random.default_rng(0))) <= 6


def test_what_has_no_pitch_is_not_sung() -> None:
    breath = sung(hiss(2.0), RATE, np.random.default_rng(3))
    assert pitch(breath[RATE // 2 : RATE])[1] < 0.3


@pytest.mark.parametrize("revoice", VOICES.values(), ids=VOICES.keys())
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_they_are_as_long_finite_and_given_by_chance_alone(
    revoice: Callable[[Waveform, int, np.random.Generator], Waveform], rate: int
) -> None:
    speech = speech_like(1.0, rate=rate)
    for length in (0, 1, 100, 700, rate // 2 + 1, rate):
        made, again = (revoice(speech[:length], rate, np.random.default_rng(5)) for _ in range(2))
        assert made.dtype == np.float32
        assert made.shape == (length,)
        assert np.isfinite(made).all()
        np.testing.assert_array_equal(made, again)
    assert not revoice(np.zeros(rate, np.float32), rate, np.random.default_rng(5)).any()
    assert not np.array_equal(made, revoice(speech, rate, np.random.default_rng(6)))
