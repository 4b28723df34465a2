"""Where the steps of one model's sampler best lie: searched once, on validation data, and kept with the model.

A grid of N calls has few places to choose; each is moved towards its neighbours in log-SNR and left where samples come
nearer to those that many steps reach from the same starts (a pattern search over coordinates, with shrinking steps).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from torch import Tensor

from shared.checks import Count, Several, checked
from shared.errors import ConfigError
from shared.guidance import DenoiserFunction, Guidance
from shared.random import make_generator
from shared.samplers import AdaptiveODE, Exponential, PredictorCorrector, Sampler, method_from, method_times, sample
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
    tell: Callable[[int, float], None] | None = None,
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
        tell: called after each run with its number and the least error so far.

    Raises:
        ConfigError: a method whose samples do not depend on its steps alone: one with fresh noise, a
            predictor–corrector, or an adaptive one; or no steps to place.
    """
    checked(Several, steps=steps)
    checked(Count, most_runs=most_runs)
    found = _comparable(method_from(method))
    start = sde.T if t_start is None else t_start
    if first is not None:
        start, t_end = float(first[0]), float(first[-1])

    def reached(one: Sampler, times: Tensor) -> Tensor:
        options: dict[str, Any] = {"guidance": guidance, "generator": make_generator("search")}
        return sample(denoiser, sde, y=y, x_start=x_start, method=one, schedule=times, **options).x

    stochastic = isinstance(found, Exponential) and found.eta > 0
    reference: Sampler = found if stochastic else Exponential(3)
    end = reached(reference, method_times(reference, sde, fine, t_start=start, t_end=t_end))
    size = float(end.abs().square().mean().sqrt() if end.is_complex() else end.std()) or 1.0
    runs, least = 0, math.inf

    def error(times: Tensor) -> float:
        nonlocal runs, least
        far = (reached(found, times) - end).abs().square().flatten(1).mean(1).sqrt()
        runs, value = runs + 1, float(far.mean()) / size
        least = min(least, value) if math.isfinite(value) else least
        if tell is not None:
            tell(runs, least)
        return value if math.isfinite(value) else math.inf

    if first is not None:
        grids = {"given": first.double().cpu()}
    else:
        grids = {name: method_times(found, sde, steps, name, start, t_end) for name in get_args(Schedule)}
    known = {name: error(times) for name, times in grids.items()}
    name = min(known, key=lambda key: known[key])
    best, places = known[name], _Places(sde, found, grids[name])
    share = 0.5
    while share > _SMALLEST_MOVE and runs < most_runs:
        sweep = best
        for place in places.movable:
            for times in places.moved(place, share):
                value = error(times) if runs < most_runs else math.inf
                if value < best:
                    best, places = value, _Places(sde, found, times, places)
        if best > (1 - _WORTH) * sweep:
            share /= 2
    return SearchedGrid(tuple(places.times.tolist()), best, known[name], name, runs)


class _Places:
    """A grid, and where its points may go.

    Args:
        sde, method: what the grid is for.
        times: the grid.
        like: one with the same bounds.
    """

    def __init__(self, sde: SDE, method: Sampler, times: Tensor, like: _Places | None = None):
        self._sde, self.times = sde, times
        self.levels = [Node.at(sde, t).log_snr for t in times.tolist()]
        self.movable = range(1, len(times) - 1)
        if like is not None:
            self._low, self._high = like._low, like._high
            return
        begin = getattr(method, "first_step", lambda sde, start: start)(sde, float(times[0]))
        low, high = Node.at(sde, begin).log_snr, self.levels[-1]
        self._low = low if math.isfinite(low) else self.levels[1] - _BEYOND
        self._high = high if math.isfinite(high) else self.levels[-2] + _BEYOND

    def moved(self, place: int, share: float) -> Iterator[Tensor]:
        """The grid with one point moved a share of the way towards either neighbour."""
        here = self.levels[place]
        below = max(self.levels[place - 1], self._low)
        above = min(self.levels[place + 1], self._high)
        for towards in (below, above):
            times = self.times.clone()
            times[place] = float(self._sde.time_of_log_snr(here + share * (towards - here)))
            if bool((times.diff() < 0).all()):
                yield times


def _comparable(method: Sampler) -> Sampler:
    if isinstance(method, Exponential) and method.eta > 0 and method.noise != "path":
        raise ConfigError(
            f"eta={method.eta} with fresh noise: samples of other steps are other samples; take noise='path', or eta=0"
        )
    if isinstance(method, PredictorCorrector | AdaptiveODE):
        raise ConfigError(
            f"{type(method).__name__}: its samples do not tell one grid from another; take an exponential integrator"
        )
    return method
