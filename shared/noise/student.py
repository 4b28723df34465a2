"""Heavy-tailed noise: a Gaussian process whose scale differs from item to item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from shared.checks import Positive
from shared.kinds import OneOf
from shared.noise.base import Noise
from shared.noise.kernels import OrnsteinUhlenbeck
from shared.noise.process import GaussianProcess
from shared.random import Generators, seeds

ProcessSetting = Annotated[Noise, OneOf(GaussianProcess, (GaussianProcess,))]
"""The type of a setting that is the Gaussian process under the tails."""
_WHITE = GaussianProcess(OrnsteinUhlenbeck(1.0), white=1.0)


@dataclass(frozen=True)
class StudentT(Noise):
    """A Student-t process: ε = √v·L·ξ with v ~ InvGamma(ν/2, ν/2), one v an item (Shah et al. 2014).

    The data prediction is trained, and carried by ODEs, as with any noise. Steps that add noise, scores and densities
    are for Gaussian noise and refuse it.

    Args:
        degrees: ν; the fewer, the heavier the tails. The variance is ν/(ν − 2), infinite up to 2.
        process: of L·ξ; white noise unless given.

    Raises:
        ConfigError: no positive ν.
    """

    degrees: Annotated[Positive, "for Gaussian noise give its process alone"] = 5.0
    process: ProcessSetting = _WHITE
    kind: Literal["student_t"] = "student_t"
    gaussian: ClassVar[bool] = False

    def made(self, white: Tensor, generator: Generators) -> Tensor:
        """See `Noise`."""
        half = self.degrees / 2
        gammas = [np.random.default_rng(seed).gamma(half, 1 / half) for seed in seeds(len(white), generator)]
        values = self.process.made(white, generator)
        root = torch.tensor(gammas, dtype=torch.float64).rsqrt().to(values.real)
        return root.reshape(-1, *[1] * (values.ndim - 1)) * values

    def colour(self, white: Tensor) -> Tensor:
        """L·white, of the process within an item."""
        return self.process.colour(white)

    def whiten(self, values: Tensor) -> Tensor:
        """L⁻¹·values."""
        return self.process.whiten(values)

    def covary(self, values: Tensor) -> Tensor:
        """S·values; S is the scale matrix, not the covariance."""
        return self.process.covary(values)

    def solve(self, values: Tensor) -> Tensor:
        """S⁻¹·values."""
        return self.process.solve(values)

    def log_diagonal(self, shape: Sequence[int]) -> Tensor:
        """Of L."""
        return self.process.log_diagonal(shape)
