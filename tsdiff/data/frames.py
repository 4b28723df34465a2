"""From files and pandas tables, long or wide, to series."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd

from shared.checks import Count, checked
from shared.errors import ConfigError, DataError, DiffusionError
from tsdiff.data.covariates import DYNAMIC
from tsdiff.data.entries import Entry, counted, read_series
from tsdiff.data.frequency import EXAMPLES, infer_freq, normalise_freq
from tsdiff.data.origin import Origin, Zone
from tsdiff.data.series import SeriesSet, notes_of, reason_to_skip, refuse_if_empty
from tsdiff.data.statics import StaticColumns
from tsdiff.data.tables import UNREADABLE, read_arrow, read_csv, read_parquet
from tsdiff.data.timestamps import (
    check_unique,
    grid_positions,
    looks_dated,
    moved_note,
    parse_timestamps,
    stamp_side,
    years,
)

ITEM_NAMES = ("item_id", "unique_id")
TARGET_NAMES = ("target", "y")
TIMESTAMP_NAMES = ("timestamp", "time", "datetime", "date", "ds")
_YEAR, _WITHIN_A_YEAR = "year", ("quarter", "month", "week", "day")
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".feather", ".arrow")
_WIDE, _LEVELS = "wide, by", "levels"
"""In a table's `attrs`, for messages: the column of times of the wide one that it was, None for an index; the columns
that were levels of its index."""
Layout = Literal["auto", "long", "wide"]
"""One row for each value ("long"), one row for each time and one column for each series ("wide"), or whichever fits."""


class Columns(TypedDict, total=False):
    """Columns of a long frame of one target; those that are left out are found by their usual names.

    Attributes:
        target: of values.
        item_id: that names the series.
        timestamp: of the times.
    """

    target: str
    item_id: str | None
    timestamp: str | None


def load_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table from a .csv, .csv.gz, .parquet, .feather or .arrow (Arrow IPC, file or stream) file.

    Args:
        path: The file.

    Returns:
        The table, with at least one row.

    Raises:
        DataError: The file is missing, of another kind, unreadable or empty, unpacks to too much, or has too many
            columns or too long texts (`tsdiff.data.tables`).
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: unknown kind of table; use a file that ends in {', '.join(SUFFIXES)}")
    if not os.path.isfile(path):  # False for what no file system takes as a name
        raise DataError(f"{path}: no such file; check the path")
    try:
        frame = _read(path, name)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: the file is empty; it needs a header line and rows") from error
    except DiffusionError:
        raise
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read as a table ({reason}); write it again") from error
    if frame.empty:
        raise DataError(f"{path}: the table has no rows; it needs one row for each value")
    return frame


def _read(path: Path, name: str) -> pd.DataFrame:
    if name.endswith(".parquet"):
        return read_parquet(path)
    return read_arrow(path) if name.endswith((".feather", ".arrow")) else read_csv(path)


def long_from_wide(frame: pd.DataFrame, timestamp: str | None = None) -> pd.DataFrame:
    """Turn a table with a column for each series into one with a row for each value.

    Args:
        frame: Numeric columns, one a series, beside a column of timestamps or an index of datetimes or periods.
        timestamp: The column of timestamps; found as in `series_from_frame` if None.

    Returns:
        Columns "item_id", "timestamp", "target"; the rows before the first value of a series are left out.

    Raises:
        DataError: No timestamps, no column besides, two of one name, or one that is not numeric.
    """
    times, name = times_of(frame, timestamp)
    columns = [column for column in frame.columns if column != name or name not in frame.columns]
    if not columns:
        raise DataError(f"the wide table has no column besides {name!r}; give one for each series")
    parts = []
    for column in columns:
        values = _numbers(_column(frame, column), column)
        first = int((~np.isnan(values)).argmax())
        item = column if isinstance(column, (str, int)) else str(column)
        parts.append(pd.DataFrame({"item_id": item, "timestamp": times.iloc[first:], "target": values[first:]}))
    made = pd.concat(parts, ignore_index=True)
    made.attrs[_WIDE] = name if name in frame.columns else None
    return made


def with_levels(frame: pd.DataFrame, item_id: str | None = None, timestamp: str | None = None) -> pd.DataFrame:
    """A table whose index tells ids, or times beside them, with its levels as columns; any other as it is.

    Args:
        frame: The table; not changed.
        item_id, timestamp: Names besides the usual ones that a level of ids or times may have.

    Returns:
        Named levels of several, and an index that has one of these names, as columns before the others. Of levels
        without a name dates are called "timestamp"; texts, and numbers beside dates, "item_id" where there are no ids
        yet.
    """
    index = frame.index
    if isinstance(index, pd.MultiIndex):
        index = index.set_names(_level_names(frame, index, item_id))
    elif isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)) or not _names_a_level(index.name, item_id, timestamp):
        return frame
    kept = [name for name in index.names if name is not None and name not in frame.columns]
    made = pd.concat([index.to_frame(index=False)[kept], frame.reset_index(drop=True)], axis=1)
    made.attrs[_LEVELS] = tuple(kept)
    return made


def _names_a_level(name: object, *others: str | None) -> bool:
    usual = str(name).lower() in TIMESTAMP_NAMES or name in ITEM_NAMES
    return name is not None and (usual or name in others)


def _level_names(frame: pd.DataFrame, index: pd.MultiIndex, item_id: str | None) -> list[Any]:
    """The names of levels, with usual ones for those that have none; None for those that tell nothing."""
    levels = [pd.Series(level) for level in index.levels]
    taken, dated = {*frame.columns, *index.names}, any(map(looks_dated, levels))
    names = list(index.names)
    for place, level in enumerate(levels):
        if names[place] is not None:
            continue
        if looks_dated(level) and TIMESTAMP_NAMES[0] not in taken:
            names[place] = TIMESTAMP_NAMES[0]
        elif not taken & {*ITEM_NAMES, item_id} - {None} and (dated or not pd.api.types.is_numeric_dtype(level.dtype)):
            names[place] = ITEM_NAMES[0]
        taken.add(names[place])
    return names


def looks_wide(frame: pd.DataFrame, target: str, item_id: str | None, timestamp: str | None) -> bool:
    """Whether a table has timestamps and numbers, but neither a column of targets nor one of item ids."""
    if target in frame.columns or item_id is not None or any(name in frame.columns for name in ITEM_NAMES):
        return False
    try:
        _, name = times_of(frame, timestamp)
    except DataError:
        return False
    others = [column for column in frame.columns if column != name]
    return bool(others) and all(map(pd.api.types.is_numeric_dtype, frame[others].dtypes))


def series_from_frame(
    frame: pd.DataFrame,
    *,
    target: str | Sequence[str] = "target",
    item_id: str | None = None,
    timestamp: str | None = None,
    freq: str | None = None,
    min_length: int = 1,
    dynamic: Sequence[str] = (),
    static: Sequence[str] = (),
    vocabulary: Mapping[str, Sequence[str]] | None = None,
) -> SeriesSet:
    """Make a clean set of series from a table in long format, one row for each value.

    Rows may come in any order. Gaps become NaN, so do infinities; each repair is noted. Series that hold no
    observed value or are too short are skipped, the others go on.

    Args:
        frame: The table; not changed.
        target: The column of values; "target" finds "y" where only that is there, or else the only column of numbers
            besides the others that are named here. A list of columns makes multivariate
            series, targets (channels, length).
        item_id: The column, or level of the index, that names the series; None takes "item_id" or "unique_id" if there
            is one, else the whole table is one series named after `target`.
        timestamp: The column, or level of the index, with the times; None takes "timestamp", "time",
            "datetime", "date" or "ds", in any case, or else an index of datetimes or periods, the only column of
            dates, or "year" with whole numbers.
        freq: The frequency, in any pandas spelling, old or new; None takes that of periods and infers that of times.
        min_length: Series with fewer steps, gaps counted, are skipped.
        dynamic: Numeric columns that are known in the future: feat_dynamic_real. The rows of a series after its last
            observed target are then the future, and belong to the features alone.
        static: Columns with one value a series: numbers make feat_static_real, everything else (also booleans and
            pandas categories) feat_static_cat, coded by the vocabulary of the column.
        vocabulary: For static categories, by column, the values that the codes 0, 1, … stand for, such as the
            `vocabulary` of the set that a model was trained on; None takes the sorted values of this table.

    Returns:
        The set, ordered by item; the same whatever the order of the rows (its notes aside). Series know no time zone:
        see `parse_timestamps`; `SeriesSet.origin` leads back to the table's zone, ids and names.

    Raises:
        DataError: A missing column, values that are not numbers, missing item ids or timestamps, repeated or
            irregular timestamps, a frequency that is unknown or cannot be inferred, no usable series.
        ConfigError: `min_length` is below 1.
    """
    checked(Count, min_length=min_length)
    if frame.empty:
        raise DataError("the table has no rows; it needs one row for each value")
    frame = with_levels(frame, item_id, timestamp)
    if item_id is None:
        item_id = next((name for name in ITEM_NAMES if name in frame.columns), None)
    if target == TARGET_NAMES[0] and target not in frame.columns:
        target = _values_of(frame, {item_id, times_of(frame, timestamp)[1], *dynamic, *static})
    targets = [target] if isinstance(target, str) else list(target)
    if not targets:
        raise ConfigError("target names no column; give at least one")
    values = np.stack([_numbers(_column(frame, name), name) for name in (*targets, *dynamic)], axis=1)
    times, name = times_of(frame, timestamp)
    if freq is None and isinstance(times.dtype, pd.PeriodDtype):
        freq = normalise_freq(times.dtype.freq)
    grid = None if freq is None else normalise_freq(freq)
    stamps, zone, notes = parse_timestamps(times, name, grid)
    parts = list(_parts(frame, item_id, " ".join(targets), stamps, zone, values, notes))
    grid = grid or _agreed_freq(parts)
    resampled = partial(_resampled, frame, item_id, name, target)
    statics = StaticColumns.read(frame, static, vocabulary)
    entries: list[Entry] = []
    skipped: dict[str, str] = {}
    for part in parts:
        entry, found = _entry(part, grid, zone, resampled, len(targets), univariate=isinstance(target, str))
        reason = reason_to_skip(entry["target"], min_length)
        if reason is None:
            entries.append(entry | statics.of(part.rows, part.item))
            notes.extend(found)
        else:
            skipped[part.item] = reason
    refuse_if_empty(entries, skipped)
    used = [part for part in parts if part.item not in skipped]
    sides = {stamp_side(part.stamps, grid) for part in used}
    side = sides.pop() if len(sides) == 1 else "start"
    for part in used:
        moved = moved_note(part.stamps, grid, side, zone)
        if moved:
            notes.append(f"series {part.item!r}: {moved}")
    origin = Origin(
        item_id="item_id" if item_id is None else item_id,
        timestamp=time_name(frame, timestamp),
        target=" ".join(targets),
        labels=None if item_id is None else _labels(_column(frame, item_id), parts),
        zone=zone,
    )
    return SeriesSet(entries, grid, notes, skipped, side, statics.vocabulary, origin)


@dataclass(frozen=True)
class Part:
    """One series of a table: its sorted times, and its values (rows, targets and then dynamic features)."""

    item: str
    stamps: pd.DatetimeIndex
    values: np.ndarray
    rows: np.ndarray


def _labels(ids: pd.Series, parts: Sequence[Part]) -> pd.Series:
    """The ids as the table holds them, by the names of the series."""
    return ids.iloc[np.array([part.rows[0] for part in parts])].set_axis([part.item for part in parts])


def _values_of(frame: pd.DataFrame, others: Collection[str | None]) -> str:
    """The column of values where there is no "target"."""
    if TARGET_NAMES[1] in frame.columns:
        return TARGET_NAMES[1]
    numeric = sole_numbers(frame, [name for name in frame.columns if name not in others])
    if numeric is None:
        raise DataError(
            f"no column {TARGET_NAMES[0]!r}; the table has {_listed(frame)}; name that of the values (target, on the "
            "command line --target)"
        )
    return numeric


def sole_numbers(frame: pd.DataFrame, columns: Sequence[str]) -> str | None:
    """The only one of these columns that holds numbers, if there is one; or the only column at all if most of its texts
    have digits: reading it tells which cell is no number."""
    numeric = [name for name in columns if pd.api.types.is_numeric_dtype(frame[name].dtype)]
    if not numeric and len(columns) == 1 and _mostly_digits(frame[columns[0]]):
        return columns[0]
    return numeric[0] if len(numeric) == 1 else None


def _mostly_digits(column: pd.Series) -> bool:
    texts = column.dropna()
    digits = [isinstance(text, str) and any(map(str.isdigit, text)) for text in texts]
    return sum(digits) > len(digits) / 2


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


def time_name(frame: pd.DataFrame, timestamp: str | None) -> str:
    """What a table calls its timestamps: the column or the index that holds them; "timestamp" for an index without a
    name."""
    name = times_of(frame, timestamp)[1]
    return name if name in frame.columns or name == frame.index.name else "timestamp"


def times_of(frame: pd.DataFrame, timestamp: str | None) -> tuple[pd.Series, str]:
    """The timestamps of a table, and the name of the column or index that holds them; see `series_from_frame`."""
    if timestamp is None:
        lower = {str(name).lower(): name for name in reversed(frame.columns.tolist())}
        timestamp = next((lower[name] for name in TIMESTAMP_NAMES if name in lower), None)
        if timestamp is None and isinstance(frame.index, (pd.DatetimeIndex, pd.PeriodIndex)):
            return frame.index.to_series(), str(frame.index.name or "index")
        if timestamp is None:
            names = frame.columns.tolist()
            dated = [name for place, name in enumerate(names) if looks_dated(frame.iloc[:, place])]
            timestamp = dated[0] if len(dated) == 1 else None
        if timestamp is None and _YEAR in lower and not any(name in lower for name in _WITHIN_A_YEAR):
            timestamp = lower[_YEAR]
        if timestamp is None:
            raise DataError(
                f"no column of timestamps ({', '.join(TIMESTAMP_NAMES)}) and no index of datetimes;"
                f" name the column with timestamp; the table has {_listed(frame)}"
            )
    elif timestamp not in frame.columns and frame.index.name == timestamp:
        return frame.index.to_series(), timestamp
    column = _column(frame, timestamp)
    found = years(column) if str(timestamp).lower() == _YEAR else None
    return (column if found is None else found), timestamp


def _parts(
    frame: pd.DataFrame,
    item_id: str | None,
    target: str,
    stamps: pd.DatetimeIndex,
    zone: Zone,
    values: np.ndarray,
    notes: list[str],
) -> Iterator[Part]:
    """Yield each series sorted by time, ordered by item; append to `notes` which ones had to be sorted."""
    for item, rows in _groups(frame, item_id, target):
        part = stamps[rows]
        if not part.is_monotonic_increasing:
            rows = rows[np.argsort(part.to_numpy(), kind="stable")]
            part = stamps[rows]
            notes.append(f"series {item!r}: unsorted timestamps were sorted")
        check_unique(part, item, item_id is None, zone)
        yield Part(item, part, values[rows], rows)


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
    found = {part.item: infer_freq(part.stamps) for part in parts}
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


def _resampled(frame: pd.DataFrame, item_id: str | None, time: str, target: str | Sequence[str], freq: str) -> str:
    """The call that brings a table to a frequency, as who has it writes it."""
    if _WIDE in frame.attrs:
        time = frame.attrs[_WIDE]
        return f"df.resample({freq!r}{f', on={time!r}' if time is not None else ''}).mean()"
    values = repr(target if isinstance(target, str) else [*target])
    place = "level" if time in frame.attrs.get(_LEVELS, ()) else "key" if time in frame.columns else ""
    if item_id is None:
        at = f", {place.replace('key', 'on')}={time!r}" if place else ""
        return f"df.resample({freq!r}{at})[{values}].mean().reset_index()"
    at = f"{place}={time!r}, " if place else ""
    return f"df.groupby([{item_id!r}, pd.Grouper({at}freq={freq!r})])[{values}].mean().reset_index()"


def _entry(
    part: Part, freq: str, zone: Zone, resampled: Callable[[str], str], targets: int, univariate: bool
) -> tuple[Entry, list[str]]:
    """The entry of one series, without its static features, and notes."""
    item = part.item
    positions, start = grid_positions(part.stamps, freq, item, zone, resampled)
    full = np.full((part.values.shape[1], int(positions[-1]) + 1), np.nan)
    full[:, positions] = part.values.T
    gaps = full.shape[1] - len(positions)
    notes = [f"series {item!r}: {counted(gaps, 'gap', 'gaps')} filled as missing"] if gaps else []
    values, features = full[:targets], full[targets:]
    if len(features):
        observed = np.flatnonzero(np.isfinite(values).any(axis=0))
        values = values[:, : int(observed[-1]) + 1 if observed.size else 0]
    known = {DYNAMIC: features} if len(features) and values.shape[1] else {}
    target = values[0] if univariate else values
    series = read_series({"start": start, "target": target, **known}, item, freq)
    return series.as_entry(), notes + notes_of(series)
