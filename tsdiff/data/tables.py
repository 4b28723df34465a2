"""Reading files of tables and of records without taking more memory than they honestly need.

What is packed may unpack to any size. A packed file may unpack to `allowance` bytes: 1 GiB, or 32 times its own size if
that is more; the environment variable TSDIFF_MAX_BYTES sets another number of bytes. Files that are not packed are as
large as they are.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
from gluonts import json
from pyarrow import ArrowInvalid, compute, ipc, parquet

from shared.console.notes import tell
from shared.errors import ConfigError, DataError
from tsdiff.data.columns import ITEM_NAMES
from tsdiff.data.naming import as_written, naming_columns

MOST_BYTES = 1 << 30
MOST_TIMES = 32
LIMIT = "TSDIFF_MAX_BYTES"
MOST_COLUMNS = 100_000
"""Columns of a table; a wide one has a column for each series."""
LONGEST_TEXT = 10_000
"""Characters of a text in a table: of an item id, a time, a category."""
LONGEST_LINE = 64 << 20
"""Bytes of a record in a file of JSON lines, about five million values."""
HEAD_LINES = 20
"""First lines of a CSV table by which its separator is found."""
_SEPARATORS = (b",", b";", b"\t", b"|")
_SAID = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=([,;\t|])"?\s*', re.IGNORECASE)
"""A first line by which spreadsheets are told the separator."""
_DATE, _NUMBER, _SHOWN = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b"), re.compile(r"\s*[+-]?\d+([.,]\d+)*\s*"), 3
_SPACES, _UNITS = " \u00a0\u202f", "%$€£¥"
_POINTS, _COMMAS = (
    rf"[+-]?([1-9]\d{{0,2}}([{between}{_SPACES}]\d{{3}})+|\d+)([{decimal}]\d+)?" for between, decimal in (",.", ".,")
)
_MAYBE = re.compile(rf"\s*[+-]?[{_SPACES}{_UNITS}]*[+-]?\d[\d.,{_SPACES}]*[{_UNITS}]?\s*")
"""Numbers with decimal points and commas, the other or spaces between thousands; what all of a column may be in, and
what one may look like."""
_NEGATIVE, _BY_POINTS = r"\(([^()+-]*\d[^()+-]*)\)", r"[+-]?([1-9]\d{0,2}(\.\d{3})?|0)"
"""What accountants write for -300, (300), and numbers below a million of which nothing says whether points part
thousands."""
_EXACT = 2**53
"""Whole numbers below it are exact as floats."""
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


def read_csv(path: Path, ids: Collection[str] = ITEM_NAMES) -> pd.DataFrame:
    """A table from a .csv or .tsv file, packed (.gz) or not.

    Columns may be separated by semicolons, tabs or bars instead of commas; then numbers may have decimal commas. They
    may have marks between thousands, and a percent or currency sign if all of a column do: "1,200", "12 %"; numbers in
    parentheses are negative. Text is UTF-8 or as spreadsheets write it, UTF-16 or Windows-1252.

    Args:
        path: the file.
        ids: columns of ids; numbers among them that may be written otherwise, such as 007, stay as they are.

    Raises:
        DataError: it unpacks to too much, or has too many columns or too long texts.
        OSError, ValueError, …: as `UNREADABLE`.
    """
    packed = path.name.lower().endswith(".gz")
    with _opened(path, packed) as stream:
        first = stream.readline(_LONGEST_HEAD)
        lines = [first, *(stream.readline(_BLOCK) for _ in range(HEAD_LINES if len(first) < _BLOCK else 0))]
    if len(first) == _LONGEST_HEAD:
        raise DataError(f"{path} has a first line of more than {_LONGEST_HEAD} bytes; it is no table")
    if packed:
        _check_unpacked(path)
    header = lines[1] if _SAID.fullmatch(first) else first
    _check_columns(path, 1 + header.count(separator(lines).encode()))
    encoding = _encoding(b"".join(lines))
    try:
        frame = parsed_csv(path, lines, encoding, ids)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise
        frame = parsed_csv(path, lines, "cp1252", ids)
    return _with_short_texts(path, frame)


def _encoding(head: bytes) -> str:
    """UTF-16 by the mark it begins with, or by zeros in every second byte, as separators and digits have them; else
    UTF-8."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    big, little = head[::2].count(0), head[1::2].count(0)
    if max(big, little) <= len(head) / 8 or min(big, little) > max(big, little) / 10:
        return "utf-8"
    return "utf-16-le" if little > big else "utf-16-be"


