"""Anomaly scores of series: how unlikely a model finds each step, and long frames of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, Unpack

import numpy as np
import pandas as pd

from shared.checks import Count, checked
from shared.console.notes import tell
from shared.errors import ConfigError, DataError
from tsdiff.data import Stamp, load_dataset
from tsdiff.data.clocks import tell_changes_in_scored
from tsdiff.data.columns import Columns
from tsdiff.data.entries import Entry, Series, named_entries
from tsdiff.data.named import by_names
from tsdiff.model.model import TSDiff
from tsdiff.tasks.anomaly.forecasts import ForecastScoring, forecast_scores
from tsdiff.tasks.anomaly.scored import SeriesScores as SeriesScores
from tsdiff.tasks.anomaly.thresholds import Thresholds as Thresholds
from tsdiff.tasks.anomaly.thresholds import against_recent as against_recent
from tsdiff.tasks.anomaly.thresholds import checked_thresholds, listed_scores
from tsdiff.tasks.anomaly.thresholds import fit_thresholds as fit_thresholds
from tsdiff.tasks.likelihood import LikelihoodSettings, WindowLikelihoods, refuse_conditional, series_likelihoods
from tsdiff.windows.anchors import seasons_of
from tsdiff.windows.gaps import stretches as stretches
from tsdiff.windows.series import observed_series

Method = Literal["forecast", "elbo", "ode"]
ScoringSettings = ForecastScoring | LikelihoodSettings

DEFAULT_SCORING = LikelihoodSettings(method="elbo", levels=8, log_snr_end=1.0)
"""Down to noise of e^{-1} = 0.37 network units: below it the network copies what it sees, whatever it is
(`benchmarks/anomaly.py` compares others). Of models without anchors; others are scored by `ForecastScoring()`."""


_INSTEAD = {"id_column": "item_id", "id_col": "item_id", "timestamp_column": "timestamp", "time_col": "timestamp"}
"""What others call the columns of a frame, `predict_df` among them."""


class HoldsModel(Protocol):
    """What holds a trained model, such as a `tsdiff.predictor.TSDiffPredictor`."""

    model: TSDiff


def scoring(
    method: Method, stride: int | None = None, seed: int = 0, calendar_days: bool | None = None
) -> ScoringSettings:
    """How steps are scored by a method, as `tsdiff anomaly` does.

    Args:
        method: "forecast", each step by a forecast of it (models with anchors, as the bundled one); "elbo", by its part
            of a bound on the likelihood of windows; "ode", by their exact likelihood.
        stride: steps that are forecast at a time, or from one window to the next; None takes the usual.
        seed: of the noise that likelihoods are measured with.
        calendar_days: whether forecasts know the calendar; None takes the usual.

    Raises:
        ConfigError: an unknown method, a stride below 1, or a calendar for a method that knows none.
    """
    method, stride = checked(Method, method=method), checked(Count | None, stride=stride)
    if method == "forecast":
        usual = ForecastScoring()
        steps = usual.steps if stride is None else stride
        return replace(usual, steps=steps, calendar_days=calendar_days is not False)
    if calendar_days is not None:
        raise ConfigError(
            f"calendar_days={calendar_days}: scores by {method!r} know no calendar; leave it out, or score by forecasts"
        )
    base = DEFAULT_SCORING if method == "elbo" else LikelihoodSettings(probes=2)
    return replace(base, stride=stride, seed=seed)


def usual_method(model: TSDiff) -> Method:
    """That of `anomaly_scores` without settings: "forecast" of models with anchors, "elbo" of others."""
    return "forecast" if model.config.scaling == "anchor" else "elbo"


def anomaly_scores(
    model: TSDiff | HoldsModel,
    data: Entry | Iterable[Entry] | pd.DataFrame,
    settings: ScoringSettings | None = None,
    **columns: Unpack[Columns],
) -> list[SeriesScores]:
    """Score every step of each series.

    Args:
        model: trained, or the predictor around it; one of all frequencies adapts itself to a frame's.
        data: a GluonTS entry, a dataset of them, or a frame, long or wide.
        settings: how steps are scored: by forecasts of them (`ForecastScoring`, which needs a model with anchors), or
            by the likelihood of windows (`LikelihoodSettings`; "ode" tells of windows, and places an anomaly only as
            well as they overlap). None takes `ForecastScoring()` of models with anchors, as the bundled one, and of
            others `DEFAULT_SCORING`, with windows a prediction length apart.
        columns: target, item_id, timestamp of a frame; found by their usual names when absent (`load_dataset`).

    Returns:
        One result a series, in order. Series of which no window could be scored are in it, with NaN for scores and a
        warning.

    Raises:
        DataError: no series can be scored at all; see `series_likelihoods` too.
        ConfigError: forecasts of a model without anchors, or likelihoods of one that has none; or what is no model, or
            no such settings.
    """
    if not isinstance(model, TSDiff) and not isinstance(getattr(model, "model", None), TSDiff):
        raise ConfigError(
            f"model={model!r}: need a model or the predictor around it, TSDiffPredictor.from_pretrained('default')"
        )
    if not isinstance(settings, ScoringSettings | None):
        raise ConfigError(f"settings={settings!r}: need ForecastScoring() or LikelihoodSettings(), or None")
    model = model if isinstance(model, TSDiff) else model.model
    settings = settings or scoring(usual_method(model))
    _refuse_unsuited(model, settings)
    _refuse_options(columns)
    entries: Iterable[Entry]
    dated: dict[str, Any] = {}
    if isinstance(data, pd.DataFrame):
        series = load_dataset(data, freq=None if model.config.awaits_freq else model.config.freq, **columns)
        series.warn()
        if model.config.awaits_freq:
            model = model.adapted(series.freq, min(ForecastScoring().steps, model.config.prediction_length))
        origin = series.origin
        tell_changes_in_scored(origin, series, settings.last if isinstance(settings, ForecastScoring) else None)
        entries, dated = series, {"stamp": series.stamp, "zone": origin.zone, "labels": origin.labels}
    else:
        entries = [dict(data)] if isinstance(data, Mapping) else data
    named = named_entries(by_names(entries, [model]))
    read = (observed_series(entry, model.config, name) for name, entry in named)
    results = [replace(_scores(model, series, settings), **dated) for series in read]
    if not any(np.isfinite(result.score).any() for result in results):
        missing = all(_ends_missing(np.atleast_2d(result.target)[0], settings) for result in results)
        raise DataError(f"none of {len(results)} series could be scored: {_why_none(model, settings, missing)}")
    return results


def _refuse_options(columns: Mapping[str, Any]) -> None:
    """Raise ConfigError for what names no column; the message tells ours."""
    for name, value in columns.items():
        if name == "freq":
            raise ConfigError(f"freq={value!r}: the model's is taken; predictor.adapted({value!r}, 24) changes it")
        if name not in Columns.__annotations__:
            ours = _INSTEAD.get(name)
            known = ", ".join(Columns.__annotations__)
            raise ConfigError(
                f"{name}={value!r}: " + (f"use {ours}=…" if ours else f"no such option; there are {known}")
            )


def _refuse_unsuited(model: TSDiff, settings: ScoringSettings) -> None:
    """Raise ConfigError where a model cannot be scored so."""
    if isinstance(settings, LikelihoodSettings):
        refuse_conditional(model)
    elif usual_method(model) != "forecast":
        raise ConfigError(
            f"this model has no anchors to score by (scaling={model.config.scaling!r}); leave the settings out, or "
            "take LikelihoodSettings"
        )


def _ends_missing(values: np.ndarray, settings: ScoringSettings) -> bool:
    """Whether the steps at the end that alone are scored have no value, while some before them has."""
    last = settings.last if isinstance(settings, ForecastScoring) else None
    return last is not None and bool(np.isnan(values[-last:]).all() and not np.isnan(values).all())


def _why_no_score(values: np.ndarray, settings: ForecastScoring) -> str:
    if _ends_missing(values, settings):
        return f"its last {settings.last} steps, which alone are scored, have no value"
    return "nothing that is to be scored has a value before it"


def _why_none(model: TSDiff, settings: ScoringSettings, missing: bool) -> str:
    if isinstance(settings, ForecastScoring):
        if missing:
            return f"their last {settings.last} steps have no value; raise last={settings.last}, or leave it out"
        return "a forecast needs a value before the one that is scored; give longer series"
    return (
        f"every window of {model.config.length} steps misses more than {settings.max_missing:.0%} of its values; give "
        "longer series, or raise max_missing"
    )


def anomalies_to_frame(
    scores: Iterable[SeriesScores], thresholds: Thresholds | None = None, stamp: Stamp | None = None
) -> pd.DataFrame:
    """A long frame: item_id (as the frame that was scored has it), timestamp (`SeriesScores.times`), value (value_0,
    value_1, … with several channels), score, and, with thresholds, threshold and anomaly (bool).

    Steps without a score keep their row, with an empty score, and are no anomaly.

    Raises:
        ConfigError: no scores, or no thresholds.
        DataError: no series.
    """
    frames, scores = [], listed_scores(scores)
    thresholds = None if thresholds is None else checked_thresholds(thresholds)
    for result in scores:
        columns: dict[str, Any] = {
            "item_id": result.item_id,
            "timestamp": result.times(stamp),
            **_values(result.target),
            "score": result.score,
        }
        if thresholds is not None:
            columns |= {"threshold": thresholds.of(result.item_id), "anomaly": thresholds.exceeded(result)}
        frames.append(pd.DataFrame(columns))
    if not frames:
        raise DataError("there is no series to make a frame of")
    return _with_ids(pd.concat(frames, ignore_index=True), scores)


def _with_ids(frame: pd.DataFrame, scores: Sequence[SeriesScores]) -> pd.DataFrame:
    """Results with the ids of the one frame that was scored, in their own dtype."""
    labels = scores[0].labels if scores else None
    if labels is None or not len(frame) or any(one.labels is not labels for one in scores):
        return frame
    return frame.assign(item_id=labels.loc[frame["item_id"]].array)


def _values(target: np.ndarray) -> dict[str, np.ndarray]:
    return {"value": target} if target.ndim == 1 else {f"value_{i}": row for i, row in enumerate(target)}


def stretches_to_frame(scores: Iterable[SeriesScores], thresholds: Thresholds) -> pd.DataFrame:
    """One row a stretch above the threshold: item_id, first and last timestamp (`SeriesScores.times`), steps, the
    largest score, threshold; the largest excess over the threshold first."""
    columns = ["item_id", "first", "last", "steps", "score", "threshold"]
    rows: list[tuple[Any, ...]] = []
    scores, thresholds = listed_scores(scores), checked_thresholds(thresholds)
    for result in scores:
        times, limit = result.times(), thresholds.of(result.item_id)
        rows += [
            (result.item_id, times[first], times[end - 1], end - first, float(result.score[first:end].max()), limit)
            for first, end in stretches(thresholds.exceeded(result))
        ]
    rows.sort(key=lambda row: row[5] - row[4])
    return _with_ids(pd.DataFrame(rows, columns=columns), scores)


def _scores(model: TSDiff, series: Series, settings: ScoringSettings) -> SeriesScores:
    target = np.asarray(series.target, dtype=np.float64)
    if isinstance(settings, ForecastScoring):
        seasons = seasons_of(model.config.freq)
        values, start = series.values[:, 0].astype(np.float64), series.start if settings.calendar_days else None
        score, early = forecast_scores(values, seasons, settings, model.weighing, start)
        if np.isnan(score).all():
            tell(f"series {series.name!r} has no score: {_why_no_score(values, settings)}")
        return SeriesScores(series.name, series.start, target, score, early=early)
    missing = np.asarray(np.isnan(np.atleast_2d(target)).all(axis=0))
    score = step_scores(series_likelihoods(model, series, settings), len(missing))
    score[missing] = np.nan
    lost = int((np.isnan(score) & ~missing).sum())
    if lost:
        tell(f"series {series.name!r}: {lost} steps lie in no scored window and have no score")
    return SeriesScores(series.name, series.start, target, score)


def step_scores(windows: WindowLikelihoods, total: int) -> np.ndarray:
    """The score of each of `total` steps, averaged over the windows that cover it; NaN where none does."""
    sums, counts = np.zeros(total), np.zeros(total)
    for row, first in enumerate(windows.first_scored):
        low, high = max(int(first), 0), int(windows.first[row]) + windows.length
        if windows.steps is None:
            nats = np.full(high - low, -windows.network_log_likelihood[row] / (high - int(first)))
        else:
            nats = -windows.steps[row, windows.length - (high - low) :]
        known = np.isfinite(nats)
        sums[low:high] += np.where(known, nats, 0.0)
        counts[low:high] += known
    return np.divide(sums, counts, out=np.full(total, np.nan), where=counts > 0)
