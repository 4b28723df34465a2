"""The energy of a window that refinement lowers or draws from (Kollovieh et al. 2023, §4).

    E(y) = −log p_θ(y) + λ·R(y, ỹ)

−log p_θ is bounded, up to a constant, by the denoising loss (Kingma et al. 2021, eq. 15):

    −log p_θ(y) ≤ ½∫ E_ε|ε − ε̂|² d log(α²/σ²) ≈ Σ_k w_k·(α_k²/σ_k²)·E_ε|y − x̂_0(α_k y + σ_k ε)|²,

at representative levels k of spacing w_k in log(α/σ); the published code takes one level, of weight 1. For Gaussian
data and their true denoiser the integral is exact. The expectation over ε is taken over one pair of draws ±ε: the term
that is odd in ε, whose gradient is far larger than the energy's own at low noise, cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from shared.random import Generators, randn
from shared.samplers.mcmc import Evaluation
from shared.sde import SDE
from tsdiff.tasks.refinement.config import Prior

_NEARLY = 0.99
"""Of the way to the base forecast, which a step of the quantile prior goes at most."""


@dataclass(frozen=True)
class Levels:
    """Representative noise levels.

    Attributes:
        times: of the process, (k,), float64.
        log_snrs: log(α/σ) there, ascending.
        weights: of their squared noise errors, which sum to the spacing.
    """

    times: Tensor
    log_snrs: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def at(cls, sde: SDE, log_snrs: Sequence[float]) -> Levels:
        """Trapezoid weights, extended half a spacing at the ends; 1 for a single level."""
        times = sde.time_of_log_snr(torch.tensor(log_snrs, dtype=torch.float64))
        if len(log_snrs) == 1:
            return cls(times, tuple(log_snrs), (1.0,))
        gaps = [b - a for a, b in pairwise(log_snrs)]
        weights = [(a + b) / 2 for a, b in zip([gaps[0], *gaps], [*gaps, gaps[-1]], strict=True)]
        return cls(times, tuple(log_snrs), tuple(weights))

    @property
    def snrs(self) -> list[float]:
        """α²/σ²."""
        return [float(torch.tensor(2 * value).exp()) for value in self.log_snrs]

    @property
    def stiffness(self) -> float:
        """The energy's curvature along a direction that never varies in the data: 2·Σ w·α²/σ²; it is less elsewhere."""
        return 2 * sum(w * r for w, r in zip(self.weights, self.snrs, strict=True))


class DenoisingEnergy:
    """The bound of −log p_θ at noise drawn once, or anew by `redraw`.

    Args:
        denoiser: x_t (batch, ...), t (batch,) → x̂_0.
        sde: its process.
        levels: representative levels.
        shape: of the windows that the denoiser sees.
        generators: of the noise, one for each window.
        device: of the windows.
        windows: what the denoiser sees, from what moves; None where that is the same.
    """

    def __init__(
        self,
        denoiser: Callable[[Tensor, Tensor], Tensor],
        sde: SDE,
        levels: Levels,
        shape: Sequence[int],
        generators: Generators,
        device: torch.device | str = "cpu",
        windows: Callable[[Tensor], Tensor] | None = None,
    ):
        self.denoiser, self.levels, self.shape, self.windows = denoiser, levels, tuple(shape), windows
        self.generators, self.device = generators, device
        self.alphas = sde.alpha(levels.times).tolist()
        self.sigmas = sde.sigma(levels.times).tolist()
        self.stiffness = levels.stiffness
        """Its largest curvature."""
        self.calls = 0
        self.redraw()

    def redraw(self) -> None:
        """New noise, the same for all evaluations until the next call."""
        self.noise = [randn(self.shape, self.generators, device=self.device) for _ in self.levels.weights]

    def __call__(self, x: Tensor) -> Evaluation:
        """Energy (batch,), float64, and gradient like x, at states x (batch, ...)."""
        with torch.inference_mode(False), torch.enable_grad():
            energy = torch.zeros(len(x), dtype=torch.float64, device=x.device)
            gradient = torch.zeros_like(x)
            for level, noise in enumerate(self.noise):
                for sign in (1, -1):
                    state = x.detach().clone().requires_grad_(True)
                    value = self._term(state, level, sign * noise)
                    gradient += torch.autograd.grad(value.sum(), state)[0]
                    energy += value.detach()
        return Evaluation(energy, gradient)

    def _term(self, x: Tensor, level: int, noise: Tensor) -> Tensor:
        """Half of a level's share of the energy, (batch,)."""
        self.calls += 1
        x = x if self.windows is None else self.windows(x)
        t = self.levels.times[level].to(x.device, x.dtype).expand(len(x))
        denoised = self.denoiser(self.alphas[level] * x + self.sigmas[level] * noise, t)
        factor = 0.5 * self.levels.weights[level] * self.levels.snrs[level]
        return factor * (x - denoised).square().flatten(1).double().sum(1)


