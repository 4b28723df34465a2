"""Trying a sampler before it is used, on data predictions that are made up."""

from __future__ import annotations

import torch
from torch import Tensor

from shared.sde.base import SDE


class Trial:
    """A denoiser that stands in for a network: its data predictions are ±1, and it remembers what states it is shown.

    Args:
        sde: the process; the anchor of the sampling that is tried must be 0.
        constant: predict 1 always; otherwise signs are drawn, the same at every trial.

    Attributes:
        states: that were shown, in their order.
        growth: the largest of them, as a multiple of what the process' path holds at its time.
    """

    def __init__(self, sde: SDE, constant: bool):
        self.sde, self.constant = sde, constant
        self.states: list[Tensor] = []
        self.growth = 0.0
        self._signs = torch.Generator().manual_seed(0)

    def __call__(self, x: Tensor, t: Tensor, r: Tensor | None = None) -> Tensor:
        """Made-up x̂_0, shaped like x (batch, ...); of a flow map too, wherever a step leads."""
        self.look(x, t[:1])
        if self.constant:
            return torch.ones_like(x)
        return torch.sign(torch.rand(x.shape, generator=self._signs) - 0.5).to(x.dtype)

    def look(self, x: Tensor, t: Tensor) -> None:
        """Remember a state at time t (1,)."""
        held = float(self.sde.alpha(t) + 4 * self.sde.sigma(t)) + 0.01
        self.states.append(x.clone())
        self.growth = max(self.growth, float(x.abs().max()) / held)

    def miss(self, t_end: float) -> float:
        """How far the last state, at t_end, is from a constant prediction, beyond the noise of the path there."""
        end = torch.tensor(t_end)
        return float((self.states[-1] - self.sde.alpha(end)).abs().max() - 4 * self.sde.sigma(end))
