"""A mixture of five Gaussians in sixteen dimensions: its denoiser is known, its ODE has no closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from shared.guidance import DenoiserFunction
from shared.random import make_generator, randn
from shared.samplers.run import Node
from shared.sde import SDE

F64 = torch.float64
SIZE = 16


class Mixture:
    """Means of deviation 1.2 or another, deviations of 0.15 … 0.4 in each direction, equal shares; around an anchor
    or 0."""

    def __init__(self, means: float = 1.2) -> None:
        self.means = means * randn((5, SIZE), make_generator("mixture means"), dtype=F64)
        self.stds = 0.15 + 0.25 * torch.rand(5, SIZE, generator=make_generator("mixture stds"), dtype=F64)

    def draw(self, count: int, name: str = "data") -> Tensor:
        """Residuals (count, 16), float64."""
        which = torch.randint(5, (count,), generator=make_generator("which", name))
        return self.means[which] + self.stds[which] * randn((count, SIZE), make_generator(name), dtype=F64)

    def denoiser(self, sde: SDE, y: Tensor | None = None) -> DenoiserFunction:
        """E[x_0 | x_t] at one time for the batch."""

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            node = Node.at(sde, float(t[0]))
            variance = (node.alpha**2 * self.stds.square() + node.sigma**2).clamp_min(1e-30)
            far = (x if y is None else x - y)[:, None] - node.alpha * self.means
            shares = (-0.5 * (far.square() / variance + variance.log()).sum(-1)).softmax(-1)
            each = self.means + node.alpha * self.stds.square() / variance * far
            found = (shares[..., None] * each).sum(1)
            return found if y is None else y + found

        return denoise
