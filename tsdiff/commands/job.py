"""The series that a command works on: read, checked, and split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.checks import Count, checked
from shared.console.command import note
from shared.errors import ConfigError, DataError, counted
from tsdiff.commands.groups import Covariates, Model, Series, Untrained
from tsdiff.commands.matching import OF_COLUMNS, known_categories, saved_forecaster
from tsdiff.commands.options import Anomaly, Forecast, Impute, Refine
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
from tsdiff.data.known import unused_columns
from tsdiff.data.series import summarised
from tsdiff.fitting.chosen import FEW_VALUES, few
from tsdiff.predictor import TSDiffPredictor

BUNDLED_MODEL = "default"
_UNSCORED = {"forecasts": "what comes next is forecast", "fills gaps": "gaps are filled"}
"""What is done where no test windows are held out, by what the verb does."""


@dataclass(frozen=True)
class Job:
    """The series, split, and what to forecast.

    Attributes:
        embedded: whether the series are those that ship with the package, which the bundled model was trained on.
        model: to use instead of training, a folder or name: the one that the user chose, or the bundled one where the
            series hold too few values to train on.
        named: options of the verb that name columns of dynamic and of static features; None where it has none.
    """

    series: SeriesSet
    split: WindowSplit
    prediction_length: int
    embedded: bool = False
    model: str | None = None
    named: tuple[str, str] | None = OF_COLUMNS


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
    series, horizon, windows = _read(options, embedded_windows, share)
    if isinstance(options, Model) and options.idle:
        note(f"{', '.join(options.idle)} left out: no model is trained anew")
    if isinstance(options, Forecast | Impute | Refine | Anomaly):
        _refuse_twins(series)
    model = getattr(options, "chosen", None) or (None if options.data is None else _without_training(options, series))
    work = "fills gaps" if isinstance(options, Impute) else "forecasts" if forecast_only else None
    if isinstance(options, Impute) and not options.hide and model is not None:
        windows = 0  # nothing is to be scored, nor trained on
    split = _split(series, horizon, windows, work, model is not None)
    named, covariates = None, ""
    if isinstance(options, Covariates):
        named, covariates = OF_COLUMNS, " ".join(f"--dynamic {name}" for name in series.origin.ahead)
    if not isinstance(options, Impute):
        _refuse_unobserved(split, horizon, covariates)
    if forecast_only:
        series.refuse_beyond(horizon)
        if covariates:
            note(f"what is forecast comes after the rows without a value; {covariates} takes them for what is to come")
    unscored = summarised([f"series {item!r} is not scored: {why}" for item, why in split.skipped.items()])
    for line in [*series.remarks(), *unscored] if work else series.remarks(split.skipped):
        note(line)
    if series.origin.unused and not (forecast_only and covariates):
        remedy = "; --dynamic and --static name covariates" if named else ""
        note(f"{unused_columns(series.origin.unused)}{remedy}")
    return Job(series, split, horizon, options.data is None, model, named)


def _read(options: Series, embedded_windows: int, share: float) -> tuple[SeriesSet, int, int | None]:
    """The series, the steps to forecast, and the test windows; None where neither they nor a share of the series are
    given. Arguments and errors are those of `load_job`."""
    horizon, windows = options.prediction_length, options.windows
    if options.data is None:
        horizon = EMBEDDED["pjm_hourly"].prediction_length if horizon is None else horizon
        return _embedded(options), horizon, embedded_windows if windows is None else windows
    horizon = _saved_horizon(options) if horizon is None else horizon
    if horizon is None and options.forecasts:
        raise ConfigError("--prediction-length is needed with --data: the steps to forecast, and of each test window")
    series = _of_table(options, options.data)
    horizon = _usual_horizon(series, windows != 0) if horizon is None else horizon
    if share and windows is None:
        usual = float(np.median([entry["target"].shape[-1] for entry in series]))
        windows = max(1, int(share * usual // checked(Count, prediction_length=horizon)))
    return series, horizon, windows


def _embedded(options: Series) -> SeriesSet:
    """The series that ship with the package.

    Raises:
        ConfigError: options are given that only a table has a use for, or another frequency.
    """
    if options.of_table:
        raise ConfigError(
            f"{', '.join(options.of_table)}: the embedded data has no columns to name; give --data, or leave it out"
        )
    series = embedded_series()
    if options.freq is not None and normalise_freq(options.freq) != series.freq:
        raise ConfigError(
            f"--freq {options.freq} does not fit the embedded data, which is hourly; leave it out, or give --data"
        )
    return series


def _of_table(options: Series, data: Path) -> SeriesSet:
    """The series that --data names, of one channel each.

    Raises:
        ConfigError: they have several channels; or as `load_dataset`.
        DataError: as `load_dataset`.
    """
    series = load_dataset(
        str(data),
        freq=options.freq,
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
    return series


def _refuse_twins(series: SeriesSet) -> None:
    """Raise DataError if two series have the same name, by which the tables of results tell them apart; those of a
    table have names of their own."""
    counts = Counter(str(entry["item_id"]) for entry in series)
    twins = [name for name, count in counts.items() if count > 1]
    if twins:
        more = f", and {len(twins) - 1} more of {counted(len(counts), 'name')} too" if len(twins) > 1 else ""
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
    steps = counted(horizon, "step")
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
            f"the longest series has {counted(longest, 'value')}, too few to hold "
            f"{counted(horizon, 'step')} out: nothing is scored, and {_UNSCORED[work]}"
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
