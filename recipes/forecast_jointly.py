"""Forecast several channels at once, so that sums and differences of them have honest intervals too.

    python recipes/forecast_jointly.py                                  four regions of the embedded electricity grid
    python recipes/forecast_jointly.py --data wide.csv --freq D --prediction-length 14     a column for each channel

One model draws all channels together. Beside it stand one model of the single channels, whose samples know nothing of
each other, and the joint model's own samples shuffled within each channel, which shows what the dependence alone is
worth. Scored by the CRPS of single channels, by the CRPS of their sum and by the energy score.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from gluonts.dataset.split import TestData
from gluonts.model.forecast import SampleForecast

from shared.console.command import claim_output, prepare, run, show, show_lines
from shared.console.tables import markdown
from shared.errors import ConfigError, DataError
from shared.files.io import write_json, write_text
from tsdiff import TSDiffEstimator
from tsdiff.data import Entry, SeriesSet, embedded_series, load_dataset, normalise_freq, split_windows
from tsdiff.estimator import DEFAULT_TRAINING
from tsdiff.evaluation.joint import joint_metrics
from tsdiff.evaluation.metrics import evaluate
from tsdiff.evaluation.plots import plot_forecasts
from tsdiff.sampling.settings import Sampling

REGIONS = ("AEP", "DAYTON", "DEOK", "DUQ")
COLUMNS = ("CRPS of channels", "CRPS of their sum", "energy score", "90 % interval of the sum covers")


def stacked(series: SeriesSet) -> Entry:
    """Series of one span as a single one with a channel for each.

    Raises:
        DataError: they differ in start or length, or there is but one.
    """
    entries = list(series)
    if len(entries) < 2:
        raise DataError(
            f"there is one channel, {entries[0]['item_id']!r}, and no other to be drawn with; give a wide table "
            "of several, or take recipes/forecast.py"
        )
    spans = {(entry["start"], len(entry["target"])) for entry in entries}
    if len(spans) > 1:
        raise DataError("the channels differ in start or length; cut them to one span first")
    return {
        "item_id": "+".join(str(entry["item_id"]) for entry in entries),
        "start": entries[0]["start"],
        "target": np.stack([entry["target"] for entry in entries]),
    }


def apart(entry: Entry) -> list[Entry]:
    """The channels of a series as series of their own."""
    return [{**entry, "item_id": f"channel {n}", "target": target} for n, target in enumerate(entry["target"])]


def shuffled(forecasts: list[SampleForecast], seed: int) -> list[SampleForecast]:
    """The same samples of each channel, in an order of its own: what the channels would be without dependence."""
    rng = np.random.default_rng(seed)
    made = []
    for forecast in forecasts:
        samples = np.stack([rng.permutation(channel) for channel in np.moveaxis(forecast.samples, 2, 0)], axis=2)
        made.append(SampleForecast(samples, forecast.start_date, item_id=forecast.item_id))
    return made


def summed(forecasts: list[SampleForecast], test: TestData) -> tuple[list[SampleForecast], list[tuple[Entry, Entry]]]:
    """Forecasts and pairs of the sum over channels."""
    pairs = [
        ({**past, "target": past["target"].sum(axis=0)}, {**label, "target": label["target"].sum(axis=0)})
        for past, label in test
    ]
    return [forecast.copy_aggregate(np.sum) for forecast in forecasts], pairs


def scores(forecasts: list[SampleForecast], test: TestData) -> dict[str, float]:
    """By the names of `COLUMNS`."""
    joint = joint_metrics(forecasts, test)
    cover = evaluate(*summed(forecasts, test)).coverage_90
    values = (evaluate(forecasts, test).crps, joint.crps_sum, joint.energy_score, cover)
    return dict(zip(COLUMNS, values, strict=True))


def compare(
    entry: Entry, freq: str, horizon: int, windows: int, steps: int, samples: int, seed: int
) -> tuple[dict[str, dict[str, float]], list[SampleForecast], TestData, float]:
    """Train both models on what comes before the windows; scores by model, joint forecasts, windows, seconds."""
    split = split_windows([entry], horizon, windows)
    training = replace(DEFAULT_TRAINING, max_steps=steps, seed=seed)
    channels = len(entry["target"])
    started = time.perf_counter()
    settings: dict[str, Any] = {"training": training, "sampling": Sampling(seed=seed)}
    together = TSDiffEstimator(freq, horizon, channels=channels, **settings).train(split.train)
    single = TSDiffEstimator(freq, horizon, **settings).train([part for one in split.train for part in apart(one)])
    seconds = time.perf_counter() - started
    joint = list(together.predict(split.test.input, num_samples=samples))
    alone = [
        SampleForecast(
            np.stack([forecast.samples for forecast in single.predict(apart(past), num_samples=samples)], axis=2),
            forecast.start_date,
            item_id=forecast.item_id,
        )
        for past, forecast in zip(split.test.input, joint, strict=True)
    ]
    rows = {
        "all channels by one model": scores(joint, split.test),
        "the same samples, shuffled within channels": scores(shuffled(joint, seed), split.test),
        "each channel by itself": scores(alone, split.test),
    }
    return rows, joint, split.test, seconds


def main(
    data: Annotated[Path | None, typer.Option(help="Wide table: timestamps, and a column for each channel.")] = None,
    freq: Annotated[str | None, typer.Option(help="Frequency; found if left out.")] = None,
    prediction_length: Annotated[int, typer.Option(help="Steps to forecast.")] = 24,
    windows: Annotated[int, typer.Option(help="Test windows at the end.")] = 7,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/forecast_jointly"),
    steps: Annotated[int, typer.Option(help="Training steps of each model.", min=1)] = 2000,
    samples: Annotated[int, typer.Option(help="Samples of each forecast.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Of training and samples.")] = 0,
) -> None:
    """Train, forecast, score and draw."""
    prepare(1)
    claim_output(output)
    if data is None:
        if freq is not None and normalise_freq(freq) != embedded_series().freq:
            raise ConfigError(
                f"--freq {freq} does not fit the embedded data, which is hourly; leave it out, or give --data"
            )
        series = embedded_series()
        series = replace(series, entries=[entry for entry in series if entry["item_id"] in REGIONS])
    else:
        series = load_dataset(data, freq=freq, layout="wide")
        series.warn()
    entry = stacked(series)
    rows, joint, test, seconds = compare(entry, series.freq, prediction_length, windows, steps, samples, seed)
    cells = ([name, *(f"{values[column]:.4g}" for column in COLUMNS)] for name, values in rows.items())
    table = markdown(["forecast", *COLUMNS], cells)
    write_text(output / "metrics.md", table)
    write_json(output / "metrics.json", {**rows, "seconds": {"train": round(seconds, 2)}})
    title = f"the sum of {len(series)} channels"
    plot_forecasts(*summed(joint, test), output / "sum.png", title=title, stamp=series.stamp)
    show_lines(table)
    show(f"results: {output}/ (metrics.md, metrics.json, sum.png)")


if __name__ == "__main__":
    run(main, __doc__)
