"""Gaussian laws of x_0 − y: what the mean and covariance of the data alone say at every noise level.

For r_0 = x_0 − y ~ N(m, C) the state's residual is N(α m, α²C + σ²I), the data prediction is linear, and so is the
probability-flow map (Wang and Vastola 2024, "The unreasonable effectiveness of Gaussian score approximation").
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from shared.checks import Checked, NonNegative
from shared.errors import ConfigError
from shared.kinds import OneOf
from shared.samplers.run import Node
from shared.views import check_numbers, rows

Gain = Callable[[Tensor], Tensor]
"""A function of variances, element by element."""


class Marginals(ABC):
    """What tells how dense residuals are at each noise level: a Gaussian law, or a density of your own."""

    @abstractmethod
    def log_densities(self, r: Tensor, nodes: list[Node]) -> Tensor:
        """log p of residuals r (batch, ...) at each of the nodes, (nodes, batch); in nats, float64."""


class Law(Marginals):
    """N(m, C), by the directions in which C is diagonal."""

    @abstractmethod
    def center(self, like: Tensor) -> Tensor:
        """m, in the dtype of states `like` (batch, ...), that broadcasts with them."""

    @abstractmethod
    def applied(self, gain: Gain, z: Tensor) -> Tensor:
        """gain(C)·z for z (batch, ...)."""

    @abstractmethod
    def squares(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Variances (k,), of how many directions each is (k,), and Re⟨a, b⟩ along those, (batch or 1, k), float64."""

    def denoised(self, r: Tensor, node: Node) -> Tensor:
        """D_G = m + α C (α²C + σ²)⁻¹ (r − α m), (batch, ...)."""
        m = self.center(r)
        return m + self.applied(lambda v: node.alpha * v / (node.alpha**2 * v + node.sigma**2), r - node.alpha * m)

    def teleported(self, r: Tensor, now: Node, after: Node) -> Tensor:
        """The residual at `after` to which the probability flow takes r (batch, ...) at `now`.

        Raises:
            ConfigError: `now` is a bridge's end, where all states are one.
        """
        if now.sigma == 0:
            raise ConfigError("a teleport out of a bridge's end: all states are one there; start a step later")

        def gain(v: Tensor) -> Tensor:
            return ((after.alpha**2 * v + after.sigma**2) / (now.alpha**2 * v + now.sigma**2)).sqrt()

        m = self.center(r)
        return after.alpha * m + self.applied(gain, r - now.alpha * m)

    def log_densities(self, r: Tensor, nodes: list[Node]) -> Tensor:
        """log N(r; α m, α²C + σ²I) of residuals (batch, ...), real or complex, at each of the nodes, (nodes, batch).

        In nats, float64; complex noise is circular.
        """
        m = self.center(r)
        variances, counts, own = self.squares(r, r)
        mixed, mean = self.squares(r, m)[2], self.squares(m, m)[2]
        found = []
        for node in nodes:
            spread = node.alpha**2 * variances + node.sigma**2
            distance = own - 2 * node.alpha * mixed + node.alpha**2 * mean
            found.append(-(counts * (math.pi * spread).log() + distance / spread).sum(-1))
        half = torch.stack(found)
        return half if r.is_complex() else 0.5 * (half - math.log(2) * float(counts.sum()))


