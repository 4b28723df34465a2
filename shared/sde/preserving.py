"""Processes around zero: variance preserving, sub-VP, variance exploding, straight, and any discrete β table."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Le
from torch import Tensor

from shared.checks import Checked, Count, NonNegative, Positive, checked, require
from shared.errors import ConfigError
from shared.noise import Noise
from shared.sde.base import SDE, TimeLike

_LONGEST_TABLE = 100_000
_Steps = Annotated[Count, Le(_LONGEST_TABLE)]
_NEWTON_STEPS = 40
"""Most of Newton's steps, kept in a shrinking bracket, that invert a cubic piece; a flat end needs the most."""


@dataclass(frozen=True)
class LinearBeta(Checked):
    """B(t) = ∫β for β(t) rising linearly from beta_min to beta_max, and its inverse."""

    beta_min: NonNegative = 0.1
    beta_max: Positive = 20.0

    def _related(self) -> None:
        self._require(self.beta_min <= self.beta_max, "beta_min beta_max", "need beta_min <= beta_max")

    def _beta(self, t: Tensor) -> Tensor:
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def _beta_integral(self, t: Tensor) -> Tensor:
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def _time_of_beta_integral(self, integral: Tensor) -> Tensor:
        slope = self.beta_max - self.beta_min
        # The root written so that it neither cancels for small integrals nor divides by a zero slope.
        root = 2 * integral / (self.beta_min + (self.beta_min**2 + 2 * slope * integral).sqrt())
        return torch.where((integral == 0) | torch.isinf(integral), integral, root)  # the ends, where it may be 0/0


