"""What a model that is trained with nothing but its defaults is worth where series are short or have gaps.

    python benchmarks/training_defaults.py [--case short_daily] [--seeds 1]

Each case is cut from the training part of a set; its last windows, which are not trained on, are forecast. "by
frequency" takes the settings that the frequency alone tells, as all trainings did before (from_data=()), "from the
data" what `TSDiffEstimator(freq, horizon)` does now; the bundled model, which may have seen earlier values of these
series, stands beside them. Writes training_defaults.md into --output; a case that is done already is not run again.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.console.tables import markdown, shown
from shared.files.io import write_json, write_text
from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.data import Entry, SeriesSet, candidate_seasons, load_dataset, split
from tsdiff.evaluation.metrics import best_seasonal_naive, evaluate

SERIES = Path(os.environ.get("SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "series"


@dataclass(frozen=True)
class Case:
    """Series of a set, and what is done to them.

    Attributes:
        name: of the set.
        horizon, windows: what is forecast.
        series, length: how many, and their last values.
        outages: share of blocks of a day that are taken out of the training part.
        apart: whether each series trains a model of its own.
    """

    name: str
    horizon: int
    windows: int
    series: int
    length: int
    outages: float = 0.0
    apart: bool = False


CASES = {
    "forty_values": Case("chicago_l_daily", 7, 1, 7, 40, apart=True),
    "short_daily": Case("chicago_l_daily", 14, 2, 20, 228),
    "twelve_monthly": Case("aus_retail_monthly", 18, 1, 12, 168),
    "weekly": Case("ansett_weekly", 8, 2, 30, 266),
    "hourly_counts_with_outages": Case("nyc_departures_hourly", 24, 3, 10, 4000, outages=0.3),
    "beijing_air": Case("beijing_air_hourly", 24, 3, 12, 6000),
}


def entries_of(case: Case) -> tuple[SeriesSet, list[Entry]]:
    """The set, and the entries of a case."""
    whole = load_dataset(SERIES / case.name, part="train")
    rng, made = np.random.default_rng(0), []
    for place in np.linspace(0, len(whole) - 1, case.series).round().astype(int):
        entry = whole[int(place)]
        first = max(0, len(entry["target"]) - case.length)
        target = np.array(entry["target"][first:])
        blocks = target[: (len(target) - case.windows * case.horizon) // 24 * 24].reshape(-1, 24)
        if case.outages:
            blocks[np.repeat(rng.random(-(-len(blocks) // 3)) < case.outages, 3)[: len(blocks)]] = np.nan
        made.append({"item_id": entry["item_id"], "start": entry["start"] + first, "target": target})
    return whole, made


def measure(case: Case, freq: str, entries: list[Entry], seed: int) -> dict[str, dict[str, float]]:
    """Scores of each way, by name."""
    groups = [[entry] for entry in entries] if case.apart else [entries]
    parts = split(entries, case.horizon, case.windows)
    naive = best_seasonal_naive(parts.test, candidate_seasons(freq)[:2])[1].crps

    def trained(**settings: Any) -> Callable[[list[Entry]], TSDiffPredictor]:
        estimator = TSDiffEstimator(freq, case.horizon, **settings).with_training(seed=seed)
        return lambda series: estimator.train(series, progress=False)

    bundled = TSDiffPredictor.from_pretrained("default").adapted(freq, case.horizon)
    ways = {"by frequency": trained(from_data=()), "from the data": trained(), "bundled": lambda _: bundled}
    found = {}
    for name, way in ways.items():
        started, made = time.process_time(), []
        for group in groups:
            own = split(group, case.horizon, case.windows)
            made += list(way(list(own.train)).predict(own.test.input, 100))
        scores = evaluate(made, parts.test)
        found[name] = {
            "crps": scores.crps / naive,
            "coverage_50": scores.coverage_50,
            "coverage_90": scores.coverage_90,
            "seconds": time.process_time() - started,
        }
    return found


def main(
    case: Annotated[list[str] | None, typer.Option(help="Cases to run; all if left out.")] = None,
    seeds: int = 1,
    output: Path = Path("runs/training_defaults"),
) -> None:
    """Measure, and write the table of all that was measured."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    output.mkdir(parents=True, exist_ok=True)
    for name in case or CASES:
        for seed in range(seeds):
            path = output / f"{name}-{seed}.json"
            if not path.is_file():
                whole, entries = entries_of(CASES[name])
                write_json(path, measure(CASES[name], whole.freq, entries, seed))
    rows = []
    for name in CASES:
        runs = [json.loads(path.read_text()) for path in sorted(output.glob(f"{name}-*.json"))]
        for way in runs[0] if runs else ():
            mean = {key: float(np.mean([run[way][key] for run in runs])) for key in runs[0][way]}
            cover = [f"{100 * mean[key]:.0f} %" for key in ("coverage_50", "coverage_90")]
            rows.append([name, way, shown(mean["crps"]), *cover, f"{mean['seconds']:.0f}", str(len(runs))])
    titles = ["case", "settings", "CRPS × naive", "50 % covers", "90 % covers", "CPU s", "seeds"]
    write_text(output / "training_defaults.md", markdown(titles, rows))


if __name__ == "__main__":
    typer.run(main)
