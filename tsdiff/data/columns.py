"""Columns of a table: how those of ids, times and values are called and found, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from shared.errors import DataError
from tsdiff.data.timestamps import is_date, looks_dated, years

ITEM_NAMES = ("item_id", "unique_id")
TARGET_NAMES = ("target", "y")
TIMESTAMP_NAMES = ("timestamp", "time", "datetime", "date", "ds")
_SHOWN = 20
"""Names of columns that a message tells."""
_YEAR, _WITHIN_A_YEAR = "year", ("quarter", "month", "week", "day")


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


def values_of(frame: pd.DataFrame, others: Collection[str | None]) -> str:
    """The column of values where there is no "target": "y", or the only one of numbers besides the others.

    Raises:
        DataError: there is neither.
    """
    if TARGET_NAMES[1] in frame.columns:
        return TARGET_NAMES[1]
    numeric = sole_numbers(frame, [name for name in frame.columns if name not in others])
    if numeric is None:
        raise DataError(
            f"no column {TARGET_NAMES[0]!r}; the table has {listed(frame)}; name that of the values (target, on the "
            "command line --target)"
        )
    return numeric


def sole_numbers(frame: pd.DataFrame, columns: Sequence[str]) -> str | None:
    """The only one of these columns that holds numbers, if there is one; or the only column at all if most of its texts
    have digits: reading it tells which cell is no number.

    Raises:
        DataError: two have the same name.
    """
    numeric = [name for name in columns if holds_numbers(column_of(frame, name))]
    if not numeric and len(columns) == 1 and _mostly_digits(frame[columns[0]]):
        return columns[0]
    return numeric[0] if len(numeric) == 1 else None


def holds_numbers(column: pd.Series) -> bool:
    """Whether a column is of numbers, be it as decimal.Decimal, which databases give."""
    kinds = pd.api.types
    decimal = kinds.is_object_dtype(column.dtype) and kinds.infer_dtype(column, skipna=True) == "decimal"
    return _numeric(column) or decimal


def _numeric(column: pd.Series) -> bool:
    """Whether the dtype is of numbers, bool among them, which pandas does not say of Arrow's."""
    return pd.api.types.is_numeric_dtype(column.dtype) or column.dtype.kind == "b"


def ids_of(frame: pd.DataFrame, times: pd.Series, others: Collection[str | None]) -> str | None:
    """The column that names the series: "item_id" or "unique_id", or where times repeat the only one of texts besides
    the others, if no time repeats within one of its names. None where there is neither: the table is one series."""
    usual = next((name for name in ITEM_NAMES if name in frame.columns), None)
    if usual is not None or not times.duplicated().any():
        return usual
    texts = [name for name in frame.columns if name not in others and _holds_texts(frame[name])]
    if len(texts) != 1:
        return None
    names = frame[texts[0]]
    written = names.astype(str).to_numpy()  # lists, say, cannot be compared as they are
    apart = not pd.DataFrame({"name": written, "time": times.to_numpy()}).duplicated().any()
    return texts[0] if apart and names.notna().all() else None


def told_apart(name: str, option: str = "item_id, on the command line --id,") -> str:
    """What is noted where `ids_of` found a column by its texts, and by which option another is named."""
    return f"series are told apart by the column {name!r}; {option} names another"


def differing_in_spaces(ids: Iterable[str]) -> list[str]:
    """What is noted of ids that differ from others in spaces alone, before, after or between their words: a line, or
    none."""
    first: dict[str, str] = {}
    pairs = [(other, item) for item in ids if (other := first.setdefault(" ".join(item.split()), item)) != item]
    if not pairs:
        return []
    more = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    (one, other), *_ = pairs
    return [f"ids {one!r} and {other!r}{more} differ in spaces alone, and are two series; strip them if they are one"]


def _holds_texts(column: pd.Series | pd.DataFrame) -> bool:
    """Whether a column holds texts, neither dates nor decimal.Decimal; columns of the same name do not."""
    if isinstance(column, pd.DataFrame) or looks_dated(column) or holds_numbers(column):
        return False
    kinds = pd.api.types
    return bool(
        kinds.is_object_dtype(column.dtype)
        or kinds.is_string_dtype(column.dtype)
        or isinstance(column.dtype, pd.CategoricalDtype)
    )


def _mostly_digits(column: pd.Series) -> bool:
    texts = column.dropna()
    digits = [isinstance(text, str) and any(map(str.isdigit, text)) for text in texts]
    return sum(digits) > len(digits) / 2


def refuse_list(names: Any, what: str, remedy: str) -> None:
    """Refuse a list where one column is to be named.

    Raises:
        DataError: a list; it tells the only name in it, or the remedy for several.
    """
    if isinstance(names, list):
        said = f"give {names[0]!r}" if len(names) == 1 else remedy
        raise DataError(f"{names}: one column of {what} is taken, and no list; {said}")


def column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """The only column of this name.

    Raises:
        DataError: there is none, or more than one.
    """
    if name not in frame.columns:
        raise DataError(f"no column {name!r}; the table has {listed(frame)}")
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise DataError(f"the table has more than one column {name!r}; rename them")
    return column


def listed(frame: pd.DataFrame) -> str:
    """The columns' names, or the first of them, for messages."""
    more = f", … {len(frame.columns) - _SHOWN} more" if len(frame.columns) > _SHOWN else ""
    return (", ".join(repr(name) for name in frame.columns[:_SHOWN]) or "no columns") + more


