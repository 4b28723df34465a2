"""Streams of series to files: Parquet, CSV, GluonTS's folder layout; nothing is held but one chunk."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import gluonts.json as json
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
from gluonts.dataset.common import CategoricalFeatureInfo, MetaData
from gluonts.dataset.jsonl import encode_json

from shared.errors import ConfigError, DataError
from shared.files.io import UNENCODABLE, atomic_folder, atomic_path
from tsdiff.data.entries import Entry, entries_of
from tsdiff.data.frequency import freq_of, quiet
from tsdiff.data.origin import Origin
from tsdiff.data.timestamps import Stamp, to_timestamps

_CHUNK = 256


class _Sink(Protocol):
    def __call__(self, entries: list[Entry], frame: pd.DataFrame) -> None: ...


def series_frame(entries: Iterable[Entry], stamp: Stamp = "start") -> pd.DataFrame:
    """Series as a table in long format, one row a step.

    Args:
        entries: GluonTS entries.
        stamp: which day of their period timestamps name.

    Returns:
        Columns "item_id", "timestamp" and "target"; "target_0", "target_1", … for multivariate series.
    """
    with quiet():
        frames = [_frame(entry, stamp) for entry in entries]
    if not frames:
        return pd.DataFrame({"item_id": [], "timestamp": [], "target": []})
    return pd.concat(frames, ignore_index=True)


def _frame(entry: Entry, stamp: Stamp) -> pd.DataFrame:
    target = np.asarray(entry["target"])
    rows = np.atleast_2d(target)
    start = entry["start"]
    times = to_timestamps(pd.period_range(start, periods=rows.shape[1], freq=start.freq), stamp)
    names = ["target"] if target.ndim == 1 else [f"target_{channel}" for channel in range(len(rows))]
    columns = dict(zip(names, rows, strict=True))
    return pd.DataFrame({"item_id": str(entry["item_id"]), "timestamp": times, **columns})


def save_series(
    entries: Iterable[Entry],
    *,
    parquet_path: str | os.PathLike[str] | None = None,
    csv_path: str | os.PathLike[str] | None = None,
    gluonts_folder: str | os.PathLike[str] | None = None,
    prediction_length: int | None = None,
    categories: Sequence[int] = (),
    stamp: Stamp = "start",
    origin: Origin | None = None,
) -> int:
    """Write series to one or more files in one pass. What was there is replaced when everything is written.

    Args:
        entries: GluonTS entries with "item_id", "start" and "target"; read once, a chunk at a time.
        parquet_path, csv_path: long format (`series_frame`).
        gluonts_folder: GluonTS's layout (metadata.json, train/data.json.gz), with every field of the entries. An
            earlier folder of that layout is replaced, another one is refused.
        prediction_length: that metadata.json states.
        categories: how many values each "feat_static_cat" takes, for metadata.json.
        stamp: whether the tables' timestamps name the first or the last day of their period.
        origin: of the series that these are like, whose names of columns and time zone the tables take.

    Returns:
        How many series were written.

    Raises:
        ConfigError: nothing to write to, or a folder that holds something else.
        DataError: no series, one without an "item_id", or series that differ in frequency or number of channels.
    """
    if parquet_path is None and csv_path is None and gluonts_folder is None:
        raise ConfigError("nothing to write to; give parquet_path, csv_path or gluonts_folder")
    stream = map(_named, entries_of(entries))
    chunk = list(islice(stream, _CHUNK))
    if not chunk:
        raise DataError("there is no series to write")
    freq, shape = freq_of(chunk[0]["start"]), np.shape(chunk[0]["target"])[:-1]
    terms = None if origin is None else replace(origin, labels=None)  # the series here have names of their own
    written = 0
    with ExitStack() as stack:
        sinks: list[_Sink] = []
        if parquet_path is not None:
            sinks.append(stack.enter_context(_parquet(parquet_path)))
        if csv_path is not None:
            sinks.append(stack.enter_context(_csv(csv_path)))
        if gluonts_folder is not None:
            sinks.append(
                stack.enter_context(_gluonts(Path(gluonts_folder), _metadata(freq, prediction_length, categories)))
            )
        while chunk:
            for entry in chunk:
                _refuse_unlike(entry, freq, shape)
            frame = pd.DataFrame()
            if parquet_path is not None or csv_path is not None:
                frame = series_frame(chunk, stamp)
                frame = frame if terms is None else terms.restored(frame.rename(columns={"target": "value"}))
            for sink in sinks:
                sink(chunk, frame)
            written += len(chunk)
            chunk = list(islice(stream, _CHUNK))
    return written


def _refuse_unlike(entry: Entry, freq: str, shape: tuple[int, ...]) -> None:
    """Refuse a series of another frequency, or of other channels, than the first one."""
    name, start, found = entry["item_id"], entry["start"], np.shape(entry["target"])
    if freq_of(start) != freq:
        raise DataError(f"series {name!r} has frequency {start.freqstr!r}, not {freq!r}")
    if found[:-1] != shape:
        raise DataError(
            f"series {name!r} has a target of shape {found}, the first one another number of channels; write them to "
            "files of their own"
        )


def _named(entry: Entry) -> Entry:
    if entry.get("item_id") is None:
        raise DataError(f"the series that starts at {entry.get('start')} has no 'item_id'; give each a name")
    return entry


@contextmanager
def _parquet(path: str | os.PathLike[str]) -> Iterator[_Sink]:
    with atomic_path(path) as temporary, ExitStack() as stack:
        writer: list[parquet.ParquetWriter] = []

        def write(entries: list[Entry], frame: pd.DataFrame) -> None:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            if not writer:
                writer.append(stack.enter_context(parquet.ParquetWriter(temporary, table.schema)))
            writer[0].write_table(table)

        yield write


@contextmanager
def _csv(path: str | os.PathLike[str]) -> Iterator[_Sink]:
    opened: Any = gzip.open if str(path).endswith(".gz") else open
    with (
        atomic_path(path) as temporary,
        opened(temporary, "wt", encoding="utf-8", errors=UNENCODABLE, newline="") as stream,
    ):
        first = [True]

        def write(entries: list[Entry], frame: pd.DataFrame) -> None:
            frame.to_csv(stream, index=False, header=first[0])
            first[0] = False

        yield write


def _metadata(freq: str, prediction_length: int | None, categories: Sequence[int]) -> MetaData:
    features = [
        CategoricalFeatureInfo(name=f"feat_static_cat_{place}", cardinality=str(size))
        for place, size in enumerate(categories)
    ]
    return MetaData(freq=freq, prediction_length=prediction_length, feat_static_cat=features)


@contextmanager
def _gluonts(folder: Path, metadata: MetaData) -> Iterator[_Sink]:
    if folder.exists() and not (folder / "metadata.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} holds something other than a GluonTS data set; choose another folder")
    with atomic_folder(folder) as temporary:
        (temporary / "train").mkdir()
        (temporary / "metadata.json").write_text(metadata.json(), encoding="utf-8")
        with gzip.open(temporary / "train" / "data.json.gz", "wb", compresslevel=4) as stream:

            def write(entries: list[Entry], frame: pd.DataFrame) -> None:
                for entry in entries:
                    json.bdump(encode_json(entry), stream, nl=True)

            yield write
