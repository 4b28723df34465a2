"""Training objectives: one squared error, weighted in data space, with times drawn in one of several ways.

Every published objective is  E_t E_ε  w(t)·|x̂_0 − x_0|²  for some weight: noise regression is w = α²/σ², velocity
regression w = ((α² + σ²)/σ)², the likelihood bound w = ½ g² α²/σ⁴ (Song et al. 2021, "Maximum likelihood training of
score-based diffusion models", eq. 7). The error is measured where the network predicts and scaled by the known
factor to data space, so that nothing cancels when σ is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from shared.checks import Chance, Checked, Finite, Positive, checked
from shared.coupling import Coupling, coupled
from shared.errors import ConfigError, DataError
from shared.predictions import Denoiser, PathPoint
from shared.random import device_of
from shared.sde.base import SDE, residual
from shared.views import rows, shaped_like

Weighting = Literal[
    "noise", "data", "velocity", "score", "sigma2", "likelihood", "edm", "min_snr", "mean", "mean_sigma2", "mean_edm"
]
"""What an error counts by its time, by name; see `weight`."""
TimeDistribution = Literal["uniform", "log_snr", "log_normal"]
"""How times are drawn: evenly in t, evenly in log-SNR, or with a normal log(σ/α)."""

_NORMAL = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)

_INSIDE_BRIDGE = 1e-3
"""A bridge ends at log-SNR −∞; times drawn by log-SNR stop this far before."""


def weight(kind: Weighting, sde: SDE, t: Tensor, sigma_data: float = 1.0, gamma: float = 5.0) -> Tensor:
    """w(t) of the data-space error, (batch,), float64.

    Args:
        kind: "noise", "data", "velocity", "score": plain regression of that quantity. "sigma2": denoising score
            matching weighted by σ², which is noise regression. "likelihood": ½ g² score matching, the bound on the
            log-likelihood. "edm": (σ² + α² σ_d²)/(σ σ_d)² (Karras et al. 2022). "min_snr": min(α²/σ², γ) (Hang et
            al. 2023). "mean": regression of the path's mean, α²; "mean_sigma2", "mean_edm": that times σ², or times
            (σ² + σ_d²)/(σ σ_d)² (Richter et al. 2025).
        sde: the process.
        t: times (batch,).
        sigma_data: standard deviation of the data, for "edm" and "mean_edm".
        gamma: cap of "min_snr".

    Raises:
        ConfigError: unknown kind.
    """
    checked(Weighting, weighting=kind)
    point = PathPoint.at(sde, t)
    return _WEIGHTS[kind](_At(sde, t, point.alpha.square(), point.sigma.square(), sigma_data**2, gamma))


class _At(NamedTuple):
    """What weightings go by: the process, times (batch,), α², σ², σ_d² and the cap γ."""

    sde: SDE
    t: Tensor
    alpha2: Tensor
    sigma2: Tensor
    data2: float
    gamma: float


_WEIGHTS: Mapping[Weighting, Callable[[_At], Tensor]] = {
    "noise": lambda at: at.alpha2 / at.sigma2,
    "data": lambda at: torch.ones_like(at.alpha2),
    "velocity": lambda at: (at.alpha2 + at.sigma2).square() / at.sigma2,
    "score": lambda at: at.alpha2 / at.sigma2.square(),
    "sigma2": lambda at: at.alpha2 / at.sigma2,
    "likelihood": lambda at: 0.5 * at.sde.diffusion(at.t.double()).square() * at.alpha2 / at.sigma2.square(),
    "edm": lambda at: (at.sigma2 + at.alpha2 * at.data2) / (at.sigma2 * at.data2),
    "min_snr": lambda at: (at.alpha2 / at.sigma2).clamp_max(at.gamma),
    "mean": lambda at: at.alpha2,
    "mean_sigma2": lambda at: at.alpha2 * at.sigma2,
    "mean_edm": lambda at: at.alpha2 * (at.sigma2 + at.data2) / (at.sigma2 * at.data2),
}


@dataclass(frozen=True)
class TimeSampler(Checked):
    """Draws training times in [t_min, T], and tells their density so that an objective can be kept unbiased.

    Args:
        kind: "uniform" in t; "log_snr": uniform in λ, the optimal importance sampling of the likelihood bound, since
            g²/σ² = −2λ̇ for every process here; "log_normal": log(σ/α) ~ N(mean, std²) (Karras et al. 2022).
        t_min: smallest time; None means the SDE's `t_min`.
        mean, std: of "log_normal", in nats.
        stratified: one draw in each of `batch` equal slices, which lowers the variance (Kingma et al. 2021, §I.1).
    """

    kind: TimeDistribution = "uniform"
    t_min: float | None = None
    mean: Finite = -1.2
    std: Positive = 1.2
    stratified: bool = True

    def sample(self, sde: SDE, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Times (batch,), float64."""
        device = "cpu" if generator is None else device_of(generator)
        uniform = torch.rand(batch, generator=generator, dtype=torch.float64, device=device)
        if self.stratified:
            slices = torch.randperm(batch, generator=generator, device=device)
            uniform = (slices + uniform) / batch
        low, high = self.range(sde)
        if self.kind == "uniform":
            return low + (high - low) * uniform
        lam_low, lam_high = self._log_snr_range(sde)
        if self.kind == "log_snr":
            lam = lam_low + (lam_high - lam_low) * uniform
        else:
            below, above = self._normal_bounds(lam_low, lam_high)
            share = (below + (above - below) * uniform).clamp(1e-12, 1 - 1e-12)
            lam = -(self.mean + self.std * _NORMAL.icdf(share))
        return sde.time_of_log_snr(lam).clamp(low, high)

    def density(self, sde: SDE, t: Tensor) -> Tensor:
        """Density of the drawn times with respect to t, shaped like `t`, float64."""
        low, high = self.range(sde)
        t = t.double()
        if self.kind == "uniform":
            return torch.full_like(t, 1 / (high - low))
        slope = sde.diffusion(t).square() / (2 * sde.sigma(t).square())  # |dλ/dt|
        lam_low, lam_high = self._log_snr_range(sde)
        if self.kind == "log_snr":
            return slope / (lam_high - lam_low)
        below, above = self._normal_bounds(lam_low, lam_high)
        standard = (-sde.log_snr(t) - self.mean) / self.std
        return slope * _NORMAL.log_prob(standard).exp() / (self.std * (above - below))

    def range(self, sde: SDE) -> tuple[float, float]:
        """Smallest and largest time that is drawn."""
        low = sde.t_min if self.t_min is None else self.t_min
        high = sde.T
        if not 0 < low < high:
            raise ConfigError(f"t_min={low}: training times need 0 < t_min < {high}")
        if self.kind != "uniform" and math.isinf(_log_snr_at_ends(sde, low, high)[0]):
            high -= _INSIDE_BRIDGE
        return low, high

    def _log_snr_range(self, sde: SDE) -> tuple[float, float]:
        return _log_snr_at_ends(sde, *self.range(sde))

    def _normal_bounds(self, lam_low: float, lam_high: float) -> tuple[float, float]:
        bounds = torch.tensor([-lam_high, -lam_low], dtype=torch.float64).sub(self.mean).div(self.std)
        below, above = _NORMAL.cdf(bounds).tolist()
        need = f"the process has log(σ/α) from {-lam_high:.3g} to {-lam_low:.3g}, where hardly any would be drawn"
        self._require(above - below > 1e-9, "mean std", need + "; choose a mean within")
        return below, above


