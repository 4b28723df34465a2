"""Triangular factors S = L Lᵀ of covariances over places on a line, and what they do to values at those places.

All take and give values (rows, places, columns) in the dtype of the values. A factor is of one covariance, or of one a
row where each row has times of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.noise.kernels import Kernel, OrnsteinUhlenbeck


class Factor(Protocol):
    """L, lower triangular with a positive diagonal."""

    by_element: ClassVar[bool]
    """Whether all is done element by element: results then do not depend on the number of rows, to the last bit."""

    @property
    def log_diagonal(self) -> Tensor:
        """log L_ii, (rows or 1, places), float64; its sum is half of log det S."""

    def colour(self, white: Tensor) -> Tensor:
        """L·white."""

    def whiten(self, values: Tensor) -> Tensor:
        """L⁻¹·values."""

    def colour_back(self, values: Tensor) -> Tensor:
        """Lᵀ·values."""

    def whiten_back(self, values: Tensor) -> Tensor:
        """L⁻ᵀ·values."""


def factor_of(kernel: Kernel, white: float, times: Tensor) -> Factor:
    """The factor of (1 − white)·K + white·I.

    Args:
        kernel: of K.
        white: share of white noise.
        times: rising, (rows or 1, places), float64.

    Raises:
        ConfigError: the covariance is not positive definite.
    """
    if isinstance(kernel, OrnsteinUhlenbeck):
        return Recursion.of(kernel.length_scale, white, times)
    distance = (times[:, :, None] - times[:, None, :]).abs()
    eye = torch.eye(times.shape[1], dtype=torch.float64)
    return dense((1 - white) * kernel.correlation(distance) + white * eye, f"{kernel} with white={white}")


def dense(covariance: Tensor, of: str) -> Dense:
    """The factor of a matrix, or of one a row, (rows, places, places).

    Raises:
        ConfigError: the covariance, `of` which is told, is not positive definite.
    """
    lower, failed = torch.linalg.cholesky_ex(covariance if covariance.ndim == 3 else covariance[None])
    if bool(failed.any()):
        raise ConfigError(
            f"the covariance of {of} at {covariance.shape[-1]} places is not positive definite; give it a larger white "
            "part (white=0.01, say)"
        )
    return Dense(lower)


@dataclass(frozen=True, eq=False)
class Dense:
    """A factor by Cholesky's method: O(n³) once, O(n²) a use.

    Attributes:
        lower: L, (rows or 1, places, places), float64.
    """

    lower: Tensor
    by_element: ClassVar[bool] = False

    @property
    def log_diagonal(self) -> Tensor:
        """See `Factor`."""
        return self.lower.diagonal(dim1=1, dim2=2).log()

    def colour(self, white: Tensor) -> Tensor:
        """See `Factor`."""
        return _times(self.lower, white)

    def whiten(self, values: Tensor) -> Tensor:
        """See `Factor`."""
        return _solved(self.lower, values, upper=False)

    def colour_back(self, values: Tensor) -> Tensor:
        """See `Factor`."""
        return _times(self.lower.mT, values)

    def whiten_back(self, values: Tensor) -> Tensor:
        """See `Factor`."""
        return _solved(self.lower.mT, values, upper=True)


def _times(matrix: Tensor, values: Tensor) -> Tensor:
    """matrix·values of each row; one product where the matrix is one for all, which would be copied for each else."""
    like = matrix.to(values)
    return (values.mT @ like[0].T).mT if len(like) == 1 else like @ values


def _solved(matrix: Tensor, values: Tensor, upper: bool) -> Tensor:
    like = matrix.to(values)
    if len(like) > 1:
        return torch.linalg.solve_triangular(like, values, upper=upper)
    columns = values.movedim(1, 0)
    return torch.linalg.solve_triangular(like[0], columns.flatten(1), upper=upper).reshape(columns.shape).movedim(0, 1)


@dataclass(frozen=True, eq=False)
class Recursion:
    """The factor of Ornstein–Uhlenbeck noise and a white part: Kalman's filter, O(n) once and O(n) a use.

    With the prediction p of the process from earlier values, y_i = p_i + s_i z_i, p_{i+1} = a_{i+1}(p_i + g_i s_i z_i)
    is y = L z: the innovations z are white (Durbin and Koopman 2012, "Time series analysis by state space methods",
    §4.3).

    Attributes:
        decay: a, the correlation with the place before, (rows or 1, places, 1); 0 at the first.
        gain: g, what a value moves the prediction by, shaped likewise.
        spread: s, standard deviation of a value given those before, shaped likewise.
    """

    decay: Tensor
    gain: Tensor
    spread: Tensor
    by_element: ClassVar[bool] = True

    @classmethod
    def of(cls, length_scale: float, white: float, times: Tensor) -> Recursion:
        """The factor of (1 − white)·exp(−d/length_scale) + white·I at times (rows or 1, places), float64."""
        decay = torch.exp(-times.diff(dim=1, prepend=times[:, :1]) / length_scale)
        decay[:, :1] = 0
        gains, spreads = [], []
        known = torch.zeros_like(decay[:, 0])  # what earlier values tell of the process' variance
        for a in decay.unbind(1):
            variance = (1 - white) - a.square() * known
            total = variance + white
            gain = variance / total
            known = a.square() * known + gain * variance
            gains.append(gain)
            spreads.append(total.sqrt())
        return cls(decay[..., None], torch.stack(gains, dim=1)[..., None], torch.stack(spreads, dim=1)[..., None])

    @property
    def log_diagonal(self) -> Tensor:
        """See `Factor`."""
        return self.spread[..., 0].log()

    def colour(self, white: Tensor) -> Tensor:
        """See `Factor`."""
        decay, gain, spread = self._like(white)
        moved = spread * white
        return _before(decay, gain * moved, decay) + moved

    def whiten(self, values: Tensor) -> Tensor:
        """See `Factor`."""
        decay, gain, spread = self._like(values)
        kept = decay * _shifted(1 - gain)
        return (values - _before(kept, gain * values, decay)) / spread

    def colour_back(self, values: Tensor) -> Tensor:
        """See `Factor`."""
        decay, gain, spread = self._like(values)
        return spread * (values + gain * _after(decay, values, decay))

    def whiten_back(self, values: Tensor) -> Tensor:
        """See `Factor`."""
        decay, gain, spread = self._like(values)
        scaled = values / spread
        return scaled - gain * _after(decay * _shifted(1 - gain), scaled, decay)

    def _like(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.decay.to(values), self.gain.to(values), self.spread.to(values)


def scan(decay: Tensor, values: Tensor) -> Tensor:
    """h_i = decay_i·h_{i−1} + values_i along dimension 1, from h = 0: O(n) in all, in 2 log₂ n vectorised steps.

    Pairs of steps are one step of half the recursion (Blelloch 1990, "Prefix sums and their applications").

    Args:
        decay: (rows or 1, places, 1).
        values: (rows, places, columns).
    """
    places = values.shape[1]
    if places < 2:
        return values
    even, odd = values[:, : places - 1 : 2], values[:, 1::2]
    later = decay[:, 1::2]
    at_odd = scan(decay[:, : places - 1 : 2] * later, odd + later * even)
    out = torch.empty_like(values)
    out[:, 1::2] = at_odd
    out[:, 0] = values[:, 0]
    rest = values[:, 2::2]
    out[:, 2::2] = rest + decay[:, 2::2] * at_odd[:, : rest.shape[1]]
    return out


def _before(kept: Tensor, values: Tensor, decay: Tensor) -> Tensor:
    """p_i = kept_i·p_{i−1} + decay_i·values_{i−1}: what earlier values say of a place."""
    return scan(kept, decay * _shifted(values))


def _after(kept: Tensor, values: Tensor, decay: Tensor) -> Tensor:
    """The transpose of `_before`: c_j = decay_{j+1}·q_{j+1} with q_i = values_i + kept_{i+1}·q_{i+1}."""
    ahead = torch.cat([kept[:, 1:], torch.zeros_like(kept[:, :1])], dim=1)
    summed = scan(ahead.flip(1), values.flip(1)).flip(1)
    weighted = decay * summed
    return torch.cat([weighted[:, 1:], torch.zeros_like(weighted[:, :1])], dim=1)


def _shifted(values: Tensor) -> Tensor:
    """The value before, 0 at the first place."""
    return torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)
