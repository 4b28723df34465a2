"""Exact log-likelihood by the probability-flow ODE (Song et al. 2021, §4.3 and eq. 39; Chen et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torchdiffeq import odeint

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction
from shared.random import Generators, randn
from shared.samplers.ode import solver_options
from shared.sde.base import SDE, anchored, residual

Trace = Literal["auto", "exact", "hutchinson"]

_EXACT_UP_TO = 32
"""Dimensions up to which "auto" computes the trace exactly, at one backward pass a dimension."""


def log_likelihood(
    denoiser: DenoiserFunction,
    sde: SDE,
    x0: Tensor,
    y: Tensor | None = None,
    *,
    trace: Trace = "auto",
    probes: int = 1,
    generator: Generators = None,
    t_end: float = 1e-5,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    prior_log_prob: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """log density of x0 under the model, in nats per item.

    In u = (x − y)/σ and w = α/σ the ODE is du/dw = x̂_0 − y, along which d log p(u)/dw = −σ·tr(∂x̂_0/∂x). It is solved in
    float64 from the data to the prior. The density is that of the model: the prior carried through the ODE. Where the
    prior differs from the process' own end (OUVE's mean is off by α(1)(x_0 − y)), so does the density.

    Args:
        denoiser: (x (batch, ...), t (batch,)) → x̂_0, differentiable in x.
        sde: the process; it must have a prior density.
        x0: data (batch, ...), real or complex (complex data counts two dimensions an element).
        y: anchor, shaped like `x0`.
        trace: "exact", "hutchinson" (Rademacher probes; unbiased), or "auto": exact up to 32 dimensions.
        probes: number of Hutchinson probes, averaged.
        generator: one for the batch, or one per item.
        t_end: time that counts as clean data.
        rtol, atol: tolerances of the solver (dopri5).
        prior_log_prob: log density of x_T (batch, ...) → (batch,), instead of the SDE's prior.

    Returns:
        (batch,) nats, float64.

    Raises:
        ConfigError: the process has no prior density, or a setting is impossible.
    """
    if trace not in ("auto", "exact", "hutchinson"):
        raise ConfigError(f"trace={trace!r}: choose auto, exact or hutchinson")
    if probes < 1:
        raise ConfigError(f"probes={probes}: need at least one")
    dims = x0[0].numel() * (2 if x0.is_complex() else 1)
    directions = None
    if trace == "hutchinson" or (trace == "auto" and dims > _EXACT_UP_TO):
        directions = [_rademacher(x0, generator) for _ in range(probes)]
    if prior_log_prob is None:
        sde.prior_log_prob(x0[:1], None if y is None else y[:1])  # refuse a bridge before the work, not after

    sigma_0, sigma_T = float(sde.sigma(t_end)), float(sde.sigma(sde.T))
    wide = torch.complex128 if x0.is_complex() else torch.float64
    u0 = residual(x0, y).to(wide) / sigma_0
    w = torch.tensor([float(sde.alpha(t_end)) / sigma_0, float(sde.alpha(sde.T)) / sigma_T], dtype=torch.float64)

    def slope(w_now: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        t = float(sde.time_of_log_snr(w_now.log()))
        sigma = float(sde.sigma(min(max(t, t_end), sde.T)))
        x = anchored((sigma * state[0]).to(x0.dtype), y)
        data, divergence = _data_and_divergence(denoiser, x, t, directions)
        return residual(data, y).to(wide), -sigma * divergence

    start = (u0, torch.zeros(len(x0), dtype=torch.float64, device=x0.device))
    w = w.to(x0.device)
    with torch.no_grad():
        u, change = odeint(slope, start, w, rtol=rtol, atol=atol, method="dopri5", options=solver_options(w))
        x_T = anchored(sigma_T * u[-1], None if y is None else y.to(wide))
        prior = sde.prior_log_prob(x_T, None if y is None else y.to(wide)) if prior_log_prob is None else None
        terminal = prior_log_prob(x_T) if prior_log_prob is not None else prior
    assert terminal is not None
    return terminal.double() + dims * math.log(sigma_T / sigma_0) - change[-1]


def bits_per_dim(nats: Tensor, dims: int) -> Tensor:
    """Negative log-likelihood in bits per dimension, from nats per item (batch,) of `dims` dimensions."""
    return -nats / (dims * math.log(2))


def _data_and_divergence(
    denoiser: DenoiserFunction, x: Tensor, t: float, directions: list[Tensor] | None
) -> tuple[Tensor, Tensor]:
    """x̂_0 (batch, ...) and tr(∂x̂_0/∂x) (batch,) in real coordinates, exact or along probe directions."""
    complex_data = x.is_complex()
    real = torch.view_as_real(x) if complex_data else x
    with torch.enable_grad():
        real = real.detach().requires_grad_(True)
        times = torch.full((x.shape[0],), t, dtype=real.dtype, device=x.device)
        data = denoiser(torch.view_as_complex(real) if complex_data else real, times)
        flat = (torch.view_as_real(data) if complex_data else data).flatten(1)
        divergence = torch.zeros(x.shape[0], dtype=torch.float64, device=x.device)
        if not flat.requires_grad:
            return data.detach(), divergence  # a constant prediction
        if directions is None:
            for i in range(flat.shape[1]):
                (gradient,) = torch.autograd.grad(flat[:, i].sum(), real, retain_graph=True)
                divergence += gradient.flatten(1)[:, i].double()
        else:
            for probe in directions:
                v = (torch.view_as_real(probe) if complex_data else probe).flatten(1)
                (gradient,) = torch.autograd.grad((flat * v).sum(), real, retain_graph=True)
                divergence += (gradient.flatten(1) * v).sum(1).double() / len(directions)
    return data.detach(), divergence


def _rademacher(x: Tensor, generator: Generators) -> Tensor:
    real = torch.view_as_real(x) if x.is_complex() else x
    signs = randn(real.shape, generator, dtype=real.dtype, device=x.device).sign()
    return torch.view_as_complex(signs) if x.is_complex() else signs
