"""Series in their first or second season, as of a shop of one year: the bundled forecaster, the naive and AutoETS.

    python benchmarks/young.py

No past tells there what a season ago is worth. Stretches of the validation sets' training parts, on which nothing is
trained, of which so many steps are known: once a season, a little more, once and a half, twice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.coarse import compared
from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder, Samples
from shared.files.io import write_text
from tsdiff.data import Entry, load_folder, split_windows
from tsdiff.data.entries import read_series

RESULTS = Path("benchmarks/results/young.md")
STRETCHES, KNOWN = 120, 0.7
"""Stretches of a set, about, and share of their values that are known, at least."""


@dataclass(frozen=True)
class Task:
    """Steps of a set, `horizon` of them ahead, of which `season` make one."""

    set: str
    horizon: int
    season: int


TASKS = (
    Task("aus_retail_monthly", 12, 12),
    Task("aus_livestock_monthly", 12, 12),
    Task("chicago_l_daily", 7, 7),
    Task("epf_hourly", 24, 24),
    Task("beijing_air_hourly", 24, 24),
    Task("traffic_weekly", 13, 52),
)


def lengths(season: int) -> tuple[int, ...]:
    """Steps that are known: a season, two steps more, one and a half seasons, two."""
    return season, season + 2, round(1.5 * season), 2 * season


def stretches(task: Task, known: int, folder: Path) -> Iterator[Entry]:
    """Random stretches of the set's series, with the horizon."""
    rng, steps = np.random.default_rng(0), known + task.horizon
    whole = [entry for entry in load_folder(folder / "series" / task.set).train if len(entry["target"]) >= steps]
    for place in range(max(len(whole), STRETCHES) if whole else 0):
        if len(whole) > STRETCHES and place % -(-len(whole) // STRETCHES):
            continue
        series = read_series(whole[place % len(whole)], str(place))
        first = int(rng.integers(len(series) - steps + 1))
        values = series.values[first : first + steps, 0]
        seen = ~np.isnan(values)
        if seen[:known].mean() >= KNOWN and seen[known:].any():
            yield {"target": values, "start": series.start + first, "item_id": str(place)}


def main(
    data: DataFolder = DEFAULT_DATA,
    samples: Samples = 100,
    output: Annotated[Path, typer.Option(help="Table.")] = RESULTS,
) -> None:
    """Run the comparison and write its table."""
    torch.set_num_threads(1)
    rows, ratios = [], []
    for task in TASKS:
        for known in lengths(task.season):
            entries = list(stretches(task, known, data))
            if not entries:
                continue
            split = split_windows(entries, task.horizon, 1)
            made = compared(split, entries[0]["start"].freqstr, task.horizon, samples)
            naive, relative = made["naive"].crps, made["ours"].crps / made["ets"].crps
            cells = [f"{made[name].crps / naive:.2f} ({made[name].coverage_90:.2f})" for name in ("ours", "ets")]
            rows.append([task.set, *map(str, (known, task.horizon, len(split.train))), *cells, f"{relative:.2f}"])
            ratios.append(relative)
            print(*rows[-1], flush=True)
    head = ["set", "steps known", "horizon", "stretches", "bundled", "AutoETS", "bundled by AutoETS"]
    text = (
        header("The bundled forecaster on young series")
        + f"\nStretches of validation sets' training parts. CRPS ({samples} samples) by the seasonal naive's, the "
        "better lag (coverage of 90 % intervals).\n\n"
        + table(head, rows)
        + f"\nMedian of the last column: {np.median(ratios):.2f}.\n"
    )
    write_text(output, text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
