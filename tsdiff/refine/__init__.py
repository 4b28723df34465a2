"""Refinement of any base forecaster's forecasts by an unconditional model."""

from tsdiff.refine.config import Prior, RefineConfig, Refinement
from tsdiff.refine.refiner import Refiner

__all__ = ["Prior", "RefineConfig", "Refinement", "Refiner"]
