"""Refinement of any base forecaster's forecasts by an unconditional model's energy."""

from tsdiff.refine.config import Energy, Prior, RefineConfig, Refinement
from tsdiff.refine.refiner import Refiner
from tsdiff.refine.tuning import candidates, choose_refinement, representative_log_snr

__all__ = [
    "Energy",
    "Prior",
    "RefineConfig",
    "Refinement",
    "Refiner",
    "candidates",
    "choose_refinement",
    "representative_log_snr",
]
