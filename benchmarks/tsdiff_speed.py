"""The published network's cost beside the public code's: kernels, forward, training step, guided step, loss curve.

Each side runs in a process of its own, as its users run it; the calls alternate, so that whatever else the machine
does falls on both. Without a checkout of the public code (and einops and opt_einsum, which it needs), only ours is
timed.

Example:
    python benchmarks/tsdiff_speed.py --public ../unconditional-time-series-diffusion
"""

from __future__ import annotations

import copy
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.public_tsdiff import CODE, published_code
from benchmarks.workers import Worker, answer
from shared.files.io import write_text
from shared.training.ema import ema_of
from shared.training.memory import keep_large_blocks
from tsdiff.importing import published_names
from tsdiff.model.backbones import S4Backbone, S4Config
from tsdiff.model.backbones.s4 import S4Block

SIDES = ("public", "ours", "public, pairs", "ours, pairs")
"""Without and with the sum over both members of each pair of states, which the public code's torch form leaves out."""

CURVE = "\n## Loss curve\n\n"
LENGTH, BATCH, SEED = 360, 64, 0
JOBS = {
    "kernels": "kernels of the 3 blocks",
    "kernels_backward": "kernels and their gradients",
    "forward_1": "forward, batch 1",
    "forward_64": "forward, batch 64",
    "forward_100": "forward, batch 100",
    "guided_100": "forward and gradient to the window, batch 100",
    "step": "training step, batch 64",
}


def public_network(pairs: bool) -> nn.Module:
    """The published network with fresh weights, its kernels' length set."""
    s4, backbones = published_code()
    if pairs:  # what KeOps and the CUDA extension sum
        single = s4.cauchy_naive
        s4.cauchy_naive = lambda v, z, w: single(torch.cat([v, v.conj()], -1), z, torch.cat([w, w.conj()], -1))
    torch.manual_seed(SEED)
    network = backbones.BackboneModel(1, 64, 1, 128, 3, 8, init_skip=False)
    with torch.no_grad():
        network(torch.zeros(1, LENGTH, 1), torch.tensor([0]))
    return network


def same_weights(public: nn.Module, conjugates: bool) -> S4Backbone:
    """Our network with the published one's weights."""
    ours = S4Backbone(S4Config(conjugates=conjugates), LENGTH)
    own, theirs = ours.state_dict(), public.state_dict()
    mapped = {mine: theirs[name].reshape(own[mine].shape) for name, mine in published_names(3).items() if mine in own}
    ours.load_state_dict(mapped)
    return ours


class Training:
    """One optimiser step as each side's training makes it: Adam and EMA, gradients clipped at 0.5."""

    def __init__(self, network: nn.Module, ours: bool, rate: float = 1e-3):
        self.network, self.ours = network, ours
        parameters = list(network.parameters())
        self.optimizer = (
            torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, fused=True)
            if ours
            else torch.optim.Adam(parameters, lr=rate)
        )
        self.average: Any = ema_of(network, 0.9999) if ours else copy.deepcopy(network.state_dict())

    def step(self, x0: Tensor, step: Tensor, noise: Tensor) -> float:
        """The loss of the batch."""
        signal = torch.cumprod(1 - torch.linspace(1e-4, 0.1, 100), 0)[step][:, None, None]
        predicted = self.network(signal.sqrt() * x0 + (1 - signal).sqrt() * noise, step)
        loss = (predicted - noise).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 0.5)
        self.optimizer.step()
        if self.ours:
            self.average.update_parameters(self.network)
        else:
            with torch.no_grad():
                for name, value in self.network.state_dict().items():
                    self.average[name].copy_(0.9999 * self.average[name] + (1 - 0.9999) * value)
        return float(loss.detach())


