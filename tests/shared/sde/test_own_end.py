"""A process of one's own whose α is 0 at the end but for rounding, as that of docs/tutorials/own_sde.md; its rates."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp

from shared.errors import ConfigError
from shared.likelihood import log_likelihood
from shared.objectives import TimeSampler
from shared.predictions import Denoiser, NetworkOutput
from shared.random import make_generator
from shared.samplers import sample
from shared.sde import SDE
from tests.processes import SDES
from tests.shared.gaussian import GaussianData

F64 = torch.float64


@dataclass(frozen=True)
class CosineSDE(SDE):
    kind: str = field(default="cosine", kw_only=True)
    t_end, t_min = 0.0, 1e-3

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.cos(torch.pi / 2 * t)

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return -torch.pi / 2 * torch.sin(torch.pi / 2 * t)

    def _variance(self, t: Tensor) -> Tensor:
        return torch.sin(torch.pi / 2 * t) ** 2

    def _variance_dot(self, t: Tensor) -> Tensor:
        return torch.pi / 2 * torch.sin(torch.pi * t)


class Same(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x


COSINE = CosineSDE()
DATA = GaussianData(COSINE, 0.4, 0.6)


def test_an_alpha_that_is_zero_but_for_rounding_is_zero() -> None:
    assert float(torch.cos(torch.tensor(torch.pi / 2, dtype=F64))) != 0
    assert float(COSINE.alpha(1.0)) == 0
    assert float(COSINE.log_snr(1.0)) == -torch.inf
    assert float(COSINE.marginal_prob(torch.ones(1, 1, dtype=F64), torch.ones(1, dtype=F64))[0]) == 0
    near = COSINE.alpha(1 - 1e-9)
    torch.testing.assert_close(near, torch.full_like(near, torch.pi / 2 * 1e-9), rtol=1e-6, atol=0)
    with pytest.raises(ConfigError, match="a prediction of noise says nothing"):
        sample(Denoiser(Same(), COSINE, "noise"), COSINE, (2, 3))


def test_predictor_and_corrector_walk_from_there() -> None:
    """Ten steps came to values of 1e11."""
    found = sample(DATA.denoiser, COSINE, (2000, 1), method="pc", generator=make_generator("pc"), dtype=F64).x
    assert float(found.std()) == pytest.approx(0.6, rel=0.3)


def test_fixed_steps_of_a_likelihood_do_not_lie_where_nothing_changes() -> None:
    x0 = torch.linspace(-1, 2, 5, dtype=F64)[:, None]
    expected = torch.distributions.Normal(0.4, 0.6).log_prob(x0)[:, 0].double()
    found = log_likelihood(DATA.denoiser, COSINE, x0, steps=50)
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-3)


def test_times_that_are_even_in_log_snr_are_not_nearly_all_at_the_end() -> None:
    times = TimeSampler("log_snr").sample(COSINE, 1000)
    assert float((times > 0.999).double().mean()) < 0.1


@pytest.mark.parametrize("name", SDES)
def test_alpha_and_sigma_have_the_derivatives_that_are_told(name: str) -> None:
    """By torch, forwards, where states are differentiated in time; BBED's σ is an integral of SciPy's."""
    sde = SDES[name]
    t = torch.linspace(0.1, 0.9, 5, dtype=F64)
    for value, rate in ((sde.alpha, sde.alpha_dot), (sde.sigma, sde.sigma_dot)):
        torch.testing.assert_close(jvp(value, (t,), (torch.ones_like(t),))[1], rate(t), rtol=1e-7, atol=1e-9)


def test_bbeds_sigma_is_differentiated_backwards_too() -> None:
    t = torch.linspace(0.1, 0.9, 5, dtype=F64, requires_grad=True)
    (rate,) = torch.autograd.grad(SDES["bbed"].sigma(t).sum(), t)
    torch.testing.assert_close(rate, SDES["bbed"].sigma_dot(t.detach()), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("output", ["data", "velocity", "edm"])
def test_other_predictions_are_asked_at_the_end(output: NetworkOutput) -> None:
    drawn = sample(Denoiser(Same(), COSINE, output), COSINE, (2, 3), steps=3).x
    assert bool(torch.isfinite(drawn).all())
    assert float(drawn.abs().max()) < 100
