"""A clean set of series, and the checks that make it clean."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import pandas as pd

from shared.errors import DataError
from tsdiff.data.covariates import Layout, clean_covariates
from tsdiff.data.frequency import normalise_freq, quiet
from tsdiff.data.origin import Origin
from tsdiff.data.timestamps import Stamp

Entry = dict[str, Any]
"""A GluonTS data entry: "item_id" str, "start" pd.Period, "target" (length,) or, for a multivariate series, (channels,
length), NaN where missing, float64, or float32 if it came so; and what `tsdiff.data.covariates` knows."""


@dataclass(frozen=True)
class SeriesSet(Sequence[Entry]):
    """Series that passed every check. It is a GluonTS dataset itself: sized, iterable as often as wanted.

    Attributes:
        entries: GluonTS entries: "item_id" str, "start" pd.Period of `freq`, "target" (length,) or (channels, length)
            with NaN where missing, float64, or float32 if it came so, covariates as `clean_covariates` leaves them, and
            whatever other fields the source had.
        freq: The frequency as `pd.Period` spells it.
        notes: What was repaired, each naming the series.
        skipped: Series that were left out, with the reason.
        stamp: Whether the source's timestamps named the first or the last day of their periods.
        vocabulary: For a table with static categories: by column, the values that the codes 0, 1, … of
            feat_static_cat stand for.
        origin: What the source, if it was a table, called things.
    """

    entries: list[Entry]
    freq: str
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    stamp: Stamp = "start"
    vocabulary: dict[str, tuple[str, ...]] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self.entries[index]

    @property
    def layout(self) -> Layout:
        """Channels and covariates, the same in every entry."""
        return Layout.of(self.entries[0]) if self.entries else Layout()

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many values each static category has: of the vocabulary, or one more than the largest code."""
        if self.vocabulary:
            return tuple(map(len, self.vocabulary.values()))
        if not self.layout.categories:
            return ()
        return tuple(int(n) + 1 for n in np.max([entry["feat_static_cat"] for entry in self.entries], axis=0))

    def remarks(self, skipped: Mapping[str, str] | None = None, most: int = 20) -> list[str]:
        """What was left out and repaired, a line each, as commands and frames' forecasts tell it.

        Args:
            skipped: Series that were left out later, with the reason.
            most: Lines; the rest are counted.
        """
        left_out = {**self.skipped, **(skipped or {})}
        lines = [*(f"series {item!r} left out: {why}" for item, why in left_out.items()), *self.notes]
        more = [f"and {len(lines) - most} more of the kind"] if len(lines) > most else []
        return lines[:most] + more

    def warn(self, stacklevel: int = 2) -> None:
        """Tell the `remarks` as warnings, on behalf of the caller that many frames up."""
        for line in self.remarks():
            warnings.warn(line, stacklevel=stacklevel + 1)


def counted(count: int, one: str, many: str) -> str:
    """Write a count with its noun: "1 gap", "3 gaps"."""
    return f"{count} {one if count == 1 else many}"


def clean_target(values: np.ndarray, item: str) -> tuple[np.ndarray, list[str]]:
    """Bring one target to float64, unless it came in single precision, with NaN as the only mark of a missing value.

    Args:
        values: Numbers, (length,) or (channels, length); not changed.
        item: The series' name, for messages.

    Returns:
        The target, shaped like `values`, and notes.

    Raises:
        DataError: Values beyond the range of single precision.
    """
    infinite = np.isinf(values)
    notes = []
    if infinite.any():
        values = np.where(infinite, np.nan, values)
        count = counted(int(infinite.sum()), "infinity", "infinities")
        notes.append(f"series {item!r}: {count} treated as missing")
    largest = np.nanmax(np.abs(values), initial=0.0)
    if largest > np.finfo(np.float32).max:
        raise DataError(f"series {item!r}: the value {largest:g} is too large for single precision; rescale it")
    target = np.array(values, dtype=values.dtype if values.dtype == np.float32 else np.float64)
    for channel, row in enumerate(np.atleast_2d(target)):
        name = f"series {item!r}" if target.ndim == 1 else f"channel {channel} of series {item!r}"
        observed = row[~np.isnan(row)]
        if observed.size > 1 and (observed == observed[0]).all():
            notes.append(f"{name} is constant ({observed[0]:g}); its forecasts will be too")
        elif not observed.size and target.ndim == 2:
            notes.append(f"{name} holds no observed value")
    return target, notes


def reason_to_skip(target: np.ndarray, min_length: int) -> str | None:
    """Say why a series of shape (length,) or (channels, length) is of no use, or None if it is."""
    length = target.shape[-1]
    if length < min_length:
        return f"{counted(length, 'value', 'values')}, fewer than the {min_length} needed"
    if np.isnan(target).all():
        return "no observed value"
    return None


def refuse_if_empty(entries: Sequence[object], skipped: dict[str, str]) -> None:
    """Raise DataError if nothing is left to work with."""
    if not entries:
        listed = "; ".join(f"{item}: {reason}" for item, reason in list(skipped.items())[:5])
        more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        raise DataError(f"no usable series ({listed}{more})" if skipped else "the data holds no series at all")


