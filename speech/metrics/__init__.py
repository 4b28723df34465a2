"""Scores of enhanced speech: one number a metric, NaN with a reason where there is none."""

from speech.metrics.checks import UnscorableError, UnscorableWarning
from speech.metrics.energy import si_sar, si_sdr, si_sir
from speech.metrics.perceptual import estoi, pesq_nb, pesq_wb, stoi

__all__ = [
    "UnscorableError",
    "UnscorableWarning",
    "estoi",
    "pesq_nb",
    "pesq_wb",
    "si_sar",
    "si_sdr",
    "si_sir",
    "stoi",
]
