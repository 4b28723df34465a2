"""Forecasts with values missing from the context: one unconditional TSDiff beside TSDiff-Cond trained per scenario.

Models are kept in --models and rows added to benchmarks/results/missing.csv as they are made; what is there already is
not made again.

Example:
    OMP_NUM_THREADS=1 python benchmarks/missing.py --set m4_hourly --set pjm_hourly
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.sets import BENCHMARK_SETS, DEFAULT_DATA, DataFolder, LoadedSet, Samples, load
from shared.errors import DiffusionError
from shared.files.io import write_text
from shared.random import derive_seed
from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.data.frequency import quiet
from tsdiff.evaluation.metrics import evaluate
from tsdiff.evaluation.pairs import Pair
from tsdiff.windows.config import Scaling
from tsdiff.windows.missing import MissingContext, Scenario

SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
KEYS = ("set", "model", "scenario", "rate", "seed")
UNCONDITIONAL = "TSDiff"


@dataclass(frozen=True)
class Settings:
    """How models are trained and scored."""

    steps: int
    batch_size: int
    scaling: Scaling
    train_rate: float
    every: int
    num_samples: int
    seed: int


def trained(data: LoadedSet, scenario: Scenario | None, settings: Settings, folder: Path) -> TSDiffPredictor:
    """The unconditional model (scenario None) or that of one scenario; from `folder` if it is there."""
    if (folder / "config.json").is_file():
        return TSDiffPredictor.from_pretrained(folder)
    estimator = TSDiffEstimator(
        data.freq,
        data.prediction_length,
        conditional=scenario is not None,
        missing=None if scenario is None else MissingContext(scenario, settings.train_rate),
        scaling=settings.scaling,
        batch_size=settings.batch_size,
    ).with_training(max_steps=settings.steps, seed=settings.seed)
    predictor = estimator.train(data.train, folder=folder / "state", progress=False)
    predictor.serialize(folder)
    return predictor


def without(data: LoadedSet, missing: MissingContext, context_length: int, every: int) -> list[Pair]:
    """Every `every`-th test window, with values of its context hidden; the same ones whichever model is asked."""
    pairs: list[Pair] = []
    with quiet():
        whole = list(data.test)
    for place, (past, label) in enumerate(whole):
        if place % every == 0:
            rng = np.random.default_rng(derive_seed("missing", data.name, missing.scenario, str(missing.rate), place))
            pairs.append(({**past, "target": missing.applied(past["target"], context_length, rng)}, label))
    return pairs


def report(rows: list[dict[str, Any]], settings: Settings) -> str:
    """Markdown: a table a set, a line a scenario and rate, a column a model."""
    parts = [
        header("Missing values in the context"),
        f"\nCRPS (mean weighted quantile loss over 0.1 … 0.9) of {settings.num_samples} samples. RM: values of the "
        "context missing at random; BM-B, BM-E: a block at its beginning or its end. TSDiff is one unconditional "
        "model, guided by what is observed; each TSDiff-Cond was trained for the scenario in its name with "
        f"{settings.train_rate:.0%} of the context missing. All were trained for {settings.steps} steps of "
        f"{settings.batch_size} windows, seed {settings.seed}.",
    ]
    for name in BENCHMARK_SETS:
        of_set = [row for row in rows if row["set"] == name]
        if not of_set:
            continue
        models = [m for m in (UNCONDITIONAL, *map(conditional_name, SCENARIOS)) if any(r["model"] == m for r in of_set)]
        lines = []
        for scenario, rate in sorted({(r["scenario"], float(r["rate"])) for r in of_set}, key=_order):
            here = [r for r in of_set if r["scenario"] == scenario and float(r["rate"]) == rate]
            found = {r["model"]: r["crps"] for r in here}
            lines.append([scenario, f"{rate:.0%}", *(f"{found[m]:.4f}" if m in found else "–" for m in models)])
        windows = max(int(r["windows"]) for r in of_set)
        of_all = BENCHMARK_SETS[name].windows * BENCHMARK_SETS[name].series
        parts.append(
            f"\n\n## {name}\n\n{windows} of {of_all} test windows.\n\n" + table(["scenario", "missing", *models], lines)
        )
    return "".join(parts)


def _order(key: tuple[str, float]) -> tuple[int, float]:
    return SCENARIOS.index(key[0]), key[1]  # type: ignore[arg-type]


def conditional_name(scenario: Scenario) -> str:
    """What the table calls the model of a scenario."""
    return f"TSDiff-Cond-{scenario}"


def main(
    sets: Annotated[list[str], typer.Option("--set", help="Sets; repeat the option.")] = ["m4_hourly", "pjm_hourly"],  # noqa: B006
    rates: Annotated[list[float], typer.Option("--rate", help="Shares missing; repeat the option.")] = [0.1, 0.2, 0.5],  # noqa: B006
    steps: Annotated[int, typer.Option(help="Training steps of each model.")] = 3000,
    batch_size: Annotated[int, typer.Option(help="Windows in a training batch.")] = 64,
    scaling: Annotated[str, typer.Option(help='"mean" or "standard".')] = "mean",
    train_rate: Annotated[float, typer.Option(help="Share missing in the training of TSDiff-Cond.")] = 0.5,
    cross: Annotated[bool, typer.Option(help="Ask each TSDiff-Cond for the other scenarios too.")] = False,
    every: Annotated[int, typer.Option(help="Score every n-th test window.")] = 1,
    num_samples: Samples = 100,
    seed: Annotated[int, typer.Option(help="Of training and samples.")] = 0,
    data: DataFolder = DEFAULT_DATA,
    models: Annotated[Path, typer.Option(help="Folder in which trained models are kept.")] = Path("runs/missing"),
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/missing.csv"
    ),
) -> None:
    """Train one unconditional model and one of each scenario for every set, and score them."""
    if scaling not in get_args(Scaling):
        raise typer.BadParameter(f"scaling {scaling!r}; take one of {', '.join(get_args(Scaling))}")
    settings = Settings(steps, batch_size, scaling, train_rate, every, num_samples, seed)  # type: ignore[arg-type]
    results, failed = Rows(output, KEYS), False
    for name in sets:
        try:
            measure(load(name, data), rates, cross, settings, models / name, results)
        except DiffusionError as error:
            failed = True
            print(f"failed: {name}: {error}", file=sys.stderr, flush=True)
    write_text(output.with_suffix(".md"), report(results.read(), settings))
    if failed:
        raise typer.Exit(1)


def measure(data: LoadedSet, rates: list[float], cross: bool, settings: Settings, models: Path, results: Rows) -> None:
    """Add the rows of one set."""
    for trained_for in (None, *SCENARIOS):
        model = UNCONDITIONAL if trained_for is None else conditional_name(trained_for)
        asked = SCENARIOS if cross or trained_for is None else (trained_for,)
        for missing in (MissingContext(scenario, rate) for scenario in asked for rate in rates):
            key = {"set": data.name, "model": model, "scenario": missing.scenario, "rate": missing.rate}
            row: dict[str, Any] = key | {"seed": settings.seed}
            if results.has(row):
                continue
            predictor = trained(data, trained_for, settings, models / f"{model}-{settings.seed}")
            predictor = predictor.with_sampling(seed=settings.seed)
            started = time.process_time()
            pairs = without(data, missing, predictor.model.config.context_length, settings.every)
            metrics = evaluate(predictor.predict([past for past, _ in pairs], settings.num_samples), pairs)
            minutes = (time.process_time() - started) / 60
            results.add({**row, **metrics.as_dict(), "windows": len(pairs), "cpu_minutes": minutes})
            print(*row.values(), f"CRPS {metrics.crps:.4f}, {minutes:.2f} CPU-minutes", flush=True)


if __name__ == "__main__":
    typer.run(main)
