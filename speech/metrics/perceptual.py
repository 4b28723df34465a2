"""Perceptual quality and intelligibility against a clean reference: PESQ and STOI, by their reference packages."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

from shared.optional import needed
from speech.metrics.checks import UnscorableError, as_pair, nan_if_unscorable, resampled
from speech.metrics.utterances import SAFE_SECONDS, count_utterances

PESQ_RATE = 16000
PESQ_SECONDS = 0.25
PESQ_UTTERANCES = 40
"""The package's code overruns its memory at the 51st utterance; ours is an estimate."""


@nan_if_unscorable
def pesq_wb(reference: Any, estimate: Any, sample_rate: float) -> float:
    """Wide-band PESQ, MOS-LQO from 1.04 to 4.64 (ITU-T P.862.2), of the package `pesq`.

    At a rate other than 16 kHz both signals are first resampled to 16 kHz by soxr.

    Args:
        reference: Clean waveform, (samples,).
        estimate: Waveform to score, (samples,); up to 0.05 s longer or shorter.
        sample_rate: Of both, in Hz.

    Returns:
        The score; NaN with an `UnscorableWarning` where a signal is silent, has samples that are not finite, lasts less
        than 0.25 s, holds no utterance that PESQ finds, more than 40 of them (two minutes of reading; the package would
        crash), or differs from the other by more than 0.05 s.
    """
    return _pesq(reference, estimate, sample_rate, "wb")


@nan_if_unscorable
def pesq_nb(reference: Any, estimate: Any, sample_rate: float) -> float:
    """Narrow-band PESQ, MOS-LQO from 1.02 to 4.55 (ITU-T P.862.1), of the package `pesq`; else as `pesq_wb`.

    Signals at 8 kHz are scored at 8 kHz, all others at 16 kHz.
    """
    return _pesq(reference, estimate, sample_rate, "nb")


@nan_if_unscorable
def estoi(reference: Any, estimate: Any, sample_rate: float) -> float:
    """Extended short-time objective intelligibility, up to 1 (Jensen & Taal 2016), of the package `pystoi`.

    The package resamples to 10 kHz itself. Arguments as `pesq_wb`.

    Returns:
        The score; NaN with an `UnscorableWarning` where a signal is silent, has samples that are not finite, is too
        short (30 frames of speech are needed, 0.4 s; the package returns 1e-5 for less), or the lengths differ by more
        than 0.05 s.
    """
    return _stoi(reference, estimate, sample_rate, extended=True)


@nan_if_unscorable
def stoi(reference: Any, estimate: Any, sample_rate: float) -> float:
    """Short-time objective intelligibility, up to 1 (Taal et al. 2011), of the package `pystoi`; else as `estoi`."""
    return _stoi(reference, estimate, sample_rate, extended=False)


def _pesq(reference: Any, estimate: Any, sample_rate: float, mode: Literal["wb", "nb"]) -> float:
    x, y = as_pair(reference, estimate, sample_rate)
    if x.size < PESQ_SECONDS * sample_rate:
        raise UnscorableError(f"{x.size / sample_rate:.3f} s of sound; PESQ needs {PESQ_SECONDS:g} s")
    rate = 8000 if mode == "nb" and sample_rate == 8000 else PESQ_RATE
    x, y = resampled(x, sample_rate, rate), resampled(y, sample_rate, rate)
    if x.size > SAFE_SECONDS * rate and (utterances := count_utterances(x, rate)) > PESQ_UTTERANCES:
        raise UnscorableError(
            f"about {utterances} utterances in {x.size / rate:.0f} s; PESQ's code holds {PESQ_UTTERANCES}: cut the "
            "recording into pieces of 8 to 30 s"
        )
    package = needed("pesq", "metrics", "PESQ")
    try:
        value = float(package.pesq(rate, x, y, mode))
    except package.PesqError as error:
        reason = error.args[0] if error.args else type(error).__name__
        reason = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise UnscorableError(f"PESQ says: {reason}") from error
    if not math.isfinite(value):
        raise UnscorableError(f"PESQ gives {value}")
    return value


def _stoi(reference: Any, estimate: Any, sample_rate: float, *, extended: bool) -> float:
    x, y = as_pair(reference, estimate, sample_rate)
    if sample_rate != int(sample_rate):
        raise UnscorableError(f"the sample rate is {sample_rate} Hz; STOI needs a whole number")
    pystoi = needed("pystoi", "metrics", "STOI")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            value = float(pystoi.stoi(x, y, int(sample_rate), extended=extended))
        except (RuntimeWarning, ValueError, IndexError) as error:
            raise UnscorableError(
                f"{x.size / sample_rate:.3f} s of sound has too little speech for STOI, which needs 0.4 s above its "
                "silence threshold"
            ) from error
    if not math.isfinite(value):
        raise UnscorableError(f"STOI gives {value}")
    return value
