"""A small world in which flow maps are compared: eight modes on a ring, seen through noise.

x_0 lies near one of eight places on a circle of radius 1, y = x_0 + 0.6·noise is known, and the process leads from
y + 0.7·noise to x_0 on a straight line: several modes are possible given y, so that one call of a plain flow, which is
the mean, is wrong.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from shared.flow_maps import MapLoss, SpanEmbedding
from shared.flow_maps.objectives import FlowMapObjective
from shared.flow_maps.start import frozen_copy
from shared.objectives import DiffusionLoss
from shared.predictions import Denoiser
from shared.random import make_generator
from shared.samplers import Sampler, sample
from shared.sde import FlowSDE
from shared.training.ema import ema_of

RING = FlowSDE(scale=0.7)
_SPREAD = 0.05


@dataclass(frozen=True)
class World:
    """How many modes there are, and the deviation of the noise that they are seen through."""

    modes: int = 8
    blur: float = 0.6


RING_OF_EIGHT = World()


def draw_ring(count: int, generator: torch.Generator, world: World = RING_OF_EIGHT) -> tuple[Tensor, Tensor]:
    """Data and what is seen of them, (count, 2) each."""
    angle = torch.randint(world.modes, (count,), generator=generator) * (2 * math.pi / world.modes)
    x0 = torch.stack([angle.cos(), angle.sin()], 1) + _SPREAD * torch.randn(count, 2, generator=generator)
    return x0, x0 + world.blur * torch.randn(count, 2, generator=generator)


class RingNetwork(nn.Module):
    """Three layers on state, anchor and times; predicts the velocity.

    Args:
        width: of the layers.
        takes_span: whether it is a map's.
    """

    frequencies: Tensor

    def __init__(self, width: int = 128, takes_span: bool = True):
        super().__init__()
        self.takes_span = takes_span
        self.register_buffer("frequencies", 2 * math.pi * 2 ** torch.linspace(-2, 2, 8), persistent=False)
        self.time = nn.Sequential(nn.Linear(16, 64), nn.SiLU())
        self.span = SpanEmbedding(64) if takes_span else None
        sizes = [4 + 64, width, width, width]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, x: Tensor, t: Tensor, anchor: Tensor, span: Tensor | None = None) -> Tensor:
        """The velocity (batch, 2) at x and t, around `anchor`."""
        angle = t[:, None] * self.frequencies
        embedding = self.time(torch.cat([angle.sin(), angle.cos()], 1))
        if self.span is not None:
            embedding = self.span(embedding, span)
        return self.layers(torch.cat([x, anchor, embedding], 1))


@dataclass(frozen=True)
class Budget:
    """How long a network is trained, by CPU time, or by steps where these are given; and the world that it sees."""

    seconds: float = 40.0
    steps: int | None = None
    batch: int = 256
    learning_rate: float = 3e-3
    world: World = RING_OF_EIGHT


def _trained(denoiser: Denoiser, loss: DiffusionLoss | MapLoss, budget: Budget, share: float, seed: int) -> Denoiser:
    """Train for a share of the budget, by Adam with a rate that falls to zero; averaged weights."""
    averaged, generator = ema_of(denoiser, 0.995), make_generator("ring", seed)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=budget.learning_rate)
    started, step, done = time.process_time(), 0, 0.0
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        x0, y = draw_ring(budget.batch, generator, budget.world)
        losses = loss(denoiser, x0, y, generator=generator, condition={"anchor": y})
        optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        optimizer.step()
        averaged.update_parameters(denoiser)
        step += 1
        spent = time.process_time() - started
        done = (step / budget.steps if budget.steps else spent / budget.seconds) / share
    module = averaged.module
    assert isinstance(module, Denoiser)
    return module


def train_ring(objective: FlowMapObjective | None, budget: Budget, seed: int = 0, width: int = 128) -> Denoiser:
    """A network trained as a flow (None), or as a map, for which the first half of the budget goes to a flow that it
    starts from; a map that is distilled has it as its teacher."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = Denoiser(RingNetwork(width, objective is not None), RING, "velocity")
    plain = DiffusionLoss()
    if objective is None:
        return _trained(flow, plain, budget, 1.0, seed)
    start = frozen_copy(_trained(flow, plain, budget, 0.5, seed))
    denoiser = copy.deepcopy(start).requires_grad_(True)
    loss = MapLoss(plain, objective, start if objective.needs_teacher else None)
    return _trained(denoiser, loss, budget, 0.5, seed + 1)


def distance(
    denoiser: Denoiser, method: str | Sampler, calls: int, count: int = 20_000, world: World = RING_OF_EIGHT
) -> float:
    """Sliced Wasserstein-1 distance of samples with their y from data with theirs."""
    x0, y = draw_ring(count, make_generator("data"), world)
    _, other = draw_ring(count, make_generator("other data"), world)
    made = sample(
        lambda x, t, **told: denoiser(x, t, other, anchor=other, **told),
        RING,
        y=other,
        method=method,
        steps=calls,
        schedule="uniform",
        generator=make_generator("samples"),
    ).x
    return sliced(torch.cat([x0, y], 1), torch.cat([made, other], 1))


def floor(count: int = 20_000) -> float:
    """The distance between two sets of data."""
    one, other = (torch.cat(draw_ring(count, make_generator(name)), 1) for name in ("data", "more data"))
    return sliced(one, other)


def sliced(one: Tensor, other: Tensor) -> float:
    """Mean over 200 directions of the Wasserstein-1 distance along it, of point sets (count, dimensions)."""
    angles = np.random.default_rng(0).standard_normal((one.shape[1], 200))
    angles /= np.linalg.norm(angles, axis=0)
    first, second = (np.sort(points.double().numpy() @ angles, axis=0) for points in (one, other))
    return float(np.abs(first - second).mean())