def parsed_csv(
    source: Path | TextIO, head: Sequence[bytes], encoding: str = "utf-8", ids: Collection[str] = ITEM_NAMES
) -> pd.DataFrame:
    """A table from CSV of any separator, with decimal commas where that is none, and numbers as people write them.

    Args:
        source: a file, packed or not, or a text, which is read from its beginning.
        head: its first lines, by which the separator is found.
        encoding: of a file.
        ids: columns of ids; numbers among them that may be written otherwise, such as 007, stay as they are.

    Raises:
        UnicodeDecodeError, ValueError, …: as `pandas.read_csv`.
    """
    said = _SAID.fullmatch(head[0]) if head else None
    between = said[1].decode() if said else separator(head)
    layout: dict[str, Any] = {"sep": between, "encoding": encoding, "skiprows": int(said is not None)}
    frame = pd.read_csv(source, float_precision="round_trip", **layout)
    names = [str(name) for name in frame.columns]
    if any(map(_DATE.match, names)) and all(_DATE.match(name) or _NUMBER.fullmatch(name) for name in names):
        tell(
            f"the first line holds no names of columns but {', '.join(map(repr, names[:_SHOWN]))}: it is taken for a "
            "header, and its values are lost; put a line of names before it"
        )
    made = _with_numbers(frame, between != ",")
    if not isinstance(frame.index, pd.RangeIndex):
        return made

    def texts(places: list[int], dtype: Any = str, **options: Any) -> pd.DataFrame:
        if not isinstance(source, Path):
            source.seek(0)
        return pd.read_csv(source, usecols=places, dtype=dtype, **layout, **options)

    plain = [name for name in ids if name in made and made[name].dtype == frame[name].dtype]  # others were told
    if naming := naming_columns(made, plain):
        made = as_written(made, naming, texts(naming, "category", keep_default_na=False))
    doubtful = [place for place in range(len(names)) if _maybe_thousands(frame, place, ids)]
    return made if between == "," or not doubtful else _with_thousands(frame, made, texts(doubtful))


def separator(head: Sequence[bytes]) -> str:
    """What separates the columns of a table: that of which its first lines hold equally many, a comma before others;
    else that which the first line has most of."""
    lines = [line for line in head if line.strip()]
    counts = {mark: [_outside_quotes(line, mark) for line in lines] for mark in _SEPARATORS}
    alike = [mark for mark, found in counts.items() if found and found[0] and len(set(found)) == 1]
    return (alike[0] if alike else max(_SEPARATORS, key=lambda mark: counts[mark][:1])).decode()


def _outside_quotes(line: bytes, mark: bytes) -> int:
    return sum(part.count(mark) for part in line.split(b'"')[::2])


def _maybe_thousands(frame: pd.DataFrame, place: int, ids: Collection[str]) -> bool:
    """Whether all numbers of a column may have been written by `_BY_POINTS`, as 1.000, which was taken for 1."""
    column = frame.iloc[:, place].dropna()
    if frame.columns[place] in ids or not pd.api.types.is_float_dtype(column.dtype) or column.empty:
        return False
    size = column.abs()
    written = size.between(1, 1000, inclusive="left") & ((1000 * size).round() / 1000 == size)
    return bool(((size == 0) | written).all())


