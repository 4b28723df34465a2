"""Series of partitioned Parquet in units of a few, whose values the workers read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
from pyarrow import compute, dataset

from shared.errors import DataError, first_line
from shared.optional import needed
from shared.scale import Unit, digest_of
from tsdiff.data.known import Names, future_columns
from tsdiff.data.tables import UNREADABLE

Address = str | os.PathLike[str]
"""A folder or a file, or what fsspec knows: "s3://bucket/sales"."""


_INDEX = r"__index_level_\d+__"
"""What pandas calls an index without a name in Parquet."""


@dataclass(frozen=True)
class Frames:
    """A long frame of series, and what is known of the steps after it."""

    past: pd.DataFrame
    future: pd.DataFrame | None = None

    @staticmethod
    def of(parts: Sequence[Frames]) -> Frames:
        """Several as one."""
        futures = [part.future for part in parts if part.future is not None]
        return Frames(pd.concat([part.past for part in parts]), pd.concat(futures) if futures else None)


Part: TypeAlias = Any
"""One series: `Frames`, or a GluonTS entry."""


@dataclass(frozen=True)
class Pieces:
    """Groups of rows of Parquet files.

    Attributes:
        fragments: one a file.
        schema: of the whole data set, the columns that its folders' names tell among them.
        columns: that are wanted, first that of the ids.
    """

    fragments: tuple[Any, ...]
    schema: pa.Schema
    columns: tuple[str, ...]

    def by_id(self, ids: Sequence[Any]) -> dict[str, pd.DataFrame]:
        """The rows of each of these ids, by its name."""
        item, tables = self.columns[0], []
        for fragment in self.fragments:
            schema = _own(self.schema, fragment)
            wanted = dataset.field(item).isin(pa.array(ids, schema.field(item).type))
            tables.append(fragment.to_table(schema=schema, columns=[*self.columns], filter=wanted))
        if not tables:
            return {}
        frame = pa.concat_tables(tables, promote_options="permissive").to_pandas(ignore_metadata=True)
        return {str(name): part for name, part in frame.groupby(item, sort=False, observed=True)}


@dataclass(frozen=True)
class Rows:
    """Series of a Parquet file, of which a worker reads the groups of rows that hold them.

    Attributes:
        past: the groups of the file.
        ids: of the series, as the file has them.
        future: the groups that hold covariates of the steps after these series; None without covariates.
        kind: of ids that are categories, which results have too; None where they are none.
    """

    past: Pieces
    ids: tuple[Any, ...]
    future: Pieces | None = None
    kind: pd.CategoricalDtype | None = None

    def parts(self) -> dict[str, Part]:
        """The frames of each series, by its name; where there is to be a future, an empty one of a series without."""
        past = self.past.by_id(self.ids)
        if self.kind is not None:
            past = {name: part.astype({self.past.columns[0]: self.kind}) for name, part in past.items()}
        if self.future is None:
            return {name: Frames(part) for name, part in past.items()}
        future = self.future.by_id(self.ids)
        none = self.future.schema.empty_table().select(self.future.columns).to_pandas()
        return {name: Frames(part, future.get(name, none)) for name, part in past.items()}


class Tables:
    """Partitioned Parquet: files of long frames, a row a value, each series in one file.

    Columns may stand in the names of folders, `region=north/`, as Hive has it. The rows of a series may come in any
    order; files in which the rows of a series lie together are read quickest.

    Args:
        address: a folder, a file, or an address that fsspec knows.
        names: of the columns; those that are None are found by their usual names.
        past: columns of covariates of which the future is not known.
        future: address of covariates of the steps to come (`Future`), whose past is in the data.

    Attributes:
        names: all of them.
        columns: of covariates, those of the future first.
        unused: its other columns, but for those in the names of folders.

    Raises:
        DataError: nothing is there, no Parquet, or no column of ids, times, values or covariates.
        MissingPackageError: an address "…://…" without the extra "scale".
    """

    def __init__(self, address: Address, names: Names, past: Sequence[str] = (), future: Address | None = None):
        self.address = _absolute(address)
        self._files, self._base = _opened(self.address)
        frame = _first_rows(self._files, self.address)
        ahead = () if future is None else _columns_of(future)
        self.names = _names_of(frame, names, past, [name for name in ahead if name in frame.columns])
        self._future = None if future is None else Future(future, self.names)
        self.columns = (*(() if self._future is None else self._future.columns), *past)
        named = (self.names.id_column, self.names.timestamp_column, self.names.target, *self.columns)
        if absent := [name for name in named if name is not None and name not in frame.columns]:
            listed = ", ".join(map(repr, frame.columns))
            raise DataError(f"{self.address} has no column {absent[0]!r}; it has {listed}")
        if self.names.id_column is None or self.names.target is None:
            raise DataError(
                f"{self.address} has no column that names the series (item_id or unique_id); say which does by "
                "id_column=…, on the command line --id"
            )
        beside = {*named, *_of_folders(self._files)}
        self.unused = tuple(name for name in frame.columns if name not in beside and not re.fullmatch(_INDEX, name))

    def units(self, size: int) -> Iterator[Unit]:
        """Units of `size` series, file by file in the order of their paths, the series of each as they first occur.

        Files that cannot be read come as units of no series, which tell so.

        Raises:
            DataError: a series lies in two files.
        """
        where: dict[int, str] = {}
        number = 0
        assert self.names.id_column is not None
        given = (self.names.id_column, self.names.timestamp_column, self.names.target, *self.columns)
        columns = tuple(name for name in given if name is not None)
        for fragment in _fragments(self._files):
            path = os.path.relpath(fragment.path, self._base)
            try:
                self._refuse_unlike(fragment)
                found, failed = self._ids(fragment, path)
                kind = self._kind(fragment)
                stamp = [path, *_stamp(self._files, fragment)]
            except (DataError, *UNREADABLE) as error:
                told = error if isinstance(error, DataError) else _unreadable(path, error)
                yield Unit(f"part-{number:06d}", None, digest_of([path]), (), {path: str(told)})
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
                past = Pieces((fragment.subset(row_group_ids=groups),), self._files.schema, columns)
                ahead, seen = (None, []) if self._future is None else self._future.of(ids)
                names = tuple(map(str, ids))
                digest = digest_of([*stamp, *seen, *names])
                # Without an order those of the unit do, for those of a file may be millions.
                own = pd.CategoricalDtype(sorted(ids)) if kind is not None and not kind.ordered else kind
                yield Unit(f"part-{number:06d}", Rows(past, ids, ahead, own), digest, names, {} if first else failed)
                number += 1

    def _refuse_unlike(self, fragment: Any) -> None:
        """Raise DataError where a file's ids or times are of another kind than those of the first: times without a zone
        beside others, which would lose theirs, or numbers beside texts. Results could not be read together."""
        ours, own = self._files.schema, _own(self._files.schema, fragment)
        if name := self.names.timestamp_column:
            zones = [getattr(schema.field(name).type, "tz", None) for schema in (ours, own)]
            if (zones[0] is None) != (zones[1] is None):
                first, this = (f"the time zone {zone}" if zone else "no time zone" for zone in zones)
                raise DataError(f"its times have {this}, those of the first file {first}; write all alike")
        kinds = [schema.field(self.names.id_column).type for schema in (ours, own)]
        if pa.types.is_integer(kinds[0]) != pa.types.is_integer(kinds[1]):
            raise DataError(f"its ids are of type {kinds[1]}, those of the first file of {kinds[0]}; write all alike")

    def _kind(self, fragment: Any) -> pd.CategoricalDtype | None:
        """Of a file's ids if they are categories: those with an order with all of them, others without."""
        inside, item = fragment.physical_schema, self.names.id_column
        kind = inside.field(item).type if item in inside.names else None
        if kind is None or not pa.types.is_dictionary(kind):
            return None
        if not kind.ordered:
            return pd.CategoricalDtype()
        chunks = fragment.to_table(schema=inside, columns=[item])[item].unify_dictionaries().chunks
        return pd.CategoricalDtype(chunks[0].dictionary.to_pandas() if chunks else None, ordered=True)

    def _ids(self, fragment: Any, path: str) -> tuple[dict[Any, list[int]], dict[str, str]]:
        """The ids of a file, with the groups of rows that each is in; and what is wrong with it."""
        item = self.names.id_column
        assert item is not None
        found: dict[Any, list[int]] = {}
        missing = 0
        for group, column in _groups(self._files, fragment, item):
            missing += column.null_count
            for value in compute.unique(column).to_pylist():
                if value is not None:
                    found.setdefault(value, []).append(group)
        return found, {f"{path}: rows without {item}": f"{missing} rows; fill them or drop them"} if missing else {}


