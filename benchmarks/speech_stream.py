"""What a stream costs: CPU time, as a share of one core, by sample rate, through PyTorch and through ONNX Runtime.

Noise is pushed in blocks of 16 ms, a second through one runtime and then a second through the other, in turn, so that
both meet the same company on the machine. CPU time is the process' own, on one thread. The latency is what
`stream.latency` states: how long after it a sample comes out, computation aside.

Example:
    python benchmarks/speech_stream.py
"""

from __future__ import annotations

import sys
import time
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
from speech.inference.onnx_network import Runtime
from speech.inference.streaming import Stream

RATES = (16000, 48000)
RUNTIMES: tuple[Runtime, ...] = ("torch", "onnx")
BLOCK_SECONDS = 0.016
"""A frame of the bundled model."""


def cost(stream: Stream, noise: np.ndarray) -> float:
    """CPU seconds that a second of sound takes."""
    block = round(BLOCK_SECONDS * stream.sample_rate)
    started = time.process_time()
    for first in range(0, noise.shape[-1], block):
        stream.push(noise[first : first + block])
    return (time.process_time() - started) * stream.sample_rate / len(noise)


def measure(enhancer: Enhancer, rate: int, seconds: int) -> tuple[float, dict[str, list[float]]]:
    """Latency in ms, and by runtime the CPU seconds of each second of sound."""
    streams = {runtime: enhancer.stream(rate, runtime=runtime) for runtime in RUNTIMES}
    found: dict[str, list[float]] = {runtime: [] for runtime in RUNTIMES}
    rng = np.random.default_rng(0)
    for second in range(seconds + 1):
        noise = 0.1 * rng.standard_normal(rate).astype(np.float32)
        for runtime, stream in streams.items():
            taken = cost(stream, noise)
            if second:  # the first warms up
                found[runtime].append(taken)
    return 1000 * streams["torch"].latency, found


def main(
    model: Annotated[str, typer.Option(help="Folder or name of a causal model.")] = "causal",
    seconds: Annotated[int, typer.Option(help="Of sound through each runtime, at each rate.")] = 20,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = Path("benchmarks/results"),
) -> None:
    """Measure, and write the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    enhancer = Enhancer.from_pretrained(model, device="cpu")
    rows = []
    for rate in RATES:
        latency, found = measure(enhancer, rate, seconds)
        middle = {runtime: float(np.median(taken)) for runtime, taken in found.items()}
        ratio = float(np.median(np.divide(found["torch"], found["onnx"])))
        for runtime, taken in found.items():
            shares = [f"{middle[runtime]:.3f}", f"{min(taken):.3f}"]
            frame = f"{1000 * BLOCK_SECONDS * middle[runtime]:.2f}"
            faster = "1" if runtime == "torch" else f"{ratio:.1f}"
            rows.append([str(rate), runtime, f"{latency:.1f}", frame, *shares, faster])
            print(rows[-1], flush=True)
    head = ["rate, Hz", "runtime", "latency, ms", "CPU ms a frame", "share of a core, median", "least", "times as fast"]
    text = (
        header("Cost of streams")
        + f"\nModel: {model}; {seconds} s of noise in blocks of 16 ms (a frame) through each, second by second in turn."
        " CPU time of the process, one thread, which grows where other work shares the machine. Median and least of the"
        " seconds.\n\n" + table(head, rows)
    )
    write_text(output / "speech_stream.md", text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
