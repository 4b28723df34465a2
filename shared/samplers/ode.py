"""Solvers of the probability-flow ODE in plain time (Euler, Heun) and an adaptive one (Dormand–Prince 5(4))."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from shared.checks import Checked, Positive
from shared.errors import SamplingError
from shared.samplers.exponential import step as exponential_step
from shared.samplers.run import Node, Run, is_clean, ode_slope

_BOOT = 1e-3
"""How far from a bridge's end the adaptive solver starts."""


def out_of_bridge(run: Run, x: Tensor, now: Node, after: Node) -> Tensor:
    """The step out of a bridge's end, where all states are one: its noise is what tells samples apart."""
    d = run.data_residual(x, (now,))
    noise = None if is_clean(after) else run.start_noise()
    return run.anchored(exponential_step(run, (now,), (after,), run.residual(x), [([now.log_snr], d)], 0.0, noise))


@dataclass(frozen=True)
class TimeODE(Checked):
    """Fixed steps of the probability-flow ODE in t.

    Args:
        order: 1, Euler's method; 2, Heun's trapezoidal one (Karras et al. 2022, Algorithm 1), Euler's into clean data.
        denoise: end with one more data prediction.

    Raises:
        ConfigError: another order.
    """

    order: Literal[1, 2] = 1
    denoise: bool = False
    kind: Literal["time_ode"] = "time_ode"

    def __call__(self, run: Run) -> None:
        """Run over the grid."""
        nodes = run.single()
        x = run.x
        for now, after in pairwise(nodes):
            x = out_of_bridge(run, x, now, after) if now.sigma == 0 else self._step(run, x, now, after)
            x = run.finish_step(x, (now,), (after,))
        if self.denoise:
            run.denoise_final()

    def _step(self, run: Run, x: Tensor, now: Node, after: Node) -> Tensor:
        r, d = run.residual(x), run.data_residual(x, (now,))
        h = after.t - now.t
        slope = ode_slope(run.sde, now, r, d)
        ahead = r + h * slope
        if self.order == 2 and not is_clean(after):
            d_ahead = run.data_residual(run.anchored(ahead), (after,))
            ahead = r + 0.5 * h * (slope + ode_slope(run.sde, after, ahead, d_ahead))
        return run.anchored(ahead)


def solver_options(w: Tensor) -> dict[str, object]:
    """Options of torchdiffeq's dopri5 for integrating over w[0] … w[1]: float64 time, no step beyond the end (where
    the path does not exist), and the largest error as the norm, so that the tolerance holds for every item."""
    return {"norm": _max_norm, "dtype": torch.float64, "step_t": w[-1:]}


def solved(slope: Callable[..., Any], start: Any, w: Tensor, rtol: float, atol: float) -> Any:
    """The state, a tensor or a tuple of them, at each of w, (points, …), by torchdiffeq's dopri5.

    Raises:
        SamplingError: no step is small enough, as where slopes are not finite.
    """
    from torchdiffeq import odeint  # loads SciPy

    try:
        return odeint(slope, start, w, rtol=rtol, atol=atol, method="dopri5", options=solver_options(w))
    except AssertionError as error:
        raise SamplingError(
            f"the adaptive solver found no step that is small enough ({error}): see that data and predictions are "
            f"finite, raise rtol={rtol} and atol={atol}, or take a number of steps"
        ) from error


def _max_norm(state: Tensor | tuple[Tensor, ...]) -> Tensor:
    parts = state if isinstance(state, tuple) else (state,)
    largest = [part.abs().max() for part in parts if part.numel()]  # none in a batch of no items
    size = torch.stack(largest).max() if largest else torch.zeros(())
    # Where a complex state or its slope is smaller than 1e-5, torchdiffeq's guess of the first step fails.
    return size.clamp_min(2e-5) if any(part.is_complex() for part in parts) else size


@dataclass(frozen=True)
class AdaptiveODE(Checked):
    """Adaptive Runge–Kutta 5(4) between the ends of the grid, by torchdiffeq's dopri5; steps between do not matter.

    In u = (x − y)/σ and w = α/σ the ODE is du/dw = x̂_0 − y: it needs no derivative of α or σ. From a bridge's end it
    starts a little before, with noise. The step size is shared by the batch, but the tolerance holds for its worst
    item.

    Args:
        rtol, atol: tolerances on u.
        denoise: end with one more data prediction.

    Raises:
        ConfigError: a tolerance that is not positive.
        SamplingError: (from the run) predictions that are not finite.
    """

    rtol: Positive = 1e-5
    atol: Positive = 1e-5
    denoise: bool = False
    kind: Literal["adaptive_ode"] = "adaptive_ode"

    def __call__(self, run: Run) -> None:
        """Run from the first point of the grid to the last."""
        nodes = run.single()
        first, last, x = nodes[0], nodes[-1], run.x
        # To clean data, where α/σ is infinite, the last step is the prediction from the smallest positive time.
        stop = Node.at(run.sde, min(run.sde.t_min, 0.5 * first.t)) if is_clean(last) else last
        if first.sigma == 0:
            inside = Node.at(run.sde, max(first.t - _BOOT, 0.5 * (first.t + stop.t)))
            x = self._solve(run, out_of_bridge(run, x, first, inside), inside, stop)
        else:
            x = self._solve(run, x, first, stop)
        if is_clean(last):
            x = run.data(x, (stop,))
        run.finish_step(x, (first,), (last,))
        if self.denoise:
            run.denoise_final()

    def _solve(self, run: Run, x: Tensor, first: Node, stop: Node) -> Tensor:
        w = torch.tensor([_ratio(first), _ratio(stop)], dtype=torch.float64)

        def slope(w_now: Tensor, u_now: Tensor) -> Tensor:
            node = _node_at(run, float(w_now), first.t, stop.t)
            return run.data_residual(run.anchored(node.sigma * u_now), (node,))

        u = solved(slope, run.residual(x) / first.sigma, w, self.rtol, self.atol)
        return run.anchored(stop.sigma * u[-1])


def _ratio(node: Node) -> float:
    return node.alpha / node.sigma if node.sigma > 0 else 0.0


def _node_at(run: Run, w: float, t_high: float, t_low: float) -> Node:
    log_snr = torch.tensor(max(w, 0.0), dtype=torch.float64).log()
    return Node.at(run.sde, min(max(float(run.sde.time_of_log_snr(log_snr)), t_low), t_high))
