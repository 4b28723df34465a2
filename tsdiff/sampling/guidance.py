"""Observation self-guidance: the model's own denoiser tells how well a noisy window agrees with what is observed.

Kollovieh et al. 2023, §3: the score gains ∇_x log p(y_obs | x_t). With C the covariance of x_0 given x_t and
observations y = M x_0 that are trusted to a standard deviation r, the guided data prediction is

    x̂_0 ← x̂_0 + scale·C Mᵀ(M C Mᵀ + r²I)⁻¹(y − M x̂_0),

exact where x_0 given x_t is Gaussian. Five answers to what C is:

- "window": from the covariance of the training windows (`tsdiff.windows.covariance`). No gradient of the network is
  needed.
- "kernels": the same, from Gaussian processes that suit the observed values (`tsdiff.sampling.kernels`), for models of
  many kinds of series.
- "tweedie": C = (σ²/α)·∂x̂_0/∂x_t, from the network itself (Boys et al. 2023; Rozet et al. 2024). The inverse is the
  best answer in a Krylov space of a few vector–Jacobian products.
- "scalar": C Mᵀ = (σ²/α)·Jᵀ Mᵀ as above, but M C Mᵀ is one number: the variance that Gaussian data would have along
  the widest direction of the training windows, so that no direction is moved too far.
- "trace": likewise along the Jacobian with one number, which is the network's own at each state: tr C²/tr C of the
  observed values, from traces by one random probe (`shared.guidance.scalar_variance`).

The "mse" energy is this. The "quantile" energy takes the noise in observed values to be asymmetric Laplace, which is
the pinball loss at the sample's level q: with "scalar", the pinball loss' own slope over the standard deviation; with
the others, the Laplace of standard deviation r is matched in mean and variance, which moves y by
r·(2q − 1)/√(1 − 2q + 2q²). The "robust" energy is "mse" for values up to three deviations s from their prediction, and
farther off its pull falls as 9s²/|e| instead of rising as |e|, as that of heavy-tailed noise does, so that an outlier
in the context moves a forecast little (Huber 1964 has the threshold, Student's t the falling pull). s² is r² and the
variance that data of unit variance have given the state, σ²/(α² + σ²).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from shared.checks import Checked, Count
from shared.guidance import DenoiserFunction, Guidance, random_signs, scalar_variance
from shared.noise import Noise
from shared.sde.base import SDE
from tsdiff.model.model import TSDiff
from tsdiff.sampling.settings import Energy, Observation, Sampling

# Half the widest variance: a step may then move that direction by up to twice its due, still inside the stable range,
# and moves the others enough.
_SHARE_OF_TOP = 0.5

_FAR = 3.0
"""Deviations from which on the "robust" energy takes a value for an outlier."""


@dataclass(eq=False)
class EnergyGuidance(Checked, Guidance):
    """Draws samples towards observed values; what all ways to do so have in common.

    Args:
        values: observed values (batch, length, channels), anything where unobserved.
        observed: 1 where a value is observed, else 0, shaped like `values`.
        energy: "mse", "quantile" or "robust".
        quantiles: level of each sample, (batch,), for "quantile".
        scale: strength.

    Raises:
        ConfigError: an unknown energy, or "quantile" without levels.
    """

    values: Tensor
    observed: Tensor
    energy: Energy = "mse"
    quantiles: Tensor | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            self.energy != "quantile" or self.quantiles is not None, "energy", "need the quantile level of each sample"
        )
        shape = (-1, *([1] * (self.values.ndim - 1)))
        self.levels = None if self.quantiles is None else self.quantiles.reshape(shape)

    @classmethod
    def of(cls, known: Observation, sampling: Sampling, model: TSDiff, generators: Sequence[torch.Generator]) -> Self:
        """The guidance of windows to what is known of them, as the settings say, each row with its generator."""
        own = cls._own(sampling, model, generators)
        return cls(known.values, known.observed, sampling.guidance, known.quantiles, sampling.scale, **own)

    @staticmethod
    def _own(sampling: Sampling, model: TSDiff, generators: Sequence[torch.Generator]) -> dict[str, Any]:
        """What the class takes besides."""
        return {}

    def error(self, x0: Tensor) -> Tensor:
        """Observed less predicted values, 0 where unobserved."""
        return (self.values - x0.detach()) * self.observed

    def pinball_slope(self, error: Tensor) -> Tensor:
        """−∂/∂x̂_0 of the pinball loss at the levels: q above the prediction and q − 1 below."""
        assert self.levels is not None
        return torch.where(error > 0, self.levels, self.levels - 1) * self.observed

    @staticmethod
    def differentiable(denoiser: DenoiserFunction, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The state x, by which x̂_0 can be differentiated, and x̂_0."""
        with torch.enable_grad():
            state = x.detach().requires_grad_(True)
            return state, denoiser(state, t)


