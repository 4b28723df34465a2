"""How wide forecasts are to be drawn, by windows that a model has not seen."""

from __future__ import annotations

import math

import numpy as np
import torch
from gluonts.dataset.split import TestData
from gluonts.model.forecast import SampleForecast

from tsdiff.evaluation.metrics import window_losses
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.drawing import with_width

WIDTHS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6)
SAMPLES = 50
"""Of each forecast."""


def with_fitted_width(predictor: TSDiffPredictor, windows: TestData) -> TSDiffPredictor:
    """A forecaster that draws as wide as these windows say, `Sampling.width`: of the widths by which the CRPS is no
    more than one standard error above the least (Breiman et al. 1984, "Classification and regression trees"), the
    nearest to 1. Forecasts of several channels, and of a width that was given, stay as they are.

    Args:
        predictor: drawing with a width of 1.
        windows: that it was not trained on.
    """
    if predictor.model.config.channels > 1 or predictor.sampling.width != 1:
        return predictor
    with torch.random.fork_rng(devices=[]):
        made = list(predictor.predict(windows.input, SAMPLES))
    labels = [np.asarray(label["target"], dtype=np.float64) for label in windows.label]
    losses = np.stack([window_losses([_drawn(one, width) for one in made], labels)[0] for width in WIDTHS])
    return predictor.with_sampling(width=WIDTHS[chosen(losses)])


def chosen(losses: np.ndarray) -> int:
    """The place of the width that `with_fitted_width` takes, by the losses of each width and window (widths, n)."""
    usual = WIDTHS.index(1.0)
    best = int(losses.sum(axis=1).argmin())
    step = 1 if best > usual else -1
    for place in range(usual, best, step):
        worse = losses[place] - losses[best]
        if len(worse) < 2 or worse.mean() <= worse.std(ddof=1) / math.sqrt(len(worse)):
            return place
    return best


def _drawn(forecast: SampleForecast, width: float) -> SampleForecast:
    samples = with_width(forecast.samples, width)
    return SampleForecast(samples, start_date=forecast.start_date, item_id=forecast.item_id)
