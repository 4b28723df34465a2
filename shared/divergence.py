"""The divergence of a data prediction: its trace exactly, or along random signs (Hutchinson's estimate)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from shared.checks import Count, checked
from shared.errors import ConfigError
from shared.guidance import DenoiserFunction
from shared.random import Generators, randn_like
from shared.views import from_parts, real_parts, rows

Trace = Literal["auto", "exact", "hutchinson"]
"""One backward pass a dimension; Rademacher probes, unbiased; or "auto": exact up to 32 dimensions."""

EXACT_UP_TO = 32
"""Dimensions up to which a trace is exact unless told otherwise."""


def dimensions(x: Tensor) -> int:
    """Real dimensions of an item of x (batch, ...)."""
    return x.shape[1:].numel() * (2 if x.is_complex() else 1)


@torch.inference_mode(False)  # derivatives are taken, whatever mode the caller is in
def data_and_divergence(
    denoiser: DenoiserFunction, x: Tensor, t: float, directions: Tensor | None
) -> tuple[Tensor, Tensor]:
    """x̂_0 (batch, ...) and tr(∂x̂_0/∂x) in real coordinates: exact (batch, 1), or along each probe (batch, probes)."""
    with torch.enable_grad():
        real = real_parts(x).detach().clone().requires_grad_(True)
        times = torch.full((x.shape[0],), t, dtype=real.dtype, device=x.device)
        data = denoiser(from_parts(real, x), times)
        flat = rows(real_parts(data))
        columns = 1 if directions is None else len(directions)
        divergence = torch.zeros(x.shape[0], columns, dtype=torch.float64, device=x.device)
        if not flat.requires_grad:
            _check_constant(denoiser, x, times, data)
            return data.detach(), divergence
        if directions is None:
            for i in range(flat.shape[1]):
                (gradient,) = torch.autograd.grad(flat[:, i].sum(), real, retain_graph=True)
                divergence[:, 0] += rows(gradient)[:, i].double()
        else:
            for column, probe in enumerate(directions):
                (gradient,) = torch.autograd.grad(flat, real, probe.expand_as(flat), retain_graph=True)
                divergence[:, column] = (rows(gradient) * probe).sum(1).double()
    return data.detach(), divergence


def _check_constant(denoiser: DenoiserFunction, x: Tensor, times: Tensor, data: Tensor) -> None:
    """A prediction without a gradient has to be a constant, whose divergence is 0."""
    moved = denoiser(x + (1 + x.abs()) / 16, times)
    if not torch.equal(moved.detach(), data.detach()):
        raise ConfigError(
            "the denoiser's prediction changes with the state, but has no gradient: take it out of torch.no_grad() "
            "and torch.inference_mode(), and leave out detach()"
        )


def directions_of(x: Tensor, trace: Trace, probes: int | Tensor, generator: Generators) -> Tensor | None:
    """Rademacher probes (probes, batch or 1, dims) in real coordinates; None where the trace is exact.

    Args:
        x: states (batch, ...).
        trace: see `Trace`.
        probes: how many; or the probes themselves (probes, batch or 1, ...).
        generator: one for the batch, or one per item.

    Raises:
        ConfigError: an unknown trace, or probes that do not fit the states.
    """
    checked(Trace, trace=trace)
    checked(Count | None, probes=None if isinstance(probes, Tensor) else probes)
    if trace == "exact" or (trace == "auto" and dimensions(x) <= EXACT_UP_TO):
        return None
    real = real_parts(x)
    if isinstance(probes, Tensor):
        given = real_parts(probes)[:, :, None].flatten(2)
        if given.shape[2] != real.shape[1:].numel() or given.shape[1] not in (1, len(x)):
            raise ConfigError(
                f"probes of shape {tuple(probes.shape)}: need (probes, batch or 1, *{tuple(x.shape[1:])})"
            )
        return given.to(real)
    drawn = [randn_like(real, generator).sign() for _ in range(probes)]
    return torch.stack([rows(one) for one in drawn])


def standard_error(each: Tensor, exact: bool) -> Tensor:
    """Of the mean over estimates (batch, estimates), (batch,); NaN with one, which tells nothing of its own error."""
    if exact:
        return torch.zeros_like(each[:, 0])
    if each.shape[1] == 1:
        return torch.full_like(each[:, 0], math.nan)
    return each.std(1) / math.sqrt(each.shape[1])