@dataclass(frozen=True)
class Gaussian(Law):
    """Mean and low-rank covariance, with one variance for all other directions.

    Args:
        mean: shaped like an item.
        directions: orthonormal, (rank, *item).
        variances: of them, (rank,), at least 0.
        rest: variance of every direction outside their span.

    Raises:
        ConfigError: shapes that do not belong together, or variances that are negative or not finite; (when used)
            states of another shape.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    rest: float = 0.0

    def __post_init__(self) -> None:
        if self.directions.shape != (len(self.variances), *self.mean.shape):
            raise ConfigError(
                f"directions of shape {tuple(self.directions.shape)}: need (rank, *item) = "
                f"{(len(self.variances), *self.mean.shape)}"
            )
        _check_variances(torch.cat([self.variances.double(), torch.tensor([self.rest]).to(self.variances).double()]))

    @classmethod
    def of(cls, data: Tensor, rank: int) -> Gaussian:
        """From data (items, ...): sample mean, leading `rank` directions of the sample covariance, mean of the rest.

        Raises:
            ConfigError: fewer than two items, as many directions as items or more, or values that are complex or not
                finite.
        """
        check_numbers("data", data)
        if data.is_complex():
            raise ConfigError("a law with directions is of real data: take Spectrum.of for complex ones")
        if not 1 <= rank < len(data):
            raise ConfigError(f"rank={rank} of {len(data)} items: need at least 1, and more items than directions")
        if not bool(torch.isfinite(data).all()):
            raise ConfigError("data that are not all finite have no covariance; leave those items out")
        mean = data.double().mean(0)
        _, spread, directions = torch.linalg.svd(rows(data.double() - mean), full_matrices=False)
        variances = spread.square() / (len(data) - 1)
        rank = min(rank, len(variances))
        others = mean.numel() - rank
        rest = float(variances[rank:].sum()) / others if others else 0.0
        return cls(mean, directions[:rank].reshape(rank, *mean.shape), variances[:rank], rest)

    @classmethod
    def of_covariance(cls, covariance: Tensor, mean: Tensor) -> Gaussian:
        """From a whole covariance (n, n) of items with n values, and their mean, shaped like an item.

        Raises:
            ConfigError: the covariance is not symmetric, or has a variance below 0.
        """
        n = mean.numel()
        if covariance.shape != (n, n):
            raise ConfigError(f"a covariance of shape {tuple(covariance.shape)}: items have {n} values")
        size = float(covariance.abs().max())
        if not torch.allclose(covariance, covariance.T, rtol=0, atol=1e-8 * size):
            raise ConfigError("a covariance that is not symmetric; take (C + Cᵀ)/2")
        values, vectors = torch.linalg.eigh(covariance.double())
        if float(values.min()) < -1e-8 * size:
            raise ConfigError(
                f"a covariance with the variance {float(values.min()):.3g} in one direction: it must be positive "
                "semi-definite; add that much to its diagonal, or estimate it by Gaussian.of(data, rank)"
            )
        return cls(mean.double(), vectors.T.reshape(n, *mean.shape), values.clamp_min(0))

    def center(self, like: Tensor) -> Tensor:
        if like.shape[1:] != self.mean.shape:
            raise ConfigError(
                f"a law of items of shape {tuple(self.mean.shape)}, states of {tuple(like.shape[1:])}: estimate it on "
                "data of their shape"
            )
        return self.mean.to(like)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (batch, rank) along the directions, and what is left of z (batch, ...)."""
        coordinates = rows(z) @ rows(self.directions).to(z).T
        return coordinates, z - self.joined(coordinates)

    def joined(self, coordinates: Tensor) -> Tensor:
        """Σ coordinate·direction, (batch, ...)."""
        return torch.einsum("br,r...->b...", coordinates, self.directions.to(coordinates))

    def applied(self, gain: Gain, z: Tensor) -> Tensor:
        along, rest = self.split(z)
        real = z.real if z.is_complex() else z
        return self.joined(gain(self.variances.to(real)) * along) + gain(torch.tensor(self.rest).to(real)) * rest

    def squares(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wide = torch.complex128 if a.is_complex() else torch.float64
        (along_a, rest_a), (along_b, rest_b) = (self.split(z.to(wide).reshape(-1, *self.mean.shape)) for z in (a, b))
        along = (along_a * along_b.conj()).real
        rest = rows((rest_a * rest_b.conj()).real).sum(1, keepdim=True)
        others = self.mean.numel() - len(self.variances)
        variances = torch.cat([self.variances.double(), torch.tensor([self.rest]).double()]).to(along.device)
        counts = torch.ones_like(variances)
        counts[-1] = others
        if others:
            return variances, counts, torch.cat([along, rest], 1)
        return variances[:-1], counts[:-1], along


@dataclass(frozen=True)
class Spectrum(Checked, Law):
    """Independent values of mean 0 with a variance for each frequency, as a residual's spectrogram has nearly.

    Args:
        variances: of each place of an item's last axis but one.

    Raises:
        ConfigError: none, or variances that are negative or not finite; (when used) states of other frequencies.
    """

    variances: Annotated[tuple[NonNegative, ...], MinLen(1)]
    kind: Literal["spectrum"] = field(default="spectrum", repr=False)

    @classmethod
    def of(cls, data: Tensor) -> Spectrum:
        """From residuals (..., frequencies, frames), real or complex: the mean square of each frequency.

        Raises:
            ConfigError: there are no residuals, or they are not finite.
        """
        power = data.abs().double().square().movedim(-2, 0).flatten(1)
        if power.numel() == 0:
            raise ConfigError("no residuals tell no spectrum: give some (…, frequencies, frames)")
        return cls(tuple(power.mean(1).tolist()))

    @cached_property
    def _column(self) -> Tensor:
        return torch.tensor(self.variances, dtype=torch.float64)[:, None]

    def _variances(self, z: Tensor) -> Tensor:
        if z.shape[-2] != len(self.variances):
            raise ConfigError(
                f"a spectrum of {len(self.variances)} frequencies, states of {z.shape[-2]}: estimate it on residuals "
                "of this front end"
            )
        return self._column.to(z.real if z.is_complex() else z)

    def center(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like[:1])

    def applied(self, gain: Gain, z: Tensor) -> Tensor:
        return gain(self._variances(z)) * z

    def squares(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        variances = self._variances(a).double()[:, 0]
        wide = torch.complex128 if a.is_complex() else torch.float64
        products = (a.to(wide) * b.to(wide).conj()).real.movedim(-2, 1).flatten(2)
        return variances, torch.full_like(variances, products.shape[2]), products.sum(2)


LawSetting = Annotated[Any, OneOf(Law, (Spectrum,))]
"""The type of a setting that is a law: an object, or a mapping of a kind and its fields."""


def _check_variances(variances: Tensor) -> None:
    if bool((variances < 0).any()) or not bool(torch.isfinite(variances).all()):
        raise ConfigError(f"variances down to {float(variances.min()):g}: need finite ones of at least 0")
