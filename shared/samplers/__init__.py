"""Sampling: one call, any process, any method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.guidance import DenoiserFunction, Guidance
from shared.random import Generators
from shared.samplers.exponential import exponential_integrator
from shared.samplers.ode import euler, heun, rk45
from shared.samplers.predictor_corrector import Corrector, Predictor, predictor_corrector
from shared.samplers.run import Callback, ProgressBar, Run, SampleResult, StepInfo, Stop, is_clean
from shared.samplers.schedules import MOST_STEPS, Schedule, time_grid
from shared.sde.base import SDE

__all__ = [
    "MOST_STEPS",
    "Callback",
    "Method",
    "ProgressBar",
    "SampleResult",
    "Schedule",
    "StepInfo",
    "sample",
    "time_grid",
]

Method = Literal["ode1", "ode2", "ode3", "sde1", "sde2", "pc", "euler", "heun", "rk45"]


def sample(
    denoiser: DenoiserFunction,
    sde: SDE,
    shape: Sequence[int] | None = None,
    y: Tensor | None = None,
    method: Method = "ode2",
    steps: int = 10,
    schedule: Schedule | Tensor = "log_snr",
    t_end: float | None = None,
    generator: Generators = None,
    guidance: Guidance | None = None,
    callback: Callback | None = None,
    *,
    x_start: Tensor | None = None,
    t_start: float | None = None,
    eta: float | None = None,
    last_noise: bool = True,
    predictor: Predictor = "reverse_diffusion",
    corrector: Corrector = "ald",
    corrector_steps: int = 1,
    snr: float = 0.5,
    probability_flow: bool = False,
    rho: float = 7.0,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    denoise: bool = False,
    return_trajectory: bool = False,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> SampleResult:
    """Draw samples by the reverse process from the prior (or from `x_start`) down to t_end.

    Args:
        denoiser: (x (batch, ...), t (batch,)) → x̂_0 (batch, ...), the data prediction. What else it depends on, it
            closes over. Gradients are not recorded here; guidance that needs them enables them itself.
        sde: the process.
        shape: (batch, ...) of the result. May be left out when `y` or `x_start` is given.
        y: the anchor (batch, ...), for processes that lead to it; 0 when absent.
        method: "ode1", "ode2", "ode3": deterministic exponential integrators of that order; "sde1", "sde2": stochastic
            ones; "pc": predictor–corrector; "euler", "heun": the probability-flow ODE in plain time; "rk45":
            adaptive, where `steps` does not matter.
        steps: number of steps, not of calls: those are in the result's `nfe`.
        schedule: where the steps lie, or the falling times themselves; see `time_grid`.
        t_end: where to stop; None means the SDE's own. At t = 0 the last step is the data prediction.
        generator: one for the batch, or one per item, which makes an item's result independent of the batch.
        guidance: steers the prediction, and the state after a step.
        callback: called after every step with a `StepInfo` (see `ProgressBar`); ends sampling when it returns True.
        x_start, t_start: start from this state (batch, ...) at this time instead of from the prior at T.
        eta: share of fresh noise of the exponential integrators; None means 0 for "ode*" and 1 for "sde*".
        last_noise: whether the last step of "sde1" and "sde2" adds noise; without, it gives its mean.
        predictor, corrector, corrector_steps, snr, probability_flow: of "pc"; see `predictor_corrector`.
        rho: of the "edm" schedule.
        rtol, atol: tolerances of "rk45", on u = (x − y)/σ.
        denoise: end with the mean of the last step ("pc"), or with one more data prediction at t_end (others).
        return_trajectory: keep the states after every step.
        dtype, device: of the samples when only `shape` is given.

    Returns:
        SampleResult with .x (batch, ...), .nfe, .trajectory, .times.

    Raises:
        ConfigError: an unknown method, predictor, corrector or schedule, impossible times, no shape, or a probability
            flow of another method than "pc" or that `predictor_corrector` does not know.
    """
    if method not in get_args(Method):
        raise ConfigError(f"method {method!r}: choose one of {', '.join(get_args(Method))}")
    if eta is not None and not 0 <= eta <= 1:
        raise ConfigError(f"eta={eta}: the share of fresh noise lies between 0 and 1")
    if probability_flow and method != "pc":
        raise ConfigError(
            f'probability_flow=True with method {method!r}: it is a setting of "pc"; ode1 … ode3, euler, heun and rk45 '
            "follow the probability-flow ODE by themselves"
        )
    times = time_grid(sde, steps, schedule, t_start, t_end, rho)
    with torch.no_grad():
        x = _start(sde, shape, y, x_start, generator, dtype, device)
        run = Run(denoiser, sde, x, y, times, generator, guidance, callback, return_trajectory)
        try:
            if method == "pc":
                predictor_corrector(run, predictor, corrector, corrector_steps, snr, denoise, probability_flow)
            elif method == "rk45":
                rk45(run, rtol, atol)
            elif method in ("euler", "heun"):
                (euler if method == "euler" else heun)(run)
            else:
                share = (0.0 if method.startswith("ode") else 1.0) if eta is None else eta
                exponential_integrator(run, int(method[-1]), share, last_noise)
        except Stop:
            return run.result(stopped=True)
        if denoise and method != "pc" and not is_clean(run.nodes[-1]):
            run.denoise_final()
    return run.result(stopped=False)


def _start(
    sde: SDE,
    shape: Sequence[int] | None,
    y: Tensor | None,
    x_start: Tensor | None,
    generator: Generators,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Tensor:
    if x_start is not None:
        start = x_start
    elif y is not None:
        start = sde.prior_sample(y, generator)
    elif shape is not None:
        start = sde.prior_sample(shape, generator, dtype=dtype, device=device)
    else:
        raise ConfigError("nothing tells the shape of the samples: give shape, y or x_start")
    if shape is not None and tuple(shape) != tuple(start.shape):
        raise ConfigError(f"shape {tuple(shape)} does not agree with the anchor or start, {tuple(start.shape)}")
    return start
