"""Log-spectral distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal.windows import hann

from shared.errors import ConfigError
from speech.metrics.checks import UnscorableError, as_pair, nan_if_unscorable

WINDOW_SECONDS = 0.032
RANGE_DB = 80.0


@nan_if_unscorable
def lsd(reference: Any, estimate: Any, sample_rate: float, *, low: float = 0.0, high: float | None = None) -> float:
    """Log-spectral distance in dB (Gray & Markel 1976); 0 at best.

    The root of the mean over frequencies of the squared difference of the power spectra in dB, averaged over frames:
    periodic Hann windows of 32 ms, a quarter apart, whole ones only. Both spectra are floored 80 dB below the highest
    value of the reference, so that digital silence does not decide the score. The signals are not scaled to each other.

    Args:
        reference: Clean waveform, (samples,).
        estimate: Waveform to score, (samples,); up to 0.05 s longer or shorter.
        sample_rate: Of both, in Hz.
        low, high: Hz from and up to which frequencies count; None: to half the rate.

    Returns:
        The distance; NaN with an `UnscorableWarning` where a signal is silent, has samples that are not finite, is
        shorter than a window, or the lengths differ by more than 0.05 s.

    Raises:
        ConfigError: No frequency lies from `low` to `high`.
    """
    x, y = as_pair(reference, estimate, sample_rate)
    length = round(WINDOW_SECONDS * sample_rate)
    if x.size < length:
        raise UnscorableError(f"{x.size / sample_rate:.3f} s of sound; the log-spectral distance needs 0.032 s")
    window = hann(length, sym=False)
    frames = (sliding_window_view(signal, length)[:: max(1, length // 4)] for signal in (x, y))
    power = [np.abs(np.fft.rfft(each * window)) ** 2 for each in frames]
    floor = power[0].max() * 10.0 ** (-RANGE_DB / 10.0)
    clean, scored = (10.0 * np.log10(np.maximum(values, floor)) for values in power)
    counted = _between(np.fft.rfftfreq(length, 1 / sample_rate), low, high)
    return float(np.sqrt(np.mean((clean - scored)[:, counted] ** 2, axis=1)).mean())


def _between(frequencies: np.ndarray, low: float, high: float | None) -> np.ndarray:
    """Which of these lie from `low` to `high`."""
    counted: np.ndarray = (frequencies >= low) & (frequencies <= (frequencies[-1] if high is None else high))
    if not counted.any():
        raise ConfigError(f"no frequency from {low} to {high} Hz: they end at {frequencies[-1]:g} Hz")
    return counted
