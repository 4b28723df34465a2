"""The Gaussian law of windows, of all or given what is observed, for the samplers that start or step by it.

Self-guidance by a covariance is Kalman's update at each noise level, and where windows are Gaussian the guided data
prediction is that of the law given the observed values. So the law that a guided sampler goes by is that one: its
teleport then respects what is observed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import Guidance
from shared.samplers.gaussian import GaussianExponential
from shared.samplers.laws import Gain, Gaussian, Law
from tsdiff.sampling.guidance import ObservationGuidance
from tsdiff.sampling.known_covariance import CovarianceGuidance
from tsdiff.windows.covariance import ObservedCovariance

MOST_VALUES = 2048
"""Values of a window whose law given observed values is asked for: its covariance is factorised whole."""


@dataclass(frozen=True)
class PosteriorLaw(Law):
    """The law of windows given what is observed of each row of a batch.

    Args:
        mean: (batch, length, channels).
        groups: rows that have the same covariance, and a law of that covariance.
    """

    mean: Tensor
    groups: tuple[tuple[Tensor, Gaussian], ...]

    def center(self, like: Tensor) -> Tensor:
        return self.mean.to(like)

    def applied(self, gain: Gain, z: Tensor) -> Tensor:
        out = torch.empty_like(z)
        for rows, law in self.groups:
            out[rows] = law.applied(gain, z[rows])
        return out

    def squares(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raise ConfigError("a level shift goes by one law for all windows: give it `law`, or draw without guidance")


def guided_law(guidance: Guidance | None, prior: Callable[[], Law], method: object, shape: Sequence[int]) -> Law:
    """What a sampler of guided windows goes by: the law given what is observed, where the guidance tells it.

    With guidance that does not ("tweedie", "trace", "scalar", one of a user's own, the "robust" energy, one of another
    strength than 1), the law of all windows serves the integrator, but no teleport.

    Args:
        guidance: of the batch; None for windows that are drawn freely.
        prior: gives the law of all windows, or raises ConfigError.
        method: the sampler.
        shape: of a window, (length, channels).

    Raises:
        ConfigError: a teleport past such guidance, windows too large, or no covariance to go by.
    """
    groups = _groups(guidance) if isinstance(method, GaussianExponential) else None
    if groups is None:
        if guidance is not None and getattr(method, "teleport", None) is not None:
            raise ConfigError(
                "a teleport past observed values needs the law given them: take covariance='window' or 'kernels' at "
                "scale=1 and not guidance='robust', or teleport=None"
            )
        return prior()
    assert isinstance(guidance, ObservationGuidance)
    target = guidance.target()
    mean, parts = torch.empty_like(target), list[tuple[Tensor, Gaussian]]()
    for rows, seen in groups:
        mean[rows] = seen.update(target[rows], 0.0, 1.0, guidance.observation_std)
        for pattern in range(len(seen.inner)):
            same = seen.pattern == pattern
            parts.append((rows[same], _posterior(seen, same, guidance.observation_std, shape)))
    return PosteriorLaw(mean, tuple(parts))


def _groups(guidance: Guidance | None) -> list[tuple[Tensor, ObservedCovariance]] | None:
    if not isinstance(guidance, CovarianceGuidance) or guidance.scale != 1 or guidance.energy == "robust":
        return None
    return guidance.groups


def _posterior(seen: ObservedCovariance, rows: Tensor, trust: float, shape: Sequence[int]) -> Gaussian:
    """C − C Mᵀ(M C Mᵀ + trust²I)⁻¹M C of the first of the rows, of mean 0."""
    n = seen.covariance.n
    if n > MOST_VALUES:
        raise ConfigError(
            f"windows of {n} values: the law given observed values is for at most {MOST_VALUES}; take ode2, or a "
            "shorter context"
        )
    mask = seen.observed[rows][:1]
    u = seen.covariance
    whole = (u.directions * (u.variances - u.rest)) @ u.directions.T
    whole.diagonal().add_(u.rest)
    alike = ObservedCovariance(u, mask.reshape(1, *shape).expand(n, *shape))
    told = alike.update((whole * mask).reshape(n, *shape), 0.0, 1.0, trust).flatten(1)
    left = whole - told
    values, vectors = torch.linalg.eigh((left + left.T) / 2)
    return Gaussian(torch.zeros(*shape).to(vectors), vectors.T.reshape(n, *shape), values.clamp_min(0))
