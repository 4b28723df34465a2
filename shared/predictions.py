"""What a network may predict, and how one prediction becomes another.

With r = x_t − y and r_0 = x_0 − y, so that r = α r_0 + σ ε: noise is ε, data is x_0, score is −ε/σ (−S⁻¹ε/σ for noise
of covariance S), velocity is v = α ε − σ r_0 (Salimans and Ho 2022, extended to α² + σ² ≠ 1).

A network need not give the prediction V itself. Around it there may be scales, V = c_skip·s + c_out·F(c_in·s, …): those
of Karras et al. 2022 (Table 1) for any α and σ (`EDM`), or those that published models have (`Scaled`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from shared.checks import Checked, Positive, checked
from shared.errors import ConfigError
from shared.noise import Noise
from shared.sde.base import SDE, anchored, expand, residual

Prediction = Literal["noise", "data", "score", "velocity"]
"""What a prediction is of."""
NetworkOutput = Literal["noise", "data", "score", "velocity", "edm"]
"""What a network gives: a prediction, or what EDM's scales make one ("edm")."""
Inputs = Literal["state", "residual", "both"]
"""What a network sees: the state x, the residual x − y, or the state beside the anchor."""

NO_MAP = (
    'this model is no flow map, which is told the time to come to: take a sampler such as "ode2" or "sde2", or train a '
    "map of it (span=True among its backbone's settings, and a flow_map objective)"
)
"""What is said to who asks a model for a jump that it has not learnt."""

_SMALLEST = 1e-24
_LARGEST_LEVEL = 10.0
"""Bounds of EDM's input scale and noise level, which are infinite at the end of a bridge and at clean data."""
_SMALLEST_SIGMA = 1e-4
"""Where σ vanishes, at the end of a bridge, the scales of published models take this."""


