"""What covariates that are known in the future are worth: the same series forecast with and without them.

    python recipes/forecast_covariates.py                               daily sales with promotions, made by formula
    python recipes/forecast_covariates.py --data sales.csv --freq D --prediction-length 14 --dynamic promotion

The sales made by formula have a known distribution, whose own quantiles show how good a forecast can be at all. With
--data two models are trained, with the columns that --dynamic names and without; forecasts alone are what
`recipes/forecast.py --dynamic` is for.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from gluonts.model.forecast import SampleForecast

from shared.console.command import claim_output, prepare, run, show, show_lines
from shared.errors import ConfigError
from shared.files.io import write_json, write_text
from tsdiff import TSDiffEstimator
from tsdiff.data import Entry, SeriesSet, WindowSplit, load_dataset, split_windows
from tsdiff.estimator import DEFAULT_TRAINING
from tsdiff.evaluation.metrics import Metrics, evaluate, metrics_table
from tsdiff.evaluation.plots import plot_forecasts
from tsdiff.sampling.settings import Sampling

SHOPS, DAYS, HORIZON = 20, 730, 14
WEEK = np.array([0.8, 0.8, 0.9, 1.0, 1.2, 1.4, 0.9])
NOISE = 0.08


def promoted_sales() -> tuple[SeriesSet, dict[str, np.ndarray]]:
    """Daily sales of shops with promotions on random days, and the mean of each day, (days,), by shop.

    Sales are mean × exp(noise), the noise normal and independent; a promotion raises the mean by half.
    """
    rng = np.random.default_rng(0)
    start = pd.Period("2023-01-02", "D")
    entries: list[Entry] = []
    means = {}
    for shop in range(SHOPS):
        promotion = (rng.random(DAYS) < 0.15).astype(np.float32)
        mean = rng.uniform(50, 500) * WEEK[np.arange(DAYS) % 7] * (1 + 0.5 * promotion)
        name = f"shop {shop}"
        means[name] = mean
        target = (mean * np.exp(NOISE * rng.standard_normal(DAYS))).astype(np.float32)
        entries.append({"item_id": name, "start": start, "target": target, "feat_dynamic_real": promotion[None]})
    return SeriesSet(entries, "D"), means


def perfect(split: WindowSplit, means: dict[str, np.ndarray], samples: int, seed: int) -> list[SampleForecast]:
    """Draws from the distribution that the sales have."""
    rng = np.random.default_rng(seed)
    made = []
    for past, label in split.test:
        after = means[label["item_id"]][len(past["target"]) :][: len(label["target"])]
        drawn = after * np.exp(NOISE * rng.standard_normal((samples, len(after))))
        made.append(SampleForecast(drawn, label["start"], item_id=label["item_id"]))
    return made


def bare(series: SeriesSet) -> SeriesSet:
    """The same series without covariates."""
    return SeriesSet([{k: v for k, v in entry.items() if not k.startswith("feat_")} for entry in series], series.freq)


def forecasts_of(
    series: SeriesSet, horizon: int, windows: int, steps: int, samples: int, seed: int
) -> tuple[list[SampleForecast], WindowSplit]:
    """Train on what comes before the windows, and forecast them."""
    split = split_windows(series, horizon, windows)
    layout = series.layout
    estimator = TSDiffEstimator(
        series.freq,
        horizon,
        dynamic_features=layout.dynamic,
        static_features=layout.reals,
        categories=series.cardinalities,
        training=replace(DEFAULT_TRAINING, max_steps=steps, seed=seed),
        sampling=Sampling(seed=seed),
    )
    return list(estimator.train(split.train).predict(split.test.input, num_samples=samples)), split


def compare(
    series: SeriesSet, horizon: int, windows: int, steps: int, samples: int, seed: int
) -> tuple[dict[str, Metrics], list[SampleForecast], WindowSplit]:
    """Scores with and without covariates, and the forecasts with them."""
    informed, split = forecasts_of(series, horizon, windows, steps, samples, seed)
    blind, plain = forecasts_of(bare(series), horizon, windows, steps, samples, seed)
    rows = {"with covariates": evaluate(informed, split.test), "without": evaluate(blind, plain.test)}
    return rows, informed, split


def main(
    data: Annotated[Path | None, typer.Option(help="Long table (CSV, Parquet); default: sales by formula.")] = None,
    freq: Annotated[str | None, typer.Option(help="Frequency; found if left out.")] = None,
    prediction_length: Annotated[int, typer.Option(help="Steps to forecast.")] = HORIZON,
    target: Annotated[str, typer.Option(help="Column of values.")] = "target",
    item_id: Annotated[str | None, typer.Option("--id", help="Column that names the series.")] = None,
    timestamp: Annotated[str | None, typer.Option("--time", help="Column of timestamps.")] = None,
    dynamic: Annotated[
        list[str] | None, typer.Option(help="Column of a covariate that is known in the future; once for each.")
    ] = None,
    windows: Annotated[int, typer.Option(help="Test windows at the end of each series.")] = 3,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/forecast_covariates"),
    steps: Annotated[int, typer.Option(help="Training steps of each model.", min=1)] = 2000,
    samples: Annotated[int, typer.Option(help="Samples of each forecast.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Of training and samples.")] = 0,
) -> None:
    """Train twice, forecast, score and draw."""
    prepare(1)
    claim_output(output)
    means = None
    if data is None:
        of_table = {"--freq": freq, "--target": target != "target", "--id": item_id, "--time": timestamp}
        idle = [name for name, given in {**of_table, "--dynamic": dynamic}.items() if given]
        if idle:
            raise ConfigError(
                f"{', '.join(idle)}: the sales made by formula have no table; give --data, or leave it out"
            )
        series, means = promoted_sales()
    else:
        if not dynamic:
            raise ConfigError("--dynamic is needed with --data: the columns that are known in the future")
        series = load_dataset(
            data, freq=freq, target=target, item_id=item_id, timestamp=timestamp, dynamic=tuple(dynamic)
        )
        series.warn()
    started = time.perf_counter()
    rows, informed, split = compare(series, prediction_length, windows, steps, samples, seed)
    seconds = time.perf_counter() - started
    if means is not None:
        rows["the true distribution"] = evaluate(perfect(split, means, samples, seed), split.test)
    write_text(output / "metrics.md", metrics_table(rows))
    scores = {name: metrics.as_dict() for name, metrics in rows.items()}
    write_json(output / "metrics.json", {**scores, "seconds": round(seconds, 2)})
    plot_forecasts(informed, split.test, output / "forecasts.png", stamp=series.stamp)
    show_lines(metrics_table(rows))
    show(f"results: {output}/ (metrics.md, metrics.json, forecasts.png)")


if __name__ == "__main__":
    run(main, __doc__)
