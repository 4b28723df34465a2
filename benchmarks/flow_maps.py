"""Flow maps on a ring of eight modes seen through noise: each method, in one, two and four calls, with two seeds.

Every network has the same budget of CPU time. A map's first half goes to the plain flow that it starts from.

Example:
    OMP_NUM_THREADS=1 nice python benchmarks/flow_maps.py --seconds 30
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.ring import Budget, distance, floor, train_ring
from shared.files.io import write_text
from shared.flow_maps import ConsistencyMap, LagrangianMap, MeanFlowMap, ShortcutMap
from shared.flow_maps.objectives import FlowMapObjective

METHODS: dict[str, FlowMapObjective | None] = {
    "plain flow": None,
    "lagrangian": LagrangianMap(),
    "shortcut": ShortcutMap(),
    "mean_flow": MeanFlowMap(),
    "mean_flow, improved": MeanFlowMap(improved=True),
    "consistency": ConsistencyMap(),
}
CALLS = (1, 2, 4)
FINE = 16
"""Calls of the plain sampler with the same network."""


def report(found: dict[str, list[list[float]]], seconds: float, spent: float) -> str:
    """The table; of each number one for each seed."""
    head = ["method", *(f"{calls} call{'s' if calls > 1 else ''}" for calls in CALLS), f"{FINE} calls of ode1"]
    rows = [
        [name, *("/".join(f"{value:.4f}" for value in column) for column in columns)] for name, columns in found.items()
    ]
    return (
        header("Flow maps on a ring of modes")
        + "\nSliced Wasserstein-1 distance of samples and what is seen of them from data and what is seen of them; "
        f"two sets of data are {floor():.4f} apart. One number for each seed. Each network has {seconds:g} s of CPU "
        "time on one core, a map's first half for the plain flow that it starts from. The last column is the plain "
        f"sampler with the map at its diagonal. All in all {spent / 60:.1f} CPU-minutes.\n\n" + table(head, rows)
    )


def main(
    seconds: Annotated[float, typer.Option(help="CPU time of each training.")] = 30.0,
    seeds: Annotated[int, typer.Option(help="Trainings of each method.")] = 2,
    methods: Annotated[list[str], typer.Option("--method", help="Repeat the option.")] = list(METHODS),  # noqa: B006
    output: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/results/flow_maps.md"),
) -> None:
    """Train each method with each seed, and write the table."""
    torch.set_num_threads(1)
    found: dict[str, list[list[float]]] = {}
    for name in methods:
        objective = METHODS[name]
        columns: list[list[float]] = [[] for _ in (*CALLS, FINE)]
        for seed in range(seeds):
            denoiser = train_ring(objective, Budget(seconds), seed)
            own = "ode1" if objective is None else "map"
            ways = [*((own, calls) for calls in CALLS), ("ode1", FINE)]
            for column, (method, calls) in zip(columns, ways, strict=True):
                column.append(distance(denoiser, method, calls))
            print(name, seed, *(f"{column[-1]:.4f}" for column in columns), flush=True)
        found[name] = columns
    write_text(output, report(found, seconds, time.process_time()))


if __name__ == "__main__":
    typer.run(main)
