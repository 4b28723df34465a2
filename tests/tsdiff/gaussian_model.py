"""A TSDiff whose network is the exact denoiser of Gaussian windows, so that its densities are known in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from shared.random import make_generator
from shared.sde import SDE, VPSDE
from tsdiff import TSDiff, TSDiffConfig
from tsdiff.model.backbones import S4DConfig
from tsdiff.windows.scales import Statistics

CONTEXT, HORIZON = 12, 4
LENGTH = CONTEXT + HORIZON


def covariance(length: int = LENGTH) -> Tensor:
    """(length, length), float64, well conditioned."""
    factor = torch.randn(length, length, dtype=torch.float64, generator=make_generator("windows", length))
    return factor @ factor.T / length + 0.3 * torch.eye(length, dtype=torch.float64)


class GaussianNetwork(nn.Module):
    """The data prediction for x_0 ~ N(0, covariance) over (steps, channels) together: αC(α²C + σ²)⁻¹x."""

    def __init__(self, sde: SDE, cov: Tensor):
        super().__init__()
        self.sde = sde
        self.values, self.vectors = torch.linalg.eigh(cov)
        self.weight = nn.Parameter(torch.zeros(1))  # tells the model where it is

    def forward(self, x: Tensor, t: Tensor, **inputs: Tensor) -> Tensor:
        alpha, variance = (part.double()[:, None] for part in (self.sde.alpha(t), self.sde.sigma(t) ** 2))
        gain = alpha * self.values / (alpha**2 * self.values + variance)
        return ((x.double().flatten(1) @ self.vectors * gain) @ self.vectors.T).reshape(x.shape).to(x.dtype)


def gaussian_model(sde: SDE | None = None, **settings: Any) -> tuple[TSDiff, Tensor]:
    """The model, with statistics that are not trivial, and the covariance of its windows in network units, flattened
    over (steps, network channels)."""
    sde = sde or VPSDE()
    settings = {"scaling": "mean", "calendar": "none", "backbone": S4DConfig(patch=4, width=8, blocks=1), **settings}
    config = TSDiffConfig("h", HORIZON, CONTEXT, sde=sde, output="data", **settings)
    model = TSDiff(config, Statistics(center=0.4, spread=0.7))
    cov = covariance(config.length * config.network_channels)
    model.denoiser.network = GaussianNetwork(sde, cov)
    return model.eval().requires_grad_(False), cov
