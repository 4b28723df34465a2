"""What `benchmarks/gpu_parts.py` times: forward passes of networks and steps of training, each in some precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu_measure import Bench
from shared.training.ema import ema_of

Call = Callable[[], Any]


def autocast(bench: Bench, way: str) -> torch.autocast:
    """The precision of a way."""
    return torch.autocast(torch.device(bench.device).type, torch.bfloat16, enabled=way.startswith("bf16"))


def compiled(bench: Bench, network: nn.Module, way: str) -> nn.Module:
    """The network, compiled where the way says so; in a trial without the compiler of C++, which takes minutes."""
    if way.endswith(("compiled", "graphs")):
        mode = "reduce-overhead" if way.endswith("graphs") and bench.on_gpu else "default"
        network.compile(**({"backend": "aot_eager"} if bench.small else {"mode": mode}))
    return network


def forward(bench: Bench, network: nn.Module, way: str, inputs: tuple[Tensor, ...]) -> Call:
    """A forward pass without gradients."""
    network = compiled(bench, network.to(bench.device).eval().requires_grad_(False), way)
    given = [value.to(bench.device) for value in inputs]

    @torch.no_grad()
    def call() -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        with autocast(bench, way):
            return network(*given)

    return call


def step(
    bench: Bench, network: nn.Module, way: str, loss: Callable[[nn.Module], Tensor], *, average: bool = True
) -> Call:
    """A training step as `shared.training.module` makes it: loss, gradients, clipping, AdamW, averaged weights."""
    network = network.to(bench.device).train()
    parameters = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-4, weight_decay=0.0, fused=not way.startswith("bf16"))
    averaged = ema_of(network, 0.999) if average else None

    def call() -> None:
        torch.compiler.cudagraph_mark_step_begin()
        with autocast(bench, way):
            value = loss(network)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if averaged is not None:
            averaged.update_parameters(network)

    return call
