"""`tsdiff forecast`: train (or reuse) a model, forecast the held-out windows and the future, score and draw."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast

from shared.console.command import claim_output, given, note, prepare, show, status
from shared.files.io import write_csv, write_json, write_text
from tsdiff.commands.common import Job, fine_tuned_predictor, load_job, predictor_for
from tsdiff.commands.options import Forecast
from tsdiff.data import Entry, candidate_seasons
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


def scored_frame(job: Job, forecasts: list[SampleForecast]) -> pd.DataFrame:
    """Forecasts of the test windows beside what happened."""
    frame = forecasts_to_frame(forecasts, stamp=job.series.stamp)
    frame["actual"] = [value for label in job.split.test.label for value in label["target"]]
    return job.series.origin.restored(frame)


def knows_future(entry: Entry, job: Job, predictor: TSDiffPredictor) -> bool:
    """Whether the covariates of a series, if the model takes any, reach over the horizon after its end."""
    dynamic = entry.get("feat_dynamic_real") if predictor.model.config.dynamic_features else None
    return dynamic is None or np.shape(dynamic)[-1] >= np.shape(entry["target"])[-1] + job.prediction_length


def write_results(
    job: Job, predictor: TSDiffPredictor, output: Path, samples: int, train_seconds: float
) -> tuple[Metrics, Metrics]:
    """Forecast, score, and leave everything in `output`."""
    test = job.split.test
    started = time.perf_counter()
    with status("forecasting the test windows"):
        forecasts = list(predictor.predict(test.input, num_samples=samples))
    predict_seconds = time.perf_counter() - started
    nfe = predictor.nfe
    model = evaluate(forecasts, test)
    lag, naive = best_seasonal_naive(test, candidate_seasons(job.series.freq)[:2])
    ready = [entry for entry in job.series if knows_future(entry, job, predictor)]
    with status("forecasting what comes after the data"):
        future = (
            forecasts_to_frame(predictor.predict(ready, num_samples=samples), stamp=job.series.stamp)
            if ready
            else pd.DataFrame()
        )
    if len(ready) < len(job.series):
        note(
            f"{len(job.series) - len(ready)} series have no covariates for the {job.prediction_length} steps "
            "after their end, and are not in future.csv; add rows that hold them, without a target"
        )

    rows = {"TSDiff": model, f"seasonal naive ({lag})": naive}
    show(rich_metrics_table(rows, title=f"{len(forecasts)} windows of {job.prediction_length} steps"))
    for line in sorted({*model.notes, *naive.notes}):
        note(line)
    write_csv(output / "forecasts.csv", scored_frame(job, forecasts))
    write_csv(output / "future.csv", job.series.origin.restored(future))
    write_text(output / "metrics.md", metrics_table(rows))
    plot_forecasts(forecasts, test, output / "forecasts.png", stamp=job.series.stamp)
    metrics = {
        "model": model.as_dict(),
        "seasonal_naive": naive.as_dict(),
        "seconds": {"train": round(train_seconds, 2), "predict": round(predict_seconds, 2)},
        "nfe": nfe,
    }
    write_json(output / "metrics.json", metrics)
    return model, naive


def main(options: Forecast) -> None:
    """Train TSDiff, or take a model; forecast, score, and leave everything in --output."""
    prepare(options.threads)
    chosen = options.chosen  # before the work, for what it refuses
    claim_output(options.output)
    job = load_job(options)
    sampling = given(guidance=options.guidance, seed=options.seed)
    if options.minutes is None:
        predictor, seconds = predictor_for(job, options, sampling)
    else:
        predictor, seconds = fine_tuned_predictor(job, options, str(chosen), options.minutes, sampling)
    write_results(job, predictor, options.output, options.samples, seconds)
    show(f"results: {options.output}/ (forecasts.png, forecasts.csv, future.csv, metrics.json, metrics.md)")
