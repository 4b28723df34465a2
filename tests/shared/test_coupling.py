"""Noise put to the data it is nearest to."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from shared.coupling import coupled
from shared.objectives import DiffusionLoss
from shared.predictions import Denoiser
from shared.random import make_generator
from shared.sde import FlowSDE


def cost(noise: Tensor, data: Tensor) -> float:
    return float((noise - data).abs().square().sum())


def test_no_other_order_is_nearer() -> None:
    generator = make_generator("coupling")
    noise, data = torch.randn(2, 5, 3, 2, generator=generator, dtype=torch.float64)
    found = coupled(noise, data)
    least = min(cost(noise[list(order)], data) for order in permutations(range(5)))
    assert abs(cost(found, data) - least) < 1e-12
    assert sorted(found.flatten().tolist()) == sorted(noise.flatten().tolist())
    waves = torch.complex(noise[..., 0], noise[..., 1])
    torch.testing.assert_close(coupled(waves, waves.flip(0)), waves.flip(0))


def test_the_loss_couples_what_it_draws() -> None:
    class Zero(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(x)

    x0, noise = 5 * torch.randn(2, 8, 4, generator=make_generator("loss"), dtype=torch.float64)
    denoiser = Denoiser(Zero(), FlowSDE(), "velocity")
    losses = [
        DiffusionLoss(coupling=coupling)(denoiser, x0, noise=noise, generator=make_generator(0))
        for coupling in ("independent", "minibatch")
    ]
    t = DiffusionLoss().times.sample(FlowSDE(), 8, make_generator(0))[:, None]
    expected = ((1 - t) * coupled(noise, x0) - t * x0).square().mean(1)
    torch.testing.assert_close(losses[1], expected)
    assert not torch.allclose(losses[0], expected)
