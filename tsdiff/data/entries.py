"""One series: a GluonTS entry read and checked, once, at the door."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import pandas as pd

from shared.errors import DataError, counted
from tsdiff.data.covariates import CATEGORIES, COVARIATES, DYNAMIC, REALS, clean_covariates
from tsdiff.data.frequency import freq_of, quiet, shifted

Entry = dict[str, Any]
"""A GluonTS data entry: "item_id" str, "start" pd.Period, "target" (length,) or, for a multivariate series, (channels,
length), NaN where missing; and the covariates of `tsdiff.data.covariates`."""

ROUNDING = 1e-14
"""Differences below this share of a value are taken for its rounding."""

_TINIEST = 1e-140
"""A series needs a value above it: variances of less have too few digits, or are 0."""


@dataclass(frozen=True)
class Series:
    """A checked series.

    Attributes:
        name: for messages: the entry's "item_id", or its place.
        start: time of the first value.
        target: (length,) or (channels, length), NaN where missing, float64, or float32 if it came so.
        covariates: what `clean_covariates` found: feat_dynamic_real (rows, at least length) float32, feat_static_cat
            int64 (n,), feat_static_real float32 (n,); those that there are.
        item_id, info: of the entry, for the forecasts that are made of it.
        notes: what was repaired, naming the series.
    """

    name: str
    start: pd.Period
    target: np.ndarray
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    item_id: Any = None
    info: Any = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.target.shape[-1])

    @property
    def end(self) -> pd.Period:
        """Time of the step after the last."""
        return shifted(self.start, len(self))

    @property
    def empty(self) -> bool:
        """Whether no value is observed."""
        return bool(np.isnan(self.target).all())

    @cached_property
    def values(self) -> np.ndarray:
        """The target as the network reads it, (length, channels), float64."""
        return np.ascontiguousarray(np.atleast_2d(self.target).T, dtype=np.float64)

    @property
    def dynamic(self) -> np.ndarray:
        """The dynamic features as the network reads them, (steps, rows); none where there are none."""
        return self.covariates[DYNAMIC].T if DYNAMIC in self.covariates else np.zeros((0, 0), dtype=np.float32)

    @property
    def static(self) -> np.ndarray:
        """The static real features, (n,)."""
        return self.covariates.get(REALS, np.zeros(0, dtype=np.float32))

    @property
    def categories(self) -> np.ndarray:
        """The codes of the static categories, (n,)."""
        return self.covariates.get(CATEGORIES, np.zeros(0, dtype=np.int64))

    @cached_property
    def constant(self) -> np.ndarray:
        """The one value that a channel holds, (channels,); NaN where it changes, or was seen but once."""
        values = self.values
        low, high = (f.reduce(values, axis=0, initial=np.nan) for f in (np.fmin, np.fmax))
        still = (high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high))) & ((~np.isnan(values)).sum(0) > 1)
        return np.where(still, (low + high) / 2, np.nan)

    def since(self, first: int) -> Series:
        """The series from step `first` on, counted from its start."""
        known = dict(self.covariates)
        if DYNAMIC in known:
            known[DYNAMIC] = known[DYNAMIC][:, first:]
        return replace(self, start=shifted(self.start, first), target=self.target[..., first:], covariates=known)

    def with_gap(self, steps: int) -> Series:
        """The series and so many missing values after its end."""
        gap = np.full((*self.target.shape[:-1], steps), np.nan, dtype=self.target.dtype)
        return replace(self, target=np.concatenate([self.target, gap], axis=-1))

    def with_covariates_held(self, steps: int) -> Series:
        """The series, its dynamic features going on for so many steps more as they end."""
        if DYNAMIC not in self.covariates or steps < 1:
            return self
        longer = np.pad(self.covariates[DYNAMIC], ((0, 0), (0, steps)), mode="edge")
        return replace(self, covariates={**self.covariates, DYNAMIC: longer})

    def as_entry(self) -> Entry:
        """The GluonTS entry."""
        return {"item_id": self.name, "start": self.start, "target": self.target, **self.covariates}


class EntrySequence(Sequence[Entry]):
    """A GluonTS dataset that is sized, and may be indexed, sliced and iterated as often as wanted."""

    @abstractmethod
    def entry(self, place: int) -> Entry:
        """The entry at a place from 0."""

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self.entry(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"series {index} of {len(self)}")
        return self.entry(place)

    def __iter__(self) -> Iterator[Entry]:
        return map(self.entry, range(len(self)))


def read_series(
    entry: Mapping[str, Any], name: str, freq: str | None = None, covariates: Collection[str] = COVARIATES
) -> Series:
    """Check an entry and what accompanies it; arrays are not changed, and not copied where they can be kept.

    Args:
        entry: a GluonTS entry.
        name: of the series, for messages.
        freq: normalised frequency that it must have; None takes that of its start.
        covariates: which are read; the others are left out.

    Raises:
        DataError: a target that is missing, not numeric, beyond single precision, or neither (length,) nor (channels,
            length); a start that is missing or of another frequency; covariates that cannot be used.
    """
    start = _start_of(entry, name, freq)
    target, notes = clean_target(_target_of(entry, name), name)
    known, repaired = clean_covariates(entry, name, target.shape[-1], covariates)
    return Series(name, start, target, known, entry.get("item_id"), entry.get("info"), (*notes, *repaired))


def target_of(entry: Mapping[str, Any], name: str) -> np.ndarray:
    """The target of an entry as `read_series` reads it, NaN where missing, float64."""
    return np.asarray(clean_target(_target_of(entry, name), name)[0], dtype=np.float64)


def kind_of(value: Any) -> str:
    """The name of a value's class, with its package, for messages."""
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}".removeprefix("builtins.")


