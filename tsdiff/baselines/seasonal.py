"""Seasonal naive with the errors that it made before, as sample paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from gluonts.dataset.util import forecast_start
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor

from shared.checks import Count, checked
from shared.random import derive_seed
from tsdiff.baselines.base import filled
from tsdiff.data.entries import Entry, target_of

_ORIGINS = 200
"""The last places of a series, at most, whose errors are drawn from."""
_FEW = 30
"""Errors below this number are also drawn turned round, about which so few tell nothing."""
_LEAST = 3
"""Errors that a season needs to be taken."""
_MOST_HISTORY = 4000
"""Last steps of a series that are looked at."""


class SeasonalPathsPredictor(Predictor):
    """The values of a season ago, and upon them an error path that this very forecast made earlier in the series.

    GluonTS's `SeasonalNaivePredictor` is a point; here a sample is a path, whose errors belong together over the
    horizon. The season of each series is that of `seasons` with the smallest mean absolute error.

    Args:
        prediction_length: steps to forecast.
        seasons: to choose from, in steps; 1 is always among them.
        seed: of the draws, which depend besides on the series' name and end alone.

    Raises:
        ConfigError: a value below 1.
    """

    def __init__(self, prediction_length: int, seasons: Iterable[int], seed: int = 0):
        super().__init__(prediction_length=checked(Count, prediction_length=prediction_length))
        self.seasons: tuple[int, ...] = checked(tuple[Count, ...], seasons=tuple(dict.fromkeys([*seasons, 1])))
        self.seed = seed

    def predict(self, dataset: Iterable[Entry], num_samples: int = 100, **kwargs: Any) -> Iterator[SampleForecast]:
        """One forecast for each entry, samples (num_samples, prediction_length); missing values are interpolated."""
        for place, entry in enumerate(dataset):
            start, name = forecast_start(entry), entry.get("item_id", place)
            rng = np.random.default_rng(derive_seed(self.seed, "seasonal paths", f"{name} {start}"))
            values = target_of(entry, str(name))[-_MOST_HISTORY:]
            samples = self.paths(filled(values[None])[0], num_samples, rng)
            yield SampleForecast(samples, start, item_id=entry.get("item_id"), info=entry.get("info"))

    def paths(self, values: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """Paths (count, prediction_length) after values (length,) without gaps."""
        best, errors = self._season(values)
        point = _naive(values, len(values), best, self.prediction_length)
        if len(errors):
            signs = rng.choice([-1.0, 1.0], count) if len(errors) < _FEW else np.ones(count)
            return point + signs[:, None] * errors[rng.integers(len(errors), size=count)]
        spread = float(np.std(np.diff(values))) if len(values) > 2 else 0.0
        steps = rng.standard_normal((count, self.prediction_length))
        return point + spread * np.cumsum(steps, axis=1)

    def _season(self, values: np.ndarray) -> tuple[int, np.ndarray]:
        """The season, and the errors (n, prediction_length) of forecasts by it; none where there is no room."""
        horizon = self.prediction_length
        best, found, least = 1, np.zeros((0, horizon)), np.inf
        for season in self.seasons:
            errors = errors_at(values, season, horizon, _ORIGINS)
            if len(errors) < _LEAST:
                continue
            size = float(np.abs(errors).mean())
            if size < least:
                best, found, least = season, errors, size
        return best, found


def errors_at(values: np.ndarray, season: int, horizon: int, most: int) -> np.ndarray:
    """Errors of a seasonal naive at the last places of a series, (n, horizon).

    Args:
        values: (length,), without gaps.
        season, horizon: in steps.
        most: places.
    """
    first = max(season, len(values) - horizon - most + 1)
    origins = np.arange(first, len(values) - horizon + 1)
    if not len(origins):
        return np.zeros((0, horizon))
    steps = np.arange(horizon)
    told = values[(origins - season)[:, None] + steps % season]
    return values[origins[:, None] + steps] - told


def _naive(values: np.ndarray, origin: int, season: int, horizon: int) -> np.ndarray:
    """The season before `origin`, repeated over the horizon."""
    season = min(season, origin)
    return values[origin - season + np.arange(horizon) % season]
