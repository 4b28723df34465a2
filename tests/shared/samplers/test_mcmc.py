"""Markov chains against Gaussian targets, whose stationary law is known, and the identities of their integrators."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator
from shared.samplers.mcmc import (
    Evaluation,
    Hamiltonian,
    Kernel,
    Langevin,
    Potential,
    Underdamped,
    critical_friction,
    leapfrog,
    simulate,
)


def potential_of(energy: Callable[[Tensor], Tensor]) -> Potential:
    """A potential from an energy x (batch, ...) → (batch,), by automatic differentiation."""

    def potential(x: Tensor) -> Evaluation:
        state = x.detach().clone().requires_grad_(True)
        value = energy(state)
        (gradient,) = torch.autograd.grad(value.sum(), state)
        return Evaluation(value.detach(), gradient)

    return potential


VARIANCES = torch.tensor([0.25, 1.0, 2.0], dtype=torch.float64)
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def gaussian(x: Tensor) -> Tensor:
    """E of N(MEAN, diag VARIANCES)."""
    return 0.5 * ((x - MEAN).square() / VARIANCES).sum(-1)


def quartic(x: Tensor) -> Tensor:
    """A well that is not Gaussian."""
    return (x.square().square() / 4 + 0.3 * x).sum(-1)


def generators(batch: int, first: int = 0) -> list[torch.Generator]:
    return [make_generator(0, "chain", i) for i in range(first, first + batch)]


def run(kernel: Kernel, chains: int = 8000, steps: int = 60, energy=gaussian) -> tuple[Tensor, Tensor]:
    start = MEAN.expand(chains, 3).clone()
    return simulate(kernel, potential_of(energy), start, steps, torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("kernel", "temperature"),
    [
        (Langevin(0.3, adjusted=True), 1.0),
        (Langevin(0.2, temperature=0.5, adjusted=True), 0.5),
        (Hamiltonian(0.6, leapfrog_steps=3), 1.0),
        (Hamiltonian(0.85, leapfrog_steps=3), 1.0),  # the stiffest mode has h·ω = 1.7 of 2: the energy error is large
        (Hamiltonian(1.0, leapfrog_steps=3, mass=2.0, temperature=2.0), 2.0),
    ],
)
def test_kernels_that_reject_are_exact_even_at_large_steps(kernel, temperature):
    x, acceptance = run(kernel)
    assert 0.2 < acceptance.mean() < 0.99
    deviations = (temperature * VARIANCES).sqrt()
    assert ((x.mean(0) - MEAN).abs() < 5 * deviations / math.sqrt(len(x))).all()
    assert ((x.std(0) / deviations - 1).abs() < 5 / math.sqrt(2 * len(x))).all()


def test_the_accept_step_removes_the_bias_of_the_step_size():
    step, stiff = 0.3, VARIANCES[0]
    plain, _ = run(Langevin(step))
    # The autoregression x' = (1 − h/v)x + √(2h)ξ has stationary variance v/(1 − h/(2v)).
    expected = stiff / (1 - step / (2 * stiff))
    assert float(plain[:, 0].var() / expected) == pytest.approx(1.0, abs=0.08)
    assert float(expected / stiff) > 2


@pytest.mark.parametrize("mass", [1.0, 0.5])
@pytest.mark.parametrize("step", [0.1, 0.5])
def test_the_splitting_has_the_right_positions_at_any_stable_step(mass, step):
    # BAOAB's positions are exact for a Gaussian target, whatever the step (Leimkuhler and Matthews 2013, §4).
    x, acceptance = run(Underdamped(step * math.sqrt(mass), critical_friction(mass), mass), steps=round(30 / step))
    assert (acceptance == 1).all()
    assert ((x.mean(0) - MEAN).abs() < 5 * (VARIANCES / len(x)).sqrt()).all()
    assert ((x.var(0) / VARIANCES - 1).abs() < 5 * math.sqrt(2 / len(x))).all()


def test_without_temperature_they_descend():
    start = torch.zeros(2, 3, dtype=torch.float64)
    for kernel in (Langevin(0.2, temperature=0.0), Underdamped(0.3, 2.0, temperature=0.0)):
        x, _ = simulate(kernel, potential_of(gaussian), start, 200)
        torch.testing.assert_close(x, MEAN.expand(2, 3), atol=1e-6, rtol=0)


def test_critical_friction_is_where_a_mode_stops_swinging():
    def crosses(friction: float) -> bool:
        signs = []

        def energy(x: torch.Tensor) -> torch.Tensor:
            signs.append(float(x))
            return 1.5 * x.square().sum(-1)  # curvature 3

        kernel = Underdamped(0.02, friction, mass=2.0, temperature=0.0)
        simulate(kernel, potential_of(energy), torch.ones(1, 1, dtype=torch.float64), 1500)
        return min(signs) < -1e-12

    critical = critical_friction(2.0, 3.0)
    assert critical == pytest.approx(2 * math.sqrt(6))
    assert not crosses(1.001 * critical)
    assert crosses(0.8 * critical)


# --- the leapfrog ------------------------------------------------------------------------------------------


def trajectory(step: float, steps: int, energy=quartic) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x, p = torch.randn(2, 16, 4, generator=generator, dtype=torch.float64)
    end, momentum, _ = leapfrog(potential_of(energy), x, p, step, steps, mass=1.3)
    return x, p, end, momentum


def test_leapfrog_runs_back_to_where_it_came_from():
    x, p, end, momentum = trajectory(0.1, 20)
    back, minus, _ = leapfrog(potential_of(quartic), end, -momentum, 0.1, 20, mass=1.3)
    torch.testing.assert_close(back, x, atol=1e-11, rtol=0)
    torch.testing.assert_close(-minus, p, atol=1e-11, rtol=0)


def test_leapfrog_keeps_volume():
    def flow(state: Tensor) -> Tensor:
        gradient = lambda x: x**3 + 0.3  # noqa: E731 (differentiable, which potential_of is not)
        x, p = state[:2][None], state[2:][None]
        x, p, _ = leapfrog(lambda x: Evaluation(None, gradient(x)), x, p, 0.2, 5)
        return torch.cat([x[0], p[0]])

    jacobian = torch.autograd.functional.jacobian(flow, torch.tensor([0.3, -0.8, 0.5, 1.1], dtype=torch.float64))
    assert float(torch.linalg.det(jacobian)) == pytest.approx(1.0, abs=1e-12)


def test_the_energy_error_of_leapfrog_is_of_second_order():
    def error(step: float) -> float:
        x, p, end, momentum = trajectory(step, round(0.8 / step))
        total = lambda x, p: quartic(x) + p.square().sum(-1) / 2.6  # noqa: E731
        return float((total(end, momentum) - total(x, p)).abs().mean())

    assert math.log2(error(0.02) / error(0.01)) == pytest.approx(2.0, abs=0.05)


def test_detailed_balance_of_the_adjusted_kernels():
    # Three cells of a one-dimensional target: in the stationary law as many chains go from a to b as from b to a.
    count = 60_000
    start = torch.randn(count, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    potential = potential_of(lambda x: 0.5 * x.square().sum(-1))
    cells = torch.tensor([-0.5, 0.8], dtype=torch.float64)
    for kernel in (Langevin(0.8, adjusted=True), Hamiltonian(1.2, leapfrog_steps=2)):
        end, acceptance = simulate(kernel, potential, start, 1, torch.Generator().manual_seed(2))
        assert acceptance.mean() < 0.95
        flow = torch.zeros(3, 3)
        pairs = torch.bucketize(start[:, 0], cells) * 3 + torch.bucketize(end[:, 0], cells)
        flow = torch.bincount(pairs, minlength=9).reshape(3, 3).double()
        assert ((flow - flow.T).abs() <= 5 * (flow + flow.T).sqrt()).all()


# --- what a chain depends on -------------------------------------------------------------------------------

KERNELS = [Langevin(0.1), Langevin(0.1, adjusted=True), Hamiltonian(0.6), Underdamped(0.3, 2.0)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_chain_depends_on_its_own_generator_alone(kernel):
    potential, start = potential_of(quartic), torch.zeros(6, 4, dtype=torch.float64)
    whole = simulate(kernel, potential, start, 7, generators(6))
    part = simulate(kernel, potential, start[2:5], 7, generators(3, first=2))
    torch.testing.assert_close(part.x, whole.x[2:5], atol=0, rtol=0)
    torch.testing.assert_close(part.acceptance, whole.acceptance[2:5])


@pytest.mark.parametrize("kernel", KERNELS)
def test_held_coordinates_stay_and_the_others_follow_the_conditional(kernel):
    free = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64).expand(4, 3)
    start = torch.full((4, 3), 5.0, dtype=torch.float64)
    x, _ = simulate(kernel, potential_of(gaussian), start, 5, generators(4), free=free)
    assert (x[:, 1] == 5).all()
    assert (x[:, 0] != 5).any()


def test_chains_far_out_or_at_nan_do_not_move_by_accident():
    def cliff(x: Tensor) -> Tensor:
        return torch.where(x.abs() < 1, x.square(), torch.full_like(x, math.nan)).sum(-1)

    x, _ = simulate(Hamiltonian(0.9), potential_of(cliff), torch.zeros(64, 1, dtype=torch.float64), 20, generators(64))
    assert (x.abs() < 1).all()


def test_a_gradient_without_energy_serves_only_kernels_that_do_not_reject():
    potential = lambda x: Evaluation(None, x)  # noqa: E731
    start = torch.ones(2, 2)
    for kernel in KERNELS:
        if kernel.adjusted:
            with pytest.raises(ConfigError, match="needs its energy too"):
                simulate(kernel, potential, start, 1, generators(2))
        else:
            assert simulate(kernel, potential, start, 1, generators(2)).x.shape == (2, 2)


def test_a_potential_may_change_between_steps_and_adjusted_kernels_see_it():
    centre = torch.zeros(1)
    potential = potential_of(lambda x: 0.5 * (x - centre).square().sum(-1) / 0.01)

    def move(step: int) -> None:
        centre.fill_(float(step // 20))

    for steps, mean in ((20, 0.0), (40, 1.0)):
        x, _ = simulate(Hamiltonian(0.1), potential, torch.zeros(200, 1), steps, generators(200), move)
        assert float(x.mean()) == pytest.approx(mean, abs=0.1)


@pytest.mark.parametrize("kernel", [Langevin(0.5, temperature=0.0), Underdamped(0.5, friction=2.0, temperature=0.0)])
def test_what_moves_positions_after_a_step_has_the_last_word(kernel):
    """Descent of x²/2 beside a wall at 1, whose proximal map sends back what has gone beyond it."""
    x, _ = simulate(
        kernel,
        potential_of(lambda x: x.square().sum(-1) / 2),
        torch.full((2, 1), 4.0),
        50,
        after_step=lambda x: x.clamp(min=1.0),
    )
    torch.testing.assert_close(x, torch.ones(2, 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Langevin(0.0), "step_size=0.0"),
        (lambda: Langevin(math.nan), "step_size=nan"),
        (lambda: Langevin(0.1, temperature=0.0, adjusted=True), "temperature=0.0: need a positive"),
        (lambda: Langevin(0.1, temperature=-1.0), "temperature=-1.0"),
        (lambda: Hamiltonian(0.1, leapfrog_steps=0), "leapfrog_steps=0"),
        (lambda: Hamiltonian(0.1, mass=-1.0), "mass=-1.0"),
        (lambda: Underdamped(0.1, friction=0.0), "friction=0.0"),
        (lambda: simulate(Langevin(0.1), potential_of(quartic), torch.zeros(1, 1), -1), "steps=-1"),
        (
            lambda: simulate(Hamiltonian(0.1), potential_of(quartic), torch.zeros(1, 1), 1, after_step=torch.abs),
            "after_step beside steps",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
