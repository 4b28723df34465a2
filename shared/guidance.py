"""The two places where a method may steer a sampler: on the data prediction, and after a step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from shared.random import make_generator
from shared.sde.base import SDE
from shared.views import rows

DenoiserFunction = Callable[..., Tensor]
"""(x (batch, ...), t (batch,)) → x̂_0 (batch, ...). A flow map's takes the time that a step leads to besides, as r=…"""


class Guidance:
    """Does nothing; subclasses override one or both hooks.

    Both are handed the sampler's own counting denoiser, so that calls they make are in the result's `nfe`.
    """

    def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
        """x̂_0 (batch, ...) at state x (batch, ...), times t (batch,); here one calls the denoiser."""
        return denoiser(x, t)

    def after_step(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, t_next: Tensor, sde: SDE) -> Tensor:
        """The state to go on from, after the step t → t_next led to x."""
        return x


def random_signs(like: Tensor, *parts: int | str) -> Tensor:
    """A Rademacher probe, ±1, shaped like `like` (batch, ...), the same for each item; a function of `parts` alone."""
    drawn = torch.randint(0, 2, like.shape[1:], generator=make_generator("signs", *parts))
    return (2 * drawn - 1).to(like).expand_as(like)


def scalar_variance(
    x0: Tensor, state: Tensor, probe: Tensor, alpha: float, sigma: float, retain_graph: bool = False
) -> tuple[Tensor, Tensor]:
    """What traces say of C = Cov[x_0 | x_t] = (σ²/α)·∂x̂_0/∂x_t, from one vector–Jacobian product.

    The scalar form of second-order Tweedie (STSL; Rout et al. 2024): tr C/n, and tr C²/n, over the n values where the
    probe is not 0. Unbiased for probes of random signs; exact for a C that is a multiple of the identity. A difference
    of two predictions a unit of noise apart, as published, is biased.

    Args:
        x0: data prediction (batch, ...) with a graph to `state`.
        state: the noisy state that requires gradients, shaped like `x0`.
        probe: random signs, or 0, shaped like `x0`.
        alpha, sigma: of the state.
        retain_graph: whether `x0` is differentiated again.

    Returns:
        (batch,) each; 0 where the probe is 0 everywhere.
    """
    (product,) = torch.autograd.grad(x0, state, grad_outputs=probe, retain_graph=retain_graph)
    image = product * (sigma**2 / alpha) * probe.abs()
    count = rows(probe.abs()).sum(1).clamp_min(1)
    return rows(image * probe).sum(1) / count, rows(image.square()).sum(1) / count
