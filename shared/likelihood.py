"""Exact log-likelihood by the probability-flow ODE (Song et al. 2021, §4.3 and eq. 39; Chen et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shared.checks import Count, Positive, checked, require
from shared.divergence import Trace, data_and_divergence, dimensions, directions_of, standard_error
from shared.guidance import DenoiserFunction
from shared.random import Generators
from shared.samplers.ode import solved
from shared.sde.base import SDE, anchored, residual
from shared.views import check_numbers

_LAST = -3.0


@dataclass(frozen=True)
class LogLikelihood:
    """log densities and how well they are known.

    Attributes:
        value: (batch,) nats, float64.
        standard_error: (batch,) of `value` over Hutchinson's probes, nats; 0 with an exact trace, NaN with one probe,
            which tells nothing of its own error. The solver's error is not in it.
        nfe: network calls.
    """

    value: Tensor
    standard_error: Tensor
    nfe: int


def log_likelihood(
    denoiser: DenoiserFunction, sde: SDE, x0: Tensor, y: Tensor | None = None, **settings: Any
) -> Tensor:
    """log density of x0 under the model, in nats per item, (batch,), float64: `estimate_log_likelihood(...).value`."""
    return estimate_log_likelihood(denoiser, sde, x0, y, **settings).value


def estimate_log_likelihood(
    denoiser: DenoiserFunction,
    sde: SDE,
    x0: Tensor,
    y: Tensor | None = None,
    *,
    trace: Trace = "auto",
    probes: int | Tensor = 1,
    generator: Generators = None,
    t_end: float = 1e-5,
    steps: int | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    prior_log_prob: Callable[[Tensor], Tensor] | None = None,
) -> LogLikelihood:
    """log density of x0 under the model, and its standard error where the trace is estimated.

    In u = (x − y)/σ and w = α/σ the ODE is du/dw = x̂_0 − y, along which d log p(u)/dw = −σ·tr(∂x̂_0/∂x). It is solved in
    float64 from the data to the prior. The density is that of the model: the prior carried through the ODE. Where the
    prior differs from the process' own end (OUVE's mean is off by α(1)(x_0 − y)), so does the density.

    Args:
        denoiser: (x (batch, ...), t (batch,)) → x̂_0, differentiable in x.
        sde: the process; it must have a prior density.
        x0: data (batch, ...), real or complex (complex data counts two dimensions an element).
        y: anchor, shaped like `x0`.
        trace: "exact", "hutchinson" (Rademacher probes; unbiased), or "auto": exact up to 32 dimensions.
        probes: number of Hutchinson probes, averaged; or the probes themselves (probes, batch or 1, ...).
        generator: one for the batch, or one per item.
        t_end: time that counts as clean data.
        steps: None solves adaptively (dopri5, step size shared by the batch); a number takes so many fourth-order
            Runge–Kutta steps uniform in log-SNR, four calls each, so that an item's value does not depend on the batch.
        rtol, atol: tolerances of the adaptive solver.
        prior_log_prob: log density of x_T (batch, ...) → (batch,), instead of the SDE's prior.

    Returns:
        Values, standard errors and the number of network calls.

    Raises:
        ConfigError: the process has no prior density, a setting is impossible, or the denoiser records no gradient.
        SamplingError: data or predictions that are not finite, with the adaptive solver.
    """
    checked(Count | None, steps=steps)
    checked(Positive, rtol=rtol, atol=atol)
    require_noise_at(sde, t_end)
    for name, given in (("x0", x0), *(() if y is None else (("y", y),))):
        check_numbers(name, given)
    dims = dimensions(x0)
    directions = directions_of(x0, trace, probes, generator)
    if prior_log_prob is None:
        sde.prior_log_prob(x0[:1], None if y is None else y[:1])  # refuse a bridge before the work, not after

    sigma_0, sigma_T = float(sde.sigma(t_end)), float(sde.sigma(sde.T))
    wide = torch.complex128 if x0.is_complex() else torch.float64
    u0 = residual(x0, y).to(wide) / sigma_0
    w = _grid(float(sde.alpha(t_end)) / sigma_0, float(sde.alpha(sde.T)) / sigma_T, steps)
    calls = 0

    def slope(w_now: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        t = float(sde.time_of_log_snr(w_now.log()))
        sigma = float(sde.sigma(min(max(t, t_end), sde.T)))
        x = anchored((sigma * state[0]).to(x0.dtype), y)
        data, divergence = data_and_divergence(denoiser, x, t, directions)
        return residual(data, y).to(wide), -sigma * divergence

    estimates = 1 if directions is None else len(directions)
    start = (u0, torch.zeros(len(x0), estimates, dtype=torch.float64, device=x0.device))
    w = w.to(x0.device)
    with torch.no_grad():
        if steps is None:
            u, change = solved(slope, start, w, rtol, atol)
        else:
            from torchdiffeq import odeint  # loads SciPy

            u, change = odeint(slope, start, w, method="rk4")
        x_T = anchored(sigma_T * u[-1], None if y is None else y.to(wide))
        prior = sde.prior_log_prob(x_T, None if y is None else y.to(wide)) if prior_log_prob is None else None
        terminal = prior_log_prob(x_T) if prior_log_prob is not None else prior
    assert terminal is not None
    each = terminal.double()[:, None] + dims * math.log(sigma_T / sigma_0) - change[-1].real
    return LogLikelihood(each.mean(1), standard_error(each, exact=directions is None), calls)


def require_noise_at(sde: SDE, t_end: float) -> None:
    """Refuse a time of the data at which there is no density.

    Raises:
        ConfigError: it lies outside [0, T), or nothing but the data is there.
    """
    met = 0 <= t_end < sde.T and float(sde.sigma(t_end)) > 0
    require(met, f"data needs a time before {sde.T} at which there is some noise, such as 1e-5", t_end=t_end)


def _grid(w_data: float, w_prior: float, steps: int | None) -> Tensor:
    """The ends in w = α/σ, from data to prior, and the points between them that are uniform in log-SNR.

    A flow's prior has w = 0: its last step goes there from the log-SNR `_LAST`, below which hardly anything changes.
    """
    if steps is None:
        return torch.tensor([w_data, w_prior], dtype=torch.float64)
    if w_prior == 0:
        return torch.cat([_grid(w_data, min(math.exp(_LAST), w_data), steps - 1), torch.zeros(1, dtype=torch.float64)])
    return torch.linspace(math.log(w_data), math.log(w_prior), steps + 1, dtype=torch.float64).exp()
