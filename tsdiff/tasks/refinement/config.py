"""The settings of a refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from shared.checks import at_least, one_of
from shared.errors import ConfigError

Refinement = Literal["most_likely", "langevin", "mala", "hmc", "underdamped", "critically_damped"]
Prior = Literal["mse", "quantile"]
Energy = Literal["denoising", "score"]

ADJUSTED: tuple[Refinement, ...] = ("mala", "hmc")
"""Methods that accept or reject."""


@dataclass(frozen=True)
class RefineConfig:
    """How base forecasts are refined. `docs/refine.md` tells what the settings do.

    Args:
        method: "most_likely" descends the energy; the others draw from exp(−energy/temperature): overdamped Langevin,
            also with an accept step ("mala"), Hamiltonian Monte Carlo, underdamped and critically damped Langevin.
        prior: how a sample y is held to the base forecast ỹ: "mse", λ·Σ(y − ỹ)², or "quantile",
            λ·Σ max(q(ỹ − y), (q − 1)(ỹ − y)) with the sample's own level q.
        prior_scale: λ, in network units.
        energy: the model's part: "denoising", the denoising loss, as published; or "score", minus the score, a third of
            the cost and less, for methods that compare no energies. None takes "score" where the method allows it.
        log_snrs: representative noise levels of the model's part, as log(α/σ), ascending; `representative_log_snr`
            finds the published one. Several are quadrature nodes of the bound of −log p; "score" takes the last.
        redraw: draw the noise of the model's part anew before each step (each trajectory); otherwise each sample keeps
            its own.
        steps: of the optimiser or the chain.
        step_size: relative to the stiffest direction of the energy: 1 is the time in which that decays (descent and
            overdamped chains) or one radian of its swing (Hamiltonian and underdamped chains); stable below 2.
        temperature: of the chains; 1 draws from the energy's own density.
        leapfrog_steps: of each Hamiltonian trajectory.
        friction: of "underdamped", in units of the stiffest direction's frequency; "critically_damped" takes the
            critical one of a direction of the data's own variance.
        num_samples: of the refined forecasts.
        seed: of the noise; a sample depends on it, the item's name and time and its place, and nothing else.
        batch_rows: samples that go through the network together; bounds memory, does not change results.
    """

    method: Refinement = "most_likely"
    prior: Prior = "quantile"
    prior_scale: float = 0.03
    energy: Energy | None = None
    log_snrs: tuple[float, ...] = (-0.25,)
    redraw: bool = True
    steps: int = 12
    step_size: float = 1.0
    temperature: float = 0.03
    leapfrog_steps: int = 3
    friction: float = 1.0
    num_samples: int = 100
    seed: int = 0
    batch_rows: int = 512

    def __post_init__(self) -> None:
        one_of(get_args(Refinement), method=self.method)
        one_of(get_args(Prior), prior=self.prior)
        one_of((*get_args(Energy), None), energy=self.energy)
        if self.energy == "score" and self.method in ADJUSTED:
            raise ConfigError(
                f"method={self.method!r} compares energies, which energy='score' has not; take 'denoising'"
            )
        for name in ("step_size", "friction"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)}: need a positive number")
        if not 0 <= self.prior_scale < math.inf:
            raise ConfigError(f"prior_scale={self.prior_scale}: need a number that is 0 or more")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(
                f"temperature={self.temperature}: need a positive number; method='most_likely' is the limit at 0"
            )
        levels = self.log_snrs
        if not levels or not all(map(math.isfinite, levels)) or list(levels) != sorted(set(levels)):
            raise ConfigError(f"log_snrs={levels}: need one or more finite numbers in ascending order")
        at_least(1, steps=self.steps, leapfrog_steps=self.leapfrog_steps)
        at_least(1, num_samples=self.num_samples, batch_rows=self.batch_rows)

    @property
    def chosen_energy(self) -> Energy:
        """`energy`, or what it stands for."""
        return self.energy or ("denoising" if self.method in ADJUSTED else "score")
