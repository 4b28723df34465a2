"""`tsdiff forecast`: train (or reuse) a model, forecast the held-out windows and the future, score and draw."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast

from shared.console.command import claim_output, given, note, prepare, show
from shared.console.progress import track
from shared.errors import DataError, counted
from shared.files.io import write_csv, write_json, write_text
from tsdiff.commands.common import DECIDED, forecaster_for
from tsdiff.commands.job import Job, load_job
from tsdiff.commands.matching import Forecaster
from tsdiff.commands.options import Forecast
from tsdiff.commands.told import told_kinds
from tsdiff.data import Entry, candidate_seasons
from tsdiff.data.clocks import tell_changes
from tsdiff.data.covariates import DYNAMIC
from tsdiff.evaluation.metrics import (
    Metrics,
    best_seasonal_naive,
    evaluate,
    forecasts_to_frame,
    metrics_table,
    rich_metrics_table,
)
from tsdiff.evaluation.plots import plot_forecasts
from tsdiff.predictor import TSDiffPredictor
from tsdiff.tasks.suited import SUITED, Suited


def scored_frame(job: Job, forecasts: list[SampleForecast]) -> pd.DataFrame:
    """Forecasts of the test windows beside what happened."""
    frame = forecasts_to_frame(forecasts, stamp=job.series.stamp)
    frame["actual"] = [value for label in job.split.test.label for value in label["target"]]
    return job.series.origin.restored(frame)


def ready_for_future(job: Job, predictor: Forecaster) -> list[Entry]:
    """The series, to forecast what comes after them: those whose covariates do not reach so far are left out, or
    forecast without where the model takes none; which is noted.

    Raises:
        DataError: none is left, and there are no test windows either.
    """
    takes, helped = predictor.config.dynamic_features, predictor.sampling.covariates
    if not takes and not helped:
        return list(job.series)
    ready, lacking = [], []
    for entry in job.series:
        dynamic = entry.get(DYNAMIC)
        steps = np.shape(entry["target"])[-1] + job.prediction_length
        if dynamic is None or np.shape(dynamic)[-1] >= steps:
            ready.append(entry)
            continue
        lacking.append(entry["item_id"])
        if not takes:
            ready.append({name: value for name, value in entry.items() if name != DYNAMIC})
    if not ready and not len(job.split.test):
        raise DataError(
            f"no series has covariates for the {job.prediction_length} steps after its end, and nothing is scored: add "
            "rows that hold them, without a target, or leave --windows 0 out"
        )
    if lacking:
        what = "are not in future.csv" if takes else "are forecast without them in future.csv"
        note(
            f"{len(lacking)} series have no covariates for the {job.prediction_length} steps after their end, and "
            f"{what}; add rows that hold them, without a target"
        )
    return ready


@dataclass(frozen=True)
class Scored:
    """Forecasts of the test windows, and how good they are.

    Attributes:
        forecasts: in the order of the windows.
        model, naive: scores.
        lag: of the seasonal naive.
    """

    forecasts: list[SampleForecast]
    model: Metrics
    naive: Metrics
    lag: int


def drawn(predictor: Forecaster, entries: Iterable[Entry], total: int, samples: int, what: str) -> list[Any]:
    """Forecasts, with a count while they are made."""
    return list(track(predictor.predict(entries, num_samples=samples), f"forecasting {what}", "series", total=total))


def score(job: Job, predictor: Forecaster, output: Path, samples: int) -> Scored:
    """Forecast the test windows, and write how good the forecasts are."""
    test = job.split.test
    forecasts = drawn(predictor, test.input, len(test), samples, "test windows")
    model = evaluate(forecasts, test)
    lag, naive = best_seasonal_naive(test, candidate_seasons(job.series.freq)[:2])
    rows = {"TSDiff": model, f"seasonal naive ({lag})": naive}
    title = f"{counted(len(forecasts), 'window')} of {counted(job.prediction_length, 'step')}"
    show(rich_metrics_table(rows, title=title))
    for line in sorted({*model.notes, *naive.notes}):
        note(line)
    write_csv(output / "forecasts.csv", scored_frame(job, forecasts))
    write_text(output / "metrics.md", metrics_table(rows))
    plot_forecasts(forecasts, test, output / "forecasts.png", stamp=job.series.stamp)
    return Scored(forecasts, model, naive, lag)


def write_results(job: Job, predictor: Forecaster, output: Path, samples: int, train_seconds: float) -> str:
    """Forecast, score where there are test windows, and leave everything in `output`; returns what was done, in a
    line."""
    started = time.perf_counter()
    scored = score(job, predictor, output, samples) if len(job.split.test) else None
    predict_seconds = time.perf_counter() - started
    ready = ready_for_future(job, predictor)
    started = time.perf_counter()
    future = drawn(predictor, ready, len(ready), samples, "what comes after the data") if ready else []
    seconds = predict_seconds if scored else time.perf_counter() - started
    made = forecasts_to_frame(future, stamp=job.series.stamp) if future else pd.DataFrame()
    write_csv(output / "future.csv", job.series.origin.restored(made))
    if scored is None:
        for name in ("forecasts.csv", "metrics.md"):  # of an earlier run
            (output / name).unlink(missing_ok=True)
        unknown = np.full(job.prediction_length, np.nan)
        pairs = [(entry, {"item_id": entry["item_id"], "target": unknown}) for entry in ready]
        plot_forecasts(future, pairs, output / "forecasts.png", stamp=job.series.stamp)
    scores = {} if scored is None else {"model": scored.model.as_dict(), "seasonal_naive": scored.naive.as_dict()}
    timed = {"train": round(train_seconds, 2), "predict": round(seconds, 2)}
    write_json(output / "metrics.json", {**scores, "seconds": timed, "nfe": predictor.nfe})
    return told(job, scored, future, samples, regressed=not predictor.config.dynamic_features)


def told(job: Job, scored: Scored | None, future: Sequence[SampleForecast], samples: int, regressed: bool) -> str:
    """What was forecast, and what was decided from the data, in a line; `regressed`: the model takes no covariates
    itself."""
    ahead, each = counted(job.prediction_length, "step"), counted(samples, "sample")
    parts = [f"{len(job.series)} series of {job.series.freq!r}, {ahead} ahead, {each} each"]
    if scored is None:
        parts.append("not scored")
    else:
        crps, naive = scored.model.crps, scored.naive.crps
        beside = f", {crps / naive:.2f} × that of the seasonal naive" if naive and np.isfinite(naive) else ""
        windows = counted(len(scored.forecasts), "window")
        parts.append(f"CRPS {crps:.4g} on {windows}{beside}")
    decided = _decided(future or (scored.forecasts if scored else []))
    parts += told_kinds(decided)
    if regressed and decided and any(entry.get(DYNAMIC) is not None for entry in job.series):
        parts.append(_helped(decided, _decided(scored.forecasts if scored else [])))
    return "; ".join(parts)


def _decided(forecasts: Iterable[SampleForecast]) -> list[Suited]:
    return [one.info[SUITED] for one in forecasts if isinstance(one.info, dict) and SUITED in one.info]


def _helped(future: Sequence[Suited], scored: Sequence[Suited]) -> str:
    """What covariates do for what comes next; where they do not reach so far, for the windows that are scored."""
    for decided, what in ((future, ""), (scored, " of the scored windows")):
        gains = [one.gain for one in decided if one.gain]
        if gains:
            mean = 100 * float(np.mean(gains))
            return f"covariates help {len(gains)}{what}: {mean:.0f} % less error in held-out parts of their past"
    return "covariates help none, and are not used"


def main(options: Forecast) -> None:
    """Train TSDiff, or take a model; forecast, score, and leave everything in --output."""
    if options.is_scaled:
        from tsdiff.commands.scaled import forecast

        forecast(options)
        return
    prepare(options.threads)
    _ = options.chosen  # before the work, for what it refuses
    claim_output(options.output)
    job = load_job(options, forecast_only=True)
    job.series.tell_ended(job.prediction_length)
    job.series.tell_stuck()
    tell_changes(job.series.origin, [*job.split.test.input, *job.series], job.prediction_length)
    sampling = {
        **given(guidance=options.guidance, seed=options.seed),
        **DECIDED,
        **options.limits,
        "covariates": bool(job.series.layout.dynamic),
    }
    predictor, seconds = forecaster_for(job, options, sampling)
    line = write_results(job, predictor, options.output, options.samples, seconds)
    tuned = "TSDiff fine-tuned" if options.minutes is not None else f"TSDiff {job.model or 'trained'}"
    show(f"{tuned if isinstance(predictor, TSDiffPredictor) else predictor}: {line}")
    scores = "forecasts.csv, metrics.md, " if len(job.split.test) else ""
    show(f"results: {options.output}/ ({scores}forecasts.png, future.csv, metrics.json)")
