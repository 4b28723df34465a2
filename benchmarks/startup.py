"""CPU time and memory of imports, help pages and usage errors, each in processes of their own.

Example:
    python benchmarks/startup.py --output benchmarks/results/startup.md
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
from shared.files.io import write_text

ROOT = Path(__file__).resolve().parents[1]
BASE = "import torch, pandas"
IMPORTS = (
    BASE,
    "import tsdiff",
    "import speech",
    "from tsdiff import TSDiffPredictor",
    "from tsdiff import TSDiffEstimator",
    "from speech import Enhancer",
    "import lightning, gluonts.torch",
)
COMMANDS = (
    "tsdiff --help",
    "tsdiff --version",
    "tsdiff forcast",
    "tsdiff forecast --help",
    "tsdiff forecast --bogus",
    "speech --help",
    "speech --version",
    "speech enhance --help",
    "speech enhance --bogus",
)


RUN = """
import os, sys
child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, *sys.argv[1:]])
_, _, used = os.wait4(child, 0)
sys.stderr.write(f"\\n{used.ru_utime + used.ru_stime} {used.ru_maxrss / 1024}")
"""
"""A small process between this one and the measured one, which else inherits the most memory of its parent."""


def cost(arguments: list[str]) -> tuple[float, float]:
    """CPU seconds, of user and system, and the most memory in MB, of a Python process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    seconds, megabytes = ran.stderr.splitlines()[-1].split()
    return float(seconds), float(megabytes)


def main(
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = Path("runs/startup.md"),
    repeats: Annotated[int, typer.Option(help="Processes for each line; the median counts.", min=1)] = 5,
) -> None:
    """Measure, and write the table."""
    lines = {code: ["-c", code] for code in IMPORTS}
    lines |= {line: ["-m", *line.split()] for line in COMMANDS}
    for arguments in lines.values():
        cost(arguments)  # writes the bytecode
    measured: dict[str, list[tuple[float, float]]] = {line: [] for line in lines}
    for _ in tqdm(range(repeats)):
        for line, arguments in lines.items():
            measured[line].append(cost(arguments))
    medians = {
        line: [statistics.median(values) for values in zip(*found, strict=True)] for line, found in measured.items()
    }
    whole = medians[BASE][0]
    rows = [
        [f"`{line}`", f"{seconds:.2f}", f"{seconds / whole:.2f}", f"{megabytes:.0f}"]
        for line, (seconds, megabytes) in medians.items()
    ]
    text = header("Start-up") + (
        f"\nCPU seconds (user and system) and the most memory of a process, medians of {repeats}; × is against "
        f"`{BASE}`.\n\n" + table(["", "CPU s", "×", "MB"], rows)
    )
    write_text(output, text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
