"""The main job as a user runs it: from no trained model to the picture, timed and scored over seeds.

Example:
    python benchmarks/forecast.py --seeds 3
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text

ROOT = Path(__file__).resolve().parents[1]
SCORES = ("crps", "nd", "nrmse", "mase", "coverage_50", "coverage_90")
GUIDANCES = ("mse", "quantile")


def run(output: Path, *options: str) -> tuple[dict[str, Any], float]:
    """One call of the recipe in a fresh process: its metrics and its wall-clock seconds, start-up included."""
    started = time.perf_counter()
    command = [sys.executable, "recipes/forecast.py", "--output", str(output), *options]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return json.loads((output / "metrics.json").read_text(encoding="utf-8")), seconds


def row(name: str, metrics: dict[str, Any], seconds: str) -> list[str]:
    """One line of the table."""
    return [name, *(f"{metrics[score]:.4f}" for score in SCORES), seconds]


def main(
    seeds: Annotated[int, typer.Option(help="Seeds 0 … n − 1.")] = 3,
    output: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("benchmarks/results/forecast.md"),
) -> None:
    """Run the recipe for every seed, with both energies on the same trained model."""
    rows: list[list[str]] = []
    scores: dict[str, list[float]] = {guidance: [] for guidance in GUIDANCES}
    whole: list[float] = []
    naive: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            place = Path(folder) / str(seed)
            metrics, seconds = run(place, "--seed", str(seed))
            naive = metrics["seasonal_naive"]
            whole.append(seconds)
            scores["mse"].append(metrics["model"]["crps"])
            parts = metrics["seconds"]
            split = f"{seconds:.0f} (train {parts['train']:.0f}, predict {parts['predict']:.0f})"
            rows.append(row(f"TSDiff, MSE guidance, seed {seed}", metrics["model"], split))
            again, seconds = run(place, "--seed", str(seed), "--guidance", "quantile")
            scores["quantile"].append(again["model"]["crps"])
            reused = f"{seconds:.0f} (model reused)"
            rows.append(row(f"TSDiff, quantile guidance, seed {seed}", again["model"], reused))
            print(*rows[-2:], sep="\n", flush=True)
    rows.append(row("seasonal naive, better of 24 and 168", naive, ""))
    share = {name: 1 - statistics.median(values) / naive["crps"] for name, values in scores.items()}
    text = (
        header("Forecast: the main job, from no trained model to the picture")
        + "\nEmbedded data: ten hourly series, seven test windows of 24 h each, 100 samples, one CPU thread. "
        "Seconds are wall-clock of the whole command, start-up and picture included.\n\n"
        + table(["method", "CRPS", "ND", "NRMSE", "MASE", "cover 50 %", "cover 90 %", "seconds"], rows)
        + f"\nMedian CRPS under seasonal naive's by {share['mse']:.0%} (MSE guidance) and {share['quantile']:.0%} "
        f"(quantile guidance). Slowest whole run: {max(whole):.0f} s.\n"
    )
    write_text(output, text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
