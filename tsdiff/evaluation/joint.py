"""Scores of multivariate forecasts as a whole, which the scores of single channels do not see."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from gluonts.model.forecast import Forecast, SampleForecast

from shared.errors import DataError, counted
from tsdiff.data.frequency import quiet
from tsdiff.evaluation.metrics import evaluate
from tsdiff.evaluation.pairs import Pair, matched


@dataclass(frozen=True)
class JointMetrics:
    """Scores over all windows and steps; a step with a missing channel is left out.

    Attributes:
        crps_sum: The paper's CRPS (`tsdiff.evaluation.metrics.Metrics.crps`) of the sum over channels (Salinas et al.
            2019, "High-dimensional multivariate forecasting with low-rank Gaussian copula processes").
        energy_score: Mean over steps of E‖X − y‖ − ½·E‖X − X′‖ over the channels of a step, in the series' units
            (Gneiting & Raftery 2007, eq. 22, the expectations as means over the samples).
        notes: What was left out.
    """

    crps_sum: float
    energy_score: float
    notes: tuple[str, ...] = field(default=(), compare=False)


def joint_metrics(forecasts: Iterable[Forecast], test_data: Iterable[Pair]) -> JointMetrics:
    """Score multivariate sample forecasts.

    Args:
        forecasts: `SampleForecast`s with samples (number, length, channels), one for each test pair, in order.
        test_data: Pairs (input entry, label entry) with targets (channels, length), see
            `tsdiff.evaluation.metrics.evaluate`.

    Raises:
        DataError: Forecasts that are univariate, without samples or not finite, or do not match the pairs.
    """
    sums: list[tuple[Forecast, Pair]] = []
    total, steps, left_out = 0.0, 0, 0
    with quiet():
        for forecast, (past, label) in matched(forecasts, test_data):
            actual = np.asarray(label["target"], dtype=np.float64)
            if actual.ndim != 2 or not isinstance(forecast, SampleForecast):
                raise DataError(
                    f"series {forecast.item_id!r}: joint scores need samples (number, length, channels) and actual"
                    f" values (channels, length); got {type(forecast).__name__} and {actual.shape}"
                )
            samples = np.asarray(forecast.samples, dtype=np.float64)
            if not np.isfinite(samples).all():
                raise DataError(f"the forecast of series {forecast.item_id!r} holds values that are not finite")
            whole = np.isfinite(actual).all(axis=0)
            left_out += int((~whole).sum())
            if whole.any():
                scores = energy_scores(samples[:, whole], actual.T[whole])
                total, steps = total + float(scores.sum()), steps + len(scores)
            history = {**past, "target": np.asarray(past["target"], dtype=np.float64).sum(axis=0)}
            sums.append((forecast.copy_aggregate(np.sum), (history, {**label, "target": actual.sum(axis=0)})))
    crps_sum = evaluate([forecast for forecast, _ in sums], [pair for _, pair in sums]).crps
    notes = () if not left_out else (f"{counted(left_out, 'step')} with a missing channel left out",)
    return JointMetrics(crps_sum, total / steps if steps else math.nan, notes)


def energy_scores(samples: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """The energy score of each step, (steps,), from samples (number, steps, channels) and actual (steps, channels)."""
    to_actual = np.linalg.norm(samples - actual, axis=2).mean(axis=0)
    # One sample against all at a time: the memory stays that of the samples.
    between = sum(np.linalg.norm(samples - one, axis=2).mean(axis=0) for one in samples) / len(samples)
    return np.asarray(to_actual - between / 2)
