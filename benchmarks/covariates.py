"""What known covariates are worth: the same model and training with them and without, on series whose answer is known.

Two cases: daily sales with promotions, made by formula, whose true distribution is the floor
(`recipes/forecast_covariates.py`); and the hourly humidity at New York's airports with temperature and dew point known
for the horizon too, which all but determine it (nyc_weather_hourly of the shared data). The second is no forecast of
the weather: it shows that the network uses what it is told. The bundled model, which is not trained on them, has a
regression on covariates (`tsdiff.tasks.covariates`). What is there is not made again.

Example:
    python benchmarks/covariates.py
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.sets import DEFAULT_DATA, DataFolder
from recipes.forecast_covariates import HORIZON, bare, compare, perfect, promoted_sales
from shared.files.io import write_text
from tsdiff.data import SeriesSet, load_folder, split_windows
from tsdiff.evaluation.metrics import Metrics, evaluate
from tsdiff.predictor import TSDiffPredictor

RESULTS = Path("benchmarks/results")
KEYS = ("series", "forecast", "steps", "seed")
SCORES = ("crps", "coverage_90")
SALES, HUMIDITY = "sales with promotions, by formula", "humidity, with temperature and dew point"


def humidity(folder: Path) -> SeriesSet:
    """Relative humidity of three airports with two covariates each, from the training part of nyc_weather_hourly."""
    data = load_folder(folder / "series" / "nyc_weather_hourly").train
    by_name = {str(entry["item_id"]): entry for entry in data}
    entries = []
    for airport in ("EWR", "JFK", "LGA"):
        known = [by_name[f"{airport}_{what}"]["target"] for what in ("temp", "dewp")]
        filled = [np.interp(np.arange(len(row)), np.flatnonzero(~np.isnan(row)), row[~np.isnan(row)]) for row in known]
        entries.append({**by_name[f"{airport}_humid"], "feat_dynamic_real": np.stack(filled).astype(np.float32)})
    return SeriesSet(entries, data.freq)


def measured(case: str, steps: int, seed: int, folder: Path) -> dict[str, Metrics]:
    """Scores of one case by forecast."""
    if case == SALES:
        series, means = promoted_sales()
        rows, _, split = compare(series, HORIZON, 3, steps, 100, seed)
        return {**rows, "the true distribution": evaluate(perfect(split, means, 100, seed), split.test)}
    return compare(humidity(folder), 24, 7, steps, 100, seed)[0]


def bundled(case: str, folder: Path) -> dict[str, Metrics]:
    """Scores of one case by the bundled model."""
    series, horizon, windows = (promoted_sales()[0], HORIZON, 3) if case == SALES else (humidity(folder), 24, 7)
    predictor = TSDiffPredictor.from_pretrained("default").adapted(series.freq, horizon).with_sampling(covariates=True)
    made = {}
    for name, entries in {"with covariates": series, "without": bare(series)}.items():
        test = split_windows(entries, horizon, windows).test
        made[f"bundled, {name}"] = evaluate(list(predictor.predict(test.input, 100)), test)
    return made


def report(rows: list[dict[str, Any]]) -> str:
    """Medians over seeds."""
    lines = []
    for case, name, steps in dict.fromkeys((row["series"], row["forecast"], row["steps"]) for row in rows):
        made = [row for row in rows if (row["series"], row["forecast"], row["steps"]) == (case, name, steps)]
        values = sorted(row["crps"] for row in made)
        cover = statistics.median(row["coverage_90"] for row in made)
        crps = f"{statistics.median(values):.4f} ({values[0]:.4f}–{values[-1]:.4f})"
        lines.append([case, name, str(steps), str(len(made)), crps, f"{cover:.3f}"])
    return (
        header("Covariates that are known in the future")
        + "\nCRPS of 100 samples on windows held out at the end, median over seeds (range). The sales' true "
        "distribution is what they were drawn from: no forecast can be better but by chance.\n\n"
        + table(["series", "forecast", "training steps", "seeds", "CRPS", "covers 90 %"], lines)
    )


def main(
    steps: Annotated[int, typer.Option(help="Training steps of each model.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Seeds 0 … n − 1.")] = 3,
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
) -> None:
    """Measure what is missing, then write the table."""
    torch.set_num_threads(1)
    rows = Rows(output / "covariates.csv", KEYS)
    for seed in range(seeds):
        for case in (SALES, HUMIDITY):
            found: dict[tuple[str, int], Metrics] = {}
            if not rows.has({"series": case, "forecast": "without", "steps": steps, "seed": seed}):
                found |= {(name, steps): made for name, made in measured(case, steps, seed, data).items()}
            if not seed and not rows.has({"series": case, "forecast": "bundled, without", "steps": 0, "seed": seed}):
                found |= {(name, 0): made for name, made in bundled(case, data).items()}
            for (name, trained), metrics in found.items():
                scores = {score: getattr(metrics, score) for score in SCORES}
                rows.add({"series": case, "forecast": name, "steps": trained, "seed": seed, **scores})
                print(seed, case, name, f"{metrics.crps:.4f}", flush=True)
    write_text(output / "covariates.md", report(rows.read()))


if __name__ == "__main__":
    typer.run(main)
