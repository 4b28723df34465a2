"""AutoETS of statsforecast: exponential smoothing, its form chosen by AICc for each series."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from gluonts.dataset.util import forecast_start
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor

from shared.errors import ConfigError
from shared.random import derive_seed
from tsdiff.baselines.base import SamplePredictor, TrainingJob, filled
from tsdiff.data import Entry, candidate_seasons


@dataclass(frozen=True)
class AutoETSConfig:
    """Settings of AutoETS (Hyndman & Khandakar 2008). Needs the extra "baselines".

    Attributes:
        season: in steps; None takes the primary season of the frequency. The method leaves out seasons above 24.
        max_history: the last steps of each series that are fitted; None fits all. The time grows in proportion: with
            season 24 it is about a second for 1000 steps.
    """

    season: int | None = None
    max_history: int | None = None

    def __post_init__(self) -> None:
        for name in ("season", "max_history"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")

    def train(self, entries: list[Entry], job: TrainingJob) -> Predictor:
        """Nothing is learned yet: each series is fitted when it is forecast."""
        season = self.season or candidate_seasons(job.freq)[0]
        inner = AutoETSPredictor(job.prediction_length, season, self.max_history, job.seed)
        return SamplePredictor(inner, job.num_samples, job.seed)


class AutoETSPredictor(Predictor):
    """Fits each series and simulates its future.

    Args:
        prediction_length: steps to forecast.
        season: in steps.
        max_history: the last steps that are fitted; None fits all.
        seed: with the item and its end, of the simulated paths.
    """

    def __init__(self, prediction_length: int, season: int, max_history: int | None = None, seed: int = 0):
        super().__init__(prediction_length=prediction_length)
        try:
            from statsforecast.models import AutoETS
        except ImportError as error:
            raise ModuleNotFoundError(
                "AutoETS needs the package statsforecast; install it, or this package with its extra [baselines]"
            ) from error
        self.season, self.max_history, self.seed = season, max_history, seed
        self._make = lambda: AutoETS(season_length=season)

    def predict(self, dataset: Iterable[Entry], num_samples: int = 100, **kwargs: Any) -> Iterator[SampleForecast]:
        """One forecast for each entry: simulated paths (num_samples, prediction_length).

        Missing values are interpolated, at the ends continued. Fewer than seven values are continued as a random walk
        with the spread of their own steps, since AutoETS fits nothing to them.
        """
        for place, entry in enumerate(dataset):
            whole = filled(np.asarray(entry["target"], dtype=np.float64)[None])[0]
            target = whole[-(self.max_history or 0) :]
            start = forecast_start(entry)
            seed = derive_seed(self.seed, "auto_ets", str(entry.get("item_id", place)), str(start)) % 2**32
            samples = self._simulate(target, num_samples, seed).astype(np.float32)
            yield SampleForecast(samples, start, item_id=entry.get("item_id"), info=entry.get("info"))

    def _simulate(self, target: np.ndarray, count: int, seed: int) -> np.ndarray:
        if (target == target[0]).all():
            return np.full((count, self.prediction_length), target[0])
        model = self._make()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                model.fit(target)
            except NotImplementedError:  # statsforecast fits no form to fewer than seven values
                steps = np.random.default_rng(seed).normal(0, np.diff(target).std(), (count, self.prediction_length))
                return target[-1] + steps.cumsum(axis=1)
            return np.asarray(model.simulate(h=self.prediction_length, n_paths=count, seed=seed))
