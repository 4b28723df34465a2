"""What a GPU makes of both domains: one command, under ten minutes, whose rows are kept as they are made.

    python benchmarks/gpu.py                                        all of it; the same again does what is missing
    python benchmarks/gpu.py --public ../sgmse --public-tsdiff ../unconditional-time-series-diffusion
    python benchmarks/gpu.py --device cpu --small --output runs/gpu/gpu.md        a trial without a GPU

Each part runs in a process of its own (`benchmarks/gpu_parts.py`): one that fails leaves the others alone. Times are
medians of calls that wait for the device. What is compiled comes last, for it takes long to start; where --minutes end
before, the next call goes on there. --public and --public-tsdiff are checkouts of the published codes, which are
timed beside ours (TSDiff's needs einops and opt_einsum).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import gpu_parts
from benchmarks.gpu_measure import KEYS, Bench, card
from benchmarks.machine import header, table
from benchmarks.public_tsdiff import CODE
from benchmarks.rows import Rows
from benchmarks.speech_speed import PUBLIC
from shared.devices import compute_device
from shared.files.io import write_text

RESULT = Path("benchmarks/results/gpu.md")
PEAK_OF = {"float32": "tf32"}
"""What a way's products of matrices run at: convolutions in float32 are computed in TF32 by default."""


def share(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Of the rate of large products of matrices in the same precision, in the same run."""
    precision = str(row["way"]).split()[0]
    wanted = PEAK_OF.get(precision, precision)
    peaks = [float(one["tflops"]) for one in rows if one["part"] == "peak" and one["way"] == wanted]
    if row["part"] == "peak" or not peaks or not float(row["tflops"] or 0):
        return ""
    return f"{float(row['tflops']) / peaks[0]:.0%}"


def beside(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """How much less time ours takes than the public code in the same precision."""
    precision = str(row["way"]).split()[0]
    for one in rows:
        same = one["part"] == row["part"] and one["what"] == row["what"] and one["way"] == precision
        if row["side"] == "ours" and one["side"] != "ours" and same and one["ms"] != "" and row["ms"] != "":
            return f"{float(one['ms']) / float(row['ms']):.2f}"
    return ""


def report(rows: list[dict[str, Any]], name: str) -> str:
    """The table."""

    def shown(row: dict[str, Any], column: str, form: str) -> str:
        return "" if row[column] == "" else format(float(row[column]), form)

    head = ["", "side", "computed in", "ms", "a second", "", "TFLOP/s", "of the peak", "× public", "GB"]
    text = header("Speed on a GPU") + (
        f"\nCard: {name}. Medians; GB is the most memory that was taken. “Of the peak” compares with products of large "
        "matrices in the same precision (float32: in TF32, in which convolutions are computed by default); a training "
        "step counts three forward passes. “× public” compares with the public code in the same precision, "
        "not compiled. "
        '“Graphs” are CUDA graphs (`torch.compile(mode="reduce-overhead")`).\n'
    )
    for part, (title, _) in gpu_parts.PARTS.items():
        found = [row for row in rows if row["part"] == part]
        if not found:
            continue
        lines = []
        for row in found:
            line = [str(row["what"]), str(row["side"]), str(row["way"]), shown(row, "ms", ".3g")]
            line += [shown(row, "per_second", ".4g"), str(row["unit"]), shown(row, "tflops", ".3g")]
            line += [share(row, rows), beside(row, rows), shown(row, "gigabytes", ".2f") or str(row["note"])]
            lines.append(line)
        text += f"\n## {title}\n\n" + table(head, lines)
    return text


def main(
    device: Annotated[str, typer.Option(help="cuda, or cpu for a trial.")] = "cuda",
    small: Annotated[bool, typer.Option("--small", help="Small networks and batches, for a trial.")] = False,
    minutes: Annotated[float, typer.Option(help="When to stop; what was measured is kept.")] = 9.0,
    parts: Annotated[list[str] | None, typer.Option("--part", help="Only these; see the table's headings.")] = None,
    public: Annotated[Path | None, typer.Option(help="Checkout of the published SGMSE+ code.")] = None,
    public_tsdiff: Annotated[Path | None, typer.Option(help="Checkout of the published TSDiff code.")] = None,
    data: Annotated[Path | None, typer.Option(help="Speech to mix; left out, sounds by formula.")] = None,
    output: Annotated[Path, typer.Option(help="Markdown file; the rows lie beside it.")] = RESULT,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure what is not measured yet, and write the table."""
    device = str(compute_device(device))
    for name, path in ((PUBLIC, public), (CODE, public_tsdiff)):
        if path is not None:
            os.environ[name] = str(path.resolve())
    rows, ends = Rows(output.with_suffix(".csv"), KEYS), time.time() + 60 * minutes
    if worker:
        gpu_parts.PARTS[worker][1](Bench(device, small, rows, ends, worker, data))
        return
    unknown = set(parts or ()) - set(gpu_parts.PARTS)
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: the parts are {', '.join(gpu_parts.PARTS)}")
    for part in parts or gpu_parts.PARTS:
        if gpu_parts.NEEDS.get(part, "PATH") not in os.environ:
            continue
        left = ends - time.time()
        if left < 5:
            print(f"{minutes:g} minutes are over; the same command goes on with {part}")
            break
        command = [sys.executable, __file__, "--worker", part, "--device", device, "--minutes", str(left / 60)]
        command += ["--output", str(output), *(["--small"] if small else []), *(["--data", str(data)] if data else [])]
        try:
            done = subprocess.run(command, timeout=left, check=False)
            print(f"{part}: {'done' if done.returncode == 0 else f'ended with status {done.returncode}'}", flush=True)
        except subprocess.TimeoutExpired:
            print(f"{part}: stopped after {left:.0f} s", flush=True)
        mine = [row for row in rows.read() if row["card"] == card(device) and row["size"] == Bench.size_of(small)]
        write_text(output, report(mine, card(device)))
    print(output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
