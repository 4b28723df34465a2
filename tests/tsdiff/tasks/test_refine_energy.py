"""The energy that refinement lowers, against Gaussian data, whose −log p and whose denoiser are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from shared.random import make_generator
from shared.samplers.mcmc import Hamiltonian, Langevin, simulate
from tsdiff.model.config import paper_sde
from tsdiff.tasks.refinement.energy import BasePrior, DenoisingEnergy, Levels, ScoreForce

SDE = paper_sde()
VARIANCES = torch.tensor([0.3, 1.0, 4.0])
"""Of independent coordinates (length 3, one channel), mean 0."""


def denoiser(x: Tensor, t: Tensor) -> Tensor:
    """E[x_0 | x_t] of N(0, diag VARIANCES)."""
    time = t[:1].double()  # all rows are at the same level
    alpha, sigma = SDE.alpha(time), SDE.sigma(time)
    variances = VARIANCES.double()[None, :, None]
    return (alpha * variances / (alpha**2 * variances + sigma**2)).to(x.dtype) * x


def energy(log_snrs: list[float], rows: int = 2, seed: int = 0) -> DenoisingEnergy:
    generators = [make_generator(seed, "energy", row) for row in range(rows)]
    return DenoisingEnergy(denoiser, SDE, Levels.at(SDE, log_snrs), (rows, 3, 1), generators)


WINDOWS = torch.tensor([[0.4, -1.0, 2.5], [-1.2, 0.3, 0.0]])[..., None]


def test_over_all_levels_it_is_minus_log_p_up_to_a_constant():
    # Between the ends of the table, log(α/σ) from −2.5 to 4.6; outside, less than a percent of the integral is left.
    fine = energy(torch.linspace(-2.5, 4.6, 50).tolist())
    value, gradient = fine(WINDOWS)
    expected = WINDOWS / VARIANCES[None, :, None]
    torch.testing.assert_close(gradient, expected, rtol=0.02, atol=0.01)
    minus_log_p = 0.5 * (WINDOWS.square() / VARIANCES[None, :, None]).flatten(1).sum(1)
    origin, _ = fine(torch.zeros_like(WINDOWS))
    torch.testing.assert_close((value - origin).float(), minus_log_p, rtol=0.02, atol=0.01)


def test_four_levels_are_close_and_ordered_as_the_sum_they_stand_for():
    _, gradient = energy([-1.5, -0.5, 0.5, 1.5, 2.5])(WINDOWS)
    smoothed = WINDOWS / (VARIANCES[None, :, None] + torch.tensor(2 * 3.0).neg().exp())
    torch.testing.assert_close(gradient, smoothed, rtol=0.1, atol=0.02)


def test_a_single_level_is_the_published_squared_noise_error():
    level = 0.7
    one = energy([level], seed=4)
    value, _ = one(WINDOWS)
    t = SDE.time_of_log_snr(torch.tensor([level], dtype=torch.float64))
    alpha, sigma = float(SDE.alpha(t)), float(SDE.sigma(t))
    total = torch.zeros(2)
    for noise in (one.noise[0], -one.noise[0]):
        x = alpha * WINDOWS + sigma * noise
        predicted = (x - alpha * denoiser(x, t.expand(2).float())) / sigma
        total += (noise - predicted).square().sum((1, 2)) / 2
    torch.testing.assert_close(value.float(), total, rtol=1e-4, atol=1e-4)


def test_pairs_of_noise_leave_the_gradient_of_a_linear_denoiser_exact():
    _, one = energy([-1.0, 0.5, 2.0], seed=0)(WINDOWS)
    _, other = energy([-1.0, 0.5, 2.0], seed=1)(WINDOWS)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_the_energys_and_its_curvature_is_at_most_the_stiffness():
    chosen = energy([-1.0, 0.0, 1.0, 2.0])
    value, gradient = chosen(WINDOWS)
    step = 1e-2
    for place in range(3):
        moved = WINDOWS.clone()
        moved[:, place] += step
        back = WINDOWS.clone()
        back[:, place] -= step
        slope = (chosen(moved)[0] - chosen(back)[0]) / (2 * step)
        torch.testing.assert_close(slope.float(), gradient[:, place, 0], rtol=2e-3, atol=2e-3)
        curvature = (chosen(moved)[0] + chosen(back)[0] - 2 * value) / step**2
        assert (curvature <= chosen.levels.stiffness).all()
    assert chosen.calls == 2 * 4 * 13


def test_noise_stays_until_it_is_drawn_anew_and_belongs_to_its_row():
    chosen = energy([0.0, 1.0])
    first = chosen(WINDOWS)[0]
    assert torch.equal(chosen(WINDOWS)[0], first)
    chosen.redraw()
    assert not torch.equal(chosen(WINDOWS)[0], first)
    torch.testing.assert_close(energy([0.0, 1.0], rows=1)(WINDOWS[:1])[0], first[:1])


def test_levels_weigh_their_spacing_and_one_weighs_one():
    assert Levels.at(SDE, [0.3]).weights == (1.0,)
    assert Levels.at(SDE, [-1.0, 0.0, 2.0]).weights == (1.0, 1.5, 2.0)
    lam = SDE.log_snr(Levels.at(SDE, [-1.0, 2.0]).times)
    torch.testing.assert_close(lam, torch.tensor([-1.0, 2.0], dtype=torch.float64), atol=1e-6, rtol=0)


# --- the score ---------------------------------------------------------------------------------------------


def force(log_snr: float, noise_scale: float, seed: int = 0) -> ScoreForce:
    generators = [make_generator(seed, "force", row) for row in range(2)]
    return ScoreForce(denoiser, SDE, log_snr, torch.full((2, 3, 1), noise_scale), generators)


def test_the_force_is_minus_the_score_of_the_data_with_the_levels_noise():
    chosen = force(0.8, 0.0)
    energy_, gradient = chosen(WINDOWS)
    assert energy_ is None
    smoothed = VARIANCES[None, :, None] + torch.tensor(-1.6).exp()
    torch.testing.assert_close(gradient, WINDOWS / smoothed, rtol=1e-5, atol=1e-5)
    assert chosen.stiffness == pytest.approx(float(torch.tensor(1.6).exp()), rel=1e-6)
    assert (WINDOWS / smoothed).abs().max() <= chosen.stiffness * WINDOWS.abs().max()


@pytest.mark.slow
def test_noise_of_the_force_averages_out():
    noisy = force(0.8, 1.0)
    total = torch.zeros_like(WINDOWS)
    for _ in range(2000):
        total += noisy(WINDOWS)[1] / 2000
        noisy.redraw()
    torch.testing.assert_close(total, force(0.8, 0.0)(WINDOWS)[1], rtol=0, atol=0.1)


def test_the_last_step_takes_the_noise_off_to_second_order():
    for log_snr, share in ((2.0, 1.0), (1.0, 0.1)):
        chosen = force(log_snr, 0.0)
        noise = share * torch.tensor(-2 * log_snr).exp()
        carrying = (VARIANCES + noise).sqrt()[None, :, None].expand(2, 3, 1)
        left = chosen.without_noise(carrying, share)[0, :, 0].square()
        assert ((left - VARIANCES).abs() < 0.5 * (carrying[0, :, 0].square() - VARIANCES)).all()
    wide = force(2.0, 0.0).without_noise((VARIANCES + torch.tensor(-4.0).exp()).sqrt()[None, :, None].expand(2, 3, 1))
    torch.testing.assert_close(wide[0, 1:, 0].square(), VARIANCES[1:], rtol=2e-4, atol=0)


# --- the prior ---------------------------------------------------------------------------------------------


def prior(kind: str, scale: float = 1.0, levels: tuple[float, ...] = (0.2, 0.9)) -> BasePrior:
    base = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])[..., None]
    where = torch.tensor([0.0, 1.0, 1.0])[None, :, None].expand(2, 3, 1)
    return BasePrior(base, where, kind, scale, torch.tensor(levels))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["mse", "quantile"])
def test_only_where_there_is_a_base_forecast_does_the_prior_count(kind):
    x = torch.full((2, 3, 1), 100.0)
    value, gradient = prior(kind)(x)
    assert (gradient[:, 0] == 0).all()
    moved = x.clone()
    moved[:, 0] = -50
    torch.testing.assert_close(prior(kind)(moved)[0], value)
    assert (gradient[:, 1:] != 0).all()


@pytest.mark.parametrize("kind", ["mse", "quantile"])
def test_the_priors_gradient_is_its_energys(kind):
    x = torch.tensor([[0.5, 2.6, 1.1], [7.0, 1.5, 3.2]])[..., None].requires_grad_(True)
    chosen = prior(kind, scale=1.7)
    gap = (chosen.base - x) * chosen.where
    q = chosen.levels[:, None, None]
    # Equation 12: the asymmetric Laplace density's energy max(q·e, (q − 1)·e), e = ỹ − y.
    expected = gap.square() if kind == "mse" else torch.where(gap > 0, q * gap, (q - 1) * gap)
    energies = 1.7 * expected.flatten(1).sum(1)
    (gradient,) = torch.autograd.grad(energies.sum(), x)
    value, slope = chosen(x.detach())
    torch.testing.assert_close(value.float(), energies.detach())
    torch.testing.assert_close(slope, gradient)
    assert chosen.stiffness == (3.4 if kind == "mse" else 0.0)


def test_the_mean_of_samples_under_the_quantile_prior_is_pulled_by_their_level():
    low, high = prior("quantile")(torch.full((2, 3, 1), 2.5))[1][:, 2, 0]  # below the base forecast, 3
    assert float(low) == pytest.approx(-0.2)
    assert float(high) == pytest.approx(-0.9)


def test_a_step_of_the_quantile_prior_ends_at_the_base_forecast():
    x = torch.tensor([[0.0, 1.9, 3.3], [9.0, 1.0, 3.01]])[..., None]
    chosen = prior("quantile", scale=2.0)
    moved = chosen.drawn(x, step=0.25)[..., 0]
    # Of level .2 by at most .1 up and .4 down, of level .9 by .45 and .05; less where the base forecast is nearer.
    expected = torch.tensor([[0.0, 1.9 + 0.099, 3.3 - 0.297], [9.0, 1.45, 3.01 - 0.0099]])
    torch.testing.assert_close(moved, expected)


def test_a_rounded_kink_pulls_no_value_past_the_base_forecast():
    x = torch.tensor([[0.0, 1.99, 30.0], [0.0, 2.01, 3.0]])[..., None]
    chosen = replace(prior("quantile", scale=5.0), sharpest=4.0)
    pull = chosen(x)[1][..., 0]
    torch.testing.assert_close(pull, torch.tensor([[0.0, -4 * 0.01, 5 * 0.8], [0.0, 4 * 0.01, 0.0]]))
    torch.testing.assert_close(chosen(x)[0], prior("quantile", scale=5.0)(x)[0])


# --- both together -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [Langevin(0.03), Hamiltonian(0.12, leapfrog_steps=4)])
def test_chains_under_both_energies_draw_from_the_product_of_gaussians(kernel):
    rows, scale, target = 500, 0.8, 1.5
    chosen = energy(torch.linspace(-2.5, 2.5, 6).tolist(), rows=rows)
    whole = torch.ones(rows, 3, 1)
    held_to = BasePrior(target * whole, whole, "mse", scale, torch.full((rows,), 0.5))

    def potential(x: Tensor):
        one, other = chosen(x), held_to(x)
        return type(one)(one.energy + other.energy, one.gradient + other.gradient)

    steps = 60 if isinstance(kernel, Langevin) else 10
    start = torch.full((rows, 3, 1), target)
    x, _ = simulate(kernel, potential, start, steps, torch.Generator().manual_seed(0))
    # The model's density is that of the data smoothed by the noise of the last level.
    precision = 1 / (VARIANCES + torch.tensor(-2 * 3.0).exp()) + 2 * scale
    mean, deviation = 2 * scale * target / precision, precision.rsqrt()
    assert ((x[..., 0].mean(0) - mean).abs() < 0.05 * deviation + 4 * deviation / rows**0.5).all()
    assert ((x[..., 0].std(0) / deviation - 1).abs() < 0.12).all()
