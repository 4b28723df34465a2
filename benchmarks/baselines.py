"""What forecasters that everybody has reach on the benchmark sets: seasonal naive, linear, AutoETS, DeepAR, PatchTST.

Rows are added to benchmarks/results/baselines.csv as they are made; what is there already is not made again.

Example:
    OMP_NUM_THREADS=1 python benchmarks/baselines.py --set m4_hourly --set pjm_hourly --cpu-minutes 4
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, DEFAULT_SETS, LoadedSet, load
from shared.errors import DiffusionError
from shared.io import write_text
from tsdiff.baselines import AutoETSConfig, train_baseline
from tsdiff.data.frequency import quiet
from tsdiff.evaluation import Metrics, best_seasonal_naive, evaluate

MODELS = ("seasonal_naive", "linear", "auto_ets", "deepar", "patchtst")
NETWORKS = ("deepar", "patchtst")
KEYS = ("set", "model", "seed")
SCORES = ("crps", "nd", "nrmse", "mase", "coverage_90")


@dataclass(frozen=True)
class Budget:
    """What a baseline may use."""

    cpu_minutes: float
    ets_history: int
    num_samples: int


def measure(data: LoadedSet, model: str, seed: int, budget: Budget) -> tuple[Metrics, str]:
    """Train one baseline on the training part and score it on the test windows: scores and a note."""
    if model == "seasonal_naive":
        lag, metrics = best_seasonal_naive(data.test, data.seasons)
        return metrics, f"lag {lag}, the best of {', '.join(map(str, data.seasons))}"
    config, note = None, ""
    if model == "auto_ets":
        config = AutoETSConfig(max_history=budget.ets_history)
        longest = max(len(entry["target"]) for entry in data.train)
        note = f"season {data.seasons[0]}" + (
            f", last {budget.ets_history} steps" if longest > budget.ets_history else ""
        )
    elif model in NETWORKS:
        note = f"trained {budget.cpu_minutes:g} CPU-minutes"
    predictor = train_baseline(
        model,
        data.train,
        data.freq,
        data.prediction_length,
        num_samples=budget.num_samples,
        cpu_minutes=budget.cpu_minutes,
        seed=seed,
        config=config,
    )
    with quiet():
        return evaluate(predictor.predict(data.test.input), data.test), note


def report(rows: list[dict[str, Any]], budget: Budget) -> str:
    """Markdown: CRPS of each model on each set, the median over seeds, and every row."""
    models = [name for name in MODELS if any(row["model"] == name for row in rows)]
    short = []
    for name in BENCHMARK_SETS:
        found = {m: [row["crps"] for row in rows if row["set"] == name and row["model"] == m] for m in models}
        medians = {m: statistics.median(values) for m, values in found.items() if values}
        if medians:
            best = min(medians, key=medians.__getitem__)
            cells = {m: f"**{value:.4f}**" if m == best else f"{value:.4f}" for m, value in medians.items()}
            short.append([name, *(cells.get(m, "–") for m in models)])
    places = {name: place for place, name in enumerate((*BENCHMARK_SETS, *MODELS))}
    ordered = sorted(rows, key=lambda row: (places[row["set"]], places[row["model"]], row["seed"]))
    every = [
        [
            *(str(row[column]) for column in KEYS),
            *(f"{row[score]:.4f}" for score in SCORES),
            f"{row['cpu_minutes']:.2f}",
            str(row["note"]),
        ]
        for row in ordered
    ]
    return (
        header("Baselines on the benchmark sets")
        + f"\n{torch.get_num_threads()} thread(s) of torch. CRPS is the mean weighted quantile loss over 0.1 … 0.9, of "
        f"{budget.num_samples} samples; the median over seeds where there are several. All learn from the training "
        "part alone and are scored on the same test windows (`benchmarks/sets.py`). Seasonal naive takes the lag that "
        "scores best on the test windows themselves, which flatters it. DeepAR and PatchTST are GluonTS's, trained for "
        "the CPU time that the notes state, with the learning rate falling to zero; CPU-minutes in the table are of "
        "training, forecasting and scoring together. AutoETS leaves out seasons above 24 (electricity_weekly). A dash "
        "was not measured; the same command without --report-only measures what is missing.\n\n"
        + table(["CRPS", *models], short)
        + "\n## Every run\n\n"
        + table([*KEYS, *SCORES, "CPU-minutes", "note"], every)
    )


def main(
    sets: Annotated[list[str], typer.Option("--set", help="Sets; repeat the option.")] = list(DEFAULT_SETS),  # noqa: B006
    models: Annotated[list[str], typer.Option("--model", help="Models; repeat the option.")] = list(MODELS),  # noqa: B006
    seeds: Annotated[list[int], typer.Option("--seed", help="Seeds; repeat the option.")] = [0],  # noqa: B006
    cpu_minutes: Annotated[float, typer.Option(help="CPU time of training a network.")] = 4.0,
    ets_history: Annotated[int, typer.Option(help="Last steps of a series that AutoETS is fitted to.")] = 500,
    num_samples: Annotated[int, typer.Option(help="Samples of a forecast.")] = 100,
    data: Annotated[Path, typer.Option(help="Folder that holds series/.")] = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/baselines.csv"
    ),
    redo: Annotated[bool, typer.Option(help="Measure again what is in the table.")] = False,
    report_only: Annotated[bool, typer.Option(help="Measure nothing; write the .md of what is in the table.")] = False,
) -> None:
    """Measure every model on every set for every seed, and write the table."""
    budget = Budget(cpu_minutes, ets_history, num_samples)
    results, failed = Rows(output, KEYS), []
    for key in () if report_only else jobs(sets, models, seeds):
        row: dict[str, Any] = dict(zip(KEYS, key, strict=True))
        if results.has(row) and not redo:
            continue
        started = time.process_time()
        try:
            metrics, note = measure(load(row["set"], data), row["model"], row["seed"], budget)
        except DiffusionError as error:
            failed.append(f"{row}: {error}")
            print(f"failed: {failed[-1]}", file=sys.stderr, flush=True)
            continue
        minutes = (time.process_time() - started) / 60
        scores = {score: getattr(metrics, score) for score in SCORES}
        results.add({**row, **scores, "cpu_minutes": minutes, "note": note})
        print(*key, f"CRPS {metrics.crps:.4f}, {minutes:.2f} CPU-minutes", note, flush=True)
    write_text(output.with_suffix(".md"), report(results.read(), budget))
    if failed:
        raise typer.Exit(1)


def jobs(sets: Iterable[str], models: Iterable[str], seeds: Iterable[int]) -> list[tuple[str, str, int]]:
    """What to measure, model by model so that a table is useful early; seasonal naive has but one seed."""
    for model in models:
        if model not in MODELS:
            raise typer.BadParameter(f"unknown model {model!r}; take some of {', '.join(MODELS)}")
    for name in sets:
        if name not in BENCHMARK_SETS:
            raise typer.BadParameter(f"unknown set {name!r}; take some of {', '.join(BENCHMARK_SETS)}")
    seeds = list(seeds)
    return [
        (name, model, seed)
        for seed in seeds
        for model in models
        for name in sets
        if seed == seeds[0] or model not in ("seasonal_naive", "auto_ets")
    ]


if __name__ == "__main__":
    typer.run(main)
