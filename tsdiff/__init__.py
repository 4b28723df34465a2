"""Unconditional diffusion for one-dimensional time series, on GluonTS."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

runpy.run_path(f"{__path__[0]}/../shared/beside.py")  # before all that needs `shared`

if TYPE_CHECKING:
    from shared.console.progress import set_quiet
    from shared.version import __version__
    from tsdiff.automatic import AutoPredictor, AutoSettings, auto
    from tsdiff.estimator import TSDiffEstimator
    from tsdiff.importing import import_checkpoint
    from tsdiff.model.config import TSDiffConfig
    from tsdiff.model.model import TSDiff
    from tsdiff.predictor import TSDiffPredictor
    from tsdiff.sampling.settings import Sampling
else:
    from shared.lazy import lazy

    __getattr__, __dir__, __all__ = lazy(
        __name__,
        {
            "shared.console.progress": ["set_quiet"],
            "shared.version": ["__version__"],
            "tsdiff.automatic": ["AutoPredictor", "AutoSettings", "auto"],
            "tsdiff.estimator": ["TSDiffEstimator"],
            "tsdiff.importing": ["import_checkpoint"],
            "tsdiff.model.config": ["TSDiffConfig"],
            "tsdiff.model.model": ["TSDiff"],
            "tsdiff.predictor": ["TSDiffPredictor"],
            "tsdiff.sampling.settings": ["Sampling"],
        },
    )
