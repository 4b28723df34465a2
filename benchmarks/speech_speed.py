"""The published speech network's cost beside the public code's: forward in float32 and bfloat16, training step.

Each side runs in a process of its own, as its users run it; the calls alternate, so that whatever else the machine
does falls on both. Without a checkout of the public code only ours is timed.

Example:
    python benchmarks/speech_speed.py --public ../sgmse
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.workers import Worker, answer
from shared.files.io import write_text
from shared.training.ema import ema_of
from shared.training.memory import keep_large_blocks
from speech.importing.names import published_weights
from speech.model.backbones.ncsnpp import NCSNpp, NCSNppConfig

PUBLIC = "SGMSE_PUBLIC_CODE"
"""Tells the workers where the checkout is."""
SIDES = ("public", "ours")
FRAMES, SEED, GEMM = 256, 0, 2048
FORWARD = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# The network with weights that are not near zero.
CONFIG = NCSNppConfig(init_scale=1.0)


def public_network() -> nn.Module:
    """The published network."""
    sys.path.append(os.environ[PUBLIC])
    from sgmse.backbones import BackboneRegistry

    torch.manual_seed(SEED)
    return BackboneRegistry.get_by_name("ncsnpp")(init_scale=CONFIG.init_scale)


def our_network() -> NCSNpp:
    """Ours."""
    torch.manual_seed(SEED)
    return NCSNpp(CONFIG)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """State, recording and time of a batch of one."""
    generator = torch.Generator().manual_seed(SEED)
    x, y = (torch.randn(1, 1, 256, FRAMES, dtype=torch.complex64, generator=generator) for _ in range(2))
    return x, y, torch.tensor([0.5])


def call(network: nn.Module, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
    """The forward pass of either side."""
    return network(x, y, t) if isinstance(network, NCSNpp) else network(torch.cat([x, y], dim=1), t)


class Training:
    """One optimiser step as each side's training makes it: Adam and moving average."""

    def __init__(self, network: nn.Module):
        self.network = network.train()
        parameters = [weight for weight in network.parameters() if weight.requires_grad]
        self.average: Any
        if isinstance(network, NCSNpp):
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(parameters, 1e-4, weight_decay=0.0, fused=True)
            self.average = ema_of(network, 0.999)
        else:
            from torch_ema import ExponentialMovingAverage

            self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
            self.average = ExponentialMovingAverage(network.parameters(), decay=0.999)

    def step(self, x: Tensor, y: Tensor, t: Tensor) -> None:
        """Score matching with noise `y`, as far as the cost goes."""
        loss = (call(self.network, x, y, t) + y).abs().square().sum() / 2
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if isinstance(self.network, NCSNpp):
            self.average.update_parameters(self.network)
        else:
            self.average.update()


def jobs(side: str) -> dict[str, Callable[[], Any]]:
    """What is timed."""
    network = (our_network() if side == "ours" else public_network()).eval()
    x, y, t = inputs()
    training: list[Training] = []

    def forward(dtype: torch.dtype) -> Callable[[], Any]:
        @torch.no_grad()
        def run() -> None:
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                call(network, x, y, t)

        return run

    def multiply(dtype: torch.dtype) -> Callable[[], Any]:
        a, b = (torch.randn(GEMM, GEMM).to(dtype) for _ in range(2))
        return lambda: [a @ b for _ in range(5)]

    def step() -> None:
        if not training:
            training.append(Training(network))
        training[0].step(x, y, t)

    calls: dict[str, Callable[[], Any]] = {f"forward_{name}": forward(dtype) for name, dtype in FORWARD.items()}
    return calls | {f"multiply_{name}": multiply(dtype) for name, dtype in FORWARD.items()} | {"step": step}


def convolution_flops() -> float:
    """Floating-point operations of the convolutions of one forward pass."""
    with torch.device("meta"):
        network = NCSNpp(CONFIG)
        x = torch.zeros(1, 1, 256, FRAMES, dtype=torch.complex64)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(x, x, torch.ones(1))
    return float(counter.get_flop_counts()["Global"][torch.ops.aten.convolution])


@torch.no_grad()
def errors() -> str:
    """How far apart the outputs of the same weights are."""
    theirs, ours = public_network().eval(), our_network().eval()
    own, state = ours.state_dict(), theirs.state_dict()
    for weight in published_weights(ours):
        weight.put(own[weight.name], state[weight.published])
    wanted = call(theirs, *inputs())
    results = []
    for name, dtype in FORWARD.items():
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            difference = call(ours, *inputs()) - wanted
        largest = float(difference.abs().max() / wanted.abs().max())
        rms = float(difference.abs().square().mean().sqrt() / wanted.abs().square().mean().sqrt())
        results.append(f"in {name} {rms:.1e} (root mean square; largest difference over largest value {largest:.1e})")
    return f"Relative difference of ours from the public code's float32 output, same weights: {', '.join(results)}.\n"


