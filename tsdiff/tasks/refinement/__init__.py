"""Refinement of any base forecaster's forecasts by an unconditional model's energy."""

from tsdiff.tasks.refinement.config import Energy, Prior, RefineConfig, Refinement
from tsdiff.tasks.refinement.refiner import Refiner
from tsdiff.tasks.refinement.tuning import candidates, choose_refinement, representative_log_snr
