"""Statistics of windows: autocorrelation and power spectrum of each."""

from __future__ import annotations

import numpy as np
from scipy import fft, signal


def varying(values: np.ndarray) -> np.ndarray:
    """Which windows (n, length) are not constant, (n, 1); rounding leaves a constant one some variance."""
    return np.ptp(values, axis=1, keepdims=True) > 1e-9 * np.abs(values).max(axis=1, keepdims=True)


def autocorrelation(values: np.ndarray, max_lag: int) -> np.ndarray:
    """Sample autocorrelation of each window around its own mean, with the usual 1/length (Box & Jenkins).

    Args:
        values: (n, length).
        max_lag: the largest lag, below length.

    Returns:
        (n, max_lag + 1), 1 at lag 0; NaN for constant windows.
    """
    length = values.shape[1]
    centred = values - values.mean(axis=1, keepdims=True)
    size = fft.next_fast_len(length + max_lag, real=True)
    products = fft.irfft(np.abs(fft.rfft(centred, size, axis=1)) ** 2, size, axis=1)[:, : max_lag + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(varying(values), products / products[:, :1], np.nan)


def power_spectrum(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Periodogram of each window around its own mean (Hann window), as shares of its power.

    Args:
        values: (n, length).

    Returns:
        Frequencies (k,) in cycles a step, from the first above 0 to ½, and shares (n, k) that sum to 1; NaN for
        constant windows.
    """
    frequencies, power = signal.periodogram(values, window="hann", detrend="constant", axis=1)
    power = power[:, 1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        return frequencies[1:], np.where(varying(values), power / power.sum(axis=1, keepdims=True), np.nan)
