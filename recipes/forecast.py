"""Train TSDiff on hourly series (or your own) and forecast with intervals: table, CSV, picture, metrics.json.

    python recipes/forecast.py                                   the embedded data: ten regions of an electricity grid
    python recipes/forecast.py --data my.csv --freq D --prediction-length 14 --target sales --id shop --time day
    python recipes/forecast.py --model runs/forecast/model       forecast again with a trained model

The last --windows horizons of every series are held out to score the forecasts beside a seasonal-naive one; what comes
after the end of the data is forecast too. A run that is interrupted goes on where it was; a second run reuses the
trained model as long as data and settings are the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from gluonts.model.forecast import SampleForecast
from rich.console import Console

from shared.errors import CheckpointError, ConfigError, DataError, DiffusionError
from shared.io import atomic_path, write_json, write_text
from shared.training import TrainingConfig, quiet_lightning
from tsdiff import Sampling, TSDiffEstimator, TSDiffPredictor
from tsdiff.config import Energy
from tsdiff.data import (
    EMBEDDED,
    SeriesSet,
    WindowSplit,
    candidate_seasons,
    embedded_series,
    load_table,
    normalise_freq,
    series_from_frame,
    split_windows,
)
from tsdiff.estimator import DEFAULT_TRAINING
from tsdiff.evaluation import (
    Metrics,
    best_seasonal_naive,
    evaluate,
    forecasts_to_frame,
    metrics_table,
    rich_metrics_table,
)
from tsdiff.plots import plot_forecasts

console = Console()
_TRAINED_ON = "trained_on.json"


@dataclass(frozen=True)
class Job:
    """The series, split, and what to forecast."""

    series: SeriesSet
    split: WindowSplit
    prediction_length: int


def load_job(
    data: Path | None,
    freq: str | None,
    prediction_length: int | None,
    windows: int | None,
    target: str,
    item_id: str | None,
    timestamp: str | None,
) -> Job:
    """Read and check the series, and cut the test windows off."""
    if data is None:
        series = embedded_series()
        if freq is not None and normalise_freq(freq) != series.freq:
            raise ConfigError(
                f"--freq {freq} does not fit the embedded data, which is hourly; leave it out, or give --data"
            )
        horizon = EMBEDDED["pjm_hourly"].prediction_length if prediction_length is None else prediction_length
        windows = EMBEDDED["pjm_hourly"].windows if windows is None else windows
    else:
        if prediction_length is None:
            raise ConfigError("--prediction-length is needed with --data: how many steps to forecast")
        horizon, windows = prediction_length, 1 if windows is None else windows
        series = series_from_frame(load_table(data), target=target, item_id=item_id, timestamp=timestamp, freq=freq)
    split = split_windows(series, horizon, windows)
    if all(np.isnan(label["target"]).all() for label in split.test.label):
        raise DataError(
            f"the last {horizon * windows} steps of every series, held out to score the forecasts, hold no observed "
            "value; cut them off, or hold out more with --windows"
        )
    skipped = {**series.skipped, **split.skipped}
    for line in [*series.notes, *(f"series {item!r} left out: {why}" for item, why in skipped.items())][:20]:
        console.print(f"note: {line}", style="yellow", markup=False, highlight=False)
    return Job(series, split, horizon)


def fingerprint(job: Job, estimator: TSDiffEstimator) -> dict[str, Any]:
    """What a trained model depends on: the training data and every setting."""
    digest = hashlib.sha256()
    for entry in job.split.train:
        digest.update(f"{entry['item_id']} {entry['start']}".encode())
        digest.update(entry["target"].tobytes())
    return {
        "data": digest.hexdigest(),
        "config": json.loads(json.dumps(asdict(estimator.config))),
        "training": asdict(estimator.training),
        "batch_size": estimator.batch_size,
    }


def trained_predictor(
    job: Job, estimator: TSDiffEstimator, output: Path, retrain: bool
) -> tuple[TSDiffPredictor, float]:
    """The model of an earlier run with the same data and settings, or a new one; and the seconds of training."""
    wanted = fingerprint(job, estimator)
    key = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
    folder, state = output / "model", output / f"training-{key}"
    if not retrain:
        try:
            saved = json.loads((folder / _TRAINED_ON).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            saved = None
        if isinstance(saved, dict) and saved.get("fingerprint") == wanted:
            try:
                predictor = TSDiffPredictor.from_pretrained(folder, estimator.sampling, estimator.device)
            except CheckpointError as error:
                console.print(f"training again: {error}", style="yellow", markup=False)
            else:
                console.print(f"using the model trained before, {folder} (--retrain trains a new one)", highlight=False)
                return predictor, float(saved.get("seconds", 0.0))
    elif state.is_dir():
        shutil.rmtree(state)
    spent = state / "seconds.json"
    before = float(json.loads(spent.read_text())) if spent.is_file() else 0.0
    if (state / "last.ckpt").is_file():
        console.print(f"going on with the training in {state}", highlight=False)
    started = time.perf_counter()
    try:
        predictor = estimator.train(job.split.train, folder=state)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here", style="yellow")
        raise typer.Exit(130) from None
    finally:
        seconds = before + time.perf_counter() - started
        if state.is_dir():
            write_json(spent, seconds)
    predictor.serialize(folder)
    write_json(folder / _TRAINED_ON, {"fingerprint": wanted, "seconds": seconds})
    shutil.rmtree(state, ignore_errors=True)
    return predictor, seconds


def given_predictor(path: str, job: Job, sampling: Sampling, device: str) -> TSDiffPredictor:
    """The model that --model names, if it fits the data."""
    predictor = TSDiffPredictor.from_pretrained(path, sampling, device)
    if predictor.freq != job.series.freq or predictor.prediction_length != job.prediction_length:
        raise ConfigError(
            f"{path} forecasts {predictor.prediction_length} steps of {predictor.freq!r}, the data asks for "
            f"{job.prediction_length} of {job.series.freq!r}; train a model for them, or change --prediction-length"
        )
    return predictor


def scored_frame(job: Job, forecasts: list[SampleForecast]) -> pd.DataFrame:
    """Forecasts of the test windows beside what happened."""
    frame = forecasts_to_frame(forecasts, stamp=job.series.stamp)
    frame["actual"] = [value for label in job.split.test.label for value in label["target"]]
    return frame


def claim_output(output: Path) -> None:
    """Make the folder for the results, and see before the work whether it takes files."""
    try:
        with atomic_path(output / "metrics.json.check"):
            pass
        (output / "metrics.json.check").unlink()
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be written ({error.strerror}); choose another folder") from error


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame atomically."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g")


def write_results(
    job: Job, predictor: TSDiffPredictor, output: Path, samples: int, train_seconds: float
) -> tuple[Metrics, Metrics]:
    """Forecast, score, and leave everything in `output`."""
    test = job.split.test
    started = time.perf_counter()
    with console.status("forecasting the test windows"):
        forecasts = list(predictor.predict(test.input, num_samples=samples))
    predict_seconds = time.perf_counter() - started
    nfe = predictor.nfe
    model = evaluate(forecasts, test)
    lag, naive = best_seasonal_naive(test, candidate_seasons(job.series.freq)[:2])
    with console.status("forecasting what comes after the data"):
        future = forecasts_to_frame(predictor.predict(job.series, num_samples=samples), stamp=job.series.stamp)

    rows = {"TSDiff": model, f"seasonal naive ({lag})": naive}
    console.print(rich_metrics_table(rows, title=f"{len(forecasts)} windows of {job.prediction_length} steps"))
    for note in {*model.notes, *naive.notes}:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False)
    write_csv(output / "forecasts.csv", scored_frame(job, forecasts))
    write_csv(output / "future.csv", future)
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
    data: Annotated[
        Path | None, typer.Option(help="CSV or Parquet table, one row a value; default: embedded data.")
    ] = None,
    freq: Annotated[
        str | None, typer.Option(help="Frequency of the series (h, D, W, M, 15min, …); found if left out.")
    ] = None,
    prediction_length: Annotated[int | None, typer.Option(help="Steps to forecast; needed with --data.")] = None,
    target: Annotated[str, typer.Option(help="Column of values.")] = "target",
    item_id: Annotated[str | None, typer.Option("--id", help="Column that names the series.")] = None,
    timestamp: Annotated[str | None, typer.Option("--time", help="Column of timestamps.")] = None,
    windows: Annotated[
        int | None, typer.Option(help="Test windows at the end of each series [7 embedded, 1 with --data].")
    ] = None,
    context_length: Annotated[
        int | None, typer.Option(help="Steps of history a window holds; by frequency if left out.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/forecast"),
    model: Annotated[
        str | None, typer.Option(help="Trained model (folder or name) to use instead of training.")
    ] = None,
    retrain: Annotated[bool, typer.Option(help="Train anew even where a trained model fits.")] = False,
    steps: Annotated[int, typer.Option(help="Training steps.")] = DEFAULT_TRAINING.max_steps,
    samples: Annotated[int, typer.Option(help="Samples of each forecast.")] = 100,
    guidance: Annotated[Energy, typer.Option(help="Energy of the self-guidance.")] = "mse",
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU where there is one.")] = "cpu",
    threads: Annotated[
        int, typer.Option(help="CPU threads; more than one only pays on an otherwise idle machine.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of training and samples.")] = 0,
) -> None:
    """Train TSDiff, forecast with self-guidance, score beside seasonal naive."""
    torch.set_num_threads(max(1, threads))
    quiet_lightning()
    if samples < 1:
        raise ConfigError(f"--samples {samples}: need at least one sample of each forecast")
    claim_output(output)
    job = load_job(data, freq, prediction_length, windows, target, item_id, timestamp)
    sampling = Sampling(guidance=guidance, seed=seed)
    if model is not None:
        predictor, seconds = given_predictor(model, job, sampling, device), 0.0
    else:
        training = TrainingConfig(**{**asdict(DEFAULT_TRAINING), "max_steps": steps, "seed": seed})
        estimator = TSDiffEstimator(
            job.series.freq, job.prediction_length, context_length, training=training, sampling=sampling, device=device
        )
        predictor, seconds = trained_predictor(job, estimator, output, retrain)
    write_results(job, predictor, output, samples, seconds)
    console.print(
        f"results: {output}/ (forecasts.png, forecasts.csv, future.csv, metrics.json, metrics.md)", highlight=False
    )


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(help=__doc__)(main)
    try:
        app()
    except DiffusionError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except OSError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
