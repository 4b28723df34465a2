"""What published samplers do apart from their formulas, and without which results are not the same."""

from __future__ import annotations

import torch
from torch import Tensor

from shared.guidance import DenoiserFunction, Guidance
from shared.sde.base import SDE


class PublishedBridgeStart(Guidance):
    """The first step of the published bridge ODE sampler (Jukić et al. 2024), from the bridge's end.

    It starts where σ = 0 and keeps from dividing by 0 with a constant ϵ, under a root and beside it. However small ϵ,
    the weights of state and anchor, of order 1/√ϵ, then add up to σ(t_1)(1 − 1/s_T) more than they should, s_T² being
    the variance of the reference process at the end; and being large, they leave rounding errors of their own. So the
    step is taken with the weights as float32 gives them, in the published order of operations. Where sampling starts
    elsewhere, this does nothing.

    Args:
        sde: a bridge; σ²/α is the variance of its reference process.
        y: its anchor (batch, ...).
        times: the falling times of the steps.
    """

    EPSILON = 1e-8

    def __init__(self, sde: SDE, y: Tensor, times: Tensor):
        self._y = y
        grid = torch.linspace(float(times[0]), float(times[-1]), len(times), dtype=torch.float32)
        s, total = sde.variance_over_alpha(torch.stack([grid[1], torch.ones(())])).sqrt()
        eps = self.EPSILON
        left, start = (total**2 - s**2 + eps).sqrt(), (total**2 - total**2 + eps).sqrt()
        self._of_state = float(s * left / (total * start + eps))
        share = 1 / (total**2 + eps)
        self._of_data = float(share * (left**2 - start * s * left / (total + eps)))
        self._of_anchor = float(share * (s**2 - total * s * left / (start + eps)))

    def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
        """x̂_0, kept with the state."""
        self._state, self._data = x, denoiser(x, t)
        return self._data

    def after_step(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, t_next: Tensor, sde: SDE) -> Tensor:
        """The first step's result in place of the exact one."""
        if float(t[0]) < 1:
            return x
        return self._of_state * self._state + self._of_data * self._data + self._of_anchor * self._y
