"""Other voices made of recorded ones: whispers and drawn-out vowels, which recordings of people who read have not.

Every function of `VOICES` takes speech (length,), its sample rate in Hz and a generator, and returns a float32 waveform as
long. A network that never heard such voices takes them for noise: a whisper is hiss, a vowel that lasts is a hum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from speech.data import degrade
from speech.data.clips import Waveform

_FRAME_SECONDS = 0.032
_SILENT = 1e-9
"""Energy of a frame, of full scale 1, below which nothing is heard."""
_VOICE_HZ = 700.0
_LESS = np.float32(0.75)
"""A whisper has 12 dB less than a voice below `_VOICE_HZ`, for the glottis stays open."""


def whispered(speech: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    """The same words whispered: noise through the vocal tract of each moment, told by linear prediction.

    The tract is that of linear prediction: Makhoul, "Linear prediction: a tutorial review" (1975), section II.
    """
    size = round(_FRAME_SECONDS * rate)
    hop = max(1, size // 4)
    window = np.hanning(size + 1)[:-1]
    padded = np.pad(speech.astype(np.float64), (size, 2 * size))
    breath = rng.standard_normal(len(padded))
    total = np.zeros(len(padded))
    for start in range(0, len(speech) + size, hop):
        here = slice(start, start + size)
        total[here] += window * _through_tract(padded[here] * window, breath[here], order=4 + rate // 1000)
    voice = (total[size : size + len(speech)] * (hop / (window**2).sum())).astype(np.float32)
    if 2 * _VOICE_HZ >= rate:
        return voice
    return voice - _LESS * degrade.band_limit(voice, rate, 0.0, _VOICE_HZ, order=2)


def _through_tract(frame: NDArray[np.float64], breath: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Noise (size,) with the spectral envelope and the energy of a windowed frame (size,)."""
    lags = np.correlate(frame, frame, "full")[len(frame) - 1 : len(frame) + order]
    if lags[0] < _SILENT or len(lags) <= order:
        return np.zeros_like(frame)
    lags[0] *= 1 + 1e-5  # a floor 50 dB below, so that pure tones can be predicted
    coefficients = solve_toeplitz(lags[:-1], lags[1:])
    left = max(lags[0] - float(coefficients @ lags[1:]), 0.0)
    gain = np.sqrt(left / (np.hanning(len(frame) + 1)[:-1] ** 2).sum())
    return lfilter([gain], np.concatenate([[1.0], -coefficients]), breath)


def drawn_out(speech: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    """The first part of the same speech 1.7 to 6 times as slow, half of the time up to half an octave higher: singing.

    A phase vocoder: Laroche and Dolson, "Improved phase vocoder time-scale modification of audio" (1999), section II.
    """
    pace = np.exp(rng.uniform(np.log(1 / 6), np.log(0.6)))
    raised = 2 ** rng.uniform(0, 0.5) if rng.random() < 0.5 else 1.0
    higher = degrade.change_speed(speech, raised, int(len(speech) / raised))
    size = round(2 * _FRAME_SECONDS * rate)
    hop = max(1, size // 4)
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    padded = np.pad(higher, (size, 2 * size))
    count = -(-(len(speech) + size) // hop)
    starts = np.minimum((np.arange(count) * hop * pace).astype(np.int64), len(padded) - size - hop)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)
    now, after = (np.fft.rfft(frames[starts + ahead] * window) for ahead in (0, hop))
    turned = np.angle(after * now.conj())  # within a hop
    phase = np.angle(now[0]) + np.cumsum(turned, axis=0) - turned
    pieces = np.fft.irfft(np.abs(now) * np.exp(1j * phase), size) * window
    total = np.zeros(hop * count + size, np.float32)
    for i, piece in enumerate(pieces):
        total[i * hop : i * hop + size] += piece
    return total[size : size + len(speech)] * np.float32(hop / (window**2).sum())


VOICES: dict[str, Callable[[Waveform, int, np.random.Generator], Waveform]] = {
    "whispered": whispered,
    "drawn out": drawn_out,
}
