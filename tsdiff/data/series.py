"""A clean set of series, and the checks that make it clean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import pandas as pd

from shared.errors import DataError
from tsdiff.data.frequency import normalise_freq, quiet
from tsdiff.data.timestamps import Stamp

Entry = dict[str, Any]
"""A GluonTS data entry: "item_id" str, "start" pd.Period, "target" float32 (length,), NaN where missing."""


@dataclass(frozen=True)
class SeriesSet:
    """Series that passed every check. It is a GluonTS dataset itself: sized, iterable as often as wanted.

    Attributes:
        entries: GluonTS entries: "item_id" str, "start" pd.Period of `freq`, "target" float32 (length,) with
            NaN where missing, and whatever other fields the source had.
        freq: The frequency as `pd.Period` spells it.
        notes: What was repaired, each naming the series.
        skipped: Series that were left out, with the reason.
        stamp: Whether the source's timestamps named the first or the last day of their periods.
    """

    entries: list[Entry]
    freq: str
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    stamp: Stamp = "start"

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


def counted(count: int, one: str, many: str) -> str:
    """Write a count with its noun: "1 gap", "3 gaps"."""
    return f"{count} {one if count == 1 else many}"


def clean_target(values: np.ndarray, item: str) -> tuple[np.ndarray, list[str]]:
    """Bring one target to float32 with NaN as the only mark of a missing value.

    Args:
        values: Numbers, (length,); not changed.
        item: The series' name, for messages.

    Returns:
        The target, float32 (length,), and notes.

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
    target = values.astype(np.float32)
    observed = target[~np.isnan(target)]
    if observed.size > 1 and (observed == observed[0]).all():
        notes.append(f"series {item!r} is constant ({observed[0]:g}); its forecasts will be too")
    return target, notes


def reason_to_skip(target: np.ndarray, min_length: int) -> str | None:
    """Say why a series of shape (length,) is of no use, or None if it is."""
    if len(target) < min_length:
        return f"{counted(len(target), 'value', 'values')}, fewer than the {min_length} needed"
    if np.isnan(target).all():
        return "no observed value"
    return None


def refuse_if_empty(entries: list[Entry], skipped: dict[str, str]) -> None:
    """Raise DataError if nothing is left to work with."""
    if not entries:
        listed = "; ".join(f"{item}: {reason}" for item, reason in list(skipped.items())[:5])
        more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        raise DataError(f"no usable series ({listed}{more})" if skipped else "the data holds no series at all")


def series_from_gluonts(dataset: Iterable[Entry], freq: str | None = None, *, min_length: int = 1) -> SeriesSet:
    """Check any GluonTS dataset as `series_from_frame` checks a table.

    The dataset is iterated once and never indexed (GluonTS 0.17 reads wrong records when long JSON-lines
    files are indexed). Fields other than "item_id", "start" and "target" are kept as they are. The caller's
    entries and arrays are not changed.

    Args:
        dataset: Entries with "start" and "target"; "item_id" defaults to the place in the dataset.
        freq: The frequency, in any pandas spelling; None takes that of the first entry's period.
        min_length: Series with fewer values are skipped.

    Returns:
        The checked set.

    Raises:
        DataError: A target that is missing, not numeric or not one-dimensional, a start that is missing or of
            another frequency, or no usable series.
    """
    wanted = None if freq is None else normalise_freq(freq)
    entries: list[Entry] = []
    notes: list[str] = []
    skipped: dict[str, str] = {}
    for place, raw in enumerate(dataset):
        item = str(raw.get("item_id", place))
        start = _start_of(raw, item, wanted)
        wanted = start.freqstr if wanted is None else wanted
        target, found = clean_target(_target_of(raw, item), item)
        reason = reason_to_skip(target, min_length)
        if reason is None:
            entries.append({**raw, "item_id": item, "start": start, "target": target})
            notes.extend(found)
        else:
            skipped[item if item not in skipped else f"{item} (entry {place})"] = reason
    refuse_if_empty(entries, skipped)
    assert wanted is not None
    return SeriesSet(entries, wanted, notes, skipped)


def _start_of(entry: Entry, item: str, wanted: str | None) -> pd.Period:
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


def _target_of(entry: Entry, item: str) -> np.ndarray:
    if entry.get("target") is None:
        raise DataError(f"series {item!r} has no 'target'; its fields are {', '.join(map(str, entry))}")
    try:
        values = np.asarray(entry["target"])
        values = values if values.dtype == np.float32 else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"series {item!r}: its target is not numeric ({error})") from error
    if values.ndim != 1:
        raise DataError(
            f"series {item!r}: its target has shape {values.shape}; give one entry a dimension, each of shape (length,)"
        )
    return values
