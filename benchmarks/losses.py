"""The weighted quantile loss apart, window by window: for intervals, and for what one series does to a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gluonts.model.forecast import Forecast

from tsdiff.evaluation.metrics import CRPS_LEVELS


def window_losses(forecasts: Sequence[Forecast], actual: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Loss and Σ|actual| of each window, (windows,) each; the CRPS is the sum of the first over that of the second."""
    losses, sizes = np.zeros(len(forecasts)), np.zeros(len(forecasts))
    for place, (forecast, target) in enumerate(zip(forecasts, actual, strict=True)):
        seen = ~np.isnan(target)
        for level in CRPS_LEVELS:
            error = target[seen] - forecast.quantile(level)[seen]
            losses[place] += 2 * np.maximum(level * error, (level - 1) * error).sum() / len(CRPS_LEVELS)
        sizes[place] = np.abs(target[seen]).sum()
    return losses, sizes


def without_worst(names: Sequence[str], losses: np.ndarray, sizes: np.ndarray) -> tuple[str, float, float]:
    """The series with the largest loss, its share of the whole loss, and the CRPS of all others.

    Args:
        names: The series of each window, (windows,).
        losses, sizes: Of `window_losses`.
    """
    series, place = np.unique(np.asarray(names), return_inverse=True)
    total = np.bincount(place, losses)
    worst = int(total.argmax())
    others = place != worst
    return str(series[worst]), float(total[worst] / total.sum()), float(losses[others].sum() / sizes[others].sum())
