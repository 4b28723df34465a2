"""Scores of probabilistic forecasts, the seasonal-naive baseline, and forecasts as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from gluonts.ev.aggregations import Mean
from gluonts.ev.metrics import (
    MASE,
    ND,
    NRMSE,
    BaseMetricDefinition,
    DirectMetric,
    MeanWeightedSumQuantileLoss,
    MetricCollection,
)
from gluonts.ev.ts_stats import seasonal_error
from gluonts.model.forecast import Forecast

from shared.checks import Count, Level, checked
from shared.console.tables import json_ready, markdown, rich_table, shown
from shared.errors import ConfigError, DataError, counted
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import candidate_seasons, quiet
from tsdiff.data.timestamps import Stamp, to_timestamps
from tsdiff.evaluation.pairs import Pair, forecasts_of, matched, pairs_of

if TYPE_CHECKING:
    from rich.table import Table

# The levels of the TSDiff paper's CRPS.
CRPS_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TABLE_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_ROUNDED = 1e-12
"""Seasonal differences of up to this share of a history's largest value are those of rounding, and no scale."""
_TITLES = {
    "crps": "CRPS",
    "nd": "ND",
    "nrmse": "NRMSE",
    "mase": "MASE",
    "coverage_50": "50 % coverage",
    "coverage_90": "90 % coverage",
}


@dataclass(frozen=True)
class Metrics:
    """Scores over all series, windows and steps; missing actual values are left out of every one.

    Attributes:
        crps: Mean weighted quantile loss over the levels 0.1 … 0.9: at each level 2·Σ pinball loss /
            Σ|actual|, averaged over the levels (what the TSDiff paper reports as CRPS).
        nd: Σ|actual − median| / Σ|actual|.
        nrmse: Root mean squared error of the mean, over the mean |actual|.
        mase: Mean of |actual − median| over the history's mean absolute seasonal difference.
        coverage_50: Share of actual values within the 0.25 and 0.75 quantiles; 0.5 is ideal.
        coverage_90: Share of actual values within the 0.05 and 0.95 quantiles; 0.9 is ideal. Quantiles of samples
            are the nearest sample, so that of 100 samples even perfect ones cover 0.485 and 0.881.
        notes: What was left out, and why. A score that is undefined is NaN and named here.
    """

    crps: float
    nd: float
    nrmse: float
    mase: float
    coverage_50: float
    coverage_90: float
    notes: tuple[str, ...] = field(default=(), compare=False)

    def as_dict(self) -> dict[str, float | None]:
        """The scores by name, ready for JSON: one that is undefined is None. The notes are not among them."""
        return json_ready({name: value for name, value in asdict(self).items() if name != "notes"})


def crps() -> BaseMetricDefinition:
    """The paper's CRPS as a metric for `gluonts.model.evaluate_model`, where it is "mean_weighted_sum_quantile_loss".

    For example `evaluate_model(predictor, test_data=split.test, metrics=[crps(), MASE()])`.
    """
    return MeanWeightedSumQuantileLoss(CRPS_LEVELS)


@dataclass
class CentralCoverage(BaseMetricDefinition):
    """GluonTS metric: the share of actual values within the central interval of probability `mass`.

    GluonTS's own `Coverage(q)` is the share *below one* quantile, and the difference of two of those counts
    a value that equals the lower quantile as outside.
    """

    mass: float

    def __call__(self, axis: int | tuple[int, ...] | None = None) -> DirectMetric:
        """Give the metric that `gluonts.ev` updates batch by batch."""
        return DirectMetric(name=f"central_coverage[{self.mass}]", stat=self._inside, aggregate=Mean(axis=axis))

    def _inside(self, data: Mapping[str, Any]) -> np.ma.MaskedArray:
        low, high = round((1 - self.mass) / 2, 6), round((1 + self.mass) / 2, 6)
        label = np.ma.asarray(data["label"])
        inside = (label.data >= data[str(low)]) & (label.data <= data[str(high)])
        return np.ma.array(inside.astype(float), mask=np.ma.getmaskarray(label))


def evaluate(forecasts: Iterable[Forecast], test_data: Iterable[Pair], seasonality: int | None = None) -> Metrics:
    """Score forecasts with `gluonts.ev`'s metrics.

    Args:
        forecasts: One forecast for each test pair, in the same order; samples or quantiles. Of a multivariate one,
            samples (number, length, channels), each channel counts as a series (`tsdiff.evaluation.joint` scores them
            together).
        test_data: Pairs (input entry, label entry): a GluonTS `TestData`, `split_windows(...).test` or a list.
        seasonality: Steps of the seasonal difference in MASE; None takes the primary season of the frequency
            (`candidate_seasons`: hourly 24, daily 7, …). A history no longer than that uses 1.

    Returns:
        The scores. A window whose history is constant or unobserved, or the same in each season, has no MASE and is
        left out of that one only.

    Raises:
        DataError: Forecasts that are NaN, or do not match the pairs in number, item, start or
            length; what are no pairs; no actual value at all.
        ConfigError: `seasonality` is below 1.
    """
    checked(Count | None, seasonality=seasonality)
    with quiet():
        return _evaluate(forecasts, test_data, seasonality)


