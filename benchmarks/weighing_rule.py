"""How a fine-tuned weighing of simple forecasts should be trained: judged by the windows that came after.

    python benchmarks/weighing_rule.py
    python benchmarks/weighing_rule.py --report-only

Fine-tuning (`tsdiff.pretraining.finetuning`) weighs the bundled model's simple forecasts anew. Here, on each of
nineteen tasks, windows that follow the training are forecast with the weighing as bundled; with it and one that was
trained on as one, which is what fine-tuning does; with the new one alone; and with one that was trained gently. The
tasks are six validation sets that end at three dates, and three sets of eight random walks in business days that share
a part, of which there is nothing to be learnt. No network is trained, and no test set is read. Every task is kept in
weighing_rule.json.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import pandas as pd
import torch
import typer
from gluonts.dataset.split import TestData
from gluonts.model.forecast import Forecast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder
from benchmarks.zero_shot import VALIDATION_WINDOWS
from recipes.default_forecaster.default import VALIDATION_SETS
from shared.files.io import write_text
from tsdiff.data import WindowSplit, load_folder, split_windows
from tsdiff.data.entries import Entry
from tsdiff.evaluation.metrics import window_losses
from tsdiff.predictor import TSDiffPredictor
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.pretraining.finetuning import FineTuning, tuning_source
from tsdiff.pretraining.weighing import RATE, TUNING_STEPS, WINDOWS_A_STEP, collected, forecast_windows, trained_on
from tsdiff.windows.weighing import TunedWeighing, bundled_weighing

RESULTS = Path("benchmarks/results")
BUNDLED, TOGETHER = "bundled", "with the bundled one"
ALONE = {"alone": (TUNING_STEPS, RATE), "alone, gently": (300, 1e-3)}
"""Steps and peak rates, by name."""
Found = TypeVar("Found")
"""What a task gave."""


@dataclass(frozen=True)
class Task:
    """What is forecast: a name, the forecaster, and series with their last windows apart."""

    name: str
    predictor: TSDiffPredictor
    split: WindowSplit


def walks(seed: int) -> list[Entry]:
    """Random walks of business days that share a part, as exchange rates do."""
    rng, length = np.random.default_rng([5, seed]), 6000
    together = np.cumsum(rng.standard_t(4, length)) * 0.006
    made = []
    for place in range(8):
        path = rng.uniform(0.3, 1) * together + np.cumsum(rng.standard_t(4, length)) * 0.004
        values = np.exp(path - path[0]) * rng.uniform(0.5, 2)
        made.append({"target": values, "start": pd.Period("1990-01-01", "B"), "item_id": str(place)})
    return made


def tasks(folder: Path) -> Iterator[Task]:
    """The nineteen: sets that end now, and one and two spans of their windows before; random walks."""
    base = TSDiffPredictor.from_pretrained("default")
    for back in range(3):
        for name, horizon in VALIDATION_SETS.items():
            entries = list(load_folder(folder / "series" / name).train)
            entries = entries[:: max(1, len(entries) // VALIDATION_WINDOWS)]
            windows = max(1, min(24, VALIDATION_WINDOWS // len(entries)))
            cut = back * max(windows * horizon, len(entries[0]["target"]) // 8)
            long = [entry for entry in entries if len(entry["target"]) > (cut + 6 * horizon + 40 if back else 0)]
            kept = [{**entry, "target": np.asarray(entry["target"])[: len(entry["target"]) - cut]} for entry in long]
            if len(kept) < min(2, len(entries)):
                continue
            predictor = base.adapted(entries[0]["start"].freqstr, horizon)
            yield Task(f"{name}, {back} before", predictor, split_windows(kept, horizon, windows))
        yield Task(f"random walks, draw {back}", base.adapted("B", 30), split_windows(walks(back), 30, 15))


def losses(made: Sequence[Forecast], windows: TestData) -> list[float]:
    """The quantile losses of each window, summed."""
    return window_losses(made, [np.asarray(label["target"], dtype=np.float64) for label in windows.label])[0].tolist()


def scored(task: Task) -> dict[str, list[float]]:
    """Losses of the windows that follow, by way of weighing."""
    model, windows, bundled = copy.deepcopy(task.predictor.model), task.split.test, bundled_weighing()
    predictor, seed = task.predictor.with_model(model), FineTuning().seed
    source = tuning_source(model.config, list(task.split.train), FineTuning(), None)
    assert isinstance(source, AnchoredSource)
    data = collected(islice(forecast_windows(source, seed), WINDOWS_A_STEP * TUNING_STEPS))
    alone = {name: trained_on(bundled, data, seed, *how) for name, how in ALONE.items()}
    ways = {BUNDLED: bundled, TOGETHER: TunedWeighing.of(bundled, alone["alone"]), **alone}
    found = {}
    for way, weighing in ways.items():
        model.weighing = weighing
        found[way] = losses(list(predictor.predict(windows.input, 100)), windows)
    return found


def change(found: dict[str, list[float]], way: str) -> float:
    """CRPS by that of the bundled weighing, less one, in percent."""
    return 100 * (float(np.sum(found[way])) / float(np.sum(found[BUNDLED])) - 1)


def report(results: dict[str, dict[str, list[float]]]) -> str:
    """The table."""
    ways = [TOGETHER, *ALONE]
    effects = np.array([[change(found, way) for way in ways] for found in results.values()]).reshape(-1, len(ways))
    rows = [[name, *(f"{one:+.1f}" for one in line)] for name, line in zip(results, effects, strict=True)]
    if len(effects):
        rows.append(["mean", *(f"{one:+.1f}" for one in effects.mean(0))])
        rows.append(["worst", *(f"{one:+.1f}" for one in effects.max(0))])
        rows.append(["better by 3 % or more", *(f"{one} of {len(effects)}" for one in (effects <= -3).sum(0))])
    return (
        header("How a weighing is trained on")
        + "\nWhat CRPS of windows that follow the training is above that with the bundled weighing, in percent. "
        + "; ".join(f"{name}: {steps} steps, peak rate {rate:g}" for name, (steps, rate) in ALONE.items())
        + ".\n\n"
        + table(["task", *ways], rows)
    )


def written(path: Path, results: dict[str, dict[str, list[float]]]) -> None:
    """Keep the results, and write the table."""
    short = {
        name: {way: [float(f"{x:.5g}") for x in values] for way, values in found.items()}
        for name, found in results.items()
    }
    write_text(path.with_suffix(".json"), json.dumps(short) + "\n")
    write_text(path, report(results))


def told(found: dict[str, list[float]]) -> str:
    """The changes of a task, for who waits."""
    return ", ".join(f"{way} {change(found, way):+.1f} %" for way in (TOGETHER, *ALONE))


def main(
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
    report_only: Annotated[bool, typer.Option(help="Write the table of what is there; measure nothing.")] = False,
) -> None:
    """Measure what is missing, then write the table."""
    torch.set_num_threads(1)
    measure(output / "weighing_rule.md", () if report_only else tasks(data), scored, written, told)


def measure(
    path: Path,
    tasks: Iterable[Task],
    scored: Callable[[Task], Found],
    written: Callable[[Path, dict[str, Found]], None],
    told: Callable[[Found], str],
) -> None:
    """Score the tasks that have not been, and write what there is after each."""
    results: dict[str, Found] = kept(path)
    for task in tasks:
        if task.name not in results:
            results[task.name] = scored(task)
            written(path, results)
            print(task.name, told(results[task.name]), flush=True)
    written(path, results)


def kept(path: Path) -> dict[str, dict[str, list[float]]]:
    """What has been measured."""
    beside = path.with_suffix(".json")
    return json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}


if __name__ == "__main__":
    typer.run(main)
