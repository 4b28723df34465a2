"""Processes whose drift leads to the anchor y: OUVE, OUVP, BBED, and bridges."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from shared.checks import Level, NonNegative, Positive, Such
from shared.sde.base import SDE
from shared.sde.preserving import FromNothing, GeometricSigma, LinearBeta


@dataclass(frozen=True)
class OUVESDE(SDE):
    """Ornstein–Uhlenbeck variance exploding: dx = θ(y − x)dt + g dw, g² = 2L σ_min² e^{2Lt}, L = log(σ_max/σ_min).

    Richter et al. 2023 (SGMSE+), eq. 6–8. Its prior mean is off by α(1)·(x_0 − y).
    """

    theta: Positive = 1.5
    sigma_min: Positive = 0.05
    sigma_max: Positive = 0.5
    kind: Literal["ouve"] = field(default="ouve", kw_only=True, repr=False)
    t_end = 0.03

    def _related(self) -> None:
        self._require(self.sigma_min < self.sigma_max, "sigma_min sigma_max", "need sigma_min < sigma_max")

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    @property
    def _gamma(self) -> float:
        return self.theta + self._log_ratio

    @property
    def _scale(self) -> float:
        return self.sigma_min**2 * self._log_ratio / self._gamma

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-self.theta * t)

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return -self.theta * self._alpha(t)

    def _variance(self, t: Tensor) -> Tensor:
        return self._scale * torch.exp(-2 * self.theta * t) * torch.expm1(2 * self._gamma * t)

    def _variance_dot(self, t: Tensor) -> Tensor:
        growth, decay = self._log_ratio, self.theta
        return 2 * self._scale * (growth * torch.exp(2 * growth * t) + decay * torch.exp(-2 * decay * t))

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        return torch.log1p(torch.exp(-2 * lam) / self._scale) / (2 * self._gamma)


@dataclass(frozen=True)
class FOUVESDE(GeometricSigma, OUVESDE):
    """OUVE's pull with a log-SNR that is linear in t: α = e^{−θt}, σ = σ_min (σ_max/σ_min)^t.

    g² = 2(θ + log(σ_max/σ_min))σ² ("fOUVE", arXiv 2603.09508). σ(0) is σ_min.
    """

    kind: Literal["fouve"] = field(default="fouve", kw_only=True, repr=False)  # type: ignore[assignment]

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        return -(lam + math.log(self.sigma_min)) / self._gamma


@dataclass(frozen=True)
class ResfusionSDE(LinearBeta, FromNothing):
    """Resfusion's path as one around the noisy y: α = 2c − 1, σ = √(1 − c²), c² = e^{−B}, c from 1 to ½.

    At t = 1, c = ½, nothing of the clean data is left, so that sampling starts from y and noise (Shi et al. 2024,
    "Resfusion"). Its own state is this one less (1 − c)·y: `shared.shift.KnownShift` translates.

    Args:
        beta_min, beta_max: of β, linear over the whole range of VP, of which the part up to c = ½ is used.
    """

    kind: Literal["resfusion"] = field(default="resfusion", kw_only=True, repr=False)

    @cached_property
    def _reach(self) -> float:
        """The time of VP at which c = ½."""
        return float(self._time_of_beta_integral(torch.tensor(2 * math.log(2.0), dtype=torch.float64)))

    def kept(self, t: Tensor) -> Tensor:
        """c(t), shaped like `t`."""
        return torch.exp(-0.5 * self._beta_integral(self._reach * t))

    def _kept_dot(self, t: Tensor) -> Tensor:
        return -0.5 * self._reach * self._beta(self._reach * t) * self.kept(t)

    def _alpha(self, t: Tensor) -> Tensor:
        alpha = 2 * self.kept(t) - 1
        return alpha - torch.where(t < 1, torch.zeros_like(t), alpha.detach())  # 0 at the end, with its derivative

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return 2 * self._kept_dot(t)

    def _variance(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self._beta_integral(self._reach * t))

    def _variance_dot(self, t: Tensor) -> Tensor:
        return -2 * self.kept(t) * self._kept_dot(t)


@dataclass(frozen=True)
class OUVPSDE(LinearBeta, SDE):
    """Ornstein–Uhlenbeck variance preserving: dx = ½sβ(y − x)dt + √β dw, so σ² = (1 − e^{−sB})/s.

    The process that early SGMSE code named so; that code returned σ² where σ was meant, which is put right here.
    """

    beta_max: Positive = 2.0
    stiffness: Positive = 1.0
    kind: Literal["ouvp"] = field(default="ouvp", kw_only=True, repr=False)
    t_end = 0.03

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self.stiffness * self._beta_integral(t))

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return -0.5 * self.stiffness * self._beta(t) * self._alpha(t)

    def _variance(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self.stiffness * self._beta_integral(t)) / self.stiffness

    def _variance_dot(self, t: Tensor) -> Tensor:
        return self._beta(t) * torch.exp(-self.stiffness * self._beta_integral(t))

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        return self._time_of_beta_integral(torch.log1p(self.stiffness * torch.exp(-2 * lam)) / self.stiffness)


class _ExponentialIntegral(torch.autograd.Function):
    """Ei(x), of SciPy, differentiable by torch both ways, in `torch.func` too."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        from scipy.special import expi

        return torch.as_tensor(expi(x.detach().cpu().numpy()), dtype=x.dtype, device=x.device)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.exp() / x

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return tangent * x.exp() / x