@dataclass(eq=False)
class ObservationGuidance(EnergyGuidance, ABC):
    """Kalman's update of the data prediction; subclasses say how far an observed value moves the others.

    Args:
        observation_std: trust in the observations, r.
        The others: see `EnergyGuidance`.
    """

    observation_std: float = 0.02
    by_gradient: ClassVar[bool] = False
    """Whether C is (σ²/α)·∂x̂_0/∂x_t, which tells nothing where α = 0."""

    @staticmethod
    def _own(sampling: Sampling, model: TSDiff, generators: Sequence[torch.Generator]) -> dict[str, Any]:
        return {"observation_std": sampling.trust}

    def predict(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, sde: SDE) -> Tensor:
        """The data prediction, moved towards the observed values."""
        alpha, sigma = (float(value) for value in sde.path(t[:1])[:2])
        if sigma == 0 or self.scale == 0 or (self.by_gradient and alpha == 0):
            return denoiser(x, t)
        return self._guided(denoiser, x, t, alpha, sigma)

    @abstractmethod
    def _guided(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, alpha: float, sigma: float) -> Tensor:
        """The same, where there is something to guide by."""

    def target(self) -> Tensor:
        """Observed values, 0 where unobserved; for "quantile" moved by the mean of the Laplace noise."""
        values = self.values
        if self.energy == "quantile" and self.levels is not None:
            q = self.levels
            values = values + self.observation_std * (2 * q - 1) / (1 - 2 * q + 2 * q * q).sqrt()
        return values * self.observed

    def _error(self, x0: Tensor, alpha: float, sigma: float) -> Tensor:
        """`target` less predicted values, 0 where unobserved; of outliers only a part for "robust"."""
        error = self.target() - x0.detach() * self.observed
        if self.energy != "robust":
            return error
        usual = _FAR**2 * (sigma**2 / (alpha**2 + sigma**2) + self.observation_std**2)
        return error * (usual / error.square().clamp_min(usual))


@dataclass(eq=False)
class ScalarGuidance(ObservationGuidance):
    """C along the network's gradient, one number for M C Mᵀ. Where α = 0, the gradient tells nothing and is not taken.

    Args:
        top_variance: variance of the data along its widest direction.
        The others: see `ObservationGuidance`.
    """

    by_gradient: ClassVar[bool] = True
    _: KW_ONLY
    top_variance: float = 1.0

    @staticmethod
    def _own(sampling: Sampling, model: TSDiff, generators: Sequence[torch.Generator]) -> dict[str, Any]:
        return {"observation_std": sampling.trust, "top_variance": model.statistics.top_variance}

    def _guided(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, alpha: float, sigma: float) -> Tensor:
        state, x0 = self.differentiable(denoiser, x, t)
        (gradient,) = torch.autograd.grad(x0, state, grad_outputs=self._pull(x0, alpha, sigma))
        return x0.detach() + (sigma**2 / alpha * self.scale) * gradient

    def _pull(self, x0: Tensor, alpha: float, sigma: float) -> Tensor:
        """−∂E/∂x̂_0 of E = Σ e²/(2v), or of the pinball loss over √v."""
        wide = _SHARE_OF_TOP * self.top_variance
        variance = sigma**2 * wide / (sigma**2 + alpha**2 * wide) + self.observation_std**2
        if self.energy == "quantile":
            return self.pinball_slope(self.error(x0)) / math.sqrt(variance)
        return self._error(x0, alpha, sigma) / variance


