"""The energy of a window that refinement lowers or draws from (Kollovieh et al. 2023, §4).

    E(y) = −log p_θ(y) + λ·R(y, ỹ)

−log p_θ is bounded, up to a constant, by the denoising loss (Kingma et al. 2021, eq. 15):

    −log p_θ(y) ≤ ½∫ E_ε|ε − ε̂|² d log(α²/σ²) ≈ Σ_k w_k·(α_k²/σ_k²)·E_ε|y − x̂_0(α_k y + σ_k ε)|²,

at representative levels k of spacing w_k in log(α/σ); the published code takes one level, of weight 1. For Gaussian
data and their true denoiser the integral is exact. The expectation over ε is taken over one pair of draws ±ε: the term
that is odd in ε, whose gradient is far larger than the energy's own at low noise, cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.mcmc import Evaluation
from shared.random import Generators, randn
from shared.sde import SDE
from tsdiff.refine.config import Prior


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
        gaps = [b - a for a, b in zip(log_snrs[:-1], log_snrs[1:], strict=True)]
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
        shape: of the windows.
        generators: of the noise, one for each window.
        device: of the windows.
    """

    def __init__(
        self,
        denoiser: Callable[[Tensor, Tensor], Tensor],
        sde: SDE,
        levels: Levels,
        shape: Sequence[int],
        generators: Generators,
        device: torch.device,
    ):
        self.denoiser, self.levels, self.shape = denoiser, levels, tuple(shape)
        self.generators, self.device = generators, device
        self.alphas = sde.alpha(levels.times).tolist()
        self.sigmas = sde.sigma(levels.times).tolist()
        self.calls = 0
        self.redraw()

    def redraw(self) -> None:
        """New noise, the same for all evaluations until the next call."""
        self.noise = [randn(self.shape, self.generators, device=self.device) for _ in self.levels.weights]

    def __call__(self, x: Tensor) -> Evaluation:
        """Energy (batch,), float64, and gradient like x, at windows x (batch, ...)."""
        energy = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        gradient = torch.zeros_like(x)
        with torch.inference_mode(False), torch.enable_grad():
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
        t = self.levels.times[level].to(x.device, x.dtype).expand(len(x))
        denoised = self.denoiser(self.alphas[level] * x + self.sigmas[level] * noise, t)
        factor = 0.5 * self.levels.weights[level] * self.levels.snrs[level]
        return factor * (x - denoised).square().flatten(1).double().sum(1)


@dataclass(frozen=True)
class BasePrior:
    """λ·R(y, ỹ): how far a sample is from the base forecast, where there is one.

    Attributes:
        base: ỹ (batch, ...), anything where there is none.
        where: 1 where the base forecast says something, else 0, shaped like `base`.
        kind: "mse" or "quantile".
        scale: λ.
        levels: quantile level of each sample, (batch,).
    """

    base: Tensor
    where: Tensor
    kind: Prior
    scale: float
    levels: Tensor

    def __call__(self, x: Tensor) -> Evaluation:
        """Energy (batch,), float64, and gradient like x."""
        gap = (self.base - x) * self.where
        if self.kind == "mse":
            value, slope = gap.square(), -2 * gap
        else:
            q = self.levels.reshape(-1, *([1] * (x.ndim - 1)))
            value = torch.maximum(q * gap, (q - 1) * gap)
            slope = torch.where(gap > 0, -q, torch.where(gap < 0, 1 - q, torch.zeros_like(q)))
        return Evaluation(self.scale * value.flatten(1).double().sum(1), self.scale * slope)

    @property
    def stiffness(self) -> float:
        """Its curvature."""
        return 2 * self.scale if self.kind == "mse" else 0.0