def _turned(frame: pd.DataFrame) -> str | None:
    """How a table becomes one with a row for each value, if most of its columns are times; None of others."""
    for called, as_years, holds in (("timestamp", "", is_date), (_YEAR, f".astype({{{_YEAR!r}: int}})", _is_year)):
        times = [name for name in frame.columns if holds(name)]
        if len(times) > max(len(frame.columns) / 2, 1):
            others: list[Any] = [name for name in frame.columns if not holds(name)]
            whole = "df" if others else "df.reset_index()"
            others = others or [frame.index.name or "index"]
            melted = f"{whole}.melt({others!r}, var_name={called!r}, value_name='target'){as_years}"
            return f"its columns are times ({times[0]!r}, …), and its rows series: turn it in pandas, {melted}"
    return None


def _joined(lower: Mapping[str, Any]) -> str | None:
    """How columns of a date's parts become one of dates, if a table, told its columns by their names in lower case, has
    such; None of others."""
    if _YEAR not in lower:
        return None
    if "month" in lower:
        parts = [lower.get(name) for name in (_YEAR, "month", "day")]
        day = ".assign(day=1)" if parts[2] is None else ""
        return f"join its parts of dates, df['date'] = pd.to_datetime(df[{parts[: 2 + (not day)]!r}]{day})"
    if "week" not in lower:
        return None
    year, week = (f"df[{lower[name]!r}].astype(str)" for name in (_YEAR, "week"))
    return f"join its years and weeks, df['date'] = {year} + '-W' + {week}.str.zfill(2), if weeks are those of ISO 8601"


def _is_year(name: object) -> bool:
    return re.fullmatch(r"(1[6-9]|2[0-2])\d\d", str(name)) is not None


def numbers_of(column: pd.Series, name: str, covariate: bool = False) -> np.ndarray:
    """The values of a column, whose name messages tell, as float64 (rows,), NaN where missing; of a covariate they tell
    what is made of words.

    Raises:
        DataError: a value that is no number.
    """
    kinds, words = pd.api.types, ""
    word = next(iter(column.dropna()), None) if covariate else None
    if isinstance(word, str) and not any(map(str.isdigit, word)):  # "1,200" is meant as a number
        words = f", one column for each of its words: df[{name!r}].eq({word!r}).astype(float), and of future_df alike"
    if kinds.is_object_dtype(column.dtype) or kinds.is_string_dtype(column.dtype):
        dated = column.map(lambda value: isinstance(value, (pd.Timestamp, pd.Period, pd.Timedelta)))
        numeric = pd.to_numeric(column.where(~dated, "date"), errors="coerce")
        bad = (numeric.isna() & column.notna()).to_numpy()
        if bad.any():
            without = bad & ~column.astype(str).str.contains(r"\d").to_numpy(bool)  # for certain none, unlike "1,200"
            row = int((without if without.any() else bad).argmax())
            raise DataError(
                f"column {name!r} is not numeric: row {row} holds {column.iloc[row]!r}; convert it to numbers{words}"
            )
        column = numeric
    if not _numeric(column) or kinds.is_complex_dtype(column.dtype):
        raise DataError(f"column {name!r} is not numeric but {column.dtype}; convert it to numbers{words}")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def time_name(frame: pd.DataFrame, timestamp: str | None) -> str:
    """What a table calls its timestamps: the column or the index that holds them; "timestamp" for an index without a
    name."""
    name = times_of(frame, timestamp)[1]
    return name if name in frame.columns or name == frame.index.name else "timestamp"


def times_of(frame: pd.DataFrame, timestamp: str | None) -> tuple[pd.Series, str]:
    """The timestamps of a table (rows,), and the name of the column or index that holds them; found as
    `tsdiff.data.series_from_frame` tells.

    Raises:
        DataError: there are none, or no column of that name.
    """
    if timestamp is None:
        lower = {str(name).lower(): name for name in reversed(frame.columns.tolist())}
        timestamp = next((lower[name] for name in TIMESTAMP_NAMES if name in lower), None)
        if timestamp is None and looks_dated(frame.index):
            return frame.index.to_series(), str(frame.index.name or "index")
        if timestamp is None:
            names = frame.columns.tolist()
            dated = [name for place, name in enumerate(names) if looks_dated(frame.iloc[:, place])]
            timestamp = dated[0] if len(dated) == 1 else None
        if timestamp is None and _YEAR in lower and not any(name in lower for name in _WITHIN_A_YEAR):
            timestamp = lower[_YEAR]
        if timestamp is None:
            usual = f"no column of timestamps ({', '.join(TIMESTAMP_NAMES)}) and no index of datetimes"
            dates = f", of which {', '.join(map(repr, dated[:_SHOWN]))} hold dates" if dated else ""
            named = (
                f"name the column of times (timestamp, of frames timestamp_column, on the command line --time); the "
                f"table has {listed(frame)}{dates}"
            )
            raise DataError(f"{usual}; {_turned(frame) or _joined(lower) or named}")
    elif timestamp not in frame.columns and frame.index.name == timestamp:
        return frame.index.to_series(), timestamp
    column = column_of(frame, timestamp)
    found = years(column) if str(timestamp).lower() == _YEAR else None
    return (column if found is None else found), timestamp
