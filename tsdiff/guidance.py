"""Observation self-guidance: the model's own denoiser tells how well a noisy window agrees with what is observed.

Kollovieh et al. 2023, §3: the score gains ∇_x log p(y_obs | x_t), where y_obs is compared with the data prediction
x̂_0(x_t), by a Gaussian (MSE) or an asymmetric Laplace (quantile) likelihood. In terms of the data prediction:

    x̂_0 ← x̂_0 − (σ²/α)·scale·∇_x E,    E = Σ (y − x̂_0)²/(2r²)   or   Σ max(q·(y − x̂_0), (q − 1)·(y − x̂_0))/r.

The paper keeps r constant over 100 steps. Few steps need r to follow the denoiser's own uncertainty. For Gaussian
data x̂_0 given x_t has variance σ²e/(α²e + σ²) along a direction of variance e; r² is that of the widest direction of
the training windows, so that no direction is moved too far, plus the trust in the observations.
"""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction, Guidance
from shared.sde.base import SDE
from tsdiff.config import Energy

# Half the widest variance: a step may then move that direction by up to twice its due, still inside the stable range,
# and moves the others enough.
_SHARE_OF_TOP = 0.5


class ObservationGuidance(Guidance):
    """Draws samples towards observed values.

    Args:
        values: observed values (batch, length, channels), anything where unobserved.
        observed: 1 where a value is observed, else 0, shaped like `values`.
        energy: "mse" or "quantile".
        quantiles: level of each sample, (batch,), for "quantile".
        scale: strength.
        observation_std: trust in the observations.
        top_variance: variance of the data along its widest direction.

    Raises:
        ConfigError: "quantile" without levels.
    """

    def __init__(
        self,
        values: Tensor,
        observed: Tensor,
        energy: Energy = "mse",
        quantiles: Tensor | None = None,
        scale: float = 1.0,
        observation_std: float = 0.02,
        top_variance: float = 1.0,
    ):
        if energy not in get_args(Energy):
            raise ConfigError(f"guidance={energy!r}: choose one of {', '.join(get_args(Energy))}")
        if energy == "quantile" and quantiles is None:
            raise ConfigError("quantile guidance needs the quantile level of each sample")
        self.values, self.observed, self.energy = values, observed, energy
        self.levels = None if quantiles is None else quantiles.reshape(-1, *([1] * (values.ndim - 1)))
        self.scale, self.observation_std, self.top_variance = scale, observation_std, top_variance

    def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
        """The data prediction, moved along the gradient of the observations' log-likelihood."""
        alpha, sigma = float(sde.alpha(t[:1].double())), float(sde.sigma(t[:1].double()))
        if sigma == 0 or self.scale == 0:
            return denoiser(x, t)
        with torch.enable_grad():
            state = x.detach().requires_grad_(True)
            x0 = denoiser(state, t)
            error = (self.values - x0) * self.observed
            pull = self._pull(error.detach(), alpha, sigma)
            (gradient,) = torch.autograd.grad(x0, state, grad_outputs=pull)
        return x0.detach() + (sigma**2 / alpha * self.scale) * gradient

    def _pull(self, error: Tensor, alpha: float, sigma: float) -> Tensor:
        """−∂E/∂x̂_0."""
        wide = _SHARE_OF_TOP * self.top_variance
        variance = sigma**2 * wide / (sigma**2 + alpha**2 * wide) + self.observation_std**2
        if self.energy == "mse" or self.levels is None:
            return error / variance
        slope = torch.where(error > 0, self.levels, self.levels - 1) * self.observed
        return slope / math.sqrt(variance)
