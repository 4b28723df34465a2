"""Markov chains whose stationary density is exp(−E(x)/T), for any energy with a gradient, a batch of chains at once.

    overdamped    x' = x − h∇E + √(2hT)·ξ, optionally corrected by a Metropolis step (MALA; Roberts and Tweedie 1996)
    Hamiltonian   leapfrog trajectories with a Metropolis step (Neal 2011, "MCMC using Hamiltonian dynamics", §3.2)
    underdamped   dx = p/m dt, dp = −∇E dt − (γ/m) p dt + √(2γT) dW, split BAOAB (Leimkuhler and Matthews 2013);
                  critically damped where γ² = 4mk at curvature k (Dockhorn et al. 2022, eq. 5)

A kernel is a frozen dataclass that makes one step; `simulate` repeats it. At temperature 0 the overdamped kernel is
gradient descent. With noise of a colour, S = L Lᵀ, chains run in the coordinates L⁻¹x: the overdamped step is then
x − hS∇E + √(2hT)·Lξ, which has the same stationary density, and mixes fast where S is near the density's covariance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from shared.checks import Checked, Count, Natural, NonNegative, Positive, checked
from shared.errors import ConfigError
from shared.noise import Noise
from shared.random import Generators, randn_like
from shared.views import rows


class Evaluation(NamedTuple):
    """An energy (batch,) and its gradient (batch, ...) at some state; energy None where only a gradient is known."""

    energy: Tensor | None
    gradient: Tensor


Potential = Callable[[Tensor], Evaluation]
"""Energy and gradient at states x (batch, ...); items must not depend on each other."""


@dataclass(frozen=True)
class State:
    """Where the chains are.

    Attributes:
        x: positions (batch, ...).
        momentum: like x, or None where a kernel has none or has not drawn it yet.
        evaluation: of the potential at x, or None where it is not known yet.
        accepted: accepted proposals of each chain so far, (batch,).
    """

    x: Tensor
    momentum: Tensor | None
    evaluation: Evaluation | None
    accepted: Tensor


class Draws:
    """The randomness of a batch of chains, each with a generator of its own.

    Args:
        generators: see `shared.random.randn`.
        free: 1 where a coordinate moves, 0 where it is held, shaped like the state; None moves all.
    """

    def __init__(self, generators: Generators = None, free: Tensor | None = None):
        self.generators, self.free = generators, free

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal noise, 0 where a coordinate is held."""
        noise = randn_like(like, self.generators)
        return noise if self.free is None else noise * self.free

    def uniform(self, like: Tensor) -> Tensor:
        """One number in [0, 1) for each chain, (batch,)."""
        batch, source = like.shape[0], self.generators
        if source is None or isinstance(source, torch.Generator):
            place = like.device if source is None else source.device
            return torch.rand(batch, generator=source, dtype=torch.float64, device=place).to(like.device)
        return torch.cat([torch.rand(1, generator=g, dtype=torch.float64, device=g.device) for g in source]).to(
            like.device
        )

    def hold(self, potential: Potential) -> Potential:
        """The potential with no force on coordinates that are held."""
        free = self.free
        if free is None:
            return potential

        def held(x: Tensor) -> Evaluation:
            energy, gradient = potential(x)
            return Evaluation(energy, gradient * free)

        return held


class Kernel(Protocol):
    """One step of a chain; `adjusted` tells whether it accepts or rejects."""

    @property
    def adjusted(self) -> bool:
        """Whether the kernel compares energies."""
        ...

    def __call__(self, potential: Potential, state: State, draws: Draws) -> State:
        """The state after the step."""
        ...


