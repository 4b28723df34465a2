"""Slow levels, by which what is quiet is raised to what a network knows: as it comes, or of a whole recording."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from speech.model.frontend import FrontEndConfig

MOST_DB = 40.0
"""What is quiet is raised by no more than this."""

_FALL_DB, _RISE_DB = 0.5, 12.0
"""A second: by the first the level falls, little in a pause, and enough for a speaker who goes away. By the second the
gain rises at most: a recording that begins with noise is not raised at once to where speech would be."""

_SLOPE_DB = 20.0
"""A second, by which the level of a whole recording falls away from what is loud: within a second it is that of a
speaker who is 20 dB quieter, and in the pauses between words it hardly falls."""


class HeldLevel:
    """Hears a recording from its start, in pieces, for the gains of its frames.

    The level is held: of blocks of a hop, the largest mean square so far, which falls by half a dB a second. Where it
    lies below `least`, the gain makes up for that, by at most 40 dB, and beyond full scale, as of floating point in
    units of PCM, it lowers to there; it falls at once, and rises by 12 dB a second, from 1 at the start. Nothing
    changes in digital silence. A frame has the gain of its last whole block, so that a stream knows it in time; those
    at the end of a recording have the last.

    Args:
        frontend: settings of the front end.
        least: level in dB of full scale.
        channels: of the recording.
    """

    def __init__(self, frontend: FrontEndConfig, least: float, channels: int):
        self._hop, self._least = frontend.hop_length, least
        self._fall, self._rise = (rate * self._hop / frontend.sample_rate for rate in (_FALL_DB, _RISE_DB))
        self._begun = np.zeros((channels, 0), np.float32)
        self._level = np.full((channels, 1), -np.inf)
        self._raised = np.zeros((channels, 1))
        self._gains = np.zeros((channels, 0), np.float32)
        self._last = np.ones((channels, 1), np.float32)
        self._first = 1 - frontend.n_fft // 2 // self._hop  # the frame whose last block is the recording's first
        self.samples = 0

    def push(self, signal: NDArray[np.float32]) -> None:
        """The next samples (channels, n)."""
        self.samples += signal.shape[1]
        power, self._begun = _powers(np.concatenate([self._begun, signal], axis=1), self._hop)
        if power.shape[1] == 0:
            return
        gains = (10 ** (self._decibels(power) / 20)).astype(np.float32)
        self._gains, self._last = np.concatenate([self._gains, gains], axis=1), gains[:, -1:]

    def _decibels(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gains in dB of the next blocks of these mean squares (channels, blocks)."""
        sounds = power > 0
        level = 10 * np.log10(power, where=sounds, out=np.full_like(power, -np.inf))
        time = np.cumsum(sounds, axis=1)
        level = np.maximum.accumulate(np.maximum(level + self._fall * time, self._level), axis=1) - self._fall * time
        wanted = np.clip(self._least - level, 0.0, MOST_DB) - np.maximum(level, 0.0)
        raised = np.minimum.accumulate(np.minimum(wanted - self._rise * time, self._raised), axis=1) + self._rise * time
        self._level, self._raised = level[:, -1:], raised[:, -1:]
        return raised

    def gains(self, first: int, frames: int) -> NDArray[np.float32]:
        """Of so many frames from this one on, (channels, frames); those before it are forgotten."""
        self._gains = self._gains[:, first - self._first :]
        self._first = first
        known = self._gains[:, :frames]
        return np.concatenate([known, np.repeat(self._last, frames - known.shape[1], axis=1)], axis=1)


class LevelAround:
    """Hears a recording to its end, in pieces, for the gains of its frames.

    The level around a moment is the largest of all blocks of a hop, each less by 20 dB for every second that it is
    away, before or after. Where it lies below `least`, the gain makes up for that, by at most 40 dB: a speaker who is
    far quieter than another on the same recording is seen as loud as on one of their own.

    Args:
        frontend: settings of the front end.
        least: level in dB of what the channels are divided by.
        channels: of the recording.
    """

    def __init__(self, frontend: FrontEndConfig, least: float, channels: int):
        self._hop, self._least = frontend.hop_length, least
        self._fall = _SLOPE_DB * self._hop / frontend.sample_rate
        self._begun = np.zeros((channels, 0), np.float32)
        self._powers = [np.zeros((channels, 0), np.float32)]

    def push(self, signal: NDArray[np.float32]) -> None:
        """The next samples (channels, n)."""
        powers, self._begun = _powers(np.concatenate([self._begun, signal], axis=1), self._hop)
        self._powers.append(powers.astype(np.float32))

    @cached_property
    def _around(self) -> NDArray[np.float32]:
        """Levels in dB of all blocks, (channels, blocks)."""
        powers = np.concatenate(self._powers, axis=1)
        level = 10 * np.log10(powers, where=powers > 0, out=np.full_like(powers, -np.inf, np.float64))
        fallen = self._fall * np.arange(level.shape[1])
        before = np.maximum.accumulate(level + fallen, axis=1) - fallen
        after = np.maximum.accumulate((level - fallen)[:, ::-1], axis=1)[:, ::-1] + fallen
        return np.maximum(before, after).astype(np.float32)

    def gains(self, first: int, frames: int, scales: Sequence[float]) -> NDArray[np.float32]:
        """Of so many frames from this one on, (channels, frames), where the channels are divided by these scales."""
        place = np.clip(np.arange(first, first + frames), 0, max(0, self._around.shape[1] - 1))
        level = self._around[:, place] if self._around.shape[1] else np.full((len(scales), frames), self._least)
        scale = 20 * np.log10([scale or 1.0 for scale in scales])[:, None]
        return (10 ** (np.clip(self._least + scale - level, 0.0, MOST_DB) / 20)).astype(np.float32)


def _powers(signal: NDArray[np.float32], hop: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Mean squares of the whole blocks of a signal (channels, n), (channels, blocks), and the samples that are left."""
    count = signal.shape[1] // hop
    whole, left = np.split(signal, [count * hop], axis=1)
    blocks = whole.reshape(len(whole), count, hop)
    return np.square(blocks, dtype=np.float64).mean(axis=2), left
