"""The flow map of Gaussian data around an anchor, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shared.flow_maps.jumps import Jump, Times
from shared.predictions import Denoiser
from shared.random import make_generator
from shared.sde import SDE
from shared.sde.base import expand, residual

VARIANCE = 0.7
MEAN = 0.4
F64 = torch.float64


class GaussianMap(nn.Module):
    """D(x, t, r) for x_0 − y ~ N(0.4, v), x (batch, n). The parameter is log v; at v = 0.7 the map is exact."""

    takes_span = True

    def __init__(self, sde: SDE, y: Tensor | None = None):
        super().__init__()
        self.sde, self.y = sde, y
        self.log_variance = nn.Parameter(torch.tensor(VARIANCE, dtype=F64).log())

    def forward(self, x: Tensor, t: Tensor, span: Tensor | None = None) -> Tensor:
        v = self.log_variance.exp()
        alpha, sigma = (expand(value, x) for value in (self.sde.alpha(t), self.sde.sigma(t)))
        deviation = residual(x, self.y) - alpha * MEAN
        total = alpha**2 * v + sigma**2
        d = MEAN + alpha * v / total * deviation
        if span is not None:
            r = t - span
            alpha_r, sigma_r = (expand(value, x) for value in (self.sde.alpha(r), self.sde.sigma(r)))
            grown = ((alpha_r**2 * v + sigma_r**2) / total).sqrt() * deviation
            gain = alpha_r - alpha * sigma_r / sigma
            far = expand(span, x) > 0
            mean = MEAN + (grown - sigma_r / sigma * deviation) / torch.where(far, gain, torch.ones_like(gain))
            d = torch.where(far, mean, d)
        return d if self.y is None else d + self.y


def exact_map(sde: SDE, y: Tensor | None = None) -> Denoiser:
    """The map as the toolkit takes one."""
    return Denoiser(GaussianMap(sde, y), sde, "data")


def jumps(sde: SDE, count: int = 64, anchored: bool = True, low: float = 0.05, high: float = 0.95) -> Jump:
    """States at times t and times r < t, whose x_0 is what the exact denoiser makes of them: then the velocity of the
    path that made a state is that of the ODE."""
    generator = make_generator("jumps", type(sde).__name__)
    low, high = max(low, sde.t_min), min(high, sde.T)
    times = low + (high - low) * torch.rand(2, count, dtype=F64, generator=generator)
    t, r = times.amax(0), times.amin(0)
    y = torch.randn(count, 3, dtype=F64, generator=generator) if anchored else None
    denoiser = exact_map(sde, y)
    x = torch.randn(count, 3, dtype=F64, generator=generator)
    return Jump(denoiser, x, denoiser(x, t, y).detach(), Times.at(sde, t), Times.at(sde, r), y, {})
