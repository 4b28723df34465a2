"""The evidence lower bound under exact and inexact Gaussian denoisers, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from shared.elbo import elbo
from shared.errors import ConfigError
from shared.random import make_generator
from shared.sde import SBVESDE, SDE, VPSDE
from tests.processes import ANCHORED, BRIDGES, all_sdes
from tests.shared.gaussian import GaussianData

DIMS = 6


def noise(draws: int, levels: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(draws, levels, *shape, dtype=torch.float64, generator=make_generator("elbo", seed))


def covariance(dims: int = DIMS) -> Tensor:
    factor = torch.randn(dims, dims, dtype=torch.float64, generator=make_generator("covariance", dims))
    return factor @ factor.T / dims + 0.2 * torch.eye(dims, dtype=torch.float64)


def normal(cov: Tensor) -> torch.distributions.MultivariateNormal:
    return torch.distributions.MultivariateNormal(torch.zeros(len(cov), dtype=cov.dtype), cov)


@all_sdes(skip=(*BRIDGES, "ouve", "bbed", "discrete_linear"), others_slow=True)
def test_with_the_exact_denoiser_the_bound_is_the_density(name: str, sde: SDE) -> None:
    # OUVE, BBED and TSDiff's table end away from their prior, by more than the tolerance.
    y = torch.full((64, DIMS), 0.1, dtype=torch.float64) if name in ANCHORED else None
    data = GaussianData(sde, 0.1 if y is not None else 0.0, 0.8, y)
    x0 = (0.1 if y is not None else 0.0) + 0.8 * torch.randn(
        64, DIMS, dtype=torch.float64, generator=make_generator("x0", name)
    )
    # Items that have each their own noise, so that the mean of 64 is known to an eighth of one's error.
    found = elbo(data.denoiser, sde, x0, noise(10, 32, 64, DIMS), y)
    expected = torch.distributions.Normal(0.1 if y is not None else 0.0, 0.8).log_prob(x0).sum(1)
    gap = found.value - expected
    assert float(gap.mean().abs()) < 4 * float(found.standard_error.mean()) / 8 + 0.02 * DIMS


def test_the_exact_denoiser_of_correlated_data_gives_its_density_item_by_item() -> None:
    sde, cov = VPSDE(), covariance()
    data = GaussianData(sde, torch.zeros(DIMS, dtype=torch.float64), cov)
    x0 = 2 * torch.randn(32, DIMS, dtype=torch.float64, generator=make_generator("items"))
    found = elbo(data.denoiser, sde, x0, noise(30, 32, 1, DIMS))
    gap = found.value - normal(cov).log_prob(x0)
    # Shared noise: the error of the mean is that of one item, and what differs between items is exact.
    assert float(gap.mean().abs()) < 4 * float(found.standard_error.mean()) + 0.05
    assert float(gap.std()) < 0.02 * float(normal(cov).log_prob(x0).std())


def test_shared_noise_cancels_where_items_are_compared() -> None:
    sde, cov = VPSDE(), covariance()
    data = GaussianData(sde, torch.zeros(DIMS, dtype=torch.float64), cov)
    x0 = 2 * torch.randn(32, DIMS, dtype=torch.float64, generator=make_generator("items"))
    found = elbo(data.denoiser, sde, x0, noise(2, 12, 1, DIMS))
    truth = normal(cov).log_prob(x0)
    errors = (found.value - found.value.mean()) - (truth - truth.mean())
    assert float(errors.abs().max()) < 0.05 * float(truth.std())


@pytest.mark.parametrize("gain", [0.6, 0.9, 1.1])
def test_any_other_denoiser_is_below_the_data_s_own_density_on_average(gain: float) -> None:
    # E_data[bound] ≤ E_data[log model] ≤ E_data[log data], by Jensen's and by Gibbs' inequality.
    sde, cov = VPSDE(), covariance()
    data = GaussianData(sde, torch.zeros(DIMS, dtype=torch.float64), cov)
    torch.manual_seed(1)
    x0 = normal(cov).sample((400,))
    wrong = elbo(lambda x, t: gain * data.denoiser(x, t), sde, x0, noise(1, 30, 400, DIMS))
    right = elbo(data.denoiser, sde, x0, noise(1, 30, 400, DIMS))
    assert float(wrong.value.mean()) < float(normal(cov).log_prob(x0).mean()) - 0.02
    assert float(wrong.value.mean()) < float(right.value.mean())


def test_a_denoiser_of_other_data_gives_that_data_s_density() -> None:
    sde, cov, other = VPSDE(), covariance(), torch.eye(DIMS, dtype=torch.float64)
    torch.manual_seed(2)
    x0 = normal(cov).sample((64,))
    model = GaussianData(sde, torch.zeros(DIMS, dtype=torch.float64), other)
    found = elbo(model.denoiser, sde, x0, noise(5, 32, 64, DIMS))
    gap = found.value - normal(other).log_prob(x0)
    assert float(gap.mean().abs()) < 4 * float(found.standard_error.mean()) / 8 + 0.05


@pytest.mark.slow
def test_elements_of_independent_data_have_their_own_densities() -> None:
    sde = VPSDE()
    data = GaussianData(sde, 0.0, 0.7)
    x0 = torch.linspace(-3, 3, 20, dtype=torch.float64).reshape(1, 20, 1)
    found = elbo(data.denoiser, sde, x0, noise(100, 20, 1, 20, 1)).elements.mean(0)
    expected = torch.distributions.Normal(0.0, 0.7).log_prob(x0)
    assert float((found - expected).abs().max()) < 0.6
    assert float((found - expected).mean().abs()) < 0.12
    assert torch.allclose(elbo(data.denoiser, sde, x0, noise(2, 5, 1, 20, 1)).value, elements_sum(data, sde, x0))


def elements_sum(data: GaussianData, sde: SDE, x0: Tensor) -> Tensor:
    return elbo(data.denoiser, sde, x0, noise(2, 5, 1, 20, 1)).elements.mean(0).flatten(1).sum(1)


def test_the_number_of_calls_and_the_error_s_meaning() -> None:
    sde, calls = VPSDE(), 0

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.zeros_like(x)

    x0 = torch.randn(3, 4, generator=make_generator("calls"))
    found = elbo(denoiser, sde, x0, torch.randn(2, 5, 1, 4, generator=make_generator("n")))
    assert found.nfe == calls == 24
    assert found.value.dtype == torch.float64
    one = elbo(denoiser, sde, x0, torch.randn(1, 5, 1, 4, generator=make_generator("n")))
    assert one.standard_error.isnan().all()
    assert not math.isnan(float(one.value[0]))


@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 5, 2, 4), (2, 5, 1, 5), (0, 5, 1, 4), (2, 0, 1, 4)])
def test_noise_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="noise of shape"):
        elbo(lambda x, t: x, VPSDE(), torch.zeros(3, 4), torch.zeros(shape))


def test_complex_data_and_bridges_are_refused() -> None:
    with pytest.raises(ConfigError, match="real"):
        elbo(lambda x, t: x, VPSDE(), torch.zeros(3, 4, dtype=torch.complex64), torch.zeros(2, 5, 1, 4))
    with pytest.raises(ConfigError, match="no density"):
        elbo(lambda x, t: x, SBVESDE(), torch.zeros(3, 4), torch.zeros(2, 5, 1, 4), torch.zeros(3, 4))
