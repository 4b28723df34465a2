"""The covariance of training windows, and what it says of a clean window given a noisy one and observed values.

For Gaussian windows of covariance Σ, x_0 given x_t has covariance C = (Σ⁻¹ + (α²/σ²)I)⁻¹ whatever x_t is, and the
observed values y = M x_0 + r·noise move its mean by C Mᵀ(M C Mᵀ + r²I)⁻¹(y − M x̂_0): Kalman's update with x̂_0 as the
forecast. That this is second-order Tweedie, C = (σ²/α)·∂x̂_0/∂x_t, is eq. 4 of Boys et al. 2023 (TMPD).

Σ is kept as its leading directions and one variance for all others, so that a step costs a small Cholesky for each
pattern of observed values, shared by all samples that have it. Where the path's noise has a colour, S = L Lᵀ in the
place of I, Σ and S are brought to diagonal form together: Σ = U Λ Uᵀ and S = U Uᵀ with U = L V, V the eigenvectors of
L⁻¹ΣL⁻ᵀ; then C = U (Λ⁻¹ + (α²/σ²)I)⁻¹ Uᵀ, as before but with directions that are not orthonormal, as many as values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.noise import Noise
from shared.samplers.laws import Gaussian

RANK = 256
"""Most directions kept: of M4's windows of 360 hours they hold 99.7 % of the variance."""

_SMALLEST = 1e-8
_LEVEL = 1.0
"""In the network's units, in which training windows have a deviation of 1; ten times more or less changes nothing."""
_LARGEST_MATRIX = 4096


