"""Flow paths of any width, and the amount of noise at inference, which no marginal depends on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.objectives import DiffusionLoss, TimeSampler
from shared.predictions import Denoiser, PathPoint, Prediction
from shared.random import make_generator
from shared.samplers import Exponential, sample
from shared.sde import OUVESDE, SDE, VPSDE, FlowSDE
from tests.shared.gaussian import GaussianData

F64 = torch.float64
WIDE = FlowSDE(scale=0.3)


def test_a_flow_around_an_anchor_is_the_straight_path_to_noisy_anchors() -> None:
    x0, y, noise = (torch.randn(5, 3, dtype=F64, generator=make_generator(name)) for name in ("x0", "y", "noise"))
    t = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=F64)
    end = y + 0.3 * noise
    straight = (1 - t[:, None]) * x0 + t[:, None] * end
    torch.testing.assert_close(WIDE.perturb(x0, t, noise, y), straight, rtol=0, atol=1e-14)


def test_the_width_scales_what_it_should() -> None:
    t = torch.tensor([0.1, 0.5, 0.8], dtype=F64)
    narrow = FlowSDE()
    torch.testing.assert_close(WIDE.sigma(t), 0.3 * narrow.sigma(t))
    torch.testing.assert_close(WIDE.diffusion(t), 0.3 * narrow.diffusion(t))
    torch.testing.assert_close(WIDE.sigma_dot(t), 0.3 * narrow.sigma_dot(t))
    torch.testing.assert_close(WIDE.time_of_log_snr(WIDE.log_snr(t)), t, rtol=0, atol=1e-12)
    assert WIDE.prior_std == pytest.approx(0.3)
    with pytest.raises(ConfigError, match="scale=0"):
        FlowSDE(scale=0.0)


@pytest.mark.parametrize("output", ["velocity", "score"])
@pytest.mark.parametrize("times", ["uniform", "log_snr", "log_normal"])
def test_velocity_and_score_objectives_are_least_at_the_exact_network(output: Prediction, times: Any) -> None:
    """A path of flow matching with an anchor: the exact network's loss has no slope in an error of its size."""
    data = GaussianData(WIDE, 0.5, 0.8, torch.full((1, 1), 0.2, dtype=F64))

    class Network(nn.Module):
        """The exact one, a little too large or small, as a multiple."""

        def __init__(self) -> None:
            super().__init__()
            self.size = nn.Parameter(torch.ones((), dtype=F64))

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.size * PathPoint.at(WIDE, t).from_data(output, data.denoiser(x, t), x, data.y)

    network, count = Network(), 200_000
    x0 = 0.5 + 0.8 * torch.randn(count, 1, dtype=F64, generator=make_generator("data"))
    loss = DiffusionLoss(None if output == "velocity" else "noise", TimeSampler(times, t_min=0.05))
    y = torch.full((count, 1), 0.2, dtype=F64)
    losses = loss(Denoiser(network, WIDE, output), x0, y, generator=make_generator("loss"))
    (slope,) = torch.autograd.grad(losses.mean(), network.size)
    assert abs(slope.item()) < 0.02 * losses.mean().item()


@pytest.mark.parametrize("eta", [0.0, 0.2, 1.0, 2.0])
@pytest.mark.parametrize("sde", [FlowSDE(), WIDE, VPSDE(), OUVESDE()], ids=["flow", "wide", "vp", "ouve"])
def test_means_and_deviations_do_not_depend_on_the_noise_at_inference(sde: SDE, eta: float) -> None:
    """dX = (b − ε·score)dt + √(2ε)dW with ε = η²g²/2 keeps every marginal."""
    count, y = 20_000, torch.full((20_000, 1), 0.2, dtype=F64)
    data = GaussianData(sde, 0.5, 0.8, y)
    x = data.marginal(1.0)[0] + float(data.marginal(1.0)[1]) ** 0.5 * torch.randn(
        count, 1, dtype=F64, generator=make_generator("start")
    )
    end = sample(
        data.denoiser,
        sde,
        y=y,
        method=Exponential(2, eta=eta),
        steps=80,
        schedule="log_snr",
        t_end=0.1,
        x_start=x,
        generator=make_generator(str(eta)),
    ).x
    mean, variance = data.marginal(0.1)
    width = float(variance) ** 0.5
    assert float(end.mean()) == pytest.approx(float(mean.mean()), abs=4 * width / math.sqrt(count) + 2e-3)
    assert float(end.std()) == pytest.approx(width, rel=0.03)


def test_more_than_all_noise_is_the_reverse_process_taken_faster() -> None:
    """With η the correlation of a step's ends is that of the OU process of η²: e^{−η²h} of the noise is kept."""
    data = GaussianData(VPSDE(), 0.0, 1.0, None)
    x = torch.randn(50_000, 1, dtype=F64, generator=make_generator("start"))
    grid = torch.linspace(0.6, 0.4, 101, dtype=F64)
    after = sample(
        data.denoiser, data.sde, x_start=x, method="sde1", eta=1.5, schedule=grid, generator=make_generator("noise")
    ).x
    # White data of variance 1 stay so, and each small step keeps 1 − (1 + η²)/2·g²dt of them, less β/2·dt of growth.
    integral = float(data.sde._beta_integral(grid[0]) - data.sde._beta_integral(grid[-1]))
    expected = math.exp(-0.5 * 1.5**2 * integral)
    assert float((x * after).mean()) == pytest.approx(expected, abs=0.02)
    assert float(after.std()) == pytest.approx(1, rel=0.02)
