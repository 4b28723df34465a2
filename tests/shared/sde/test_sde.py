"""Every process against its own marginals, simulated paths, and the formulas that its paper prints."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from torch import Tensor

from shared.errors import ConfigError
from shared.noise import GaussianProcess, OrnsteinUhlenbeck
from shared.random import make_generator, randn
from shared.sde import (
    BBEDSDE,
    FOUVESDE,
    OUVESDE,
    OUVPSDE,
    SBVESDE,
    SDE,
    VESDE,
    VPSDE,
    DiscreteVPSDE,
    FlowSDE,
    SubVPSDE,
)
from tests.processes import ANCHORED, BRIDGES, SDES, all_sdes

TIMES = torch.tensor([0.011, 0.053, 0.173, 0.37, 0.555, 0.72, 0.893, 0.985], dtype=torch.float64)


def central_difference(function: Callable[[Tensor], Tensor], t: Tensor, step: float = 1e-5) -> Tensor:
    """Fourth-order central difference."""
    near = function(t + step) - function(t - step)
    far = function(t + 2 * step) - function(t - 2 * step)
    return (8 * near - far) / (12 * step)


def drift_rate(sde: SDE, t: Tensor) -> Tensor:
    """The coefficient of (x − y) in the drift, read off the drift itself."""
    return sde.drift(torch.ones(len(t), 1, dtype=torch.float64), t)[:, 0]


# Drift and diffusion follow from the marginals. ------------------------------------------------------------------


@all_sdes()
def test_drift_and_diffusion_give_the_marginals(name: str, sde: SDE) -> None:
    rate, g2 = drift_rate(sde, TIMES), sde.diffusion(TIMES).square()
    torch.testing.assert_close(central_difference(sde.alpha, TIMES), rate * sde.alpha(TIMES), rtol=1e-6, atol=1e-9)
    variance_dot = central_difference(lambda t: sde.sigma(t).square(), TIMES)
    expected = 2 * rate * sde.sigma(TIMES).square() + g2
    torch.testing.assert_close(variance_dot, expected, rtol=1e-6, atol=1e-8)


@all_sdes()
def test_derivatives(name: str, sde: SDE) -> None:
    torch.testing.assert_close(sde.alpha_dot(TIMES), central_difference(sde.alpha, TIMES), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(sde.sigma_dot(TIMES), central_difference(sde.sigma, TIMES), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("sde", "slope"),
    [(FlowSDE(scale=0.3), 0.3), (SubVPSDE(), 0.1), (VPSDE(), math.inf), (VESDE(), 0.01 * math.log(5000))],
)
def test_the_slope_of_sigma_where_it_begins(sde: SDE, slope: float) -> None:
    assert float(sde.sigma_dot(0.0)) == pytest.approx(slope, rel=1e-6)
    both = sde.sigma_dot(torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(both[1], sde.sigma_dot(0.5).float())


@all_sdes(others_slow=True)
def test_simulated_paths_have_the_marginals(name: str, sde: SDE) -> None:
    paths, steps, end = 20_000, 500, 0.8
    generator = make_generator("paths", name)
    x0, y = 1.5, torch.full((1, paths), 0.6 if name in ANCHORED else 0.0)
    start, std = sde.marginal_prob(torch.full((1, paths), x0), torch.zeros(1), y)
    x = start + std * randn((1, paths), generator)  # VE has noise at t = 0 already
    dt = end / steps
    # Coefficients at the middle of a step: the scheme's own error then stays well under the Monte-Carlo error.
    for t in ((torch.arange(steps) + 0.5) * dt).split(1):
        x = x + sde.drift(x, t, y) * dt + sde.diffusion(t) * math.sqrt(dt) * randn((1, paths), generator)
    mean, std = sde.marginal_prob(torch.full((1, paths), x0), torch.tensor([end]), y)
    assert abs(float(x.mean() - mean.mean())) < 4 * float(std) / math.sqrt(paths) + 2e-3
    assert float(x.var()) == pytest.approx(float(std) ** 2, rel=4 * math.sqrt(2 / paths) + 0.01)


# What the papers print. ------------------------------------------------------------------------------------------


def test_variance_preserving_formulas() -> None:
    low, high = 0.1, 20.0
    log_mean = -0.25 * TIMES**2 * (high - low) - 0.5 * TIMES * low
    for sde, sigma in (
        (VPSDE(low, high), torch.sqrt(-torch.expm1(2 * log_mean))),
        (SubVPSDE(low, high), -torch.expm1(2 * log_mean)),
    ):
        torch.testing.assert_close(sde.alpha(TIMES), log_mean.exp(), rtol=1e-13, atol=0)
        torch.testing.assert_close(sde.sigma(TIMES), sigma, rtol=1e-13, atol=0)
    beta = low + TIMES * (high - low)
    torch.testing.assert_close(VPSDE(low, high).diffusion(TIMES), beta.sqrt(), rtol=1e-12, atol=0)
    discount = -torch.expm1(4 * log_mean)
    torch.testing.assert_close(SubVPSDE(low, high).diffusion(TIMES), (beta * discount).sqrt(), rtol=1e-11, atol=0)


def test_variance_exploding_formulas() -> None:
    sde = VESDE(0.01, 50.0)
    sigma = 0.01 * (50.0 / 0.01) ** TIMES
    torch.testing.assert_close(sde.sigma(TIMES), sigma, rtol=1e-13, atol=0)
    torch.testing.assert_close(sde.diffusion(TIMES), sigma * math.sqrt(2 * math.log(5000)), rtol=1e-13, atol=0)
    assert bool((sde.alpha(TIMES) == 1).all())


@pytest.mark.parametrize(("theta", "low", "high"), [(1.5, 0.05, 0.5), (2.0, 0.1, 1.0), (0.3, 0.01, 2.0)])
def test_ouve_formulas(theta: float, low: float, high: float) -> None:
    sde, ratio = OUVESDE(theta, low, high), math.log(high / low)
    decay = torch.exp(-2 * theta * TIMES)
    variance = low**2 * decay * (torch.exp(2 * (theta + ratio) * TIMES) - 1) * ratio / (theta + ratio)
    torch.testing.assert_close(sde.sigma(TIMES), variance.sqrt(), rtol=1e-10, atol=0)
    g = low * (high / low) ** TIMES * math.sqrt(2 * ratio)
    torch.testing.assert_close(sde.diffusion(TIMES), g, rtol=1e-10, atol=0)
    torch.testing.assert_close(drift_rate(sde, TIMES), torch.full_like(TIMES, -theta), rtol=1e-12, atol=0)


@pytest.mark.parametrize("stiffness", [1.0, 1.5])
def test_ouvp_variance_solves_its_equation(stiffness: float) -> None:
    sde = OUVPSDE(0.1, 2.0, stiffness)
    solution = solve_ivp(
        lambda t, v: (0.1 + 1.9 * t) * (1 - stiffness * v), (0, 1), [0.0], t_eval=TIMES.numpy(), rtol=1e-11, atol=1e-14
    )
    torch.testing.assert_close(sde.sigma(TIMES).square(), torch.from_numpy(solution.y[0]), rtol=1e-8, atol=1e-12)
    beta = 0.1 + 1.9 * TIMES
    torch.testing.assert_close(sde.diffusion(TIMES), beta.sqrt(), rtol=1e-12, atol=0)
    torch.testing.assert_close(drift_rate(sde, TIMES), -0.5 * stiffness * beta, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("k", "c"), [(2.6, 0.52), (10.0, 0.01), (0.5, 1.0)])
def test_bbed_variance_is_the_integral(k: float, c: float) -> None:
    sde = BBEDSDE(k, c)
    for t in (0.01, 0.03, 0.2, 0.5, 0.9, 0.999):
        integral, _ = quad(lambda s: c * k ** (2 * s) / (1 - s) ** 2, 0, t, epsabs=1e-13, epsrel=1e-12, limit=400)
        assert float(sde.sigma(t)) ** 2 == pytest.approx((1 - t) ** 2 * integral, rel=1e-9)
    torch.testing.assert_close(sde.diffusion(TIMES), math.sqrt(c) * k**TIMES, rtol=1e-10, atol=0)
    torch.testing.assert_close(drift_rate(sde, TIMES), -1 / (1 - TIMES), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("k", "c"), [(2.6, 0.4), (0.5, 1.0)])
def test_bridge_formulas(k: float, c: float) -> None:
    sde = SBVESDE(k, c)
    forward = c * (k ** (2 * TIMES) - 1) / (2 * math.log(k))
    total = c * (k**2 - 1) / (2 * math.log(k))
    backward = total - forward
    torch.testing.assert_close(sde.alpha(TIMES), backward / total, rtol=1e-10, atol=0)
    torch.testing.assert_close(sde.sigma(TIMES), (forward * backward / total).sqrt(), rtol=1e-10, atol=0)
    torch.testing.assert_close(sde.diffusion(TIMES), math.sqrt(c) * k**TIMES, rtol=1e-10, atol=0)
    assert float(sde.alpha(1.0)) == float(sde.sigma(1.0)) == float(sde.sigma(0.0)) == 0.0


# log-SNR. --------------------------------------------------------------------------------------------------------


@all_sdes()
def test_log_snr_is_the_logarithm_of_the_ratio(name: str, sde: SDE) -> None:
    torch.testing.assert_close(sde.log_snr(TIMES), (sde.alpha(TIMES) / sde.sigma(TIMES)).log(), rtol=1e-10, atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(sorted(SDES)), t=st.floats(1e-3, 0.999))
def test_time_of_log_snr_inverts_log_snr(name: str, t: float) -> None:
    sde = SDES[name]
    assert float(sde.time_of_log_snr(sde.log_snr(t))) == pytest.approx(t, abs=1e-10)


@pytest.mark.parametrize(
    "betas", [(0.0046, 0.0032), (0.66, 0.006, 0.003, 0.006), (1e-3, 0.3, 0.05, 1e-7, 0.09)], ids=str
)
def test_times_of_a_table_that_bends_are_found_too(betas: tuple[float, ...]) -> None:
    """Where Newton's steps leave the interval that holds the time."""
    sde = DiscreteVPSDE(betas)
    times = torch.linspace(sde.t_min, 1, 64, dtype=torch.float64)
    torch.testing.assert_close(sde.time_of_log_snr(sde.log_snr(times)), times, rtol=0, atol=1e-8)


