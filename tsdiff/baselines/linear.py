"""Ridge regression from the context to the horizon, the linear model of the TSDiff paper (section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from gluonts.dataset.util import forecast_start
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor

from shared.checks import Count, checked
from shared.errors import ConfigError, DataError
from shared.optional import needed
from shared.random import natural
from tsdiff.baselines.base import filled
from tsdiff.data import Entry
from tsdiff.windows.config import Scaling
from tsdiff.windows.scales import context_scale


class LinearEstimator(Estimator):
    """Ridge regression from the context to the horizon; the defaults are the paper's.

    Args:
        prediction_length, context_length: in steps.
        penalty: ridge penalty on scaled windows.
        windows: training windows that are drawn; where there are no more than that, each is used once.
        scaling: divide a window by the mean absolute value of its context. Turn it off for series that are scaled
            already, as the linear predictive score does.
        seed: of the windows.

    Raises:
        ConfigError: a negative penalty, or no windows.
    """

    def __init__(
        self,
        prediction_length: int,
        context_length: int,
        penalty: float = 1.0,
        windows: int = 10_000,
        scaling: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        if not penalty >= 0:
            raise ConfigError(f"penalty is {penalty}; it must not be negative")
        checked(Count, windows=windows)
        self.prediction_length, self.context_length = prediction_length, context_length
        self.penalty, self.windows, self.scaling, self.seed = penalty, windows, scaling, seed

    def train(self, training_data: Iterable[Entry], validation_data: Iterable[Entry] | None = None) -> Predictor:
        """Fit by least squares; missing values are interpolated, windows without any target or context left out.

        Raises:
            DataError: no series holds a whole window.
        """
        context, horizon = self.context_length, self.prediction_length
        windows = _training_windows(list(training_data), context, horizon, self.windows, self.seed)
        seen = ~np.isnan(windows)
        usable = seen[:, :context].any(axis=1) & seen[:, context:].any(axis=1)
        if not usable.any():
            raise DataError(
                "no training window holds observed values both in its context and in its horizon; give longer series, "
                "or some of which less is missing"
            )
        windows = windows[usable]
        fallback = float(np.nanmean(np.abs(windows[:, :context]))) if self.scaling else 1.0
        scaled, _ = _scaled(windows, context, self.scaling, fallback)
        fitted = ridge()(alpha=self.penalty).fit(scaled[:, :context], scaled[:, context:])
        weight = np.asarray(fitted.coef_, dtype=np.float64).reshape(horizon, context)
        bias = np.broadcast_to(np.asarray(fitted.intercept_, dtype=np.float64), (horizon,)).copy()
        return LinearPredictor(weight, bias, self.scaling, fallback)


def ridge() -> Any:
    """scikit-learn's `Ridge`.

    Raises:
        MissingPackageError: it is not installed.
    """
    return needed("sklearn.linear_model", "baselines", "the linear forecaster").Ridge


class LinearPredictor(Predictor):
    """The fitted model: one sample a forecast, the conditional mean.

    Args:
        weight: (prediction_length, context_length).
        bias: (prediction_length,).
        scaling: whether contexts are divided by their mean absolute value.
        fallback: the scale of a context of zeros.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray, scaling: bool = True, fallback: float = 1.0):
        super().__init__(prediction_length=len(weight))
        self.weight, self.bias, self.scaling, self.fallback = weight, bias, scaling, fallback

    @property
    def context_length(self) -> int:
        """Steps of history the model sees."""
        return self.weight.shape[1]

    def predict(
        self, dataset: Iterable[Entry], num_samples: int | None = None, **kwargs: Any
    ) -> Iterator[SampleForecast]:
        """One forecast for each entry; a history shorter than the context is continued backwards by its first value,
        and one without a value in the context by its last one before.
        """
        for entry in dataset:
            target = np.asarray(entry["target"], dtype=np.float64)
            window = np.full((1, self.context_length), np.nan)
            known = target[-self.context_length :]
            window[0, self.context_length - len(known) :] = known
            if np.isnan(window).all():
                window[0, 0] = target[~np.isnan(target)][-1]
            scaled, scale = _scaled(window, self.context_length, self.scaling, self.fallback)
            samples = (scaled @ self.weight.T + self.bias) * scale
            start = forecast_start(entry)
            yield SampleForecast(
                samples.astype(np.float32), start, item_id=entry.get("item_id"), info=entry.get("info")
            )


def _training_windows(entries: list[Entry], context: int, horizon: int, count: int, seed: int) -> np.ndarray:
    """Windows (n, context + horizon), n at most `count`; NaN where missing."""
    length = context + horizon
    targets = [np.asarray(entry["target"], dtype=np.float64) for entry in entries]
    targets = [target for target in targets if len(target) >= length]
    if not targets:
        longest = max(len(entry["target"]) for entry in entries)
        remedy = "give a shorter context_length" if context > 1 else "give longer series, or forecast fewer steps"
        raise DataError(
            f"no series holds a training window of {context} + {horizon} steps; the longest has {longest}: {remedy}"
        )
    starts = [len(target) - length + 1 for target in targets]
    if sum(starts) <= count:
        return np.concatenate([np.lib.stride_tricks.sliding_window_view(target, length) for target in targets])
    rng = np.random.default_rng(natural(seed))
    series = rng.integers(len(targets), size=count)
    return np.stack([targets[s][first : first + length] for s in series for first in [int(rng.integers(starts[s]))]])


def _scaled(windows: np.ndarray, context: int, scaling: bool, fallback: float) -> tuple[np.ndarray, np.ndarray]:
    """Windows without gaps, over their scale, and the scales (n, 1); of contexts that are zero it is `fallback`."""
    kind: Scaling = "mean" if scaling else "none"
    _, scale = context_scale(windows[:, :context], kind, np.full((len(windows), 1), fallback))
    return filled(windows / scale), scale
