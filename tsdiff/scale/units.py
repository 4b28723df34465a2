"""Series in units of a few: of partitioned Parquet, whose values the workers read, or of GluonTS entries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, dataset

from shared.errors import DataError
from shared.optional import needed
from shared.scale import Unit, digest_of
from tsdiff.data.entries import Entry, named_entries
from tsdiff.data.known import Names
from tsdiff.data.tables import UNREADABLE

Address = str | os.PathLike[str]
"""A folder or a file, or what fsspec knows: "s3://bucket/sales"."""
Part: TypeAlias = Any
"""One series: a long frame, or a GluonTS entry."""


@dataclass(frozen=True)
class Rows:
    """Series of a Parquet file, of which a worker reads the groups of rows that hold them.

    Attributes:
        fragment: of the file, those groups alone.
        schema: of the whole data set, the columns that its folders' names tell among them.
        names: of its columns.
        ids: of the series, as the file has them.
    """

    fragment: Any
    schema: pa.Schema
    names: Names
    ids: tuple[Any, ...]

    def parts(self) -> dict[str, Part]:
        """A long frame for each series, by its name."""
        item = self.names.id_column
        columns = [name for name in (item, self.names.timestamp_column, self.names.target) if name is not None]
        wanted = dataset.field(item).isin(pa.array(self.ids, self.schema.field(item).type))
        table = self.fragment.to_table(schema=self.schema, columns=columns, filter=wanted)
        frame = table.to_pandas(ignore_metadata=True)
        return {str(name): part for name, part in frame.groupby(item, sort=False, observed=True)}


@dataclass(frozen=True)
class Listed:
    """GluonTS entries themselves."""

    entries: tuple[Entry, ...]

    def parts(self) -> dict[str, Part]:
        """The entries by their names."""
        return {entry["item_id"]: entry for entry in self.entries}


class Tables:
    """Partitioned Parquet: files of long frames, a row a value, each series in one file.

    Columns may stand in the names of folders, `region=north/`, as Hive has it. The rows of a series may come in any
    order; files in which the rows of a series lie together are read quickest.

    Args:
        address: a folder, a file, or an address that fsspec knows.
        names: of the columns; those that are None are found by their usual names.

    Attributes:
        names: all of them.

    Raises:
        DataError: nothing is there, no Parquet, or no column of ids, times or values.
        MissingPackageError: an address "…://…" without the extra "scale".
    """

    def __init__(self, address: Address, names: Names):
        text = os.fspath(address)
        self.address = text if "://" in text else os.path.abspath(text)
        self._files, self._base = _opened(self.address)
        frame = self._first_rows()
        self.names = names.of(frame)
        named = (self.names.id_column, self.names.timestamp_column, self.names.target)
        if absent := [name for name in named if name is not None and name not in frame.columns]:
            listed = ", ".join(map(repr, frame.columns))
            raise DataError(f"{self.address} has no column {absent[0]!r}; it has {listed}")
        if self.names.id_column is None or self.names.target is None:
            raise DataError(
                f"{self.address} has no column that names the series (item_id or unique_id); say which does by "
                "id_column=…"
            )

    def _fragments(self) -> list[Any]:
        """One a file, in the order of their paths."""
        return sorted(self._files.get_fragments(), key=lambda one: one.path)

    def _first_rows(self) -> pd.DataFrame:
        """Of the first file that can be read: the data set's own `head` reads ahead, and fails with any of the next."""
        failed: BaseException | None = None
        for fragment in self._fragments():
            try:
                return fragment.scanner(schema=self._files.schema).head(100).to_pandas(ignore_metadata=True)
            except UNREADABLE as error:
                failed = failed or error
        assert failed is not None, "there are files"
        raise _unreadable(self.address, failed) from failed

    def units(self, size: int) -> Iterator[Unit]:
        """Units of `size` series, file by file in the order of their paths, the series of each as they first occur.

        Files that cannot be read come as units of no series, which tell so.

        Raises:
            DataError: a series lies in two files.
        """
        where: dict[int, str] = {}
        number = 0
        for fragment in self._fragments():
            path = os.path.relpath(fragment.path, self._base)
            try:
                found, failed = self._ids(fragment, path)
                about = self._files.filesystem.get_file_info(fragment.path)
                stamp = [path, about.size, about.mtime_ns]
            except UNREADABLE as error:
                yield Unit(f"part-{number:06d}", None, digest_of([path]), (), {path: str(_unreadable(path, error))})
                number += 1
                continue
            for item in found:
                other = where.setdefault(hash(str(item)), path)  # as a number, -1 would be -2
                if other != path:
                    raise DataError(
                        f"series {item!r} is in {other} and in {path}; write the data anew, so that each series lies "
                        "in one file"
                    )
            listed = list(found)
            for first in range(0, max(len(listed), 1), size):
                ids = tuple(listed[first : first + size])
                groups = sorted({group for item in ids for group in found[item]})
                rows = Rows(fragment.subset(row_group_ids=groups), self._files.schema, self.names, ids)
                names = tuple(map(str, ids))
                yield Unit(f"part-{number:06d}", rows, digest_of([*stamp, *names]), names, {} if first else failed)
                number += 1

    def _ids(self, fragment: Any, path: str) -> tuple[dict[Any, list[int]], dict[str, str]]:
        """The ids of a file, with the groups of rows that each is in; and what is wrong with it."""
        item = self.names.id_column
        found: dict[Any, list[int]] = {}
        missing = 0
        for group in fragment.row_groups:
            piece = fragment.subset(row_group_ids=[group.id])
            column = piece.to_table(schema=self._files.schema, columns=[item])[item]
            missing += column.null_count
            for value in compute.unique(column).to_pylist():
                if value is not None:
                    found.setdefault(value, []).append(group.id)
        return found, {f"{path}: rows without {item}": f"{missing} rows; fill them or drop them"} if missing else {}


