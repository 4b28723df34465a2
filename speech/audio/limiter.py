"""A limiter of true peaks: where a recording would exceed a ceiling, it is turned down, smoothly and ahead of time.

Source: ITU-R BS.1770, annex 2 (true peaks are those of the signal at four times its rate or more).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from speech.audio.resampling import Resampler

_AHEAD_SECONDS = 0.0025
"""On either side of a peak the gain is held, and over as much again it moves: shorter is heard as distortion."""

_RELEASE = 100.0
"""Decibels a second by which the gain comes back; between the pulses of a low voice that is a decibel."""

_FINE_RATE = 192_000
"""Hz from which on samples are close enough to tell peaks; that of FFmpeg's meter."""


class PeakLimiter:
    """Keeps a signal's true peaks below a ceiling. All channels get the same gain, so that places in a stereo image
    stay; it is 1 but near peaks that exceed the ceiling. Memory does not grow with the signal.

    Args:
        sample_rate: Hz.
        channels: of the signal.
        ceiling: of full scale 1, that no true peak exceeds.

    Attributes:
        reduction: dB by which it turned down so far, at most.
    """

    def __init__(self, sample_rate: int, channels: int, ceiling: float):
        self.reduction = 0.0
        self._ceiling, self._fall = ceiling, _RELEASE / sample_rate
        self._peaks = _TruePeaks(sample_rate, channels)
        ahead = max(1, round(_AHEAD_SECONDS * sample_rate))
        self._window = np.hanning(2 * ahead + 3)[1:-1]
        self._window /= self._window.sum()
        self._excess, self._latest = np.zeros(2 * ahead), 0.0  # none before the first sample
        self._held = np.zeros((channels, 0), np.float32)

    def push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """What is ready after the next block, float32 (channels, n); all that is left when it is the `last`."""
        self._held = np.concatenate([self._held, block], axis=1)
        span = len(self._window) - 1
        new = self._released(self._peaks.push(block, last))
        excess = np.concatenate([self._excess, new, np.zeros(span if last else 0)])
        count = max(0, len(excess) - 2 * span)
        self._excess = excess[count:]
        ready, self._held = np.split(self._held, [count], axis=1)
        if not excess.any():
            return ready
        down = self._smoothed(excess, count)
        self.reduction = max(self.reduction, float(down.max(initial=0.0)))
        return (ready * 10 ** (-down / 20)).astype(np.float32)

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The limited blocks, to the end."""
        for block in blocks:
            yield self.push(block)
        yield self.push(np.zeros((len(self._held), 0), np.float32), last=True)

    def _released(self, peaks: np.ndarray) -> np.ndarray:
        """Decibels by which peaks (n,) exceed the ceiling, from each of which they fall slowly."""
        excess = np.zeros(len(peaks))
        np.log10(peaks / self._ceiling, out=excess, where=peaks > self._ceiling)
        fallen = self._fall * np.arange(len(peaks) + 1)
        found: np.ndarray = np.maximum.accumulate(np.append(self._latest, 20 * excess) + fallen) - fallen
        self._latest = max(0.0, float(found[-1]))
        return found[1:].clip(0.0)

    def _smoothed(self, excess: np.ndarray, count: int) -> np.ndarray:
        """The decibels of `count` samples: of each the mean, by the window, of what is held around it. As all that are
        held around a sample are at least its own, so is their mean."""
        from scipy import ndimage, signal  # a third of a second, which most recordings do without

        ahead = len(self._window) // 2
        held = ndimage.maximum_filter1d(excess, len(self._window))[ahead : ahead + count + 2 * ahead]
        mean: np.ndarray = signal.oaconvolve(held, self._window, "valid") if count else np.zeros(0)
        return mean.clip(0.0)


class _TruePeaks:
    """The largest magnitude of all channels at and behind each sample, up to the next one."""

    def __init__(self, sample_rate: int, channels: int):
        self._times = math.ceil(_FINE_RATE / sample_rate)
        self._between = Resampler(sample_rate, self._times * sample_rate, channels)
        self._samples, self._finer = np.zeros(0, np.float32), np.zeros(0, np.float32)

    def push(self, block: np.ndarray, last: bool) -> np.ndarray:
        """Those (n,) that are known after the next block (channels, n)."""
        finer = self._between.push(block, last)
        self._samples = np.append(self._samples, np.abs(block).max(axis=0))
        self._finer = np.append(self._finer, np.abs(finer).max(axis=0))
        count = len(self._samples) if last else min(len(self._samples), len(self._finer) // self._times)
        between = np.zeros(count * self._times, np.float32)
        known = self._finer[: len(between)]
        between[: len(known)] = known
        found = np.maximum(self._samples[:count], between.reshape(count, self._times).max(axis=1, initial=0.0))
        self._samples, self._finer = self._samples[count:], self._finer[count * self._times :]
        return found
