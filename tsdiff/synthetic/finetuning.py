"""Fine-tuning a model of all frequencies on the series it is to forecast."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shared.errors import ConfigError, DataError
from shared.training import TrainingConfig
from tsdiff.config import Covariance
from tsdiff.data import split_windows
from tsdiff.entries import Entry
from tsdiff.evaluation import evaluate
from tsdiff.model import TSDiff
from tsdiff.predictor import TSDiffPredictor
from tsdiff.source import WindowSource
from tsdiff.synthetic.corpus import Corpus, CorpusGroup, CorpusSource
from tsdiff.synthetic.default import train

_CALIBRATION = 20
"""Steps by which the time of one is measured."""

_CANDIDATES: tuple[Covariance, ...] = ("kernels", "window")


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune.

    Args:
        cpu_minutes: of training, where `steps` is None; the steps that fit are measured first.
        steps: optimiser steps.
        learning_rate: its peak.
        batch_size: windows in a batch.
        choice_series: series whose last horizon chooses between guidance by kernels and by the windows' own
            covariance; 0 keeps the kernels.
        seed: of everything.
    """

    cpu_minutes: float = 5.0
    steps: int | None = None
    learning_rate: float = 1e-3
    batch_size: int = 32
    choice_series: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is None and not self.cpu_minutes > 0:
            raise ConfigError(f"cpu_minutes={self.cpu_minutes}: need a positive time, or give steps")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"steps={self.steps}: need at least one")


@dataclass(frozen=True)
class FineTuned:
    """What came of it.

    Attributes:
        predictor: of the fine-tuned model.
        steps: that it was trained.
        trials: CRPS on the training series' last horizon, by covariance; empty where nothing was chosen.
    """

    predictor: TSDiffPredictor
    steps: int
    trials: dict[str, float]


def fine_tune(
    predictor: TSDiffPredictor, dataset: Iterable[Entry], settings: FineTuning | None = None, *, progress: bool = False
) -> FineTuned:
    """Train a copy of an adapted model on some series.

    Args:
        predictor: of one frequency and horizon (`TSDiffPredictor.adapted`); its model is left as it is.
        dataset: GluonTS entries to learn from.
        settings: how.
        progress: show a bar.

    Raises:
        ConfigError: a model that was not made for several frequencies.
        DataError: no series holds an observed value.
    """
    settings = settings or FineTuning()
    entries = list(dataset)
    config = predictor.model.config
    model = TSDiff(config)
    model.load_state_dict(predictor.model.state_dict())
    horizon = config.prediction_length
    group = CorpusGroup.of_entries("the series", 1.0, entries, config.length)
    source = CorpusSource(
        Corpus([group]),
        config,
        settings.batch_size,
        synthetic_share=0.0,
        horizons=(max(1, horizon // 2), horizon),
        whole=0.9,
    )
    steps = settings.steps or _steps_in(model, source, settings)
    train(model, source, _training(settings, steps), progress=progress)
    tuned = TSDiffPredictor(model, predictor.sampling, prediction_length=predictor.prediction_length)
    if not settings.choice_series:
        return FineTuned(tuned, steps, {})
    return _chosen(tuned, entries, settings, steps)


def _training(settings: FineTuning, steps: int) -> TrainingConfig:
    return TrainingConfig(
        max_steps=steps,
        learning_rate=settings.learning_rate,
        weight_decay=1e-2,
        ema_decay=min(0.995, 1 - 5 / (steps + 5)),
        seed=settings.seed,
    )


def _steps_in(model: TSDiff, source: CorpusSource, settings: FineTuning) -> int:
    """How many steps fit into the minutes, by those of a copy that is thrown away."""
    trial = copy.deepcopy(model)
    train(trial, source, replace(_training(settings, 3)), progress=False)
    started = time.process_time()
    train(trial, source, replace(_training(settings, _CALIBRATION)), progress=False)
    return max(1, round(settings.cpu_minutes * 60 * _CALIBRATION / (time.process_time() - started)))


def _chosen(tuned: TSDiffPredictor, entries: Sequence[Entry], settings: FineTuning, steps: int) -> FineTuned:
    """Measure the covariance of the series' windows, and keep the kind that forecasts their last horizon better."""
    rng = np.random.default_rng([settings.seed, 1])
    model = tuned.model
    long = [e for e in entries if len(e["target"]) > 2 * tuned.prediction_length]
    if not long:
        return FineTuned(tuned, steps, {})
    try:
        _measure_covariance(model, entries, rng)
    except DataError:  # fewer than two windows
        return FineTuned(tuned, steps, {})
    count = min(settings.choice_series, len(long))
    picked = [long[i] for i in sorted(rng.choice(len(long), count, replace=False))]
    windows = split_windows(picked, tuned.prediction_length, 1).test
    trials: dict[str, float] = {
        covariance: evaluate(tuned.with_sampling(covariance=covariance).predict(windows.input, 50), windows).crps
        for covariance in _CANDIDATES
    }
    best = min(_CANDIDATES, key=lambda name: trials[name])
    return FineTuned(tuned.with_sampling(covariance=best), steps, trials)


def _measure_covariance(model: TSDiff, entries: Sequence[Entry], rng: np.random.Generator) -> None:
    source = WindowSource(entries, model.config)
    source.statistics = model.statistics
    model.statistics = replace(model.statistics, covariance=source.measure_covariance(rng, 1024))