@dataclass(eq=False)
class TraceGuidance(ObservationGuidance):
    """C along the network's gradient, and for M C Mᵀ one number from its own traces.

    The mean variance tr C/n alone is far below that of the widest direction of a smooth series: divided by it, 16 steps
    diverge. tr C²/tr C weighs each direction by its variance, and is the same where all vary alike. Two backward passes
    a call; samples lie between those of "tweedie" with one product and with two.

    Args: see `ObservationGuidance`.
    """

    by_gradient: ClassVar[bool] = True

    def _guided(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, alpha: float, sigma: float) -> Tensor:
        state, x0 = self.differentiable(denoiser, x, t)
        probe = random_signs(x, f"{float(t[0]):.6g}") * self.observed
        mean, square = scalar_variance(x0, state, probe, alpha, sigma, retain_graph=True)
        # Where the estimate of the trace is not positive there is little to go by, and the root of tr C²/n is.
        wide = square / torch.maximum(mean, 0.5 * square.sqrt()).clamp_min(1e-12)
        pull = self._error(x0, alpha, sigma) / (wide[:, None, None] + self.observation_std**2)
        (gradient,) = torch.autograd.grad(x0, state, grad_outputs=pull)
        return x0.detach() + (sigma**2 / alpha * self.scale) * gradient


@dataclass(eq=False)
class TweedieGuidance(ObservationGuidance):
    """C from the network's own Jacobian.

    The Jacobian of a trained network is only nearly symmetric, and not always positive; conjugate gradients break down
    on it. The least residual over the Krylov space (GMRES), item by item, cannot grow. Where α = 0, the Jacobian tells
    nothing and is not taken.

    Args:
        products: vector–Jacobian products at each call, the dimension of the Krylov space.
        noise: of the path, where it has a colour: C is then (σ²/α)·S·∂x̂_0/∂x_tᵀ.
        The others: see `ObservationGuidance`.

    Raises:
        ConfigError: products < 1; see also `ObservationGuidance`.
    """

    by_gradient: ClassVar[bool] = True
    _: KW_ONLY
    products: Count = 1
    noise: Noise | None = None

    @staticmethod
    def _own(sampling: Sampling, model: TSDiff, generators: Sequence[torch.Generator]) -> dict[str, Any]:
        return {"observation_std": sampling.trust, "noise": model.sde.noise}

    def _guided(self, denoiser: DenoiserFunction, x: Tensor, t: Tensor, alpha: float, sigma: float) -> Tensor:
        state, x0 = self.differentiable(denoiser, x, t)
        error = self._error(x0, alpha, sigma)
        basis: list[Tensor] = []  # of what M C Mᵀ + r²I is inverted on
        moves: list[Tensor] = []  # C Mᵀ of each
        images: list[Tensor] = []  # M C Mᵀ + r²I of each
        direction = error
        for place in range(self.products):
            direction = _orthonormal(direction, basis)
            last = place == self.products - 1
            (product,) = torch.autograd.grad(x0, state, grad_outputs=direction, retain_graph=not last)
            basis.append(direction)
            moves.append((self.noise.covary(product) if self.noise else product) * (sigma**2 / alpha))
            images.append(moves[-1] * self.observed + self.observation_std**2 * direction)
            direction = images[-1]
        weights = _least_residual(images, error)
        return x0.detach() + self.scale * sum(
            (w[:, None, None] * move for w, move in zip(weights.T, moves, strict=True)), torch.zeros_like(x0)
        )


def _orthonormal(vector: Tensor, basis: list[Tensor]) -> Tensor:
    """The part of each item of `vector` (batch, length, channels) outside the basis, scaled to norm 1, or 0."""
    for known in basis:
        vector = vector - (vector * known).sum(dim=(1, 2), keepdim=True) * known
    size = vector.flatten(1).norm(dim=1)[:, None, None]
    return torch.where(size > 1e-12, vector / size.clamp_min(1e-12), torch.zeros_like(vector))


def _least_residual(images: list[Tensor], target: Tensor) -> Tensor:
    """Weights (batch, k) of the images that come closest to `target`, item by item."""
    columns = torch.stack([image.flatten(1) for image in images], dim=2).double()
    normal = columns.mT @ columns
    # A direction that is exhausted has no image; the ridge keeps its weight 0.
    ridge = 1e-12 * normal.diagonal(dim1=1, dim2=2).amax(dim=1)[:, None, None] + 1e-30
    eye = torch.eye(len(images), dtype=normal.dtype, device=normal.device)
    right = columns.mT @ target.flatten(1).double()[..., None]
    return torch.linalg.solve(normal + ridge * eye, right)[..., 0].to(target.dtype)
