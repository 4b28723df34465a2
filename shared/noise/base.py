"""The law of the noise ε in x_t − y = α(t)·(x_0 − y) + σ(t)·ε, where it is not white.

With ε = L·ξ for white ξ and a fixed factor L, the path is the white one in the coordinates L⁻¹x. Steps of an ODE and
the data prediction know nothing of L: x̂_0 and x live in the data's own coordinates throughout. What knows of it are
the draws, the score −S⁻¹(x − α x_0)/σ² with S = L Lᵀ, and densities, by log det L (Biloš et al. 2023, "Modeling
temporal data as continuous functions with stochastic process diffusion"; Kollovieh et al. 2025, "TSFlow").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from shared.checks import Checked
from shared.random import Generators, randn
from shared.views import rows


class Noise(Checked, ABC):
    """Noise of variance 1 at each place (of scale 1, where the variance is another), alike for all items.

    Subclasses are frozen dataclasses with a `kind`; a user's own is no less. Values are (batch, ...), real or complex.
    """

    kind: str
    gaussian: ClassVar[bool] = True
    """Whether it is Gaussian: steps that add noise, scores and densities hold for Gaussian noise alone."""

    def draw(self, shape: Sequence[int], generator: Generators = None, **place: Any) -> Tensor:
        """ε of this shape (batch, ...); with one generator an item, item i depends on generator i alone.

        Args:
            shape, generator: see `shared.random.randn`.
            place: its dtype and device.
        """
        return self.made(randn(shape, generator, **place), generator)

    @abstractmethod
    def made(self, white: Tensor, generator: Generators) -> Tensor:
        """ε from white noise (batch, ...) that was drawn from `generator`, item by item where it is one an item."""

    @abstractmethod
    def colour(self, white: Tensor) -> Tensor:
        """L·white."""

    @abstractmethod
    def whiten(self, values: Tensor) -> Tensor:
        """L⁻¹·values."""

    @abstractmethod
    def covary(self, values: Tensor) -> Tensor:
        """S·values = L·Lᵀ·values."""

    @abstractmethod
    def solve(self, values: Tensor) -> Tensor:
        """S⁻¹·values."""

    @abstractmethod
    def log_diagonal(self, shape: Sequence[int]) -> Tensor:
        """log L_ii at each element of values of this shape, which it may be broadcast to, float64."""

    def log_det(self, shape: Sequence[int]) -> Tensor:
        """log det S of each item of values of this shape, (batch,), float64."""
        each = self.log_diagonal(shape).expand(*shape)
        return 2 * rows(each).sum(1)
