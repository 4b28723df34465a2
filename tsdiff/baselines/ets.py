"""AutoETS of statsforecast: exponential smoothing, its form chosen by AICc for each series."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from gluonts.dataset.util import forecast_start
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor
from scipy.stats import norm

from shared.checks import Count, checked
from shared.optional import needed
from tsdiff.baselines.base import filled
from tsdiff.data.entries import Entry, named_entries, target_of


def ets_model() -> Any:
    """statsforecast's `AutoETS`.

    Raises:
        MissingPackageError: it is not installed.
    """
    return needed("statsforecast.models", "baselines", "AutoETS").AutoETS


class AutoETSPredictor(Predictor):
    """Fits each series when it is forecast (Hyndman & Khandakar 2008) and reads its forecast's quantiles.

    Needs the extra "baselines".

    Sample k of n is the (k + ½)/n quantile of every step. So each step has its distribution, but a sample is no path
    that the series would take: statsforecast 2.1's own paths lose the trend of forms that do not damp it.

    Args:
        prediction_length: steps to forecast.
        season: in steps. The method leaves out seasons above 24.
        max_history: the last steps of each series that are fitted; None fits all. The time grows in proportion: with
            season 24 it is about a second for 1000 steps.

    Raises:
        ConfigError: a value below 1.
        ModuleNotFoundError: without the package `statsforecast`.
    """

    def __init__(self, prediction_length: int, season: int, max_history: int | None = None):
        super().__init__(prediction_length=prediction_length)
        checked(Count | None, season=season, max_history=max_history)
        make = ets_model()
        self.season, self.max_history = season, max_history
        self._make = lambda: make(season_length=season)

    def predict(self, dataset: Iterable[Entry], num_samples: int = 100, **kwargs: Any) -> Iterator[SampleForecast]:
        """One forecast for each entry, samples (num_samples, prediction_length) in rising order.

        Missing values are interpolated, at the ends continued. Fewer than seven values are continued as a random walk
        with the spread of their own steps, since AutoETS fits nothing to them.
        """
        levels = (np.arange(num_samples) + 0.5) / num_samples
        for name, entry in named_entries(dataset):
            whole = filled(target_of(entry, name)[None])[0]
            samples = self._quantiles(whole[-(self.max_history or 0) :], levels).astype(np.float32)
            yield SampleForecast(samples, forecast_start(entry), item_id=entry.get("item_id"), info=entry.get("info"))

    def _quantiles(self, target: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """(levels, prediction_length)."""
        if (target == target[0]).all():
            return np.full((len(levels), self.prediction_length), target[0])
        masses = sorted({round(abs(200 * level - 100), 9) for level in levels})  # of central intervals, in percent
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                found = self._make().forecast(target, self.prediction_length, level=masses)
            except NotImplementedError:  # statsforecast fits no form to fewer than seven values
                spread = np.diff(target).std() * np.sqrt(np.arange(1, self.prediction_length + 1))
                return target[-1] + norm.ppf(levels)[:, None] * spread
        sides = [f"{'lo' if level < 0.5 else 'hi'}-{round(abs(200 * level - 100), 9)}" for level in levels]
        return np.stack([found[side] for side in sides])
