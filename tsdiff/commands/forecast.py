"""`tsdiff forecast`: train (or reuse) a model, forecast the held-out windows and the future, score and draw."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from gluonts.model.forecast import SampleForecast

from shared.errors import ConfigError
from shared.files.io import write_json, write_text
from tsdiff.commands.common import (
    BUNDLED_MODEL,
    ContextOption,
    DataOption,
    DeviceOption,
    DynamicOption,
    FineTuneOption,
    FreqOption,
    HorizonOption,
    ItemOption,
    Job,
    ModelOption,
    NoTrainOption,
    RetrainOption,
    SamplingSeedOption,
    StaticOption,
    StepsOption,
    TargetOption,
    ThreadsOption,
    TimeOption,
    WindowsOption,
    claim_output,
    fine_tuned_predictor,
    given,
    load_job,
    note,
    predictor_for,
    prepare,
    show,
    status,
    without_training,
    write_csv,
)
from tsdiff.data import Entry, candidate_seasons
from tsdiff.estimator import DEFAULT_TRAINING
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
from tsdiff.sampling.settings import Energy


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


def main(
    data: DataOption = None,
    freq: FreqOption = None,
    prediction_length: HorizonOption = None,
    target: TargetOption = "target",
    item_id: ItemOption = None,
    timestamp: TimeOption = None,
    dynamic: DynamicOption = None,
    static: StaticOption = None,
    windows: WindowsOption = None,
    context_length: ContextOption = None,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/forecast"),
    model: ModelOption = None,
    no_train: NoTrainOption = False,
    minutes: FineTuneOption = None,
    retrain: RetrainOption = False,
    steps: StepsOption = DEFAULT_TRAINING.max_steps,
    samples: Annotated[int, typer.Option(help="Samples of each forecast.")] = 100,
    guidance: Annotated[
        Energy | None, typer.Option(help="Energy of the self-guidance [as --model was saved, or mse].")
    ] = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    seed: SamplingSeedOption = None,
) -> None:
    """Train TSDiff, forecast with self-guidance, score beside seasonal naive."""
    prepare(threads)
    if samples < 1:
        raise ConfigError(f"--samples {samples}: need at least one sample of each forecast")
    claim_output(output)
    job = load_job(data, freq, prediction_length, windows, target, item_id, timestamp, dynamic, static)
    sampling = given(guidance=guidance, seed=seed)
    if minutes is None:
        predictor, seconds = predictor_for(
            job,
            output,
            model=without_training(model, no_train, retrain),
            retrain=retrain,
            steps=steps,
            context_length=context_length,
            sampling=sampling,
            device=device,
            seed=seed or 0,
        )
    else:
        if no_train or retrain:
            raise ConfigError("--fine-tune contradicts --no-train and --retrain; leave them out")
        predictor, seconds = fine_tuned_predictor(
            job, output, minutes, model=model or BUNDLED_MODEL, sampling=sampling, device=device
        )
    write_results(job, predictor, output, samples, seconds)
    show(f"results: {output}/ (forecasts.png, forecasts.csv, future.csv, metrics.json, metrics.md)")
