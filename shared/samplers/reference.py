"""Where many steps of a sampler end, and how far from there fewer come: from the same starts, with the same noise."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction, Guidance
from shared.random import make_generator
from shared.samplers import AdaptiveODE, Exponential, PredictorCorrector, Sampler, method_times, sample
from shared.samplers.run import SampleResult
from shared.sde.base import SDE
from shared.views import rows


class Reference:
    """The end that a method comes to with many steps.

    Args:
        denoiser, sde, x_start, y, guidance: of `shared.samplers.sample`.
        method: whose steps are to be compared; the reference takes `ode3`, or the method itself where it is stochastic.
        fine: steps of the reference.
        t_start, t_end: of its grid.

    Attributes:
        size: deviation of the reference's samples, by which distances may be divided; 1 where they are all alike.

    Raises:
        ConfigError: a method whose samples do not depend on its steps alone: one with fresh noise, a
            predictor–corrector, or an adaptive one.
    """

    def __init__(
        self,
        denoiser: DenoiserFunction,
        sde: SDE,
        x_start: Tensor,
        y: Tensor | None,
        method: Sampler,
        *,
        fine: int,
        t_start: float | None = None,
        t_end: float | None = None,
        guidance: Guidance | None = None,
    ):
        self._method = _comparable(method)
        self._denoiser, self._sde, self._x_start, self._y, self._guidance = denoiser, sde, x_start, y, guidance
        stochastic = isinstance(method, Exponential) and method.eta > 0
        reference: Sampler = method if stochastic else Exponential(3)
        self._end = self._reached(reference, method_times(reference, sde, fine, t_start=t_start, t_end=t_end)).x
        end = self._end
        self.size = float(end.abs().square().mean().sqrt() if end.is_complex() else end.std()) or 1.0

    def reached(self, times: Tensor) -> SampleResult:
        """Where the method comes to over these times."""
        return self._reached(self._method, times)

    def distances(self, x: Tensor) -> Tensor:
        """RMS distance of each item (batch, ...) from its end, (batch,)."""
        return rows((x - self._end).abs().square()).mean(1).sqrt()

    def _reached(self, method: Sampler, times: Tensor) -> SampleResult:
        options: dict[str, Any] = {"guidance": self._guidance, "generator": make_generator("search")}
        return sample(
            self._denoiser,
            self._sde,
            y=self._y,
            x_start=self._x_start,
            method=method,
            schedule=times,
            **options,
        )


def _comparable(method: Sampler) -> Sampler:
    if isinstance(method, Exponential) and method.eta > 0 and method.noise != "path":
        raise ConfigError(
            f"eta={method.eta} with fresh noise: samples of other steps are other samples; take noise='path', or eta=0"
        )
    if isinstance(method, PredictorCorrector | AdaptiveODE):
        raise ConfigError(
            f"{type(method).__name__}: its samples do not tell one grid from another; take an exponential integrator"
        )
    return method
