"""The evidence lower bound of a diffusion model as a sum over elements: cheap, no derivative of the network.

For the reverse *SDE* of any process here, whose g²/σ² = −2λ̇ (Kingma et al. 2021, "Variational diffusion models",
eq. 11–14; Song et al. 2021, "Maximum likelihood training of score-based diffusion models", theorem 3):

    −log p(x_0)  ≤  KL(q(x_T|x_0) ‖ p(x_T))  +  ∫ E‖ε − ε̂‖² dλ  −  E log p(x_0|x_{t_end}),

λ = log(α/σ) from the prior's to that of t_end, ε − ε̂ = (α/σ)(x̂_0 − x_0). The last factor is the Gaussian
N(x̂_0, (σ/α)²) at t_end, as in the latter paper. With the exact denoiser of the data the bound is tight up to terms
that vanish with σ(t_end). Every term is a sum over the elements of x_0, which tells where a window is unlikely. With
coloured noise all is taken in the coordinates where it is white, so that an element counts given those before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.divergence import standard_error
from shared.errors import ConfigError
from shared.guidance import DenoiserFunction
from shared.likelihood import require_noise_at
from shared.sde.base import SDE, expand, residual

_LOWEST = -10.0
"""Log-SNR from which the integral starts where the path ends at −∞: below it e^{2λ} leaves nothing."""


@dataclass(frozen=True)
class Elbo:
    """A lower bound of the log density, element by element.

    Attributes:
        elements: (draws, batch, ...) nats, float64; over the elements of an item they add up to an unbiased estimate of
            its bound, save for the error of the midpoint rule in λ.
        nfe: network calls.
    """

    elements: Tensor
    nfe: int

    @property
    def value(self) -> Tensor:
        """The bound of each item, (batch,), averaged over draws."""
        return self._sums().mean(0)

    @property
    def standard_error(self) -> Tensor:
        """Of `value`, over draws, (batch,); NaN with one draw, which tells nothing of its own error."""
        return standard_error(self._sums().T, exact=False)

    def _sums(self) -> Tensor:
        return self.elements[:, :, None].flatten(2).sum(2)


def elbo(
    denoiser: DenoiserFunction,
    sde: SDE,
    x0: Tensor,
    noise: Tensor,
    y: Tensor | None = None,
    *,
    t_end: float | None = None,
) -> Elbo:
    """The evidence lower bound of log p(x0).

    The integral over λ takes the midpoint rule on as many equal slices as `noise` has levels. Each noise is used twice,
    as ε and −ε: for a linear denoiser the terms that mix it with the data cancel, so that with noise shared by the
    batch items differ by what they are, not by chance.

    Args:
        denoiser: (x (batch, ...), t (batch,)) → x̂_0.
        sde: the process; it must have a prior density.
        x0: real data (batch, ...).
        noise: white noise (draws, levels, batch or 1, ...), which is given the process' colour here.
        y: anchor, shaped like `x0`.
        t_end: time that counts as clean data; None means the process' `t_min`.

    Returns:
        The bound by draw and element, and the number of network calls, 2·draws·levels + 2·draws.

    Raises:
        ConfigError: complex data, noise of another shape, a time at which there is none, or a process without prior
            density, as with heavy tails.
    """
    if x0.is_complex():
        raise ConfigError("the bound is written for real data; give real and imaginary parts as channels")
    fits = noise.ndim == x0.ndim + 2 and noise.shape[3:] == x0.shape[1:] and noise.shape[2] in (1, len(x0))
    if not fits or 0 in noise.shape[:2]:
        raise ConfigError(
            f"noise of shape {tuple(noise.shape)}: need (draws, levels, batch or 1, *{tuple(x0.shape[1:])}), at "
            "least one draw and one level"
        )
    sde.prior_log_prob(x0[:1], None if y is None else y[:1])  # refuse a bridge before the work, not after
    t_end = sde.t_min if t_end is None else t_end
    require_noise_at(sde, t_end)
    low, high = max(float(sde.log_snr(sde.T)), _LOWEST), float(sde.log_snr(t_end))
    draws, levels = noise.shape[:2]
    width = (high - low) / levels
    with torch.no_grad():
        elements = -_prior_divergence(sde, sde.whitened(residual(x0, y).double())).expand(draws, *x0.shape).clone()
        if sde.noise is not None:
            elements -= sde.noise.log_diagonal(x0.shape).to(elements.device)
        for level in range(levels):
            log_snr = low + (level + 0.5) * width
            t = float(sde.time_of_log_snr(log_snr))
            for draw in range(draws):
                error = _squared_error(denoiser, sde, x0, y, noise[draw, level], t)
                elements[draw] -= width * math.exp(2 * log_snr) * error
        for draw in range(draws):
            # The last level's noise may serve again: each term is unbiased on its own.
            error = _squared_error(denoiser, sde, x0, y, noise[draw, -1], t_end)
            elements[draw] -= 0.5 * (math.log(2 * math.pi) - 2 * high) + 0.5 * math.exp(2 * high) * error
    return Elbo(elements, 2 * draws * (levels + 1))


def _prior_divergence(sde: SDE, r: Tensor) -> Tensor:
    """KL(N(α_T r, σ_T²) ‖ N(0, prior_std²)) of each element of the whitened residual r (batch, ...), float64."""
    alpha, variance, prior = float(sde.alpha(sde.T)), float(sde.sigma(sde.T)) ** 2, sde.prior_std**2
    return 0.5 * ((variance + (alpha * r.double()).square()) / prior - 1 - math.log(variance / prior))


def _squared_error(
    denoiser: DenoiserFunction, sde: SDE, x0: Tensor, y: Tensor | None, noise: Tensor, t: float
) -> Tensor:
    """(L⁻¹(x̂_0 − x_0))² of each element, averaged over ε and −ε, float64."""
    times = torch.full((len(x0),), t, dtype=torch.float64, device=x0.device)
    mean, _ = sde.marginal_prob(x0, times, y)
    spread = expand(sde.sigma(times), x0) * sde.coloured(noise.expand_as(x0))
    total = torch.zeros_like(x0, dtype=torch.float64)
    for state in (mean + spread, mean - spread):
        total += sde.whitened((denoiser(state, times.to(x0.dtype)) - x0).double()).square()
    return total / 2
