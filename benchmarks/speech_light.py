"""Cost of the light network: parameters, multiply-adds, forward and training time, real-time factor by calls.

Times are CPU time of the process over the sound's length, so that what else the machine does counts little; with two
threads, wall time. Front end of the default model (16 kHz, n_fft 512, hop 256) and of the published ones.

Example:
    python benchmarks/speech_light.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.sde import SBVESDE
from shared.training.memory import keep_large_blocks
from speech.model.backbones.light import LightBackbone, LightConfig

BATCH, SECONDS, SEED = 4, 2.0, 0
WHAT = ("forward", "training", "training bf16")


class Case(NamedTuple):
    """A network and the spectrograms that it sees."""

    name: str
    config: LightConfig
    sample_rate: int
    n_fft: int
    hop: int

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    def frames(self, seconds: float) -> int:
        return int(seconds * self.sample_rate / self.hop) + 1


DEFAULT = LightConfig()
CASES = {
    "default": Case("default", DEFAULT, 16000, 512, 256),
    "causal": Case("causal", replace(DEFAULT, causal=True), 16000, 512, 256),
    "published": Case("default, front end as published", DEFAULT, 16000, 510, 128),
    "small": Case("width 48, 6 blocks", replace(DEFAULT, width=48, edge_width=24, blocks=6), 16000, 512, 256),
    "large": Case("width 96, 12 blocks", replace(DEFAULT, width=96, edge_width=48, blocks=12), 16000, 512, 256),
    "48k": Case("48 kHz, patch 12", replace(DEFAULT, patch=12), 48000, 1534, 384),
}


def inputs(case: Case, batch: int, seconds: float) -> tuple[Tensor, Tensor, Tensor]:
    """Random (x_t, y, t)."""
    generator = torch.Generator().manual_seed(SEED)
    shape = (2, batch, 1, case.bins, case.frames(seconds))
    x, y = 0.1 * torch.randn(shape, generator=generator, dtype=torch.complex64)
    return x, y, torch.rand(batch, generator=generator)


def milliseconds(run: Callable[[], object], seconds: float, repeats: int) -> float:
    """Least time of `run` for a second of sound: CPU time on one thread, else wall time."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    run()
    spans = []
    for _ in range(repeats):
        start = clock()
        run()
        spans.append(clock() - start)
    return 1e3 * min(spans) / seconds


def measure(case: Case, repeats: int) -> dict[str, float]:
    """Costs of a case in this process."""
    torch.manual_seed(SEED)
    network = LightBackbone(case.config, case.bins, SBVESDE())
    one, many = inputs(case, 1, SECONDS), inputs(case, BATCH, SECONDS)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*one)
    out = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "gmac": counter.get_total_flops() / 2 / SECONDS / 1e9,
        "before": network.context_frames[0] * case.hop / case.sample_rate,
        "after": network.context_frames[1] * case.hop / case.sample_rate,
    }
    with torch.no_grad():
        out["forward"] = milliseconds(lambda: network(*one), SECONDS, repeats)
    for name, half in (("train", False), ("train_bf16", True)):

        def step(half: bool = half) -> None:
            network.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                estimate = network(*many)
            torch.view_as_real(estimate - many[0]).square().mean().backward()

        out[name] = milliseconds(step, BATCH * SECONDS, repeats)
    if case.config.causal:
        out["step"] = streaming(network, case, repeats)
    return out


def streaming(network: LightBackbone, case: Case, repeats: int) -> float:
    """Time of one frame at a time, in ms for a second of sound."""
    x, y, t = inputs(case, 1, 0.5)

    def frame_by_frame() -> None:
        state = network.initial_state()
        for i in range(x.shape[-1]):
            _, state = network.step(x[..., i : i + 1], y[..., i : i + 1], t, state)

    with torch.no_grad():
        return milliseconds(frame_by_frame, x.shape[-1] * case.hop / case.sample_rate, repeats)


def report(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown of the results by threads and case."""
    one, two = results["1"], results["2"]
    sizes, speeds, factors = [], [], []
    for key, case in CASES.items():
        a, b = one[key], two[key]
        context = f"{a['before']:.2f} / {a['after']:.2f}"
        sizes.append([case.name, f"{a['parameters'] / 1e6:.2f}", f"{a['gmac']:.2f}", context])
        times = [f"{costs[name]:.1f}" for costs in (a, b) for name in ("forward", "train", "train_bf16")]
        speeds.append([case.name, *times, f"{a['step']:.1f}" if "step" in a else "–"])
        factors.append([case.name, *(f"{calls * b['forward'] / 1e3:.3f}" for calls in (1, 2, 3, 5))])
    return "\n".join(
        (
            header("The light speech network"),
            "## Size\n",
            table(["network", "parameters, M", "GMAC for 1 s", "context before / after, s"], sizes),
            f"## Time for a second of sound, ms\n\nForward: batch 1, {SECONDS:g} s, float32. Training (forward and "
            f"backward): batch {BATCH} of {SECONDS:g} s, float32 and with bf16 autocast. One thread: CPU time; two: "
            "wall time. Streaming: one frame at a time, one thread.\n",
            table(
                ["network", *(f"{what}, {n}" for n in ("1 thread", "2") for what in WHAT), "streaming"],
                speeds,
            ),
            "## Real-time factor by network calls (2 threads, without the front end)\n",
            table(["network", "1", "2", "3", "5"], factors),
        )
    )


def main(
    output: Annotated[Path, typer.Option(help="Markdown to write.")] = Path("benchmarks/results/speech_light.md"),
    repeats: Annotated[int, typer.Option(help="Times that everything is timed; the least counts.")] = 5,
    threads: Annotated[int, typer.Option(help="Only measure, with so many threads, and print JSON.")] = 0,
) -> None:
    """Measure every case in a process for each number of threads; write the table."""
    if threads:
        keep_large_blocks()
        torch.set_num_threads(threads)
        print(json.dumps({key: measure(case, repeats) for key, case in CASES.items()}))
        return
    results = {}
    for count in ("1", "2"):
        command = [sys.executable, __file__, "--threads", count, "--repeats", str(repeats)]
        results[count] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    text = report(results)
    print(text)
    write_text(output, text)


if __name__ == "__main__":
    typer.run(main)
