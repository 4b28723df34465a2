"""Several channels drawn together, beside single ones: scores of channels, of their sum, of all at once.

Each seed trains a joint model and a model of single channels on four regions of the embedded electricity grid, as
`recipes/forecast_jointly.py` does, and scores the test windows. What is there is not made again.

Example:
    python benchmarks/multivariate.py --steps 4000
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.rows import Rows
from recipes.forecast_jointly import COLUMNS, REGIONS, compare, stacked
from shared.files.io import write_text
from tsdiff.data import embedded_series

RESULTS = Path("benchmarks/results")
KEYS = ("forecast", "steps", "seed")


def report(rows: list[dict[str, Any]], windows: int) -> str:
    """Medians over seeds, and every seed's range."""
    lines = []
    for name, steps in dict.fromkeys((row["forecast"], row["steps"]) for row in rows):
        made = [row for row in rows if (row["forecast"], row["steps"]) == (name, steps)]
        cells = []
        for column in COLUMNS:
            values = sorted(row[column] for row in made)
            cells.append(f"{statistics.median(values):.4g} ({values[0]:.4g}–{values[-1]:.4g})")
        lines.append([name, str(steps), str(len(made)), *cells])
    return (
        header("Several channels at once")
        + f"\nThe regions {', '.join(REGIONS)} of the embedded data, {windows} test windows of 24 hours, 100 samples; "
        "median over seeds (range). One model draws the four channels of a window together; the same samples shuffled "
        "within each channel have the same single channels and no dependence; a model of single channels is trained "
        "for as many steps on all four as series of their own, so that it sees four times as many windows of one.\n\n"
        + table(["forecast", "training steps", "seeds", *COLUMNS], lines)
    )


def main(
    steps: Annotated[int, typer.Option(help="Training steps of each model.")] = 4000,
    seeds: Annotated[int, typer.Option(help="Seeds 0 … n − 1.")] = 3,
    windows: Annotated[int, typer.Option(help="Test windows at the end.")] = 7,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
) -> None:
    """Measure what is missing, then write the table."""
    torch.set_num_threads(1)
    series = embedded_series()
    entry = stacked(replace(series, entries=[one for one in series if one["item_id"] in REGIONS]))
    rows = Rows(output / "multivariate.csv", KEYS)
    for seed in range(seeds):
        if rows.has({"forecast": "each channel by itself", "steps": steps, "seed": seed}):
            continue
        made, *_ = compare(entry, series.freq, 24, windows, steps, 100, seed)
        for name, scores in made.items():
            rows.add({"forecast": name, "steps": steps, "seed": seed, **scores})
            print(seed, name, *(f"{value:.4g}" for value in scores.values()), flush=True)
    write_text(output / "multivariate.md", report(rows.read(), windows))


if __name__ == "__main__":
    typer.run(main)