@lru_cache(maxsize=64)
def _log_snr_at_ends(sde: SDE, low: float, high: float) -> tuple[float, float]:
    return float(sde.log_snr(high)), float(sde.log_snr(low))


Reduction = Literal["mean", "sum"]
"""Whether the errors of an item are averaged or added up."""
Terms = Callable[[Tensor], Tensor]
"""From x̂_0 (batch, ...) to what it costs besides, (batch,)."""


def check_data(x0: Tensor, **beside: Tensor | None) -> None:
    """See that data (batch, ...) can be trained on, and that what is given beside them by name is shaped like them.

    Raises:
        DataError: they cannot, or it is not; torch would broadcast it.
    """
    if not isinstance(x0, Tensor) or not (x0.is_floating_point() or x0.is_complex()):
        kind = x0.dtype if isinstance(x0, Tensor) else type(x0).__name__
        raise DataError(f"x0 of {kind}: need a tensor of real or complex numbers, as x0.float() is one")
    if x0.ndim == 0 or x0.numel() == 0:
        raise DataError(f"x0 of shape {tuple(x0.shape)}: need (batch, ...), one item or more")
    for name, value in beside.items():
        if value is not None and value.shape != x0.shape:
            raise DataError(f"{name} of shape {tuple(value.shape)}: need that of x0, {tuple(x0.shape)}")


