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
_HEARD_HZ = 20000.0
"""What lies above is not heard, and no model adds it: a band that ends there is whole."""

_APART, _LOOKED_AT = 2, 3
"""Frames from one to the next that does not overlap it, and how many of these have to hold a frequency for it to count:
a click, or a cut, is in one of them."""

_SPAN = _APART * (_LOOKED_AT - 1)


class BandEdge:
    """Listens where the band of a recording ends, by what lasts: clicks, a few a second, change nothing.

    Args:
        sample_rate: Hz.
        channels: of the recording.
    """

    def __init__(self, sample_rate: int, channels: int):
        self._rate = sample_rate
        self._window = np.hanning(_FRAME).astype(np.float32)
        self._power = np.zeros((channels, _FRAME // 2 + 1))
        self._latest = np.zeros((channels, 0, _FRAME // 2 + 1), np.float32)
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
        if self._latest.shape[1] == 0 and self._held.any():
            self._add(np.pad(self._held, ((0, 0), (0, _FRAME - self._held.shape[1])))[:, None])
        powers = self._power if self._power.any() else self._latest.sum(axis=1)  # of recordings of a few frames all
        each = self._rate / _FRAME
        found = []
        for power in powers:
            level = np.convolve(power, np.ones(5) / 5, "same")
            heard = np.flatnonzero(level > level.max() * 10 ** (_LOST_DB / 10))
            last = int(heard[-1]) if len(heard) else len(level)
            whole = last >= len(level) - 8 or last * each > _HEARD_HZ  # the first: within 200 Hz of the end
            found.append(self._rate / 2 if whole else last * each)
        return found

    def _add(self, frames: np.ndarray) -> None:
        spectra = np.fft.rfft(frames * self._window)
        powers = np.concatenate([self._latest, spectra.real**2 + spectra.imag**2], axis=1)
        count = powers.shape[1] - _SPAN
        if count > 0:
            lasting = [powers[:, start : start + count] for start in range(0, _SPAN + 1, _APART)]
            self._power += np.minimum.reduce(lasting).sum(axis=1)
        self._latest = powers[:, -_SPAN:]


def said_of_band(edge: float, whole: float) -> str:
    """What there is to say of a recording whose band ends at `edge` Hz, and would be whole at `whole` Hz."""
    if edge >= whole:
        return f"nothing is missing up to {min(whole, _HEARD_HZ) / 1000:g} kHz: left as it is"
    return f"its band ends at {edge / 1000:.1f} kHz: what lies above was added"


def with_band_kept(made: np.ndarray, recording: np.ndarray, edge: float, sample_rate: int) -> np.ndarray:
    """What a model made of a recording, (samples,) both, with the recording's own band up to its edge in Hz."""
    if edge >= sample_rate / 2:
        return recording.copy()
    from scipy import signal  # a third of a second, which most models do without

    taps = signal.firwin(_TAPS, _KEPT * edge, fs=sample_rate, window=("kaiser", 8.0)).astype(np.float32)
    kept: np.ndarray = signal.fftconvolve(recording - made, taps, "same") if len(made) > _TAPS else made * 0
    return (made + kept).astype(np.float32, copy=False)
