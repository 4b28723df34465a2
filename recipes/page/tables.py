"""Tables of series: read from a file or from what was pasted, their columns found, and written so that no spreadsheet
takes a cell for a formula."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd

from shared.errors import DataError, counted, first_line
from shared.files.io import write_csv
from tsdiff.data.columns import ITEM_NAMES, TIMESTAMP_NAMES
from tsdiff.data.frames import load_table
from tsdiff.data.known import Names
from tsdiff.data.tables import HEAD_LINES, parsed_csv

from .limits import Limits, check_size
from .requests import NO_ID, WIDE, Columns, TableLook, TableRequest, Tell

FORMULA = tuple("=+-@＝＋－＠")
"""What a spreadsheet takes for the beginning of a formula, once blanks before it are gone."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
"""Tabs and ends of lines among them: CSV is written with those of them unquoted that are not its own end of a line."""

_TRIED_ROWS = 50


def prepared(frame: pd.DataFrame, columns: Columns) -> tuple[pd.DataFrame, Names]:
    """A table as the toolkit takes it, and its columns' names.

    Of what was chosen against its usual names these are taken away: ids of what is one series, and another name of the
    times of a table with a column a series.
    """
    if columns.target == WIDE:
        usual = columns.time.lower() in TIMESTAMP_NAMES
        return (frame, Names(None, columns.time)) if usual else _renamed(frame, columns.time)
    if columns.item == NO_ID:
        unused = [name for name in ITEM_NAMES if name in frame.columns and name != columns.target]
        return frame.drop(columns=unused), Names(None, columns.time, columns.target)
    return frame, Names(columns.item, columns.time, columns.target)


def _renamed(frame: pd.DataFrame, time: str) -> tuple[pd.DataFrame, Names]:
    usual = TIMESTAMP_NAMES[0]
    return frame.rename(columns={time: usual}), Names(None, usual)


def look(request: TableRequest, folder: Path, tell: Tell, limits: Limits) -> TableLook:
    """See what a table has; raises as `read_table`. Nothing is left in the folder."""
    tell(0.0, "reading")
    frame = read_table(request, limits)
    columns = frame.columns.tolist()
    about = f"{counted(len(frame), 'row')}, {counted(len(columns), 'column')}"
    try:
        return TableLook(find_columns(frame), columns, about=about)
    except DataError as error:
        return TableLook(None, columns, about=f"choose the columns: {error}")


def read_table(request: TableRequest, limits: Limits, item: str | None = None) -> pd.DataFrame:
    """The table of a file, or where there is none, of a text; `item` is its column of ids, where that was chosen.

    Raises:
        DataError: neither; or as `tsdiff.data.frames.load_table`; or too many rows or columns.
    """
    if request.source is not None:
        check_size(request.source, request.name, limits)
        return _bounded(_with_text_names(load_table(request.source, item)), limits)
    pasted = request.pasted
    if not pasted.strip():
        raise DataError("there is no table: paste CSV with a header line, drop a file, or take the example")
    if len(pasted) > limits.pasted:
        raise DataError(f"{len(pasted)} characters were pasted, more than {limits.pasted}; drop it as a file")
    try:
        head = pasted.encode().split(b"\n", HEAD_LINES)[:HEAD_LINES]
        frame = parsed_csv(io.StringIO(pasted), head, ids=ITEM_NAMES if item is None else (*ITEM_NAMES, item))
    except (ValueError, LookupError, OverflowError) as error:
        raise DataError(
            f"what was pasted cannot be read as a table ({first_line(error)}); it needs a header line and rows"
        ) from None
    if frame.empty:
        raise DataError("what was pasted has no rows; it needs a header line, and one row for each value")
    return _bounded(_with_text_names(frame), limits)


def _with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def _bounded(frame: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    if len(frame) > limits.rows:
        raise DataError(
            f"the table has {len(frame)} rows, and this page takes {limits.rows}; send the latest, or use "
            "`python recipes/forecast.py --no-train`, which has no such bound"
        )
    return frame


def find_columns(frame: pd.DataFrame) -> Columns:
    """What the columns seem to be: by their usual names, else by what they hold.

    Raises:
        DataError: no column of times, or none of values.
    """
    time = _time_column(frame)
    others = [name for name in frame.columns if name != time]
    numeric = [name for name in others if pd.api.types.is_numeric_dtype(frame[name].dtype)]
    item = next((name for name in ITEM_NAMES if name in others), None)
    if item is None:
        item = next((name for name in others if name not in numeric and frame[name].duplicated().any()), None)
    if item is None:
        item = _numbered(frame, time, numeric)
        numeric = [name for name in numeric if name != item]
    try:
        found = Names(item, time, None).of(frame)
    except DataError:  # several columns of numbers, none of a usual name
        if not numeric:
            raise
        found = Names(item, time, None if numeric == others else numeric[0])
    several = WIDE if len(others) > 1 else others[0]
    return Columns(found.id_column or NO_ID, time, several if found.target is None else found.target)


def _numbered(frame: pd.DataFrame, time: str, numeric: list[str]) -> str | None:
    """Of a table whose times repeat the column of whole numbers, beside another of numbers, that tells its series
    apart; of several the one with the fewest different."""
    if len(numeric) < 2 or not frame[time].duplicated().any():
        return None
    whole = [name for name in numeric if pd.api.types.is_integer_dtype(frame[name].dtype)]
    telling = [name for name in whole if not frame.duplicated([time, name]).any()]
    return min(telling, key=lambda name: frame[name].nunique(), default=None)


def _time_column(frame: pd.DataFrame) -> str:
    """The column of times: of a usual name, else the first whose first rows are all dates."""
    try:
        return str(Names(None, None, str(frame.columns[0])).of(frame).timestamp_column)
    except DataError:
        for name in frame.columns:
            if _holds_dates(frame[name]):
                return str(name)
        raise


def _holds_dates(column: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    if pd.api.types.is_numeric_dtype(column.dtype):
        return False
    return bool(pd.to_datetime(column.iloc[:_TRIED_ROWS], errors="coerce", format="mixed").notna().all())


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before every text, name of a column too, that a spreadsheet would calculate."""
    safe = frame.copy(deep=False)
    for place, dtype in enumerate(frame.dtypes):
        if pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
            safe.isetitem(place, frame.iloc[:, place].map(_harmless).array)
    return safe.set_axis([_harmless(name) for name in frame.columns], axis=1)


def _harmless(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = _CONTROL.sub(" ", cell)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def write_download(path: Path, frame: pd.DataFrame) -> Path:
    """Write a table for download; returns its path."""
    write_csv(path, without_formulas(frame))
    return path
