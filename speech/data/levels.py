"""Powers, levels and signal-to-noise ratios of waveforms.

A level in dB is 10·log10 of the mean square, of full scale 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError

FRAME_SECONDS = 0.02
GATE_DB = 30.0
"""Frames this far below the loudest are not of someone speaking."""


def power(x: NDArray[np.floating]) -> float:
    """Mean square of a waveform, in double precision."""
    # Not np.dot: its sum is split by the number of BLAS threads, on which the last digits would then depend.
    return float(np.einsum("i,i->", x, x, dtype=np.float64)) / len(x)


def active_power(x: NDArray[np.floating], sample_rate: int) -> float:
    """Mean square of a waveform while someone speaks: over the frames of 20 ms within `GATE_DB` of the loudest.

    What does not fill a frame at the end is left out, unless the waveform is shorter than a frame.
    """
    length = max(1, round(FRAME_SECONDS * sample_rate))
    count = len(x) // length
    if count < 2:
        return power(x)
    frames = x[: count * length].reshape(count, length)
    powers = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / length
    loudest = powers.max()
    if loudest <= 0:
        return 0.0
    return float(powers[powers >= loudest * 10 ** (-GATE_DB / 10)].mean())


def noise_gain(speech_power: float, noise_power: float, snr_db: float) -> float:
    """The factor on a noise of mean square `noise_power` that puts it `snr_db` below `speech_power`.

    Raises:
        DataError: one of the two is silent, so that no factor would do.
    """
    if not (speech_power > 0 and noise_power > 0):
        silent = "speech" if not speech_power > 0 else "noise"
        raise DataError(f"the {silent} is silent: no gain gives an SNR of {snr_db} dB; leave the recording out")
    return float(np.sqrt(speech_power / noise_power) * 10 ** (-snr_db / 20))
