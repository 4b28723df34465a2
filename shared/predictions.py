"""What a network may predict, and how one prediction becomes another.

With r = x_t − y and r_0 = x_0 − y, so that r = α r_0 + σ ε: noise is ε, data is x_0, score is −ε/σ, velocity is
v = α ε − σ r_0 (Salimans and Ho 2022, extended to α² + σ² ≠ 1). "edm" is the preconditioned network of Karras et al.
2022 (Table 1) for any α and σ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.sde.base import SDE, anchored, expand, residual

Prediction = Literal["noise", "data", "score", "velocity"]
NetworkOutput = Literal["noise", "data", "score", "velocity", "edm"]

_SMALLEST = 1e-24
_LARGEST_LEVEL = 10.0
"""Bounds of EDM's input scale and noise level, which are infinite at the end of a bridge and at clean data."""


@dataclass(frozen=True)
class PathPoint:
    """α and σ at times t (batch,), in float64, with the conversions between predictions at those times.

    `ratio` is σ²/α, which stays finite at the end of a bridge, where α and σ vanish.
    """

    alpha: Tensor
    sigma: Tensor
    ratio: Tensor

    @classmethod
    def at(cls, sde: SDE, t: Tensor) -> PathPoint:
        """The point of `sde`'s path at times `t` (batch,)."""
        t = t.double()
        return cls(sde.alpha(t), sde.sigma(t), sde.variance_over_alpha(t))

    def to_data(self, kind: Prediction, value: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """x̂_0 (batch, ...) from a prediction of `kind` at state `x` (batch, ...) with anchor `y`.

        Raises:
            ConfigError: where α = 0, from a prediction that tells nothing of the data there: of noise or score; at the
                end of a bridge, where σ = 0 too, of velocity.
        """
        _check_kind(kind)
        if kind == "data":
            return value
        silent = self.alpha == 0 if kind != "velocity" else (self.alpha == 0) & (self.sigma == 0)
        if bool(silent.any()):
            raise ConfigError(
                f"a prediction of {kind} says nothing of the data at the end of a bridge, or where alpha is 0; predict "
                "data (or use edm; velocity at the start of a flow), or start sampling a little before, with x_start "
                "and t_start"
            )
        r, a, s = residual(x, y), self.alpha, self.sigma
        if kind == "noise":
            r0 = expand(1 / a, x) * r - expand(s / a, x) * value
        elif kind == "score":
            r0 = expand(1 / a, x) * r + expand(s * s / a, x) * value
        else:
            total = a * a + s * s
            r0 = expand(a / total, x) * r - expand(s / total, x) * value
        return anchored(r0, y)

    def from_data(self, kind: Prediction, x0: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The prediction of `kind` that corresponds to x̂_0 at state `x`; where σ = 0, the noise counts as 0."""
        _check_kind(kind)
        if kind == "data":
            return x0
        r0 = residual(x0, y)
        noise = self._noise(r0, residual(x, y))
        if kind == "noise":
            return noise
        if kind == "score":
            return -expand(_inverse(self.sigma), x) * noise
        return expand(self.alpha, x) * noise - expand(self.sigma, x) * r0

    def target(self, kind: Prediction, x0: Tensor, noise: Tensor, y: Tensor | None = None) -> Tensor:
        """What a network that predicts `kind` should give, from the clean data and the noise that made x_t."""
        _check_kind(kind)
        if kind == "data":
            return x0
        if kind == "noise":
            return noise
        if kind == "score":
            return -expand(_inverse(self.sigma), x0) * noise
        return expand(self.alpha, x0) * noise - expand(self.sigma, x0) * residual(x0, y)

    def _noise(self, r0: Tensor, r: Tensor) -> Tensor:
        inverse = _inverse(self.sigma)
        return expand(inverse, r) * r - expand(self.alpha * inverse, r) * r0

    def data_error_scale(self, kind: Prediction) -> Tensor:
        """Error in a prediction of `kind` per error in x̂_0, (batch,)."""
        inverse = _inverse(self.sigma)
        if kind == "data":
            return torch.ones_like(self.alpha)
        if kind == "noise":
            return self.alpha * inverse
        if kind == "score":
            return self.alpha * inverse.square()
        return (self.alpha.square() + self.sigma.square()) * inverse


@dataclass(frozen=True)
class EDMScales:
    """c_skip, c_out, c_in, c_noise (batch,) of Karras et al. 2022 for r = α r_0 + σ ε with std(r_0) = sigma_data.

    x̂_0 − y = c_skip·r + c_out·F(c_in·r, c_noise); c_noise = −λ/4. They make input and target of F unit variance.
    """

    skip: Tensor
    out: Tensor
    input: Tensor
    noise: Tensor

    @classmethod
    def at(cls, point: PathPoint, sigma_data: float) -> EDMScales:
        # Of α, σ and σ²/α one may vanish or be infinite at an end; these forms are the limits at all of them.
        a, ratio = point.alpha, point.ratio
        width = a * sigma_data**2 + ratio  # (α²σ_d² + σ²)/α
        noise = -0.125 * (a / ratio).log()
        return cls(
            sigma_data**2 / width,
            sigma_data * (1 + a / ratio * sigma_data**2).rsqrt(),
            (a.square() * sigma_data**2 + point.sigma.square()).clamp_min(_SMALLEST).rsqrt(),
            noise.clamp(-_LARGEST_LEVEL, _LARGEST_LEVEL),
        )


class Denoiser(nn.Module):
    """A network and what it predicts, as a data prediction for one SDE.

    Args:
        network: called as network(x, t, **condition) with x (batch, ...) and t (batch,); returns (batch, ...).
            With output "edm" it is called with the scaled residual c_in·(x − y) and c_noise in the place of t.
        sde: the process.
        output: what the network predicts.
        sigma_data: standard deviation of x_0 − y, for "edm".

    Raises:
        ConfigError: unknown `output`, or sigma_data ≤ 0.
    """

    def __init__(self, network: nn.Module, sde: SDE, output: NetworkOutput = "noise", sigma_data: float = 1.0):
        super().__init__()
        if output not in get_args(NetworkOutput):
            raise ConfigError(f"output={output!r}: choose one of {', '.join(get_args(NetworkOutput))}")
        if not sigma_data > 0:
            raise ConfigError(f"sigma_data={sigma_data}: need a positive standard deviation")
        self.network = network
        self.sde = sde
        self.output: NetworkOutput = output
        self.sigma_data = sigma_data

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, **condition: Any) -> Tensor:
        """x̂_0 (batch, ...) at state x (batch, ...), times t (batch,), anchor y."""
        raw, point = self.predict(x, t, y, **condition), PathPoint.at(self.sde, t)
        if self.output != "edm":
            return point.to_data(self.output, raw, x, y)
        scales = EDMScales.at(point, self.sigma_data)
        return anchored(expand(scales.skip, x) * residual(x, y) + expand(scales.out, x) * raw, y)

    def predict(self, x: Tensor, t: Tensor, y: Tensor | None = None, **condition: Any) -> Tensor:
        """What the network itself gives."""
        if self.output != "edm":
            return self.network(x, t, **condition)
        scales = EDMScales.at(PathPoint.at(self.sde, t), self.sigma_data)
        return self.network(expand(scales.input, x) * residual(x, y), scales.noise.to(t.dtype), **condition)

    def target(self, x0: Tensor, x: Tensor, noise: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """What `predict` should give at x = α x_0 + σ ε."""
        point = PathPoint.at(self.sde, t)
        if self.output != "edm":
            return point.target(self.output, x0, noise, y)
        scales = EDMScales.at(point, self.sigma_data)
        # (r_0 − c_skip·r)/c_out without dividing by a vanishing c_out: both parts share the factor σ.
        root = 1 / scales.input
        return (
            expand(point.sigma / (self.sigma_data * root), x) * residual(x0, y)
            - expand(point.alpha * self.sigma_data / root, x) * noise
        )

    def data_error_scale(self, t: Tensor) -> Tensor:
        """Error in what the network gives per error in x̂_0, (batch,), float64."""
        point = PathPoint.at(self.sde, t)
        if self.output != "edm":
            return point.data_error_scale(self.output)
        return _inverse(EDMScales.at(point, self.sigma_data).out)


def _inverse(value: Tensor) -> Tensor:
    return torch.where(value > 0, 1 / value, torch.zeros_like(value))


def _check_kind(kind: str) -> None:
    if kind not in get_args(Prediction):
        raise ConfigError(f"prediction {kind!r}: choose one of {', '.join(get_args(Prediction))}")
