"""Sampling: one call, any process, any method.

A method is a callable that takes a `Run` over the grid of times: one of the settings classes here, a name that stands
for one, or a user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from shared.checks import Natural, checked, require
from shared.devices import compute_device
from shared.errors import ConfigError, SamplingError
from shared.guidance import DenoiserFunction, Guidance
from shared.kinds import OneOf
from shared.random import Generators
from shared.samplers.denoising import DenoisingMCMC
from shared.samplers.evodiff import EVODiff
from shared.samplers.exponential import Exponential
from shared.samplers.gaussian import GaussianExponential
from shared.samplers.maps import FlowMap
from shared.samplers.ode import AdaptiveODE, TimeODE
from shared.samplers.predictor_corrector import PredictorCorrector
from shared.samplers.run import Callback, ProgressBar, Run, SampleResult, StepInfo, Stop
from shared.samplers.schedules import MOST_STEPS, Schedule, time_grid
from shared.sde.base import SDE
from shared.views import check_numbers

Method = Literal["ode1", "ode2", "ode3", "sde1", "sde2", "sde3", "evodiff", "pc", "euler", "heun", "rk45", "map"]
"""The names of `METHODS`."""
Sampler = Callable[[Run], None]
"""Takes a run from its first node to its last."""
METHODS: dict[str, Sampler] = {
    "ode1": Exponential(1),
    "ode2": Exponential(2),
    "ode3": Exponential(3),
    "sde1": Exponential(1, eta=1.0),
    "sde2": Exponential(2, eta=1.0),
    "sde3": Exponential(3, eta=1.0),
    "evodiff": EVODiff(),
    "pc": PredictorCorrector(),
    "euler": TimeODE(1),
    "heun": TimeODE(2),
    "rk45": AdaptiveODE(),
    "map": FlowMap(),
}
"""What each name stands for."""
KINDS = (Exponential, EVODiff, GaussianExponential, PredictorCorrector, TimeODE, AdaptiveODE, FlowMap, DenoisingMCMC)
"""The settings classes that files name by their `kind`."""
MethodSetting = Annotated[Any, OneOf(None, KINDS, names=tuple(METHODS))]
"""The type of a setting that is a method: a name, a settings object, or a mapping of its kind and fields."""


def method_from(method: str | Sampler, **settings: Any) -> Sampler:
    """The method of a name, with some of its settings changed.

    Args:
        method: a name of `METHODS`, a settings object, or a callable.
        settings: fields to change; None leaves them.

    Raises:
        ConfigError: an unknown name, a setting that this method does not take, or a value out of range.
    """
    if isinstance(method, str) and method not in METHODS:
        raise ConfigError(f"method {method!r}: choose one of {', '.join(METHODS)}, or pass a settings object")
    found = METHODS[method] if isinstance(method, str) else method
    if isinstance(found, type):
        raise ConfigError(f"method {method!r} is a class: give an object, {found.__name__}()")
    if not callable(found):
        raise ConfigError(f"method {method!r}: need a name, a settings object or a callable (run) → None")
    settings = {name: value for name, value in settings.items() if value is not None}
    if not settings:
        return found
    known = [field.name for field in fields(found) if field.name != "kind"] if is_dataclass(found) else list[str]()
    if unknown := [f"{name}={value!r}" for name, value in settings.items() if name not in known]:
        name = method if isinstance(method, str) else type(method).__name__
        takes = ", ".join(known) or "no settings"
        raise ConfigError(f"method {name!r} takes no {', '.join(unknown)}; it takes {takes}")
    return replace(found, **settings)  # type: ignore[type-var]


def sample(
    denoiser: DenoiserFunction,
    sde: SDE,
    shape: Sequence[int] | None = None,
    y: Tensor | None = None,
    method: str | Sampler = "ode2",
    steps: int = 10,
    schedule: Schedule | Tensor | None = None,
    t_end: float | None = None,
    generator: Generators = None,
    guidance: Guidance | None = None,
    callback: Callback | None = None,
    *,
    x_start: Tensor | None = None,
    t_start: float | None = None,
    return_trajectory: bool = False,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **settings: Any,
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
            adaptive, where `steps` does not matter; "map": jumps of a flow map. Or a settings object (`Exponential`,
            `PredictorCorrector`, `TimeODE`, `AdaptiveODE`, `FlowMap`), or a callable of your own that takes a `Run`.
        steps: number of steps, not of calls: those are in the result's `nfe`.
        schedule: where the steps lie, None meaning "uniform" for maps and else "log_snr"; or the falling times
            themselves, (points,) or, for the exponential integrators, (points, batch), times of each item; see
            `time_grid`.
        t_end: where to stop; None means the SDE's own. At t = 0 the last step is the data prediction.
        generator: one for the batch, or one per item, which makes an item's result independent of the batch.
        guidance: steers the prediction, and the state after a step.
        callback: called after every step with a `StepInfo` (see `ProgressBar`); ends sampling when it returns True.
        x_start, t_start: start from this state (batch, ...) at this time instead of from the prior at T. A t_start
            without a state starts from the anchor with the noise of that time; times that begin below T without a
            t_start from the prior all the same, as the published steps of DDIM do.
        return_trajectory: keep the states after every step.
        dtype, device: of the samples when only `shape` is given.
        settings: fields of the method's settings to change, such as eta=0.5 with "ode2", snr=0.3 with "pc", or
            denoise=True with any.

    Returns:
        SampleResult with .x (batch, ...), .nfe, .trajectory, .times.

    Raises:
        ConfigError: an unknown method or schedule, a setting that the method does not take or that is out of range,
            impossible times, or no shape.
        SamplingError: a method of your own ended before the last time.
    """
    if not isinstance(sde, SDE):
        raise ConfigError(f"sde={sde!r}: need a process, an object such as VPSDE()")
    if not isinstance(guidance, Guidance | None):
        raise ConfigError(f"guidance={guidance!r}: need an object of a class of your own that derives from Guidance")
    run_method = method_from(method, **settings)
    lies: Schedule | Tensor = getattr(run_method, "schedule", "log_snr") if schedule is None else schedule
    times = method_times(run_method, sde, steps, lies, t_start, t_end)
    with torch.no_grad():
        x = _start(sde, None if t_start is None else times[0], shape, y, x_start, generator, dtype, device)
        run = Run(denoiser, sde, x, y, times, generator, guidance, callback, return_trajectory)
        try:
            run_method(run)
        except Stop:
            return run.result(stopped=True)
    at, end = run.at[0].t, run.nodes[-1][0].t
    if at != end:
        raise SamplingError(
            f"method {run_method!r} ended at t={at:g}, not at {end:g}: a sampler hands the state after each step to "
            "run.finish_step"
        )
    return run.result(stopped=False)