@all_sdes()
def test_log_snr_at_the_ends(name: str, sde: SDE) -> None:
    clean = float(sde.log_snr(0.0))
    assert clean == (pytest.approx(-math.log(sde.sigma_min)) if isinstance(sde, VESDE | FOUVESDE) else math.inf)
    assert float(sde.time_of_log_snr(clean)) == pytest.approx(0, abs=1e-12)
    end = float(sde.log_snr(1.0))
    assert end == -math.inf if name in ("flow", "resfusion", "bbed", *BRIDGES) else math.isfinite(end)
    assert float(sde.time_of_log_snr(end)) == pytest.approx(1, abs=1e-12)
    assert float(sde.time_of_log_snr(-200.0)) == pytest.approx(1, abs=1e-12)
    assert float(sde.time_of_log_snr(500.0)) == pytest.approx(0, abs=1e-12)


# Numbers, shapes and dtypes. -------------------------------------------------------------------------------------


@all_sdes()
def test_float32_times_lose_nothing_near_the_ends(name: str, sde: SDE) -> None:
    t = torch.tensor([1e-7, 1e-5, 1e-3, 1 - 1e-3, 1 - 1e-5, 1 - 6e-8], dtype=torch.float32)
    for function in (sde.alpha, sde.sigma, sde.log_snr, sde.diffusion, sde.alpha_dot, sde.sigma_dot):
        value = function(t)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, function(t.double()).float(), rtol=1e-6, atol=0)
        assert bool(value.isfinite().all())
    x = torch.full((len(t), 2), 1.5)
    wide = sde.marginal_prob(x.double(), t.double())
    narrow = sde.marginal_prob(x, t)
    torch.testing.assert_close(narrow[0], wide[0].float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(sde.drift(x, t), sde.drift(x.double(), t.double()).float(), rtol=1e-6, atol=0)


def test_small_variances_keep_their_relative_accuracy() -> None:
    t = torch.tensor([1e-12, 1e-9, 1e-6], dtype=torch.float64)
    torch.testing.assert_close(VPSDE().sigma(t).square(), 0.1 * t, rtol=1e-4, atol=0)
    torch.testing.assert_close(SubVPSDE().sigma(t), 0.1 * t, rtol=1e-4, atol=0)
    torch.testing.assert_close(OUVESDE().sigma(t).square(), 2 * math.log(10) * 0.05**2 * t, rtol=1e-4, atol=0)
    torch.testing.assert_close(SBVESDE().sigma(t).square(), 0.4 * t, rtol=1e-4, atol=0)
    left = 1 - torch.tensor([1 - 1e-9, 1 - 1e-6], dtype=torch.float64)
    bridge = SBVESDE().sigma(1 - left).square()
    torch.testing.assert_close(bridge, 0.4 * 2.6**2 * left, rtol=1e-4, atol=0)


@all_sdes()
def test_clean_data_at_time_zero(name: str, sde: SDE) -> None:
    x0, noise = torch.randn(3, 2), torch.randn(3, 2)
    x = sde.perturb(x0, torch.zeros(3), noise)
    floor = sde.sigma_min * noise if isinstance(sde, VESDE | FOUVESDE) else 0
    torch.testing.assert_close(x, x0 + floor, rtol=1e-6, atol=1e-7)


@all_sdes()
def test_no_anchor_means_zero(name: str, sde: SDE) -> None:
    x, t = torch.randn(5, 3, 4), torch.linspace(0.1, 0.9, 5)
    zero = torch.zeros_like(x)
    assert torch.equal(sde.drift(x, t), sde.drift(x, t, zero))
    assert torch.equal(sde.marginal_prob(x, t)[0], sde.marginal_prob(x, t, zero)[0])
    assert torch.equal(sde.perturb(x, t, x), sde.perturb(x, t, x, zero))


@all_sdes()
def test_complex_data_is_two_real_parts(name: str, sde: SDE) -> None:
    x, y, noise = (torch.randn(4, 2, 3, dtype=torch.complex64) for _ in range(3))
    t = torch.linspace(0.1, 0.9, 4)
    mean, std = sde.marginal_prob(x, t, y)
    assert mean.is_complex()
    assert not std.is_complex()
    for part in (torch.real, torch.imag):
        torch.testing.assert_close(part(mean), sde.marginal_prob(part(x), t, part(y))[0])
        torch.testing.assert_close(part(sde.drift(x, t, y)), sde.drift(part(x), t, part(y)))
        torch.testing.assert_close(part(sde.perturb(x, t, noise, y)), sde.perturb(part(x), t, part(noise), part(y)))


@pytest.mark.parametrize("sde", [BBEDSDE(), SBVESDE()], ids=["bbed", "sbve"])
def test_drift_at_the_end_of_a_bridge(sde: SDE) -> None:
    y = torch.randn(2, 3)
    assert torch.equal(sde.drift(y, torch.ones(2), y), torch.zeros(2, 3))
    assert bool(sde.drift(y + 1, torch.ones(2), y).isinf().all())


@pytest.mark.parametrize("sde", [VPSDE(beta_min=0), SubVPSDE(beta_min=0), VPSDE(), OUVPSDE()], ids=repr)
def test_clean_data_is_at_time_0(sde: SDE) -> None:
    clean = sde.time_of_log_snr(torch.tensor([math.inf, 400.0], dtype=torch.float64))
    assert float(clean[0]) == 0
    assert 0 <= float(clean[1]) < 1e-8


# The prior. ------------------------------------------------------------------------------------------------------


@all_sdes(skip=BRIDGES)
def test_prior_log_prob(name: str, sde: SDE) -> None:
    z, y = torch.randn(3, 2, 4, dtype=torch.float64), torch.randn(3, 2, 4, dtype=torch.float64)
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), sde.prior_std)
    torch.testing.assert_close(sde.prior_log_prob(z), normal.log_prob(z).sum((1, 2)))
    torch.testing.assert_close(sde.prior_log_prob(z, y), normal.log_prob(z - y).sum((1, 2)))
    # A complex number with E|z|² = s² is two real ones of variance s²/2.
    half = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), sde.prior_std / math.sqrt(2))
    expected = (half.log_prob(z) + half.log_prob(y)).sum((1, 2))
    torch.testing.assert_close(sde.prior_log_prob(torch.complex(z, y)), expected)