def _expi(x: Tensor) -> Tensor:
    return _ExponentialIntegral.apply(x)


class FromRatio(SDE):
    """A process that ends where α and σ both vanish, or nearly, and so states σ²/α."""

    def _variance(self, t: Tensor) -> Tensor:
        return self._alpha(t) * self._variance_over_alpha(t)

    def _path(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        alpha, ratio = self._alpha(t), self._variance_over_alpha(t)
        return alpha, alpha * ratio, ratio


@dataclass(frozen=True)
class BBEDSDE(FromRatio):
    """Brownian bridge with exponential diffusion: dx = (y − x)/(1 − t)dt + √c k^t dw (Lay et al. 2023, eq. 9–12).

    Sampling starts at `t_max` just below 1, where the bridge still has a little noise, as published.
    """

    k: Annotated[Positive, Such("other than 1, where log k vanishes", lambda k: k != 1)] = 2.6
    c: Positive = 0.52
    t_max: Level = 0.999
    kind: Literal["bbed"] = field(default="bbed", kw_only=True, repr=False)
    t_end = 0.03

    @property
    def T(self) -> float:
        return self.t_max

    def _alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def _variance_over_alpha(self, t: Tensor) -> Tensor:
        """(1 − t)·∫₀ᵗ g²(s)/(1 − s)² ds in closed form, by parts, with the exponential integral Ei."""
        log_k = math.log(self.k)
        left = 1 - t
        start = torch.full_like(t, -2 * log_k)
        tail = torch.where(left > 0, left * (_expi(-2 * log_k * left) - _expi(start)), torch.zeros_like(t))
        return self.c * (torch.exp(2 * log_k * t) - left + 2 * log_k * self.k**2 * tail)

    def _variance_dot(self, t: Tensor) -> Tensor:
        return self._variance_dot_of(t, self._variance_over_alpha(t))

    def _variance_dot_of(self, t: Tensor, ratio: Tensor) -> Tensor:
        return self.c * torch.exp(2 * math.log(self.k) * t) - 2 * ratio

    def _diffusion_squared(self, t: Tensor) -> Tensor:
        ratio = self._variance_over_alpha(t)  # once: it takes longest
        return self._variance_dot_of(t, ratio) + 2 * ratio


class BridgeSDE(FromRatio):
    """A process that starts from the anchor itself: at t = 1 α and σ are 0."""

    t_end = 1e-4
    prior_std = 0.0


@dataclass(frozen=True)
class SBVESDE(BridgeSDE):
    """Schrödinger bridge with variance-exploding reference, g² = c k^{2t} (Jukić et al. 2024, Table 1, eq. 9–11).

    With s_t² = c(k^{2t} − 1)/(2 log k), which is c·t for k = 1, and s̄_t² = s_1² − s_t²: α = s̄_t²/s_1²,
    σ = s_t s̄_t/s_1. At t = 1 both are 0: the bridge starts from the anchor itself.
    """

    k: Positive = 2.6
    c: Positive = 0.4
    kind: Literal["sbve"] = field(default="sbve", kw_only=True, repr=False)

    @property
    def _rate(self) -> float:
        return 2 * math.log(self.k)

    def _reference_variance(self, t: Tensor) -> Tensor:
        return self.c * (torch.expm1(self._rate * t) / self._rate if self._rate else t)

    @property
    def _total(self) -> float:
        return self.c * (math.expm1(self._rate) / self._rate if self._rate else 1.0)

    def _growth(self, t: Tensor) -> Tensor:
        return self.c * torch.exp(self._rate * t)

    def _alpha(self, t: Tensor) -> Tensor:
        # s̄_t² from the end of the bridge, where s_1² − s_t² would cancel.
        left = torch.expm1(self._rate * (1 - t)) / self._rate if self._rate else 1 - t
        return self._growth(t) * left / self._total

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return -self._growth(t) / self._total

    def _variance_over_alpha(self, t: Tensor) -> Tensor:
        return self._reference_variance(t)

    def _variance_dot(self, t: Tensor) -> Tensor:
        return self._growth(t) * (1 - 2 * self._reference_variance(t) / self._total)

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        variance = 1 / (torch.exp(2 * lam) + 1 / self._total)
        return torch.log1p(self._rate * variance / self.c) / self._rate if self._rate else variance / self.c


@dataclass(frozen=True)
class VPBridgeSDE(LinearBeta, BridgeSDE):
    """VP given its end: the bridges of DDBM and DBIM (Zhou et al. 2024; Zheng et al. 2025), as a path around that end.

    With α_v = e^{−B/2}, σ_v² = 1 − e^{−B} of VP and q = (e^B − 1)/(e^{B(1)} − 1): α = α_v(1 − q), σ² = σ_v²(1 − q).
    At t = 1 both are 0. Its own state, (α_v q/α_v(1))·y + α·x_0 + σ·ε, is this one after `shared.shift.dbim_shift`.

    Args:
        beta_min, beta_max: of β, linear; the published ones.
    """

    beta_min: NonNegative = 0.1
    beta_max: Positive = 2.1
    kind: Literal["vp_bridge"] = field(default="vp_bridge", kw_only=True, repr=False)

    @property
    def _total(self) -> float:
        """e^{B(1)} − 1."""
        return math.expm1(0.5 * (self.beta_min + self.beta_max))

    def _left(self, t: Tensor) -> Tensor:
        """1 − q, from the end of the bridge, where it would cancel."""
        ahead = (1 - t) * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * (1 + t))
        return torch.exp(self._beta_integral(t)) * torch.expm1(ahead) / self._total

    def _left_dot(self, t: Tensor) -> Tensor:
        return -self._beta(t) * torch.exp(self._beta_integral(t)) / self._total

    def anchor_weight(self, t: Tensor) -> Tensor:
        """The published weight of the end, α_v q/α_v(1), shaped like `t`."""
        b, whole = self._beta_integral(t), 0.5 * (self.beta_min + self.beta_max)
        return torch.exp(0.5 * (whole - b)) * torch.expm1(b) / self._total

    def _alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self._beta_integral(t)) * self._left(t)

    def _alpha_dot(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self._beta_integral(t)) * (self._left_dot(t) - 0.5 * self._beta(t) * self._left(t))

    def _variance_over_alpha(self, t: Tensor) -> Tensor:
        return 2 * torch.sinh(0.5 * self._beta_integral(t))

    def _variance_dot(self, t: Tensor) -> Tensor:
        kept = torch.exp(-self._beta_integral(t))
        return self._beta(t) * kept * self._left(t) + (1 - kept) * self._left_dot(t)

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        return self._time_of_beta_integral(torch.log1p(1 / (torch.exp(2 * lam) + 1 / self._total)))