def _evaluate(forecasts: Iterable[Forecast], test_data: Iterable[Pair], seasonality: int | None) -> Metrics:
    wanted = (crps(), ND(), NRMSE(), CentralCoverage(0.5), CentralCoverage(0.9))
    main = MetricCollection([metric(axis=(0, 1)) for metric in wanted])
    mase = MASE()(axis=(0, 1))
    total = missing = scaled = unscaled = 0
    for forecast, (past, label) in _by_channel(matched(forecasts, test_data)):
        actual = np.ma.masked_invalid(np.asarray(label["target"], dtype=np.float64))[None]
        total, missing = total + actual.size, missing + int(np.ma.count_masked(actual))
        if not np.ma.count(actual):
            continue
        batch = _Batch(forecast, actual, past)
        main.update(batch)
        season = seasonality or candidate_seasons(label["start"].freqstr)[0]
        if batch.set_seasonal_error(season):
            mase.update(batch)
            scaled += 1
        else:
            unscaled += 1
    if total == missing:
        raise DataError(f"none of the {total} actual values is observed; there is nothing to score")
    return _metrics(main, float(mase.get()) if scaled else math.nan, total, missing, unscaled)


class _Batch(dict[str, Any]):
    """One window as `gluonts.ev` reads it: the label (1, length), and each quantile when it is asked for."""

    def __init__(self, forecast: Forecast, actual: np.ma.MaskedArray, past: Entry) -> None:
        super().__init__(label=actual)
        self._forecast, self._past = forecast, past

    def __missing__(self, name: str) -> np.ndarray:
        values = np.asarray(self._forecast[name], dtype=np.float64)[None]
        if not np.isfinite(values).all():
            raise DataError(
                f"the forecast of series {self._forecast.item_id!r} from {self._forecast.start_date} holds values"
                f" that are not finite (its {name}); forecasts must be whole"
            )
        self[name] = values
        return values

    def set_seasonal_error(self, season: int) -> bool:
        """Set the scale of MASE; False if the history does not define one."""
        past = np.ma.masked_invalid(np.asarray(self._past["target"], dtype=np.float64))
        if len(past) < 2:
            return False
        error = np.ma.filled(seasonal_error(past, season if season < len(past) else 1), np.nan)
        self["seasonal_error"] = error[None]
        return bool(np.isfinite(error).all() and (error > _ROUNDED * np.abs(past).max()).all())