@all_sdes()
def test_prior_sample_statistics(name: str, sde: SDE) -> None:
    y = torch.full((4, 20_000), 0.7)
    z = sde.prior_sample(y, make_generator("prior", name))
    std = sde.prior_std
    assert float(z.mean()) == pytest.approx(0.7, abs=5 * std / math.sqrt(y.numel()) + 1e-6)
    assert float(z.std()) == pytest.approx(std, rel=0.01, abs=1e-6)
    assert std == pytest.approx(float(sde.sigma(sde.T)), rel=4e-3)
    if name not in BRIDGES:
        flat = sde.prior_sample((4, 20_000), make_generator("prior", name))
        torch.testing.assert_close(flat, z - y, rtol=1e-5, atol=1e-5)
        spectrum = sde.prior_sample(y.to(torch.complex64), make_generator("prior", name)) - y
        assert float(spectrum.abs().square().mean().sqrt()) == pytest.approx(std, rel=0.01)
        assert float(spectrum.real.std()) == pytest.approx(float(spectrum.imag.std()), rel=0.02)


def test_the_bridge_starts_from_the_anchor_itself() -> None:
    y = torch.randn(2, 3)
    z = SBVESDE().prior_sample(y)
    assert torch.equal(z, y)
    assert z.data_ptr() != y.data_ptr()


