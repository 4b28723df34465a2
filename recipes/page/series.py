"""Series: a table in; forecasts, filled gaps or anomalies out, as a table and a picture, by the model that ships."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from gluonts.model.forecast import QuantileForecast

from shared.checks import Count, checked
from shared.errors import ConfigError, DataError, counted
from tsdiff import TSDiffPredictor
from tsdiff.data import SeriesSet, to_timestamps
from tsdiff.data.clocks import tell_changes_at_gaps
from tsdiff.data.frequency import shifted
from tsdiff.data.known import Names, read_frame
from tsdiff.evaluation.plots import plot_forecasts
from tsdiff.tasks.anomaly.plots import plot_anomalies
from tsdiff.tasks.anomaly.scores import anomalies_to_frame, anomaly_scores, fit_thresholds
from tsdiff.tasks.imputation.plots import plot_imputations

from .limits import Limits
from .requests import WIDE, SeriesRequest, SeriesResult, Task, Tell
from .tables import prepared, read_table, write_download

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_SHOWN_ROWS = 200
_SHOWN_STEPS = 1000


@dataclass(frozen=True)
class _Job:
    """A request whose table was read."""

    request: SeriesRequest
    frame: pd.DataFrame
    names: Names
    series: SeriesSet
    folder: Path
    tell: Tell

    def result(self, table: pd.DataFrame, picture: Path, called: str, about: str) -> SeriesResult:
        self.tell(0.95, "writing")
        download = write_download(self.folder / called, table)
        return SeriesResult(picture, download, table.head(_SHOWN_ROWS), about=about)

    def predictor(self) -> TSDiffPredictor:
        """Of the series' frequency; how far ahead it reaches changes neither what fills gaps nor scores."""
        return _bundled().adapted(self.series.freq, _bundled().prediction_length)


def work_on(request: SeriesRequest, folder: Path, tell: Tell, limits: Limits) -> SeriesResult:
    """Do what is asked for with a table.

    Raises:
        DataError, ConfigError, …: as `TSDiffPredictor.predict_df`; or the table is too large.
    """
    tell(0.0, "reading")
    task = TASKS.get(request.task)
    if task is None:
        raise ConfigError(f"task={request.task!r}: this page does {', '.join(get_args(Task))}")
    if request.task == "forecast" and checked(Count, horizon=request.horizon) > limits.horizon:
        raise ConfigError(f"horizon={request.horizon}: this page forecasts {limits.horizon} steps at most; take fewer")
    frame, names = prepared(read_table(request.table, limits, request.columns.item), request.columns)
    if request.columns.target == WIDE:  # of which many take minutes to be read as series
        _check_count(int(frame.drop(columns=names.timestamp_column, errors="ignore").notna().any().sum()), limits)
    names = names.of(frame)
    series = read_frame(frame, names, request.freq.strip() or None)
    _check_count(len(series), limits)
    series.warn()
    tell(0.2, "computing")
    return task(_Job(request, frame, names, series, folder, tell))


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.series:
        raise DataError(
            f"the table has {count} series, and this page takes {limits.series}; send some of them, or use "
            "`python recipes/forecast.py --no-train`, which has no such bound"
        )


@lru_cache(maxsize=1)
def _bundled() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default", device="cpu")


def warm() -> None:
    """Load what the first request would wait for."""
    times = pd.date_range("2024-01-01", periods=60, freq="D")
    _bundled().predict_df(pd.DataFrame({"timestamp": times, "target": np.arange(60.0) % 7}), prediction_length=7)


def _forecast(job: _Job) -> SeriesResult:
    request, names = job.request, job.names
    table = _bundled().predict_df(
        job.frame,
        id_column=names.id_column,
        timestamp_column=names.timestamp_column,
        target=names.target,
        prediction_length=request.horizon,
        freq=job.series.freq,
        quantile_levels=LEVELS,
    )
    job.tell(0.8, "drawing")
    unknown = np.full(request.horizon, np.nan)
    pairs = [(entry, {"item_id": entry["item_id"], "target": unknown}) for entry in job.series]
    picture = job.folder / "forecasts.png"
    plot_forecasts(_fans(table, job.series, request.horizon), pairs, picture, stamp=job.series.stamp)
    about = f"{_counted(job.series)}, {counted(request.horizon, 'step')} ahead of frequency {job.series.freq}"
    return job.result(table, picture, "forecasts.csv", about)


def _fans(table: pd.DataFrame, series: SeriesSet, horizon: int) -> Iterator[QuantileForecast]:
    """The rows of a table of forecasts, series after series, as pictures take them."""
    keys = [str(level) for level in LEVELS]
    blocks = table[keys].to_numpy().reshape(len(series), horizon, len(keys))
    for entry, block in zip(series, blocks, strict=True):
        start = shifted(entry["start"], len(entry["target"]))
        yield QuantileForecast(block.T, start, keys, str(entry["item_id"]))


def _fill(job: _Job) -> SeriesResult:
    gaps = sum(int(np.isnan(entry["target"]).sum()) for entry in job.series)
    if gaps == 0:
        raise DataError("no value is missing, so that there is nothing to fill: leave out rows, or leave cells empty")
    tell_changes_at_gaps(job.series.origin, job.series)
    made = list(job.predictor().impute(job.series))
    job.tell(0.8, "drawing")
    picture = job.folder / "filled.png"
    plot_imputations(
        [one for one in made if np.isnan(one.target).any()], picture, steps=_SHOWN_STEPS, stamp=job.series.stamp
    )
    table = pd.concat([one.to_frame(LEVELS) for one in made], ignore_index=True)
    table["timestamp"] = to_timestamps(pd.PeriodIndex(table["timestamp"]), job.series.stamp)
    table = job.series.origin.restored(table.sort_values("imputed", ascending=False, kind="stable"))
    download = write_download(job.folder / "filled.csv", table.sort_index())
    filled = counted(gaps, "missing value")
    about = f"{_counted(job.series)}: {filled} filled; the table shows these first"
    return SeriesResult(picture, download, table.head(_SHOWN_ROWS), about=about)


def _anomalies(job: _Job) -> SeriesResult:
    scores = anomaly_scores(job.predictor(), job.series)
    job.tell(0.8, "drawing")
    thresholds = fit_thresholds(scores, 1 - job.request.share)
    picture = job.folder / "anomalies.png"
    plot_anomalies(scores, thresholds, picture, stamp=job.series.stamp)
    table = job.series.origin.restored(anomalies_to_frame(scores, thresholds, job.series.stamp))
    found = table[table["anomaly"]].sort_values("score", ascending=False)
    download = write_download(job.folder / "anomalies.csv", table)
    about = (
        f"{_counted(job.series)}: the {counted(len(found), 'step')} that the model finds least likely, the "
        "strangest first; "
        f"{job.request.share:.1%} of a series' steps are always above its threshold, be they odd or not"
    )
    return SeriesResult(picture, download, found.head(_SHOWN_ROWS), about=about)


TASKS = {"forecast": _forecast, "fill": _fill, "anomalies": _anomalies}


def _counted(series: SeriesSet) -> str:
    longest = max(entry["target"].shape[-1] for entry in series)
    steps = counted(longest, "step")
    return f"one series of {steps}" if len(series) == 1 else f"{len(series)} series of up to {steps}"
