"""When a fine-tuned weighing of simple forecasts should be taken: rules judged by the windows that came after.

    python benchmarks/weighing_rule.py
    python benchmarks/weighing_rule.py --report-only

Fine-tuning (`tsdiff.pretraining.finetuning`) weighs the bundled model's simple forecasts anew, and few windows that are
held back say whether that helps. Here, on each of nineteen tasks, the held-back windows and those that follow are
forecast with the weighing as bundled, with one that was trained on, with one midway between, and by samples of which
half are the bundled weighing's: six validation sets that end at three dates, and three sets of eight random walks in
business days that share a part, of which there is nothing to be learnt. What forecasts the windows that follow was
trained on those that are held back, too. No network is trained, and no test set is read. Every task is kept in
weighing_rule.json.
"""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from gluonts.dataset.split import TestData
from gluonts.model.forecast import Forecast, SampleForecast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder
from benchmarks.zero_shot import VALIDATION_WINDOWS
from recipes.default_forecaster.default import VALIDATION_SETS
from shared.files.io import write_text
from tsdiff.data import WindowSplit, hold_back, load_folder, split_windows
from tsdiff.data.entries import Entry
from tsdiff.evaluation.metrics import window_losses
from tsdiff.predictor import TSDiffPredictor
from tsdiff.pretraining.anchored import AnchoredSource
from tsdiff.pretraining.finetuning import FineTuning, tuning_source
from tsdiff.pretraining.weighing import TUNING_STEPS, midway, tuned
from tsdiff.windows.weighing import Weighing, bundled_weighing

RESULTS = Path("benchmarks/results")
WAYS = ("bundled", "anew", "midway")
HALVES = {"anew": "half of samples", "midway": "half, midway"}
"""What samples are called of which the other half are the bundled weighing's."""
RULES = (
    (-math.inf, -math.inf),
    (math.inf, -math.inf),
    (0.0, math.inf),
    (0.0, 0.0),
    (1.0, math.inf),
    (1.0, -math.inf),
    (1.0, -1.0),
    (1.0, 0.0),
    (1.0, 1.0),
    (1.645, math.inf),
    (1.645, -1.0),
)
"""Standard errors that the gain has to exceed: for the weighing anew, and else for the one midway."""


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


def halves(one: Sequence[Forecast], other: Sequence[Forecast]) -> list[Forecast]:
    """Forecasts of which each has half of its samples from one."""
    mixed: list[Forecast] = []
    for first, second in zip(one, other, strict=True):
        count = len(first.samples) // 2
        samples = np.concatenate([first.samples[:count], second.samples[count:]])
        mixed.append(SampleForecast(samples, first.start_date, first.item_id))
    return mixed


def scores(predictor: TSDiffPredictor, windows: TestData, anew: Weighing) -> dict[str, list[float]]:
    """Losses by way."""
    made: dict[str, list[Forecast]] = {}
    for way, weighing in zip(WAYS, (None, anew, midway(anew, bundled_weighing())), strict=True):
        predictor.model.weighing = weighing
        made[way] = list(predictor.predict(windows.input, 100))
    for way, half in HALVES.items():
        made[half] = halves(made["bundled"], made[way])
    return {way: losses(forecasts, windows) for way, forecasts in made.items()}


def measured(task: Task) -> dict[str, Any]:
    """Losses of the held-back and of the following windows, by way of weighing."""
    settings, model = FineTuning(), copy.deepcopy(task.predictor.model)
    predictor = task.predictor.with_model(model)
    rng = np.random.default_rng([settings.seed, 1])
    entries, held = hold_back(list(task.split.train), predictor.prediction_length, settings.held_back, rng)
    assert held is not None
    found: dict[str, Any] = {way: {} for way in (*WAYS, *HALVES.values())}
    whole = list(task.split.train)
    for part, series, windows in (("held", entries, held), ("after", whole, task.split.test)):
        source = tuning_source(model.config, series, settings, None)
        assert isinstance(source, AnchoredSource)
        anew = tuned(bundled_weighing(), source, settings.seed, TUNING_STEPS)
        for way, of_way in scores(predictor, windows, anew).items():
            found[way][part] = of_way
    return found


