"""The level of a recording's peaks, not of a click's, for a network that was trained on recordings with a peak of 1."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

_FRAME_SECONDS = 0.032
_SPAN = 512
"""Frames, 16 s of sound, that are judged together; a span begins every half."""

_SHARE, _FEWEST, _EACH = 50, 6, 8
"""Of the peaks of n frames the n/50 largest count for little, some 0.3 s of a span, or the six largest, for a thump of
0.2 s; but at most n/8, so that of less than a quarter of a second all count."""

_ROOM = 2.0
"""By how much, 6 dB, these may exceed the others: 95 of 100 noisy recordings of 2 to 15 s without clicks have less (the
median is 2.7 dB), so that their level is their peak."""


_STILL = 1e-3
"""Of its peak: a frame that moves by less is digital silence at another value than 0."""


class SteadyPeak:
    """Hears the level of one channel's peaks: its peak, but where clicks or thumps stand out, for beside them the rest
    would be far below what the network was trained for.

    It is at most twice the peak of a frame of 32 ms that few others exceed, of those that are not digital silence or
    constant, in the loudest 16 s of sound: a word in an hour of faint noise counts. It follows every gain, and is the
    same in whatever blocks the channel comes. Memory does not grow.

    Args:
        sample_rate: Hz.
    """

    def __init__(self, sample_rate: int):
        self._frame = max(1, round(_FRAME_SECONDS * sample_rate))
        self._begun = np.zeros(0, np.float32)
        self._peaks = np.zeros(0, np.float32)
        self._peak = self._steady = 0.0

    def push(self, block: np.ndarray) -> None:
        """The next samples (n,)."""
        heard = np.concatenate([self._begun, block])
        self._peak = max(self._peak, float(np.abs(heard).max(initial=0.0)))
        whole, self._begun = np.split(heard, [len(heard) // self._frame * self._frame])
        self._peaks = np.concatenate([self._peaks, _sounding(whole.reshape(-1, self._frame))])
        while len(self._peaks) > _SPAN:
            self._steady = max(self._steady, _steady(self._peaks[:_SPAN]))
            self._peaks = self._peaks[_SPAN // 2 :]

    @property
    def level(self) -> float:
        """Of all that came; 0 of silence."""
        steady = max(self._steady, _steady(np.concatenate([self._peaks, _sounding(self._begun[None])])))
        return min(self._peak, _ROOM * steady) if steady else self._peak

    @property
    def standing_out(self) -> float:
        """dB by which clicks or thumps stand out of that level; 0 where none do."""
        return 20 * math.log10(self._peak / self.level) if self._peak else 0.0


def standing_out(blocks: Iterable[np.ndarray], sample_rate: int) -> float:
    """`SteadyPeak.standing_out` of what the channels of a recording in blocks (channels, n) reach together."""
    heard = SteadyPeak(sample_rate)
    for block in blocks:
        heard.push(np.abs(block).max(axis=0))
    return heard.standing_out


def _sounding(frames: np.ndarray) -> np.ndarray:
    """The peaks of frames (n, samples), of those that are not silent or constant."""
    low, high = frames.min(axis=1, initial=np.inf), frames.max(axis=1, initial=-np.inf)
    peaks = np.maximum(-low, high)
    moving = (high - low > _STILL * peaks) | ((peaks > 0) & (frames.shape[1] == 1))
    sounding: np.ndarray = peaks[moving]
    return sounding


def _steady(peaks: np.ndarray) -> float:
    count = len(peaks)
    left_out = min(max(count // _SHARE, _FEWEST), count // _EACH)
    return float(np.partition(peaks, count - 1 - left_out)[count - 1 - left_out]) if count else 0.0
