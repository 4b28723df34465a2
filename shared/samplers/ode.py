"""Solvers of the probability-flow ODE in plain time (Euler, Heun) and an adaptive one (Dormand–Prince 5(4))."""

from __future__ import annotations

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.samplers.run import Run, is_clean, ode_slope


def euler(run: Run) -> None:
    """Euler's method in t, first order."""
    x = run.x
    for now, after in zip(run.nodes, run.nodes[1:], strict=False):
        r, d = run.residual(x), run.data_residual(x, now.t)
        slope = ode_slope(run.sde, now, r, d)
        r = r + (after.t - now.t) * slope
        x = run.finish_step(run.anchored(r), now.t, after.t)


def heun(run: Run) -> None:
    """Heun's trapezoidal method in t, second order (Karras et al. 2022, Algorithm 1); Euler's into clean data."""
    x = run.x
    for now, after in zip(run.nodes, run.nodes[1:], strict=False):
        r, d = run.residual(x), run.data_residual(x, now.t)
        h = after.t - now.t
        slope = ode_slope(run.sde, now, r, d)
        ahead = r + h * slope
        if not is_clean(after):
            d_ahead = run.data_residual(run.anchored(ahead), after.t)
            ahead = r + 0.5 * h * (slope + ode_slope(run.sde, after, ahead, d_ahead))
        x = run.finish_step(run.anchored(ahead), now.t, after.t)


def solver_options(w: Tensor) -> dict[str, object]:
    """Options of torchdiffeq's dopri5 for integrating over w[0] … w[1]: float64 time, no step beyond the end (where
    the path does not exist), and the largest error as the norm, so that the tolerance holds for every item."""
    return {"norm": _max_norm, "dtype": torch.float64, "step_t": w[-1:]}


def _max_norm(state: Tensor | tuple[Tensor, ...]) -> Tensor:
    parts = state if isinstance(state, tuple) else (state,)
    return torch.stack([part.abs().max() for part in parts]).max()


def rk45(run: Run, rtol: float, atol: float) -> None:
    """Adaptive Runge–Kutta 5(4) between the ends of the grid, by torchdiffeq's dopri5.

    In u = (x − y)/σ and w = α/σ the ODE is du/dw = x̂_0 − y: it needs no derivative of α or σ, and starts at w = 0
    on a bridge. The step size is shared by the batch, but the tolerance holds for its worst item.
    """
    from torchdiffeq import odeint  # loads scipy

    if not (rtol > 0 and atol > 0):
        raise ConfigError(f"rtol={rtol}, atol={atol}: need positive tolerances")
    first, last = run.nodes[0], run.nodes[-1]
    x = run.x
    stop = run.nodes[-2] if is_clean(last) and len(run.nodes) > 2 else last
    if not is_clean(stop):
        u = torch.zeros_like(x) if first.sigma == 0 else run.residual(x) / first.sigma
        w = torch.tensor([_ratio(first), _ratio(stop)], dtype=torch.float64)

        def slope(w_now: Tensor, u_now: Tensor) -> Tensor:
            t, sigma = _time_and_sigma(run, float(w_now), first.t, stop.t)
            return run.data_residual(run.anchored(sigma * u_now), t)

        u = odeint(slope, u, w, rtol=rtol, atol=atol, method="dopri5", options=solver_options(w))[-1]
        x = run.anchored(stop.sigma * u)
    else:
        stop = first
    if is_clean(last):
        x = run.data(x, stop.t)
    run.finish_step(x, first.t, last.t)


def _ratio(node: object) -> float:
    sigma, alpha = node.sigma, node.alpha  # type: ignore[attr-defined]
    return alpha / sigma if sigma > 0 else 0.0


def _time_and_sigma(run: Run, w: float, t_high: float, t_low: float) -> tuple[float, float]:
    log_snr = torch.tensor(max(w, 0.0), dtype=torch.float64).log()
    t = min(max(float(run.sde.time_of_log_snr(log_snr)), t_low), t_high)
    return t, float(run.sde.sigma(t))