def towards_pandas(value: Any) -> str | None:
    """What to do with another package's frame, or with a series, for messages; None of what is neither."""
    return next((f"give its .{name}()" for name in ("to_pandas", "to_frame", "collect") if hasattr(value, name)), None)


def entries_of(dataset: Any) -> Iterator[Entry]:
    """The entries of a GluonTS dataset, after a look whether it is one.

    Raises:
        DataError: it is none, which is told at once; or, where it is reached, an item that is no entry.
    """
    if isinstance(dataset, (str, os.PathLike)):
        name = os.fspath(dataset)
        raise DataError(f"{name!r} is a path, not a GluonTS dataset; read it: tsdiff.data.load_dataset({name!r})")
    if isinstance(dataset, pd.DataFrame):
        raise DataError(
            "a DataFrame is no GluonTS dataset; take predict_df(df, prediction_length=…), impute_df(df) or an "
            "estimator's fit(df), or make a dataset: tsdiff.data.load_dataset(df, target=…, item_id=…, timestamp=…)"
        )
    if isinstance(dataset, Mapping):
        raise DataError("a single entry is no GluonTS dataset; put it into a list: [entry]")
    if hasattr(dataset, "metadata") and hasattr(dataset, "train"):
        raise DataError("this holds a training and a test part; give one of them: dataset.train or dataset.test")
    if hasattr(dataset, "generate_instances"):
        raise DataError(
            "this is split's template of test windows, not a GluonTS dataset; give the windows' inputs: "
            "template.generate_instances(prediction_length).input"
        )
    if isinstance(dataset, tuple) and any(hasattr(part, "generate_instances") for part in dataset):
        raise DataError(
            "this is the pair that split returns, not a GluonTS dataset; take it apart: training, template = "
            "split(dataset, …), and give training, or template.generate_instances(prediction_length).input"
        )
    if not isinstance(dataset, Iterable):
        _refuse_frame(dataset)
        raise DataError(f"{dataset!r} is no GluonTS dataset: it cannot be iterated")
    return (_as_entry(place, entry, dataset) for place, entry in enumerate(dataset))


def named_entries(dataset: Any) -> Iterator[tuple[str, Entry]]:
    """`entries_of` with their names: the "item_id", or the place in the dataset."""
    return ((str(entry.get("item_id", place)), entry) for place, entry in enumerate(entries_of(dataset)))


def _refuse_frame(dataset: Any) -> None:
    if remedy := towards_pandas(dataset):
        raise DataError(f"a {kind_of(dataset)} is no GluonTS dataset and no pandas DataFrame; {remedy}")


def _as_entry(place: int, entry: Any, dataset: Any) -> Entry:
    if isinstance(entry, dict):
        return entry
    if isinstance(entry, Mapping):
        return dict(entry)
    _refuse_frame(dataset)
    pair = "; of pairs of input and label give the inputs: test_data.input" if isinstance(entry, tuple) else ""
    raise DataError(
        f"item {place} of the dataset is a {type(entry).__name__}, not a GluonTS entry such as "
        f'{{"start": pd.Period("2024-01-01", "h"), "target": [1.0, 2.0]}}{pair}'
    )


def clean_target(values: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Bring one target to float64, unless it came in single precision, with NaN as the only mark of a missing value.

    Args:
        values: numbers, (length,) or (channels, length); not changed.
        name: of the series, for messages.

    Returns:
        The target, shaped like `values`, and notes.

    Raises:
        DataError: values beyond the range of single precision, or so small that their squares are none.
    """
    infinite = np.isinf(values)
    notes = []
    if infinite.any():
        values = np.where(infinite, np.nan, values)
        count = counted(int(infinite.sum()), "infinity", "infinities")
        notes.append(f"series {name!r}: {count} treated as missing")
    largest = np.nanmax(np.abs(values), initial=0.0)
    if largest > np.finfo(np.float32).max:
        raise DataError(f"series {name!r}: the value {largest:g} is too large for single precision; rescale it")
    if 0 < largest < _TINIEST:
        raise DataError(f"series {name!r}: no value is above {largest:g}, too small to be squared; rescale it")
    return np.asarray(values, dtype=values.dtype if values.dtype == np.float32 else np.float64), notes


def _start_of(entry: Mapping[str, Any], name: str, wanted: str | None) -> pd.Period:
    start = entry.get("start")
    if isinstance(start, pd.Period):
        if wanted is not None and freq_of(start) != wanted:
            raise DataError(f"series {name!r} has frequency {start.freqstr!r}, not {wanted!r} as the others")
        return start
    if wanted is None:
        raise DataError(f"series {name!r} starts at {start!r}, which has no frequency; give freq")
    try:
        with quiet():
            period = pd.Period(start, freq=wanted)
    except (ValueError, TypeError) as error:
        raise DataError(f"series {name!r}: 'start' {start!r} is not a date") from error
    if not isinstance(period, pd.Period):
        raise DataError(f"series {name!r} has no 'start'; give each entry a pd.Period")
    return period


def _target_of(entry: Mapping[str, Any], name: str) -> np.ndarray:
    if entry.get("target") is None:
        raise DataError(f"series {name!r} has no 'target'; its fields are {', '.join(map(str, entry))}")
    try:
        values = np.asanyarray(entry["target"])
        values = values if values.dtype == np.float32 else values.astype(np.float64)
        values = np.asarray(np.ma.filled(values, np.nan))
    except (TypeError, ValueError) as error:
        raise DataError(f"series {name!r}: its target is not numeric ({error})") from error
    if values.ndim not in (1, 2) or (values.ndim == 2 and not values.shape[0]):
        raise DataError(
            f"series {name!r}: its target has shape {values.shape}; it must be (length,) or (channels, length)"
        )
    return values
