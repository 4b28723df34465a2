"""What the commands share: finding the model, or training it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shared.console.command import note, show, show_lines
from shared.console.notes import Note
from shared.errors import ConfigError
from shared.files.io import write_text
from tsdiff.commands.job import BUNDLED_MODEL, Job
from tsdiff.commands.matching import Forecaster, match_features, refuse_other_order, saved_forecaster
from tsdiff.commands.options import Anomaly, Forecast, Impute, Refine, Synthesize
from tsdiff.commands.trained import trained_predictor
from tsdiff.estimator import DEFAULT_TRAINING, TSDiffEstimator
from tsdiff.fitting.starting import name_inputs
from tsdiff.model.beside import AUTO
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.config import ANY_FREQ

if TYPE_CHECKING:
    from tsdiff.automatic import AutoPredictor

F = TypeVar("F", TSDiffPredictor, "AutoPredictor")
DECIDED: Mapping[str, Any] = {"counts": True, "nonnegative": True}
"""Settings of the sampling by which each series decides what draws of it may be."""

ModelOptions = Forecast | Impute | Refine | Synthesize | Anomaly
"""What a verb that takes a model, or trains one, says of it."""


def forecaster_for(job: Job, options: Forecast, sampling: Mapping[str, Any]) -> tuple[Forecaster, float]:
    """What forecasts: the model that the user names, fine-tuned, trained, or chosen within --budget; and seconds of
    training."""
    chosen = job.model
    if options.budget is not None:
        return _chosen_forecaster(job, options, str(chosen), options.budget, sampling)
    if options.minutes is not None:
        return fine_tuned_predictor(job, options, str(chosen), options.minutes, sampling)
    if chosen is not None and (Path(chosen) / AUTO).is_file():
        return _fitting(chosen, saved_forecaster(chosen, options.device).with_sampling(**sampling), job), 0.0
    return predictor_for(job, options, sampling)


def _chosen_forecaster(
    job: Job, options: Forecast, model: str, minutes: float, sampling: Mapping[str, Any]
) -> tuple[AutoPredictor, float]:
    from tsdiff.automatic import AutoSettings, auto  # loads gluonts.torch

    found = TSDiffPredictor.from_pretrained(model, device=options.device)
    if found.freq != ANY_FREQ:
        raise ConfigError(f"--budget takes a model of all frequencies, and {model} forecasts {found.freq!r} alone")
    started = time.perf_counter()
    settings = AutoSettings(cpu_minutes=minutes, seed=options.seed_or_zero)
    made = auto(job.split.train, job.prediction_length, model=found, settings=settings)
    for one in made.models:
        name_inputs(one.model, job.series)
    seconds = time.perf_counter() - started
    show_lines(str(made.report))
    write_text(options.output / "candidates.md", f"{made.report}\n")
    made = made.with_sampling(**sampling)
    folder = options.output / "auto"
    made.serialize(folder)
    show(f"model: {folder} (--model takes it)")
    return made, seconds


def predictor_for(
    job: Job, options: ModelOptions, sampling: Mapping[str, Any] | None = None
) -> tuple[TSDiffPredictor, float]:
    """The model that the user names, that an earlier run left in --output, or a new one; and seconds of training.

    `sampling` are the settings that the user gave (`given`); a named model keeps those it was saved with for the rest.
    """
    changes = sampling or {}
    if (model := job.model) is not None:
        return given_predictor(model, job, changes, options.device), 0.0
    return trained_predictor(job.split.train, _estimator(job, options, changes), options.output, options.retrain)


def window_to_train(job: Job, options: ModelOptions) -> int:
    """Steps of a window of the model that `predictor_for` is to train."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)  # which the training tells
        return _estimator(job, options, {}).settled(job.split.train).config.length


def _estimator(job: Job, options: ModelOptions, changes: Mapping[str, Any]) -> TSDiffEstimator:
    layout, seed = job.series.layout, options.seed_or_zero
    return TSDiffEstimator(
        job.series.freq,
        job.prediction_length,
        options.context_length,
        dynamic_features=layout.dynamic,
        static_features=layout.reals,
        categories=job.series.cardinalities,
        training=None if options.steps is None else replace(DEFAULT_TRAINING, max_steps=options.steps),
        sampling=Sampling(**{"seed": seed, **changes}),
        device=options.device,
    ).with_training(seed=seed)


def fine_tuned_predictor(
    job: Job, options: ModelOptions, model: str, minutes: float, sampling: Mapping[str, Any]
) -> tuple[TSDiffPredictor, float]:
    """A model of all frequencies, trained on the series for some minutes where that helps; and seconds of training.

    Raises:
        ConfigError: the model is one of a single frequency.
    """
    found = given_predictor(model, job, sampling, options.device)
    if TSDiffPredictor.from_pretrained(model).freq != ANY_FREQ:
        raise ConfigError(f"--fine-tune takes a model of all frequencies, and {model} forecasts {found.freq!r} alone")
    from tsdiff.pretraining.finetuning import FineTuning, fine_tune  # loads Lightning

    started = time.perf_counter()
    made = fine_tune(
        found,
        job.split.train,
        FineTuning(cpu_minutes=minutes, seed=found.sampling.seed),
        progress=True,
    )
    seconds = time.perf_counter() - started
    for trial in made.trials:
        kind = f"after {trial.steps} steps, {trial.change}"
        note(f"{kind}: CRPS {trial.crps:.4g} on windows held back")
    if made.trials:
        weights = f"after {made.steps} steps" if made.steps else "as they came"
        note(f"taken: weights {weights}, {made.change}")
    folder = options.output / "fine_tuned"
    made.predictor.serialize(folder)
    show(f"model: {folder} (--model takes it)")
    return made.predictor, seconds


def given_predictor(path: str, job: Job, sampling: Mapping[str, Any], device: str) -> TSDiffPredictor:
    """The model that --model names, if it fits the data, with these settings of its sampling changed."""
    predictor = TSDiffPredictor.from_pretrained(path, device=device).with_sampling(**sampling)
    if predictor.freq == ANY_FREQ:
        predictor = predictor.adapted(job.series.freq, job.prediction_length)
        if job.embedded and path == BUNDLED_MODEL:
            note(
                "the bundled model was trained on earlier values of these very series: what it scores here is "
                "in-domain, not zero-shot"
            )
    return _fitting(path, predictor, job)


def _fitting(path: str, predictor: F, job: Job) -> F:
    """A predictor for the data's frequency and horizon, if it is one."""
    too_far = job.prediction_length > predictor.prediction_length and predictor.config.dynamic_features
    if predictor.freq != job.series.freq or too_far:
        raise ConfigError(
            f"{path} forecasts {predictor.prediction_length} steps of {predictor.freq!r}, the data asks for "
            f"{job.prediction_length} of {job.series.freq!r}; train a model for them, or change --prediction-length"
        )
    match_features(path, predictor, job.series.layout, job.named)
    refuse_other_order(path, predictor, job.series)
    return predictor.with_horizon(job.prediction_length)
