"""Noise that is a Gaussian process along one axis, and the same in every other place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from shared.checks import Chance
from shared.errors import ConfigError
from shared.noise.base import Noise
from shared.noise.factors import Factor, factor_of
from shared.noise.kernels import Kernel, KernelSetting
from shared.random import Generators, randn

Times = tuple[float, ...] | tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class GaussianProcess(Noise):
    """ε ~ N(0, (1 − white)·K + white·I) along an axis, independent between series of other places.

    Args:
        kernel: of K: an object, or its kind and parameters.
        white: share of white noise; all of it at 1. Smooth kernels are singular without some.
        times: of the places along the axis, rising, (places,), or a row for each item of the batch; None means
            0, 1, 2, …, whatever their number. See `at`.
        axis: the axis of values (batch, ...), 1 for time series (batch, length, channels).

    Raises:
        ConfigError: a value out of range; when used: places of another number than the times', a covariance that is
            not positive definite.
    """

    kernel: KernelSetting
    white: Chance = 0.1
    times: Times | None = None
    axis: int = 1
    kind: Literal["gaussian_process"] = "gaussian_process"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.axis, "axis", "this is the batch, whose items are independent; take another")
        if self.times is not None:
            times = _tensor(self.times)
            if times.ndim not in (1, 2) or not bool(torch.isfinite(times).all()) or bool((times.diff() <= 0).any()):
                raise ConfigError(
                    f"times of shape {tuple(times.shape)}: need finite ones that rise, (places,) or (batch, places); "
                    "leave out those that are there twice"
                )

    def at(self, times: Sequence[float] | Sequence[Sequence[float]] | Tensor) -> GaussianProcess:
        """The same noise at other times, rising, (places,), or (batch, places) for items with times of their own.

        Raises:
            ConfigError: they do not rise, or are of another shape.
        """
        listed = times.tolist() if isinstance(times, Tensor) else times
        own = tuple(tuple(row) if isinstance(row, Sequence) else float(row) for row in listed)
        return replace(self, times=own)

    def draw(
        self,
        shape: Sequence[int],
        generator: Generators = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """See `Noise`."""
        white = randn(shape, generator, dtype=dtype, device=device)
        factor = self.factor(shape)
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

    def factor(self, shape: Sequence[int]) -> Factor:
        """L of values of this shape (batch, ...); made once for each number of places."""
        if not -len(shape) < self.axis < len(shape):
            raise ConfigError(f"axis={self.axis}: values of shape {tuple(shape)} have no such axis")
        places = shape[self.axis]
        if self.times is None:
            return _factor(self.kernel, self.white, None, places)
        count = len(self.times[0]) if isinstance(self.times[0], tuple) else len(self.times)
        rows = len(self.times) if isinstance(self.times[0], tuple) else shape[0]
        if (count, rows) != (places, shape[0]):
            raise ConfigError(
                f"noise at {count} times of {rows} items for values of shape {tuple(shape)}, of {places} places along "
                f"axis {self.axis}: give theirs, noise.at(times)"
            )
        return _factor(self.kernel, self.white, self.times, places)

    def _item(self, item: int) -> GaussianProcess:
        """The noise of one item alone."""
        if self.times is None or not isinstance(self.times[0], tuple):
            return self
        return replace(self, times=self.times[item])

    def _applied(self, function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """A function of (batch, places, columns) along the axis of values."""
        real = torch.view_as_real(values) if values.is_complex() else values
        axis = range(values.ndim)[self.axis]
        moved = real.movedim(axis, 1)
        out = function(moved.flatten(2) if moved.ndim > 2 else moved[..., None])
        back = out.reshape(moved.shape).movedim(1, axis)
        return torch.view_as_complex(back.contiguous()) if values.is_complex() else back.contiguous()


@lru_cache(maxsize=64)
def _factor(kernel: Kernel, white: float, times: Times | None, places: int) -> Factor:
    at = torch.arange(places, dtype=torch.float64) if times is None else _tensor(times)
    return factor_of(kernel, white, at if at.ndim == 2 else at[None])


def _tensor(times: Times) -> Tensor:
    try:
        return torch.tensor(times, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"times: need numbers, as many in every row ({error})") from error