class BetaPath(SDE):
    """The variance-preserving path of a noise rate β: α² = e^{−B}, σ² = 1 − e^{−B}, with B = ∫β."""

    discretization = "exact"
    t_end = 1e-3
    prior_std = 1.0

    @abstractmethod
    def _beta(self, t: Tensor) -> Tensor:
        """β(t)."""

    @abstractmethod
    def _beta_integral(self, t: Tensor) -> Tensor:
        """B(t)."""

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self._beta_integral(t))

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return -0.5 * self._beta(t) * self._alpha(t)

    def _variance(self, t: Tensor) -> Tensor:
        return self._variance_of(self._beta_integral(t))

    @staticmethod
    def _variance_of(integral: Tensor) -> Tensor:
        """σ² of B."""
        return -torch.expm1(-integral)

    def _path(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        integral = self._beta_integral(t)
        alpha, variance = torch.exp(-0.5 * integral), self._variance_of(integral)
        return alpha, variance, variance / alpha

    def _variance_dot(self, t: Tensor) -> Tensor:
        return self._beta(t) * torch.exp(-self._beta_integral(t))


@dataclass(frozen=True)
class VPSDE(LinearBeta, BetaPath):
    """Variance preserving with β rising linearly (Song et al. 2021, eq. 11)."""

    kind: Literal["vp"] = field(default="vp", kw_only=True, repr=False)

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        return self._time_of_beta_integral(torch.nn.functional.softplus(-2 * lam, threshold=700))


@dataclass(frozen=True)
class SubVPSDE(LinearBeta, BetaPath):
    """Sub-VP: α² = e^{−B}, σ = 1 − e^{−B} (Song et al. 2021, eq. 14)."""

    kind: Literal["sub_vp"] = field(default="sub_vp", kw_only=True, repr=False)

    @staticmethod
    def _variance_of(integral: Tensor) -> Tensor:
        return torch.expm1(-integral).square()

    def _variance_dot(self, t: Tensor) -> Tensor:
        integral = self._beta_integral(t)
        return -2 * torch.expm1(-integral) * torch.exp(-integral) * self._beta(t)

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        return self._time_of_beta_integral(2 * torch.asinh(0.5 * torch.exp(-lam)))


class GeometricSigma:
    """σ = σ_min (σ_max/σ_min)^t, which is σ_min and not 0 at t = 0."""

    sigma_min: float
    sigma_max: float
    t_end = 1e-5

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def _variance(self, t: Tensor) -> Tensor:
        return self.sigma_min**2 * torch.exp(2 * self._log_ratio * t)

    def _variance_dot(self, t: Tensor) -> Tensor:
        return 2 * self._log_ratio * self._variance(t)


@dataclass(frozen=True)
class VESDE(GeometricSigma, SDE):
    """Variance exploding: α = 1, σ = σ_min (σ_max/σ_min)^t (Song et al. 2021, eq. 30). σ(0) is σ_min, not 0."""

    sigma_min: Positive = 0.01
    sigma_max: Positive = 50.0
    discretization = "exact"
    kind: Literal["ve"] = field(default="ve", kw_only=True, repr=False)

    def _related(self) -> None:
        self._require(self.sigma_min < self.sigma_max, "sigma_min sigma_max", "need sigma_min < sigma_max")

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        return (-lam - math.log(self.sigma_min)) / self._log_ratio


class FromNothing(SDE):
    """A process that ends where nothing of the data is left, α = 0 and σ > 0; sampling goes down to clean data."""

    t_end = 0.0
    t_min = 1e-3


@dataclass(frozen=True)
class FlowSDE(FromNothing):
    """The straight path of flow matching, α = 1 − t, σ = scale·t (Lipman et al. 2023; Liu et al. 2023, rectified flow).

    At t = 1 nothing of the data is left: α = 0, σ = scale. Drift and diffusion are infinite there, the path and the
    probability-flow ODE are not. Around an anchor it leads from y + scale·ε to the data.

    Args:
        scale: standard deviation of the noise at t = 1.
    """

    scale: Positive = 1.0
    discretization = "exact"
    kind: Literal["flow"] = field(default="flow", kw_only=True, repr=False)

    def _alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def _variance(self, t: Tensor) -> Tensor:
        return (self.scale * t).square()

    def _variance_dot(self, t: Tensor) -> Tensor:
        return 2 * self.scale**2 * t

    def _diffusion_squared(self, t: Tensor) -> Tensor:
        return 2 * self.scale**2 * t / (1 - t)

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        return torch.sigmoid(-lam - math.log(self.scale))


@dataclass(frozen=True, init=False)
class DiscreteVPSDE(BetaPath):
    """A table of N betas (Ho et al. 2020, "DDPM") as a continuous path through its points, exact at them.

    Step n of the table (0-based) is t = (n + 1)/N, where α² = ∏(1 − β_i) over i ≤ n; t = 0 is clean data. Between
    the points, −log α² is a monotone cubic (Fritsch–Carlson), so that drift and diffusion are continuous.

    Args:
        betas: the table, each in (0, 1), up to 100,000 of them; see `linear_betas` and `cosine_betas`.
        noise: the law of ε; None means white.

    Raises:
        ConfigError: the table is empty, too long, or holds a value outside (0, 1).
    """

    betas: tuple[float, ...]
    kind: Literal["discrete_vp"] = field(default="discrete_vp", kw_only=True, repr=False)
    t_end = 0.0

    def __init__(self, betas: Sequence[float] | Tensor | np.ndarray, *, noise: Noise | None = None) -> None:
        try:
            values = np.asarray(betas.detach().cpu() if isinstance(betas, Tensor) else betas, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"betas must be a list of numbers, not {betas!r}") from error
        listed = values.ndim == 1 and 0 < len(values) <= _LONGEST_TABLE
        require(listed, f"betas need to be a list of 1 to {_LONGEST_TABLE} numbers", shape=values.shape)
        bad = values[~((values > 0) & (values < 1))]
        require(len(bad) == 0, "each needs to lie in (0, 1)", betas=bad[:3])
        object.__setattr__(self, "betas", tuple(values.tolist()))
        object.__setattr__(self, "noise", noise)
        self.__post_init__()

    def __len__(self) -> int:
        return len(self.betas)

    def time_of_step(self, step: Tensor | int) -> Tensor:
        """The time (n + 1)/N of table step n (0-based), float64."""
        return (torch.as_tensor(step, dtype=torch.float64) + 1) / len(self)

    def step_of_time(self, t: TimeLike) -> Tensor:
        """The table's 0-based step at time t as a real number, −1 at t = 0; shaped like `t`."""
        return self._evaluate(lambda s: s * len(self) - 1, t)

    @cached_property
    def _pieces(self) -> tuple[Tensor, Tensor]:
        """Coefficients (4, N) of −log α² in each interval, and of its derivative (3, N), highest power first."""
        from scipy.interpolate import PchipInterpolator

        integral = np.concatenate([[0.0], -np.cumsum(np.log1p(-np.asarray(self.betas)))])
        curve = PchipInterpolator(np.linspace(0.0, 1.0, len(self) + 1), integral)
        return torch.from_numpy(curve.c.copy()), torch.from_numpy(curve.derivative().c.copy())

    def _polynomial(self, coefficients: Tensor, t: Tensor) -> Tensor:
        interval = (t * len(self)).long().clamp(0, len(self) - 1)
        offset = t - interval.to(t.dtype) / len(self)
        value, *rest = coefficients.to(t.device)[:, interval].unbind()
        for row in rest:
            value = value * offset + row
        return value

    def _beta_integral(self, t: Tensor) -> Tensor:
        return self._polynomial(self._pieces[0], t)

    def _beta(self, t: Tensor) -> Tensor:
        return self._polynomial(self._pieces[1], t)

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        integral = torch.nn.functional.softplus(-2 * lam, threshold=700)
        pieces = self._pieces[0].to(lam.device)
        interval = (torch.searchsorted(pieces[3], integral, right=True) - 1).clamp(0, len(self) - 1)
        cubic, square, slope, constant = pieces[:, interval]
        low, high = torch.zeros_like(lam), torch.full_like(lam, 1 / len(self))
        offset = high / 2
        for _ in range(_NEWTON_STEPS):
            error = ((cubic * offset + square) * offset + slope) * offset + constant - integral
            low, high = torch.where(error < 0, offset, low), torch.where(error < 0, high, offset)
            newton = offset - error / ((3 * cubic * offset + 2 * square) * offset + slope)
            previous = offset
            offset = torch.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
            if bool(((offset - previous).abs() * len(self) < 1e-12).all()):
                break
        return interval.to(lam.dtype) / len(self) + offset

    @property
    def t_min(self) -> float:
        return 1 / len(self)


def linear_betas(steps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> tuple[float, ...]:
    """The linear table of Ho et al. 2020; TSDiff uses 100 steps from 1e-4 to 0.1."""
    steps = checked(_Steps, steps=steps)
    return tuple(np.linspace(beta_start, beta_end, steps).tolist())


def cosine_betas(steps: int, offset: float = 0.008, beta_max: float = 0.999) -> tuple[float, ...]:
    """The cosine table of Nichol and Dhariwal 2021, eq. 17, with betas clipped at `beta_max`."""
    steps = checked(_Steps, steps=steps)
    grid = np.linspace(0.0, 1.0, steps + 1)
    alphas = np.cos((grid + offset) / (1 + offset) * np.pi / 2) ** 2
    return tuple(np.clip(1 - alphas[1:] / alphas[:-1], None, beta_max).tolist())