@dataclass(frozen=True)
class WindowCovariance:
    """Σ = U diag(variances) Uᵀ + rest·(I − UUᵀ), of windows flattened to n = length·channels values.

    Attributes:
        directions: U, (n, rank), orthonormal columns, unless made by `seen_through`.
        variances: (rank,), none below `rest`.
        rest: variance in every other direction; 0 where there is none.
    """

    directions: Tensor
    variances: Tensor
    rest: float

    @classmethod
    def of(cls, windows: np.ndarray, rank: int = RANK) -> WindowCovariance:
        """The covariance of windows (count, length, channels) in the network's units, all finite.

        Raises:
            ConfigError: fewer than two windows.
        """
        if len(windows) < 2:
            raise ConfigError(f"{len(windows)} windows tell no covariance; need at least two")
        flat = windows.reshape(len(windows), -1).astype(np.float64)
        flat -= flat.mean(axis=0)
        total = float(np.square(flat).sum()) / len(flat)
        # The smaller of the two products has the same eigenvalues.
        wide = flat.shape[1] > len(flat)
        values, vectors = np.linalg.eigh((flat @ flat.T if wide else flat.T @ flat) / len(flat))
        kept = min(rank, flat.shape[1])
        values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
        if wide:
            vectors = np.linalg.qr(flat.T @ vectors)[0]
        values = np.pad(values, (0, kept - len(values)))
        vectors = np.pad(vectors, ((0, 0), (0, kept - vectors.shape[1])))
        rest = max((total - float(values.sum())) / max(flat.shape[1] - kept, 1), _SMALLEST)
        return cls(torch.from_numpy(vectors.copy()), torch.from_numpy(np.maximum(values, rest)), rest)

    def law(self, length: int) -> Gaussian:
        """The law of windows (length, channels) of this covariance and mean 0, for the core's samplers."""
        directions = self.directions.double().T.reshape(len(self.variances), length, -1)
        return Gaussian(torch.zeros_like(directions[0]), directions, self.variances.double(), self.rest)

    @property
    def n(self) -> int:
        """Values in a window."""
        return self.directions.shape[0]

    def seen_through(self, noise: Noise | None, length: int) -> WindowCovariance:
        """The same for windows of `length` steps whose noise is this: what `given_noisy` gives is then the C of it.

        Raises:
            ConfigError: noise that is not Gaussian, or windows of so many values that the matrix does not fit.
        """
        if noise is None:
            return self
        if not noise.gaussian or self.n > _LARGEST_MATRIX:
            raise ConfigError(
                f"covariance='window' with {self.n} values a window and {noise}: need Gaussian noise and at most "
                f"{_LARGEST_MATRIX} values; take covariance='tweedie', or a conditional model"
            )
        directions = self.directions.double()
        spread = (directions * (self.variances - self.rest)) @ directions.T + self.rest * torch.eye(self.n).double()

        def along(matrix: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
            return function(matrix.T.reshape(self.n, length, -1)).flatten(1).T

        half = along(spread, noise.whiten)
        values, vectors = torch.linalg.eigh(along(half.T, noise.whiten))
        return WindowCovariance(along(vectors, noise.colour), values.clamp_min(_SMALLEST), 0.0)

    def of_any_level(self, channels: int) -> WindowCovariance:
        """The same for windows whose channels may each lie higher or lower as a whole, by a deviation of `_LEVEL`.

        Training windows are scaled by all of their context, which fixes its mean, or its last value: there they tell a
        missing value from the sum of all others. In a window that was scaled by a part of its context they do not.

        Args:
            channels: that have a level of their own, in turn; lagged copies have that of their channel.
        """
        level = _LEVEL * torch.eye(channels).double().repeat(self.n // channels, 1)
        directions = self.directions.double()
        basis = torch.linalg.qr(torch.cat([directions, level], dim=1))[0]
        own, shift = basis.T @ directions, basis.T @ level
        whole = (own * (self.variances.double() - self.rest)) @ own.T + shift @ shift.T
        values, vectors = torch.linalg.eigh(whole)
        return WindowCovariance(basis @ vectors, values.clamp_min(0) + self.rest, self.rest)

    def given_noisy(self, alpha: float, sigma: float) -> tuple[Tensor, float]:
        """Variances of x_0 given x_t: along the directions (rank,), and along all others."""
        ratio = (alpha / sigma) ** 2
        return self.variances / (1 + ratio * self.variances), self.rest / (1 + ratio * self.rest)


class ObservedCovariance:
    """A `WindowCovariance` seen through each row's mask of observed values.

    Args:
        covariance: of the windows.
        observed: (batch, length, channels) of 0 and 1.

    Raises:
        ConfigError: windows of another size than the covariance's.
    """

    def __init__(self, covariance: WindowCovariance, observed: Tensor):
        if observed[0].numel() != covariance.n:
            raise ConfigError(
                f"windows of {observed[0].numel()} values, but the covariance is of {covariance.n}; "
                "measure it again, or use covariance='scalar'"
            )
        device = observed.device
        self.covariance = WindowCovariance(
            covariance.directions.to(device, torch.float64),
            covariance.variances.to(device, torch.float64),
            covariance.rest,
        )
        self.observed = observed.flatten(1).double()
        masks, self.pattern = torch.unique(self.observed, dim=0, return_inverse=True)
        self.inner = [self._inner(mask) for mask in masks]

    def _inner(self, mask: Tensor) -> Tensor:
        seen = self.covariance.directions[mask > 0]
        return seen.T @ seen

    def prediction(self, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """The mean of clean windows given noisy ones x (batch, length, channels), of windows of mean 0: (α/σ²)·C·x."""
        flat, directions = x.flatten(1).double(), self.covariance.directions
        leading, rest = self.covariance.given_noisy(alpha, sigma)
        mean = ((flat @ directions) * (leading - rest)) @ directions.T + rest * flat
        return (alpha / sigma**2 * mean).reshape(x.shape).to(x.dtype)

    def update(self, error: Tensor, alpha: float, sigma: float, trust: float) -> Tensor:
        """C Mᵀ(M C Mᵀ + trust²I)⁻¹ applied to `error`: what observed values add to the data prediction.

        Args:
            error: observed less predicted values, (batch, length, channels); 0 where unobserved.
            alpha, sigma: of the noisy window.
            trust: standard deviation of the noise in observed values.
        """
        flat, directions = error.flatten(1).double(), self.covariance.directions
        leading, rest = self.covariance.given_noisy(alpha, sigma)
        # M C Mᵀ + trust²I = noise·I + B Bᵀ with B = M U diag(root); Woodbury's identity inverts it in rank dimensions.
        noise, root = rest + max(trust**2, _SMALLEST), (leading - rest).clamp_min(0).sqrt()
        weights = (flat - self.observed * (self._solve(flat @ directions, noise, root) @ directions.T)) / noise
        moved = ((weights @ directions) * (leading - rest)) @ directions.T + rest * weights
        return moved.reshape(error.shape).to(error.dtype)

    def _solve(self, right: Tensor, noise: float, root: Tensor) -> Tensor:
        """diag(root)·(noise·I + Bᵀ B)⁻¹·diag(root) applied to each row of `right` (batch, rank)."""
        eye = torch.eye(len(root), dtype=right.dtype, device=right.device)
        out = torch.empty_like(right)
        for place, inner in enumerate(self.inner):
            factor = torch.linalg.cholesky(noise * eye + root[:, None] * inner * root)
            rows = self.pattern == place
            out[rows] = torch.cholesky_solve((right[rows] * root).T, factor).T * root
        return out