@dataclass(frozen=True)
class PathPoint:
    """α and σ at times t (batch,), in float64, with the conversions between predictions at those times.

    `ratio` is σ²/α, which stays finite at the end of a bridge, where α and σ vanish. `noise` is the process'.
    """

    alpha: Tensor
    sigma: Tensor
    ratio: Tensor
    noise: Noise | None = None

    @classmethod
    def at(cls, sde: SDE, t: Tensor) -> PathPoint:
        """The point of `sde`'s path at times `t` (batch,)."""
        return cls(*sde.path(t), sde.noise)

    def to_data(self, kind: Prediction, value: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """x̂_0 (batch, ...) from a prediction of `kind` at state `x` (batch, ...) with anchor `y`.

        Raises:
            ConfigError: where α = 0, from a prediction that tells nothing of the data there: of noise or score; at the
                end of a bridge, where σ = 0 too, of velocity.
        """
        checked(Prediction, prediction=kind)
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
            r0 = expand(1 / a, x) * r + expand(s * s / a, x) * (self.noise.covary(value) if self.noise else value)
        else:
            total = a * a + s * s
            r0 = expand(a / total, x) * r - expand(s / total, x) * value
        return anchored(r0, y)

    def from_data(self, kind: Prediction, x0: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The prediction of `kind` that corresponds to x̂_0 at state `x`; where σ = 0, the noise counts as 0."""
        inverse = _inverse(self.sigma)
        noise = expand(inverse, x) * residual(x, y) - expand(self.alpha * inverse, x) * residual(x0, y)
        return self.target(kind, x0, noise, y)

    def target(self, kind: Prediction, x0: Tensor, noise: Tensor, y: Tensor | None = None) -> Tensor:
        """What a network that predicts `kind` should give, from the clean data and the noise that made x_t."""
        checked(Prediction, prediction=kind)
        if kind == "data":
            return x0
        if kind == "noise":
            return noise
        if kind == "score":
            return self._score(noise)
        return expand(self.alpha, x0) * noise - expand(self.sigma, x0) * residual(x0, y)

    def _score(self, noise: Tensor) -> Tensor:
        """−S⁻¹ε/σ, with S the covariance of the noise."""
        if self.noise is not None and not self.noise.gaussian:
            raise ConfigError(f"a score is not defined for {self.noise}: predict noise, data or velocity")
        return -expand(_inverse(self.sigma), noise) * (self.noise.solve(noise) if self.noise else noise)

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
        """Those of a point of a path (batch,), for data of the standard deviation `sigma_data`."""
        # Of α, σ and σ²/α one may vanish or be infinite at an end; these forms are the limits at all of them.
        a, ratio = point.alpha, point.ratio
        width = a * sigma_data**2 + ratio  # (α²σ_d² + σ²)/α
        # Where a flow starts, α = 0 and the ratio is infinite, their derivatives in time, too, are those of the limit.
        start = (a == 0) & (point.sigma > 0)
        skip = a * sigma_data**2 / point.sigma.square()
        return cls(
            torch.where(start, skip, sigma_data**2 / width),
            torch.where(start, sigma_data, sigma_data * (1 + a / ratio * sigma_data**2).rsqrt()),
            (a.square() * sigma_data**2 + point.sigma.square()).clamp_min(_SMALLEST).rsqrt(),
            torch.where(start, _LARGEST_LEVEL, (-(a / ratio).log() / 8).clamp(-_LARGEST_LEVEL, _LARGEST_LEVEL)),
        )

    @classmethod
    def of_state(cls, sigma: Tensor, sigma_data: float) -> EDMScales:
        """The scales of a state that is data of this spread and noise of deviation `sigma` (batch,), whatever α is."""
        return cls.at(PathPoint(torch.ones_like(sigma), sigma, sigma.square()), sigma_data)


class Scales(NamedTuple):
    """c_skip, c_out, c_in (batch,), None where they change nothing, and what is told in the place of t, if not t."""

    skip: Tensor | None = None
    out: Tensor | None = None
    input: Tensor | None = None
    noise: Tensor | None = None


class Preconditioner(Checked, ABC):
    """The scales around a network F: V = c_skip·s + c_out·F(c_in·s, …) is a prediction of the kind `output`.

    Attributes:
        output: what V is.
        sigma_data: standard deviation of the data, for scales that go by it.
        inputs: what s is, and how the network is called. "state": s = x, F(c_in·x, t). "both": s = x, and the anchor
            stands beside it, F(c_in·x, c_in·y, t). "residual": s = x − y, F(c_in·s, c_noise), and V is measured from y.
    """

    output: Prediction
    sigma_data: float
    inputs: ClassVar[Inputs] = "state"

    @abstractmethod
    def scales(self, sde: SDE, t: Tensor) -> Scales:
        """The scales at times t (batch,), in float64."""

    def target(self, sde: SDE, t: Tensor, x0: Tensor, x: Tensor, noise: Tensor, y: Tensor | None) -> Tensor:
        """What F should give at x = α x_0 + σ ε."""
        skip, out, _, _ = self.scales(sde, t)
        value = PathPoint.at(sde, t).target(self.output, x0, noise, y)
        if skip is not None:
            value = value - expand(skip, x) * x
        return value if out is None else value / expand(out, x)


@dataclass(frozen=True)
class EDM(Preconditioner):
    """The scales of Karras et al. 2022 for x_0 − y of standard deviation `sigma_data`; see `EDMScales`.

    Raises:
        ConfigError: sigma_data ≤ 0.
    """

    sigma_data: Positive = 1.0
    output: ClassVar[Prediction] = "data"  # type: ignore[misc]
    inputs: ClassVar[Inputs] = "residual"

    def scales(self, sde: SDE, t: Tensor) -> Scales:
        """The scales at times t (batch,), in float64."""
        at = EDMScales.at(PathPoint.at(sde, t), self.sigma_data)
        return Scales(at.skip, at.out, at.input, at.noise)

    def target(self, sde: SDE, t: Tensor, x0: Tensor, x: Tensor, noise: Tensor, y: Tensor | None) -> Tensor:
        """What F should give at x = α x_0 + σ ε."""
        point = PathPoint.at(sde, t)
        # (r_0 − c_skip·r)/c_out without dividing by a vanishing c_out: both parts share the factor σ.
        root = 1 / EDMScales.at(point, self.sigma_data).input
        return (
            expand(point.sigma / (self.sigma_data * root), x) * residual(x0, y)
            - expand(point.alpha * self.sigma_data / root, x) * noise
        )


InputScale = Literal["1", "edm"]
"""Factor on what the network sees, by the published code's name."""
OutputScale = Literal["1", "sigma", "1/sigma", "1/sigma^2", "edm"]
"""Factor on what the network gives, by the published code's name."""
SkipScale = Literal["0", "edm", "-1/sigma^2"]
"""Factor on the state that is added to it, by the published code's name."""
NetworkScaling: TypeAlias = Literal["1/sigma", "1/t"] | None
"""What the network's output is multiplied by before all else, by the published code's name; None: nothing."""


@dataclass(frozen=True)
class Scaled(Preconditioner):
    """A prediction as the network gives it, or with the scales that published models have around it.

    They go by σ alone: their "edm" is that of `EDMScales` at α = 1, of the state around the path's mean.

    Args:
        output: what c_skip·x + c_out·F is a prediction of.
        c_in: "1", or 1/√(σ² + sigma_data²) for "edm".
        c_out: a power of σ, or σ·sigma_data/√(σ² + sigma_data²) for "edm".
        c_skip: "0", sigma_data²/(σ² + sigma_data²) for "edm", or −1/σ². With c_out = 1/σ² and this a score is
            (F − x)/σ², where F is a prediction of the path's mean.
        network_scaling: the network's output is divided by σ or by t, besides.
        sign: +1, or −1 where the network gives the negative of F.
        sigma_data: of the "edm" scales.

    Raises:
        ConfigError: another name, or sigma_data ≤ 0.
    """

    output: Prediction = "noise"
    c_in: InputScale = "1"
    c_out: OutputScale = "1"
    c_skip: SkipScale = "0"
    network_scaling: NetworkScaling = None
    sign: Literal[1, -1] = 1
    sigma_data: Positive = 1.0

    def scales(self, sde: SDE, t: Tensor) -> Scales:
        """The scales at times t (batch,), in float64; σ is at least 1e-4 in them."""
        if self._needs_no_sigma:
            return Scales()
        sigma = sde.sigma(t.double()).clamp_min(_SMALLEST_SIGMA)
        edm = EDMScales.of_state(sigma, self.sigma_data)
        inverse = 1 / sigma.square()
        skips = {"0": None, "edm": edm.skip, "-1/sigma^2": -inverse}
        outs = {"1": torch.ones_like(sigma), "sigma": sigma, "1/sigma": 1 / sigma, "1/sigma^2": inverse, "edm": edm.out}
        out = self.sign * outs[self.c_out]
        if self.network_scaling is not None:
            out = out / (sigma if self.network_scaling == "1/sigma" else t)
        return Scales(skips[self.c_skip], out, edm.input if self.c_in == "edm" else None)

    @property
    def _needs_no_sigma(self) -> bool:
        scales = (self.c_in, self.c_out, self.c_skip, self.network_scaling, self.sign)
        return scales == ("1", "1", "0", None, 1)


class Denoiser(nn.Module):
    """A network and what it predicts, as a data prediction for one SDE.

    A flow map (`shared.flow_maps`) is the same with a second time: to r instead of x̂_0 at t it gives the mean data
    prediction on the way from t to r, which a single step needs to come there exactly. At r = t that is x̂_0.

    Args:
        network: called as network(x, t, **condition) with x (batch, ...) and t (batch,); returns (batch, ...).
            With output "edm" it is called with the scaled residual c_in·(x − y) and c_noise in the place of t;
            `Preconditioner.inputs` tells how others call it. One that has an attribute `takes_span` that is true is
            a flow map's: it is called with span=t − r (batch,) where an `r` is given, and takes none for 0.
        sde: the process.
        output: what the network predicts, or the scales around it.
        sigma_data: standard deviation of x_0 − y, for "edm".

    Raises:
        ConfigError: unknown `output`, or sigma_data ≤ 0.
    """

    def __init__(
        self,
        network: nn.Module,
        sde: SDE,
        output: NetworkOutput | Preconditioner = "noise",
        sigma_data: float = 1.0,
    ):
        super().__init__()
        self.network = network
        self.sde = sde
        self.output = output
        self.preconditioner = output if isinstance(output, Preconditioner) else _named(output, sigma_data)

    @property
    def sigma_data(self) -> float:
        """Standard deviation of x_0 − y, for the scales and weightings that go by it."""
        return self.preconditioner.sigma_data

    @property
    def is_map(self) -> bool:
        """Whether this is a flow map, which takes a second time."""
        return bool(getattr(self.network, "takes_span", False))

    def forward(
        self, x: Tensor, t: Tensor, y: Tensor | None = None, r: Tensor | None = None, **condition: Any
    ) -> Tensor:
        """x̂_0 (batch, ...) at state x (batch, ...), times t (batch,), anchor y; or its mean on the way from t to r.

        Raises:
            ConfigError: at the end of a bridge, unless V is a prediction of the data; or an `r` where this is no map.
        """
        if r is not None:
            if not self.is_map:
                raise ConfigError(NO_MAP)
            condition = {**condition, "span": t - r}
        return self._to_data(self.value(x, t, y, **condition), x, t, y)

    def value(self, x: Tensor, t: Tensor, y: Tensor | None = None, **condition: Any) -> Tensor:
        """V: the prediction of the kind `preconditioner.output` that the network makes with the scales around it."""
        scales = self.preconditioner.scales(self.sde, t)
        return self._scaled(self._call(scales, x, t, y, condition), scales, x, y)

    def predict(self, x: Tensor, t: Tensor, y: Tensor | None = None, **condition: Any) -> Tensor:
        """F: what the network itself gives."""
        return self._call(self.preconditioner.scales(self.sde, t), x, t, y, condition)

    def to_data(self, raw: Tensor, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x̂_0 from what `predict` gave at x, t and y; raises as `forward`."""
        value = self._scaled(raw, self.preconditioner.scales(self.sde, t), x, y)
        return self._to_data(value, x, t, y)

    def target(self, x0: Tensor, x: Tensor, noise: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """What `predict` should give at x = α x_0 + σ ε."""
        return self.preconditioner.target(self.sde, t, x0, x, noise, y)

    def data_error_scale(self, t: Tensor) -> Tensor:
        """Error in what the network gives per error in x̂_0, (batch,), float64."""
        scale = PathPoint.at(self.sde, t).data_error_scale(self.preconditioner.output)
        out = self.preconditioner.scales(self.sde, t).out
        return scale if out is None else scale * _inverse(out.abs())

    def _call(self, scales: Scales, x: Tensor, t: Tensor, y: Tensor | None, condition: Mapping[str, Any]) -> Tensor:
        inputs = self.preconditioner.inputs
        states = [residual(x, y) if inputs == "residual" else x]
        if inputs == "both":
            if y is None:
                raise ConfigError("this network takes the anchor beside the state: give y, shaped like x")
            states.append(y)
        if scales.input is not None:
            states = [expand(scales.input, x) * state for state in states]
        return self.network(*states, t if scales.noise is None else scales.noise.to(t.dtype), **condition)

    def _scaled(self, raw: Tensor, scales: Scales, x: Tensor, y: Tensor | None) -> Tensor:
        value = raw if scales.out is None else expand(scales.out, x) * raw
        centred = self.preconditioner.inputs == "residual"
        if scales.skip is not None:
            value = expand(scales.skip, x) * (residual(x, y) if centred else x) + value
        return anchored(value, y) if centred else value

    def _to_data(self, value: Tensor, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        kind = self.preconditioner.output
        return value if kind == "data" else PathPoint.at(self.sde, t).to_data(kind, value, x, y)


def _named(output: str, sigma_data: float) -> Preconditioner:
    checked(NetworkOutput, output=output)
    return EDM(sigma_data) if output == "edm" else Scaled(output, sigma_data=sigma_data)  # type: ignore[arg-type]


def _inverse(value: Tensor) -> Tensor:
    return torch.where(value > 0, 1 / value, torch.zeros_like(value))
