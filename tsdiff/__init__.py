"""Unconditional diffusion for one-dimensional time series, on GluonTS."""

from tsdiff import _siblings as _siblings  # before all that needs `shared`
from tsdiff.config import Sampling, TSDiffConfig
from tsdiff.estimator import TSDiffEstimator
from tsdiff.importing import import_checkpoint
from tsdiff.model import TSDiff
from tsdiff.predictor import TSDiffPredictor

__all__ = ["Sampling", "TSDiff", "TSDiffConfig", "TSDiffEstimator", "TSDiffPredictor", "import_checkpoint"]
