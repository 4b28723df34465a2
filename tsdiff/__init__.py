"""Unconditional diffusion for one-dimensional time series, on GluonTS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsdiff import _siblings as _siblings  # before all that needs `shared`

if TYPE_CHECKING:
    from tsdiff.config import Sampling, TSDiffConfig
    from tsdiff.estimator import TSDiffEstimator
    from tsdiff.importing import import_checkpoint
    from tsdiff.model import TSDiff
    from tsdiff.predictor import TSDiffPredictor
else:
    from shared.lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Sampling": "tsdiff.config",
            "TSDiff": "tsdiff.model",
            "TSDiffConfig": "tsdiff.config",
            "TSDiffEstimator": "tsdiff.estimator",
            "TSDiffPredictor": "tsdiff.predictor",
            "import_checkpoint": "tsdiff.importing",
        },
    )

__all__ = ["Sampling", "TSDiff", "TSDiffConfig", "TSDiffEstimator", "TSDiffPredictor", "import_checkpoint"]