class Future:
    """Covariates of the steps to come: Parquet of long frames of ids, times and covariates, in any files and order.

    Which groups of rows hold a series is found out once, so that a worker reads no others.

    Args:
        address: see `Tables`.
        names: of the columns, as the data has them.

    Attributes:
        columns: of covariates.

    Raises:
        DataError: as of `Tables`; a file that cannot be read.
    """

    def __init__(self, address: Address, names: Names):
        self.address = _absolute(address)
        self._files, self._base = _opened(self.address)
        item = names.id_column
        if item is None or item not in self._files.schema.names:
            raise DataError(
                f"{self.address} has no column {item!r} of ids, which the data has; repeat its rows for each id"
            )
        folders = [name for name in _of_folders(self._files) if name not in (item, names.timestamp_column)]
        frame = _first_rows(self._files, self.address).drop(columns=folders)
        try:
            self.columns = tuple(future_columns(frame, names))
        except DataError as error:
            raise DataError(str(error).replace("future_df", self.address)) from error
        self._wanted = (item, *(name for name in frame.columns if name not in (item, names.target)))
        self._places: list[tuple[Any, int]] = []
        self._where: dict[int, tuple[int, ...]] = {}
        for fragment in _fragments(self._files):
            try:
                for group, column in _groups(self._files, fragment, item):
                    for value in compute.unique(column).to_pylist():
                        key = hash(str(value))
                        self._where[key] = (*self._where.get(key, ()), len(self._places))
                    self._places.append((fragment, group))
            except UNREADABLE as error:
                raise _unreadable(os.path.relpath(fragment.path, self._base), error) from error

    def of(self, ids: Iterable[Any]) -> tuple[Pieces, list[Any]]:
        """Where the rows of these ids are, and the state of the files that hold them."""
        groups: dict[str, tuple[Any, list[int]]] = {}
        for place in sorted({place for item in ids for place in self._where.get(hash(str(item)), ())}):
            fragment, group = self._places[place]
            groups.setdefault(fragment.path, (fragment, []))[1].append(group)
        pieces = tuple(fragment.subset(row_group_ids=some) for fragment, some in groups.values())
        seen = [value for fragment, _ in groups.values() for value in _stamp(self._files, fragment)]
        return Pieces(pieces, self._files.schema, self._wanted), seen


