"""A 2-D mixture learned through every process, prediction and objective: how far the samples end from the truth.

Example:
    python benchmarks/mixture.py --jobs 2
"""

from __future__ import annotations

import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.mixture_lib import (
    LIMIT,
    OUTPUTS,
    SAMPLES,
    SDES,
    STEPS,
    WEIGHTINGS,
    Case,
    full_grid,
    gaussian_distance,
    noise_floor,
    run,
)
from shared.files.io import write_text


def measure(case: Case) -> tuple[Case, float]:
    """One cell, on one core."""
    torch.set_num_threads(1)
    return case, run(case)


def main(
    output: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("benchmarks/results/mixture.md"),
    jobs: Annotated[int, typer.Option(help="Cells trained at the same time.", min=1)] = 1,
) -> None:
    """Train, sample and measure the whole grid; exits with 1 when a distance is over the limit."""
    cases = full_grid()
    with get_context("spawn").Pool(jobs) as pool:
        results = dict(tqdm(pool.imap_unordered(measure, cases), total=len(cases), desc="mixture"))
    write_text(output, report(results))
    failed = [case.name for case, value in results.items() if not value < LIMIT[case.anchored]]
    typer.echo(f"{len(results)} cells, largest distance {max(results.values()):.3f}; written to {output}")
    if failed:
        typer.echo(f"over the limit: {', '.join(failed)}")
        raise typer.Exit(1)


def report(results: dict[Case, float]) -> str:
    """The tables, one a process."""
    parts = [
        header("A mixture of Gaussians, learned"),
        f"Sliced Wasserstein distance of {SAMPLES} samples to {SAMPLES} true ones, after {STEPS} training steps of a "
        "small perceptron. Processes with an anchor get y = 0.6·centre + noise and are judged on (x, y) jointly.\n",
        table(
            ["data", "two true sample sets, mean", "largest of 10", "Gaussian with the right moments", "limit"],
            [[label, *yardsticks(anchored)] for anchored, label in ((False, "x"), (True, "(x, y)"))],
        ),
        '"plain" regresses the output itself (the score: weighted by σ²); other columns weight the error in x̂_0.\n',
    ]
    for sde in SDES:
        rows = []
        for output in OUTPUTS:
            plain = "sigma2" if output == "score" else None
            cells = [Case(sde, output, plain if w is None else w) for w in WEIGHTINGS]
            rows.append([output, *[f"{results[cell]:.3f}" for cell in cells]])
        parts.append(f"## {sde}\n\n" + table(["output", *[w or "plain" for w in WEIGHTINGS]], rows))
    values = sorted(results.values())
    parts.append(f"Over all {len(values)} cells: median {values[len(values) // 2]:.3f}, largest {values[-1]:.3f}.\n")
    return "\n".join(parts)


def yardsticks(anchored: bool) -> list[str]:
    """What the distances are to be held against."""
    return [f"{value:.3f}" for value in (*noise_floor(anchored), gaussian_distance(anchored), LIMIT[anchored])]


if __name__ == "__main__":
    typer.run(main)
