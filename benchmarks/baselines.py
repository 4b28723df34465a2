"""What forecasters that everybody has reach on the benchmark sets: seasonal naive, linear, AutoETS, DeepAR, PatchTST.

DeepAR and PatchTST have three settings each, of which `--part choose` takes the best on validation windows of each set;
`--part test` trains that one with every seed. Rows are added to the tables in benchmarks/results as they are made; what
is there already is not made again.

Example:
    OMP_NUM_THREADS=1 python benchmarks/baselines.py --part choose --cpu-minutes 2.5
    OMP_NUM_THREADS=1 python benchmarks/baselines.py --seed 0 --seed 1 --seed 2 --cpu-minutes 2.5
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ablations import validation
from benchmarks.losses import beside, ruled, without_ruling, without_worst
from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, DEFAULT_SETS, DataFolder, LoadedSet, Samples, load
from shared.errors import ConfigError, DiffusionError
from shared.files.io import write_text
from tsdiff.baselines import train_baseline
from tsdiff.data.frequency import quiet
from tsdiff.evaluation.metrics import Metrics, best_seasonal_naive, evaluate, window_losses

MODELS = ("seasonal_naive", "linear", "auto_ets", "deepar", "patchtst")
NETWORKS = ("deepar", "patchtst")
NETWORK_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "deepar": {
        "default": {},
        "wide": {"hidden_size": 80, "lr": 2e-3},
        "regularised": {"dropout_rate": 0.2, "batch_size": 64, "lr": 3e-3},
    },
    "patchtst": {
        "default": {},
        "wide": {"d_model": 64, "num_encoder_layers": 3, "lr": 5e-4},
        "standardised": {"scaling": "std"},
    },
}
"""What each network is tried with on validation windows."""
KEYS = ("set", "model", "seed")
CHOICE_KEYS = ("set", "model", "setting")
SCORES = ("crps", "nd", "nrmse", "mase", "coverage_90")
VALIDATION_WINDOWS = 70
"""At most so many windows cut from the end of a training part, as many as TSDiff's settings are chosen by."""
RULING = 1 / 3
"""Of many series, one with more than this share of the loss is named in the note, and the score without it given."""
MANY = 20
Part = Literal["choose", "test"]


@dataclass(frozen=True)
class Budget:
    """What a baseline may use."""

    cpu_minutes: float
    ets_history: int
    num_samples: int


def measure(data: LoadedSet, model: str, seed: int, budget: Budget, choices: Rows) -> tuple[Metrics, str]:
    """Train one baseline on the training part and score it on the test windows: scores and a note."""
    if model == "seasonal_naive":
        lag, metrics = best_seasonal_naive(data.test, data.seasons)
        return metrics, f"lag {lag}, the best of {', '.join(map(str, data.seasons))}"
    settings: dict[str, Any] = {}
    note = ""
    if model == "auto_ets":
        settings = {"max_history": budget.ets_history}
        longest = max(len(entry["target"]) for entry in data.train)
        note = f"season {data.seasons[0]}" + (
            f", last {budget.ets_history} steps" if longest > budget.ets_history else ""
        )
    elif model in NETWORKS:
        setting = chosen(choices, data.name, model)
        settings, note = NETWORK_SETTINGS[model][setting], trained_note(setting, budget)
    predictor = train_baseline(
        model,
        data.train,
        data.freq,
        data.prediction_length,
        num_samples=budget.num_samples,
        cpu_minutes=budget.cpu_minutes,
        seed=seed,
        **settings,
    )
    with quiet():
        forecasts = list(predictor.predict(data.test.input))
        metrics = evaluate(forecasts, data.test)
    losses = window_losses(forecasts, [np.asarray(label["target"], dtype=np.float64) for label in data.test.label])
    worst, share, rest = without_worst([str(label["item_id"]) for label in data.test.label], *losses)
    if share > RULING and len(data.train) > MANY:
        note += f"; {ruled(worst, share, rest)}"
    return metrics, note


def trained_note(setting: str, budget: Budget) -> str:
    """How a network's row was made."""
    return f"{setting}, trained {budget.cpu_minutes:g} CPU-minutes"