@dataclass(frozen=True)
class DiffusionLoss(Checked):
    """E_t E_ε w(t)·|x̂_0 − x_0|², estimated on a batch.

    Args:
        weighting: see `weight`; None means plain regression of whatever the network gives.
        times: how training times are drawn.
        unbiased: divide by the density of the drawn times (relative to uniform), so that `times` only lowers the
            variance; otherwise the density multiplies the weighting, as EDM's does.
        gamma: cap of the "min_snr" weighting.
        reduction: of an item's elements: their mean or their sum.
        scale: what that is multiplied by.
        start_share: the share of items that are trained at t = T exactly, where sampling starts.
        coupling: "independent" noise, or that of the batch put to the data it is nearest to ("minibatch", see
            `shared.coupling`): for flows that are drawn by deterministic samplers.

    Raises:
        ConfigError: an unknown reduction, a scale that is not positive, or no share; or when called: items that are to
            be trained at an end of the path, with a weighting or an output that is not defined there.
    """

    weighting: Weighting | None = None
    times: TimeSampler = TimeSampler()
    unbiased: bool = False
    gamma: Positive = 5.0
    reduction: Reduction = "mean"
    scale: Positive = 1.0
    start_share: Chance = 0.0
    coupling: Coupling = "independent"

    def __call__(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
        condition: Mapping[str, Tensor] | None = None,
        terms: Terms | None = None,
    ) -> Tensor:
        """The loss of each item, (batch,).

        Args:
            denoiser: the network under training.
            x0: clean data (batch, ...), real or complex.
            y: anchor, shaped like `x0`.
            mask: weight of every element, broadcastable to `x0`; 0 leaves it out. The mean is over what is left in.
            generator: for times and noise.
            noise: ε to use instead of drawing it.
            condition: keyword arguments of the network.
            terms: what x̂_0 costs besides, added as it is.

        Raises:
            ConfigError: the network gives what is not shaped like its state.
            DataError: no items, whole numbers, or an anchor or noise of another shape.
        """
        check_data(x0, y=y, noise=noise)
        t = self._times(denoiser, x0.shape[0], generator).to(x0.device)
        noise = self.noise_for(denoiser, x0, y, generator, noise)
        x = denoiser.sde.perturb(x0, t, noise, y)
        real = x0.real.dtype if x0.is_complex() else x0.dtype
        raw = shaped_like(x, denoiser.predict(x, t.to(real), y, **(condition or {})), "network")
        error = raw - denoiser.target(x0, x, noise, t, y)
        loss = self._reduced(_squared(error), mask)
        if self.weighting is not None or self.unbiased or self.scale != 1:
            loss = loss * self._factor(denoiser, t).to(loss.dtype)
        return loss if terms is None else loss + terms(denoiser.to_data(raw, x, t.to(real), y))

    def noise_for(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        y: Tensor | None,
        generator: torch.Generator | None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """ε for data (batch, ...): the process' own unless given, coupled as this loss is told."""
        if noise is None:
            noise = denoiser.sde.draw_noise(x0.shape, generator, dtype=x0.dtype, device=x0.device)
        return coupled(noise, residual(x0, y)) if self.coupling == "minibatch" else noise

    def of_error(self, denoiser: Denoiser, error: Tensor, t: Tensor, mask: Tensor | None = None) -> Tensor:
        """What errors (batch, ...) of data predictions at times t (batch,) cost, weighted as the loss itself, (batch,).

        The density of the drawn times has no part in it.
        """
        if self.weighting is None:
            factor = denoiser.data_error_scale(t).square()
        else:
            factor = weight(self.weighting, denoiser.sde, t, denoiser.sigma_data, self.gamma)
        loss = self._reduced(_squared(error), mask)
        return loss * (self.scale * factor).to(loss.dtype)

    def _times(self, denoiser: Denoiser, batch: int, generator: torch.Generator | None) -> Tensor:
        """Training times (batch,), float64; some of them T."""
        sde = denoiser.sde
        t = self.times.sample(sde, batch, generator)
        if self.start_share == 0:
            return t
        kinds = (self.weighting or "data", denoiser.preconditioner.output)
        if kinds != ("data", "data") and float(sde.sigma(sde.T)) == 0:
            raise ConfigError(
                f"start_share={self.start_share} with a {kinds[0]} loss of a network that predicts {kinds[1]}: a "
                "bridge has no score at its end; predict data with a data loss, or take start_share=0"
            )
        if not bool(torch.isfinite(self._factor(denoiser, torch.tensor([sde.T], dtype=torch.float64))).all()):
            raise ConfigError(
                f"start_share={self.start_share} with the weighting {self.weighting} of a network that predicts "
                f"{kinds[1]}: it is infinite at t={sde.T}, where {type(sde).__name__} starts; take another weighting, "
                "or start_share=0"
            )
        chosen = torch.rand(batch, generator=generator, device=t.device) < self.start_share
        return torch.where(chosen, torch.full_like(t, sde.T), t)

    def _reduced(self, squared: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            items = rows(squared)
            return items.mean(1) if self.reduction == "mean" else items.sum(1)
        mask = mask.to(squared.dtype).expand_as(squared)
        items, total = rows(squared * mask).sum(1), rows(mask).sum(1)
        return items if self.reduction == "sum" else items / torch.where(total > 0, total, torch.ones_like(total))

    def _factor(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        factor = torch.full_like(t, self.scale)
        if self.weighting is not None:
            data_weight = weight(self.weighting, denoiser.sde, t, denoiser.sigma_data, self.gamma)
            factor = factor * data_weight / denoiser.data_error_scale(t).square()
        if self.unbiased:
            low, high = self.times.range(denoiser.sde)
            factor = factor / (self.times.density(denoiser.sde, t) * (high - low))
        return factor


def _squared(error: Tensor) -> Tensor:
    """|error|², real."""
    return torch.view_as_real(error).square().sum(-1) if error.is_complex() else error.square()
