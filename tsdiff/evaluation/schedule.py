"""Where the network calls of one forecaster best lie, on validation series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from shared.checks import Count, checked
from shared.errors import ConfigError, DataError
from shared.random import make_generator
from shared.samplers import Exponential
from shared.samplers.gaussian import knowing
from shared.samplers.search import SearchedGrid, search_grid
from tsdiff.data.entries import named_entries
from tsdiff.data.named import by_names
from tsdiff.model.model import TSDiff
from tsdiff.model.times import call_times
from tsdiff.sampling.drawing import guidance_of, quantile_levels
from tsdiff.sampling.gaussian import guided_law
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.conditioning import Windows, forecast_place
from tsdiff.windows.series import observed_series


class Drawn(Protocol):
    """A forecaster of one model, such as `tsdiff.predictor.TSDiffPredictor`."""

    model: TSDiff
    sampling: Sampling

    def with_sampling(self, **changes: Any) -> Self:
        """The same with some settings changed."""
        ...


P = TypeVar("P", bound=Drawn)


@torch.inference_mode(False)
def search_schedule(
    predictor: P,
    dataset: Iterable[Mapping[str, Any]],
    steps: int | None = None,
    *,
    draws: int = 4,
    max_series: int = 16,
    fine: int = 200,
    most_runs: int = 100,
) -> tuple[P, SearchedGrid]:
    """The times of the network calls with which guided samples come nearest to those of many calls.

    A stochastic sampler is searched with its noise as one path, and keeps the noise that it has. No value after the
    series' ends is looked at. `serialize` and `save_pretrained` of the result keep the times.

    Args:
        predictor: trained; not changed.
        dataset: validation entries, of which the windows after their ends are drawn.
        steps: network calls; None takes the predictor's own.
        draws: of each series.
        max_series: the first so many are used.
        fine: calls that the others are to come near to.
        most_runs: how often all draws may be sampled.

    Returns:
        The predictor with `schedule` and `steps` in its sampling, and what the search says of them.

    Raises:
        ConfigError: one of the published samplers, a method that the search is not for, or a count below 1.
        DataError: no series.
    """
    checked(Count, draws=draws, max_series=max_series)
    steps = checked(Count | None, steps=steps)
    model, sampling = predictor.model.eval(), predictor.sampling
    if sampling.is_published:
        raise ConfigError(f"method={sampling.method!r} steps through a table; take sde1 or ode1")
    sampling = replace(sampling, schedule=None, steps=steps or sampling.steps)
    windows, generators = _draws(model, dataset, draws, max_series)
    levels = np.tile(quantile_levels(draws), len(generators) // draws)
    guidance = guidance_of(model, sampling, windows, levels, generators)
    shape = windows.values.shape
    method = knowing(sampling.sampler(), lambda: guided_law(guidance, model.law, sampling.method, shape[1:]))
    if isinstance(method, Exponential) and method.eta > 0:
        method = replace(method, noise="path")

    read = model.read(windows.inputs)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return model(x, t, **read)

    found = search_grid(
        denoise,
        model.sde,
        model.sde.prior_sample(shape, generators, device=model.device),
        sampling.steps,
        method=method,
        first=call_times(model.sde, sampling.steps, sampling.log_snr_end, method),
        guidance=guidance,
        fine=fine,
        most_runs=most_runs,
    )
    return predictor.with_sampling(schedule=found.times, steps=sampling.steps), found


def _draws(
    model: TSDiff, dataset: Iterable[Mapping[str, Any]], draws: int, max_series: int
) -> tuple[Windows, list[torch.Generator]]:
    """The windows after each series' end, each `draws` times, and a generator for every one."""
    places = []
    for name, entry in named_entries(by_names(dataset, [model])):
        places.append(
            forecast_place(observed_series(entry, model.config, name, model.config.prediction_length), model.config)
        )
        if len(places) == max_series:
            break
    if not places:
        raise DataError("no series to search a schedule on; give some validation series")
    items = np.repeat(np.arange(len(places)), draws)
    windows = Windows.of(places, model.config, model.statistics).rows(items, model.device)
    return windows, [make_generator("schedule", place, draw) for place in range(len(places)) for draw in range(draws)]
