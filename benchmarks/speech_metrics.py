"""Every metric of speech on the public test pairs, beside the package that it comes from: equality and processor time.

Example:
    OMP_NUM_THREADS=1 python benchmarks/speech_metrics.py
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pesq
import pystoi
import soundfile
import torch
import typer
from speechmos import dnsmos
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from speech.metrics import METRICS, score

RATE = 16000
Package = Callable[[np.ndarray, np.ndarray], float]


def sdr_of_torchmetrics(clean: np.ndarray, noisy: np.ndarray) -> float:
    """SI-SDR by torchmetrics, in float64."""
    return float(scale_invariant_signal_distortion_ratio(torch.from_numpy(noisy), torch.from_numpy(clean)))


PACKAGES: dict[str, tuple[str, Package]] = {
    "pesq_wb": ("pesq", lambda clean, noisy: pesq.pesq(RATE, clean, noisy, "wb")),
    "pesq_nb": ("pesq", lambda clean, noisy: pesq.pesq(RATE, clean, noisy, "nb")),
    "estoi": ("pystoi", lambda clean, noisy: pystoi.stoi(clean, noisy, RATE, extended=True)),
    "stoi": ("pystoi", lambda clean, noisy: pystoi.stoi(clean, noisy, RATE, extended=False)),
    "si_sdr": ("torchmetrics", sdr_of_torchmetrics),
    "dnsmos_ovrl": ("speechmos", lambda clean, noisy: dnsmos.run(noisy, sr=RATE)["ovrl_mos"]),
}
SLOW = "dnsmos_ovrl"
TOGETHER = {"cbak": "csig", "covl": "csig", "dnsmos_sig": SLOW, "dnsmos_bak": SLOW, "dnsmos_p808": SLOW}
"""Metrics that are computed together with another, whose time is given."""


def measure(pairs: list[tuple[np.ndarray, np.ndarray]], name: str) -> list[str]:
    """One row: the metric, its mean on the noisy input, CPU time, the package and the largest difference from it."""
    values, differences = [], []
    started = time.process_time()
    for clean, noisy in tqdm(pairs, desc=name, disable=None):
        values.append(score([name], clean, noisy, RATE, noisy=noisy)[name].value)
    spent = (time.process_time() - started) / len(pairs)
    package, compute = PACKAGES.get(name, ("–", None))
    if compute is not None:
        differences = [abs(compute(*pair) - value) for pair, value in zip(pairs, values, strict=True)]
    difference = max(differences, default=math.nan)
    decimals = METRICS[name].decimals
    return [
        METRICS[name].title,
        f"{np.mean(values):.{decimals + 1}f}",
        str(len(pairs)),
        f"{spent * 1e3:.0f}",
        package,
        "–" if math.isnan(difference) else "0" if difference == 0 else f"{difference:.0e}",
    ]


def main(
    pairs: Annotated[Path, typer.Option(help="Folder with clean/ and noisy/.")] = Path(
        "../shared/data/speech/test_pairs"
    ),
    slow_files: Annotated[int, typer.Option(help="Files on which DNSMOS is run.")] = 4,
    output: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/results/speech_metrics.md"),
) -> None:
    """Score the noisy input of every pair by every metric, and by the packages."""
    paths = sorted((pairs / "clean").glob("*.wav"))
    loaded = [tuple(soundfile.read(pairs / kind / path.name)[0] for kind in ("clean", "noisy")) for path in paths]
    seconds = sum(len(clean) for clean, _ in loaded) / RATE / len(loaded)
    names = [name for name in METRICS if name not in TOGETHER]
    score(["estoi", SLOW], *loaded[0], RATE)
    rows = [measure(loaded[:slow_files] if name == SLOW else loaded, name) for name in names]
    together = [f"{METRICS[name].title} with {METRICS[other].title}" for name, other in TOGETHER.items()]
    about = (
        f"The noisy input against the clean, {len(loaded)} pairs of {seconds:.1f} s on average at {RATE} Hz; DNSMOS on "
        f"the first {slow_files}. Difference: the largest, over these files, from what the package gives for the same "
        "arrays. pystoi adds noise of 1e-16 to what it normalises for ESTOI, so that two of its own runs differ as "
        "much. CPU: milliseconds of processor time a file; the composite measures' hold PESQ's, which `evaluate` "
        f"shares. Computed together, for one price: {', '.join(together)}."
    )
    head = ["metric", "noisy input", "files", "CPU, ms", "package", "difference"]
    write_text(output, header("Metrics of speech on the public test pairs") + f"\n{about}\n\n" + table(head, rows))
    print(output.read_text())


if __name__ == "__main__":
    typer.run(main)
