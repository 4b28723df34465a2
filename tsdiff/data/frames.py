"""From files and pandas tables in long format to series."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from shared.errors import ConfigError, DataError
from tsdiff.data.frequency import EXAMPLES, infer_freq, normalise_freq
from tsdiff.data.series import (
    Entry,
    SeriesSet,
    clean_target,
    counted,
    reason_to_skip,
    refuse_if_empty,
)
from tsdiff.data.timestamps import check_unique, grid_positions, moved_note, parse_timestamps, stamp_side

TIMESTAMP_NAMES = ("timestamp", "time", "datetime", "date", "ds")
SUFFIXES = (".csv", ".csv.gz", ".parquet")


def load_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table from a .csv, .csv.gz or .parquet file.

    Args:
        path: The file.

    Returns:
        The table, with at least one row.

    Raises:
        DataError: The file is missing, of another kind, unreadable or empty.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: unknown kind of table; use a file that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        frame = pd.read_parquet(path) if name.endswith(".parquet") else pd.read_csv(path)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: the file is empty; it needs a header line and rows") from error
    except (OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read as a table ({reason}); write it again") from error
    if frame.empty:
        raise DataError(f"{path}: the table has no rows; it needs one row for each value")
    return frame


def series_from_frame(
    frame: pd.DataFrame,
    *,
    target: str = "target",
    item_id: str | None = None,
    timestamp: str | None = None,
    freq: str | None = None,
    min_length: int = 1,
) -> SeriesSet:
    """Make a clean set of series from a table in long format, one row for each value.

    Rows may come in any order. Gaps become NaN, so do infinities; each repair is noted. Series that hold no
    observed value or are too short are skipped, the others go on.

    Args:
        frame: The table; not changed.
        target: The column of values.
        item_id: The column that names the series; None takes "item_id" if there is one, else the whole table
            is one series named after `target`.
        timestamp: The column (or name of the index) with the times; None takes "timestamp", "time",
            "datetime", "date" or "ds", in any case, or else an index of datetimes or periods.
        freq: The frequency, in any pandas spelling, old or new; None takes that of periods and infers that of times.
        min_length: Series with fewer steps, gaps counted, are skipped.

    Returns:
        The set, ordered by item; the same whatever the order of the rows (its notes aside).

    Raises:
        DataError: A missing column, values that are not numbers, missing item ids or timestamps, repeated or
            irregular timestamps, a frequency that is unknown or cannot be inferred, no usable series.
        ConfigError: `min_length` is below 1.
    """
    if min_length < 1:
        raise ConfigError(f"min_length is {min_length}; it must be at least 1")
    if frame.empty:
        raise DataError("the table has no rows; it needs one row for each value")
    if item_id is None and "item_id" in frame.columns:
        item_id = "item_id"
    values = _numbers(_column(frame, target), target)
    times, name = _times(frame, timestamp)
    if freq is None and isinstance(times.dtype, pd.PeriodDtype):
        freq = normalise_freq(times.dtype.freq)
    stamps, notes = parse_timestamps(times, name)
    parts = list(_parts(frame, item_id, target, stamps, values, notes))
    grid = _agreed_freq(parts) if freq is None else normalise_freq(freq)
    entries: list[Entry] = []
    skipped: dict[str, str] = {}
    for item, part, numbers in parts:
        entry, found = _entry(item, part, numbers, grid)
        reason = reason_to_skip(entry["target"], min_length)
        if reason is None:
            entries.append(entry)
            notes.extend(found)
        else:
            skipped[item] = reason
    refuse_if_empty(entries, skipped)
    used = [(item, part) for item, part, _ in parts if item not in skipped]
    sides = {stamp_side(part, grid) for _, part in used}
    side = sides.pop() if len(sides) == 1 else "start"
    notes.extend(f"series {item!r}: {moved}" for item, part in used if (moved := moved_note(part, grid, side)))
    return SeriesSet(entries, grid, notes, skipped, side)


Part = tuple[str, pd.DatetimeIndex, np.ndarray]


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        raise DataError(f"no column {name!r}; the table has {_listed(frame)}")
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise DataError(f"the table has more than one column {name!r}; rename them")
    return column


def _listed(frame: pd.DataFrame) -> str:
    return ", ".join(repr(name) for name in frame.columns) or "no columns"


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    """The values as float64 (rows,), NaN where missing."""
    kinds = pd.api.types
    if kinds.is_object_dtype(column.dtype) or kinds.is_string_dtype(column.dtype):
        dated = column.map(lambda value: isinstance(value, (pd.Timestamp, pd.Period, pd.Timedelta)))
        numeric = pd.to_numeric(column.where(~dated, "date"), errors="coerce")
        bad = (numeric.isna() & column.notna()).to_numpy()
        if bad.any():
            row = int(bad.argmax())
            raise DataError(
                f"column {name!r} is not numeric: row {row} holds {column.iloc[row]!r}; convert it to numbers"
            )
        column = numeric
    if not kinds.is_numeric_dtype(column.dtype) or kinds.is_complex_dtype(column.dtype):
        raise DataError(f"column {name!r} is not numeric but {column.dtype}; convert it to numbers")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _times(frame: pd.DataFrame, timestamp: str | None) -> tuple[pd.Series, str]:
    if timestamp is None:
        lower = {str(name).lower(): name for name in reversed(frame.columns.tolist())}
        timestamp = next((lower[name] for name in TIMESTAMP_NAMES if name in lower), None)
        if timestamp is None and isinstance(frame.index, (pd.DatetimeIndex, pd.PeriodIndex)):
            return frame.index.to_series(), str(frame.index.name or "index")
        if timestamp is None:
            raise DataError(
                f"no column of timestamps ({', '.join(TIMESTAMP_NAMES)}) and no index of datetimes;"
                f" name the column with timestamp; the table has {_listed(frame)}"
            )
    elif timestamp not in frame.columns and frame.index.name == timestamp:
        return frame.index.to_series(), timestamp
    return _column(frame, timestamp), timestamp


def _parts(
    frame: pd.DataFrame,
    item_id: str | None,
    target: str,
    stamps: pd.DatetimeIndex,
    values: np.ndarray,
    notes: list[str],
) -> Iterator[Part]:
    """Yield each series sorted by time, ordered by item; append to `notes` which ones had to be sorted."""
    for item, rows in _groups(frame, item_id, target):
        part, numbers = stamps[rows], values[rows]
        if not part.is_monotonic_increasing:
            order = np.argsort(part.to_numpy(), kind="stable")
            part, numbers = part[order], numbers[order]
            notes.append(f"series {item!r}: unsorted timestamps were sorted")
        check_unique(part, item, item_id is None)
        yield item, part, numbers


def _groups(frame: pd.DataFrame, item_id: str | None, target: str) -> Iterator[tuple[str, np.ndarray]]:
    if item_id is None:
        yield target, np.arange(len(frame))
        return
    ids = _column(frame, item_id)
    missing = np.flatnonzero(ids.isna().to_numpy())
    if missing.size:
        raise DataError(
            f"column {item_id!r} has {missing.size} missing item ids, the first in row {missing[0]}; fill or drop them"
        )
    ids = ids.astype(object) if pd.api.types.is_numeric_dtype(ids.dtype) else ids.astype(str)
    codes, names = pd.factorize(ids, sort=True)
    order = np.argsort(codes, kind="stable")
    for name, rows in zip(names, np.split(order, np.cumsum(np.bincount(codes))[:-1]), strict=True):
        yield str(name), rows


def _agreed_freq(parts: list[Part]) -> str:
    found = {item: infer_freq(stamps) for item, stamps, _ in parts}
    votes = Counter(freq for freq in found.values() if freq is not None)
    if not votes:
        raise DataError(f"the frequency cannot be inferred from the timestamps; give freq, for example {EXAMPLES}")
    if len(votes) > 1:
        (first, _), (second, _) = votes.most_common(2)
        named = {freq: next(item for item, own in found.items() if own == freq) for freq in (first, second)}
        raise DataError(
            f"the series differ in frequency: {named[first]!r} looks like {first!r}, {named[second]!r} like"
            f" {second!r}; give freq if they share one, or handle them apart"
        )
    return votes.most_common(1)[0][0]


def _entry(item: str, stamps: pd.DatetimeIndex, numbers: np.ndarray, freq: str) -> tuple[Entry, list[str]]:
    positions, start = grid_positions(stamps, freq, item)
    full = np.full(int(positions[-1]) + 1, np.nan)
    full[positions] = numbers
    gaps = len(full) - len(numbers)
    notes = [f"series {item!r}: {counted(gaps, 'gap', 'gaps')} filled as missing"] if gaps else []
    target, found = clean_target(full, item)
    return {"item_id": item, "start": start, "target": target}, notes + found
