"""Calls of a predictor of single series that draw several together: channels, and the series of a frame with sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor

from shared.checks import Level, checked
from shared.console.notes import tell
from shared.errors import ConfigError, DataError
from shared.random import derive_seed
from tsdiff.data import candidate_seasons
from tsdiff.data.clocks import tell_changes
from tsdiff.data.entries import Entry, named_entries, target_of
from tsdiff.data.named import by_names
from tsdiff.evaluation.metrics import TABLE_LEVELS, forecasts_to_frame
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.decisions import decided
from tsdiff.windows.config import WindowConfig

_LONGEST_SEASON = 400


class JointCalls(Predictor):
    """Calls that draw several series together; see `tsdiff.tasks.jointly`."""

    if TYPE_CHECKING:

        @property
        def sampling(self) -> Sampling: ...

        @property
        def config(self) -> WindowConfig: ...

        def predict(self, dataset: Iterable[Entry], num_samples: int = 100) -> Iterator[SampleForecast]: ...

        _job: Any

    def predict_jointly(self, dataset: Iterable[Entry], num_samples: int = 100) -> Iterator[SampleForecast]:
        """Forecast channels that were not trained together: each by itself, their samples put together as past
        errors of a seasonal naive went together (`tsdiff.tasks.jointly`).

        Args:
            dataset: entries with targets (channels, length); see `TSDiffPredictor.predict`.
            num_samples: samples of each forecast.

        Yields:
            SampleForecast, samples (num_samples, prediction_length, channels). Each channel's are those of `predict`.

        Raises:
            ConfigError: a model of several channels, whose `predict` draws them together already.
            DataError: see `TSDiffPredictor.predict`; a target of one axis.
        """
        if self.config.channels > 1:
            raise ConfigError(f"this model draws its {self.config.channels} channels together already: use predict")
        for name, entry in named_entries(by_names(dataset, [self])):
            target = target_of(entry, name)
            if target.ndim != 2:
                raise DataError(f"series {name!r} has a target of shape {target.shape}; give (channels, length)")
            parts = [{**entry, "item_id": f"{name} channel {place}", "target": row} for place, row in enumerate(target)]
            made = self._together(list(self.predict(parts, num_samples)), parts, name)
            samples = np.stack([one.samples for one in made], axis=-1)
            first = made[0].start_date
            yield SampleForecast(samples, start_date=first, item_id=entry.get("item_id"), info=entry.get("info"))

    def predict_sums_df(
        self,
        df: pd.DataFrame,
        sums: Mapping[str, Sequence[Any]],
        future_df: pd.DataFrame | None = None,
        *,
        quantile_levels: Sequence[float] = TABLE_LEVELS,
        num_samples: int = 100,
        **options: Any,
    ) -> pd.DataFrame:
        """Forecast the series of a frame together, and sums of them, as of a hierarchy.

        The series are drawn jointly as `predict_jointly` draws channels, and each joint sample is summed: means add up,
        every sample does, and a sum's interval is as wide as the series' dependence makes it.

        A series of the frame that has the name of a sum, as tables with given totals have, is not forecast by itself:
        its row is the sum of its parts, and its own history is not used. A warning tells so, and where it is not the
        sum of its parts.

        Args:
            df, future_df, quantile_levels, num_samples: see `predict_df`.
            sums: by its name the parts of each, ids of series or names of other sums:
                {"north": ["oslo", "bergen"], "total": ["north", "south"]}.
            options: past_covariates, id_column, timestamp_column, target, prediction_length, freq, and sampling, as
                `predict_df` takes them.

        Returns:
            A frame like that of `predict_df`, the sums after the series, by their names in `sums`. Its `attrs` tell of
            the series.

        Raises:
            ConfigError: sums of what there is not, in a circle, or that count a series twice; see also `predict_df`.
            DataError: series that end at different times; see also `predict_df`.
        """
        from tsdiff.tasks.jointly import leaves_of  # loads gluonts.torch

        checked(tuple[Level, ...], quantile_levels=quantile_levels)
        if not isinstance(sums, Mapping):
            raise ConfigError(f"sums={sums!r}: name each with its parts, {{'total': ['a', 'b']}}")
        if not sums:
            raise ConfigError("sums is empty; name the parts of each, or take predict_df")
        named = {str(name): _parts(name, parts) for name, parts in sums.items()}
        if len(named) < len(sums):
            raise ConfigError(f"sums: two of {', '.join(map(repr, sums))} are the same as text; rename one")
        job = self._job(df, future_df, options, aside=named)
        job.series.tell_missing_ends(job.steps)
        job.series.tell_stuck()
        tell_changes(job.series.origin, job.series, job.steps)
        entries = [entry for entry in job.series if entry["item_id"] not in named]
        parts = leaves_of(named, [entry["item_id"] for entry in entries])
        _tell_given([*job.series, *job.aside], parts)
        made = self._together(job.predict(entries, num_samples), entries, "sums")
        by_name = {entry["item_id"]: one for entry, one in zip(entries, made, strict=True)}
        added = [
            SampleForecast(
                np.sum([by_name[part].samples for part in found], axis=0), start_date=made[0].start_date, item_id=name
            )
            for name, found in parts.items()
        ]
        origin = job.series.origin
        labels = _alike(origin.labels, pd.Series(list(sums), index=list(named)))
        tables = [
            replace(origin, labels=own).restored(forecasts_to_frame(forecasts, quantile_levels, job.series.stamp))
            for own, forecasts in zip(labels, (made, added), strict=True)
        ]
        table = pd.concat(tables, ignore_index=True)
        table.attrs.update(decided(entries, made, self.config.dynamic_features > 0))
        return table

    def _together(self, forecasts: list[SampleForecast], entries: Sequence[Entry], key: str) -> list[SampleForecast]:
        from tsdiff.tasks.jointly import together  # loads gluonts.torch

        seasons = [season for season in candidate_seasons(entries[0]["start"].freqstr) if season <= _LONGEST_SEASON]
        rng = np.random.default_rng(derive_seed(self.sampling.seed, "together", key, str(forecasts[0].start_date)))
        return together(forecasts, entries, seasons, rng)


def _parts(name: Any, parts: Any) -> list[str]:
    """Names of a sum's parts, of which one may be given by itself.

    Raises:
        ConfigError: weights of them.
    """
    if isinstance(parts, Mapping):
        raise ConfigError(f"sums: {name!r} has weights, and each part counts once; give their names alone")
    alone = isinstance(parts, str) or not isinstance(parts, Iterable)
    return [str(parts)] if alone else [str(part) for part in parts]


def _alike(ids: pd.Series | None, sums: pd.Series) -> tuple[pd.Series | None, pd.Series]:
    """Ids of series and names of sums in one dtype, that of the ids where it has room for the names: pandas makes texts
    and whatever else of unlike ones. Categories come to be those of the sums, too."""
    if ids is None:
        return ids, sums
    if isinstance(ids.dtype, pd.CategoricalDtype):
        known = ids.dtype.categories
        further = [name for name in sums if name not in known]
        kind = pd.CategoricalDtype([*known, *further], ids.dtype.ordered)
        return ids.astype(kind), sums.astype(kind)
    try:
        made = sums.astype(ids.dtype)
    except (TypeError, ValueError, OverflowError):
        return ids, sums
    return ids, made if made.tolist() == sums.tolist() else sums


def _tell_given(series: Iterable[Entry], parts: Mapping[str, Sequence[str]]) -> None:
    """Say of given totals that they are not used, and which are not the sums of their parts."""
    values = {entry["item_id"]: entry for entry in series}
    given = [name for name in parts if name in values]
    if not given:
        return
    others = []
    for name in given:
        # Of times at which all are known: parts may have begun later, or have gaps.
        known = pd.concat([_by_time(values[one]) for one in (name, *parts[name])], axis=1, join="inner").dropna()
        if not np.allclose(known.iloc[:, 1:].sum(axis=1), known.iloc[:, 0], rtol=1e-3):
            others.append(name)
    unlike = f"; the past of {', '.join(others[:5])} is not the sum of its parts" if others else ""
    tell(f"given sums {', '.join(given[:5])} are forecast as sums of their parts, their own past is not used{unlike}")


def _by_time(entry: Entry) -> pd.Series:
    start, target = entry["start"], np.asarray(entry["target"], dtype=np.float64)
    return pd.Series(target, index=start.ordinal + start.freq.n * np.arange(len(target)))
