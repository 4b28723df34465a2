"""What is heard of a recording before it is enhanced: its peaks, where its bands end, and how much of it is music."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from speech.audio.edges import BandEdge
from speech.audio.music import MusicShare
from speech.audio.offset import Offset
from speech.audio.peaks import SteadyPeak
from speech.inference.held_level import LevelAround


class Listening:
    """Hears a recording, block by block, at its own rate and at the model's.

    Args:
        sample_rate, model_rate: these, in Hz.
        channels: of the recording.
        band, upper: whether to hear where the band ends at the model's rate, and at the recording's.
        music: whether to tell music.
        constant: whether to hear a constant that lies on the channels.
        offsets: the constants (channels, 1), where they are known; they are taken out of what is heard.
        around: what hears its levels at the model's rate, where they count.

    Attributes:
        peaks: the largest magnitude of each channel at the model's rate, (channels,), clicks included.
        around: the same.
    """

    def __init__(
        self,
        sample_rate: int,
        model_rate: int,
        channels: int,
        *,
        band: bool,
        upper: bool,
        music: bool,
        constant: bool = False,
        offsets: np.ndarray | None = None,
        around: LevelAround | None = None,
    ):
        self.peaks = np.zeros(channels, np.float32)
        self._steady = [SteadyPeak(model_rate) for _ in range(channels)]
        self._band = BandEdge(model_rate, channels) if band else None
        self._upper = BandEdge(sample_rate, channels) if upper else None
        self._music = MusicShare(channels) if music else None
        self._offset = Offset(model_rate, channels) if constant and offsets is None else None
        self._known, self.around = offsets, around

    def hear(self, block: np.ndarray) -> np.ndarray:
        """The next block (channels, n) at the recording's rate; it is returned, without a constant that is known."""
        if self._known is not None:
            block = block - self._known
        return block if self._upper is None else self._upper.push(block)

    def hear_low(self, block: np.ndarray) -> None:
        """The next block (channels, n) of what `hear` returned, at the model's rate."""
        self.peaks = np.maximum(self.peaks, np.abs(block).max(axis=-1, initial=0.0))
        for channel, steady in zip(block, self._steady, strict=True):
            steady.push(channel)
        for each in (self._band, self._music, self._offset, self.around):
            if each is not None:
                each.push(block)

    @cached_property
    def offsets(self) -> np.ndarray:
        """What lies on the channels all along, (channels, 1); 0 where it was not asked for."""
        if self._known is not None:
            return self._known
        return np.zeros((len(self.peaks), 1), np.float32) if self._offset is None else self._offset.values

    @cached_property
    def levels(self) -> list[float]:
        """The level that the peaks of each channel reach at the model's rate, clicks left out; 0 of silence."""
        return [steady.level for steady in self._steady]

    @cached_property
    def edges(self) -> list[float | None]:
        """Hz at which the channels' bands end at the model's rate; None where it was not asked for."""
        return [None] * len(self.peaks) if self._band is None else list(self._band.edges())

    @property
    def upper_edges(self) -> list[float]:
        """Hz at which the channels' bands end at the recording's rate; empty where it was not asked for."""
        return [] if self._upper is None else self._upper.edges()

    @property
    def music(self) -> np.ndarray | None:
        """`MusicShare.shares`; None where it was not asked for."""
        return None if self._music is None else self._music.shares()
