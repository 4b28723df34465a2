"""TSDiff on every benchmark set, beside the baselines: trained with the presets, scored with both energies.

Each run is kept as JSON, and one that is there with the same settings is not made again, so that an interrupted
benchmark goes on where it was. `benchmarks/results/baselines.csv` (columns set, model, seed, crps, cpu_minutes) is
merged into the table where it exists.

Example:
    python benchmarks/forecast_sets.py --seeds 3
    python benchmarks/forecast_sets.py --set m4_hourly --set pjm_hourly --seeds 1
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.losses import all_without_ruling, beside
from benchmarks.machine import header, table
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, DEFAULT_SETS, DataFolder, LoadedSet, load
from shared.files.io import atomic_path, write_json, write_text
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.evaluation.metrics import evaluate
from tsdiff.experiment.presets import PRESETS, Preset
from tsdiff.predictor import TSDiffPredictor

RESULTS = Path("benchmarks/results")
SAMPLES = 100
ENERGIES = ("quantile", "mse")
OFF = {
    "members": 1,
    "tuned_steps": 0,
    "accumulate": 1,
    "kernel_share": 0.0,
    "width": 1.0,
    "start_share": 0.0,
    "reduction": "mean",
    "scale": 1.0,
    "optimizer": "adamw",
    "coupling": "independent",
    "temperature": 1.0,
    "anchor_share": 0.0,
    "past_share": 0.0,
}
"""Settings that came after the first runs, and what they are where they do nothing."""
Run = dict[str, Any]


def settings_of(preset: Preset) -> dict[str, Any]:
    """What a run depends on, as JSON holds it; without the seed, and without what is not set."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(preset)))
    del settings["training"]["seed"]
    return without_empty(settings)


