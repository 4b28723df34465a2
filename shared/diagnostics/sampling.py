"""What few network calls cost: the distance of a sampler's ends from those of many, with the same starts and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from shared.checks import Count, checked
from shared.errors import SamplingError
from shared.guidance import DenoiserFunction
from shared.samplers import Exponential, Sampler, method_from, method_times
from shared.samplers.reference import Reference
from shared.sde.base import SDE


@dataclass(frozen=True)
class SamplingDistance:
    """What one number of steps comes to.

    Attributes:
        steps: of the sampler.
        nfe: network calls that they took.
        distance: median over the items of the RMS distance to where many steps end, as a share of the deviation of
            those ends.
        largest: of all items.
    """

    steps: int
    nfe: int
    distance: float
    largest: float


def sampling_errors(
    denoiser: DenoiserFunction,
    sde: SDE,
    x_start: Tensor,
    steps: Sequence[int] = (1, 2, 4, 8, 16, 32),
    y: Tensor | None = None,
    method: str | Sampler = "ode2",
    *,
    fine: int = 200,
) -> list[SamplingDistance]:
    """Distances of few steps from many, of samples that start alike.

    It says how well the steps follow the model, not how good the model's samples are. A stochastic method takes the
    increments of one Brownian path at any number of steps (`noise="path"`), which makes its samples comparable; exactly
    so at eta=1.

    Args:
        denoiser, sde, x_start, y: of `shared.samplers.sample`; a start (batch, ...) at the process' T.
        steps: numbers of steps.
        method: a name or settings.
        fine: steps of the reference, many more than those.

    Raises:
        ConfigError: a predictor–corrector or an adaptive method, or counts below 1.
        SamplingError: the reference is not finite.
    """
    found = method_from(method)
    if isinstance(found, Exponential) and found.eta > 0:
        found = replace(found, noise="path")
    counts = [checked(Count, steps=one) for one in steps]
    reference = Reference(denoiser, sde, x_start, y, found, fine=checked(Count, fine=fine))
    if not 0 < reference.size < float("inf"):
        raise SamplingError(f"the ends of {fine} steps are not finite; take more steps, or another method")
    distances = []
    for one in counts:
        result = reference.reached(method_times(found, sde, one))
        far = reference.distances(result.x) / reference.size
        distances.append(SamplingDistance(one, result.nfe, float(far.median()), float(far.max())))
    return distances