def _with_thousands(frame: pd.DataFrame, made: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """Columns whose points may part thousands, of which `texts` are what was written: as other columns of the table
    say, whose numbers have decimal commas or decimal points; else with decimal points, which is told."""
    written = [frame[name].dropna().astype(str) for name in frame if made[name].dtype != frame[name].dtype]
    commas = any(column.str.contains(r",|\..*\.").any() for column in written)
    points = bool((frame.drop(columns=texts.columns).select_dtypes("float") % 1 > 0).any(axis=None))
    thousands = commas and not points
    if points and not commas:
        return made
    made, shown = made.copy(), {}
    for name in texts:
        column = texts[name].dropna().str.strip()
        marked = column.str.contains(".", regex=False)
        if not marked.any() or not column.str.fullmatch(_BY_POINTS).all():
            continue
        shown[name] = column[marked].iloc[0]
        if thousands:
            numbers = column.str.replace(".", "", regex=False).astype(np.int64)
            made[name] = numbers if len(numbers) == len(frame) else numbers.reindex(frame.index)
    if shown:
        name, text = next(iter(shown.items()))
        others = f", and {len(shown) - 1} others alike" if len(shown) > 1 else ""
        why = (
            f"{text.replace('.', '')}, and all of it so{others}, since another column has decimal commas"
            if thousands
            else f"{float(text):g}, and all of it so{others}; if points part thousands, write the numbers without them"
        )
        tell(f"column {name!r}: {text!r} is read as {why}")
    return made


def _with_numbers(frame: pd.DataFrame, commas: bool) -> pd.DataFrame:
    """Columns of texts that are numbers as people write them, as numbers: with decimal commas where these are allowed,
    marks between thousands, a percent or currency sign that all have; but for ids by their usual names."""
    made = frame.copy()
    for name, column in frame.items():
        texts = column.dropna()
        if name in ITEM_NAMES or pd.api.types.is_numeric_dtype(column.dtype) or texts.empty:
            continue
        if not _MAYBE.fullmatch(re.sub(_NEGATIVE, r"\1", str(texts.iloc[0]))):
            continue
        texts = texts.astype(str).str.strip()
        numbers = _numbers(texts, commas)
        if numbers is None:
            continue
        made[name] = numbers if len(numbers) == len(frame) else numbers.reindex(frame.index)
        negative = texts.str.fullmatch(_NEGATIVE).to_numpy()
        if not commas or negative.any() or texts.str.contains(f"[{_SPACES}{_UNITS}]").any():
            shown = [  # spaces of any kind as one that is printed
                f"{' '.join(texts.iloc[place].split())!r} is read as {numbers.iloc[place]:.15g}"
                for place in sorted({0, int(negative.argmax())})
            ]
            tell(f"column {name!r}: {', '.join(shown)}, and all of it so")
    return made


def _numbers(texts: pd.Series, commas: bool) -> pd.Series | None:
    """What texts (n,) say if all are numbers with the same marks, which plain ones have not; None if not."""
    negative = texts.str.fullmatch(_NEGATIVE)
    if negative.all():
        return None  # marks of notes, say
    texts = texts.str.replace(_NEGATIVE, r"-\1", regex=True) if negative.any() else texts
    unit = next((one for one in _UNITS if one in texts.iloc[0]), None)
    bare = texts if unit is None else texts.str.replace(unit, "", n=1, regex=False).str.strip()
    if unit is not None and not texts.str.contains(unit, regex=False).all():
        return None
    if not bare.str.fullmatch(_COMMAS if commas else _POINTS).all():
        return None
    marked = bare.str.contains(",", regex=False).any()
    points = commas and bare.str.contains(".", regex=False).any()
    if points and not marked and not bare.str.contains(r"\..*\.").any():
        return None  # nothing says whether points part thousands
    if not unit and not marked and not points and not negative.any() and not bare.str.contains(f"[{_SPACES}]").any():
        return None
    bare = bare.str.replace(f"[{_SPACES}{'.' if commas else ','}]", "", regex=True)
    numbers = bare.str.replace(",", ".", regex=False).astype(float)
    whole = not bare.str.contains("[.,]").any() and numbers.abs().max() < _EXACT
    return numbers.astype(np.int64) if whole else numbers


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