def without_empty(settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings without those that are off, as a new option is at first."""
    return {
        name: without_empty(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if value is not None and value is not False and value != [] and value != OFF.get(name)
    }


def train_and_score(data: LoadedSet, preset: Preset, seed: int, keep: Path | None) -> Run:
    """Train a preset's models, keep those trained anew, and score their forecasts with both energies; CPU time is the
    process's."""
    started = time.process_time()
    seeded = preset.with_training(seed=seed)
    members, tuned = seeded.models(data.train, data.freq, data.prediction_length, progress=False)
    minutes = (time.process_time() - started) / 60
    models = [*members] if tuned is None else [*members, tuned]
    for place, member in enumerate(members):
        if keep is not None:
            member.serialize(keep / (f"{data.name}-{seed}" + (f"-{place}" if place else "")))
    scores = {e: score(seeded.forecaster(members, tuned, e).with_sampling(seed=seed), data) for e in ENERGIES}
    return {
        "set": data.name,
        "seed": seed,
        "train_cpu_minutes": minutes,
        "context_length": models[0].model.config.context_length,
        "parameters": sum(weights.numel() for one in models for weights in one.model.parameters()),
        "settings": settings_of(preset),
        **scores,
    }


def score(predictor: TSDiffPredictor | EnsemblePredictor, data: LoadedSet) -> Run:
    """Metrics of every test window."""
    started = time.process_time()
    metrics = evaluate(predictor.predict(data.test.input, SAMPLES), data.test)
    return {**metrics.as_dict(), "nfe": predictor.nfe, "cpu_minutes": (time.process_time() - started) / 60}


def finished(path: Path, preset: Preset) -> Run | None:
    """The run in `path`, if it was made with these settings."""
    run = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return run if run is not None and without_empty(run["settings"]) == settings_of(preset) else None


def baselines(path: Path) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """CRPS and CPU minutes of every seed, by set and model."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    if path.is_file():
        with open(path, encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                minutes = float(row["cpu_minutes"]) if row["cpu_minutes"] else float("nan")
                found[row["set"]][row["model"]].append((float(row["crps"]), minutes))
    return found


def medians(runs: list[Run], energy: str) -> str:
    """Median and range of the CRPS over seeds."""
    values = sorted(run[energy]["crps"] for run in runs)
    spread = f" ({values[0]:.4f}–{values[-1]:.4f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.4f}{spread}"


def report(
    runs: dict[str, list[Run]],
    others: dict[str, dict[str, list[tuple[float, float]]]],
    rests: dict[tuple[str, str], float],
) -> str:
    """The table and who is ahead, as Markdown."""
    models = sorted({model for by_model in others.values() for model in by_model})
    rows: list[list[str]] = []
    verdicts: dict[bool, list[bool]] = {True: [], False: []}
    for name, made in runs.items():
        ours = statistics.median(run["quantile"]["crps"] for run in made)
        theirs = {m: statistics.median(c for c, _ in values) for m, values in others.get(name, {}).items()}
        best = min(theirs, key=lambda m: theirs[m]) if theirs else ""
        complete = set(theirs) == set(models)
        if best:
            verdicts[complete].append(ours < theirs[best])
        cover = statistics.median(run["quantile"]["coverage_90"] for run in made)
        minutes = statistics.median(run["train_cpu_minutes"] for run in made)
        verdict = "" if not best else ("TSDiff" if ours < theirs[best] else best) + ("" if complete else " so far")
        rows.append(
            [name, str(len(made)), medians(made, "quantile"), medians(made, "mse"), f"{cover:.3f}", f"{minutes:.1f}"]
            + [beside(f"{theirs[m]:.4f}", rests.get((name, m))) if m in theirs else "" for m in models]
            + [verdict]
        )
    head = ["set", "seeds", "TSDiff-Q", "TSDiff-MSE", "TSDiff-Q covers 90 %", "CPU min to train", *models, "ahead"]
    text = (
        header("Forecasts of every benchmark set")
        + f"\nCRPS (mean weighted quantile loss, {SAMPLES} samples), median over seeds (range). TSDiff-Q and "
        "TSDiff-MSE are one trained model, guided by the quantile and the mean-square energy; where a preset has "
        "`tuned_steps`, the bundled model joins both, fine-tuned, or forecasts alone where both columns are alike. "
        "Settings are those of "
        "`tsdiff/experiment/presets.py`, chosen on validation windows, those of some sets after test scores were known "
        "(benchmarks/RESULTS.md tells which); training uses the training part "
        "alone. CPU minutes are those of the training process, one thread, all models of a forecast "
        "together. Ahead: the smaller of TSDiff-Q's "
        "median and the best baseline's; an empty cell was not measured, and then it "
        "is the best so far. Where one series has over a third of a baseline's loss, the score without it is "
        "beside.\n\n" + table(head, rows)
    )
    for complete, where in ((True, "every baseline was"), (False, "some baselines are still to be")):
        if found := verdicts[complete]:
            text += f"\nTSDiff-Q is ahead on {sum(found)} of the {len(found)} sets where {where} measured.\n"
    return text


def write_csv(path: Path, runs: dict[str, list[Run]]) -> None:
    """One line a set, seed and energy."""
    columns = ("crps", "nd", "nrmse", "mase", "coverage_50", "coverage_90", "nfe")
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["set", "seed", "guidance", *columns, "train_cpu_minutes", "predict_cpu_minutes"])
        for made in runs.values():
            for run in made:
                for energy in ENERGIES:
                    scores = run[energy]
                    minutes = [f"{run['train_cpu_minutes']:.3f}", f"{scores['cpu_minutes']:.3f}"]
                    writer.writerow([run["set"], run["seed"], energy, *(scores[c] for c in columns), *minutes])


def collect(folder: Path) -> dict[str, list[Run]]:
    """All runs in `folder` that the presets of today would make, by set, in the benchmark's order."""
    runs: dict[str, list[Run]] = {}
    for name in BENCHMARK_SETS:
        paths = sorted(folder.glob(f"{name}-*.json"))
        made = [run for path in paths if (run := finished(path, PRESETS[name])) is not None]
        if made:
            runs[name] = made
    return runs


def main(
    sets: Annotated[list[str] | None, typer.Option("--set", help="Sets to run; default: the nine.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds 0 … n − 1.")] = 3,
    first_seed: Annotated[int, typer.Option(help="Leave out the seeds before this one.")] = 0,
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the table and the runs.")] = RESULTS,
    keep: Annotated[Path | None, typer.Option(help="Folder to keep the models in that are trained anew.")] = None,
    report_only: Annotated[bool, typer.Option(help="Write the table of the runs that are there; run nothing.")] = False,
) -> None:
    """Run what is missing, then write the table."""
    torch.set_num_threads(1)
    folder = output / "forecast_sets"
    for seed in range(seeds if report_only else first_seed, seeds):
        for name in sets or DEFAULT_SETS:
            path = folder / f"{name}-{seed}.json"
            if finished(path, PRESETS[name]) is None:
                run = train_and_score(load(name, data), PRESETS[name], seed, keep)
                write_json(path, run)
                print(name, seed, *(f"{e} {run[e]['crps']:.4f}" for e in ENERGIES), flush=True)
    runs = collect(folder)
    write_text(
        output / "forecast_sets.md", report(runs, baselines(path := output / "baselines.csv"), all_without_ruling(path))
    )
    write_csv(output / "forecast_sets.csv", runs)


if __name__ == "__main__":
    typer.run(main)
