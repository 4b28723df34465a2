"""Series observed at times that are not evenly spaced: the noise of the path is the process at those times."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shared.noise import GaussianProcess, Kernel, OrnsteinUhlenbeck, SquaredExponential
from shared.random import make_generator
from shared.samplers import sample
from shared.sde import FlowSDE

TREND = GaussianProcess(SquaredExponential(2.0), white=0.1)
TIMES = torch.rand(2, 14, generator=make_generator("irregular"), dtype=torch.float64).add(0.02).cumsum(1)


@pytest.mark.parametrize(
    "kernel",
    [OrnsteinUhlenbeck(2.0), pytest.param(SquaredExponential(1.0), marks=pytest.mark.slow)],
    ids=lambda kernel: kernel.kind,
)
def test_each_item_is_drawn_at_its_own_times(kernel: Kernel) -> None:
    """Data are a process at each item's times; a sampler is linear, so that its output covariance is known."""
    sde = FlowSDE(noise=GaussianProcess(kernel, white=0.2))
    data = [TREND.at(times).covariance(14) for times in TIMES]
    noise = [sde.noise.at(times).covariance(14) for times in TIMES]

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
        rows = [
            alpha * x[i] @ torch.linalg.solve(alpha**2 * data[i % 2] + sigma**2 * noise[i % 2], data[i % 2])
            for i in range(len(x))
        ]
        return torch.stack(rows)

    # Unit vectors of both items, one after the other.
    start = torch.eye(14, dtype=torch.float64).repeat_interleave(2, 0)
    steps = torch.linspace(1, 0, 161, dtype=torch.float64)
    end = sample(denoiser, sde, x_start=start, method="heun", schedule=steps).x
    for item in range(2):
        moved = end[item::2]
        torch.testing.assert_close(moved.T @ noise[item] @ moved, data[item], rtol=0, atol=5e-3)


def test_what_is_left_out_does_not_matter() -> None:
    """A process at some of the times is the same process: gaps in a grid, or other times, are no special case."""
    grid, some = torch.arange(30.0, dtype=torch.float64), torch.tensor([0, 1, 4, 11, 12, 29])
    for kernel in (OrnsteinUhlenbeck(4.0), SquaredExponential(3.0)):
        whole, part = GaussianProcess(kernel, white=0.1), GaussianProcess(kernel, white=0.1).at(grid[some])
        torch.testing.assert_close(part.covariance(6), whole.covariance(30)[some][:, some])


def test_noise_at_the_times_of_each_item_is_drawn_alone_or_in_a_batch() -> None:
    generators = [make_generator("item", i) for i in range(2)]
    noise = GaussianProcess(SquaredExponential(1.0), white=0.1)
    both = FlowSDE(noise=noise.at(TIMES)).prior_sample((2, 14, 1), generators)
    alone = FlowSDE(noise=noise.at(TIMES[1])).prior_sample((1, 14, 1), [make_generator("item", 1)])
    assert torch.equal(both[1:], alone)