def batch(generator: torch.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Windows of noisy daily curves with mean absolute value about 1, steps, and noise."""
    hour = torch.arange(LENGTH) + 24 * torch.rand(size, 1, generator=generator)
    height = 0.5 * torch.rand(size, 1, generator=generator)
    curve = 1 + height * (2 * torch.pi * hour / 24).sin() + 0.1 * torch.randn(size, LENGTH, generator=generator)
    step = torch.randint(0, 100, (size,), generator=generator)
    return curve[..., None], step, torch.randn(size, LENGTH, 1, generator=generator)


def jobs(side: str) -> dict[str, Callable[[], Any]]:
    """What is timed."""
    ours, pairs = side.startswith("ours"), side.endswith("pairs")
    torch.manual_seed(SEED)
    network = S4Backbone(S4Config(conjugates=pairs), LENGTH) if ours else public_network(pairs)
    training = Training(network.train(), ours)
    frozen = copy.deepcopy(network).eval()
    frozen.requires_grad_(not ours)  # the public code leaves gradients on
    x0, step, noise = batch(torch.Generator().manual_seed(SEED), BATCH)

    def kernels() -> list[Tensor]:
        if ours:
            return [block.convolution.kernels(LENGTH) for block in network.blocks if isinstance(block, S4Block)]
        return [block.s4block.layer.kernel(L=LENGTH)[0] for block in network.residual_blocks]

    def kernels_backward() -> None:
        torch.autograd.backward([kernel.sum() for kernel in kernels()])

    def without_gradients(call: Callable[[], Any]) -> Callable[[], Any]:
        return torch.no_grad()(call)

    def forward(size: int) -> Callable[[], Any]:
        x, same = torch.randn(size, LENGTH, 1), torch.full((size,), 50)
        return without_gradients(lambda: frozen(x, same))

    def guided() -> None:
        x = torch.randn(100, LENGTH, 1, requires_grad=True)
        torch.autograd.grad(frozen(x, torch.full((100,), 50)).square().sum(), x)

    return {
        "kernels": without_gradients(kernels),
        "kernels_backward": kernels_backward,
        "forward_1": forward(1),
        "forward_64": forward(64),
        "forward_100": forward(100),
        "guided_100": guided,
        "step": lambda: training.step(x0, step, noise),
    }


def work(side: str) -> None:
    """Answer each line on standard input, "threads job", with wall and processor seconds and page faults."""
    if side.startswith("ours"):
        keep_large_blocks()
    answer(jobs(side))


def measured(sides: tuple[str, ...], threads: int, repeats: int) -> str:
    """The table of one thread count."""
    workers = {side: Worker(__file__, side) for side in sides}
    rows, faults = [], {}
    for job, title in JOBS.items():
        times: dict[str, list[list[float]]] = {side: [] for side in sides}
        for i in range(repeats + 1):  # one to warm up
            for side, worker in workers.items():
                result = worker.time(threads, job)
                if i > 0:
                    times[side].append(result)
        print(threads, job, times, flush=True)
        row = [title]
        for side in sides:
            wall, processor, count = zip(*times[side], strict=True)
            faults[side] = statistics.median(count)
            row.append(f"{min(wall):.3f} ({statistics.median(processor):.3f})")
            public = side.replace("ours", "public")
            if side.startswith("ours") and public in sides:
                ratios = [a[1] / b[1] for a, b in zip(times[public], times[side], strict=True)]
                row.append(f"{statistics.median(ratios):.1f}")
        rows.append(row)
    for worker in workers.values():
        worker.stop()
    head = ["seconds"]
    for side in sides:
        head += [side, "×"] if side.startswith("ours") and side.replace("ours", "public") in sides else [side]
    last = ", ".join(f"{side} {count:.0f}" for side, count in faults.items())
    return table(head, rows) + f"\nPage faults of a training step, median: {last}.\n"


def curve(steps: int, size: int) -> str:
    """Losses of both networks from the same weights on the same batches, and of the published one shaken by rounding.

    Training amplifies rounding, so that any two ways to sum part company in the end; the shaken run says when.
    """
    public = public_network(False)
    shaken = copy.deepcopy(public)
    with torch.no_grad():
        for weight in shaken.parameters():
            weight.mul_(1 + 1e-7 * torch.randn_like(weight))
    names = ("public", "ours", "public, shaken")
    networks = (public, same_weights(public, False), shaken)
    trainings = [Training(network.train(), network is networks[1]) for network in networks]
    losses: list[list[float]] = [[] for _ in names]
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(steps):
        x0, step, noise = batch(generator, size)
        for training, kept in zip(trainings, losses, strict=True):
            kept.append(training.step(x0, step, noise))
    values = torch.tensor(losses, dtype=torch.float64)
    span = max(1, steps // 8)
    rows = []
    for first in range(0, steps - span + 1, span):
        part = values[:, first : first + span]
        apart = ((part - part[0]).abs() / part[0]).amax(1)
        means = [f"{mean:.4f}" for mean in part.mean(1).tolist()]
        rows.append([f"{first + 1}–{first + span}", *means, *(f"{value:.1e}" for value in apart[1:].tolist())])
    return (
        f"{CURVE}From the same weights, {steps} steps of batch {size} on the same noisy daily curves (seed "
        f"{SEED}): mean loss, and the largest relative difference of a single step's loss from the public code's. The "
        "shaken run is the public code with its weights changed by one part in ten million: training amplifies "
        "rounding, and two ways to compute the same sums can stay no closer than that.\n\n"
        + table(["steps", *names, "apart: ours", "apart: shaken"], rows)
    )


def reason_without(public: Path | None, more: tuple[str, ...] = ()) -> str | None:
    """Why the public code cannot be timed, or None; `more` names imports that it needs besides."""
    if public is None:
        return "no checkout was given (`--public`)"
    for name in ("einops", "opt_einsum", "pytorch_lightning", *more):
        try:
            __import__(name)
        except ImportError:
            return f"its import {name} is not installed"
    return None if (public / "src" / "uncond_ts_diff").is_dir() else f"{public.name} holds no src/uncond_ts_diff"


def main(
    public: Annotated[Path | None, typer.Option(help="Checkout of the published repository.")] = None,
    repeats: Annotated[int, typer.Option(help="Timed calls of each job.")] = 9,
    threads: Annotated[str, typer.Option(help="Thread counts.")] = "1,2",
    curve_steps: Annotated[int, typer.Option(help="Steps of the loss curves; 0 leaves them out.")] = 200,
    curve_batch: Annotated[int, typer.Option(help="Batch of the loss curves.")] = 16,
    output: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("benchmarks/results/tsdiff_speed.md"),
    curve_only: Annotated[
        bool, typer.Option(help="Keep the times that the output holds, of a machine that was quieter; make the curve.")
    ] = False,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Time both sides and compare their losses."""
    if public is not None:
        os.environ[CODE] = str(public.resolve())
    if worker:
        work(worker)
        return
    missing = reason_without(public)
    sides = SIDES if missing is None else tuple(side for side in SIDES if side.startswith("ours"))
    if missing is not None:
        typer.echo(f"the public code is left out: {missing}", err=True)
    if curve_only:
        if missing is not None:
            raise typer.BadParameter(missing)
        torch.set_num_threads(1)
        times, made = output.read_text(encoding="utf-8").split(CURVE)[0], curve(curve_steps, curve_batch)
        write_text(output, times + made)
        print(made)
        return
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    parts = [
        header("The published network: what it costs"),
        f"Other processes kept {load:.1f} more threads busy when it began.\n",
        f"\n3 blocks, width 64, state 128, both directions, windows of {LENGTH} points, float32. Shortest wall-clock "
        f"seconds of {repeats} calls, in brackets the median of processor seconds (of all threads); × is the median "
        "ratio of processor seconds of neighbouring calls, public to ours. The public code runs in its pure-torch "
        "form, which sums over one member of each pair of states; “pairs” sum over both, as KeOps and the CUDA "
        "extension do. In inference ours keeps its kernels as long as the weights stay the same, the public code "
        "makes them in every call. A training step is forward, backward, clipping, Adam and EMA.\n",
        "" if missing is None else f"\nThe public code is left out: {missing}.\n",
    ]
    for count in (int(value) for value in threads.split(",") if value):
        parts.append(f"\n## {count} thread{'s' if count > 1 else ''}\n\n{measured(sides, count, repeats)}")
    if missing is None and curve_steps:
        torch.set_num_threads(1)
        parts.append(curve(curve_steps, curve_batch))
    write_text(output, "".join(parts))
    print("".join(parts))


if __name__ == "__main__":
    typer.run(main)
