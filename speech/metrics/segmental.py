"""Distances between the spectra of short frames: segmental SNR, log-likelihood ratio, weighted spectral slope.

They are the parts of Hu & Loizou's composite measures (2008), with the frames and constants of Loizou's *Speech
Enhancement: Theory and Practice* (2013, ch. 11): Hann windows of 30 ms, three quarters of each overlapping, the last
full frame left out. Waveforms are floats with full scale 1, (samples,), of one length.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from speech.metrics.checks import Signal, UnscorableError

Array = NDArray[np.float64]

WINDOW_SECONDS = 0.03
KEPT = 0.95
"""Share of frames, the least distorted, whose mean is the score of LLR and WSS."""

_EPS = float(np.finfo(np.float64).eps)
_SEGMENT_RANGE = (-10.0, 35.0)
_FLOOR_POWER = 1e-10
_KLATT_GLOBAL, _KLATT_LOCAL = 20.0, 1.0
# fmt: off
_BAND_CENTRES = np.array([
    50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30,
    1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
])
_BAND_WIDTHS = np.array([
    70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823,
    168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
])
# fmt: on


def segmental_snr(reference: Signal, estimate: Signal, sample_rate: int) -> float:
    """Mean over frames of their signal-to-noise ratio in dB, each held within −10 … 35."""
    signal = np.sum(windowed(reference, sample_rate) ** 2, axis=1)
    noise = np.sum(windowed(reference - estimate, sample_rate) ** 2, axis=1)
    ratios = 10.0 * np.log10(signal / (noise + _EPS) + _EPS)
    return float(np.clip(ratios, *_SEGMENT_RANGE).mean())


def log_likelihood_ratio(reference: Signal, estimate: Signal, sample_rate: int) -> float:
    """How much worse the estimate's linear prediction fits the reference, in nats; 0 at best.

    A frame's distance is log(a_p R a_p / a_c R a_c), with the coefficients a of order 16 (10 below 10 kHz) of estimate
    and reference and the reference's autocorrelation R (Quackenbush et al. 1988).
    """
    order = 10 if sample_rate < 10000 else 16
    clean, lags = _linear_prediction(windowed(reference + _EPS, sample_rate), order)
    processed, _ = _linear_prediction(windowed(estimate + _EPS, sample_rate), order)
    places = np.arange(order + 1)
    matrices = lags[:, np.abs(places[:, None] - places[None, :])]
    error = np.einsum("fi,fij,fj->f", processed, matrices, processed)
    least = np.einsum("fi,fij,fj->f", clean, matrices, clean)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _mean_of_kept(np.log(error / least))


def weighted_spectral_slope(reference: Signal, estimate: Signal, sample_rate: int) -> float:
    """Weighted difference of the slopes of 25 critical bands, squared, (dB per band)²; 0 at best (Klatt 1982)."""
    clean = _band_levels(windowed(reference + _EPS, sample_rate), sample_rate)
    processed = _band_levels(windowed(estimate + _EPS, sample_rate), sample_rate)
    weights = (_slope_weights(clean) + _slope_weights(processed)) / 2.0
    differences = (np.diff(clean, axis=1) - np.diff(processed, axis=1)) ** 2
    return _mean_of_kept(np.sum(weights * differences, axis=1) / np.sum(weights, axis=1))


def windowed(signal: Signal, sample_rate: int) -> Array:
    """Frames under their window, (frames, samples of a window).

    Raises:
        UnscorableError: The signal is shorter than two frames.
    """
    length = round(WINDOW_SECONDS * sample_rate)
    hop = math.floor(WINDOW_SECONDS * sample_rate / 4)
    count = int(signal.size / hop - length / hop)
    if count < 1:
        raise UnscorableError(f"{signal.size / sample_rate:.3f} s of sound; the composite measures need 0.04 s")
    window = 0.5 * (1.0 - np.cos(2.0 * np.pi * np.arange(1, length + 1) / (length + 1)))
    frames = np.lib.stride_tricks.sliding_window_view(signal, length)[: count * hop : hop]
    return np.asarray(frames * window)


def _mean_of_kept(distances: Array) -> float:
    """Mean of the `KEPT` least distances; those that are not finite count as the worst."""
    ordered = np.sort(np.where(np.isfinite(distances), distances, np.inf))
    kept = ordered[: round(KEPT * ordered.size)]
    if not kept.size or not np.isfinite(kept[-1]):
        raise UnscorableError("too many frames are digital silence for the composite measures")
    return float(kept.mean())


def _linear_prediction(frames: Array, order: int) -> tuple[Array, Array]:
    """Levinson–Durbin recursion: error filters (frames, order + 1) that begin with 1, and autocorrelations alike."""
    length = frames.shape[1]
    lags = np.stack(
        [np.einsum("fn,fn->f", frames[:, : length - lag], frames[:, lag:]) for lag in range(order + 1)], axis=1
    )
    filters = np.zeros_like(lags)
    filters[:, 0] = 1.0
    error = lags[:, 0].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        for step in range(1, order + 1):
            reflection = -np.einsum("fi,fi->f", filters[:, :step], lags[:, step:0:-1]) / error
            filters[:, 1 : step + 1] += reflection[:, None] * filters[:, step - 1 :: -1][:, :step]
            error *= 1.0 - reflection**2
    return filters, lags


@functools.cache
def _critical_bands(sample_rate: int, bins: int) -> Array:
    """Gaussian filters (bands, bins), cut where they fall below exp(−30 / 4.606)."""
    centres = np.floor(_BAND_CENTRES / (sample_rate / 2) * bins)[:, None]
    widths = (_BAND_WIDTHS / (sample_rate / 2) * bins)[:, None]
    gains = np.log(_BAND_WIDTHS[0] / _BAND_WIDTHS)[:, None]
    filters = np.exp(-11.0 * ((np.arange(bins) - centres) / widths) ** 2 + gains)
    return np.asarray(np.where(filters > math.exp(-30.0 / (2.0 * 2.303)), filters, 0.0))


def _band_levels(frames: Array, sample_rate: int) -> Array:
    """Energy of each critical band in dB, floored at −100, (frames, bands)."""
    size = 2 ** math.ceil(math.log2(2 * frames.shape[1]))
    power = np.abs(np.fft.rfft(frames, size, axis=1)[:, : size // 2]) ** 2
    return np.asarray(10.0 * np.log10(np.maximum(power @ _critical_bands(sample_rate, size // 2).T, _FLOOR_POWER)))


def _slope_weights(levels: Array) -> Array:
    """Klatt's weight of each slope: high near the loudest band of the frame and near the peak next to the slope.

    The peak is found as Loizou's code finds it: uphill, the band before the one where the rise ends.
    """
    rising = np.diff(levels, axis=1) > 0.0
    slopes = rising.shape[1]
    places = np.broadcast_to(np.arange(slopes), rising.shape)
    next_fall = np.minimum.accumulate(np.where(rising, slopes, places)[:, ::-1], axis=1)[:, ::-1]
    last_rise = np.maximum.accumulate(np.where(rising, places, -1), axis=1)
    peaks = np.take_along_axis(levels, np.where(rising, next_fall - 1, last_rise + 1), axis=1)
    loudest = levels.max(axis=1, keepdims=True)
    below = levels[:, :-1]
    globally = _KLATT_GLOBAL / (_KLATT_GLOBAL + loudest - below)
    return np.asarray(globally * _KLATT_LOCAL / (_KLATT_LOCAL + peaks - below))
