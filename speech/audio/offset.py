"""A constant that lies on a recording, as cheap converters add it: networks, which know none, lose words beside it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_PIECE_SECONDS = 0.5
_LEAST = 0.01
"""Of the peak: below this a mean is that of rumble, and does no harm."""

_AGREED = 0.5
"""Of the constant: how far the middle half of the pieces' means may lie apart, so that it is there all along."""


class Offset:
    """Hears, block by block, what the samples of each channel lie beside zero in the mean, all along.

    Args:
        sample_rate: Hz.
        channels: of the recording.
    """

    def __init__(self, sample_rate: int, channels: int):
        self._piece = max(1, round(_PIECE_SECONDS * sample_rate))
        self._begun = np.zeros((channels, 0), np.float32)
        self._means = [np.zeros((channels, 0))]
        self._peaks = np.zeros(channels)

    def push(self, block: np.ndarray) -> None:
        """The next samples (channels, n)."""
        self._peaks = np.maximum(self._peaks, np.abs(block).max(axis=1, initial=0.0))
        heard = np.concatenate([self._begun, block], axis=1)
        count = heard.shape[1] // self._piece
        whole, self._begun = np.split(heard, [count * self._piece], axis=1)
        self._means.append(whole.reshape(len(whole), count, self._piece).mean(axis=2, dtype=np.float64))

    @property
    def values(self) -> NDArray[np.float32]:
        """Of each channel (channels, 1); 0 where there is none to speak of, and of less than half a second."""
        means = np.concatenate(self._means, axis=1)
        if means.shape[1] == 0:
            return np.zeros((len(means), 1), np.float32)
        low, middle, high = np.quantile(means, [0.25, 0.5, 0.75], axis=1)
        there = (np.abs(middle) >= _LEAST * self._peaks) & (high - low <= _AGREED * np.abs(middle))
        return np.where(there, middle, 0.0).astype(np.float32)[:, None]


def constants_of(blocks: Iterable[np.ndarray], sample_rate: int, channels: int) -> NDArray[np.float32]:
    """`Offset.values` of a recording in blocks (channels, n)."""
    heard = Offset(sample_rate, channels)
    for block in blocks:
        heard.push(block)
    return heard.values
