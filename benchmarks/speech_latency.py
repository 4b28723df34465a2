"""How late a stream's output is, by sample rate: what `stream.latency` states, and the most that is held back.

Noise is pushed in blocks of a millisecond for some seconds; what has gone in and not yet come out after each push is
what a listener waits for, computation aside.

Example:
    python benchmarks/speech_latency.py
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from speech import Enhancer

RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)


def held_back(enhancer: Enhancer, rate: int, seconds: float) -> tuple[float, float]:
    """Stated latency, and the most that was held back after a push, in milliseconds."""
    stream = enhancer.stream(rate)
    block = rate // 1000
    noise = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * 1000), block)).astype(np.float32)
    pushed = out = most = 0
    for piece in noise:
        pushed += len(piece)
        out += stream.push(piece).shape[-1]
        most = max(most, pushed - out)
    return 1000 * stream.latency, 1000 * most / rate


def main(
    model: Annotated[str, typer.Option(help="Folder or name of a causal model.")] = "causal",
    seconds: Annotated[float, typer.Option(help="Length of each stream.")] = 5.0,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = Path("benchmarks/results"),
) -> None:
    """Measure every rate, and write the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    enhancer = Enhancer.from_pretrained(model)
    rows = [[str(rate), *(f"{ms:.1f}" for ms in held_back(enhancer, rate, seconds))] for rate in RATES]
    text = (
        header("Latency of streams")
        + f"\nModel: {model}; {seconds:g} s of noise in blocks of a millisecond. The second column is what "
        "`stream.latency` states: at most so much is held back; the third the most that was.\n\n"
        + table(["rate, Hz", "stated, ms", "most held back, ms"], rows)
    )
    write_text(output / "speech_latency.md", text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
