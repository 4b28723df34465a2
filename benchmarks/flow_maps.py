"""Flow maps on a ring of eight modes seen through noise: each method, in one, two and four calls, with two seeds.

Every network has the same budget of CPU time. A map's first half goes to the plain flow that it starts from.

Example:
    OMP_NUM_THREADS=1 nice python benchmarks/flow_maps.py --seconds 30
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.ring import Budget, distance, floor, train_ring
from benchmarks.rows import Rows
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
COLUMNS = (*(f"calls_{calls}" for calls in CALLS), f"ode1_{FINE}")


def report(rows: list[dict[str, Any]], seconds: float) -> str:
    """The table; of each number one for each seed."""
    head = ["method", *(f"{calls} call{'s' if calls > 1 else ''}" for calls in CALLS), f"{FINE} calls of ode1"]
    lines = []
    for name in METHODS:
        found = sorted((row for row in rows if row["method"] == name), key=lambda row: int(row["seed"]))
        if found:
            lines.append([name, *("/".join(f"{row[column]:.4f}" for row in found) for column in COLUMNS)])
    return (
        header("Flow maps on a ring of modes")
        + "\nSliced Wasserstein-1 distance of samples and what is seen of them from data and what is seen of them; "
        f"two sets of data are {floor():.4f} apart. One number for each seed. Each network has {seconds:g} s of CPU "
        "time on one core, a map's first half for the plain flow that it starts from. The last column is the plain "
        "sampler with the map at its diagonal.\n\n" + table(head, lines)
    )


def main(
    seconds: Annotated[float, typer.Option(help="CPU time of each training.")] = 30.0,
    seeds: Annotated[int, typer.Option(help="Trainings of each method.")] = 2,
    methods: Annotated[list[str], typer.Option("--method", help="Repeat the option.")] = list(METHODS),  # noqa: B006
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/flow_maps.csv"
    ),
) -> None:
    """Train each method with each seed that is not in the table, and write it."""
    torch.set_num_threads(1)
    results = Rows(output, ("method", "seed"))
    for name in methods:
        for seed in range(seeds):
            row: dict[str, Any] = {"method": name, "seed": seed}
            if results.has(row):
                continue
            denoiser = train_ring(METHODS[name], Budget(seconds), seed)
            own = "ode1" if METHODS[name] is None else "map"
            row |= {f"calls_{calls}": distance(denoiser, own, calls) for calls in CALLS}
            results.add({**row, COLUMNS[-1]: distance(denoiser, "ode1", FINE)})
            print(*results.read()[-1].values(), flush=True)
    write_text(output.with_suffix(".md"), report(results.read(), seconds))


if __name__ == "__main__":
    typer.run(main)
