"""A constant delay between two recordings, and its removal."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import correlate

from speech.metrics.checks import SILENCE, Signal, UnscorableError, as_signal

MAX_DELAY_SECONDS = 10.0

_LEAST = 1 << 16
"""Samples that are correlated at once, at least."""


def delay(reference: Any, estimate: Any, sample_rate: float, *, max_seconds: float = MAX_DELAY_SECONDS) -> int:
    """By how many samples the estimate is late: the lag, at most `max_seconds` either way, of most |correlation|.

    Raises:
        UnscorableError: A signal is silent or has samples that are not finite.
    """
    x, y = as_signal(reference, "reference", sample_rate), as_signal(estimate, "estimate", sample_rate)
    for signal, name in ((x, "reference"), (y, "estimate")):
        if np.abs(signal).max() < SILENCE:
            raise UnscorableError(f"the {name} is silent")
    most = min(int(max_seconds * sample_rate), max(x.size, y.size) - 1)
    return int(np.argmax(np.abs(_correlation(x, y, most)))) - most


def _correlation(x: Signal, y: Signal, most: int) -> Signal:
    """Sums over n of x(n) y(n + lag) at the lags from −`most` to `most`, in blocks, so that the memory of hours is that
    of some seconds."""
    found, size = np.zeros(2 * most + 1), max(2 * most, _LEAST)
    held = np.pad(y, (most, max(0, x.size + most - y.size)))
    for start in range(0, x.size, size):
        block = x[start : start + size]
        found += correlate(held[start : start + block.size + 2 * most], block, mode="valid", method="fft")
    return found


def advanced(signal: Signal, samples: int) -> Signal:
    """The signal moved forward in time by some samples (back, where negative), as long as before, filled with zeros."""
    moved = np.zeros_like(signal)
    if abs(samples) < signal.size:
        if samples >= 0:
            moved[: signal.size - samples] = signal[samples:]
        else:
            moved[-samples:] = signal[:samples]
    return moved


def overlapping(reference: Signal, estimate: Signal, late: int) -> tuple[Signal, slice]:
    """The estimate (samples,) without its delay of so many samples, and the part of the reference that it is to be held
    against: what the delay pushed out of an estimate as long as the reference is missing from both."""
    if late >= 0:
        moved = estimate[late:]
        return moved, slice(0, max(reference.size - late, min(reference.size, moved.size)))
    return estimate[: max(reference.size, estimate.size) + late], slice(-late, reference.size)


def placed(signal: Signal, late: int) -> Signal:
    """The signal (samples,) without its delay, from where the reference begins: with zeros for what it lacks there."""
    return signal[late:] if late >= 0 else np.pad(signal, (-late, 0))
