"""What a worker does with series: by one predictor, on one thread, each series for itself where one of them fails."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_numeric_dtype

from shared.console.notes import Note
from shared.errors import DataError, reason
from shared.files.checkpoint import resolve
from shared.files.settings import plain
from shared.scale import Outcome, Step, Unit, Work
from shared.scale.places import Folder, write_whole
from shared.scale.units import digest_of_folder, one_thread
from shared.version import __version__
from tsdiff.data import normalise_freq, to_timestamps
from tsdiff.data.known import Names, read_frame
from tsdiff.data.series import summarised
from tsdiff.evaluation.metrics import TABLE_LEVELS, forecasts_to_frame
from tsdiff.model.model import BUNDLED
from tsdiff.predictor import TSDiffPredictor
from tsdiff.scale.units import Frames, Part
from tsdiff.tasks.anomaly.scores import ScoringSettings, anomalies_to_frame, anomaly_scores, fit_thresholds
from tsdiff.windows.series import observed_series


def has_values(part: Part, names: Names | None) -> bool:
    """Whether a series is a frame whose target has a finite number; of GluonTS entries it is not looked at."""
    if names is None:
        return False
    values = part.past[names.target]
    return bool(is_numeric_dtype(values) and np.isfinite(values.to_numpy(np.float64, na_value=np.nan)).any())


@dataclass(frozen=True, kw_only=True)
class SeriesWork(Work):
    """What all of them have.

    Attributes:
        model: folder, bundled name or hub id of a predictor.
        device: where to compute.
        freq: of the series.
        prediction_length: steps to forecast, or the horizon that a model of all frequencies is made for.
        names: of the columns of frames; None where the series are GluonTS entries.
        num_samples: draws of each value.
        quantile_levels: columns of the result.
        sampling: fields of `Sampling` to change.
    """

    model: str = "default"
    device: str = "cpu"
    freq: str
    prediction_length: int
    names: Names | None
    num_samples: int = 100
    quantile_levels: tuple[float, ...] = TABLE_LEVELS
    sampling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        told = {name: value for name, value in plain(self).items() if name not in ("model", "device", "sampling")}
        weights = digest_of_folder(resolve(self.model, BUNDLED))
        sampling = plain(self.predictor().sampling)
        return {"task": type(self).__name__, "version": __version__, "model": weights, **told, "sampling": sampling}

    def predictor(self) -> TSDiffPredictor:
        """The predictor for the series.

        Raises:
            CheckpointError: there is none of that name.
            ConfigError: it forecasts another frequency or so many steps not, or a setting cannot be.
        """
        found = TSDiffPredictor.from_pretrained(self.model, device=self.device).with_sampling(**self.sampling)
        if found.config.awaits_freq:
            return found.adapted(self.freq, self.prediction_length)
        return found.with_horizon(self.prediction_length)

    def begin(self) -> Step:
        predictor = self.predictor()
        return lambda unit, folder: self._work(predictor, unit, folder)

    def stands(self, unit: Unit, outcome: Outcome, folder: Folder) -> bool:
        return outcome.items == 0 or _result(unit, folder).exists()

    def _work(self, predictor: TSDiffPredictor, unit: Unit, folder: Folder) -> Outcome:
        outcome = Outcome()
        if unit.payload is None:
            return outcome
        with one_thread(), _noted(outcome.notes):
            try:
                parts = unit.payload.parts()
            except Exception as error:  # a file that is damaged where nobody has looked yet
                outcome.failed = dict.fromkeys(unit.items, reason(error))
                return outcome
            # What is without a value would be left out in silence; what else is wrong ends the whole with an error.
            told = {
                name: part
                for name, part in parts.items()
                if has_values(part, self.names) or self._is_usable(predictor, name, part, outcome)
            }
            tables = self._tables(predictor, told, outcome)
        if tables:
            whole = pd.concat(tables, ignore_index=True)
            whole.attrs.clear()
            write_whole(_result(unit, folder), whole.to_parquet(None, index=False, schema=_schema(whole)))
        outcome.items = len(unit.items) - len(outcome.failed)
        return outcome

    def _is_usable(self, predictor: TSDiffPredictor, name: str, part: Part, outcome: Outcome) -> bool:
        """Whether a series can be read, which takes milliseconds to try; else it has failed."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self.names is not None:
                    read_frame(part.past, self.names, self.freq)
                else:
                    observed_series(part, predictor.config, name)
            return True
        except Exception as error:
            outcome.failed[name] = reason(error)
            return False

    def _tables(self, predictor: TSDiffPredictor, parts: Mapping[str, Part], outcome: Outcome) -> list[pd.DataFrame]:
        """Results of all series together; where that fails, of those that can be read; where that fails, of each alone,
        so that those fail that cause it."""
        if not parts:
            return []
        try:
            return [self._table(predictor, list(parts.values()))]
        except Exception as error:
            if len(parts) == 1:
                outcome.failed[next(iter(parts))] = reason(error)
                return []
        usable = {name: part for name, part in parts.items() if self._is_usable(predictor, name, part, outcome)}
        if len(usable) < len(parts):
            return self._tables(predictor, usable, outcome)
        alone = [self._tables(predictor, {name: part}, outcome) for name, part in parts.items()]
        return [table for tables in alone for table in tables]

    def _table(self, predictor: TSDiffPredictor, parts: Sequence[Part]) -> pd.DataFrame:
        return self.of_entries(predictor, parts) if self.names is None else self.of_frames(predictor, Frames.of(parts))

    @abstractmethod
    def of_frames(self, predictor: TSDiffPredictor, frames: Frames) -> pd.DataFrame:
        """The result of a long frame of series, with its names, ids and time zone."""

    @abstractmethod
    def of_entries(self, predictor: TSDiffPredictor, entries: Sequence[Any]) -> pd.DataFrame:
        """The result of GluonTS entries."""