def series_from_gluonts(
    dataset: Iterable[Mapping[str, Any]], freq: str | None = None, *, min_length: int = 1
) -> SeriesSet:
    """Check any GluonTS dataset as `series_from_frame` checks a table.

    The dataset is iterated once and never indexed (GluonTS 0.17 reads wrong records when long JSON-lines
    files are indexed). Covariates are checked (`clean_covariates`); other fields are kept as they are. The caller's
    entries and arrays are not changed.

    Args:
        dataset: Entries with "start" and "target"; "item_id" defaults to the place in the dataset.
        freq: The frequency, in any pandas spelling; None takes that of the first entry's period.
        min_length: Series with fewer values are skipped.

    Returns:
        The checked set.

    Raises:
        DataError: A target that is missing, not numeric, or neither (length,) nor (channels, length); a start that
            is missing or of another frequency; covariates that cannot be used; series of different layouts; or no
            usable series.
    """
    notes: list[str] = []
    skipped: dict[str, str] = {}
    entries = list(checked_entries(dataset, freq, min_length=min_length, notes=notes, skipped=skipped))
    refuse_if_empty(entries, skipped)
    return SeriesSet(entries, entries[0]["start"].freqstr, notes, skipped)


def entries_of(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """The entries of a GluonTS dataset, after a look whether it is one.

    Raises:
        DataError: it is none, which is told at once; or, where it is reached, an item that is no entry.
    """
    if isinstance(dataset, (str, os.PathLike)):
        name = os.fspath(dataset)
        raise DataError(f"{name!r} is a path, not a GluonTS dataset; read it: tsdiff.data.load_dataset({name!r})")
    if isinstance(dataset, pd.DataFrame):
        raise DataError(
            "a DataFrame is no GluonTS dataset; a predictor's forecast_df and impute_df take it, or make a dataset of "
            "it: tsdiff.data.load_dataset(df, target=…, item_id=…, timestamp=…)"
        )
    if isinstance(dataset, Mapping):
        raise DataError("a single entry is no GluonTS dataset; put it into a list: [entry]")
    if hasattr(dataset, "metadata") and hasattr(dataset, "train"):
        raise DataError("this holds a training and a test part; give one of them: dataset.train or dataset.test")
    if not isinstance(dataset, Iterable):
        raise DataError(f"{dataset!r} is no GluonTS dataset: it cannot be iterated")
    return (_as_entry(place, entry) for place, entry in enumerate(dataset))


def _as_entry(place: int, entry: Any) -> Mapping[str, Any]:
    if isinstance(entry, Mapping):
        return entry
    pair = "; of pairs of input and label give the inputs: test_data.input" if isinstance(entry, tuple) else ""
    raise DataError(
        f"item {place} of the dataset is a {type(entry).__name__}, not a GluonTS entry such as "
        f'{{"start": pd.Period("2024-01-01", "h"), "target": [1.0, 2.0]}}{pair}'
    )


def checked_entries(
    dataset: Iterable[Mapping[str, Any]],
    freq: str | None = None,
    *,
    min_length: int = 1,
    notes: list[str] | None = None,
    skipped: dict[str, str] | None = None,
) -> Iterator[Entry]:
    """Yield the entries of a GluonTS dataset one by one, each checked as `series_from_gluonts` checks it.

    Args:
        dataset, freq, min_length: See `series_from_gluonts`.
        notes, skipped: What was repaired and left out is added to these.

    Raises:
        DataError: See `series_from_gluonts`; the message names the series.
    """
    wanted = None if freq is None else normalise_freq(freq)
    notes = [] if notes is None else notes
    skipped = {} if skipped is None else skipped
    layout: Layout | None = None
    for place, raw in enumerate(entries_of(dataset)):
        item = str(raw.get("item_id", place))
        start = _start_of(raw, item, wanted)
        wanted = start.freqstr if wanted is None else wanted
        target, found = clean_target(_target_of(raw, item), item)
        reason = reason_to_skip(target, min_length)
        if reason is not None:
            skipped[item if item not in skipped else f"{item} (entry {place})"] = reason
            continue
        covariates, repaired = clean_covariates(raw, item, target.shape[-1])
        entry: Entry = {**raw, "item_id": item, "start": start, "target": target, **covariates}
        layout = layout or Layout.of(entry)
        layout.check(Layout.of(entry), item)
        notes.extend(found + repaired)
        yield entry


def _start_of(entry: Mapping[str, Any], item: str, wanted: str | None) -> pd.Period:
    start = entry.get("start")
    if isinstance(start, pd.Period):
        if wanted is not None and start.freqstr != wanted:
            raise DataError(f"series {item!r} has frequency {start.freqstr!r}, not {wanted!r} as the others")
        return start
    if wanted is None:
        raise DataError(f"series {item!r} starts at {start!r}, which has no frequency; give freq")
    try:
        with quiet():
            period = pd.Period(start, freq=wanted)
    except (ValueError, TypeError) as error:
        raise DataError(f"series {item!r}: 'start' {start!r} is not a date") from error
    if not isinstance(period, pd.Period):
        raise DataError(f"series {item!r} has no 'start'; give each entry a pd.Period")
    return period


def _target_of(entry: Mapping[str, Any], item: str) -> np.ndarray:
    if entry.get("target") is None:
        raise DataError(f"series {item!r} has no 'target'; its fields are {', '.join(map(str, entry))}")
    try:
        values = np.asarray(entry["target"])
        values = values if values.dtype == np.float32 else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"series {item!r}: its target is not numeric ({error})") from error
    if values.ndim not in (1, 2) or (values.ndim == 2 and not values.shape[0]):
        raise DataError(
            f"series {item!r}: its target has shape {values.shape}; it must be (length,) or (channels, length)"
        )
    return values
