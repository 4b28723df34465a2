"""GluonTS's folder layout: metadata.json, train/data.json.gz, test/data.json.gz."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from gluonts.dataset.common import MetaData, infer_file_type
from gluonts.dataset.jsonl import JsonLinesFile
from gluonts.exceptions import GluonTSDataError

from shared.errors import ConfigError, DataError, first_line
from shared.files.documents import read_json
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import normalise_freq, quiet
from tsdiff.data.series import SeriesSet, checked_entries, refuse_if_empty
from tsdiff.data.tables import UNREADABLE, json_lines

P = TypeVar("P")
T = TypeVar("T")


class FolderData(NamedTuple, Generic[P]):
    """What a GluonTS folder holds: `SeriesSet`s, or, of `stream_folder`, parts that are read as they are iterated.

    Attributes:
        freq: The frequency as `pd.Period` spells it.
        prediction_length: The horizon the folder states, in steps; None where it states none.
        train: The training series.
        test: The test series, each with the values to forecast at its end; rolling windows are entries of
            their own. None where the folder has no test part.
    """

    freq: str
    prediction_length: int | None
    train: P
    test: P | None


class FolderSeries:
    """One part of a GluonTS folder, read and checked entry by entry each time it is iterated: a GluonTS dataset.

    Nothing is held in memory; `SeriesStore.of` makes of it what may be indexed. Entries come as from
    `series_from_gluonts`, and so do errors, which name the series.

    Attributes:
        folder: Where the part is.
        freq: The frequency as `pd.Period` spells it.
        skipped: Series that the last iteration left out, with the reason.
        notes: What it repaired.
    """

    def __init__(self, folder: Path, freq: str):
        self.folder, self.freq = folder, freq
        self._length: int | None = None
        self.notes: list[str] = []
        self.skipped: dict[str, str] = {}

    def __iter__(self) -> Iterator[Entry]:
        self.notes, self.skipped = [], {}
        count = 0
        entries = _reading(self.folder, lambda: iter(self._checked()))
        while (entry := _reading(self.folder, lambda: next(entries, None))) is not None:
            count += 1
            yield entry
        self._length = count

    def __len__(self) -> int:
        if self._length is None:
            self._length = sum(1 for _ in self)
        return self._length

    def _checked(self) -> Iterator[Entry]:
        return checked_entries(self._raw(), self.freq, notes=self.notes, skipped=self.skipped)

    def _raw(self) -> Iterator[dict[str, Any]]:
        """Records as the files hold them; GluonTS's `FileDataset` wants to be told whether targets are multivariate."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        found = [loader for loader in map(_loader, files) if loader is not None]
        if not found:
            raise DataError("it holds no data.json, data.json.gz, .arrow, .feather or .parquet")
        for record in chain.from_iterable(found):
            yield {name: np.asarray(value) if isinstance(value, list) else value for name, value in record.items()}


def load_folder(path: str | os.PathLike[str]) -> FolderData[SeriesSet]:
    """Read a data set in GluonTS's folder layout and check it.

    Args:
        path: The folder with metadata.json, train/ and, if there is one, test/.

    Returns:
        Frequency, horizon, training and test series.

    Raises:
        DataError: A part is missing or unreadable, or the series do not pass the checks of
            `series_from_gluonts`.
    """
    freq, prediction_length, train, test = stream_folder(path)
    return FolderData(freq, prediction_length, _listed(train), None if test is None else _listed(test))


def stream_folder(path: str | os.PathLike[str]) -> FolderData[FolderSeries]:
    """Open a data set in GluonTS's folder layout without reading its series.

    Args, Raises: As `load_folder`; what is wrong with a series shows when it is reached.
    """
    folder = Path(path)
    metadata = folder / "metadata.json"
    if not metadata.is_file():
        metadata = folder / "metadata" / "metadata.json"  # as GluonTS's own repository writes some sets
    if not metadata.is_file():
        raise DataError(f"{folder}: no metadata.json; give a folder in GluonTS's layout (metadata.json, train/, test/)")
    about = read_json(metadata, DataError)
    try:
        meta = MetaData.parse_obj(about)
    except ValueError as error:
        raise DataError(f"{metadata}: cannot be read ({first_line(error)})") from error
    freq = normalise_freq(meta.freq)
    test = FolderSeries(folder / "test", freq) if (folder / "test").is_dir() else None
    if not (folder / "train").is_dir():
        raise DataError(f"{folder / 'train'}: no such folder; it should hold data.json or data.json.gz")
    return FolderData(freq, meta.prediction_length, FolderSeries(folder / "train", freq), test)


def _listed(part: FolderSeries) -> SeriesSet:
    entries = list(part)
    try:
        refuse_if_empty(entries, part.skipped)
    except DataError as error:
        raise DataError(f"{part.folder}: {error}") from error
    return SeriesSet(entries, part.freq, part.notes, part.skipped)


def _loader(path: Path) -> Iterable[dict[str, Any]] | None:
    """What reads a file's records; None for a file of another kind."""
    if "".join(path.suffixes) in JsonLinesFile.SUFFIXES:  # GluonTS's own takes lines of any length
        return json_lines(path)
    return infer_file_type(path)


def _reading(folder: Path, read: Callable[[], T]) -> T:
    """Call `read`; what it raises names the folder."""
    try:
        with quiet():
            return read()
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    except ConfigError:
        raise
    except (GluonTSDataError, AssertionError, TypeError, *UNREADABLE) as error:
        raise DataError(f"{folder}: cannot be read ({str(error)[:200]})") from error
