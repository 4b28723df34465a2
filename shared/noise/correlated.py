"""Noise that has a covariance along one axis, and is the same in every other place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.noise.base import Noise
from shared.noise.factors import Factor
from shared.random import Generators
from shared.views import from_parts, real_parts


class Correlated(Noise):
    """Gaussian noise along an axis of values (batch, ...), independent between series of other places."""

    axis: int

    @abstractmethod
    def factor(self, shape: Sequence[int]) -> Factor:
        """L of values of this shape (batch, ...); made once for each number of places."""

    def made(self, white: Tensor, generator: Generators) -> Tensor:
        """See `Noise`."""
        factor = self.factor(white.shape)
        if factor.by_element or generator is None or isinstance(generator, torch.Generator) or not len(white):
            return self._applied(factor.colour, white)
        # Item by item, since a product of matrices rounds differently for batches of different sizes.
        return torch.cat([self._item(i).colour(white[i : i + 1]) for i in range(len(white))])

    def colour(self, white: Tensor) -> Tensor:
        """See `Noise`."""
        return self._applied(self.factor(white.shape).colour, white)

    def whiten(self, values: Tensor) -> Tensor:
        """See `Noise`."""
        return self._applied(self.factor(values.shape).whiten, values)

    def covary(self, values: Tensor) -> Tensor:
        """See `Noise`."""
        factor = self.factor(values.shape)
        return self._applied(lambda v: factor.colour(factor.colour_back(v)), values)

    def solve(self, values: Tensor) -> Tensor:
        """See `Noise`."""
        factor = self.factor(values.shape)
        return self._applied(lambda v: factor.whiten_back(factor.whiten(v)), values)

    def log_diagonal(self, shape: Sequence[int]) -> Tensor:
        """See `Noise`."""
        each = self.factor(shape).log_diagonal
        others = [1] * (len(shape) - 1)
        others[range(len(shape))[self.axis] - 1] = each.shape[1]
        return each.reshape(len(each), *others)

    def covariance(self, places: int) -> Tensor:
        """S, (places, places), float64, or (batch, places, places) where items have times of their own."""
        whole = self.covary(torch.eye(places, dtype=torch.float64)[None].movedim(1, self.axis))
        return whole.movedim(self.axis, 1)[0]

    def _places(self, shape: Sequence[int]) -> int:
        """How many there are along the axis."""
        if not -len(shape) < self.axis < len(shape):
            raise ConfigError(f"axis={self.axis}: values of shape {tuple(shape)} have no such axis")
        return shape[self.axis]

    def _item(self, item: int) -> Noise:
        """The noise of one item alone."""
        return self

    def _applied(self, function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """A function of (batch, places, columns) along the axis of values."""
        real = real_parts(values)
        axis = range(values.ndim)[self.axis]
        moved = real.movedim(axis, 1)
        out = function(moved.flatten(2) if moved.ndim > 2 else moved[..., None])
        back = out.reshape(moved.shape).movedim(1, axis)
        return from_parts(back.contiguous(), values)
