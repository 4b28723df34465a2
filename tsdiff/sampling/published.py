"""Observation self-guidance as the published TSDiff code has it, as hooks of the core's samplers.

Kollovieh et al. 2023, algorithm 1 and appendix A. With E the sum over observed values of (y − x̂_0)² or of the pinball
loss at the sample's level, not divided by anything, and s the strength:

- "ddpm": after every ancestral step n → n − 1 the state moves by −s·β̃_n·∇E, taken at the *new* state but the *old*
  step n. β̃_n is the variance of that step, 0 for the last one.
- "ddim": the noise estimate gains s·√(1 − ᾱ)·∇E, so that x̂_0 moves by −s·(σ²/α)·∇E; some steps of the table are left
  out, uniformly, or so that those that stay are quadratically spaced.

Ancestral steps over the whole table are the core's "sde1", DDIM's are its first-order step with a share η of noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction
from shared.sde import SDE, DiscreteVPSDE
from tsdiff.sampling.guidance import EnergyGuidance
from tsdiff.sampling.settings import SkipType


class PublishedGuidance(EnergyGuidance):
    """What the two published samplers have in common; `scale` is the strength s."""

    def descend(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """x̂_0 and −∇_x E(x̂_0(x)) at states x and times t."""
        state, x0 = self.differentiable(denoiser, x, t)
        error = self.error(x0)
        slope = 2 * error if self.energy == "mse" else self.pinball_slope(error)
        return x0.detach(), torch.autograd.grad(x0, state, grad_outputs=slope)[0]


class AncestralGuidance(PublishedGuidance):
    """The published "ddpm": moves the state after each ancestral step."""

    def after_step(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, t_next: Tensor, sde: SDE) -> Tensor:
        """x + s·β̃·(−∇E at the old t)."""
        variance = posterior_variance(sde, float(t[0]), float(t_next[0]))
        if variance == 0 or self.scale == 0:
            return x
        return x + self.scale * variance * self.descend(denoiser, x, t)[1]


class DDIMGuidance(PublishedGuidance):
    """The published "ddim": moves the noise estimate, and with it the data prediction."""

    def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
        """x̂_0 + s·(σ²/α)·(−∇E); one call serves both, where the published code makes two."""
        if self.scale == 0:
            return denoiser(x, t)
        x0, descent = self.descend(denoiser, x, t)
        alpha, sigma = (float(value) for value in sde.path(t[:1])[:2])
        return x0 + self.scale * sigma**2 / alpha * descent


def posterior_variance(sde: SDE, t: float, t_next: float) -> float:
    """Variance of the ancestral step t → t_next: σ_next²·(1 − e^{−2h}), h the rise of log(α/σ). 0 into clean data."""
    sigma_next = float(sde.sigma(t_next))
    if sigma_next == 0:
        return 0.0
    rise = float(sde.log_snr(t_next)) - float(sde.log_snr(t))
    return sigma_next**2 * -math.expm1(-2 * rise)


def table_times(sde: SDE, skip: int = 1, skip_type: SkipType = "uniform") -> Tensor:
    """Falling times of the steps of the table that are used, and 0.

    Args:
        sde: the process, a table.
        skip: of N steps about N/skip are used.
        skip_type: "uniform": every skip-th, from the first; "quadratic": the squares of evenly spaced numbers from
            0 to √(N − skip), cut to whole steps, each once.

    Raises:
        ConfigError: the process is no table, or skip leaves no step.
    """
    if not isinstance(sde, DiscreteVPSDE):
        raise ConfigError(
            f"the published samplers step through a table of betas; {type(sde).__name__} has none: "
            'use one of the core\'s methods, such as "sde2"'
        )
    total = len(sde)
    if not 1 <= skip <= total:
        raise ConfigError(f"skip={skip}: the table has {total} steps, so that 1 … {total} can be asked for")
    if skip_type == "uniform":
        steps = torch.arange(0, total, skip)
    else:
        steps = torch.linspace(0, math.sqrt(total - skip), total // skip, dtype=torch.float64).square().long().unique()
    return torch.cat([sde.time_of_step(steps).flip(0), torch.zeros(1, dtype=torch.float64)])
