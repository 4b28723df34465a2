"""Seasonal naive: the values one season before."""

from __future__ import annotations

from dataclasses import dataclass

from gluonts.model.predictor import Predictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from shared.errors import ConfigError
from tsdiff.baselines.base import SamplePredictor, TrainingJob
from tsdiff.data import Entry, candidate_seasons


@dataclass(frozen=True)
class SeasonalNaiveConfig:
    """Settings of GluonTS's `SeasonalNaivePredictor`.

    Attributes:
        lag: the season in steps; None takes the primary season of the frequency (hourly 24, daily 7, …).
    """

    lag: int | None = None

    def __post_init__(self) -> None:
        if self.lag is not None and self.lag < 1:
            raise ConfigError(f"lag is {self.lag}; it must be at least 1")

    def train(self, entries: list[Entry], job: TrainingJob) -> Predictor:
        """Nothing is learned; a missing value counts as the last one observed before it."""
        lag = self.lag or candidate_seasons(job.freq)[0]
        return SamplePredictor(_Naive(job.prediction_length, season_length=lag), job.num_samples, job.seed)


class _Naive(SeasonalNaivePredictor):
    """Takes `num_samples`, which GluonTS's has no use for."""

    def predict(self, dataset, num_samples=None, **kwargs):  # type: ignore[no-untyped-def]
        return super().predict(dataset)