@dataclass(frozen=True, kw_only=True)
class Forecasting(SeriesWork):
    """Forecasts what comes after each series: `TSDiffPredictor.predict_df`, and of entries `predict`.

    Attributes:
        past_covariates: columns of frames.
    """

    past_covariates: tuple[str, ...] = ()

    def of_frames(self, predictor: TSDiffPredictor, frames: Frames) -> pd.DataFrame:
        return predictor.predict_df(
            frames.past,
            frames.future,
            past_covariates=self.past_covariates,
            **vars(self.names),
            prediction_length=self.prediction_length,
            quantile_levels=self.quantile_levels,
            num_samples=self.num_samples,
            **self.sampling,
        )

    def of_entries(self, predictor: TSDiffPredictor, entries: Sequence[Any]) -> pd.DataFrame:
        return forecasts_to_frame(predictor.predict(entries, self.num_samples), self.quantile_levels)


@dataclass(frozen=True, kw_only=True)
class Imputing(SeriesWork):
    """Fills the gaps of each series: `TSDiffPredictor.impute_df`, and of entries `impute`."""

    def of_frames(self, predictor: TSDiffPredictor, frames: Frames) -> pd.DataFrame:
        return predictor.impute_df(
            frames.past,
            quantile_levels=self.quantile_levels,
            num_samples=self.num_samples,
            nonnegative=self.sampling.get("nonnegative", True),
            counts=self.sampling.get("counts", True),
            **vars(self.names),
        )

    def of_entries(self, predictor: TSDiffPredictor, entries: Sequence[Any]) -> pd.DataFrame:
        made = predictor.impute(entries, self.num_samples)
        whole = pd.concat([one.to_frame(self.quantile_levels) for one in made], ignore_index=True)
        whole["timestamp"] = to_timestamps(whole["timestamp"])
        return whole


@dataclass(frozen=True, kw_only=True)
class Scoring(SeriesWork):
    """Scores every step of each series: `tsdiff.tasks.anomaly.scores.anomaly_scores`.

    Attributes:
        scoring: how.
        quantile: of a series' own scores that its threshold is.
    """

    scoring: ScoringSettings | None = None
    quantile: float = 0.995

    def _tables(self, predictor: TSDiffPredictor, parts: Mapping[str, Part], outcome: Outcome) -> list[pd.DataFrame]:
        """Each series is scored for itself, so that those of which no step can be are told."""
        alone = [super(Scoring, self)._tables(predictor, {name: part}, outcome) for name, part in parts.items()]
        return [table for tables in alone for table in tables]

    def of_frames(self, predictor: TSDiffPredictor, frames: Frames) -> pd.DataFrame:
        assert self.names is not None
        series = read_frame(frames.past, self.names, self.freq)
        scores = anomaly_scores(predictor, series, self.scoring)
        table = anomalies_to_frame(scores, fit_thresholds(scores, self.quantile), series.stamp)
        return series.origin.restored(table)

    def of_entries(self, predictor: TSDiffPredictor, entries: Sequence[Any]) -> pd.DataFrame:
        scores = anomaly_scores(predictor, entries, self.scoring)
        return anomalies_to_frame(scores, fit_thresholds(scores, self.quantile))


def _schema(table: pd.DataFrame) -> pa.Schema:
    """How a table of results is written. Categories are counted alike in all files, whatever their number: a folder of
    files that differ in that cannot be read as one."""
    made = pa.Schema.from_pandas(table, preserve_index=False)
    for place, one in enumerate(made):
        if pa.types.is_dictionary(one.type):
            made = made.set(place, one.with_type(pa.dictionary(pa.int32(), one.type.value_type, one.type.ordered)))
    return made


def _result(unit: Unit, folder: Folder) -> Folder:
    """The file of a unit's results."""
    return folder / f"{unit.name}.parquet"


def freq_of(part: Part, names: Names | None) -> str:
    """The frequency of a series.

    Raises:
        DataError: it cannot be told.
    """
    if names is not None:
        return read_frame(part.past, names).freq
    start = part.get("start")
    if not isinstance(start, pd.Period):
        raise DataError(f"series {part['item_id']!r} starts at {start!r}, which has no frequency; give freq")
    return normalise_freq(start.freq)


@contextmanager
def _noted(notes: list[str]) -> Iterator[None]:
    """Put what is told of series into a list, like things together."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", Note)
        yield
    notes += summarised([str(one.message) for one in told if issubclass(one.category, Note)])