def method_times(
    method: Sampler,
    sde: SDE,
    steps: int,
    schedule: Schedule | Tensor = "log_snr",
    t_start: float | None = None,
    t_end: float | None = None,
) -> Tensor:
    """`time_grid`, of which all steps lie behind a method's teleport, where it has one; the first time is t_start."""
    if isinstance(schedule, Tensor) or not isinstance(method, GaussianExponential):
        return time_grid(sde, steps, schedule, t_start, t_end)
    start = sde.T if t_start is None else t_start
    times = time_grid(sde, steps, schedule, method.first_step(sde, start), t_end)
    times[0] = start
    return times


def _start(
    sde: SDE,
    first: Tensor | None,
    shape: Sequence[int] | None,
    y: Tensor | None,
    x_start: Tensor | None,
    generator: Generators,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Tensor:
    for name, given in (("an anchor y", y), ("a state x_start", x_start)):
        if given is not None:
            check_numbers(name, given)
    if shape is not None:
        shape = checked(Annotated[tuple[Natural, ...], MinLen(1), "the batch first, such as (16, 96, 1)"], shape=shape)
    known = isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex)
    require(dtype is None or known, "need real or complex numbers, such as torch.float32", dtype=dtype)
    if x_start is not None:
        start = x_start
    elif y is None and shape is None:
        raise ConfigError("nothing tells the shape of the samples: give shape, y or x_start")
    else:
        place = None if device is None else compute_device(device)
        anchor = torch.zeros(*(shape or ()), dtype=dtype, device=place) if y is None else y
        # The prior is of T, and may be far noisier.
        if first is not None and bool((first < sde.T).any()) and (y is not None or sde.prior_std > 0):
            noise = sde.draw_noise(anchor.shape, generator, dtype=anchor.dtype, device=anchor.device)
            start = sde.perturb(anchor, first.reshape(-1), noise, anchor)
        else:
            start = sde.prior_sample(tuple(shape or ()) if y is None else y, generator, dtype=dtype, device=place)
    if shape is not None and tuple(shape) != tuple(start.shape):
        raise ConfigError(f"shape {tuple(shape)} does not agree with the anchor or start, {tuple(start.shape)}")
    if y is not None and not (y.ndim <= start.ndim and all(map(_repeats, y.shape[::-1], start.shape[::-1]))):
        raise ConfigError(f"an anchor y of shape {tuple(y.shape)} for states of {tuple(start.shape)}: need the same")
    return start


def _repeats(size: int, whole: int) -> bool:
    """Whether an axis of this size serves for one of that."""
    return size in (1, whole)
