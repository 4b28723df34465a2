"""Recordings that benchmarks of speech take: some of many, and at one rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from speech.audio.files import Audio
from speech.audio.resampling import resample

T = TypeVar("T")


def evenly(found: Sequence[T], most: int) -> list[T]:
    """At most so many of what was found, at even distances from the first on."""
    return list(found[:: max(1, len(found) // max(1, most))][:most])


def mono(audio: Audio, rate: int) -> np.ndarray:
    """The mean of the channels at a rate in Hz, (samples,)."""
    return resample(audio.waveform.mean(axis=0), audio.sample_rate, rate)
