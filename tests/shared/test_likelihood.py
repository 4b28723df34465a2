"""log-likelihoods under exact Gaussian scores, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.divergence import directions_of
from shared.elbo import elbo
from shared.errors import ConfigError, SamplingError
from shared.likelihood import estimate_log_likelihood, log_likelihood
from shared.random import make_generator
from shared.sde import OUVESDE, SBVESDE, SDE, VESDE, VPSDE
from tests.processes import ANCHORED, BRIDGES, all_sdes
from tests.shared.gaussian import GaussianData

DIMS = 3
TOLERANCE = 1e-3 * DIMS
"""The issue's bound: 1e-3 nats per dimension."""


def setting(name: str, sde: SDE) -> tuple[GaussianData, Tensor, Tensor | None]:
    """Data N(0.3, 0.8²) around an anchor of 0.1 (0 for the processes without one), and draws of it."""
    x0 = 0.3 + 0.8 * torch.randn(32, DIMS, dtype=torch.float64, generator=make_generator("likelihood", name))
    y = torch.full_like(x0, 0.1) if name in ANCHORED else None
    return GaussianData(sde, 0.3, 0.8, y), x0, y


@all_sdes(skip=BRIDGES, others_slow=True, slow=("discrete_linear",))
def test_density_is_the_prior_carried_through_the_flow(name: str, sde: SDE) -> None:
    data, x0, y = setting(name, sde)
    found = log_likelihood(data.denoiser, sde, x0, y)
    _, var_end = data.marginal(1e-5)
    _, var_start = data.marginal(sde.T)
    start = data.flow(x0, 1e-5, sde.T)
    stretch = DIMS * 0.5 * math.log(float(var_start / var_end))
    expected = sde.prior_log_prob(start, y) + stretch
    assert (found - expected).abs().max() < TOLERANCE


@all_sdes(skip=BRIDGES, others_slow=True, slow=("discrete_linear",))
def test_with_the_process_own_end_as_prior_it_is_the_density_of_the_data(name: str, sde: SDE) -> None:
    data, x0, y = setting(name, sde)
    mean, variance = data.marginal(sde.T)

    def end(z: Tensor) -> Tensor:
        return torch.distributions.Normal(mean, variance.sqrt()).log_prob(z).sum(1)

    found = log_likelihood(data.denoiser, sde, x0, y, prior_log_prob=end)
    spread = math.hypot(0.8, float(sde.sigma(0.0)))  # of the data and the noise that VE and fOUVE begin with
    expected = torch.distributions.Normal(0.3, spread).log_prob(x0).sum(1)
    assert (found - expected).abs().max() < TOLERANCE


@all_sdes(skip=(*BRIDGES, "discrete_linear", *ANCHORED), others_slow=True)
def test_where_the_prior_fits_it_is_the_density_of_centred_data(name: str, sde: SDE) -> None:
    # TSDiff's linear table ends at α = 0.075, so that its prior is off by more than the tolerance; see above.
    data = GaussianData(sde, 0.0, 0.8)
    x0 = 0.8 * torch.randn(32, DIMS, dtype=torch.float64, generator=make_generator("centred", name))
    expected = torch.distributions.Normal(0.0, 0.8).log_prob(x0).sum(1)
    assert (log_likelihood(data.denoiser, sde, x0) - expected).abs().max() < TOLERANCE


def correlated(dims: int) -> Tensor:
    factor = torch.randn(dims, dims, dtype=torch.float64, generator=make_generator("covariance", dims))
    return factor @ factor.T / dims + 0.2 * torch.eye(dims, dtype=torch.float64)


def test_exact_trace_of_correlated_data() -> None:
    sde, covariance = VPSDE(), correlated(6)
    data = GaussianData(sde, torch.zeros(6, dtype=torch.float64), covariance)
    normal = torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance)
    torch.manual_seed(0)
    x0 = normal.sample((16,))
    found = log_likelihood(data.denoiser, sde, x0, trace="exact")
    assert (found - normal.log_prob(x0)).abs().max() < 6e-3


