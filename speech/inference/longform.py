"""Recordings of any length in bounded memory: overlapping windows of one recording, faded into each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from shared.errors import ConfigError


@dataclass(frozen=True)
class Windows:
    """How a recording is cut, in samples at the model's rate.

    The outer parts of an overlap, where a window lacks context, are left out; over its inner quarter the two windows
    are faded into each other.

    Attributes:
        length: of a window; the last may be shorter.
        overlap: of neighbouring windows.
    """

    length: int
    overlap: int

    @classmethod
    def of(cls, window_seconds: float, overlap_seconds: float, sample_rate: int, grid: int) -> Windows:
        """Windows of about these lengths that begin on a grid of `grid` samples.

        Raises:
            ConfigError: no room for a window, or for an overlap that is less than half of it; or lengths that are not
                finite.
        """
        asked = window_seconds, overlap_seconds
        finite = all(map(math.isfinite, asked))
        length, overlap = (round(seconds * sample_rate / grid) * grid if finite else 0 for seconds in asked)
        if not 0 < 2 * overlap <= length:
            raise ConfigError(
                f"window_seconds={window_seconds}, overlap_seconds={overlap_seconds}: need an overlap of at least "
                f"{grid / sample_rate:.3f} s, on the grid of this model, and windows at least twice as long"
            )
        return cls(length, overlap)

    @property
    def step(self) -> int:
        """Samples from the start of a window to the start of the next."""
        return self.length - self.overlap

    @property
    def trim(self) -> int:
        """Samples at either end of an overlap of which one window is left out."""
        return 3 * self.overlap // 8

    def cut(self, blocks: Iterable[np.ndarray]) -> Iterator[Window]:
        """The windows of a recording that comes in blocks (channels, n)."""
        buffer: np.ndarray | None = None
        start = 0
        for block in blocks:
            buffer = block if buffer is None else np.concatenate([buffer, block], axis=1)
            while buffer.shape[1] > self.length:
                yield Window(start, buffer[:, : self.length], last=False)
                buffer = buffer[:, self.step :].copy()
                start += self.step
        if buffer is not None and buffer.shape[1]:
            yield Window(start, buffer, last=True)

    def join(self, windows: Iterable[Window]) -> Iterator[np.ndarray]:
        """The recording, in blocks (channels, n), from windows in the order of their starts."""
        held: np.ndarray | None = None
        for window in windows:
            waveform = window.waveform
            if held is not None:
                yield self._fade(held, waveform)
                waveform = waveform[:, self.overlap - self.trim :]
            if window.last:
                yield waveform
                return
            ready = waveform.shape[1] - self.overlap + self.trim
            yield waveform[:, :ready]
            held = waveform[:, ready:]

    def _fade(self, held: np.ndarray, following: np.ndarray) -> np.ndarray:
        """The inner part of an overlap; `held` is the earlier window from there on."""
        width = self.overlap - 2 * self.trim
        rise = ((np.arange(width) + 0.5) / width).astype(held.dtype)
        return held[:, :width] * (1 - rise) + following[:, self.trim : self.trim + width] * rise


@dataclass(frozen=True)
class Window:
    """A piece of a recording.

    Attributes:
        start: place of its first sample in the recording.
        waveform: (channels, samples).
        last: whether the recording ends with it.
    """

    start: int
    waveform: np.ndarray
    last: bool


def of_length(blocks: Iterable[np.ndarray], channels: int, samples: int) -> Iterator[np.ndarray]:
    """A signal in blocks (channels, n), cut or continued by zeros to exactly this many samples."""
    for block in blocks:
        if samples <= 0:
            return
        block = block[:, :samples]
        samples -= block.shape[1]
        if block.shape[1]:
            yield block
    if samples > 0:
        yield np.zeros((channels, samples), np.float32)


class Held:
    """A signal (channels, n) that is kept, in blocks, until what is made of it comes."""

    def __init__(self, channels: int):
        self._nothing = np.zeros((channels, 0), np.float32)
        self._blocks: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> np.ndarray:
        """Remember the next block, and return it."""
        self._blocks.append(block)
        return block

    def take(self, samples: int) -> np.ndarray:
        """The oldest samples, which are then forgotten: as many as are wanted, if as many are there."""
        taken = [self._nothing]
        while self._blocks and samples > 0:
            head = self._blocks[0][:, :samples]
            samples -= head.shape[1]
            taken.append(head)
            rest = self._blocks[0][:, head.shape[1] :]
            if rest.shape[1]:
                self._blocks[0] = rest
            else:
                self._blocks.pop(0)
        return np.concatenate(taken, axis=1)
