"""Frames in, frames out: the calls of a predictor that users of pandas know from other forecasters."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from shared.checks import Count, Level, checked
from shared.console.notes import tell
from shared.errors import ConfigError, DataError, first_few
from tsdiff.data import SeriesSet, normalise_freq, split, to_timestamps
from tsdiff.data.clocks import tell_changes
from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import shifted
from tsdiff.data.known import Names, future_columns, in_order, listed, read_frame, tell_unused, with_covariates
from tsdiff.evaluation.metrics import TABLE_LEVELS, forecasts_to_frame
from tsdiff.faces.keywords import check_sampling
from tsdiff.faces.together import JointCalls
from tsdiff.tasks.covariates import PAST, reach_of
from tsdiff.tasks.decisions import decided

if TYPE_CHECKING:
    from gluonts.model.forecast import SampleForecast
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class _Job:
    """A frame, read, and who forecasts it how far; `aside` are series that are not to be forecast, `bare` is whether
    covariates are not wanted."""

    series: SeriesSet
    predictor: FrameCalls
    steps: int
    aside: Sequence[Entry] = ()
    bare: bool = False

    def predict(self, entries: Iterable[Entry], num_samples: int) -> list[SampleForecast]:
        """Forecasts of some of the series."""
        if self.bare:
            entries = [{name: entry[name] for name in entry if name not in (DYNAMIC, PAST)} for entry in entries]
        return list(self.predictor.predict(entries, num_samples))


class FrameCalls(JointCalls):
    """Calls that take pandas frames, of a predictor that takes GluonTS entries."""

    prediction_length: int

    if TYPE_CHECKING:

        @property
        def freq(self) -> str: ...

        @property
        def covariate_names(self) -> tuple[str, ...]: ...

        def adapted(self, freq: str, prediction_length: int) -> Self: ...

        def with_sampling(self, **changes: Any) -> Self: ...

        def with_horizon(self, prediction_length: int) -> Self: ...

    def predict_df(
        self,
        df: pd.DataFrame,
        future_df: pd.DataFrame | None = None,
        *,
        past_covariates: Sequence[str] = (),
        id_column: str | None = None,
        timestamp_column: str | None = None,
        target: str | None = None,
        prediction_length: int | None = None,
        freq: str | None = None,
        quantile_levels: Sequence[float] = TABLE_LEVELS,
        num_samples: int = 100,
        **sampling: Any,
    ) -> pd.DataFrame:
        """Forecast every series of a frame.

        A model of all frequencies adapts itself to the frame's frequency and to prediction_length.

        Args:
            df: long, a row for each value, with ids or of one series; or wide, a column for each series. Any order of
                rows; gaps, NaN and infinities are missing. Warnings tell what was repaired, which series were left
                out, as those without an observed value are, and where clocks change near a forecast of hours;
                `tsdiff.set_quiet(True)` silences them.
            future_df: covariates that are known for the prediction_length steps after each series' end: ids, times, and
                columns that `df` has too; of a wide frame times and columns, the same for all series. A model that
                takes none is helped by a regression of each series on them, where that lowers the error of the
                series' own past, held out in parts (`tsdiff.tasks.covariates`). One that was trained with
                them takes the columns by the names that they had then, and others in their order.
            past_covariates: columns, or one column, of `df` of which the future is not known. Of a model that takes no
                covariates they enter the same regression by what they were a horizon and whole seasons before.
            id_column, timestamp_column, target: None finds "item_id" or "unique_id"; "timestamp", "time", "date", "ds",
                … or an index of times; "target" or "y". Ids and times may be levels of the index.
            prediction_length: steps to forecast; None takes the predictor's, which a model of all frequencies has none
                of before it is `adapted`.
            freq: in any pandas spelling; None takes the predictor's, or that of the times.
            quantile_levels: the columns of the result.
            num_samples: samples behind the quantiles.
            sampling: fields of `Sampling` to change: seed, batch_rows, …. nonnegative and counts are True unless they
                are given: they are decided from each series.

        Returns:
            A long frame: id, timestamp, mean, and one column a level ("0.5"). The first two are named as in `df`, with
            its ids in their dtype and its time zone (`tsdiff.data.origin.Origin`). Its `attrs` tell how many series
            were taken for "nonnegative" and for "counts", go by "calendar_days", stay but for "jumps", are "totals"
            of all so far, and had "outliers" in their history put back, values "excluded" or "rescaled"
            (docs/frames.md); and of "covariates", by id as text, by which share they lower the error of the series'
            past, held out in parts; 0 where they do not and are not used. A model that was trained with covariates uses
            them always, and tells no share.

        Raises:
            ConfigError: a setting that cannot be, a model without a horizon, or covariates that it does not fit.
            DataError: see `series_from_frame`; covariates that are missing, named with their ids and times.
        """
        checked(tuple[Level, ...], quantile_levels=quantile_levels)
        names = {"id_column": id_column, "timestamp_column": timestamp_column, "target": target}
        options = {"past_covariates": past_covariates, **names, "prediction_length": prediction_length, "freq": freq}
        job = self._job(df, future_df, {**options, **sampling})
        job.series.tell_missing_ends(job.steps)
        job.series.tell_ended(job.steps)
        job.series.tell_stuck()
        tell_changes(job.series.origin, job.series, job.steps)
        made = job.predict(job.series, num_samples)
        table = job.series.origin.restored(forecasts_to_frame(made, quantile_levels, job.series.stamp))
        table.attrs.update(decided(job.series, made, self.config.dynamic_features > 0))
        return table

    def forecast_df(
        self,
        df: pd.DataFrame,
        future_df: pd.DataFrame | None = None,
        *,
        item_id: str | None = None,
        timestamp: str | None = None,
        **options: Any,
    ) -> pd.DataFrame:
        """`predict_df` by its old name; `item_id` and `timestamp` are its id_column and timestamp_column."""
        renamed: dict[str, Any] = {"id_column": item_id, "timestamp_column": timestamp}
        return self.predict_df(df, future_df, **{name: n for name, n in renamed.items() if n is not None}, **options)

    def cross_validation_df(
        self,
        df: pd.DataFrame,
        windows: int = 1,
        step: int | None = None,
        *,
        covariates: Sequence[str] = (),
        quantile_levels: Sequence[float] = TABLE_LEVELS,
        num_samples: int = 100,
        **options: Any,
    ) -> pd.DataFrame:
        """Forecast the last windows of every series from what came before each, beside what happened.

        Args:
            df: see `predict_df`.
            windows: of each series; the last ends with it.
            step: from one window to the next; None takes prediction_length.
            covariates: columns, or one column, of `df` that are known of the future, too.
            quantile_levels, num_samples: see `predict_df`.
            options: past_covariates, id_column, timestamp_column, target, prediction_length, freq, and sampling, as
                `predict_df` takes them.

        Returns:
            A long frame: id, timestamp, "cutoff" (the last time before the window), "actual", mean, and a column a
            level, named as in `predict_df`. Warnings tell of series that are too short, which are left out, and of
            windows whose "actual" is missing.

        Raises:
            ConfigError, DataError: see `predict_df`; no series is long enough.
        """
        checked(tuple[Level, ...], quantile_levels=quantile_levels)
        checked(Count | None, step=step)
        if "future_df" in options:
            raise ConfigError("future_df: what follows each cutoff is in df; name its columns in covariates=[…]")
        job = self._job(df, None, options, covariates)
        parts = split(job.series, job.steps, windows, stride=step)
        SeriesSet([], job.series.freq, skipped=parts.skipped).warn()
        tell_changes(job.series.origin, parts.test.input, job.steps)
        made = job.predict(parts.test.input, num_samples)
        table = forecasts_to_frame(made, quantile_levels, job.series.stamp)
        cutoffs = to_timestamps([shifted(one.start_date, -1) for one in made], job.series.stamp)
        table.insert(2, "cutoff", cutoffs.repeat(job.steps))
        table.insert(3, "actual", np.concatenate([label["target"] for label in parts.test.label]))
        _tell_missing(table)
        return job.series.origin.restored(table, ("timestamp", "cutoff"))

    def plot(
        self,
        df: pd.DataFrame,
        future_df: pd.DataFrame | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        ids: Any = None,
        max_panels: int = 6,
        history: int | None = None,
        title: str | None = None,
        **options: Any,
    ) -> Figure:
        """Forecast series of a frame and draw their medians and intervals after what came before.

        Args:
            df, future_df: see `predict_df`.
            path: a picture to write, .png, .svg or .pdf; None writes none.
            ids: series to draw, or one of them; None takes up to max_panels, evenly.
            max_panels: panels at most.
            history: steps shown before the forecast; None shows three times the horizon.
            title: a line above the panels.
            options: past_covariates, id_column, timestamp_column, target, prediction_length, freq, num_samples, and
                sampling, as `predict_df` takes them.

        Returns:
            The figure, which a notebook shows.

        Raises:
            ConfigError, DataError: see `predict_df`; an id that is not there.
        """
        from tsdiff.evaluation.plots import check_picture, draw_forecasts, spread, write_picture  # loads matplotlib

        check_picture("x.png" if path is None else path, max_panels=max_panels, history=history)
        num_samples = options.pop("num_samples", 100)
        job = self._job(df, future_df, options)
        job.series.tell_missing_ends(job.steps)
        job.series.tell_ended(job.steps)
        job.series.tell_stuck()
        tell_changes(job.series.origin, job.series, job.steps)
        if ids is None:
            entries = [job.series[place] for place in spread(len(job.series), max_panels)]
        else:
            entries = _of_ids(job.series, ids)
        made = job.predict(entries, num_samples)
        unknown = np.full(job.steps, np.nan)
        pairs = [(entry, {"item_id": entry["item_id"], "target": unknown}) for entry in entries]
        figure = draw_forecasts(
            made, pairs, max_panels=len(entries), history=history, title=title, stamp=job.series.stamp
        )
        if path is not None:
            write_picture(figure, path)
        return figure

    def _job(
        self,
        df: pd.DataFrame,
        future_df: pd.DataFrame | None,
        options: Mapping[str, Any],
        covariates: Sequence[str] = (),
        aside: Collection[str] = (),
    ) -> _Job:
        """A frame, read, and the predictor for it; what was repaired or left out is said by warnings. Series of these
        names are not forecast, and need no covariates."""
        config, sampling = self.config, dict(options)
        names = Names(*(sampling.pop(one.name, None) for one in fields(Names)))
        freq, steps = sampling.pop("freq", None), sampling.pop("prediction_length", None)
        covariates, past = listed(covariates), listed(sampling.pop("past_covariates", ()))
        check_sampling(sampling, of_frames=True)
        steps = checked(Count | None, prediction_length=steps)
        if steps is None and config.awaits_freq:
            raise ConfigError(
                "this model forecasts any number of steps and has to be told how many: prediction_length=24, say, or "
                "take predictor.adapted(freq, 24)"
            )
        steps = self.prediction_length if steps is None else steps
        columns = list(covariates)
        if future_df is not None:
            found = names.of(df)
            columns, names = future_columns(future_df, found), replace(names, id_column=found.id_column)
        columns = in_order(columns, self.covariate_names)
        beside = [*columns, *past]
        names = names.of(df, beside)
        series = self._read(df, names, freq, beside)
        remedy = "what is known of the future goes into future_df, too, or into covariates of cross_validation_df"
        tell_unused(df, names, beside, remedy)
        unused = [entry for entry in series if entry["item_id"] in aside]
        if unused and len(unused) < len(series):
            series = replace(series, entries=[entry for entry in series if entry["item_id"] not in aside])
        if past:
            if self.config.dynamic_features:
                raise ConfigError("past_covariates: this model was trained with other covariates; leave them out")
            series = _with_past(series, with_covariates(series, df, names, past, past=True))
        if columns:
            ahead, learnt = 0 if future_df is None else steps, config.dynamic_features > 0
            series = with_covariates(series, df, names, columns, future_df, ahead, learnt=learnt)
        self._check_covariates(len(columns), steps)
        series.refuse_beyond(steps)
        if future_df is not None and not config.dynamic_features:
            _tell_far(series, columns)
        predictor = self._reaching(series.freq, steps)
        changes = {"nonnegative": True, "counts": True, **({"covariates": True} if beside else {}), **sampling}
        bare = not (changes.get("covariates", True) or config.dynamic_features)
        return _Job(series, predictor.with_sampling(**changes), steps, unused, bare)

    def _read(self, df: pd.DataFrame, names: Names, freq: str | None, columns: Sequence[str] = ()) -> SeriesSet:
        own = None if self.config.awaits_freq else self.freq
        if own is not None and freq is not None and normalise_freq(freq) != own:
            raise ConfigError(f"freq={freq!r}: this predictor forecasts {own!r}; leave it out, or take another")
        series = read_frame(df, names, own or freq, columns)
        series.warn()
        return series

    def _reaching(self, freq: str, steps: int) -> Self:
        """The predictor of so many steps."""
        return self.adapted(freq, steps) if self.config.awaits_freq else self.with_horizon(steps)

    def _check_covariates(self, count: int, steps: int) -> None:
        config, trained = self.config, ", ".join(self.covariate_names)
        names = trained and f", where it was trained with {trained}"
        if config.channels > 1 or config.static_features or config.categories:
            raise ConfigError(
                "this model forecasts several channels or takes static covariates, which a frame does not tell; call "
                "`predict` with GluonTS entries (see tsdiff.data)"
            )
        if config.dynamic_features and config.dynamic_features != count:
            raise ConfigError(
                f"this model takes {config.dynamic_features} covariates, and {count} are given{names}; give their "
                "future in future_df, and their past in df; cross_validation_df takes their columns as covariates=[…]"
            )
        if config.dynamic_features and steps > self.prediction_length:
            raise ConfigError(
                f"prediction_length={steps}: this model takes covariates and forecasts {self.prediction_length} steps "
                "at most"
            )


def _tell_far(series: SeriesSet, columns: Sequence[str]) -> None:
    """Note covariates whose future is so far from their past that a regression on them holds them nearer."""
    far: dict[str, list[str]] = {}
    for entry in series:
        length = len(entry["target"])
        for name, row in zip(columns, entry[DYNAMIC], strict=True):
            past = row[:length][np.isfinite(row[:length])]
            if past.size:
                least, most = reach_of(past)
                if row[length:].min() < least or row[length:].max() > most:
                    far.setdefault(name, []).append(entry["item_id"])
    for name, ids in far.items():
        more = f" and of {len(ids) - 1} more ids" if len(ids) > 1 else ""
        tell(
            f"covariate {name!r} of id {ids[0]!r}{more} leaves its past range in future_df by more than half of it, "
            "and counts as there; is it in the same unit?"
        )


def _tell_missing(table: pd.DataFrame) -> None:
    """Say in which windows "actual" is missing, as where the last rows of a frame are still to come."""
    missing = table["actual"].isna()
    if missing.any():
        ids = table.loc[missing, "item_id"].unique()
        named = first_few([repr(one) for one in ids], 5)
        tell(
            f"actual is missing in {missing.sum()} of {len(table)} rows, of ids {named}: no value was observed there; "
            "leave out last rows that are still to come, and windows end where values do"
        )


def _with_past(series: SeriesSet, known: SeriesSet) -> SeriesSet:
    """Series with the covariates that other ones have, as of the past alone."""
    pairs = zip(series, known, strict=True)
    return replace(series, entries=[{**entry, PAST: other[DYNAMIC]} for entry, other in pairs])


def _of_ids(series: SeriesSet, ids: Any) -> list[Entry]:
    """The entries of some ids, as the frame holds them or as text, or of one that is given by itself."""
    by_name: dict[Any, Entry] = {entry["item_id"]: entry for entry in series}
    labels = {} if series.origin.labels is None else dict(series.origin.labels.items())
    known = {labels[name]: entry for name, entry in by_name.items() if name in labels} | by_name
    # A tuple may be one id, of a frame whose ids have several levels, or several ids.
    alone = isinstance(ids, str) or not isinstance(ids, Iterable) or (isinstance(ids, tuple) and ids in known)
    ids = [ids] if alone else list(ids)
    if not ids:
        raise ConfigError("ids is empty; name the series to draw, or leave it out")
    found = [known.get(one, known.get(str(one))) for one in ids]
    if None in found:
        unknown = [one for one, entry in zip(ids, found, strict=True) if entry is None]
        raise DataError(f"ids {unknown[:5]} are none of the series'; there are {', '.join(list(by_name)[:10])}, …")
    return [entry for entry in found if entry is not None]