@all_sdes(skip=BRIDGES)
def test_prior_sample_with_a_generator_per_item(name: str, sde: SDE) -> None:
    together = sde.prior_sample((3, 5), [make_generator("item", i) for i in range(3)])
    alone = torch.cat([sde.prior_sample((1, 5), [make_generator("item", i)]) for i in range(3)])
    assert torch.equal(together, alone)
    assert torch.equal(sde.prior_sample((3, 5), make_generator(1)), sde.prior_sample((3, 5), make_generator(1)))
    with pytest.raises(ConfigError, match="2 generators for a batch of 3"):
        sde.prior_sample((3, 5), [make_generator(0), make_generator(1)])


def test_prior_sample_dtype() -> None:
    assert VPSDE().prior_sample((2, 3), dtype=torch.float64).dtype == torch.float64
    assert VPSDE().prior_sample((2, 3), dtype=torch.complex64).dtype == torch.complex64
    assert VPSDE().prior_sample(torch.zeros(2, 3, dtype=torch.float64)).dtype == torch.float64


@all_sdes()
def test_infinite_log_snr_is_an_end_of_time(name: str, sde: SDE) -> None:
    times = sde.time_of_log_snr(torch.tensor([math.inf, -math.inf], dtype=torch.float64))
    assert torch.allclose(times, torch.tensor([0.0, 1.0], dtype=torch.float64), atol=1e-6)


def test_what_knows_white_noise_alone_takes_it_and_refuses_coloured() -> None:
    FlowSDE().require_white("the Gaussian integrator", "ode2")
    coloured = FlowSDE(noise=GaussianProcess(OrnsteinUhlenbeck(5.0)))
    with pytest.raises(ConfigError, match=r"the Gaussian integrator knows white noise alone, not .*: take ode2"):
        coloured.require_white("the Gaussian integrator", "ode2")
