"""Jumps along the probability-flow ODE, for any path x_t − y = α(x_0 − y) + σε.

In u = (x − y)/σ and w = α/σ the ODE is du/dw = d, the data prediction less y. So where the ODE leads from t to r is

    X_{t,r}(x) = y + (σ_r/σ_t)(x − y) + c·(D − y),   c = α_r − α_t σ_r/σ_t,

with D the mean of the data prediction over w on the way: DDIM's step with D in place of x̂_0. A flow map is a network
for D(x, t, r). It is the same map whichever kind of prediction at t the network makes: with z = x/α, κ = σ/α and the
noise it reads X/α_r = z − (κ_t − κ_r)·ε(x, t, r), on the straight path x − (t − r)·v(x, t, r).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from shared.predictions import Denoiser
from shared.sde.base import SDE, anchored, expand, residual


@dataclass(frozen=True)
class Times:
    """α, σ, log-SNR and their rates at times (batch,), float64.

    Attributes:
        t: the times.
        alpha, sigma: of the path.
    """

    sde: SDE
    t: Tensor
    alpha: Tensor
    sigma: Tensor

    @classmethod
    def at(cls, sde: SDE, t: Tensor) -> Times:
        """Those of a process at `t` (batch,)."""
        t = t.double()
        return cls(sde, t, sde.alpha(t), sde.sigma(t))

    @property
    def pace(self) -> Tensor:
        """1/(σ·dw/dt) = 1/(α̇ − α σ̇/σ), negative, (batch,)."""
        return 1 / (self.sde.alpha_dot(self.t) - self.alpha * self.sde.sigma_dot(self.t) / self.sigma)

    def kept(self, end: Times) -> Tensor:
        """σ_r/σ_t, (batch,)."""
        return end.sigma / self.sigma

    def gain(self, end: Times) -> Tensor:
        """c, (batch,)."""
        return end.alpha - self.alpha * self.kept(end)

    def jump(self, end: Times, x: Tensor, mean: Tensor, y: Tensor | None) -> Tensor:
        """X_{t,r}(x) with D = `mean` (batch, ...)."""
        ahead = expand(self.kept(end), x) * residual(x, y) + expand(self.gain(end), x) * residual(mean, y)
        return anchored(ahead, y)

    def jump_rate(self, end: Times, x: Tensor, mean: Tensor, change: Tensor, y: Tensor | None) -> Tensor:
        """∂_r X_{t,r}(x) (batch, ...), where D = `mean` changes with r by `change`."""
        rate = self.sde.sigma_dot(end.t) / self.sigma
        of_mean = self.sde.alpha_dot(end.t) - self.alpha * rate
        moved = expand(rate, x) * residual(x, y) + expand(of_mean, x) * residual(mean, y)
        return moved + expand(self.gain(end), x) * change

    def slope(self, x: Tensor, data: Tensor, y: Tensor | None) -> Tensor:
        """dx/dt of the ODE at x (batch, ...) where the data prediction is `data`."""
        r, d = residual(x, y), residual(data, y)
        noise = (r - expand(self.alpha, x) * d) / expand(self.sigma, x)
        return expand(self.sde.alpha_dot(self.t), x) * d + expand(self.sde.sigma_dot(self.t), x) * noise


@dataclass(frozen=True)
class Jump:
    """States of a batch and where a map is to lead them.

    Attributes:
        denoiser: the map.
        x: states at `start`, (batch, ...).
        x0: the clean data that they were made of.
        start, end: times t and r < t.
        y: anchor, or None.
        condition: what else the network takes.
    """

    denoiser: Denoiser
    x: Tensor
    x0: Tensor
    start: Times
    end: Times
    y: Tensor | None
    condition: Mapping[str, Any]

    def mean(self, x: Tensor, t: Tensor, r: Tensor | None = None, denoiser: Denoiser | None = None) -> Tensor:
        """The map's D(x, t, r) for float64 times (batch,); x̂_0 where r is None. Or another network's."""
        real = x.real.dtype if x.is_complex() else x.dtype
        told = {} if r is None else {"r": r.to(real)}
        return (denoiser or self.denoiser)(x, t.to(real), self.y, **told, **self.condition)

    def to(self, end: Times) -> Tensor:
        """The map's D from `start` to `end`."""
        return self.mean(self.x, self.start.t, end.t)


def along(function: Callable[..., Tensor], *pairs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A function's value, and its derivative along a direction, of pairs of an argument and how that moves."""
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no derivative of this kind
        found = jvp(function, tuple(value for value, _ in pairs), tuple(move for _, move in pairs))
    return found[0], found[1]


def share(start: Tensor, middle: Tensor, end: Tensor) -> Tensor:
    """The part of the way in w from `start` to `end` that lies beyond `middle`, (batch,), from their log-SNR."""
    whole = -torch.expm1(start - end)
    return torch.where(whole > 0, -torch.expm1(middle - end) / whole.clamp_min(1e-12), torch.zeros_like(whole))
