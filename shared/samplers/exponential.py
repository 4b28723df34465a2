"""Exponential integrators in log-SNR with data prediction: ode1/2/3, sde1/2 and the DDIM η in between.

With r = x − y and d = x̂_0 − y, a step s → t with h = λ_t − λ_s and a share η of fresh noise is

    r_t = (σ_t/σ_s)·ρ·r_s + α_t·∫₀ʰ a e^{a(w−h)} d(λ_s + w) dw + η σ_t √(1 − e^{−2h})·ξ,

where ρ = √(1 − η²(1 − e^{−2h})) is the share of the old noise that is kept, and a = 1 − log(ρ)/h. η = 0 is DDIM and
DPM-Solver++ (Lu et al. 2022), η = 1 is DDPM's ancestral step and SDE-DPM-Solver++ (on a bridge: Jukić et al. 2024, the
ODE and SDE samplers). The integral takes d as a polynomial through the latest predictions.
"""

from __future__ import annotations

import math

from torch import Tensor

from shared.samplers.run import Node, Run, is_clean

History = list[tuple[float, Tensor]]
"""(λ, d) of earlier predictions, the latest first."""

_REACH = 2.0
"""A polynomial is trusted for a step up to this many times the last one (a uniform-t grid ends in far longer ones)."""


def exponential_integrator(run: Run, order: int, eta: float, last_noise: bool = True) -> None:
    """Run over the grid with polynomials of degree order − 1; order 3 spends one more call to start at full order.

    Without `last_noise` the last step gives its mean.
    """
    history: History = []
    x = run.x
    final = run.nodes[-1]
    for now, after in zip(run.nodes, run.nodes[1:], strict=False):
        d = run.data_residual(x, now.t)
        history = [(now.log_snr, d), *history][:order]
        if order == 3 and len(history) == 1 and math.isfinite(after.log_snr - now.log_snr):
            history = [history[0], _midpoint(run, now, after, x, history)]
        noisy = eta > 0 and not is_clean(after) and (last_noise or after is not final)
        noise = run.noise() if noisy else None
        r = step(now, after, run.residual(x), history, eta, noise)
        x = run.finish_step(run.anchored(r), now.t, after.t)
        if math.isinf(now.log_snr):
            history = []


def _midpoint(run: Run, now: Node, after: Node, x: Tensor, history: History) -> tuple[float, Tensor]:
    """A prediction halfway in λ, so that the first step is of second order too (DPM-Solver++(2S))."""
    t = float(run.sde.time_of_log_snr(0.5 * (now.log_snr + after.log_snr)))
    middle = Node.at(run.sde, t)
    r = step(now, middle, run.residual(x), history, 0.0, None)
    return middle.log_snr, run.data_residual(run.anchored(r), t)


def step(now: Node, after: Node, r: Tensor, history: History, eta: float, noise: Tensor | None) -> Tensor:
    """One step of the residual r (batch, ...) from `now` to `after`; history[0] is the prediction at `now`."""
    h = after.log_snr - now.log_snr
    d = history[0][1]
    if is_clean(after):
        return d
    fresh = eta * math.sqrt(-math.expm1(-2 * h))
    kept = math.sqrt(1 - fresh * fresh) if eta < 1 else math.exp(-h)
    if math.isinf(h):
        # Out of a bridge's end r = 0, and no earlier prediction is usable.
        out = after.alpha * d
    else:
        rate = 1 - math.log(kept) / h
        out = (after.sigma / now.sigma) * kept * r
        for weight, term in zip(_weights(rate, h, history), _differences(history), strict=False):
            out = out + (after.alpha * weight) * term
    if noise is not None:
        out = out + (fresh * after.sigma) * noise
    return out


def _differences(history: History) -> list[Tensor]:
    """Newton's divided differences of d over λ: d, d[0,1], d[0,1,2]."""
    if len(history) == 1:
        return [history[0][1]]
    (l0, d0), (l1, d1) = history[:2]
    first = (d0 - d1) / (l0 - l1)
    if len(history) == 2:
        return [d0, first]
    l2, d2 = history[2]
    return [d0, first, (first - (d1 - d2) / (l1 - l2)) / (l0 - l2)]


def _weights(rate: float, h: float, history: History) -> list[float]:
    """∫₀ʰ a e^{a(w−h)} q(w) dw for Newton's polynomials q = 1, w, w(w + λ_0 − λ_1), damped where they reach too far."""
    zeroth = -math.expm1(-rate * h)
    if len(history) == 1:
        return [zeroth]
    first = h - zeroth / rate
    second = h * h - 2 * first / rate
    gap = history[0][0] - history[1][0]
    trust = min(1.0, _REACH * abs(gap) / h)
    return [zeroth, trust * first, trust * trust * (second + gap * first)]