def chosen(choices: Rows, name: str, model: str) -> str:
    """The setting with the best score on the validation windows.

    Raises:
        ConfigError: Some setting has not been tried on this set.
    """
    tried = {row["setting"]: row["crps"] for row in choices.read() if (row["set"], row["model"]) == (name, model)}
    if missing := [setting for setting in NETWORK_SETTINGS[model] if setting not in tried]:
        raise ConfigError(f"{model} on {name}: no validation score of {', '.join(missing)}; run --part choose first")
    return min(NETWORK_SETTINGS[model], key=tried.__getitem__)


def choose(choices: Rows, name: str, model: str, setting: str, budget: Budget, folder: Path) -> dict[str, Any]:
    """Train one setting on what comes before the validation windows of a set, and score it on them."""
    freq, split, pairs = validation(name, folder, VALIDATION_WINDOWS)
    started = time.process_time()
    predictor = train_baseline(
        model,
        split.train,
        freq,
        BENCHMARK_SETS[name].prediction_length,
        num_samples=budget.num_samples,
        cpu_minutes=budget.cpu_minutes,
        **NETWORK_SETTINGS[model][setting],
    )
    with quiet():
        metrics = evaluate(predictor.predict([past for past, _ in pairs]), pairs)
    minutes = (time.process_time() - started) / 60
    row = {"set": name, "model": model, "setting": setting, "crps": metrics.crps, "coverage_90": metrics.coverage_90}
    choices.add({**row, "windows": len(pairs), "cpu_minutes": minutes})
    return row


def report(rows: list[dict[str, Any]], choices: list[dict[str, Any]], budget: Budget) -> str:
    """Markdown: CRPS of each model on each set, the median over seeds, and every row."""
    models = [name for name in MODELS if any(row["model"] == name for row in rows)]
    short = []
    for name in BENCHMARK_SETS:
        found = {m: [row["crps"] for row in rows if row["set"] == name and row["model"] == m] for m in models}
        medians = {m: statistics.median(values) for m, values in found.items() if values}
        if medians:
            best = min(medians, key=medians.__getitem__)
            cells = {m: f"**{value:.4f}**" if m == best else f"{value:.4f}" for m, value in medians.items()}
            rests = {row["model"]: without_ruling(row) for row in rows if row["set"] == name}
            cells = {m: beside(cell, rests[m]) for m, cell in cells.items()}
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
    settings = "the one of three settings that is best on validation windows (last table)"
    settings = settings if choices else "their default settings"
    return (
        header("Baselines on the benchmark sets")
        + f"\n{torch.get_num_threads()} thread(s) of torch. CRPS is the mean weighted quantile loss over 0.1 … 0.9, of "
        f"{budget.num_samples} samples; the median over seeds where there are several. All learn from the training "
        "part alone and are scored on the same test windows (`benchmarks/sets.py`). Seasonal naive takes the lag that "
        "scores best on the test windows themselves, which flatters it. DeepAR and PatchTST are GluonTS's, trained for "
        "the CPU time that the notes state, with the learning rate falling to zero, "
        f"with {settings}; CPU-minutes in the table are of "
        "training, forecasting and scoring together. AutoETS leaves out seasons above 24 (electricity_weekly). Where "
        f"one series of more than {MANY} has over a third of the loss, the score without it is beside, and the note "
        "names it. A dash was not measured; the same command without --report-only measures what is missing.\n\n"
        + table(["CRPS", *models], short)
        + "\n## Every run\n\n"
        + table([*KEYS, *SCORES, "CPU-minutes", "note"], every)
        + choices_section(choices)
    )


def choices_section(choices: list[dict[str, Any]]) -> str:
    """Validation scores, a row for each set and network; nothing where none were made."""
    if not choices:
        return ""
    settings = list(dict.fromkeys(setting for known in NETWORK_SETTINGS.values() for setting in known))
    rows = []
    for model in NETWORKS:
        for name in BENCHMARK_SETS:
            tried = {row["setting"]: row["crps"] for row in choices if (row["set"], row["model"]) == (name, model)}
            if tried:
                cells = (f"{tried[setting]:.4f}" if setting in tried else "–" for setting in settings)
                rows.append([name, model, *cells, min(tried, key=tried.__getitem__)])
    return (
        "\n## Settings of the networks\n\nCRPS on validation windows, cut from the end of the training parts (at "
        f"most {VALIDATION_WINDOWS}, one seed), of each setting in `NETWORK_SETTINGS`; the best is taken.\n\n"
        + table(["set", "model", *settings, "best"], rows)
    )


