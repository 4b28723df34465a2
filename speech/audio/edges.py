"""Where the band of a recording ends, and how what it has below stays while the rest is made anew."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_FRAME = 512
_LOST_DB = -65.0
"""Below the loudest frequency: speech at 16 kHz keeps above −50 up to its end; what sampling at a lower rate or a coder
took away is at −84 or less."""

_KEPT = 0.93
"""Of the edge: up to here converters leave a band as it was."""

_TAPS = 255


class BandEdge:
    """Listens where the band of a recording ends.

    Args:
        sample_rate: Hz.
        channels: of the recording.
    """

    def __init__(self, sample_rate: int, channels: int):
        self._rate = sample_rate
        self._window = np.hanning(_FRAME).astype(np.float32)
        self._power = np.zeros((channels, _FRAME // 2 + 1))
        self._held = np.zeros((channels, 0), np.float32)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Hear the next block (channels, n), and return it."""
        held = np.concatenate([self._held, block], axis=1)
        if held.shape[1] >= _FRAME:
            self._add(sliding_window_view(held, _FRAME, axis=1)[:, :: _FRAME // 2])
            held = held[:, (held.shape[1] - _FRAME) // (_FRAME // 2) * (_FRAME // 2) + _FRAME // 2 :]
        self._held = held
        return block

    def edges(self) -> list[float]:
        """Hz at which the band of each channel ends; half the rate where nothing is missing, or nothing was heard."""
        if not self._power.any() and self._held.any():
            self._add(np.pad(self._held, ((0, 0), (0, _FRAME - self._held.shape[1])))[:, None])
        each = self._rate / _FRAME
        found = []
        for power in self._power:
            level = np.convolve(power, np.ones(5) / 5, "same")
            heard = np.flatnonzero(level > level.max() * 10 ** (_LOST_DB / 10))
            whole = len(heard) == 0 or heard[-1] >= len(level) - 8  # within 200 Hz of the end
            found.append(self._rate / 2 if whole else float(heard[-1] * each))
        return found

    def _add(self, frames: np.ndarray) -> None:
        spectra = np.fft.rfft(frames * self._window)
        self._power += (spectra.real**2 + spectra.imag**2).sum(axis=1)


def with_band_kept(made: np.ndarray, recording: np.ndarray, edge: float, sample_rate: int) -> np.ndarray:
    """What a model made of a recording, (samples,) both, with the recording's own band up to its edge in Hz."""
    if edge >= sample_rate / 2:
        return recording.copy()
    from scipy import signal  # a third of a second, which most models do without

    taps = signal.firwin(_TAPS, _KEPT * edge, fs=sample_rate, window=("kaiser", 8.0)).astype(np.float32)
    kept: np.ndarray = signal.fftconvolve(recording - made, taps, "same") if len(made) > _TAPS else made * 0
    return (made + kept).astype(np.float32, copy=False)
