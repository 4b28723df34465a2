"""A data prediction at one time as a field over real coordinates, in which the noise is white and x_0 − y is unscaled.

With u = L⁻¹(x_t − y)/α, κ = σ/α and D(u) the data prediction's residual L⁻¹(x̂_0 − y), the score of the noisy data is
s(u) = (D(u) − u)/κ². Complex states count two coordinates an element, each of noise κ²/2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction
from shared.samplers.run import Node
from shared.sde.base import SDE, anchored, residual
from shared.views import from_parts, real_parts, rows


class ScoreField:
    """The data prediction and the score at time t, on coordinates (batch, …) that `coordinates` makes of states.

    Args:
        denoiser: (x (batch, ...), t (batch,)) → x̂_0, differentiable in x; items must not depend on each other.
        sde: the process.
        t: the time, strictly inside the path.
        like: states (batch, ...), for dtype and device.
        y: anchor, shaped like `like`.

    Attributes:
        variance: κ², of each coordinate's noise.

    Raises:
        ConfigError: the end of the path, where there is no noise or nothing of the data; or noise with heavy tails.
    """

    def __init__(self, denoiser: DenoiserFunction, sde: SDE, t: float, like: Tensor, y: Tensor | None = None):
        sde.require_gaussian("a diagnosis of the score", "sampling_errors, which needs no score")
        self.node = Node.at(sde, t)
        if not (self.node.alpha > 0 and self.node.sigma > 0):
            raise ConfigError(
                f"t={t}: alpha is {self.node.alpha:.3g} and sigma {self.node.sigma:.3g} there; take a time inside the "
                "path, where both are above 0"
            )
        self.sde, self.y, self.complex = sde, y, like.is_complex()
        self.variance = (self.node.sigma / self.node.alpha) ** 2 / (2 if self.complex else 1)
        self._denoiser, self._like = denoiser, like

    def at(self, t: float) -> ScoreField:
        """The same at another time, in the same coordinates."""
        return ScoreField(self._denoiser, self.sde, t, self._like, self.y)

    def coordinates(self, x: Tensor) -> Tensor:
        """u of states x (batch, ...): of the same shape, complex ones with an axis of 2 more."""
        return real_parts(self.sde.whitened(residual(x, self.y)) / self.node.alpha)

    def of_data(self, x0: Tensor) -> Tensor:
        """u of the state α(x_0 − y) + y, which holds no noise."""
        return real_parts(self.sde.whitened(residual(x0, self.y)))

    def noisy(self, x0: Tensor, noise: Tensor) -> Tensor:
        """u of x_0 with white noise that is shaped like it."""
        return real_parts(self.sde.whitened(residual(x0, self.y)) + self.node.sigma / self.node.alpha * noise)

    def data(self, u: Tensor) -> Tensor:
        """D(u)."""
        white = from_parts(u, self._like)
        x = anchored(self.node.alpha * self.sde.coloured(white), self.y)
        times = torch.full((len(u),), self.node.t, dtype=u.dtype, device=u.device)
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            x0 = self._denoiser(x, times)
        return real_parts(self.sde.whitened(residual(x0, self.y)))

    def score(self, u: Tensor) -> Tensor:
        """s(u)."""
        return (self.data(u) - u) / self.variance

    @torch.inference_mode(False)  # derivatives are taken, whatever mode the caller is in
    def products(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """∂D/∂u·v and its transpose times v, for v shaped like u: one product forwards and one backwards."""
        u, v = u.detach().clone(), v.clone()
        with torch.no_grad():
            forward: Any = jvp(self.data, (u,), (v,))[1]
        return forward, self.transposed(u, v)

    @torch.inference_mode(False)  # derivatives are taken, whatever mode the caller is in
    def transposed(self, u: Tensor, v: Tensor) -> Tensor:
        """(∂D/∂u)ᵀ·v; 0 where the prediction does not depend on the state."""
        with torch.enable_grad():
            leaf = u.detach().clone().requires_grad_(True)
            value = self.data(leaf)
            if not value.requires_grad:
                return torch.zeros_like(u)
            (back,) = torch.autograd.grad(value, leaf, v, allow_unused=True)
        return torch.zeros_like(u) if back is None else back


def inner(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ of each item, (batch,), float64."""
    return rows(a.double() * b.double()).sum(1)