def window_losses(forecasts: Sequence[Forecast], actual: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Loss and Σ|actual| of each window, (windows,) each, in the series' units; the CRPS that `evaluate` gives is the
    sum of the first over that of the second (the mean weighted quantile loss; Alexandrov et al. 2020, GluonTS).

    Args:
        forecasts: of series of one channel.
        actual: what came of each, (prediction_length,), NaN where missing.
    """
    losses, sizes = np.zeros(len(forecasts)), np.zeros(len(forecasts))
    for place, (forecast, target) in enumerate(zip(forecasts, actual, strict=True)):
        seen = ~np.isnan(target)
        for level in CRPS_LEVELS:
            error = target[seen] - forecast.quantile(level)[seen]
            losses[place] += 2 * np.maximum(level * error, (level - 1) * error).sum() / len(CRPS_LEVELS)
        sizes[place] = np.abs(target[seen]).sum()
    return losses, sizes


def _by_channel(matches: Iterable[tuple[Forecast, Pair]]) -> Iterator[tuple[Forecast, Pair]]:
    """Each channel of a multivariate window as a window of its own."""
    for forecast, (past, label) in matches:
        if np.ndim(label["target"]) == 1:
            yield forecast, (past, label)
            continue
        for channel, (before, after) in enumerate(zip(past["target"], label["target"], strict=True)):
            yield forecast.copy_dim(channel), ({**past, "target": before}, {**label, "target": after})


def _metrics(main: MetricCollection, mase: float, total: int, missing: int, unscaled: int) -> Metrics:
    notes = []
    if missing:
        notes.append(f"{missing} of {counted(total, 'actual value is', 'actual values are')} missing and left out")
    if unscaled:
        windows = counted(unscaled, "window")
        notes.append(f"MASE leaves out {windows} whose history is constant or unobserved, or the same in each season")
    with np.errstate(divide="ignore", invalid="ignore"):
        loss, nd, nrmse, half, ninety = (float(value) for value in main.get().values())
    if not math.isfinite(loss) or not math.isfinite(nrmse):
        loss = nd = nrmse = math.nan
        notes.append("CRPS, ND and NRMSE are undefined, because every actual value is 0")
    return Metrics(loss, nd, nrmse, mase, half, ninety, tuple(notes))


def seasonal_naive(test_data: Iterable[Pair], lag: int) -> list[Forecast]:
    """Forecast each window with the values one season before (GluonTS's `SeasonalNaivePredictor`).

    A missing value in the history is replaced by the last one observed before it; a history shorter than the
    lag gives its mean. The forecasts are single samples, so their coverage is that of a point: near 0.

    Args:
        test_data: Pairs (input entry, label entry).
        lag: The season in steps.

    Returns:
        One `SampleForecast` for each pair, samples (1, length of the first label).

    Raises:
        ConfigError: `lag` is below 1.
        DataError: There is no pair, what is none, or a history holds no observed value.
    """
    with quiet():
        pairs = list(pairs_of(test_data))
    if not pairs:
        raise DataError("there is no test window to forecast")
    checked(Count, lag=lag)
    for past, _ in pairs:
        if np.isnan(past["target"]).all():
            raise DataError(f"series {past.get('item_id')!r} has no observed value before its test window")
    from gluonts.model.seasonal_naive import SeasonalNaivePredictor

    with quiet():
        return list(
            SeasonalNaivePredictor(len(pairs[0][1]["target"]), season_length=int(lag)).predict(
                [past for past, _ in pairs]
            )
        )


def best_seasonal_naive(test_data: Iterable[Pair], lags: Sequence[int] = (24, 168)) -> tuple[int, Metrics]:
    """Score the seasonal-naive forecast of each lag and keep the one with the lowest CRPS.

    The lag is chosen on the very windows it is scored on, which flatters this baseline: whatever beats it
    does so honestly.

    Args:
        test_data: Pairs (input entry, label entry).
        lags: Seasons to try, in steps; `candidate_seasons(freq)` gives the usual ones. Those that no series is as long
            as are left out where another is not.

    Returns:
        The best lag and its scores.

    Raises:
        ConfigError: `lags` is empty or holds a value below 1.
        DataError: As `seasonal_naive` and `evaluate`.
    """
    if not lags:
        raise ConfigError("lags is empty; give at least one, for example candidate_seasons(freq)")
    with quiet():
        pairs = list(pairs_of(test_data))
    longest = max((np.shape(entry["target"])[-1] for entry, _ in pairs), default=0)
    known = [lag for lag in lags if lag <= longest] or lags
    scored = [(lag, evaluate(seasonal_naive(pairs, lag), pairs)) for lag in known]
    return min(scored, key=lambda pair: pair[1].crps if math.isfinite(pair[1].crps) else math.inf)


def metrics_table(rows: Mapping[str, Metrics]) -> str:
    """Write scores as a Markdown table, one row for each method; undefined scores are shown as a dash.

    Args:
        rows: Scores by the name of the method.
    """
    return markdown(*_table(rows))


def rich_metrics_table(rows: Mapping[str, Metrics], title: str | None = None) -> Table:
    """Make a table of scores for `rich.console.Console.print`, one row for each method.

    Args:
        rows: Scores by the name of the method.
        title: A line above the table.
    """
    return rich_table(*_table(rows), title=title)


def _table(rows: Mapping[str, Metrics]) -> tuple[list[str], list[list[str]]]:
    """The heading of a table of scores, and the cells of its rows."""
    lines = [[name, *starmap(_cell, metrics.as_dict().items())] for name, metrics in rows.items()]
    return ["method", *_TITLES.values()], lines


def _cell(name: str, value: float | None) -> str:
    return shown(value) if value is None or not name.startswith("coverage") else f"{100 * value:.1f} %"


def forecasts_to_frame(
    forecasts: Iterable[Forecast], quantile_levels: Sequence[float] = TABLE_LEVELS, stamp: Stamp = "start"
) -> pd.DataFrame:
    """Write forecasts as a table in long format, one row for each step.

    Args:
        forecasts: Univariate forecasts.
        quantile_levels: Levels strictly between 0 and 1.
        stamp: Which day of their period timestamps name (`SeriesSet.stamp`).

    Returns:
        Columns "item_id", "timestamp", "mean" and one for each level, named as the number is written: "0.05".

    Raises:
        ConfigError: A level outside (0, 1).
        DataError: A forecast of several channels.
    """
    checked(tuple[Level, ...], quantile_levels=quantile_levels)
    names = [str(float(level)) for level in quantile_levels]
    with quiet():
        frames = [_frame(forecast, names, stamp) for forecast in forecasts_of(forecasts)]
    if not frames:
        return pd.DataFrame(columns=["item_id", "timestamp", "mean", *names])
    return pd.concat(frames, ignore_index=True)


def _frame(forecast: Forecast, levels: list[str], stamp: Stamp) -> pd.DataFrame:
    if np.ndim(forecast.mean) > 1:
        raise DataError(
            f"the forecast of series {forecast.item_id!r} is of {forecast.mean.shape[1]} channels; write one after the "
            "other: forecast.copy_dim(channel)"
        )
    columns = {level: np.asarray(forecast.quantile(level)) for level in levels}
    times = to_timestamps(forecast.index, stamp)
    return pd.DataFrame({"item_id": forecast.item_id, "timestamp": times, "mean": np.asarray(forecast.mean), **columns})
