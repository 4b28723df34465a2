"""Student-t noise: what stays exact, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from shared.elbo import elbo
from shared.errors import ConfigError
from shared.likelihood import log_likelihood
from shared.noise import GaussianProcess, OrnsteinUhlenbeck, StudentT
from shared.predictions import PathPoint
from shared.random import make_generator
from shared.samplers import sample
from shared.sde import SBVESDE, VPSDE, FlowSDE

HEAVY = StudentT(5.0)
NODES, SHARES = np.polynomial.hermite_e.hermegauss(100)
SHARES = SHARES / SHARES.sum()


def posterior_mean(x: Tensor, t: Tensor) -> Tensor:
    """E[x_0 | x_t = x] of standard normal data on the straight path with t_5 noise, by quadrature."""
    level = float(t[0])
    errors = (x.detach().numpy()[..., None] - (1 - level) * NODES) / level
    weights = SHARES * scipy.stats.t.pdf(errors, 5)
    return torch.from_numpy((weights * NODES).sum(-1) / weights.sum(-1))


@pytest.mark.slow
def test_draws_are_student_within_and_across_items() -> None:
    drawn = HEAVY.draw((20_000, 1), make_generator("t"), dtype=torch.float64)
    assert scipy.stats.kstest(drawn[:, 0].numpy(), "t", args=(5,)).pvalue > 0.01
    # One v an item: its elements are large together.
    pair = HEAVY.draw((20_000, 2), make_generator("pair"), dtype=torch.float64)
    assert np.corrcoef(pair.abs().log().T.numpy())[0, 1] > 0.05
    process = GaussianProcess(OrnsteinUhlenbeck(3.0))
    scaled = StudentT(30.0, process).draw((20_000, 4), make_generator("ou"), dtype=torch.float64)
    torch.testing.assert_close(scaled.T @ scaled / 20_000 * 28 / 30, process.covariance(4), rtol=0, atol=0.05)


def test_an_item_does_not_depend_on_its_batch() -> None:
    many = HEAVY.draw((3, 5), [make_generator(i) for i in range(3)])
    assert torch.equal(many[1:2], HEAVY.draw((1, 5), [make_generator(1)]))


@pytest.mark.parametrize("method", ["ode2", "ode3", "heun", "rk45"])
def test_deterministic_samplers_carry_the_distribution_exactly(method: str) -> None:
    levels, t_end = np.linspace(0.02, 0.98, 49), 0.1
    start = torch.from_numpy(scipy.stats.t.ppf(levels, 5))[:, None]
    settings = {"x_start": start, "t_start": 1.0, "t_end": t_end, "method": method, "steps": 200}
    end = sample(posterior_mean, FlowSDE(noise=HEAVY), **settings).x[:, 0].numpy()
    found = (SHARES * scipy.stats.t.cdf((end[:, None] - (1 - t_end) * NODES) / t_end, 5)).sum(-1)
    np.testing.assert_allclose(found, levels, atol=3e-4)


def test_a_bridge_starts_with_its_noise() -> None:
    y = torch.zeros(4000, 1, dtype=torch.float64)
    sde = SBVESDE(noise=HEAVY)
    found = sample(lambda x, t: torch.zeros_like(x), sde, y=y, steps=1, t_end=0.5, generator=make_generator(0)).x
    assert scipy.stats.kstest((found[:, 0] / sde.sigma(0.5)).numpy(), "t", args=(5,)).pvalue > 0.01


@pytest.mark.parametrize("method", ["sde1", "sde2", "sde3", "pc"])
def test_steps_that_add_noise_are_refused(method: str) -> None:
    with pytest.raises(ConfigError, match="ode2"):
        sample(lambda x, t: 0 * x, VPSDE(noise=HEAVY), (2, 3), method=method, steps=3)


def test_densities_and_scores_are_refused() -> None:
    x0, sde = torch.zeros(2, 3), VPSDE(noise=HEAVY)
    with pytest.raises(ConfigError, match="prior_log_prob"):
        log_likelihood(lambda x, t: 0 * x, sde, x0)
    with pytest.raises(ConfigError, match="GaussianProcess"):
        elbo(lambda x, t: 0 * x, sde, x0, torch.zeros(1, 2, 1, 3))
    with pytest.raises(ConfigError, match="predict noise, data or velocity"):
        PathPoint.at(sde, torch.full((2,), 0.5)).from_data("score", x0, x0)
    with pytest.raises(ConfigError, match="degrees=0"):
        StudentT(0.0)


def test_with_its_prior_given_the_density_is_exact() -> None:
    x0 = torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None]

    def prior(x: Tensor) -> Tensor:
        return torch.from_numpy(scipy.stats.t.logpdf(x[:, 0].numpy(), 5))

    class Predicted(torch.autograd.Function):
        """The quadrature with its slope by differences."""

        @staticmethod
        def forward(ctx, x: Tensor, t: Tensor) -> Tensor:
            ctx.save_for_backward((posterior_mean(x + 1e-5, t) - posterior_mean(x - 1e-5, t)) / 2e-5)
            return posterior_mean(x, t)

        @staticmethod
        def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
            return grad * ctx.saved_tensors[0], None

    found = log_likelihood(
        Predicted.apply,
        FlowSDE(noise=HEAVY),
        x0,
        t_end=0.1,
        trace="exact",
        steps=40,
        prior_log_prob=prior,
    )
    mixture = (SHARES * scipy.stats.t.pdf((x0.numpy() - 0.9 * NODES) / 0.1, 5)).sum(-1) / 0.1
    np.testing.assert_allclose(found.numpy(), np.log(mixture), atol=5e-3)
