"""Composite measures of speech enhancement: CSIG, CBAK, COVL (Hu & Loizou, IEEE TASLP 16(1), 2008)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from speech.metrics.checks import as_pair, nan_if_unscorable, resampled, strict
from speech.metrics.perceptual import PESQ_RATE, pesq_wb
from speech.metrics.segmental import log_likelihood_ratio, segmental_snr, weighted_spectral_slope


@dataclass(frozen=True)
class Composite:
    """Predicted mean opinion scores, 1 … 5.

    Attributes:
        csig: Distortion of the speech alone.
        cbak: Intrusiveness of the background.
        covl: The whole.
    """

    csig: float
    cbak: float
    covl: float


def composite(reference: Any, estimate: Any, sample_rate: float, *, pesq: float | None = None) -> Composite:
    """All three composite measures, by the regressions of Hu & Loizou on PESQ, LLR, WSS and segmental SNR.

    The PESQ is the wide-band one, as work on VoiceBank-DEMAND has it. Signals are resampled to 16 kHz.

    Args:
        reference, estimate, sample_rate: As `pesq_wb`.
        pesq: Wide-band PESQ of these signals, where it is known.

    Raises:
        UnscorableError: Where PESQ cannot be computed, or more than 5 % of the frames are digital silence.
    """
    x, y = as_pair(reference, estimate, sample_rate)
    if pesq is None:
        pesq = strict(pesq_wb)(x, y, sample_rate)
    x, y = resampled(x, sample_rate, PESQ_RATE), resampled(y, sample_rate, PESQ_RATE)
    llr = log_likelihood_ratio(x, y, PESQ_RATE)
    wss = weighted_spectral_slope(x, y, PESQ_RATE)
    snr = segmental_snr(x, y, PESQ_RATE)
    return Composite(
        csig=_opinion(3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss),
        cbak=_opinion(1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * snr),
        covl=_opinion(1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss),
    )


@nan_if_unscorable
def csig(reference: Any, estimate: Any, sample_rate: float) -> float:
    """Predicted opinion of the speech, 1 … 5; see `composite`. NaN with an `UnscorableWarning` where it raises."""
    return composite(reference, estimate, sample_rate).csig


@nan_if_unscorable
def cbak(reference: Any, estimate: Any, sample_rate: float) -> float:
    """Predicted opinion of the background, 1 … 5; see `composite`. NaN with an `UnscorableWarning` where it raises."""
    return composite(reference, estimate, sample_rate).cbak


@nan_if_unscorable
def covl(reference: Any, estimate: Any, sample_rate: float) -> float:
    """Predicted overall opinion, 1 … 5; see `composite`. NaN with an `UnscorableWarning` where it raises."""
    return composite(reference, estimate, sample_rate).covl


def _opinion(value: float) -> float:
    return min(5.0, max(1.0, value))