def test_hutchinson_is_unbiased_and_its_error_falls_with_probes() -> None:
    sde, covariance = VPSDE(), correlated(6)
    data = GaussianData(sde, torch.zeros(6, dtype=torch.float64), covariance)
    x0 = torch.randn(64, 6, dtype=torch.float64, generator=make_generator("hutchinson"))
    exact = log_likelihood(data.denoiser, sde, x0, trace="exact", steps=16)

    def errors(probes: int) -> Tensor:
        generator = make_generator("probes", probes)
        kind = {"trace": "hutchinson", "probes": probes, "steps": 16}
        return log_likelihood(data.denoiser, sde, x0, generator=generator, **kind) - exact  # type: ignore[arg-type]

    one, many = errors(1), errors(25)
    assert one.mean().abs() < 4 * one.std() / 8
    assert many.mean().abs() < 4 * many.std() / 8
    assert 3 < one.std() / many.std() < 8  # √25, within what 64 items can tell


def test_a_probe_per_item_does_not_depend_on_the_batch() -> None:
    data = GaussianData(VPSDE(), torch.zeros(6, dtype=torch.float64), correlated(6))
    x0 = torch.randn(4, 6, dtype=torch.float64, generator=make_generator("items"))

    def value(rows: slice) -> Tensor:
        generators = [make_generator("item", i) for i in range(4)][rows]
        kind = {"trace": "hutchinson", "rtol": 1e-6, "atol": 1e-6}
        return log_likelihood(data.denoiser, VPSDE(), x0[rows], generator=generators, **kind)  # type: ignore[arg-type]

    assert torch.allclose(value(slice(None))[2:3], value(slice(2, 3)), atol=1e-4)


def test_many_dimensions_use_probes_by_themselves() -> None:
    # The trace of an isotropic Jacobian is the same along every sign vector, so one probe is exact.
    data = GaussianData(VPSDE(), 0.0, 0.8)
    x0 = 0.8 * torch.randn(4, 8, 25, dtype=torch.float64, generator=make_generator("wide"))
    expected = torch.distributions.Normal(0.0, 0.8).log_prob(x0).flatten(1).sum(1)
    assert ((log_likelihood(data.denoiser, VPSDE(), x0) - expected) / 200).abs().max() < 1e-3


def test_complex_data_count_two_dimensions_an_element() -> None:
    data = GaussianData(VESDE(), 0.0, 0.8)
    x0 = 0.8 * torch.randn(16, 2, dtype=torch.complex128, generator=make_generator("complex"))
    found = log_likelihood(data.denoiser, VESDE(), x0)
    expected = -(x0.abs() / 0.8).square().sum(1) - 2 * math.log(math.pi * 0.8**2)
    assert found.dtype == torch.float64
    assert ((found - expected) / 4).abs().max() < 1e-3
    torch.testing.assert_close(log_likelihood(data.denoiser, VESDE(), x0.conj().resolve_conj().conj()), found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("more", [{}, {"steps": 10}, {"trace": "hutchinson", "probes": 2, "steps": 10}])
def test_single_numbers_and_batches_of_none(dtype: torch.dtype, more: dict[str, Any]) -> None:
    sde = VPSDE()
    x0 = 0.8 * torch.randn(3, dtype=dtype, generator=make_generator("numbers"))
    alone, wide = (log_likelihood(GaussianData(sde, 0.0, 0.8).denoiser, sde, x, **more) for x in (x0, x0[:, None]))
    torch.testing.assert_close(alone, wide, rtol=0, atol=1e-9)
    for shape in ((0,), (0, 4)):
        none = estimate_log_likelihood(lambda x, t: 0.5 * x, sde, torch.zeros(shape, dtype=dtype), **more)
        assert none.value.shape == none.standard_error.shape == (0,)
        assert none.value.dtype == torch.float64


def test_the_bound_of_single_numbers() -> None:
    x0, noise = torch.linspace(-1, 1, 3), torch.randn(2, 8, 3, generator=make_generator("bound"))
    denoiser = GaussianData(VPSDE(), 0.0, 0.8).denoiser
    alone, wide = elbo(denoiser, VPSDE(), x0, noise), elbo(denoiser, VPSDE(), x0[:, None], noise[..., None])
    torch.testing.assert_close(alone.value, wide.value)
    assert elbo(denoiser, VPSDE(), x0[:0], noise[..., :1]).value.shape == (0,)


def test_float32_networks_are_accurate_too() -> None:
    data = GaussianData(VPSDE(), 0.0, 0.8)
    x0 = 0.8 * torch.randn(16, DIMS, generator=make_generator("single"))
    expected = torch.distributions.Normal(0.0, 0.8).log_prob(x0).sum(1)
    assert (log_likelihood(data.denoiser, VPSDE(), x0, rtol=1e-4, atol=1e-4) - expected).abs().max() < 3 * TOLERANCE


def test_whole_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"x0 of torch.int64: .*x0.float\(\)"):
        log_likelihood(lambda x, t: x, VPSDE(), torch.ones(2, 3, dtype=torch.int64))


