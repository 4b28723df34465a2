"""What the calendar brings to the bundled forecaster: days of the month and the year, and what months are made of.

    python benchmarks/calendars.py

The same windows are forecast with and without `calendar_days`. Daily rides and a load by half hours have feasts; sums
of months go by how many Saturdays they have.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
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
from tsdiff.tasks.suited import SUITED

RESULTS = Path("benchmarks/results/calendars.md")
MOST_SERIES, ETS_HISTORY = 10, 500


@dataclass(frozen=True)
class Task:
    """Windows of a set, at its own steps or summed to those of `freq`; AutoETS is slow where days have 48."""

    set: str
    freq: str
    horizon: int
    windows: int
    beside_ets: bool = True

    def split(self, folder: Path) -> WindowSplit:
        """Its last windows, one after the other, of about MOST_SERIES series, evenly chosen."""
        entries = load_folder(folder / "series" / self.set).train
        if self.freq not in ("D", "B") and "daily" in self.set:
            entries = resampled(entries, self.freq, total=True)
        picked = list(entries)
        return split_windows(picked[:: max(1, len(picked) // MOST_SERIES)], self.horizon, self.windows)


TASKS = (
    Task("chicago_l_daily", "D", 14, 52),
    Task("gafa_stock_bday", "B", 30, 8),
    Task("vic_elec_half_hourly", "30min", 48, 330, beside_ets=False),
    Task("chicago_l_daily", "M", 12, 4),
    Task("aus_retail_monthly", "M", 18, 4),
    Task("pbs_monthly", "M", 12, 4),
    Task("aus_livestock_monthly", "M", 18, 4),
)


def row(task: Task, folder: Path, samples: int) -> list[str]:
    """A task's scores, as cells."""
    split = task.split(folder)
    ours = TSDiffPredictor.from_pretrained("default").adapted(task.freq, task.horizon)
    made = [list(one.predict(split.test.input, samples)) for one in (ours.with_sampling(calendar_days=False), ours)]
    without, beside = (evaluate(forecasts, split.test) for forecasts in made)
    naive = best_seasonal_naive(split.test, candidate_seasons(task.freq))[1].crps
    found = np.mean([one.info[SUITED].calendar_days > 0 for one in made[1]])
    theirs = _ets(task, split, samples) if task.beside_ets else None
    scores = [f"{one.crps / naive:.3f} ({one.coverage_90:.2f})" if one else "–" for one in (theirs, without, beside)]
    return [
        task.set,
        task.freq,
        str(len(made[1])),
        f"{100 * found:.0f} %",
        *scores,
        f"{beside.crps / without.crps:.3f}",
    ]


def _ets(task: Task, split: WindowSplit, samples: int) -> Metrics:
    with quiet():
        made = train_baseline(
            "auto_ets", split.train, task.freq, task.horizon, num_samples=samples, max_history=ETS_HISTORY
        )
        return evaluate(list(made.predict(split.test.input)), split.test)


def text(rows: Sequence[Sequence[str]], samples: int) -> str:
    """The page."""
    head = ["set", "steps", "windows", "used in", "AutoETS", "without the calendar", "with it", "ratio"]
    return header("What the calendar brings to the bundled forecaster") + (
        "\nThe last windows of sets, one after the other. It was not trained on these sets, but on what precedes the "
        f"last months of shares and of pbs_monthly, and the last days of vic_elec. CRPS ({samples} samples) by the "
        "seasonal naive's, the better lag (coverage of 90 % intervals). Rides on the trains of Chicago have feasts, all"
        " of which 52 windows of two weeks hold; prices and volumes of shares have hardly any. The load of "
        "vic_elec has feasts, its temperature none.\n\n" + table(head, [list(one) for one in rows])
    )


def main(
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="The table.")] = RESULTS,
    samples: Samples = 100,
) -> None:
    """Measure, and write the table."""
    torch.set_num_threads(1)
    rows = []
    for task in TASKS:
        rows.append(row(task, data, samples))
        print(*rows[-1], flush=True)
    write_text(output, text(rows, samples))


if __name__ == "__main__":
    typer.run(main)
