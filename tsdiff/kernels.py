"""A fixed family of Gaussian-process kernels of series, and which of them explains observed values best.

No one covariance of windows suits a model of many kinds of series: an observed value moves its neighbours one way in a
random walk, another way in a load curve. This family spans level (a walk, a smooth trend, a short or a long memory),
season (its shape fixed, slowly changing, or within a longer one) and noise. For each pattern of observed values the
evidence of every member is found at once (Rasmussen and Williams 2006, eq. 2.30, with the variance in closed form), and
the best one, scaled to the series, is the covariance that guidance uses (`tsdiff.guidance`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from tsdiff.covariance import RANK, WindowCovariance

_LEVEL_VARIANCE = 4.0
"""Of the unknown constant of a window, in units of the context's deviation."""

_JITTER = 1e-4
_PRIOR_WEIGHT = 2.0
"""Observations' worth of belief that a kernel's variance is as it stands."""

_MOST_OBSERVED = 240
"""The latest observed values that the evidence is of; more cost time and hardly change the choice."""


@dataclass(frozen=True)
class KernelBank:
    """Kernels over the steps of a window.

    Attributes:
        matrices: (kernels, length, length) float64.
        names: what each is, for tables.
    """

    matrices: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def choose(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """The kernel of highest evidence for each row, and the factor on its variance.

        Args:
            values: (rows, length) in units of the context's deviation.
            observed: of 0 and 1, shaped like `values`; rows without any take the first kernel.

        Returns:
            kernel (rows,) long and variance (rows,) float64.
        """
        kernels = torch.zeros(len(values), dtype=torch.long)
        variances = torch.ones(len(values), dtype=torch.float64)
        masks, pattern = torch.unique(observed, dim=0, return_inverse=True)
        for place, mask in enumerate(masks):
            rows = torch.nonzero(pattern == place)[:, 0]
            seen = torch.nonzero(mask > 0)[:, 0][-_MOST_OBSERVED:]
            if len(seen):
                kernels[rows], variances[rows] = self._best(values[rows][:, seen].double(), seen)
        return kernels, variances

    def _best(self, values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        count = len(seen)
        eye = torch.eye(count, dtype=torch.float64)
        best = torch.full((len(values),), -torch.inf, dtype=torch.float64)
        kernels, variances = torch.zeros(len(values), dtype=torch.long), torch.ones(len(values), dtype=torch.float64)
        for kernel, matrix in enumerate(self.matrices):
            factor = torch.linalg.cholesky(matrix[seen][:, seen] + _JITTER * eye)
            white = torch.linalg.solve_triangular(factor, values.T, upper=False)
            variance = (white.square().sum(0) + _PRIOR_WEIGHT) / (count + _PRIOR_WEIGHT)
            evidence = -0.5 * (count + _PRIOR_WEIGHT) * variance.log() - factor.diagonal().log().sum()
            better = evidence > best
            best = torch.where(better, evidence, best)
            kernels = torch.where(better, torch.full_like(kernels, kernel), kernels)
            variances = torch.where(better, variance, variances)
        return kernels, variances


@lru_cache(maxsize=64)
def _directions(length: int, season: float, kernel: int) -> WindowCovariance:
    return _directions_of(kernel_bank(length, season).matrices[kernel])


def _directions_of(matrix: Tensor) -> WindowCovariance:
    """The leading directions of a covariance matrix (length, length), and one variance for the rest."""
    values, vectors = torch.linalg.eigh(matrix + _JITTER * torch.eye(len(matrix), dtype=matrix.dtype))
    kept = min(RANK, len(matrix))
    values, vectors = values.flip(0), vectors.flip(1)
    rest = float(values[kept:].mean()) if kept < len(matrix) else float(values[-1])
    return WindowCovariance(vectors[:, :kept].contiguous(), values[:kept].clamp_min(rest), rest)


def bank_covariance(length: int, season: float, kernel: int, variance: float) -> WindowCovariance:
    """A member of `kernel_bank(length, season)` times `variance`; its directions are kept for the next call."""
    found = _directions(length, season, kernel)
    return WindowCovariance(found.directions, found.variances * variance, found.rest * variance)


@lru_cache(maxsize=16)
def kernel_bank(length: int, season: float) -> KernelBank:
    """The family for windows of `length` steps with a primary season of `season` steps; 0 where there is none.

    A level, a season and noise, weighted against each other, each of variance about 1.
    """
    steps = np.arange(length, dtype=np.float64)
    apart = np.abs(steps[:, None] - steps)
    level = _levels(steps, apart, season)
    seasonal = _seasons(apart, season)
    matrices, names = [], []
    for (trend, a), (wave, b) in product(level.items(), seasonal.items()):
        for share, noise in product((0.15, 0.5, 0.85) if wave != "none" else (1.0,), (0.003, 0.03, 0.2)):
            smooth = share * a + (1 - share) * b
            matrix = (1 - noise) * smooth + noise * np.eye(length) + _LEVEL_VARIANCE
            matrices.append(matrix)
            names.append(f"{trend} {share:g}, {wave}, noise {noise:g}")
    return KernelBank(torch.from_numpy(np.stack(matrices)), tuple(names))


def _levels(steps: np.ndarray, apart: np.ndarray, season: float) -> dict[str, np.ndarray]:
    unit = season if season >= 4 else 12.0
    walk = np.minimum(steps[:, None], steps) / 30.0
    bend = np.sqrt(3) * apart / 60.0
    return {
        "short memory": np.exp(-apart / max(unit / 8, 1.0)),
        "memory of a season": np.exp(-apart / unit),
        "memory of seasons": np.exp(-apart / (6 * unit)),
        "walk": walk,
        "trend": 4 * (1 + bend) * np.exp(-bend),
    }


def _seasons(apart: np.ndarray, season: float) -> dict[str, np.ndarray]:
    found = {"none": np.zeros_like(apart)}
    if not season:
        return found
    length = len(apart)
    wave = _periodic(apart, season, 0.5)
    sharp = _periodic(apart, season, min(0.5, max(0.15, 2.0 / season)))
    found["fixed season"] = sharp
    found["changing season"] = wave * np.exp(-apart / (4 * season))
    longer = 7 * season if season >= 8 and 7 * season <= length / 2 and season not in (12.0,) else 0.0
    if longer:
        week = sharp * _periodic(apart, longer, 0.3)
        found["season within a longer one"] = 0.4 * sharp + 0.6 * week * np.exp(-apart / (4 * longer))
    return found


def _periodic(apart: np.ndarray, season: float, width: float) -> np.ndarray:
    """MacKay's periodic kernel (Rasmussen and Williams 2006, eq. 4.31), less its mean, of variance 1."""
    kernel = np.exp(-2 * np.sin(np.pi * apart / season) ** 2 / width**2)
    angles = np.pi * np.arange(512) / 512
    mean = float(np.exp(-2 * np.sin(angles) ** 2 / width**2).mean())
    return (kernel - mean) / (1 - mean)
