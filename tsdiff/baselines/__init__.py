"""Forecasters to compare with, to refine, and to train on synthetic series: by name, behind one call.

predictor = train_baseline("deepar", dataset, "h", 24, cpu_minutes=4)
forecasts = list(predictor.predict(dataset, num_samples=100))
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from gluonts.model.predictor import Predictor

from shared.errors import ConfigError
from tsdiff.baselines.base import BaselineConfig, SamplePredictor, TrainingJob
from tsdiff.baselines.ets import AutoETSConfig, AutoETSPredictor
from tsdiff.baselines.linear import LinearConfig, LinearPredictor
from tsdiff.baselines.naive import SeasonalNaiveConfig
from tsdiff.baselines.networks import DeepARConfig, PatchTSTConfig, TransformerConfig
from tsdiff.data import Entry, normalise_freq, series_from_gluonts

BaselineName = Literal["seasonal_naive", "linear", "auto_ets", "deepar", "patchtst", "transformer"]
BASELINE_NAMES: tuple[BaselineName, ...] = get_args(BaselineName)

BASELINES: dict[BaselineName, BaselineConfig] = {
    "seasonal_naive": SeasonalNaiveConfig(),
    "linear": LinearConfig(),
    "auto_ets": AutoETSConfig(),
    "deepar": DeepARConfig(),
    "patchtst": PatchTSTConfig(),
    "transformer": TransformerConfig(),
}
"""The default settings of each."""

__all__ = [
    "BASELINES",
    "BASELINE_NAMES",
    "AutoETSConfig",
    "AutoETSPredictor",
    "BaselineConfig",
    "BaselineName",
    "DeepARConfig",
    "LinearConfig",
    "LinearPredictor",
    "PatchTSTConfig",
    "SamplePredictor",
    "SeasonalNaiveConfig",
    "TransformerConfig",
    "train_baseline",
]


def train_baseline(
    name: str,
    dataset: Iterable[Entry],
    freq: str,
    prediction_length: int,
    context_length: int | None = None,
    *,
    num_samples: int = 100,
    cpu_minutes: float | None = None,
    max_steps: int | None = None,
    seed: int = 0,
    config: BaselineConfig | None = None,
) -> Predictor:
    """Train a baseline.

    Args:
        name: one of `BASELINE_NAMES`.
        dataset: GluonTS entries to train on; NaN in a target is missing. Read once.
        freq: frequency of the series, in any pandas spelling.
        prediction_length: steps to forecast.
        context_length: steps of history that the model sees; None chooses by frequency and horizon. Seasonal naive
            and AutoETS have none.
        num_samples: samples of each forecast where `predict` names no other number. Point forecasts (seasonal naive,
            linear) are that many equal samples.
        cpu_minutes: training of a network ends after this much of the process's CPU time.
        max_steps: training of a network ends after this many optimiser steps; 2000 where no limit is given.
        seed: of training and of the samples.
        config: settings in place of `BASELINES[name]`.

    Returns:
        A GluonTS predictor; it yields one SampleForecast, samples (num_samples, prediction_length), for each entry in
        order.

    Raises:
        ConfigError: an unknown name, a setting that cannot be used, or settings of another baseline.
        DataError: no series can be used, or is long enough to train on.
        MissingPackageError: AutoETS without the package `statsforecast`.
    """
    defaults = {str(known): settings for known, settings in BASELINES.items()}
    if name not in defaults:
        raise ConfigError(f"unknown baseline {name!r}; take one of {', '.join(BASELINE_NAMES)}")
    if config is not None and type(config) is not type(defaults[name]):
        raise ConfigError(
            f"{type(config).__name__} holds no settings of {name!r}; give {type(defaults[name]).__name__}"
        )
    freq = normalise_freq(freq)
    job = TrainingJob(freq, prediction_length, context_length, num_samples, cpu_minutes, max_steps, seed)
    return (config or defaults[name]).train(series_from_gluonts(dataset, freq).entries, job)
