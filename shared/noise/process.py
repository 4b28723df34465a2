"""Noise that is a Gaussian process along one axis, and the same in every other place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from shared.checks import Chance, Count, Positive
from shared.errors import ConfigError
from shared.noise.base import Noise
from shared.noise.correlated import Correlated
from shared.noise.factors import Factor, dense, factor_of
from shared.noise.kernels import Kernel, KernelSetting

Times = tuple[float, ...] | tuple[tuple[float, ...], ...]
"""Times of the points, (points,), or of each item, (batch, points)."""


@dataclass(frozen=True)
class GaussianProcess(Correlated):
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

    def _related(self) -> None:
        self._require(self.axis, "axis", "this is the batch, whose items are independent; take another")
        if self.times is not None:
            times = _tensor(self.times)
            if times.ndim not in (1, 2) or not bool(torch.isfinite(times).all()) or bool((times.diff() <= 0).any()):
                raise ConfigError(
                    f"times of shape {tuple(times.shape)}: need finite ones that rise, (places,) or (batch, places); "
                    "leave out those that are there twice"
                )

    def at(self, times: Sequence[float] | Sequence[Sequence[float]] | Tensor | np.ndarray) -> GaussianProcess:
        """The same noise at other times, rising, (places,), or (batch, places) for items with times of their own.

        Raises:
            ConfigError: they do not rise, or are of another shape.
        """
        listed = times if isinstance(times, Sequence) else times.tolist()
        own: Any = tuple(tuple(row) if isinstance(row, Sequence) else float(row) for row in listed)
        return replace(self, times=own)

    def given(self, known: int, trust: float) -> Conditioned:
        """The noise given values of its first `known` places, which are told up to the standard deviation `trust`."""
        return Conditioned(self, known, trust)

    def factor(self, shape: Sequence[int]) -> Factor:
        """See `Correlated`."""
        places = self._places(shape)
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

    def _item(self, item: int) -> Noise:
        """See `Correlated`."""
        if self.times is None or not isinstance(self.times[0], tuple):
            return self
        return replace(self, times=self.times[item])


@lru_cache(maxsize=64)
def _factor(kernel: Kernel, white: float, times: Times | None, places: int) -> Factor:
    at = torch.arange(places, dtype=torch.float64) if times is None else _tensor(times)
    return factor_of(kernel, white, at if at.ndim == 2 else at[None])


def _tensor(times: Times) -> Tensor:
    try:
        return torch.tensor(times, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"times: need numbers, as many in every row ({error})") from error


@dataclass(frozen=True)
class Conditioned(Correlated):
    """A Gaussian process less its mean, given values at its first places (Rasmussen and Williams 2006, §2.2).

    Around the mean as the anchor it is where TSFlow's conditional flow starts (Kollovieh et al. 2025).

    Args:
        process: at the same times for all items.
        known: how many places are told.
        trust: standard deviation of what is told, in units of the process'.
    """

    process: GaussianProcess
    known: Count
    trust: Positive = 0.1
    kind: Literal["conditioned"] = "conditioned"

    @property
    def axis(self) -> int:  # type: ignore[override]
        """The process'."""
        return self.process.axis

    def factor(self, shape: Sequence[int]) -> Factor:
        """See `Correlated`."""
        return _conditioned(self, self._places(shape))

    def mean(self, values: Tensor, told: Tensor) -> Tensor:
        """The process' mean given what is told, shaped like `values`.

        Args:
            values: (batch, places, channels), of which the first `known` places are read.
            told: of 0 and 1, shaped like `values`: which of those are.
        """
        whole = self.process.covariance(values.shape[1]).to(values.device)
        lines, seen = (part.transpose(1, 2).flatten(0, 1).double()[:, : self.known] for part in (values, told))
        made = torch.zeros(len(lines), values.shape[1], dtype=torch.float64, device=values.device)
        patterns, which = torch.unique(seen, dim=0, return_inverse=True)
        for place, pattern in enumerate(patterns):
            rows, at = which == place, torch.nonzero(pattern)[:, 0]
            inner = whole[at][:, at] + self.trust**2 * torch.eye(len(at), dtype=torch.float64, device=values.device)
            made[rows] = lines[rows][:, at] @ torch.linalg.solve(inner, whole[at])
        return made.reshape(len(values), -1, values.shape[1]).transpose(1, 2).to(values.dtype)


@lru_cache(maxsize=16)
def _conditioned(noise: Conditioned, places: int) -> Factor:
    if noise.known > places:
        raise ConfigError(f"known={noise.known}: there are {places} places")
    whole = noise.process.covariance(places)
    inner = whole[: noise.known, : noise.known] + noise.trust**2 * torch.eye(noise.known, dtype=torch.float64)
    return dense(whole - whole[:, : noise.known] @ torch.linalg.solve(inner, whole[: noise.known]), str(noise))