def timed(sides: tuple[str, ...], threads: int, wanted: list[tuple[str, str]], repeats: int) -> dict[str, list[Any]]:
    """Results of each job "side job", in turns, after one call of each to warm up."""
    workers = {side: Worker(__file__, side) for side in sides}
    results: dict[str, list[Any]] = {f"{side} {job}": [] for side, job in wanted}
    for i in range(repeats + 1):
        for side, job in wanted:
            result = workers[side].time(threads, job)
            print(threads, side, job, [round(value, 3) for value in result], flush=True)
            if i > 0:
                results[f"{side} {job}"].append(result)
    for worker in workers.values():
        worker.stop()
    return results


def measured(sides: tuple[str, ...], threads: int, repeats: int, steps: int) -> str:
    """The table of one thread count."""
    forward = [(side, "forward_float32") for side in sides]
    forward += [("ours", "forward_bfloat16"), *(("ours", f"multiply_{name}") for name in FORWARD)]
    results = timed(sides, threads, forward, repeats)
    if steps:
        results |= timed(sides, threads, [(side, "step") for side in sides], steps)
    return tabulated(results)


def tabulated(results: dict[str, list[Any]]) -> str:
    """The table of what `timed` gave, and what its columns mean."""
    flops = convolution_flops()
    rows = []
    for key, values in results.items():
        side, job = key.split(" ")
        if job.startswith("multiply"):
            continue
        base = results.get(f"public {'step' if job == 'step' else 'forward_float32'}")
        processor, faults = (statistics.median(value[i] for value in values) for i in (1, 2))
        row = [job.replace("_", ", ").replace("step", "training step"), side, f"{min(v[0] for v in values):.2f}"]
        row.append(f"{processor:.2f}")
        if base and side == "ours":
            pairs = list(zip(base, values, strict=True))
            row += [f"{statistics.median(a[i] / b[i] for a, b in pairs):.2f}" for i in (0, 1)]
        else:
            row += ["", ""]
        name = job.removeprefix("forward_")
        peak = 5 * 2 * GEMM**3 / min(v[1] for v in results[f"ours multiply_{name}"]) if name in FORWARD else 0
        row.append(f"{flops / processor / peak:.0%}" if peak else "")
        rows.append([*row, f"{faults:.0f}"])
    rates = {name: 5 * 2 * GEMM**3 / min(v[1] for v in results[f"ours multiply_{name}"]) for name in FORWARD}
    peaks = ", ".join(f"{rate / 1e9:.0f} in {name}" for name, rate in rates.items())
    head = ["", "side", "seconds", "processor seconds", "× seconds", "× processor", "of the bound", "page faults"]
    return table(head, rows) + (
        f"\nThe convolutions of one forward pass are {flops / 1e9:.0f} GFLOP. Products of matrices of {GEMM} × {GEMM} "
        f"ran at {peaks} GFLOP per processor second; “of the bound” is the processor time that the convolutions would "
        "take at that rate over that of the whole pass.\n"
    )


def main(
    public: Annotated[Path | None, typer.Option(help="Checkout of the published repository.")] = None,
    repeats: Annotated[int, typer.Option(help="Timed forward passes.")] = 5,
    steps: Annotated[int, typer.Option(help="Timed training steps; 0 leaves them out.")] = 3,
    threads: Annotated[str, typer.Option(help="Thread counts.")] = "1,2",
    output: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("benchmarks/results/speech_speed.md"),
    worker: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Time both sides and compare their outputs."""
    if public is not None:
        os.environ[PUBLIC] = str(public.resolve())
    if worker:
        if worker == "ours":
            keep_large_blocks()
        answer(jobs(worker))
        return
    sides = SIDES if public is not None else ("ours",)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    parts = [
        header("The published speech network: what it costs"),
        f"Other processes kept {load:.1f} more threads busy when it began.\n",
        f"\nNCSN++ of 65.6 M parameters, batch 1, {FRAMES} frames of 256 frequencies. Seconds are the shortest of "
        f"{repeats} forward passes ({steps} training steps), processor seconds (of all threads) their median; × are "
        "medians of ratios of neighbouring calls, of the public code's float32 to ours, in wall-clock and in processor "
        "seconds: the latter depend less on what else runs. bfloat16 is torch's autocast. A training step is forward, "
        "backward, Adam and moving average, in float32. The public code runs with its resampling in plain PyTorch, as "
        "it does on any CPU, and with the C library's own memory settings; ours calls `keep_large_blocks`.\n",
        "" if public is not None else "\nThe public code is left out: no checkout was given (`--public`).\n",
    ]
    for count in (int(value) for value in threads.split(",") if value):
        title = f"\n## {count} thread{'s' if count > 1 else ''}\n\n"
        parts.append(title + measured(sides, count, repeats, steps))
        write_text(output, "".join(parts))
    if public is not None:
        parts.append(f"\n## Outputs\n\n{errors()}")
    write_text(output, "".join(parts))
    print("".join(parts))


if __name__ == "__main__":
    typer.run(main)
