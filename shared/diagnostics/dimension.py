"""How many dimensions the data have around an item, by what the model says of it at small noise: three estimates.

    FLIPD      tr ∂D/∂u + ‖D − u‖²/κ² at u = x_0 itself, not at a noisy state (Kamkari et al. 2024)
    LIDL       d + the slope of log p_κ(x_0) over log κ (Tempczyk et al. 2022)
    spectrum   scores at noisy copies of x_0 span the normal space: the largest gap of their singular values counts its
               dimensions (Stanczuk et al. 2024)

Each counts directions along which the data vary by more than the noise κ at which it is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shared.checks import Count, checked
from shared.diagnostics.field import ScoreField, inner
from shared.divergence import Trace, data_and_divergence, dimensions, directions_of, standard_error
from shared.errors import ConfigError
from shared.guidance import DenoiserFunction
from shared.likelihood import estimate_log_likelihood
from shared.random import Generators, randn_like
from shared.samplers.run import Node
from shared.sde.base import SDE, anchored, residual
from shared.views import rows

_MOST_DIMENSIONS = 4096


@dataclass(frozen=True)
class Dimension:
    """Intrinsic dimensions of a batch.

    Attributes:
        value: (batch,), float64.
        standard_error: (batch,), of a trace that is estimated; 0 of an exact one, NaN of a single probe.
    """

    value: Tensor
    standard_error: Tensor


def flipd(
    denoiser: DenoiserFunction,
    sde: SDE,
    x0: Tensor,
    t: float,
    y: Tensor | None = None,
    *,
    trace: Trace = "auto",
    generator: Generators = None,
    probes: int | Tensor = 4,
) -> Dimension:
    """FLIPD at data x0 (batch, ...) and the noise of time t.

    Args:
        denoiser, sde, x0, y: see `ScoreField`.
        t: a time of small noise.
        trace, probes, generator: of the trace, as in `shared.likelihood`.

    Raises:
        ConfigError: an end of the path, or noise with heavy tails.
    """
    field = ScoreField(denoiser, sde, t, x0, y)
    x = anchored(field.node.alpha * residual(x0, y), y)
    data, divergence = data_and_divergence(denoiser, x, t, given := directions_of(x, trace, probes, generator))
    left = field.of_data(data) - field.of_data(x0)
    each = field.node.alpha * divergence
    value = each.mean(1) + inner(left, left) / field.variance
    return Dimension(value, standard_error(each, exact=given is None))


def lidl(
    denoiser: DenoiserFunction,
    sde: SDE,
    x0: Tensor,
    times: Sequence[float],
    y: Tensor | None = None,
    **settings: Any,
) -> Dimension:
    """LIDL: the slope of the log density of x0 (batch, ...) with noise of each of the times, fitted by least squares.

    Args:
        denoiser, sde, x0, y: see `ScoreField`.
        times: at least two, of small noise.
        settings: of `shared.likelihood.estimate_log_likelihood`: trace, probes, generator, steps, ….

    Returns:
        The dimensions, with the standard error of the line through the densities; 0 of two times.

    Raises:
        ConfigError: fewer than two times, or a process without prior density, as a bridge.
    """
    refuse_lidl(sde, times)
    nodes = [Node.at(sde, t) for t in times]
    dims, found = dimensions(x0), []
    for node in nodes:
        x = anchored(node.alpha * residual(x0, y), y)
        density = estimate_log_likelihood(denoiser, sde, x, y, t_end=node.t, **settings).value
        found.append(density + dims * math.log(node.alpha))
    level = torch.tensor([-node.log_snr for node in nodes], dtype=torch.float64, device=x0.device)
    level, value = level - level.mean(), torch.stack(found)
    slope = (level[:, None] * value).sum(0) / level.square().sum()
    left = value - value.mean(0) - level[:, None] * slope
    error = (left.square().sum(0) / max(1, len(nodes) - 2) / level.square().sum()).sqrt()
    return Dimension(dims + slope, error)


def refuse_lidl(sde: SDE, times: Sequence[float]) -> None:
    """Raise ConfigError where LIDL has no slope to take."""
    if len(set(times)) < 2:
        raise ConfigError(f"times={list(times)}: LIDL needs at least two levels of noise for a slope; take flipd")
    if sde.prior_std == 0:
        raise ConfigError(f"LIDL needs a density, and {type(sde).__name__} has none: take flipd")


def refuse_spectrum(dims: int) -> None:
    """Raise ConfigError for items of so many dimensions that a spectrum of their scores is out of reach."""
    if not 2 <= dims <= _MOST_DIMENSIONS:
        raise ConfigError(f"{dims} dimensions: a spectrum of scores is for 2 to {_MOST_DIMENSIONS}; take flipd")


@dataclass(frozen=True)
class ScoreSpectrum:
    """Singular values of scores at noisy copies of items, times κ.

    Attributes:
        values: falling, (batch, dimensions), float64; about 1 in the normal directions.
        dimension: (batch,): how many lie beyond the largest gap. A 1 is put before the values and a 0 behind them, so
            that data which fill all dimensions, or none, are found too.
        gap: (batch,): its width. Clear ones are about 1; where it is small `dimension` means nothing.
    """

    values: Tensor
    dimension: Tensor
    gap: Tensor


def score_spectrum(
    denoiser: DenoiserFunction,
    sde: SDE,
    x0: Tensor,
    t: float,
    y: Tensor | None = None,
    *,
    copies: int | None = None,
    generator: Generators = None,
) -> ScoreSpectrum:
    """The spectrum of the scores at noisy copies of each item, one call for a copy of all.

    Args:
        denoiser, sde, x0, y: see `ScoreField`.
        t: a time of small noise.
        copies: of each item; None takes four for each dimension, as published.
        generator: of the noise.

    Raises:
        ConfigError: one dimension or more than 4096, or fewer copies than dimensions.
    """
    dims = dimensions(x0)
    copies = checked(Count, copies=4 * dims if copies is None else copies)
    refuse_spectrum(dims)
    if copies < dims:
        raise ConfigError(f"copies={copies} of {dims} dimensions: need at least as many copies")
    field, scores = ScoreField(denoiser, sde, t, x0, y), list[Tensor]()
    for _ in range(copies):
        noise = randn_like(x0, generator)
        with torch.no_grad():
            scores.append(rows(field.score(field.noisy(x0, noise))))
    values = torch.linalg.svdvals(torch.stack(scores, dim=1).double() * math.sqrt(field.variance / copies))
    ends = torch.ones_like(values[:, :1])
    gap, normal = (-torch.cat([ends, values, 0 * ends], dim=1).diff(dim=1)).max(1)
    return ScoreSpectrum(values, dims - normal, gap)
