"""How a table is laid out: long or wide, ids and times in columns or in its index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from shared.errors import DataError
from tsdiff.data.columns import (
    ITEM_NAMES,
    TARGET_NAMES,
    TIMESTAMP_NAMES,
    column_of,
    holds_numbers,
    ids_of,
    numbers_of,
    refuse_list,
    times_of,
)
from tsdiff.data.timestamps import looks_dated
from tsdiff.data.year_parts import MONTHS

_WIDE, _LEVELS = "wide, by", "levels"
"""In a table's `attrs`, for messages: the column of times of the wide one that it was, None for an index; the columns
that were levels of its index."""
_NAMELESS = "Unnamed: 0"
"""What pandas calls a first column without a name."""
Layout = Literal["auto", "long", "wide"]
"""One row for each value ("long"), one row for each time and one column for each series ("wide"), or whichever fits."""


def looks_wide(frame: pd.DataFrame, target: str, item_id: str | None, timestamp: str | None) -> bool:
    """Whether a table has timestamps and numbers, but neither a column of targets nor one of item ids.

    Who names a target of their own, which it has not, does not mean that all columns are.
    """
    named = item_id is not None or target not in ("", TARGET_NAMES[0])
    if named or target in frame.columns or any(name in frame.columns for name in ITEM_NAMES):
        return False
    try:
        _, name = times_of(frame, timestamp)
    except DataError:
        return False
    others = [place for place, column in enumerate(frame.columns) if column != name]
    kinds = frame.dtypes.tolist()
    return bool(others) and all(
        pd.api.types.is_numeric_dtype(kinds[place]) or holds_numbers(frame.iloc[:, place]) for place in others
    )


def long_from_wide(frame: pd.DataFrame, timestamp: str | None = None) -> pd.DataFrame:
    """Turn a table with a column for each series into one with a row for each value.

    Args:
        frame: Numeric columns, one a series, beside a column of timestamps or an index of datetimes or periods.
        timestamp: The column of timestamps; found as in `series_from_frame` if None.

    Returns:
        Columns "item_id", "timestamp", "target"; the rows before the first value of a series are left out.

    Raises:
        DataError: No timestamps, no column besides, two of one name, one that is not numeric, or one of ids, by which
            the table is long; or years whose columns are their months.
    """
    times, name = times_of(frame, timestamp)
    if (told_by := ids_of(frame, times, [name])) is not None:
        raise DataError(
            f"a wide table has a column for each series, and this one tells them apart by its column {told_by!r}; "
            f"turn it: df.pivot(index={name!r}, columns={told_by!r}, values=…)"
        )
    columns = [column for column in frame.columns if column != name or name not in frame.columns]
    if not columns:
        raise DataError(f"the wide table has no column besides {name!r}; give one for each series")
    if str(name).lower() == "year" and [str(column)[:3].lower() for column in columns[:12]] == list(MONTHS):
        raise DataError(
            f"the rows of this table are years, and its columns their months, not twelve series of years: turn it, "
            f"long = df.melt([{name!r}], df.columns[1:13], 'date', 'target'); long['date'] = "
            f"pd.to_datetime(long['date'] + ' ' + long.pop({name!r}).astype(str))"
        )
    parts = []
    for column in columns:
        values = numbers_of(column_of(frame, column), column)
        first = int((~np.isnan(values)).argmax())
        item = column if isinstance(column, (str, int, tuple)) else str(column)
        ids = pd.Series([item] * (len(times) - first), index=times.index[first:])
        parts.append(pd.DataFrame({"item_id": ids, "timestamp": times.iloc[first:], "target": values[first:]}))
    made = pd.concat(parts, ignore_index=True)
    made.attrs[_WIDE] = name if name in frame.columns else None
    return made


def row_numbers(frame: pd.DataFrame) -> list[str]:
    """The first column of a wide table where it has no name and numbers the rows, as pandas writes an index to CSV."""
    first = frame.iloc[:, :1]
    if first.shape[1] and first.columns[0] == _NAMELESS and pd.api.types.is_integer_dtype(first.dtypes.iloc[0]):
        return [_NAMELESS] if first.iloc[:, 0].is_monotonic_increasing and first.iloc[:, 0].is_unique else []
    return []


def was_wide(frame: pd.DataFrame) -> bool:
    """Whether a table was made by `long_from_wide`."""
    return _WIDE in frame.attrs


def own_name(frame: pd.DataFrame, name: str) -> str:
    """What a table calls its column of times; of one that was wide, what that one called it, for messages."""
    return frame.attrs.get(_WIDE) or name


def with_levels(frame: pd.DataFrame, item_id: str | None = None, timestamp: str | None = None) -> pd.DataFrame:
    """A table whose index tells ids, or times beside them, with its levels as columns; any other as it is.

    Args:
        frame: The table; not changed.
        item_id, timestamp: Names besides the usual ones that a level of ids or times may have.

    Returns:
        Named levels of several, and an index that has one of these names, as columns before the others. Of levels
        without a name dates are called "timestamp"; texts, and numbers beside dates, "item_id" where there are no ids
        yet.

    Raises:
        DataError: A list of names.
    """
    refuse_list(item_id, "ids", f"join them: df.assign(item_id=df[{item_id}].astype(str).agg(' '.join, axis=1))")
    refuse_list(timestamp, "times", "make one of them by pd.to_datetime")
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


def resampled(frame: pd.DataFrame, item_id: str | None, time: str, target: str | Sequence[str], freq: str) -> str:
    """The call that brings a table to a frequency, as who has it writes it."""
    if was_wide(frame):
        time = frame.attrs[_WIDE]
        return f"df.resample({freq!r}{f', on={time!r}' if time is not None else ''}).mean()"
    values = repr([*target] if pd.api.types.is_list_like(target) else target)
    place = "level" if time in frame.attrs.get(_LEVELS, ()) else "key" if time in frame.columns else ""
    if item_id is None:
        at = f", {place.replace('key', 'on')}={time!r}" if place else ""
        return f"df.resample({freq!r}{at})[{values}].mean().reset_index()"
    at = f"{place}={time!r}, " if place else ""
    return f"df.groupby([{item_id!r}, pd.Grouper({at}freq={freq!r})])[{values}].mean().reset_index()"
