"""Series that belong together, drawn together by a model of single ones.

A model of one channel knows nothing of the others, and a model of all channels has its price (docs/tsdiff.md). Here
each series is drawn by itself, and its draws are then rearranged so that they go together, at every step, as the errors
of a seasonal naive went together in the past (`tsdiff.sampling.dependence`). What each series says of a step stays
exactly as it was, and how its steps hang together about as it was. Sums of joint samples are coherent by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from gluonts.model.forecast import SampleForecast

from shared.errors import ConfigError, DataError
from tsdiff.baselines.base import filled
from tsdiff.baselines.seasonal import errors_at
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import shifted, steps_between
from tsdiff.sampling.dependence import going_together

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
        rng: pairs the samples.

    Returns:
        The forecasts with the samples of each step rearranged; as they came where the past is too short to tell.

    Raises:
        DataError: the series differ in end.
    """
    starts = {steps_between(forecasts[0].start_date, one.start_date) for one in forecasts}
    if starts != {0}:
        ends = sorted({str(shifted(one.start_date, -1)) for one in forecasts})
        raise DataError(
            f"the series end at {', '.join(ends[:4])}; fill those that end early up with NaN, or cut all to one end"
        )
    errors = past_errors(entries, seasons, forecasts[0].samples.shape[1])
    if errors is None:
        return list(forecasts)
    draws = going_together([one.samples for one in forecasts], correlation_of(errors), rng)
    return [
        SampleForecast(made, start_date=one.start_date, item_id=one.item_id, info=one.info)
        for made, one in zip(draws, forecasts, strict=True)
    ]


def correlation_of(errors: np.ndarray) -> np.ndarray:
    """How errors (n, steps, series) go together over the series: the correlation of their normal scores, drawn the more
    to none the fewer errors there are; (series, series). A series without errors goes with no other."""
    from scipy.special import ndtri  # these take a while to load
    from scipy.stats import rankdata

    flat = errors.reshape(-1, errors.shape[-1])
    scores = ndtri((rankdata(flat, axis=0) - 0.5) / len(flat))
    size = np.linalg.norm(scores, axis=0)
    scores /= np.where(size > 0, size, 1.0)
    kept = len(flat) / (len(flat) + flat.shape[1])
    made: np.ndarray = kept * (scores.T @ scores)
    np.fill_diagonal(made, 1.0)
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