def _names_of(frame: pd.DataFrame, names: Names, past: Sequence[str], ahead: Sequence[str]) -> Names:
    """The names of the columns of a frame: as `predict_df` finds them; where that cannot tell the values from
    covariates, by what the files of the future have, which may hold the column of values too."""
    try:
        return names.of(frame, past)
    except DataError:
        return names.of(frame, [*past, *(name for name in ahead if name != names.target)])


def _absolute(address: Address) -> str:
    text = os.fspath(address)
    return text if "://" in text else os.path.abspath(text)


def _columns_of(address: Address) -> list[str]:
    """The columns of the files of a data set."""
    files, _ = _opened(_absolute(address))
    return [name for name in files.schema.names if name not in _of_folders(files)]


def _of_folders(files: dataset.FileSystemDataset) -> list[str]:
    """The columns that stand in the names of folders, by the first file that can be read."""
    for fragment in _fragments(files):
        with suppress(*UNREADABLE):
            inside = set(fragment.physical_schema.names)
            return [name for name in files.schema.names if name not in inside]
    return []


def _fragments(files: dataset.FileSystemDataset) -> list[Any]:
    """One a file, in the order of their paths."""
    return sorted(files.get_fragments(), key=lambda one: one.path)


def _groups(files: dataset.FileSystemDataset, fragment: Any, column: str) -> Iterator[tuple[int, Any]]:
    """A column of each group of rows of a file."""
    for group in fragment.row_groups:
        piece = fragment.subset(row_group_ids=[group.id])
        yield group.id, piece.to_table(schema=_own(files.schema, fragment), columns=[column])[column]


def _own(schema: pa.Schema, fragment: Any) -> pa.Schema:
    """The schema of a data set, which its first file tells, with the types of another: read as those of the first,
    numbers would be cut, or refused. Categories become what they stand for."""
    inside = fragment.physical_schema
    fields = [inside.field(field.name) if field.name in inside.names else field for field in schema]
    return pa.schema(
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in fields
    )


def _stamp(files: dataset.FileSystemDataset, fragment: Any) -> list[Any]:
    """By which it is seen that a file has changed."""
    about = files.filesystem.get_file_info(fragment.path)
    return [about.size, about.mtime_ns]


def _first_rows(files: dataset.FileSystemDataset, address: str) -> pd.DataFrame:
    """Of the first file that can be read and has rows: the data set's own `head` reads ahead, and fails with any of the
    next."""
    failed: BaseException | None = None
    empty: pd.DataFrame | None = None
    for fragment in _fragments(files):
        try:
            found = fragment.scanner(schema=_own(files.schema, fragment)).head(100).to_pandas(ignore_metadata=True)
        except UNREADABLE as error:
            failed = failed or error
            continue
        if len(found):
            return found
        empty = found
    if empty is not None:
        return empty
    assert failed is not None, "there are files"
    raise _unreadable(address, failed) from failed


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
    remedy = "" if what.endswith(".parquet") else "; another table is made one by pd.read_csv(…).to_parquet(…), say"
    return DataError(f"{what} cannot be read as Parquet ({first_line(error)}){remedy}")
