"""The settings of a refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from shared.errors import ConfigError

Refinement = Literal["most_likely", "langevin", "mala", "hmc", "underdamped", "critically_damped"]
Prior = Literal["mse", "quantile"]

ADJUSTED: tuple[Refinement, ...] = ("mala", "hmc")
"""Methods that accept or reject."""


@dataclass(frozen=True)
class RefineConfig:
    """How base forecasts are refined. See `docs/refine.md` for what the settings do.

    Args:
        method: "most_likely" descends the energy; the others draw from exp(−energy/temperature): overdamped Langevin,
            with ("mala") or without an accept step, Hamiltonian Monte Carlo, underdamped and critically damped Langevin.
        prior: how the base forecast holds its samples: "mse", λ·Σ(y − ỹ)², or "quantile", λ·Σ max(q(ỹ − y), (q − 1)(ỹ − y))
            with each sample's own level q.
        prior_scale: λ, in network units.
        steps: of the optimiser or the chain.
        step_size: relative to the stiffest direction of the energy: 1 is the time in which it would decay (descent and
            overdamped chains, stable below 2), or one radian of its swing (Hamiltonian and underdamped ones, stable
            below 2).
        temperature: of the chains; 1 draws from the energy's own density.
        leapfrog_steps: of each Hamiltonian trajectory.
        friction: of "underdamped", in units of the stiffest direction's frequency; "critically_damped" uses the
            critical one of a direction of the data's own variance.
        log_snrs: representative noise levels of the denoising energy, as log(α/σ), ascending. Several are quadrature
            nodes of −log p's bound; a single one has weight 1, as published (`representative_log_snr` finds it).
        redraw: draw the energy's noise anew before each step (each trajectory); otherwise each sample keeps its own.
        num_samples: of the refined forecasts.
        seed: of the noise; a sample depends on it, the item's name and time and its place, and nothing else.
        batch_rows: samples that go through the network together; bounds memory, does not change results.
    """

    method: Refinement = "langevin"
    prior: Prior = "quantile"
    prior_scale: float = 1.0
    steps: int = 20
    step_size: float = 0.5
    temperature: float = 1.0
    leapfrog_steps: int = 5
    friction: float = 1.0
    log_snrs: tuple[float, ...] = (-0.5, 0.5, 1.5, 2.5)
    redraw: bool = True
    num_samples: int = 100
    seed: int = 0
    batch_rows: int = 512

    def __post_init__(self) -> None:
        for name, choices in (("method", get_args(Refinement)), ("prior", get_args(Prior))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(choices)}")
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
        for name in ("steps", "leapfrog_steps", "num_samples", "batch_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: need at least 1")