class ScoreForce:
    """Minus the score of the data with the noise of one level, as a potential that knows its gradient only.

    A chain at temperature 1 draws windows that carry that noise themselves; held values get it here, so that the
    denoiser sees what it was trained on, and so does the rest at lower temperatures. No gradient of the network is
    taken, which makes a call three times as cheap as one of `DenoisingEnergy`, and one call is enough.

    Args:
        denoiser, sde, generators, windows: see `DenoisingEnergy`.
        log_snr: the level.
        noise_scale: standard deviation of the noise that is added, relative to the level's: (batch, length, channels of
            what the denoiser sees).
    """

    def __init__(
        self,
        denoiser: Callable[[Tensor, Tensor], Tensor],
        sde: SDE,
        log_snr: float,
        noise_scale: Tensor,
        generators: Generators,
        windows: Callable[[Tensor], Tensor] | None = None,
    ):
        self.denoiser, self.noise_scale, self.generators, self.windows = denoiser, noise_scale, generators, windows
        time = Levels.at(sde, [log_snr]).times
        self.time, self.alpha, self.sigma = float(time), float(sde.alpha(time)), float(sde.sigma(time))
        self.stiffness = (self.alpha / self.sigma) ** 2
        """Its largest curvature, along a direction that never varies in the data."""
        self.calls = 0
        self.redraw()

    def redraw(self) -> None:
        """New noise, the same for all evaluations until the next call."""
        noise = randn(self.noise_scale.shape, self.generators, device=self.noise_scale.device)
        self.noise = self.sigma * self.noise_scale * noise

    def __call__(self, x: Tensor) -> Evaluation:
        """The force α²/σ²·(x − x̂_0), like x; no energy."""
        return Evaluation(None, self.stiffness * (x - self.denoised(x)))

    def denoised(self, x: Tensor) -> Tensor:
        """x̂_0 of the series' own channels, like x."""
        self.calls += 1
        seen = x if self.windows is None else self.windows(x)
        t = torch.full((len(x),), self.time, dtype=x.dtype, device=x.device)
        with torch.no_grad():
            return self.denoiser(self.alpha * seen + self.noise, t)[..., : x.shape[-1]]

    def without_noise(self, x: Tensor, share: float = 1.0) -> Tensor:
        """States x without the share of the level's variance that they carry: one Euler step in σ² of the
        probability-flow equation.

        For Gaussian data of variance Λ, x has variance Λ + σ²/α², and the result Λ up to the square of that.
        """
        return x - 0.5 * share * (x - self.denoised(x))


@dataclass(frozen=True)
class BasePrior:
    """λ·R(y, ỹ): how far a sample is from the base forecast, where there is one.

    Attributes:
        base: ỹ (batch, ...), anything where there is none.
        where: 1 where the base forecast says something, else 0, shaped like `base`.
        kind: "mse" or "quantile".
        scale: λ.
        levels: quantile level of each sample, (batch,).
        sharpest: curvature to which the kink of "quantile" is rounded in the gradient, so that a step of that size does
            not follow it to the other side of the base forecast and farther; the energy keeps it.
    """

    base: Tensor
    where: Tensor
    kind: Prior
    scale: float
    levels: Tensor
    sharpest: float = math.inf

    def __call__(self, x: Tensor) -> Evaluation:
        """Energy (batch,), float64, and gradient like x."""
        gap = (self.base - x) * self.where
        if self.kind == "mse":
            value, slope = gap.square(), -2 * gap
        else:
            q = self._levels(x)
            value = torch.maximum(q * gap, (q - 1) * gap)
            slope = torch.where(gap > 0, -q, torch.where(gap < 0, 1 - q, torch.zeros_like(q)))
            if math.isfinite(self.sharpest):
                steepest = self.sharpest * gap.abs() / max(self.scale, torch.finfo(gap.dtype).tiny)
                slope = slope.clamp(-steepest, steepest)
        return Evaluation(self.scale * value.flatten(1).double().sum(1), self.scale * slope)

    def drawn(self, x: Tensor, step: float) -> Tensor:
        """States, like x (batch, …), after a step of this size down the "quantile" prior alone, which goes no farther
        than the base forecast: its proximal map (Parikh and Boyd 2014, "Proximal algorithms", §4.2), of a kink that is
        rounded so little that no value sticks to it."""
        gap, q = (self.base - x) * self.where, self._levels(x)
        return x + (_NEARLY * gap).clamp(-self.scale * step * (1 - q), self.scale * step * q)

    def _levels(self, x: Tensor) -> Tensor:
        return self.levels.reshape(-1, *([1] * (x.ndim - 1)))

    @property
    def stiffness(self) -> float:
        """Its curvature."""
        return 2 * self.scale if self.kind == "mse" else 0.0


def with_lags(x: Tensor, lagged: Tensor, lags: Sequence[int]) -> Tensor:
    """Windows (batch, length, network_channels) of a series x (batch, length, channels) and its lagged copies.

    A copy shows the window's own values, those that move too, as far as it can, and before them the history.

    Args:
        x: the window of the series.
        lagged: (batch, length, channels·len(lags)): its lagged copies, of which only the history is read.
        lags: in steps.
    """
    length, channels = x.shape[1:]
    copies = lagged.split(channels, dim=-1)
    shown = [x]
    for copy, lag in zip(copies, lags, strict=True):
        shown.append(torch.cat([copy[:, :lag], x[:, : max(length - lag, 0)]], dim=1))
    return torch.cat(shown, dim=-1)
