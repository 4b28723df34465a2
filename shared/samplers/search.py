"""Where the steps of one model's sampler best lie: searched once, on validation data, and kept with the model.

A grid of N calls has few places to choose; each is moved towards its neighbours in log-SNR and left where samples come
nearer to those that many steps reach from the same starts (a pattern search over coordinates, with shrinking steps).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import get_args

from torch import Tensor

from shared.checks import Count, Several, checked
from shared.guidance import DenoiserFunction, Guidance
from shared.samplers import GaussianExponential, Sampler, method_from, method_times
from shared.samplers.reference import Reference
from shared.samplers.run import Node
from shared.samplers.schedules import Schedule
from shared.sde.base import SDE

_SMALLEST_MOVE = 0.04
_WORTH = 1e-3
_BEYOND = 4.0
"""How far in log-SNR places may lie beyond those of the first grid, where an end's own is infinite."""


@dataclass(frozen=True)
class SearchedGrid:
    """What a search found.

    Attributes:
        times: falling, of every step's start and of the end; what `sample` and configurations take as a schedule.
        error: mean over the starts of the RMS distance to where many steps end, as a share of those samples' deviation.
        before: the same of the best grid that has a name.
        schedule: its name, or "given".
        runs: how many times the starts were sampled.
    """

    times: tuple[float, ...]
    error: float
    before: float
    schedule: str
    runs: int


def search_grid(
    denoiser: DenoiserFunction,
    sde: SDE,
    x_start: Tensor,
    steps: int,
    y: Tensor | None = None,
    method: str | Sampler = "ode2",
    *,
    t_start: float | None = None,
    t_end: float | None = None,
    first: Tensor | None = None,
    guidance: Guidance | None = None,
    fine: int = 200,
    most_runs: int = 100,
) -> SearchedGrid:
    """The times of `steps` steps with which a sampler comes nearest to its own limit.

    Args:
        denoiser, sde, y, method, guidance: of `shared.samplers.sample`.
        x_start: states (batch, ...) to start from, of validation data; some tens are enough.
        steps: how many.
        t_start, t_end: of the grid, which stay.
        first: a grid (steps + 1,) to start the search from, with the ends that are to stay; None takes the best of the
            schedules that have names.
        fine: steps of the reference: of `ode3`, or of the method itself where it is stochastic.
        most_runs: how often the starts may be sampled, of which each costs `steps` calls.

    Raises:
        ConfigError: a method whose samples do not depend on its steps alone: one with fresh noise, a
            predictor–corrector, or an adaptive one; or no steps to place.
    """
    checked(Several, steps=steps)
    checked(Count, most_runs=most_runs)
    found = method_from(method)
    start = sde.T if t_start is None else t_start
    if first is not None:
        start, t_end = float(first[0]), float(first[-1])
    reference = Reference(denoiser, sde, x_start, y, found, fine=fine, t_start=start, t_end=t_end, guidance=guidance)
    runs = 0

    def error(times: Tensor) -> float:
        nonlocal runs
        runs, value = runs + 1, float(reference.distances(reference.reached(times).x).mean()) / reference.size
        return value if math.isfinite(value) else math.inf

    if first is not None:
        grids = {"given": first.double().cpu()}
    else:
        grids = {name: method_times(found, sde, steps, name, start, t_end) for name in get_args(Schedule)}
    known = {name: error(times) for name, times in islice(grids.items(), most_runs)}
    name = min(known, key=lambda key: known[key])
    best, times, bounds = known[name], grids[name], _Bounds.of(sde, found, grids[name])
    share = 0.5
    while share > _SMALLEST_MOVE and runs < most_runs:
        sweep = best
        for place in range(1, len(times) - 1):
            for other in _moved(sde, times, place, share, bounds):
                value = error(other) if runs < most_runs else math.inf
                if value < best:
                    best, times = value, other
        if best > (1 - _WORTH) * sweep:
            share /= 2
    return SearchedGrid(tuple(times.tolist()), best, known[name], name, runs)


@dataclass(frozen=True)
class _Bounds:
    """Log-SNR between which the points of a grid may go."""

    low: float
    high: float

    @classmethod
    def of(cls, sde: SDE, method: Sampler, times: Tensor) -> _Bounds:
        """Of the grid that a search begins with."""
        levels = [Node.at(sde, t).log_snr for t in times.tolist()]
        start = float(times[0])
        begin = method.first_step(sde, start) if isinstance(method, GaussianExponential) else start
        low, high = Node.at(sde, begin).log_snr, levels[-1]
        return cls(
            low if math.isfinite(low) else levels[1] - _BEYOND, high if math.isfinite(high) else levels[-2] + _BEYOND
        )


def _moved(sde: SDE, times: Tensor, place: int, share: float, bounds: _Bounds) -> Iterator[Tensor]:
    """The grid with one point moved a share of the way towards either neighbour."""
    before, here, after = (Node.at(sde, t).log_snr for t in times[place - 1 : place + 2].tolist())
    for towards in (max(before, bounds.low), min(after, bounds.high)):
        other = times.clone()
        other[place] = float(sde.time_of_log_snr(here + share * (towards - here)))
        if bool((other.diff() < 0).all()):
            yield other