@dataclass(frozen=True)
class Langevin(Checked):
    """Overdamped Langevin dynamics.

    Args:
        step_size: h.
        temperature: T; 0 is gradient descent.
        adjusted: accept or reject each step, so that the stationary density is exact at any step size.
    """

    step_size: Positive
    temperature: NonNegative = 1.0
    adjusted: bool = False

    def _related(self) -> None:
        met = self.temperature > 0 or not self.adjusted
        self._require(met, "temperature", "need a positive one where steps are adjusted")

    def __call__(self, potential: Potential, state: State, draws: Draws) -> State:
        """One step."""
        here = state.evaluation or potential(state.x)
        x = state.x - self.step_size * here.gradient
        if self.temperature > 0:
            x = x + math.sqrt(2 * self.step_size * self.temperature) * draws.normal(x)
        if not self.adjusted:
            return replace(state, x=x, evaluation=None, accepted=state.accepted + 1)
        there = potential(x)
        forward = _square(x - state.x + self.step_size * here.gradient)
        backward = _square(state.x - x + self.step_size * there.gradient)
        fall = _energy(here) - _energy(there)
        log_ratio = (fall + (forward - backward) / (4 * self.step_size)) / self.temperature
        return _metropolis(log_ratio, state, here, x, there, draws)


@dataclass(frozen=True)
class Hamiltonian(Checked):
    """Hamiltonian Monte Carlo: fresh momentum, a leapfrog trajectory, and a Metropolis step.

    Args:
        step_size: of the leapfrog.
        leapfrog_steps: in a trajectory.
        mass: of every coordinate.
        temperature: T.
    """

    step_size: Positive
    leapfrog_steps: Count = 5
    mass: Positive = 1.0
    temperature: Positive = 1.0
    adjusted: ClassVar[bool] = True

    def __call__(self, potential: Potential, state: State, draws: Draws) -> State:
        """One trajectory."""
        here = state.evaluation or potential(state.x)
        momentum = math.sqrt(self.mass * self.temperature) * draws.normal(state.x)
        x, end, there = leapfrog(potential, state.x, momentum, self.step_size, self.leapfrog_steps, self.mass, here)
        before = _energy(here) + _square(momentum) / (2 * self.mass)
        after = _energy(there) + _square(end) / (2 * self.mass)
        return _metropolis((before - after) / self.temperature, state, here, x, there, draws)


@dataclass(frozen=True)
class Underdamped(Checked):
    """Underdamped Langevin dynamics by the BAOAB splitting: half kick, half drift, friction and noise, and back.

    Args:
        step_size: h.
        friction: γ; `critical_friction` gives the one that damps a mode of known curvature fastest.
        mass: of every coordinate.
        temperature: T.
    """

    adjusted: ClassVar[bool] = False
    step_size: Positive
    friction: Positive = 1.0
    mass: Positive = 1.0
    temperature: NonNegative = 1.0

    def __call__(self, potential: Potential, state: State, draws: Draws) -> State:
        """One step."""
        h, mass = self.step_size, self.mass
        here = state.evaluation or potential(state.x)
        thermal = math.sqrt(mass * self.temperature)
        momentum = thermal * draws.normal(state.x) if state.momentum is None else state.momentum
        momentum = momentum - h / 2 * here.gradient
        x = state.x + h / (2 * mass) * momentum
        decay = math.exp(-self.friction / mass * h)
        momentum = decay * momentum + math.sqrt(1 - decay**2) * thermal * draws.normal(x)
        x = x + h / (2 * mass) * momentum
        there = potential(x)
        momentum = momentum - h / 2 * there.gradient
        return State(x, momentum, there, state.accepted + 1)


def critical_friction(mass: float = 1.0, curvature: float = 1.0) -> float:
    """The friction 2√(mass·curvature) at which a mode of that curvature returns fastest without swinging."""
    return 2 * math.sqrt(mass * curvature)


def leapfrog(
    potential: Potential,
    x: Tensor,
    momentum: Tensor,
    step_size: float,
    steps: int,
    mass: float = 1.0,
    evaluation: Evaluation | None = None,
) -> tuple[Tensor, Tensor, Evaluation]:
    """Leapfrog integration of dx/dt = p/m, dp/dt = −∇E: time-reversible, volume-preserving, energy error O(h²).

    Args:
        potential: see `Potential`.
        x, momentum: where the trajectory starts, (batch, ...).
        step_size, steps: of the integration.
        mass: of every coordinate.
        evaluation: of the potential at x, where it is known.

    Returns:
        Position, momentum and the potential's evaluation at the end.
    """
    there = evaluation or potential(x)
    for _ in range(steps):
        momentum = momentum - step_size / 2 * there.gradient
        x = x + step_size / mass * momentum
        there = potential(x)
        momentum = momentum - step_size / 2 * there.gradient
    return x, momentum, there


