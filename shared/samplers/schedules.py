"""Step schedules: where between T and t_end the steps of a sampler lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Le
from torch import Tensor

from shared.checks import Count, Positive, checked
from shared.errors import ConfigError
from shared.sde.base import SDE

Schedule = Literal["log_snr", "uniform", "edm", "quadratic"]
"""How the times of a grid lie, by name; see `time_grid`."""
MOST_STEPS = 10_000
"""Steps of a sampler, so that a damaged setting does not run for days."""
Steps = Annotated[Count, Le(MOST_STEPS)]
"""A number of steps: a whole number from 1, and not without end."""

# Where the log-SNR of an end is infinite, schedules that are uniform in a function of it start this share of the
# time range inside; the end itself stays a point of the grid.
_INSIDE = 0.02
_LOWEST = -12.0
"""Below this log-SNR a start counts as the end of a bridge: times there are too close for float64 to tell apart."""


def inside_start(sde: SDE) -> float:
    """Where sampling starts with noise in the state: T, or a little before where the path ends in the anchor itself."""
    return sde.T if float(sde.sigma(sde.T)) > 0 else (1 - _INSIDE) * sde.T


def time_grid(
    sde: SDE,
    steps: int,
    schedule: Schedule | Tensor = "log_snr",
    t_start: float | None = None,
    t_end: float | None = None,
    rho: float = 7.0,
) -> Tensor:
    """Times from t_start down to t_end, (steps + 1,), float64.

    Args:
        sde: the process.
        steps: number of steps, up to 10,000.
        schedule: "uniform" in t; "log_snr", uniform in λ; "edm", uniform in (σ/α)^(1/ρ) (Karras et al. 2022, eq. 5);
            "quadratic", uniform in √t (Song et al. 2021, "DDIM", §D.2); or the falling times themselves, (points,) or
            (points, batch). Out of an end whose log-SNR is infinite the first step of "log_snr" and "edm" takes 2 % of
            the time, whatever their number.
        t_start: defaults to the SDE's T.
        t_end: defaults to the SDE's `t_end`. At t = 0, where σ = 0 for most processes, the last step is the jump to
            the data prediction, from a smallest positive time.
        rho: of "edm".

    Raises:
        ConfigError: unknown schedule, no steps, times that do not fall within [0, 1], or another start or end than
            theirs.
    """
    if isinstance(schedule, Tensor):
        times = _check_times(schedule.detach().double().cpu())
        for name, told, there in (("t_start", t_start, times[0]), ("t_end", t_end, times[-1])):
            if told is not None and bool((there != told).any()):
                raise ConfigError(
                    f"{name}={told} with times from {times[0].tolist()} to {times[-1].tolist()}: leave it out"
                )
        return times
    checked(Annotated[Schedule, "or give the times as a tensor, torch.tensor(times)"], schedule=schedule)
    steps = checked(Steps, steps=steps)
    checked(Positive, rho=rho)
    start = sde.T if t_start is None else t_start
    end = sde.t_end if t_end is None else t_end
    if not 0 <= end < start <= 1:
        raise ConfigError(f"t_start={start}, t_end={end}: need 0 <= t_end < t_start <= 1")
    unit = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if schedule == "uniform":
        return start + (end - start) * unit
    if schedule == "quadratic":
        return (start**0.5 + (end**0.5 - start**0.5) * unit) ** 2
    return _log_snr_grid(sde, steps, start, end, rho if schedule == "edm" else None)


def _log_snr_grid(sde: SDE, steps: int, start: float, end: float, rho: float | None) -> Tensor:
    """Uniform in λ, or in (σ/α)^(1/ρ); an infinite end is kept as a point, and the rest lies between finite ones."""
    head: list[float] = []
    tail: list[float] = []
    low, high = start, end
    if float(sde.log_snr(start)) < _LOWEST:
        head, low = [start], start - _INSIDE * (start - end)
    if torch.isinf(sde.log_snr(end)):
        tail, high = [end], min(sde.t_min, 0.5 * low)
    inner = steps + 1 - len(head) - len(tail)
    if inner < 1:
        return torch.tensor([start, end], dtype=torch.float64)
    lam_low, lam_high = float(sde.log_snr(low)), float(sde.log_snr(high))
    if inner == 1:
        middle = torch.tensor([lam_low if tail and not head else 0.5 * (lam_low + lam_high)], dtype=torch.float64)
    else:
        middle = torch.linspace(lam_low, lam_high, inner, dtype=torch.float64)
    if rho is not None and inner > 1:
        unit = torch.linspace(0, 1, inner, dtype=torch.float64)
        noisy, clean = torch.tensor([-lam_low / rho, -lam_high / rho], dtype=torch.float64).exp()
        middle = -rho * (noisy + (clean - noisy) * unit).log()
    times = sde.time_of_log_snr(middle)
    if not head:
        times[0] = start
    if not tail:
        times[-1] = end
    return torch.cat([torch.tensor(head, dtype=torch.float64), times, torch.tensor(tail, dtype=torch.float64)])


def times_of(schedule: Sequence[float], steps: int) -> tuple[float, ...]:
    """A schedule that is a list of times, as configurations have it, checked.

    Args:
        schedule: falling times within [0, 1], of every step's start and of the end.
        steps: how many steps the configuration says.

    Raises:
        ConfigError: other times, or not `steps` + 1 of them.
    """
    try:
        given = torch.tensor(list(schedule), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"schedule={schedule!r}: need falling times, such as (1.0, 0.5, 0.0)") from error
    times = tuple(_check_times(given).tolist())
    if len(times) != steps + 1:
        raise ConfigError(f"steps={steps} with a schedule of {len(times)} times: give steps={len(times) - 1} with it")
    return times


def _check_times(times: Tensor) -> Tensor:
    if times.ndim not in (1, 2) or len(times) < 2 or not bool((times.diff(dim=0) < 0).all()):
        raise ConfigError(f"times must fall strictly and be at least two; got {times.tolist()}")
    if float(times[0].max()) > 1 or float(times[-1].min()) < 0:
        raise ConfigError(f"times must lie in [0, 1]; got {float(times[0].max())} … {float(times[-1].min())}")
    return times
