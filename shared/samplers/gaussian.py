"""What the data's mean and covariance alone give: a start further down the path, and an integrator exact in them.

For r_0 = x_0 − y ~ N(m, U L Uᵀ) the probability-flow map is known (Wang and Vastola 2024, "The unreasonable
effectiveness of Gaussian score approximation"), and at high noise the score of any data is nearly that of the Gaussian
of their mean and covariance. With u = r/α, κ = σ/α, z = u − m, D_G the Gaussian's data prediction and e = D − D_G, in
each direction of variance l

    z_t = P(κ_s)·z_s + ∫ P(κ(λ))·e(λ) dλ,   P(κ) = √((l + κ_t²)/(l + κ²)).

The Gaussian part is exact in any step; the integrator extrapolates e alone. l = 0 is the multistep method of the core.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.samplers.run import Node, Run, is_clean

_NODES, _SHARES = np.polynomial.legendre.leggauss(24)


@dataclass(frozen=True)
class Gaussian:
    """Mean and low-rank covariance of x_0 − y; what is outside the span of `directions` has no variance.

    Args:
        mean: shaped like an item.
        directions: orthonormal, (rank, *item).
        variances: of them, (rank,), at least 0.

    Raises:
        ConfigError: shapes that do not belong together, or a negative variance.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor

    def __post_init__(self) -> None:
        if self.directions.shape != (len(self.variances), *self.mean.shape):
            raise ConfigError(
                f"directions of shape {tuple(self.directions.shape)}: need (rank, *item) = "
                f"{(len(self.variances), *self.mean.shape)}"
            )
        if bool((self.variances < 0).any()) or not bool(torch.isfinite(self.variances).all()):
            raise ConfigError(f"variances down to {float(self.variances.min()):g}: need finite ones of at least 0")

    @classmethod
    def of(cls, data: Tensor, rank: int) -> Gaussian:
        """From data (items, ...): the sample mean and the leading `rank` directions of the sample covariance.

        Raises:
            ConfigError: fewer than two items, or as many directions as items or more.
        """
        if not 1 <= rank < len(data):
            raise ConfigError(f"rank={rank} of {len(data)} items: need at least 1, and more items than directions")
        mean = data.double().mean(0)
        _, spread, directions = torch.linalg.svd((data.double() - mean).flatten(1), full_matrices=False)
        variances = spread[:rank].square() / (len(data) - 1)
        return cls(mean, directions[:rank].reshape(rank, *mean.shape), variances)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (batch, rank) along the directions, and what is left of z (batch, ...)."""
        flat = self.directions.flatten(1).to(z)
        coordinates = z.flatten(1) @ flat.T
        return coordinates, z - self.joined(coordinates)

    def joined(self, coordinates: Tensor) -> Tensor:
        """Σ coordinate·direction, (batch, ...)."""
        return torch.einsum("br,r...->b...", coordinates, self.directions.to(coordinates))

    def denoised(self, r: Tensor, node: Node) -> Tensor:
        """D_G = m + U diag(α l/(α² l + σ²)) Uᵀ (r − α m), (batch, ...)."""
        variances = self.variances.to(r)
        gains = node.alpha * variances / (node.alpha**2 * variances + node.sigma**2)
        return self.mean.to(r) + self.joined(gains * self.split(r - node.alpha * self.mean.to(r))[0])

    def teleported(self, r: Tensor, now: Node, after: Node) -> Tensor:
        """The residual at `after` to which the Gaussian's probability flow takes r (batch, ...) at `now`.

        Raises:
            ConfigError: `now` is a bridge's end, where all states are one.
        """
        if now.sigma == 0:
            raise ConfigError("a teleport out of a bridge's end: all states are one there; start a step later")
        mean, variances = self.mean.to(r), self.variances.to(r)
        along, rest = self.split(r - now.alpha * mean)
        gains = ((after.alpha**2 * variances + after.sigma**2) / (now.alpha**2 * variances + now.sigma**2)).sqrt()
        return after.alpha * mean + self.joined(gains * along) + (after.sigma / now.sigma) * rest


@dataclass(frozen=True)
class GaussianExponential:
    """The second-order multistep integrator that is exact in the data's Gaussian part; deterministic.

    Args:
        gaussian: of x_0 − y.
        teleport: log-SNR to which the start is taken by the Gaussian's flow, without a call; steps of the grid before
            it are left out. −1.5 is off by about 2e-3 on mixtures. None starts at the grid's first time.
        denoise: end with one more data prediction.

    Raises:
        ConfigError: (from the run) the grid begins at a bridge's end, or ends before the teleport does.
    """

    gaussian: Gaussian
    teleport: float | None = None
    denoise: bool = False
    kind: Literal["gaussian_exponential"] = field(default="gaussian_exponential", repr=False)

    def __call__(self, run: Run) -> None:
        """Run over the grid."""
        nodes, x = run.single(), run.x
        if nodes[0].sigma == 0:
            raise ConfigError(
                "the Gaussian integrator from a bridge's end: all states are one there; take ode2, which starts with "
                "noise, or start a little before, with x_start and t_start"
            )
        if self.teleport is not None:
            start = Node.at(run.sde, float(run.sde.time_of_log_snr(self.teleport)))
            later = [node for node in nodes if node.log_snr > start.log_snr]
            if not later:
                raise ConfigError(f"teleport={self.teleport}: the steps end before this log-SNR; choose a lower one")
            x = run.anchored(self.gaussian.teleported(run.residual(x), nodes[0], start))
            nodes = [start, *later]
        before: tuple[float, Tensor] | None = None
        for now, after in pairwise(nodes):
            r = run.residual(x)
            d = run.data_residual(x, (now,))
            error = d - self.gaussian.denoised(r, now)
            ahead = d if is_clean(after) else self._step(now, after, r, error, before)
            x = run.finish_step(run.anchored(ahead), (now,), (after,))
            before = (now.log_snr, error) if math.isfinite(now.log_snr) else None
        if self.denoise:
            run.denoise_final()

    def _step(self, now: Node, after: Node, r: Tensor, error: Tensor, before: tuple[float, Tensor] | None) -> Tensor:
        ahead = self.gaussian.teleported(r, now, after)
        variances = self.gaussian.variances.to(r)
        along, rest = self.gaussian.split(error)
        if math.isinf(now.log_snr):
            # e at α = 0 alone: ∫ P dλ from −∞ converges, to log((√(l + κ²) + √l)/κ) of the end.
            kappa = after.sigma / after.alpha
            whole = torch.asinh(variances.sqrt() / kappa) / variances.sqrt().clamp_min(1e-12)
            whole = torch.where(variances > 0, whole * (variances + kappa**2).sqrt(), torch.ones_like(whole))
            return ahead + after.alpha * (self.gaussian.joined(whole * along) + rest)
        h = after.log_snr - now.log_snr
        constant, slope = self._integrals(now, after, variances)
        flat, tilt = -math.expm1(-h), h + math.expm1(-h)
        change = self.gaussian.joined(constant * along) + flat * rest
        if before is not None:
            gap = now.log_snr - before[0]
            along, rest = self.gaussian.split((error - before[1]) * (min(1.0, 2 * gap / h) / gap))
            change = change + self.gaussian.joined(slope * along) + tilt * rest
        return ahead + after.alpha * change

    def _integrals(self, now: Node, after: Node, variances: Tensor) -> tuple[Tensor, Tensor]:
        """∫ P dλ and ∫ P·(λ − λ_s) dλ of each direction, (rank,), by Gauss–Legendre nodes."""
        h = after.log_snr - now.log_snr
        places = torch.from_numpy(0.5 * h * (_NODES + 1)).to(variances)
        shares = torch.from_numpy(0.5 * h * _SHARES).to(variances)
        kappa = torch.exp(-(now.log_snr + places))
        end = math.exp(-after.log_snr)
        values = ((variances[:, None] + end**2) / (variances[:, None] + kappa.square())).sqrt() * shares
        return values.sum(1), (values * places).sum(1)
