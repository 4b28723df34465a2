"""Gaussian data, for which every process has an exact denoiser, flow, and reverse transition.

For x_0 ~ N(m, C) the state is x_t ~ N(y + α(m − y), α²C + σ²), so all that samplers approximate is known in closed
form. C is s² times the identity, or any covariance over the last axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shared.sde.base import SDE, anchored, residual


@dataclass(frozen=True)
class GaussianData:
    """x_0 ~ N(mean, C) around an anchor y, in the view of one process.

    Args:
        sde: the process.
        mean: a number, or a vector over the last axis of the data.
        scale: standard deviation s, or a full covariance (d, d) over the last axis.
        y: the anchor, shaped like the data or broadcastable to it; None means 0.
    """

    sde: SDE
    mean: Tensor | float
    scale: Tensor | float
    y: Tensor | None = None

    def denoiser(self, x: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t = x] for x (batch, ...), t (batch,)."""
        alpha, sigma = self._coefficients(t, x)
        m = self._mean_residual(x)
        deviation = residual(x, self.y) - alpha * m
        return anchored(
            m + self._apply(lambda c: alpha * c / (alpha**2 * c + sigma**2).clamp_min(1e-300), deviation), self.y
        )

    def flow(self, x: Tensor, t_from: float, t_to: float) -> Tensor:
        """Where the probability-flow ODE takes x (batch, ...) from one time to another.

        Out of the end of a bridge (α = σ = 0), the path is the one with ε = 0, as samplers take it.
        """
        (a0, s0), (a1, s1) = self._at(t_from), self._at(t_to)
        m = self._mean_residual(x)
        if a0 == 0 and s0 == 0:
            return anchored((a1 * m).expand_as(x), self.y)
        deviation = residual(x, self.y) - a0 * m
        gain = self._apply(lambda c: ((a1**2 * c + s1**2) / (a0**2 * c + s0**2)) ** 0.5, deviation)
        return anchored(a1 * m + gain, self.y)

    def reverse_transition(self, x: Tensor, t_from: float, t_to: float) -> tuple[Tensor, Tensor]:
        """Mean (batch, ...) and variance of x_{t_to} given x_{t_from} = x in the reverse SDE, for scalar C."""
        (a0, s0), (a1, s1) = self._at(t_from), self._at(t_to)
        c = float(self.scale) ** 2
        m = self._mean_residual(x)
        v0, v1 = a0**2 * c + s0**2, a1**2 * c + s1**2
        gain = 0.0 if v0 == 0 else a0 / a1 * v1 / v0
        mean = a1 * m + gain * (residual(x, self.y) - a0 * m)
        return anchored(mean, self.y), torch.tensor(v1 - gain**2 * v0, dtype=torch.float64)

    def marginal(self, t: float) -> tuple[Tensor, Tensor]:
        """Mean, and variance (scalar C) or covariance (d, d), of x_t."""
        a, s = self._at(t)
        reference = torch.zeros(1, dtype=torch.float64) if self.y is None else self.y
        mean = anchored(a * self._mean_residual(reference), self.y)
        if isinstance(self.scale, Tensor) and self.scale.ndim == 2:
            return mean, a**2 * self.scale + s**2 * torch.eye(len(self.scale), dtype=self.scale.dtype)
        return mean, torch.tensor(a**2 * float(self.scale) ** 2 + s**2, dtype=torch.float64)

    def _mean_residual(self, x: Tensor) -> Tensor:
        mean = torch.as_tensor(self.mean, dtype=x.dtype, device=x.device)
        return residual(mean, self.y)

    def _at(self, t: float) -> tuple[float, float]:
        return float(self.sde.alpha(t)), float(self.sde.sigma(t))

    def _coefficients(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *([1] * (x.ndim - 1)))
        real = x.real.dtype if x.is_complex() else x.dtype
        t = t.double()
        return self.sde.alpha(t).to(real).reshape(shape), self.sde.sigma(t).to(real).reshape(shape)

    def _apply(self, gain: Callable[[Any], Any], deviation: Tensor) -> Tensor:
        """gain(C)·deviation, where a matrix C acts through its eigenvalues."""
        if not isinstance(self.scale, Tensor) or self.scale.ndim < 2:
            return gain(self.scale**2) * deviation
        values, vectors = torch.linalg.eigh(self.scale.to(deviation.device))
        return (gain(values) * (deviation @ vectors)) @ vectors.T
