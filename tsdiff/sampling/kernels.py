"""A fixed family of Gaussian-process kernels of series, and which of them explains observed values best.

No one covariance of windows suits a model of many kinds of series: an observed value moves its neighbours one way in a
random walk, another way in a load curve. This family spans level (a walk, a smooth trend, a short or a long memory),
season (its shape fixed, slowly changing, or within a longer one) and noise. Its members are compared by how well they
forecast the observed values themselves, one step ahead (the evidence; Rasmussen and Williams 2006, eq. 2.30) and as
many steps as are asked for, from several origins, whose errors tell the variance, too; samples are shared out among the
few best. One Cholesky factorisation K = LLᵀ in order of time has it all: with z = L⁻¹y, the mean of what follows step p
is L[p:, :p]·z[:p], and its variances are the row sums of L[p:, p:]².
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from tsdiff.windows.covariance import RANK, WindowCovariance

_LEVEL_VARIANCE = 4.0
"""Of the unknown constant of a window, in units of the context's deviation."""

_JITTER = 1e-4
_PRIOR_WEIGHT = 2.0
"""Observations' worth of belief that a kernel's variance is as it stands."""

_MOST_OBSERVED = 256
"""The latest observed values that a kernel is chosen by; more cost time and hardly change the choice."""

_KEPT = 6
"""Kernels among which the samples of a series are shared out."""

_CERTAINTY = 8.0
"""How many independent observations the mean score of a kernel counts for."""

