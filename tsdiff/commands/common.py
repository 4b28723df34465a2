"""What the commands share: reading the data, and finding the model."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from shared.checks import Count, checked
from shared.console.command import note, show
from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from shared.files.io import write_text
from tsdiff.commands.groups import Covariates, Model, Series, Untrained
from tsdiff.commands.matching import Forecaster as Forecaster
from tsdiff.commands.matching import known_categories, match_features, refuse_other_order, saved_forecaster
from tsdiff.commands.options import Anomaly, Forecast, Impute, Refine, Synthesize
from tsdiff.commands.trained import trained_predictor
from tsdiff.data import (
    EMBEDDED,
    SeriesSet,
    WindowSplit,
    candidate_seasons,
    embedded_series,
    load_dataset,
    normalise_freq,
    split_windows,
    unsplit,
)
from tsdiff.data.entries import counted
from tsdiff.data.series import summarised
from tsdiff.estimator import DEFAULT_TRAINING, TSDiffEstimator
from tsdiff.fitting.chosen import FEW_VALUES, few
from tsdiff.fitting.starting import name_inputs
from tsdiff.model.beside import AUTO
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.config import ANY_FREQ

if TYPE_CHECKING:
    from tsdiff.automatic import AutoPredictor

F = TypeVar("F", TSDiffPredictor, "AutoPredictor")
BUNDLED_MODEL = "default"
DECIDED: Mapping[str, Any] = {"counts": True, "nonnegative": True}
"""Settings of the sampling by which each series decides what draws of it may be."""
_UNSCORED = {"forecasts": "what comes next is forecast", "fills gaps": "gaps are filled"}
"""What is done where no test windows are held out, by what the verb does."""

ModelOptions = Forecast | Impute | Refine | Synthesize | Anomaly
"""What a verb that takes a model, or trains one, says of it."""


@dataclass(frozen=True)
class Job:
    """The series, split, and what to forecast.

    Attributes:
        embedded: whether the series are those that ship with the package, which the bundled model was trained on.
        model: to use instead of training, a folder or name: the one that the user chose, or the bundled one where the
            series hold too few values to train on.
    """

    series: SeriesSet
    split: WindowSplit
    prediction_length: int
    embedded: bool = False
    model: str | None = None


def load_job(
    options: Series,
    embedded_windows: int = EMBEDDED["pjm_hourly"].windows,
    *,
    forecast_only: bool = False,
    share: float = 0.0,
) -> Job:
    """Read and check the series, and cut the test windows off.

    Args:
        options: what the user gave.
        embedded_windows: test windows of the embedded series, where none are given.
        forecast_only: whether no test windows will do: where 0 are asked for, or where nothing is to be trained and no
            series is long enough for one. They do for `Impute`, too, which fills gaps without.
        share: of the usual series that the test windows are, at least one, where neither they nor the embedded series
            are asked for.
    """
    data, freq, horizon, windows = options.data, options.freq, options.prediction_length, options.windows
    if data is None:
        if options.of_table:
            raise ConfigError(
                f"{', '.join(options.of_table)}: the embedded data has no columns to name; give --data, or leave it out"
            )
        series = embedded_series()
        if freq is not None and normalise_freq(freq) != series.freq:
            raise ConfigError(
                f"--freq {freq} does not fit the embedded data, which is hourly; leave it out, or give --data"
            )
        horizon = EMBEDDED["pjm_hourly"].prediction_length if horizon is None else horizon
        windows = embedded_windows if windows is None else windows
    else:
        horizon = _saved_horizon(options) if horizon is None else horizon
        if horizon is None and options.forecasts:
            raise ConfigError(
                "--prediction-length is needed with --data: the steps to forecast, and of each test window"
            )
        series = load_dataset(
            str(data),
            freq=freq,
            target=options.target,
            item_id=options.item_id,
            timestamp=options.timestamp,
            **options.covariates,
            **known_categories(options),
        )
        if series.layout.channels:
            raise ConfigError(
                f"the series of {data} have {series.layout.channels} channels; commands take one, TSDiffEstimator more"
            )
        horizon = _usual_horizon(series, windows != 0) if horizon is None else horizon
        if share and windows is None:
            usual = float(np.median([entry["target"].shape[-1] for entry in series]))
            windows = max(1, int(share * usual // checked(Count, prediction_length=horizon)))
    if isinstance(options, Model) and options.idle:
        note(f"{', '.join(options.idle)} left out: no model is trained anew")
    if isinstance(options, Forecast | Impute | Refine | Anomaly):
        _refuse_twins(series)
    model = getattr(options, "chosen", None) or (_without_training(options, series) if data is not None else None)
    work = "fills gaps" if isinstance(options, Impute) else "forecasts" if forecast_only else None
    if isinstance(options, Impute) and not options.hide and model is not None:
        windows = 0  # nothing is to be scored, nor trained on
    split = _split(series, horizon, windows, work, model is not None)
    covariates = (
        " ".join(f"--dynamic {name}" for name in series.origin.ahead) if isinstance(options, Covariates) else ""
    )
    if not isinstance(options, Impute):
        _refuse_unobserved(split, horizon, covariates)
    if forecast_only:
        series.refuse_beyond(horizon)
        if covariates:
            note(f"what is forecast comes after the rows without a value; {covariates} takes them for what is to come")
    for line in series.remarks() if work else series.remarks(split.skipped):
        note(line)
    if work:
        for line in summarised([f"series {item!r} is not scored: {why}" for item, why in split.skipped.items()]):
            note(line)
    return Job(series, split, horizon, data is None, model)


def _refuse_twins(series: SeriesSet) -> None:
    """Raise DataError if two series have the same name, by which the tables of results tell them apart; those of a
    table have names of their own."""
    counts = Counter(str(entry["item_id"]) for entry in series)
    twins = [name for name, count in counts.items() if count > 1]
    if twins:
        more = f", and {len(twins) - 1} more of {counted(len(counts), 'name', 'names')} too" if len(twins) > 1 else ""
        raise DataError(
            f"{counts[twins[0]]} series have the item_id {twins[0]!r}{more}; give each its own, or leave item_id out, "
            "which numbers them"
        )


def _without_training(options: Series, series: SeriesSet) -> str | None:
    """The bundled model, where the series hold few values to train on and nothing of a training was asked for."""
    if not isinstance(options, Untrained) or options.retrain:
        return None
    if options.steps != type(options).steps or options.context_length is not None:
        return None
    if getattr(options, "guidance", None) is not None:  # which the bundled model takes none of
        return None
    values = sum(int(np.isfinite(entry["target"]).sum()) for entry in series)
    if values >= FEW_VALUES:
        return None
    note(f"{few(values)}: the bundled model is taken, which was trained on many series; --retrain trains one on these")
    return BUNDLED_MODEL


def _usual_horizon(series: SeriesSet, held_out: bool) -> int:
    """A season, or a tenth of the longest series where that is less, for verbs that forecast nothing."""
    season, longest = candidate_seasons(series.freq)[0], max(len(entry["target"]) for entry in series)
    horizon = max(1, min(season, longest // 10))
    what = f"a season of {series.freq!r}" if horizon == season else "a tenth of the longest series"
    steps = counted(horizon, "step", "steps")
    if held_out:
        note(f"--prediction-length is left out: windows of {steps} are held out, {what}")
    return horizon


def _saved_horizon(options: Series) -> int | None:
    """That of the model which the user named, if it has one."""
    model = getattr(options, "model", None)
    if model is None:
        return None
    saved = saved_forecaster(model) if isinstance(options, Forecast) else TSDiffPredictor.from_pretrained(model)
    return None if saved.config.awaits_freq else saved.prediction_length


def _split(series: SeriesSet, horizon: int, windows: int | None, work: str | None, trained: bool) -> WindowSplit:
    """Training and test windows, if any; `work` is what is done without test windows, where anything is."""
    horizon = checked(Count, prediction_length=horizon)
    if windows == 0 and work:
        return unsplit(series, horizon)
    longest = max(len(entry["target"]) for entry in series)
    if windows is None and work and trained and longest <= horizon:
        note(
            f"the longest series has {counted(longest, 'value', 'values')}, too few to hold "
            f"{counted(horizon, 'step', 'steps')} out: nothing is scored, and {_UNSCORED[work]}"
        )
        return unsplit(series, horizon)
    windows = 1 if windows is None else windows
    try:
        split = split_windows(series, horizon, windows)
    except DataError as error:
        remedy = f"--windows 0 {work} without scoring" + ("" if trained else ", with --no-train by the bundled model")
        raise DataError(f"{error}; {remedy}") if work else error from None
    return split


def _refuse_unobserved(split: WindowSplit, horizon: int, covariates: str) -> None:
    """Raise DataError if there are test windows, and none holds an observed value; `covariates` are options that would
    take the rows there for what is to come."""
    if len(split.test) and all(np.isnan(label["target"]).all() for label in split.test.label):
        remedy = f"take them for what is to come by {covariates}, " if covariates else ""
        raise DataError(
            f"the last {len(split.test) // len(split.train) * horizon} steps of every series, held out to be scored, "
            f"hold no observed value; {remedy}cut them off, or hold out more with --windows"
        )


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
    show(str(made.report))
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
    match_features(path, predictor, job.series.layout)
    refuse_other_order(path, predictor, job.series)
    return predictor.with_horizon(job.prediction_length)
