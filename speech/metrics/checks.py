"""What every metric asks of its signals, and what it says where it cannot score them."""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np
import soxr
from numpy.typing import NDArray

from shared.errors import DataError
from shared.files.settings import number

Signal = NDArray[np.float64]
P = ParamSpec("P")

TRIM_SECONDS = 0.05
"""Two signals whose lengths differ by no more are cut to the shorter; others are not scored."""


SILENCE = 1e-8
"""A signal whose samples all stay below, −160 dB of full scale, is silent."""


class UnscorableError(DataError):
    """A metric is not defined for these signals; the message is the reason."""


class UnscorableWarning(UserWarning):
    """A metric returned NaN; the message is the reason."""


def nan_if_unscorable(metric: Callable[P, float]) -> Callable[P, float]:
    """Make a metric return NaN, with an `UnscorableWarning` that tells why, where it raises `UnscorableError`."""

    @functools.wraps(metric)
    def scored(*args: P.args, **kwargs: P.kwargs) -> float:
        try:
            return metric(*args, **kwargs)
        except UnscorableError as error:
            warnings.warn(f"{metric.__name__}: {error}", UnscorableWarning, stacklevel=2)
            return math.nan

    return scored


def strict(metric: Callable[..., float]) -> Callable[..., float]:
    """The metric as it was before `nan_if_unscorable`: it raises `UnscorableError`."""
    return inspect.unwrap(metric)


def as_signal(values: Any, name: str, sample_rate: float) -> Signal:
    """One waveform as float64 (samples,); signed integers are divided by their full scale.

    Raises:
        UnscorableError: It is not one-dimensional, is empty, or holds NaN or infinite samples.
        ConfigError: The sample rate is no number.
    """
    signal = np.asarray(values)
    if signal.ndim != 1:
        raise UnscorableError(f"the {name} has shape {signal.shape}; give one channel, (samples,)")
    if not number("sample_rate", sample_rate, 16000) > 0:
        raise UnscorableError(f"the sample rate is {sample_rate}; give it in Hz")
    if signal.size == 0:
        raise UnscorableError(f"the {name} is empty")
    if np.issubdtype(signal.dtype, np.signedinteger):
        signal = signal / -float(np.iinfo(signal.dtype).min)
    elif not np.issubdtype(signal.dtype, np.floating):
        raise UnscorableError(f"the {name} has values of type {signal.dtype}; give floats, or signed integers")
    signal = signal.astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(signal)))
    if bad:
        raise UnscorableError(f"the {name} has {bad} samples that are NaN or infinite")
    return signal


def as_pair(reference: Any, estimate: Any, sample_rate: float) -> tuple[Signal, Signal]:
    """Reference and estimate as float64 of one length, neither silent.

    The longer one is cut at its end where they differ by at most `TRIM_SECONDS`.

    Raises:
        UnscorableError: As `as_signal`; or the lengths differ by more; or one is silent.
    """
    x, y = as_signal(reference, "reference", sample_rate), as_signal(estimate, "estimate", sample_rate)
    x, y = trim(x, y, sample_rate, "estimate")
    for signal, name in ((x, "reference"), (y, "estimate")):
        if np.abs(signal).max() < SILENCE:
            raise UnscorableError(f"the {name} is silent")
        if np.ptp(signal) == 0:
            raise UnscorableError(f"the {name} is constant")
    return x, y


def trim(x: Signal, y: Signal, sample_rate: float, name: str) -> tuple[Signal, Signal]:
    """Cut both to the shorter length, if they differ by at most `TRIM_SECONDS`; else `UnscorableError`."""
    if abs(x.size - y.size) > TRIM_SECONDS * sample_rate:
        raise UnscorableError(
            f"the reference lasts {x.size / sample_rate:.3f} s, the {name} {y.size / sample_rate:.3f} s; "
            f"lengths may differ by {TRIM_SECONDS:g} s"
        )
    shorter = min(x.size, y.size)
    return x[:shorter], y[:shorter]


def resampled(signal: Signal, sample_rate: float, wanted: float) -> Signal:
    """The signal at another rate, by soxr at its highest quality; untouched at the same one."""
    if sample_rate == wanted:
        return signal
    return np.asarray(soxr.resample(signal, sample_rate, wanted, quality="VHQ"))
