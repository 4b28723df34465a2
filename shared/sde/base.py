"""One Gaussian path around an anchor, and what follows from it for every process.

    x_t − y = α(t)·(x_0 − y) + σ(t)·ε,   ε ~ N(0, I),   t in [0, 1]

A process states α, σ² and their time derivatives; drift, diffusion, log-SNR and marginals are derived here, once
(Song et al. 2021, "Score-based generative modeling through SDEs", eq. 5 and 29; Kingma et al. 2021, "Variational
diffusion models", for the log-SNR form). Everything is computed in float64, because σ² near t = 0 and α near the
end of a bridge are differences of nearly equal numbers.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from shared.checks import Checked
from shared.errors import ConfigError
from shared.noise import Noise, NoiseSetting
from shared.random import Generators, randn
from shared.views import rows

TimeLike = Tensor | float
"""A time, or times (batch,)."""
_HAIR = 1e-10
_ROUNDING = 1e-15
"""An α at T that is below is 0 but for rounding, as cos(π/2) is."""


def expand(coefficient: Tensor, x: Tensor) -> Tensor:
    """Shape a (batch,) coefficient so that it multiplies `x` (batch, ...), in the real dtype of `x`."""
    real = x.real.dtype if x.is_complex() else x.dtype
    return coefficient.to(device=x.device, dtype=real).reshape(-1, *([1] * (x.ndim - 1)))


def residual(x: Tensor, y: Tensor | None) -> Tensor:
    """x − y, where no anchor means y = 0."""
    return x if y is None else x - y


def anchored(r: Tensor, y: Tensor | None) -> Tensor:
    """y + r, where no anchor means y = 0."""
    return r if y is None else y + r


@dataclass(frozen=True, eq=False)
class SDE(Checked, ABC):
    """A diffusion process around an anchor y (y = 0 where none is given); time runs over [0, 1].

    Subclasses are frozen dataclasses of their parameters, so that they compare, print and serialise as values.

    Args:
        noise: the law of ε; None means white, N(0, I).
    """

    noise: NoiseSetting | None = field(default=None, kw_only=True)

    discretization: ClassVar[str] = "euler"
    """How the reverse-diffusion predictor discretises the forward process: "euler", or "exact" (its transition)."""

    # What each process states, in float64. -----------------------------------------------------------------------

    @abstractmethod
    def _alpha(self, t: Tensor) -> Tensor:
        """α(t)."""

    @abstractmethod
    def _alpha_dot(self, t: Tensor) -> Tensor:
        """dα/dt."""

    @abstractmethod
    def _variance(self, t: Tensor) -> Tensor:
        """σ²(t)."""

    @abstractmethod
    def _variance_dot(self, t: Tensor) -> Tensor:
        """dσ²/dt."""

    def _variance_over_alpha(self, t: Tensor) -> Tensor:
        """σ²/α. Bridges override it: there both vanish at the end, and their ratio does not."""
        return self._variance(t) / self._alpha(t)

    def _path(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """α, σ² and σ²/α, which processes override that get them from one number."""
        return self._alpha(t), self._variance(t), self._variance_over_alpha(t)

    @property
    def T(self) -> float:
        """The time at which sampling starts."""
        return 1.0

    @property
    @abstractmethod
    def t_end(self) -> float:
        """The time at which sampling ends unless told otherwise."""

    @property
    def t_min(self) -> float:
        """The smallest positive time that training and sampling use; t = 0 itself is clean data."""
        return self.t_end

    @property
    def prior_std(self) -> float:
        """Standard deviation of the prior around the anchor; σ(T) unless the process says otherwise."""
        return float(self.sigma(self.T))

    # What follows. -----------------------------------------------------------------------------------------------

    def alpha(self, t: TimeLike) -> Tensor:
        """α(t), shaped like `t`, in its dtype."""
        return self._evaluate(lambda s: self._ended(self._alpha(s), s), t)

    def sigma(self, t: TimeLike) -> Tensor:
        """σ(t), shaped like `t`, in its dtype."""
        return self._evaluate(lambda s: self._variance(s).clamp_min(0).sqrt(), t)

    def log_snr(self, t: TimeLike) -> Tensor:
        """λ(t) = log(α/σ), shaped like `t`; +∞ where σ = 0, −∞ where α = 0."""
        return self._evaluate(self._log_snr, t)

    def _log_snr(self, t: Tensor) -> Tensor:
        alpha, _, ratio = self._path(t)
        return 0.5 * (self._ended(alpha, t) / ratio).log()

    def _ended(self, alpha: Tensor, t: Tensor) -> Tensor:
        """α, and 0 where sampling starts if it is 0 there but for rounding; its derivative stays."""
        gone = (t >= self.T) & (alpha.abs() < _ROUNDING)
        return alpha - torch.where(gone, alpha.detach(), torch.zeros_like(alpha))

    def variance_over_alpha(self, t: TimeLike) -> Tensor:
        """σ²/α, shaped like `t`; finite at the end of a bridge, where both vanish."""
        return self._evaluate(self._variance_over_alpha, t)

    def path(self, t: TimeLike) -> tuple[Tensor, Tensor, Tensor]:
        """α, σ and σ²/α at once, shaped like `t`, float64."""
        wide = t.double() if isinstance(t, Tensor) else torch.tensor(float(t), dtype=torch.float64)
        alpha, variance, ratio = self._path(wide)
        return self._ended(alpha, wide), variance.clamp_min(0).sqrt(), ratio

    def alpha_dot(self, t: TimeLike) -> Tensor:
        """dα/dt, shaped like `t`."""
        return self._evaluate(self._alpha_dot, t)

    def sigma_dot(self, t: TimeLike) -> Tensor:
        """dσ/dt, shaped like `t`; infinite where σ vanishes as a root."""
        return self._evaluate(self._sigma_dot, t)

    def _sigma_dot(self, t: Tensor) -> Tensor:
        # Where σ vanishes as a line, σ² and its rate both do: the slope is that a hair inside.
        both = (self._variance(t) == 0) & (self._variance_dot(t) == 0)
        inside = torch.where(both, torch.where(t < 0.5, t + _HAIR, t - _HAIR), t)
        return self._variance_dot(inside) / (2 * self._variance(inside).sqrt())

    def diffusion(self, t: TimeLike) -> Tensor:
        """g(t) of dx = f dt + g dw, shaped like `t`: g² = dσ²/dt − 2(α̇/α)σ²."""
        return self._evaluate(lambda s: self._diffusion_squared(s).clamp_min(0).sqrt(), t)

    def _diffusion_squared(self, t: Tensor) -> Tensor:
        return self._variance_dot(t) - 2 * self._alpha_dot(t) * self._variance_over_alpha(t)

    def drift(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """f(x, t) = (α̇/α)(x − y).

        Args:
            x: state (batch, ...), real or complex.
            t: times (batch,).
            y: anchor, shaped like `x`; 0 when absent.

        Returns:
            (batch, ...). Where x = y it is 0 even at the end of a bridge, whose α̇/α is infinite.
        """
        rate = self._evaluate(lambda s: self._alpha_dot(s) / self._alpha(s), t, keep_dtype=False)
        r = residual(x, y)
        return torch.where(r == 0, torch.zeros_like(r), expand(rate, x) * r)

    def marginal_prob(self, x0: Tensor, t: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of x_t given x_0: y + α(x_0 − y), σ.

        Args:
            x0: clean data (batch, ...), real or complex.
            t: times (batch,).
            y: anchor, shaped like `x0`; 0 when absent.

        Returns:
            mean (batch, ...) and std (batch,). For complex data, std is of the complex noise, E|ε|² = 1.
        """
        alpha = self._evaluate(lambda s: self._ended(self._alpha(s), s), t, keep_dtype=False)
        return anchored(expand(alpha, x0) * residual(x0, y), y), self.sigma(t)

    def perturb(self, x0: Tensor, t: Tensor, noise: Tensor, y: Tensor | None = None) -> Tensor:
        """x_t for given x_0 (batch, ...), times (batch,) and noise ε (batch, ...), as `draw_noise` gives it."""
        alpha, sigma, _ = self.path(t)
        return anchored(expand(alpha, x0) * residual(x0, y), y) + expand(sigma, x0) * noise

    def time_of_log_snr(self, log_snr: TimeLike) -> Tensor:
        """t(λ), shaped like `log_snr`, clamped to [0, 1]; the inverse of `log_snr`."""
        return self._evaluate(lambda lam: self._time_of_log_snr(lam).clamp(0.0, 1.0), log_snr)

    def _time_of_log_snr(self, lam: Tensor) -> Tensor:
        """Newton's method in a shrinking bracket, since λ(t) falls monotonically; closed forms override this."""
        low, high = torch.zeros_like(lam), torch.ones_like(lam)
        t = (low + high) / 2
        for _ in range(60):
            alpha, variance, ratio = self._path(t)
            excess = 0.5 * (alpha / ratio).log() - lam
            low, high = torch.where(excess < 0, low, t), torch.where(excess < 0, t, high)
            newton = t + excess * 2 * variance / self._diffusion_squared(t)  # dλ/dt = −g²/(2σ²)
            previous, t = t, torch.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
            if bool(((t - previous).abs() <= 1e-15 + 1e-13 * t).all()):
                break
        return t

    # The noise and the prior. ------------------------------------------------------------------------------------

    def draw_noise(self, shape: Sequence[int], generator: Generators = None, **place: Any) -> Tensor:
        """ε of this shape (batch, ...), of the process' own law; dtype and device as `shared.random.randn` has them."""
        return (self.noise.draw if self.noise else randn)(shape, generator, **place)

    def with_noise(self, noise: Noise | None) -> Self:
        """The same process with other noise."""
        other = copy.copy(self)
        object.__setattr__(other, "noise", noise)
        return other

    def coloured(self, white: Tensor) -> Tensor:
        """L·white (batch, ...), noise of the process from white noise."""
        return self.noise.colour(white) if self.noise else white

    def whitened(self, values: Tensor) -> Tensor:
        """L⁻¹·values (batch, ...), in whose coordinates the noise is white."""
        return self.noise.whiten(values) if self.noise else values

    def require_white(self, what: str, instead: str) -> None:
        """Refuse what holds for white noise alone.

        Raises:
            ConfigError: the noise has a colour, or heavy tails; the message names what to take instead.
        """
        if self.noise is not None:
            raise ConfigError(f"{what} knows white noise alone, not {self.noise}: take {instead}")

    def require_gaussian(self, what: str, instead: str) -> None:
        """Refuse what holds for Gaussian noise alone.

        Raises:
            ConfigError: the noise is none; the message names what to take instead.
        """
        if self.noise is not None and not self.noise.gaussian:
            raise ConfigError(
                f"{what} is not defined for {self.noise}, which is not Gaussian: take {instead}, or noise that is a "
                "GaussianProcess"
            )

    def prior_sample(
        self,
        shape_or_y: Sequence[int] | Tensor,
        generator: Generators = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw x_T = y + prior_std·ε; of a bridge, the anchor itself.

        Args:
            shape_or_y: the anchor y (batch, ...), or a shape, which means y = 0.
            generator: one generator, or one per item of the batch (see `shared.random.randn`).
            dtype, device: of the result when a shape is given.

        Raises:
            ConfigError: of a bridge only a shape was given; it has nothing to start from without y.
        """
        if self.prior_std == 0:
            if not isinstance(shape_or_y, Tensor):
                raise ConfigError(
                    f"{type(self).__name__} starts from the anchor: give y (batch, ...), a shape is not enough"
                )
            return shape_or_y.clone()
        if isinstance(shape_or_y, Tensor):
            y = shape_or_y
            return y + self.prior_std * self.draw_noise(y.shape, generator, dtype=y.dtype, device=y.device)
        return self.prior_std * self.draw_noise(tuple(shape_or_y), generator, dtype=dtype, device=device)

    def prior_log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """log density of the prior at z (batch, ...), in nats, (batch,). Complex data has circular Gaussian density.

        Raises:
            ConfigError: the prior is a point (a bridge), so it has no density; or its noise has heavy tails.
        """
        std = self.prior_std
        if std <= 0:
            raise ConfigError(
                f"{type(self).__name__} starts from the anchor itself, so its prior has no density; "
                "use a process with a Gaussian prior, such as VPSDE or OUVESDE, for likelihoods"
            )
        self.require_gaussian("a likelihood", "prior_log_prob, the density of the prior as a function")
        r = residual(z, y)
        wide = r.to(torch.complex128 if z.is_complex() else torch.float64)
        dims = r.shape[1:].numel()
        energy = rows((self.whitened(wide).abs() / std).square()).sum(1)
        log_det = self.noise.log_det(r.shape).to(energy) if self.noise else 0.0
        if z.is_complex():
            return -energy - dims * math.log(math.pi * std**2) - log_det
        return -0.5 * energy - 0.5 * dims * math.log(2 * math.pi * std**2) - 0.5 * log_det

    @staticmethod
    def _evaluate(function: Callable[[Tensor], Tensor], t: TimeLike, keep_dtype: bool = True) -> Tensor:
        """Evaluate in float64; return in the dtype of `t` (float64 for a Python number)."""
        if not isinstance(t, Tensor):
            return function(torch.tensor(float(t), dtype=torch.float64))
        if not t.is_floating_point():
            t = t.to(torch.get_default_dtype())
        value = function(t.double())
        return value.to(t.dtype) if keep_dtype else value