def main(
    sets: Annotated[list[str], typer.Option("--set", help="Sets; repeat the option.")] = list(DEFAULT_SETS),  # noqa: B006
    models: Annotated[list[str], typer.Option("--model", help="Models; repeat the option.")] = list(MODELS),  # noqa: B006
    seeds: Annotated[list[int], typer.Option("--seed", help="Seeds; repeat the option.")] = [0],  # noqa: B006
    cpu_minutes: Annotated[float, typer.Option(help="CPU time of training a network.")] = 4.0,
    ets_history: Annotated[int, typer.Option(help="Last steps of a series that AutoETS is fitted to.")] = 500,
    num_samples: Samples = 100,
    part: Annotated[
        Part, typer.Option(help="Choose the networks' settings on validation windows, or measure on the test windows.")
    ] = "test",
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/baselines.csv"
    ),
    redo: Annotated[bool, typer.Option(help="Measure again what is in the table.")] = False,
    report_only: Annotated[bool, typer.Option(help="Measure nothing; write the .md of what is in the table.")] = False,
) -> None:
    """Choose the networks' settings, or measure every model on every set for every seed; write the table."""
    torch.set_num_threads(1)
    budget = Budget(cpu_minutes, ets_history, num_samples)
    results, choices = Rows(output, KEYS), Rows(output.with_name(f"{output.stem}_choices.csv"), CHOICE_KEYS)
    failed: list[str] = []
    if not report_only and part == "choose":
        choose_all(choices, sets, [model for model in models if model in NETWORKS], budget, data)
    if not report_only and part == "test":
        failed = measure_all(results, choices, jobs(sets, models, seeds), budget, data, redo)
    write_text(output.with_suffix(".md"), report(results.read(), choices.read(), budget))
    if failed:
        raise typer.Exit(1)


def choose_all(choices: Rows, sets: list[str], models: list[str], budget: Budget, data: Path) -> None:
    """Every setting of every network that is not in the table yet."""
    jobs([*sets], [*models], [0])
    for model in models:
        for name in sets:
            for setting in NETWORK_SETTINGS[model]:
                if not choices.has({"set": name, "model": model, "setting": setting}):
                    print(*choose(choices, name, model, setting, budget, data).values(), flush=True)


def measure_all(
    results: Rows, choices: Rows, keys: list[tuple[str, str, int]], budget: Budget, data: Path, redo: bool
) -> list[str]:
    """Every row that is missing, or whose network had another setting than the one chosen; what failed."""
    failed = []
    for key in keys:
        row: dict[str, Any] = dict(zip(KEYS, key, strict=True))
        started = time.process_time()
        try:
            if not redo and current(results, choices, row, budget):
                continue
            metrics, note = measure(load(row["set"], data), row["model"], row["seed"], budget, choices)
        except DiffusionError as error:
            failed.append(f"{row}: {error}")
            print(f"failed: {failed[-1]}", file=sys.stderr, flush=True)
            continue
        minutes = (time.process_time() - started) / 60
        scores = {score: getattr(metrics, score) for score in SCORES}
        results.add({**row, **scores, "cpu_minutes": minutes, "note": note})
        print(*key, f"CRPS {metrics.crps:.4f}, {minutes:.2f} CPU-minutes", note, flush=True)
    return failed


def current(results: Rows, choices: Rows, row: dict[str, Any], budget: Budget) -> bool:
    """Whether the row is in the table as it would be made now."""
    found = [old for old in results.read() if all(old[key] == row[key] for key in KEYS)]
    if row["model"] not in NETWORKS:
        return bool(found)
    note = trained_note(chosen(choices, row["set"], row["model"]), budget)
    return any(str(old["note"]).startswith(note) for old in found)


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
