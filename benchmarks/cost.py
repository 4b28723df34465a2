"""What a guided forecast, an enhanced second and a streamed one cost, here and in another checkout, turn by turn.

Each measurement is a process of its own in one of the two trees; they alternate, so that what else the machine does
falls on both. Only names that stay the same are called: the other tree may be an older release.

Example:
    git worktree add ../before 37e4326
    OMP_NUM_THREADS=1 python benchmarks/cost.py --before ../before
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.errors import ConfigError
from shared.files.io import write_text

ROOT = Path(__file__).resolve().parents[1]

_SERIES = """
import numpy as np, pandas as pd
rng = np.random.default_rng(0)
day = 50 + 10 * np.sin(np.arange(800) * 2 * np.pi / 24)
start = pd.Period("2024-01-01", "h")
data = [{"item_id": str(i), "start": start, "target": day + rng.normal(size=800)} for i in range(8)]
"""
_SOUND = """
import numpy as np
noisy = np.random.default_rng(0).normal(0, 0.1, 10 * 16000).astype(np.float32)
"""
CASES = {
    "guided forecast, bundled model, one series of 100 samples": (
        _SERIES
        + 'from tsdiff import TSDiffPredictor\npredictor = TSDiffPredictor.from_pretrained("default").adapted("h", 24)',
        "list(predictor.predict(data, num_samples=100))",
        8,
    ),
    "one second enhanced, bundled model": (
        _SOUND + 'from speech import Enhancer\nenhancer = Enhancer.from_pretrained("default")',
        "enhancer.enhance(noisy, 16000)",
        10,
    ),
    "one second streamed, causal model": (
        _SOUND + 'from speech import Enhancer\nenhancer = Enhancer.from_pretrained("causal")',
        "stream = enhancer.stream(16000)\n"
        "for i in range(0, 48000, 160): stream.push(noisy[None, i : i + 160])\n"
        "stream.flush()",
        3,
    ),
}
"""What is made ready, what is measured, and how many series or seconds that is."""
_MEASURE = """
import time, torch, warnings
warnings.simplefilter("ignore")
torch.set_num_threads(1)
{ready}
best = float("inf")
for _ in range({rounds}):
    began = time.process_time()
    {run}
    best = min(best, time.process_time() - began)
print(best)
"""


def seconds(tree: Path, name: str, rounds: int) -> float:
    """CPU seconds of the best of some rounds of a case, for one series or second, in a process of that tree."""
    ready, run, units = CASES[name]
    code = _MEASURE.format(ready=ready, run=run.replace("\n", "\n    "), rounds=rounds)
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{tree}: {name} failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1]) / units


def main(
    before: Annotated[Path, typer.Option(help="Another checkout, such as a git worktree.")],
    processes: Annotated[int, typer.Option(help="Processes of each case and tree; the median counts.", min=1)] = 5,
    rounds: Annotated[int, typer.Option(help="Rounds in a process; the best counts.", min=1)] = 3,
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = Path("benchmarks/results/cost.md"),
) -> None:
    """Measure in turn, and write the table."""
    if not (before / "shared" / "__init__.py").is_file():
        raise typer.BadParameter(f"{before} is no checkout of this repository")
    rows = []
    for name in CASES:
        found: dict[Path, list[float]] = {before.resolve(): [], ROOT: []}
        for _ in tqdm(range(processes), desc=name):
            for tree, values in found.items():
                values.append(seconds(tree, name, rounds))
        old, new = (statistics.median(values) for values in found.values())
        rows.append([name, f"{old:.4f}", f"{new:.4f}", f"{new / old:.3f}"])
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=before, capture_output=True, text=True
    ).stdout.strip()
    text = header("Cost, before and after") + (
        f"\nCPU seconds on one thread; medians of {processes} processes in turn, each the best of {rounds} rounds. "
        f"Before: {commit}.\n\n" + table(["case", "before", "after", "ratio"], rows)
    )
    write_text(output, text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