_ORIGINS = 8
"""Of the forecasts that a kernel is chosen by."""


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

    def choose(self, values: Tensor, observed: Tensor) -> Choice:
        """The kernels that suit each row's observed values best, what scales them, and how far each is believed.

        A kernel's score is the mean log-density of forecasts of the observed values from several origins, as many
        steps ahead as the longest gap has, plus its evidence a value, both with the variance that fits best.

        Args:
            values: (rows, length) in units of the context's deviation.
            observed: of 0 and 1, shaped like `values`; rows without any take the first kernel.
        """
        rows_count, kept = len(values), min(_KEPT, len(self))
        found = Choice(
            torch.zeros(rows_count, kept, dtype=torch.long),
            torch.ones(rows_count, kept, dtype=torch.float64),
            torch.full((rows_count, kept), 1 / kept, dtype=torch.float64),
        )
        masks, pattern = torch.unique(observed, dim=0, return_inverse=True)
        for place, mask in enumerate(masks):
            rows = torch.nonzero(pattern == place)[:, 0]
            seen = torch.nonzero(mask > 0)[:, 0][-_MOST_OBSERVED:]
            if not len(seen):
                continue
            scores, variances = self._scores(values[rows][:, seen].double(), seen, _longest_gap(mask))
            top = scores.topk(kept, dim=0)
            found.kernels[rows] = top.indices.T
            found.variances[rows] = variances.gather(0, top.indices).T
            found.weights[rows] = torch.softmax(_CERTAINTY * top.values, dim=0).T
        return found

    def _scores(self, values: Tensor, seen: Tensor, ahead: int) -> tuple[Tensor, Tensor]:
        """Score and variance of each kernel for rows of values (rows, n) at the steps `seen`, (kernels, rows) each."""
        count = len(seen)
        block = max(1, min(ahead, count // 3))
        first = min(max(count // 3, 1), count - block)
        origins = sorted({round(p) for p in np.linspace(first, count - block, _ORIGINS)})
        eye = torch.eye(count, dtype=torch.float64)
        scores, variances = [], []
        for matrix in self.matrices:
            factor = torch.linalg.cholesky(matrix[seen][:, seen] + _JITTER * eye)
            white = torch.linalg.solve_triangular(factor, values.T, upper=False)
            squares, logs = torch.zeros(len(values), dtype=torch.float64), 0.0
            for p in origins:
                end = p + block
                error = values.T[p:end] - factor[p:end, :p] @ white[:p]
                spread = factor[p:end, p:end].square().sum(1)
                squares += (error.square() / spread[:, None]).sum(0)
                logs += float(spread.log().sum())
            weight = len(origins) * block
            # Errors of overlapping blocks and of neighbouring steps go together: a few tell less than their number.
            variance = (squares / weight * count + _PRIOR_WEIGHT) / (count + _PRIOR_WEIGHT)
            whole = (white.square().sum(0) + _PRIOR_WEIGHT) / (count + _PRIOR_WEIGHT)
            evidence = -0.5 * (1 + _PRIOR_WEIGHT / count) * whole.log() - factor.diagonal().log().mean()
            scores.append(evidence - 0.5 * (variance.log() + logs / weight))
            variances.append(variance)
        return torch.stack(scores), torch.stack(variances)


@dataclass(frozen=True)
class Choice:
    """Kernels for each row.

    Attributes:
        kernels: (rows, kept) long, the best first.
        variances: factors on their variance, (rows, kept).
        weights: how far each is believed, (rows, kept), adding up to 1.
    """

    kernels: Tensor
    variances: Tensor
    weights: Tensor

    def picked(self, rows: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
        """One kernel and variance for each of `rows`, by numbers of uniform chance in 0 … 1, (n,) each."""
        cumulative = self.weights[rows].cumsum(1)
        place = (chances[:, None] > cumulative).sum(1).clamp_max(self.weights.shape[1] - 1)
        return self.kernels[rows, place], self.variances[rows, place]


def _longest_gap(mask: Tensor) -> int:
    """Most steps in a row that are not observed after the first that is."""
    seen = torch.nonzero(mask > 0)[:, 0]
    ends = torch.cat([seen, torch.tensor([len(mask)])])
    return max(1, int((ends[1:] - ends[:-1]).max()) - 1)


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


@lru_cache(maxsize=2)  # each takes a hundred megabytes and more
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
        for share, noise in product((0.25, 0.7) if wave != "none" else (1.0,), (0.003, 0.03, 0.2)):
            smooth = share * a + (1 - share) * b
            matrix = (1 - noise) * smooth + noise * np.eye(length) + _LEVEL_VARIANCE
            matrices.append(matrix)
            names.append(f"{trend} {share:g}, {wave}, noise {noise:g}")
    return KernelBank(torch.from_numpy(np.stack(matrices)), tuple(names))


def _levels(steps: np.ndarray, apart: np.ndarray, season: float) -> dict[str, np.ndarray]:
    unit = season if season >= 4 else 12.0
    walk = np.minimum(steps[:, None], steps) / 30.0
    return {
        "short memory": np.exp(-apart / max(unit / 8, 1.0)),
        "memory of a season": np.exp(-apart / unit),
        "memory of seasons": np.exp(-apart / (6 * unit)),
        "walk": walk,
        "smooth": _matern(apart, max(unit / 3, 3.0)),
        "smooth on two scales": 0.3 * _matern(apart, max(unit / 3, 3.0)) + _matern(apart, 5 * unit),
        "trend": 4 * _matern(apart, 60.0),
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
    found["slowly changing season"] = sharp * np.exp(-apart / (20 * season))
    longer = 7 * season if season >= 8 and 7 * season <= length / 2 and season != 12 else 0.0
    if longer:
        week = sharp * _periodic(apart, longer, 0.3)
        found["season within a longer one"] = 0.4 * sharp + 0.6 * week * np.exp(-apart / (4 * longer))
    return found


def _matern(apart: np.ndarray, scale: float) -> np.ndarray:
    """Matérn's kernel of smoothness 3/2 (Rasmussen and Williams 2006, eq. 4.17)."""
    bend = np.sqrt(3) * apart / scale
    return (1 + bend) * np.exp(-bend)


def _periodic(apart: np.ndarray, season: float, width: float) -> np.ndarray:
    """MacKay's periodic kernel (Rasmussen and Williams 2006, eq. 4.31), less its mean, of variance 1."""
    kernel = np.exp(-2 * np.sin(np.pi * apart / season) ** 2 / width**2)
    angles = np.pi * np.arange(512) / 512
    mean = float(np.exp(-2 * np.sin(angles) ** 2 / width**2).mean())
    return (kernel - mean) / (1 - mean)