def gain(found: dict[str, Any], way: str) -> float:
    """Mean gain of the held-back windows in its standard errors."""
    gained = np.subtract(found["bundled"]["held"], found[way]["held"])
    return float(gained.mean() / (gained.std(ddof=1) / math.sqrt(len(gained))))


def change(found: dict[str, Any], way: str, part: str) -> float:
    """CRPS by that of the bundled weighing, less one, in percent."""
    return 100 * (float(np.sum(found[way][part])) / float(np.sum(found["bundled"][part])) - 1)


def taken(found: dict[str, Any], anew: float, midway: float) -> str:
    """The way that a rule takes."""
    if gain(found, "anew") > anew:
        return "anew"
    return "midway" if gain(found, "midway") > midway else "bundled"


def report(results: dict[str, dict[str, Any]]) -> str:
    """Both tables."""
    rows = [
        [name, str(len(found["bundled"]["held"]))]
        + [f"{change(found, way, 'held'):+.1f} ({gain(found, way):+.1f})" for way in WAYS[1:]]
        + [f"{change(found, way, 'after'):+.1f}" for way in (*WAYS[1:], *HALVES.values())]
        for name, found in results.items()
    ]
    head = ["task", "held back", "anew, % (standard errors)", "midway", "after: anew, %", "midway", *HALVES.values()]
    text = (
        header("When a weighing that was trained on is taken")
        + "\nCRPS by that with the bundled weighing, of windows that are held back and of those that follow; for these "
        "it was trained on what was held back, too. Half of samples: the other half are the bundled weighing's.\n\n"
        + table(head, rows)
    )
    lines = []
    for rule in RULES:
        cells = ["always" if limit == -math.inf else "never" if limit == math.inf else f"{limit:g}" for limit in rule]
        for names in ({}, HALVES):
            ways = ((found, taken(found, *rule)) for found in results.values())
            effects = np.array([change(found, names.get(way, way), "after") for found, way in ways])
            cells += [f"{effects.mean():+.1f}", f"{effects.max():+.1f}", f"{(effects <= -3).sum()} of {len(effects)}"]
        lines.append(cells)
    text += (
        "\n## Rules\n\nStandard errors that a gain has to exceed, and what the windows after gain or lose by that; "
        "half: with half of the samples by the bundled weighing.\n\n"
    )
    effect = ["mean, %", "worst, %", "better by 3 % or more"]
    return text + table(["anew", "else midway", *effect, *(f"half: {name}" for name in effect)], lines)


def written(path: Path, results: dict[str, dict[str, Any]]) -> None:
    """Keep the results, and write the tables."""
    short = {
        name: {w: {p: [float(f"{x:.5g}") for x in v] for p, v in parts.items()} for w, parts in found.items()}
        for name, found in results.items()
    }
    write_text(path.with_suffix(".json"), json.dumps(short) + "\n")
    write_text(path, report(results))


def main(
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the tables.")] = RESULTS,
    report_only: Annotated[bool, typer.Option(help="Write the tables of what is there; measure nothing.")] = False,
) -> None:
    """Measure what is missing, then write the tables."""
    torch.set_num_threads(1)
    path: Path = output / "weighing_rule.md"
    results: dict[str, dict[str, Any]] = kept(path)
    for task in () if report_only else tasks(data):
        if task.name not in results:
            results[task.name] = measured(task)
            written(path, results)
            print(task.name, *(f"{w} {change(results[task.name], w, 'after'):+.1f} %" for w in WAYS[1:]), flush=True)
    written(path, results)


def kept(path: Path) -> dict[str, dict[str, Any]]:
    """What has been measured."""
    beside = path.with_suffix(".json")
    return json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}


if __name__ == "__main__":
    typer.run(main)
