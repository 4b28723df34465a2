"""Stationary correlation functions of Gaussian processes; all are 1 at distance 0."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from shared.checks import Checked, Positive
from shared.kinds import OneOf


class Kernel(Checked, ABC):
    """The correlation of two values of a series by their distance in time.

    Subclasses are frozen dataclasses with a `kind`; a user's own is no less.
    """

    kind: str

    @abstractmethod
    def correlation(self, distance: Tensor) -> Tensor:
        """The correlation at distances of at least 0, of any shape, float64; 1 at 0."""


@dataclass(frozen=True)
class OrnsteinUhlenbeck(Kernel):
    """exp(−d/ℓ): rough paths, for which all that is asked for costs O(n).

    Args:
        length_scale: ℓ, in the units of the times, which are steps unless they are given.
    """

    length_scale: Positive
    kind: Literal["ou"] = "ou"

    def correlation(self, distance: Tensor) -> Tensor:
        """See `Kernel`."""
        return torch.exp(-distance / self.length_scale)


@dataclass(frozen=True)
class SquaredExponential(Kernel):
    """exp(−d²/(2ℓ²)): smooth paths. Alone it is singular to rounding; it needs a white part.

    Args:
        length_scale: ℓ, in the units of the times.
    """

    length_scale: Positive
    kind: Literal["squared_exponential"] = "squared_exponential"

    def correlation(self, distance: Tensor) -> Tensor:
        """See `Kernel`."""
        return torch.exp(-0.5 * (distance / self.length_scale).square())


@dataclass(frozen=True)
class Periodic(Kernel):
    """exp(−2 sin²(πd/p)/w²) (MacKay 1998): paths that repeat. It needs a white part.

    Args:
        period: p, in the units of the times.
        width: w, how far within a period values go together, as a share of it; √2 is TSFlow's kernel with γ = 1.
    """

    period: Positive
    width: Positive = 2**0.5
    kind: Literal["periodic"] = "periodic"

    def correlation(self, distance: Tensor) -> Tensor:
        """See `Kernel`."""
        return torch.exp(-2 * (torch.sin(math.pi * distance / self.period) / self.width).square())


SIMPLE: tuple[type[Kernel], ...] = (OrnsteinUhlenbeck, SquaredExponential, Periodic)
"""The kernels that a sum may have."""
SimpleKernel = Annotated[Kernel, OneOf(Kernel, SIMPLE)]
"""The type of a setting that is one of them."""


@dataclass(frozen=True)
class SumOfKernels(Kernel):
    """A weighted mean of kernels, such as a trend and a season.

    Args:
        kernels: at least one.
        weights: positive, one a kernel, in any unit: their sum is divided out. Empty means equal ones.
    """

    kernels: Annotated[tuple[SimpleKernel, ...], MinLen(1)]
    weights: tuple[Positive, ...] = ()
    kind: Literal["sum"] = "sum"

    def _related(self) -> None:
        told = not self.weights or len(self.weights) == len(self.kernels)
        self._require(told, "weights", f"give one each of {len(self.kernels)} kernels, or none")

    def correlation(self, distance: Tensor) -> Tensor:
        """See `Kernel`."""
        weights = self.weights or (1.0,) * len(self.kernels)
        parts = [w * k.correlation(distance) for w, k in zip(weights, self.kernels, strict=True)]
        return torch.stack(parts).sum(0) / sum(weights)


KernelSetting = Annotated[Kernel, OneOf(Kernel, (*SIMPLE, SumOfKernels))]
"""The type of a setting that is a kernel: an object, a kind, or a mapping of kind and parameters."""