class Simulation(NamedTuple):
    """Where chains ended.

    Attributes:
        x: positions (batch, ...).
        acceptance: share of accepted steps of each chain, (batch,); 1 for kernels that do not reject.
    """

    x: Tensor
    acceptance: Tensor


def simulate(
    kernel: Kernel,
    potential: Potential,
    x: Tensor,
    steps: int,
    generators: Generators = None,
    before_step: Callable[[int], None] | None = None,
    free: Tensor | None = None,
    noise: Noise | None = None,
    after_step: Callable[[Tensor], Tensor] | None = None,
) -> Simulation:
    """Run a batch of chains for `steps` steps.

    Args:
        kernel: what a step is.
        potential: see `Potential`.
        x: where the chains start, (batch, ...).
        steps: 0 or more.
        generators: one for the batch or one for each chain; a chain then depends on its own alone.
        before_step: called with the step's number before it; may change the potential. Kernels that compare energies
            then evaluate it anew; the others take the gradient that they have for one of the same mean.
        free: 1 where a coordinate moves, 0 where it is held, shaped like x; None moves all.
        noise: in whose white coordinates the chains run; None means the positions' own.
        after_step: gives positions for those that a step comes to, shaped like x, as the proximal map of a part of the
            energy that has kinks does, whose gradient a step would follow past them.

    Raises:
        ConfigError: steps < 0; a kernel that accepts or rejects with a potential that knows no energy, or with
            `after_step`; noise that is not Gaussian, or beside coordinates that are held or `after_step`.
    """
    steps = checked(Natural, steps=steps)
    if after_step is not None and (kernel.adjusted or noise is not None):
        raise ConfigError("after_step beside steps that are accepted or rejected, or noise of a colour: leave it out")
    draws = Draws(generators, free)
    held = draws.hold(potential)
    if noise is not None:
        _check_noise(noise, free)
        held, x = _in_white_coordinates(potential, noise), noise.whiten(x)
    state = State(x, None, None, torch.zeros(x.shape[0], device=x.device))
    for step in range(steps):
        if before_step is not None:
            before_step(step)
            if kernel.adjusted:
                state = replace(state, evaluation=None)
        state = kernel(held, state, draws)
        if after_step is not None:
            state = replace(state, x=after_step(state.x), evaluation=None)
    return Simulation(noise.colour(state.x) if noise else state.x, state.accepted / max(steps, 1))


def _check_noise(noise: Noise, free: Tensor | None) -> None:
    if not noise.gaussian:
        raise ConfigError(f"a Markov chain needs Gaussian noise, not {noise}: take a GaussianProcess")
    if free is not None:
        raise ConfigError("free with noise of a colour: held coordinates are not held in its own; take noise=None")


def _in_white_coordinates(potential: Potential, noise: Noise) -> Potential:
    """z → E(Lz), whose gradient is Lᵀ∇E = L⁻¹S∇E."""

    def moved(z: Tensor) -> Evaluation:
        energy, gradient = potential(noise.colour(z))
        return Evaluation(energy, noise.whiten(noise.covary(gradient)))

    return moved


def _metropolis(
    log_ratio: Tensor, state: State, here: Evaluation, proposal: Tensor, there: Evaluation, draws: Draws
) -> State:
    """Each chain moves with probability min(1, exp(log_ratio)); a ratio that is NaN does not move it."""
    moves = draws.uniform(proposal).log() < log_ratio
    wide = moves.reshape(-1, *([1] * (proposal.ndim - 1)))
    evaluation = Evaluation(
        torch.where(moves, _energy(there), _energy(here)), torch.where(wide, there.gradient, here.gradient)
    )
    return State(torch.where(wide, proposal, state.x), None, evaluation, state.accepted + moves)


def _energy(evaluation: Evaluation) -> Tensor:
    if evaluation.energy is None:
        raise ConfigError("this potential knows its gradient only; a step that may be rejected needs its energy too")
    return evaluation.energy.double()


def _square(x: Tensor) -> Tensor:
    return rows(x.double().square()).sum(1)
