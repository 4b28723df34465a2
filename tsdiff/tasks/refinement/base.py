"""Base forecasts as refinement reads them: matched with the series they are of, checked, as paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from gluonts.model.forecast import Forecast, QuantileForecast, SampleForecast

from shared.errors import DataError
from tsdiff.data.entries import Series
from tsdiff.sampling.drawing import quantile_levels


class BaseForecast(NamedTuple):
    """A base forecast and its series.

    Attributes:
        forecast: GluonTS's.
        series: up to the forecast's start.
    """

    forecast: Forecast
    series: Series


def matched(forecasts: Iterable[Forecast], dataset: Iterable[Series], prediction_length: int) -> Iterator[BaseForecast]:
    """Pair each forecast with its series, in order; one of another series would refine it towards the wrong history.

    Raises:
        DataError: what is no forecast; forecasts and series that differ in number, item, start or horizon.
    """
    if isinstance(forecasts, Forecast) or not isinstance(forecasts, Iterable):
        raise DataError(
            f"a {type(forecasts).__name__} is no list of forecasts; give one base forecast for each series, [forecast]"
        )
    for place, (forecast, series) in enumerate(zip_longest(forecasts, dataset)):
        if forecast is None or series is None:
            fewer, more = ("forecasts", "series") if forecast is None else ("series", "forecasts")
            raise DataError(f"there are {place} {fewer} but more {more}; give one base forecast for each series")
        if not isinstance(forecast, Forecast):
            raise DataError(
                f"base forecast {place} is a {type(forecast).__name__}; give GluonTS forecasts, as of predict, and "
                "no table of them"
            )
        name, start = series.name, series.end
        if None not in (series.item_id, forecast.item_id) and name != str(forecast.item_id):
            raise DataError(
                f"base forecast {place} is of series {str(forecast.item_id)!r}, but series {place} is {name!r}; keep "
                "forecasts in the order of the series"
            )
        if forecast.start_date != start:
            raise DataError(
                f"the base forecast of series {name!r} starts at {forecast.start_date}, but the series ends before "
                f"{start}; give the series as the base forecaster saw it, without the values to forecast"
            )
        if forecast.prediction_length != prediction_length:
            raise DataError(
                f"the base forecast of series {name!r} has {forecast.prediction_length} steps, the model refines "
                f"{prediction_length}; use a base forecaster of that horizon"
            )
        yield BaseForecast(forecast, series)


def base_paths(base: BaseForecast, count: int, by_quantile: bool, channels: int = 1) -> np.ndarray:
    """`count` paths of a base forecast, float64, (count, prediction_length, channels).

    Args:
        base: samples of any number (one is repeated), or quantiles, whose paths are those of the sample levels; of a
            mean or one quantile alone it is repeated, too.
        count: how many.
        by_quantile: at each step the values in ascending order, path i at level `quantile_levels(count)[i]`; otherwise
            samples as they are, repeated or thinned evenly.
        channels: that the forecast must have.

    Raises:
        DataError: a value that is not finite, or another number of channels.
    """
    paths = _paths(base, count, by_quantile)
    found = 1 if paths.ndim == 2 else paths.shape[2]
    if found != channels:
        raise DataError(
            f"channels: {found} in the base forecast of series {base.series.name!r}, {channels} in the model; use a "
            "base forecaster of as many"
        )
    return paths.reshape(*paths.shape[:2], channels)


def _paths(base: BaseForecast, count: int, by_quantile: bool) -> np.ndarray:
    forecast = base.forecast
    point = _point(forecast)
    if isinstance(forecast, SampleForecast) or point is not None:
        samples = np.asarray(forecast.samples if point is None else point, dtype=np.float64)
        if not len(samples):
            raise DataError(f"the base forecast of series {base.series.name!r} has no samples; give one at least")
        _check_finite(samples, base)
        if by_quantile:
            return np.quantile(samples, quantile_levels(count), axis=0, method="weibull")
        return samples[np.arange(count) * len(samples) // count]
    paths = np.stack([np.asarray(forecast.quantile(float(q)), dtype=np.float64) for q in quantile_levels(count)])
    _check_finite(paths, base)
    return np.sort(paths, axis=0)


def _point(forecast: Forecast) -> np.ndarray | None:
    """The only path (1, steps) of a forecast by quantiles that has no two of them, from which others would follow."""
    if not isinstance(forecast, QuantileForecast):
        return None
    levels = [place for place, key in enumerate(forecast.forecast_keys) if key != "mean"]
    return forecast.forecast_array[levels or [0]] if len(levels) < 2 else None


def _check_finite(values: np.ndarray, base: BaseForecast) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"the base forecast of series {base.series.name!r} holds {values[tuple(bad[0])]} at step {bad[0][1]}; give "
            "forecasts that are finite"
        )
