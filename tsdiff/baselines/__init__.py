"""Forecasters to compare with, to refine, and to train on synthetic series: by name, or any of GluonTS.

predictor = train_baseline("deepar", dataset, "h", 24, cpu_minutes=4)
forecasts = list(predictor.predict(dataset, num_samples=100))
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from shared.checks import Duration, checked
from shared.errors import ConfigError, DiffusionError
from tsdiff.baselines.base import SamplePredictor, TrainingJob
from tsdiff.baselines.named import BASELINE_NAMES, BASELINES, Forecaster, lags_up_to
from tsdiff.data import Entry, normalise_freq, series_from_gluonts


def train_baseline(
    baseline: str | Forecaster,
    dataset: Iterable[Entry],
    freq: str,
    prediction_length: int,
    context_length: int | None = None,
    *,
    num_samples: int = 100,
    cpu_minutes: float | None = None,
    max_steps: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> Predictor:
    """Train a baseline.

    Args:
        baseline: one of `BASELINE_NAMES`, or any GluonTS estimator or predictor of these frequency and horizon.
        dataset: GluonTS entries to train on; NaN in a target is missing. Read once.
        freq: frequency of the series, in any pandas spelling.
        prediction_length: steps to forecast.
        context_length: steps of history that a named model sees; None chooses by frequency and horizon. Seasonal naive
            and AutoETS have none.
        num_samples: samples of each forecast where `predict` names no other number. Point forecasts (seasonal naive,
            linear) are that many equal samples.
        cpu_minutes: training of a network ends after this much of the process's CPU time.
        max_steps: training of a network ends after this many optimiser steps; where no limit is given, after 2000, or
            when an estimator of yours says.
        seed: of training and of the samples.
        settings: of a named baseline, in place of those in `BASELINES`, by the names that GluonTS's estimator has for
            them: hidden_size=80, lr=2e-3. See there for those of seasonal naive, linear and AutoETS.

    Returns:
        A GluonTS predictor; it yields one SampleForecast, samples (num_samples, prediction_length), for each entry in
        order.

    Raises:
        ConfigError: an unknown name, a setting that cannot be used or that there is not, or another horizon.
        DataError: no series can be used, or is long enough to train on.
        MissingPackageError: AutoETS without the package `statsforecast`.
    """
    if isinstance(baseline, str) and baseline not in BASELINES:
        raise ConfigError(f"unknown baseline {baseline!r}; take one of {', '.join(BASELINE_NAMES)}")
    freq = normalise_freq(freq)
    job = TrainingJob(freq, prediction_length, context_length, num_samples, cpu_minutes, max_steps, seed)
    entries = series_from_gluonts(dataset, freq).entries
    found = _named(baseline, entries, job, settings) if isinstance(baseline, str) else _given(baseline, job, settings)
    if isinstance(found, Estimator):
        from tsdiff.baselines.training import trained  # loads Lightning

        limited = isinstance(baseline, str) or cpu_minutes is not None or max_steps is not None
        found = trained(found, entries, job, limited)
    return SamplePredictor(found, num_samples, seed)


_SIZES = {"batch_size", "d_model", "hidden_size", "lr", "nhead", "num_encoder_layers", "num_layers", "patch_len"}
"""Settings that are positive numbers, which GluonTS itself hardly checks."""


def _named(name: str, entries: list[Entry], job: TrainingJob, settings: dict[str, Any]) -> Forecaster:
    checked(Duration, **{name: value for name, value in settings.items() if name in _SIZES})
    try:
        return BASELINES[name](job, entries, **settings)
    except DiffusionError:
        raise
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"{name} does not take these settings ({', '.join(settings)}): {error}") from error


def _given(baseline: Forecaster, job: TrainingJob, settings: dict[str, Any]) -> Forecaster:
    if settings:
        raise ConfigError(f"{', '.join(settings)}: give them to your {type(baseline).__name__}, not to train_baseline")
    steps = getattr(baseline, "prediction_length", job.prediction_length)
    if steps != job.prediction_length:
        raise ConfigError(f"{type(baseline).__name__} forecasts {steps} steps, not {job.prediction_length}")
    return baseline