@pytest.mark.parametrize("kind", [{"trace": "guess"}, {"probes": 0}, {"steps": 0}])
def test_settings_that_cannot_be(kind: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        log_likelihood(lambda x, t: x, VPSDE(), torch.zeros(1, 2), **kind)  # type: ignore[arg-type]


def test_a_bridge_has_no_density() -> None:
    with pytest.raises(ConfigError, match="no density"):
        log_likelihood(lambda x, t: x, SBVESDE(), torch.zeros(1, 2), torch.zeros(1, 2))


@pytest.mark.slow
def test_fixed_steps_give_what_the_adaptive_solver_gives_whatever_the_batch() -> None:
    sde, covariance = VPSDE(), correlated(6)
    data = GaussianData(sde, torch.zeros(6, dtype=torch.float64), covariance)
    x0 = torch.randn(5, 6, dtype=torch.float64, generator=make_generator("fixed"))
    whole = estimate_log_likelihood(data.denoiser, sde, x0, trace="exact", steps=40)
    alone = log_likelihood(data.denoiser, sde, x0[3:4], trace="exact", steps=40)
    assert whole.nfe == 160
    assert torch.equal(whole.standard_error, torch.zeros(5, dtype=torch.float64))
    assert torch.allclose(whole.value[3:4], alone, rtol=0, atol=1e-10)
    assert torch.allclose(whole.value, log_likelihood(data.denoiser, sde, x0, trace="exact"), atol=5e-3)


def test_fixed_steps_converge_at_fourth_order() -> None:
    data = GaussianData(VPSDE(), 0.0, 0.8)
    x0 = torch.randn(8, 2, dtype=torch.float64, generator=make_generator("order"))
    values = [log_likelihood(data.denoiser, VPSDE(), x0, trace="exact", steps=n) for n in (20, 40, 80)]
    coarse, fine = ((value - values[2]).abs().max() for value in values[:2])
    assert 10 < float(coarse / fine) < 26


def test_the_standard_error_tells_the_error_of_the_probes() -> None:
    sde, covariance = VPSDE(), correlated(6)
    data = GaussianData(sde, torch.zeros(6, dtype=torch.float64), covariance)
    x0 = torch.randn(40, 6, dtype=torch.float64, generator=make_generator("error"))
    exact = log_likelihood(data.denoiser, sde, x0, trace="exact", steps=16)
    found = estimate_log_likelihood(
        data.denoiser, sde, x0, trace="hutchinson", probes=12, steps=16, generator=make_generator("p")
    )
    ratio = (found.value - exact) / found.standard_error
    assert 0.6 < float(ratio.square().mean().sqrt()) < 1.6
    assert estimate_log_likelihood(data.denoiser, sde, x0, trace="hutchinson", steps=4).standard_error.isnan().all()


def test_probes_that_the_caller_gives_serve_the_whole_batch() -> None:
    # A Hadamard basis of probes is an exact trace.
    sde, covariance = VPSDE(), correlated(4)
    data = GaussianData(sde, torch.zeros(4, dtype=torch.float64), covariance)
    x0 = torch.randn(3, 4, dtype=torch.float64, generator=make_generator("given"))
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    basis = torch.kron(pair, pair)[:, None]
    found = log_likelihood(data.denoiser, sde, x0, trace="hutchinson", probes=basis, steps=16)
    assert torch.allclose(found, log_likelihood(data.denoiser, sde, x0, trace="exact", steps=16), atol=1e-9)
    with pytest.raises(ConfigError, match="probes of shape"):
        log_likelihood(data.denoiser, sde, x0, trace="hutchinson", probes=basis[..., :3])


@pytest.mark.parametrize("shape", [(2, 4, 2), (2, 4, 4), (2, 3, 3), (2, 2, 3)])
def test_probes_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    x = torch.zeros(4, 3)
    for fits in ((2, 4, 3), (2, 1, 3)):
        probes = directions_of(x, "hutchinson", torch.ones(fits), None)
        assert probes is not None
        assert probes.shape == fits
    with pytest.raises(ConfigError, match=r"need \(probes, batch or 1, \*\(3,\)\)"):
        directions_of(x, "hutchinson", torch.ones(shape), None)


@pytest.mark.parametrize(
    "settings", [{"t_end": 0.0}, {"t_end": -1.0}, {"t_end": 1.0}, {"t_end": math.nan}, {"rtol": -1.0}, {"atol": 0.0}]
)
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    """They gave wrong densities, or errors that named no setting."""
    x0 = torch.ones(2, DIMS)
    with pytest.raises(ConfigError, match=next(iter(settings))):
        log_likelihood(GaussianData(VPSDE(), 0.3, 0.8).denoiser, VPSDE(), x0, **settings)
    if "t_end" in settings:
        with pytest.raises(ConfigError, match="t_end"):
            elbo(GaussianData(VPSDE(), 0.3, 0.8).denoiser, VPSDE(), x0, torch.zeros(1, 4, *x0.shape), **settings)


def test_the_least_noise_of_a_process_is_a_time_of_data() -> None:
    sde, x0 = VESDE(sigma_max=5.0), torch.tensor([[0.1, 0.4, 0.9]], dtype=torch.float64)
    data = GaussianData(sde, 0.3, 0.8)
    found = float(log_likelihood(data.denoiser, sde, x0, t_end=0.0, rtol=1e-8, atol=1e-8))
    assert found == pytest.approx(float(log_likelihood(data.denoiser, sde, x0, rtol=1e-8, atol=1e-8)), abs=1e-3)


def test_data_that_is_not_finite_is_told() -> None:
    x0 = torch.tensor([[0.1, math.nan, 0.9]])
    with pytest.raises(SamplingError, match="data and predictions are finite"):
        log_likelihood(GaussianData(VPSDE(), 0.3, 0.8).denoiser, VPSDE(), x0)


def test_a_denoiser_that_records_no_gradient_is_told_unless_it_is_constant() -> None:
    """Its divergence was taken for 0, and the density was wrong by hundreds of nats."""
    denoiser, x0 = GaussianData(VPSDE(), 0.3, 0.8).denoiser, torch.ones(2, DIMS)
    for without in (torch.no_grad(), torch.inference_mode()):
        with pytest.raises(ConfigError, match="has no gradient"):
            log_likelihood(without(denoiser), VPSDE(), x0)
    with pytest.raises(ConfigError, match="has no gradient"):
        log_likelihood(lambda x, t: denoiser(x, t).detach(), VPSDE(), x0, trace="hutchinson")
    assert bool(torch.isfinite(log_likelihood(lambda x, t: torch.zeros_like(x), VPSDE(), x0)).all())


@pytest.mark.parametrize(
    ("x0", "told"),
    [
        (np.ones((2, 3)), r"x0 of the type ndarray: need a tensor, such as torch.as_tensor makes"),
        (torch.ones(2, 3, dtype=torch.long), r"x0 of torch.int64: need real or complex numbers, such as x0.float\(\)"),
    ],
)
def test_what_is_no_tensor_of_numbers_is_told(x0: Tensor, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        log_likelihood(lambda x, t: 0.5 * x, VPSDE(), x0)
    with pytest.raises(ConfigError, match=told.replace("x0", "y")):
        log_likelihood(lambda x, t: 0.5 * x, OUVESDE(), torch.ones(2, 3), x0)
