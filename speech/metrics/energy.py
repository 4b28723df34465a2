"""Scale-invariant ratios of energies: SI-SDR, SI-SIR, SI-SAR."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from speech.metrics.checks import SILENCE, Signal, UnscorableError, as_pair, as_signal, nan_if_unscorable, trim


@nan_if_unscorable
def si_sdr(reference: Any, estimate: Any, sample_rate: float) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, eq. 2); the mean is not removed.

    Args:
        reference: Clean waveform s, (samples,).
        estimate: Waveform ŝ to score, (samples,); up to 0.05 s longer or shorter.
        sample_rate: Of both, in Hz.

    Returns:
        10 log10(|as|² / |as − ŝ|²) with a = ⟨ŝ, s⟩ / |s|²; +inf for an estimate that is the reference but for its
        scale, −inf for one that is orthogonal to it. NaN with an `UnscorableWarning` where a signal is silent or
        constant, has samples that are not finite, or the lengths differ by more than 0.05 s.
    """
    s, s_hat = as_pair(reference, estimate, sample_rate)
    target = _projection(s_hat, s)
    return _decibels(target, target - s_hat)


@nan_if_unscorable
def si_sir(reference: Any, estimate: Any, sample_rate: float, *, noise: Any) -> float:
    """Scale-invariant signal-to-interference ratio in dB: |target|² over the energy that lies along the noise.

    The estimate is split as SGMSE's evaluation splits it: target = ⟨ŝ, s⟩s/|s|², interference = ⟨ŝ, n⟩n/|n|²,
    artefacts = the rest. Noise and speech are thus projected on separately, unlike in BSS-eval.

    Args:
        reference, estimate, sample_rate: As `si_sdr`.
        noise: The recording minus the clean speech, (samples,).

    Returns:
        The ratio; infinite or NaN as `si_sdr`, NaN for a silent noise too.
    """
    target, interference, _ = _split(reference, estimate, sample_rate, noise)
    return _decibels(target, interference)


@nan_if_unscorable
def si_sar(reference: Any, estimate: Any, sample_rate: float, *, noise: Any) -> float:
    """Scale-invariant signal-to-artefacts ratio in dB: |target|² over the energy of neither speech nor noise.

    As `si_sir`.
    """
    target, _, artefacts = _split(reference, estimate, sample_rate, noise)
    return _decibels(target, artefacts)


def _split(reference: Any, estimate: Any, sample_rate: float, noise: Any) -> tuple[Signal, Signal, Signal]:
    s, s_hat = as_pair(reference, estimate, sample_rate)
    s, n = trim(s, as_signal(noise, "noise", sample_rate), sample_rate, "noise")
    s_hat = s_hat[: s.size]
    if np.abs(n).max() < SILENCE:
        raise UnscorableError("the noise is silent: the recording is the reference")
    target, interference = _projection(s_hat, s), _projection(s_hat, n)
    return target, interference, s_hat - target - interference


def _projection(x: Signal, onto: Signal) -> Signal:
    return (float(x @ onto) / float(onto @ onto)) * onto


def _decibels(signal: Signal, rest: Signal) -> float:
    above, below = float(np.sum(signal**2)), float(np.sum(rest**2))
    if below == 0.0:
        return math.inf if above > 0.0 else math.nan
    return 10.0 * math.log10(above / below) if above > 0.0 else -math.inf
