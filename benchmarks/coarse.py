"""The validation sets at coarser steps, as firms report: quarters, years, weeks, months, beside AutoETS and the naive.

    python benchmarks/coarse.py

What is forecast are sums of each period, of the ends of the training parts; no set is trained on. Of short series with
little noise a model that is fitted to each of them, as AutoETS is, does well.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder, Samples
from recipes.default_forecaster.sets import resampled
from shared.files.io import write_text
from tsdiff.baselines import train_baseline
from tsdiff.data import WindowSplit, candidate_seasons, load_folder, split_windows
from tsdiff.data.frequency import quiet
from tsdiff.evaluation.metrics import Metrics, best_seasonal_naive, evaluate
from tsdiff.predictor import TSDiffPredictor

RESULTS = Path("benchmarks/results/coarse.md")
MOST_WINDOWS, MOST_OF_A_SERIES, FEWEST = 300, 4, 3
"""Windows of a set, and of a series, about; and horizons that a series has to hold."""


@dataclass(frozen=True)
class Task:
    """Sums over the periods of `freq` of a set, `horizon` of them ahead."""

    set: str
    freq: str
    horizon: int


TASKS = (
    Task("aus_retail_monthly", "Q-DEC", 8),
    Task("aus_livestock_monthly", "Q-DEC", 8),
    Task("aus_retail_monthly", "Y-DEC", 5),
    Task("aus_livestock_monthly", "Y-DEC", 5),
    Task("chicago_l_daily", "W-SUN", 8),
    Task("chicago_l_daily", "M", 12),
)


def split_of(task: Task, folder: Path) -> WindowSplit:
    """The last windows of a task's series, and what precedes them."""
    entries = resampled(load_folder(folder / "series" / task.set).train, task.freq, total=True)
    entries = [entry for entry in entries if len(entry["target"]) >= FEWEST * task.horizon]
    windows = max(1, min(MOST_OF_A_SERIES, MOST_WINDOWS // len(entries)))
    return split_windows(entries, task.horizon, windows)


def compared(split: WindowSplit, freq: str, horizon: int, samples: int) -> dict[str, Metrics]:
    """The scores on a split of the bundled model, "ours", of AutoETS, "ets", and of the seasonal naive, "naive"."""
    ours = TSDiffPredictor.from_pretrained("default").adapted(freq, horizon)
    ets = train_baseline("auto_ets", split.train, freq, horizon, num_samples=samples)
    with quiet():
        return {
            "ours": evaluate(list(ours.predict(split.test.input, samples)), split.test),
            "ets": evaluate(list(ets.predict(split.test.input)), split.test),
            "naive": best_seasonal_naive(split.test, candidate_seasons(freq))[1],
        }


def main(
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="The table.")] = RESULTS,
    samples: Samples = 100,
) -> None:
    """Measure, and write the table."""
    torch.set_num_threads(1)
    lines, gains = [], []
    for task in TASKS:
        split = split_of(task, data)
        made = compared(split, task.freq, task.horizon, samples)
        lengths = [len(entry["target"]) for entry in split.test.input]
        relative = {name: made[name].crps / made["naive"].crps for name in ("ours", "ets")}
        gains.append(relative["ours"] / relative["ets"])
        lines.append(
            [task.set, task.freq, str(len(lengths)), f"{min(lengths)}–{max(lengths)}"]
            + [f"{relative[name]:.3f} ({made[name].coverage_90:.2f})" for name in ("ours", "ets")]
            + [f"{gains[-1]:.2f}"]
        )
        print(*lines[-1], flush=True)
    text = header("The bundled forecaster at coarse steps") + (
        f"\nSums of periods, the last windows of validation sets' training parts. CRPS ({samples} samples) by the "
        "seasonal naive's, the better lag (coverage of 90 % intervals).\n\n"
        + table(["set", "steps", "windows", "steps known", "bundled", "AutoETS", "bundled by AutoETS"], lines)
        + f"\nGeometric mean of the last column: {np.exp(np.mean(np.log(gains))):.2f}.\n"
    )
    write_text(output, text)


if __name__ == "__main__":
    typer.run(main)