def entry_units(entries: Iterable[Entry], size: int) -> Iterator[Unit]:
    """Units of `size` GluonTS entries, in order, taken as they are needed.

    Raises:
        DataError: no GluonTS dataset.
    """
    named = ({**entry, "item_id": name} for name, entry in named_entries(entries))
    number = 0
    while group := tuple(islice(named, size)):
        names = tuple(entry["item_id"] for entry in group)
        yield Unit(f"part-{number:06d}", Listed(group), digest_of(*map(_digest, group)), names)
        number += 1


def _digest(entry: Entry) -> str:
    """Of all that an entry holds."""
    parts: list[Any] = []
    for name in sorted(entry):
        value = entry[name]
        told = isinstance(value, (np.ndarray, list, tuple))
        parts += [name, np.asarray(value).tobytes() if told and np.asarray(value).dtype != object else repr(value)]
    return digest_of(*parts)


def _opened(address: str) -> tuple[dataset.FileSystemDataset, str]:
    """The data set at an address, and the path that its files' paths begin with."""
    files, path = None, address
    try:
        if "://" in address:
            files, path = needed("fsspec", "scale", f"reading {address}").core.url_to_fs(address)
            there = files.exists(path)
        else:
            there = os.path.exists(address)
        if not there:
            raise DataError(f"{address}: nothing is there; name a folder of Parquet files")
        found = dataset.dataset(path, format="parquet", partitioning="hive", filesystem=files)
    except (ImportError, *UNREADABLE) as error:
        raise error if isinstance(error, DataError) else _unreadable(address, error) from error
    if not found.files:
        raise DataError(f"{address} holds no Parquet files; name a folder of them")
    return found, os.path.dirname(path) if found.files == [path] else path


def _unreadable(what: str, error: BaseException) -> DataError:
    lines: Sequence[str] = str(error).splitlines() or [type(error).__name__]
    return DataError(f"{what} cannot be read as Parquet ({lines[0]})")
