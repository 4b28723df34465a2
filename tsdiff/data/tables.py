"""Reading files of tables and of records without taking more memory than they honestly need.

What is packed may unpack to any size. A packed file may unpack to `allowance` bytes: 1 GiB, or 32 times its own size if
that is more; the environment variable TSDIFF_MAX_BYTES sets another number of bytes. Files that are not packed are as
large as they are.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
from gluonts import json
from pyarrow import ArrowInvalid, compute, ipc, parquet

from shared.errors import ConfigError, DataError

MOST_BYTES = 1 << 30
MOST_TIMES = 32
LIMIT = "TSDIFF_MAX_BYTES"
MOST_COLUMNS = 100_000
"""Columns of a table; a wide one has a column for each series."""
LONGEST_TEXT = 10_000
"""Characters of a text in a table: of an item id, a time, a category."""
LONGEST_LINE = 64 << 20
"""Bytes of a record in a file of JSON lines, about five million values."""
_BLOCK, _LONGEST_HEAD = 1 << 20, 16 << 20
_FEWEST_ROWS, _MOST_ROWS = 16, 1 << 16

UNREADABLE = (OSError, EOFError, ValueError, LookupError, MemoryError, OverflowError, RecursionError, zlib.error)
"""What readers raise on damaged files; pyarrow's errors are among their kinds."""


def allowance(path: Path) -> int:
    """How many bytes a packed file may unpack to.

    Raises:
        ConfigError: TSDIFF_MAX_BYTES is no whole number.
    """
    given = os.environ.get(LIMIT)
    if given is None:
        return max(MOST_BYTES, MOST_TIMES * path.stat().st_size)
    if not given.isascii() or not given.isdigit():
        raise ConfigError(f"{LIMIT}={given!r}: give a whole number of bytes")
    return int(given)


def read_csv(path: Path) -> pd.DataFrame:
    """A table from a .csv or .csv.gz file.

    Raises:
        DataError: it unpacks to too much, or has too many columns or too long texts.
        OSError, ValueError, …: as `UNREADABLE`.
    """
    packed = path.name.lower().endswith(".gz")
    with _opened(path, packed) as stream:
        first = stream.readline(_LONGEST_HEAD)
    if len(first) == _LONGEST_HEAD:
        raise DataError(f"{path} has a first line of more than {_LONGEST_HEAD} bytes; it is no table")
    _check_columns(path, 1 + first.count(b","))
    if packed:
        _check_unpacked(path)
    return _with_short_texts(path, pd.read_csv(path, float_precision="round_trip"))


def read_parquet(path: Path) -> pd.DataFrame:
    """A table from a Parquet file; raises as `read_csv`."""
    with parquet.ParquetFile(path) as file:
        about, most = file.metadata, allowance(path)
        _check_columns(path, about.num_columns)
        if 8 * about.num_rows * about.num_columns > most:  # a number that repeats takes no room in the file
            raise _too_much(path, most)
        longest = 1
        for group in range(about.num_row_groups):
            columns = [about.row_group(group).column(place) for place in range(about.num_columns)]
            texts = (c.total_uncompressed_size for c in columns if c.physical_type == "BYTE_ARRAY")
            longest = max(longest, *texts, 1)
        rows = min(max(most // longest, _FEWEST_ROWS), _MOST_ROWS)
        table = _joined(path, file.iter_batches(batch_size=rows), file.schema_arrow, most)
    return table.to_pandas()


def read_arrow(path: Path) -> pd.DataFrame:
    """A table from an Arrow IPC file or stream; raises as `read_csv`. A batch of rows is unpacked as a whole."""
    with path.open("rb") as stream:
        try:
            reader = ipc.open_file(stream)
            batches: Iterable[pa.RecordBatch] = (reader.get_batch(i) for i in range(reader.num_record_batches))
        except ArrowInvalid:
            stream.seek(0)
            batches = reader = ipc.open_stream(stream)
        _check_columns(path, len(reader.schema))
        return _joined(path, batches, reader.schema, allowance(path)).to_pandas()


def json_lines(path: Path) -> Iterator[dict[str, object]]:
    """The records of a file of JSON lines, packed or not.

    Raises:
        DataError: a line is too long or no record, or the file unpacks to too much.
        OSError, ValueError, …: as `UNREADABLE`.
    """
    packed, number = path.suffix == ".gz", 0
    if packed:
        _check_unpacked(path)
    with _opened(path, packed) as stream:
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise DataError(f"line {number} of {path.name} has more than {LONGEST_LINE} bytes; split the series")
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"line {number} of {path.name} is no JSON ({str(error)[:100]})") from error
            if not isinstance(record, dict):
                raise DataError(f"line {number} of {path.name} is no record, {{…}}, but {str(record)[:40]}")
            yield record


def _opened(path: Path, packed: bool) -> BinaryIO:
    return gzip.open(path) if packed else path.open("rb")  # type: ignore[return-value]


def _check_unpacked(path: Path) -> None:
    """Refuse a .gz that unpacks to too much, before anything of it is kept."""
    most = allowance(path)
    size = 0
    with gzip.open(path) as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > most:
                raise _too_much(path, most)


def _joined(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, most: int) -> pa.Table:
    found, size = [], 0
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            texts = column.dictionary if pa.types.is_dictionary(column.type) else column
            if _is_text(texts.type):
                _check_text(path, name, compute.max(compute.binary_length(texts)).as_py() or 0)
        size += batch.nbytes
        if size > most:
            raise _too_much(path, most)
        found.append(batch)
    return pa.Table.from_batches(found, schema)


def _too_much(path: Path, most: int) -> DataError:
    return DataError(
        f"{path} has {path.stat().st_size} bytes and unpacks to more than {most}; if it should, allow for it in the "
        f"environment: {LIMIT}=bytes"
    )


def _check_columns(path: Path, count: int) -> None:
    if count > MOST_COLUMNS:
        raise DataError(f"{path} has {count} columns, more than {MOST_COLUMNS}; write a row for each value instead")


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )


def _check_text(path: Path, name: str, length: int) -> None:
    if length > LONGEST_TEXT:
        raise DataError(
            f"{path}: a cell of column {name[:40]!r} has {length} characters, more than {LONGEST_TEXT}; the file is "
            "damaged, or is no table"
        )


def _with_short_texts(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    longest = max((len(name) for name in frame.columns if isinstance(name, str)), default=0)
    if longest > LONGEST_TEXT:
        raise DataError(f"{path}: a column's name has {longest} characters, more than {LONGEST_TEXT}; it is no table")
    for place, dtype in enumerate(frame.dtypes):
        if pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
            longest = max((len(value) for value in frame.iloc[:, place] if isinstance(value, (str, bytes))), default=0)
            _check_text(path, str(frame.columns[place]), longest)
    return frame
