"""Series that belong together, drawn together by a model of single ones.

A model of one channel knows nothing of the others, and a model of all channels has its price (docs/tsdiff.md). Here
each series is drawn by itself, and its paths are then dealt to joint ones so that they go together as the errors of a
seasonal naive went together in the past: a Schaake shuffle of whole paths (Clark et al. 2004). What each series says by
itself, step by step and from step to step, stays exactly as it was. Sums of joint samples are coherent by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from gluonts.model.forecast import SampleForecast

from shared.errors import ConfigError, DataError
from tsdiff.baselines.base import filled
from tsdiff.baselines.seasonal import errors_at
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import steps_between

_LEAST = 10
"""Past errors that tell something of dependence."""
_MOST = 400


def past_errors(entries: Sequence[Entry], seasons: Sequence[int], horizon: int) -> np.ndarray | None:
    """Errors (n, horizon, series) of one seasonal naive at the same times in all series; None where there is no room.

    Args:
        entries: univariate, of one frequency and end.
        seasons: in steps; the one with the smallest errors, relative to the series' spread, is taken.
        horizon: steps to forecast.
    """
    together = min(len(entry["target"]) for entry in entries)
    values = filled(np.stack([np.asarray(one["target"], dtype=np.float64)[-together:] for one in entries]))
    spread = values.std(axis=1)
    best, least = None, np.inf
    for season in seasons:
        parts = [errors_at(row, season, horizon, _MOST) for row in values]
        if len(parts[0]) < _LEAST:
            continue
        errors = np.stack(parts, axis=-1)
        size = float(np.mean(np.abs(errors) / np.where(spread > 0, spread, 1.0)))
        if size < least:
            best, least = errors, size
    return best


def together(
    forecasts: Sequence[SampleForecast], entries: Sequence[Entry], seasons: Sequence[int], rng: np.random.Generator
) -> list[SampleForecast]:
    """Forecasts whose samples of one number belong together over the series.

    Args:
        forecasts: univariate, of the same number of samples and steps; each after its entry.
        entries: the series.
        seasons: in steps, to compare past errors by.
        rng: draws which past errors are taken.

    Returns:
        The forecasts with their paths dealt otherwise; as they came where the past is too short to tell.

    Raises:
        DataError: the series differ in end.
    """
    starts = {steps_between(forecasts[0].start_date, one.start_date) for one in forecasts}
    if starts != {0}:
        ends = sorted({str(one.start_date - 1) for one in forecasts})
        raise DataError(
            f"the series end at {', '.join(ends[:4])}; fill the later ones up with NaN, or cut them to one end"
        )
    horizon, count = forecasts[0].samples.shape[1], len(forecasts[0].samples)
    errors = past_errors(entries, seasons, horizon)
    if errors is None:
        return list(forecasts)
    drawn = errors[rng.choice(len(errors), count, replace=len(errors) < count)].mean(axis=1)
    return [
        SampleForecast(
            _dealt(one.samples, drawn[:, place]), start_date=one.start_date, item_id=one.item_id, info=one.info
        )
        for place, one in enumerate(forecasts)
    ]


def _dealt(paths: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Whole paths (n, steps) in the order of a template (n,): the highest where that is highest."""
    ranks = template.argsort(kind="stable").argsort(kind="stable")
    made: np.ndarray = paths[paths.mean(axis=1).argsort(kind="stable")][ranks]
    return made


def leaves_of(sums: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, list[str]]:
    """The leaves that each sum is of, whose parts may be sums themselves.

    Args:
        sums: parts by the name of the sum.
        names: of the leaves.

    Raises:
        ConfigError: a part that there is not, sums of each other, or a leaf that would be counted twice.
    """
    leaves = set(names)

    def walk(name: str, above: tuple[str, ...]) -> list[str]:
        if name in above:
            raise ConfigError(f"sums: {' of '.join([*above, name])} go round in a circle")
        if name in sums:
            return [leaf for part in sums[name] for leaf in walk(part, (*above, name))]
        if name not in leaves:
            raise ConfigError(f"sums: {name!r} is no series and no sum; there are {', '.join([*names][:10])}, …")
        return [name]

    found = {name: walk(name, ()) for name in sums}
    for name, parts in found.items():
        twice = sorted({part for part in parts if parts.count(part) > 1})
        if twice or not parts:
            raise ConfigError(f"sums: {name!r} counts {', '.join(twice) or 'nothing'}{' twice' if twice else ''}")
    return found
