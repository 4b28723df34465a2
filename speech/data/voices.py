"""Other voices made of recorded ones: whispers, singing and drawn-out vowels, which recordings of people who read lack.

Every function of `VOICES` takes speech (length,), its sample rate in Hz and a generator, and returns a float32 waveform
as long. A network that never heard such voices takes them for noise: a whisper is hiss, a vowel that lasts is a hum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from shared.random import log_uniform
from speech.data import degrade
from speech.data.clips import Waveform
from speech.data.noises import smooth

Signal = NDArray[np.float64]

_FRAME_SECONDS = 0.032
_SILENT = 1e-9
"""Energy of a frame, of full scale 1, below which nothing is heard."""
_GLOTTIS_HZ = 700.0
_LESS = np.float32(0.75)
"""A whisper has 12 dB less than a voice below `_GLOTTIS_HZ`."""
_PITCH_HZ = (70.0, 400.0)
"""Of people who read."""
_NOTE_HZ = (90.0, 500.0)
"""The middle of a melody."""


def whispered(speech: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    """The same words whispered: noise through the vocal tract of each moment."""
    frames = _Frames(speech, rate)
    breath = rng.standard_normal(frames.padded)
    voice = frames.spoken(lambda frame, place: _through_tract(frame, breath[place], frames.order))
    if rate <= 2 * _GLOTTIS_HZ:
        return voice
    return voice - _LESS * degrade.band_limit(voice, rate, 0.0, _GLOTTIS_HZ, order=2)


def sung(speech: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    """The first part of the same words 2 to 10 times as slow, on notes with vibrato; what has no pitch keeps none."""
    pace = log_uniform(rng, 0.1, 0.5)
    frames = _Frames(speech, rate, pace)
    breath, notes = rng.standard_normal(frames.padded), _notes(frames.padded, rate, rng)
    lags = slice(int(rate / _PITCH_HZ[1]), int(rate / _PITCH_HZ[0]) + 1)

    def sing(frame: Signal, place: slice) -> Signal:
        likeness = np.correlate(frame, frame, "full")[len(frame) - 1 :]
        voiced = np.clip((likeness[lags].max(initial=0) / max(likeness[0], _SILENT) - 0.2) / 0.2, 0, 1)
        return _through_tract(frame, voiced * notes[place] + (1 - voiced) * breath[place], frames.order)

    return frames.spoken(sing)


def drawn_out(speech: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    """The first part of the same speech 1.7 to 6 times as slow.

    A phase vocoder whose neighbouring bins keep together: Puckette, "Phase-locked vocoder" (1995).
    """
    pace = log_uniform(rng, 1 / 6, 0.6)
    frames = _Frames(speech, rate, pace, long=2)
    now, after = (np.fft.rfft(frames.taken(ahead)) for ahead in (0, frames.hop))
    laid = now.copy()
    for i in range(1, len(laid)):
        turned = after[i - 1] * now[i - 1].conj()  # within a hop
        around = laid[i - 1].copy()
        around[1:] -= laid[i - 1, :-1]  # bins of one peak alternate in sign
        around[:-1] -= laid[i - 1, 1:]
        laid[i] = np.abs(now[i]) * np.exp(1j * np.angle(around * turned))
    return frames.joined(np.fft.irfft(laid, frames.size))


VOICES: dict[str, Callable[[Waveform, int, np.random.Generator], Waveform]] = {
    "whispered": whispered,
    "sung": sung,
    "drawn out": drawn_out,
}


class _Frames:
    """Windowed frames of a waveform, taken at a pace and laid out at their usual distance.

    Attributes:
        size, hop: samples.
        padded: samples of what the frames are laid out over.
        order: of linear prediction, enough for the formants at this rate.
    """

    def __init__(self, x: Waveform, rate: int, pace: float = 1.0, long: int = 1):
        self.size = long * round(_FRAME_SECONDS * rate)
        self.hop, self.order = max(1, self.size // 4), 4 + rate // 1000
        self._length = len(x)
        self._window = np.hanning(self.size + 1)[:-1]
        self._x = np.pad(x.astype(np.float64), (self.size, 2 * self.size))
        count = -(-(len(x) + self.size) // self.hop)
        self._starts = np.arange(count) * self.hop
        self._taken = (self._starts * pace).astype(np.int64)
        self.padded = count * self.hop + self.size

    def taken(self, ahead: int = 0) -> Signal:
        """The frames (count, size), `ahead` samples later."""
        return np.lib.stride_tricks.sliding_window_view(self._x, self.size)[self._taken + ahead] * self._window

    def spoken(self, say: Callable[[Signal, slice], Signal]) -> Waveform:
        """What is said of each frame and the place where it is laid, joined."""
        places = (slice(start, start + self.size) for start in self._starts)
        said = [say(frame, place) for frame, place in zip(self.taken(), places, strict=True)]
        return self.joined(np.array(said))

    def joined(self, frames: Signal) -> Waveform:
        """Frames (count, size) laid out and added, as long as the waveform was at its pace."""
        total = np.zeros(self.padded)
        for start, frame in zip(self._starts, frames, strict=True):
            total[start : start + self.size] += self._window * frame
        whole = total[self.size : self.size + self._length] * (self.hop / (self._window**2).sum())
        return whole.astype(np.float32)


def _through_tract(frame: Signal, source: Signal, order: int) -> Signal:
    """A source (size,) of unit power with the spectral envelope and the energy of a windowed frame (size,).

    Linear prediction: Makhoul, "Linear prediction: a tutorial review" (1975), section II.
    """
    lags = np.correlate(frame, frame, "full")[len(frame) - 1 : len(frame) + order]
    if lags[0] < _SILENT or len(lags) <= order:
        return np.zeros_like(frame)
    lags[0] *= 1 + 1e-5  # a floor 50 dB below, so that pure tones can be predicted
    coefficients = solve_toeplitz(lags[:-1], lags[1:])
    left = max(lags[0] - float(coefficients @ lags[1:]), 0.0)
    gain = np.sqrt(left / (3 / 8 * len(frame)))  # the window's mean square
    return lfilter([gain], np.concatenate([[1.0], -coefficients]), source)


def _notes(length: int, rate: int, rng: np.random.Generator) -> Signal:
    """Harmonics of a melody (length,), all equally strong, of unit power."""
    held = int(rate * log_uniform(rng, 0.3, 2))
    steps = rng.integers(-5, 6, length // held + 2)
    knots = np.repeat(steps, held)[: length + held].astype(np.float64)
    glide = max(1, int(rate * rng.uniform(0.02, 0.1)))
    tone = np.convolve(knots, np.full(glide, 1 / glide), "same")[:length]
    turns = rng.uniform(4.5, 6.5) * np.arange(length) / rate
    tone += rng.uniform(0, 0.6) * np.sin(2 * np.pi * turns) + 0.1 * smooth(length, rng, max(1, rate // 20))
    pitch = np.exp(rng.uniform(*np.log(_NOTE_HZ))) * 2 ** (tone / 12)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    total = np.zeros(length)
    for k in range(1, int(rate / 2 / pitch.min(initial=rate)) + 1):
        total += np.clip(rate / 2 / pitch - k, 0, 1) * np.cos(k * phase)
    return total * np.sqrt(4 / rate * pitch)
