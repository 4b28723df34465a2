"""Recordings at a loudness: what is measured of them block by block, and the gain and the limiter that set it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from speech.audio.coding import AudioInfo
from speech.audio.limiter import PeakLimiter
from speech.audio.loudness import (
    HIGHEST,
    LOUDEST,
    PEAK_DB,
    Levelling,
    LoudnessGoal,
    LoudnessMeter,
    Measured,
    levelling,
)
from speech.audio.peaks import standing_out

MOST_LIMITED_DB = 8.0
"""By how much peaks are turned down at most: so much takes speech at -16 LUFS whose peak is 20 dB above the root of its
mean square. Where more were needed, the gain ends. What few clicks and knocks stand out by is turned down besides, for
one of them would else hold a whole recording down."""

_NEAR, _TRIES, _LEAST_SLOPE = 0.05, 6, 0.2
"""LU to the goal at which the gain is left as it is. A limiter takes some of its loudness away, so that it is sought:
so often at most, and with at least so many LU for a decibel."""

Read = Callable[[], Iterable[np.ndarray]]
"""Reads a recording from its start, in blocks (channels, n)."""


@dataclass(frozen=True)
class Levelled:
    """A recording at its loudness.

    Attributes:
        blocks: reads it, in blocks (channels, n).
        done: what was done about it.
    """

    blocks: Callable[[], Iterator[np.ndarray]]
    done: Levelling


def measured(read: Read, info: AudioInfo) -> Measured:
    """The loudness of a recording."""
    return remeasured(_heard(read(), info), read, info)


def remeasured(found: Measured, read: Read, info: AudioInfo) -> Measured:
    """The loudness that was found, or, where it may be beyond the meter's scale, as of samples that are no fractions of
    full scale, that of the recording at a full scale of its own."""
    if found.loudness is None or found.loudness <= LOUDEST:
        return found
    there = _heard((block / np.float32(found.peak) for block in read()), info).loudness
    return Measured(None if there is None else there + 20 * math.log10(found.peak), found.peak)


def levelled(goal: LoudnessGoal, read: Read, info: AudioInfo, found: Measured, noisy: Measured | None) -> Levelled:
    """A recording at the loudness that is wanted: by one gain, and where its true peaks would be too high, by a limiter
    that turns them down, as far as `MOST_LIMITED_DB` and what stands out of the others.

    Args:
        goal: LUFS, or "keep".
        read: reads the recording; several times where peaks are limited.
        info: its rate and channels.
        found: what was measured of it.
        noisy: what was measured of the recording whose loudness is to be kept.
    """
    linear = levelling(goal, found, noisy)
    if linear.loudness is None or linear.missing == 0:
        return _by_gain(read, linear)
    return _Limited(read, info, linear).levelled()


def _by_gain(read: Read, done: Levelling) -> Levelled:
    """A recording with one gain."""
    return Levelled(lambda: (block * np.float32(done.gain) for block in read()), done)


def _heard(blocks: Iterable[np.ndarray], info: AudioInfo) -> Measured:
    meter = LoudnessMeter(info.sample_rate, info.channels)
    for block in blocks:
        meter.push(block)
    return meter.close()


class _Limited:
    """Finds the gain ahead of a limiter at which a recording has its loudness, by measuring what comes out.

    Args:
        read, info: as of `levelled`.
        linear: what a gain alone reaches, and how much is missing.
    """

    def __init__(self, read: Read, info: AudioInfo, linear: Levelling):
        assert linear.loudness is not None
        self._read, self._info, self._linear = read, info, linear
        self._wanted = linear.loudness + linear.missing
        self._gain = 20 * math.log10(linear.gain)
        self._usual = self._gain + MOST_LIMITED_DB
        self._ceiling = HIGHEST

    def levelled(self) -> Levelled:
        """The recording at its loudness, or as near to it as limiting leads."""
        missing, is_over, slope = self._linear.missing, False, 1.0
        for _ in range(_TRIES):
            step = missing / slope
            if step > self._usual - self._gain:
                step = min(step, self._most - self._gain)
            self._gain += step
            limiter = self._limiter()
            found = _heard(self._through(limiter), self._info)
            if found.loudness is None:  # what little was heard of it was a click
                break
            before, missing, is_over = missing, self._wanted - found.loudness, found.peak > HIGHEST
            if not is_over and (abs(missing) <= _NEAR or (missing > 0 and self._is_at_most())):
                break
            if abs(step) > _NEAR:
                slope = min(max((before - missing) / step, _LEAST_SLOPE), 1.0)
            self._ceiling *= min(1.0, HIGHEST / found.peak)
        if found.loudness is None or is_over:
            return _by_gain(self._read, self._linear)
        return Levelled(lambda: self._through(self._limiter()), self._done(found.loudness, limiter.reduction))

    @cached_property
    def _most(self) -> float:
        """dB of the gain at most; one more reading, which most recordings do without."""
        return self._usual + standing_out(self._read(), self._info.sample_rate)

    def _is_at_most(self) -> bool:
        return self._gain >= self._usual and self._gain >= self._most

    def _limiter(self) -> PeakLimiter:
        return PeakLimiter(self._info.sample_rate, self._info.channels, self._ceiling)

    def _through(self, limiter: PeakLimiter) -> Iterator[np.ndarray]:
        return limiter.stream(block * np.float32(10 ** (self._gain / 20)) for block in self._read())

    def _done(self, loudness: float, reduction: float) -> Levelling:
        limited = f"its peaks were limited by up to {max(reduction, 0.1):.1f} dB"
        if self._gain > self._usual:
            limited += " where clicks or knocks stand out"
        missing = self._wanted - loudness
        if missing <= _NEAR:
            missing, said = 0.0, f"{limited}, so that its true peak stays below {PEAK_DB:g} dB"
        else:
            said = f"its loudness is {loudness:.1f} LUFS, not {self._wanted:.1f}: its true peak is then at "
            said += f"{PEAK_DB:g} dB, and {limited}"
        return Levelling(10 ** (self._gain / 20), loudness, said, missing, reduction)
