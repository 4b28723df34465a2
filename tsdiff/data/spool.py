"""Where the numbers of a `SeriesStore` are: in arrays, or in a file."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import DataError
from shared.files.io import Claim, remove_unfinished

KINDS = (np.dtype(np.float64), np.dtype(np.float32))
"""Of the numbers of targets, and of dynamic features."""


class InMemory:
    """A list of arrays: part 0 of each series is its target, part 1 its dynamic features."""

    def __init__(self) -> None:
        self.nbytes = 0
        self.parts: list[list[np.ndarray]] = []

    def append(self, parts: list[np.ndarray]) -> None:
        """Keep the parts of one more series, (rows, steps) each."""
        self.nbytes += sum(part.nbytes for part in parts)
        self.parts.append(parts)

    def finish(self) -> None:
        """Nothing is left to do."""

    def read(self, series: int, part: int, rows: int, steps: int, first: int, stop: int) -> np.ndarray:
        """Steps `first` to `stop` of a part, (rows, stop − first), not to be written to."""
        view = self.parts[series][part][:, first:stop]
        view.flags.writeable = False
        return view

    def close(self) -> None:
        """Nothing is to be given back."""


class Spooled:
    """One file of numbers, series by series, row by row; read by position, so that nothing stays mapped.

    The file belongs to the process that made it. Copies that other processes hold (workers, whether forked or
    started afresh) open it again for themselves.
    """

    def __init__(self, folder: Path):
        self.nbytes = 0
        self._offsets = array("q")
        self._writer: Any = None
        self._reader: Any = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        claim = Claim()
        self._remove = weakref.finalize(self, _remove, claim, self._pid)
        self.path = claim.take(folder, ".values")

    @classmethod
    def of(cls, values: InMemory, folder: str | os.PathLike[str] | None) -> Spooled:
        """Start a file with what was in memory so far."""
        try:
            where = Path(folder or tempfile.gettempdir())
            where.mkdir(parents=True, exist_ok=True)
            remove_unfinished(where)
            spooled = cls(where)
        except OSError as error:
            raise DataError(
                f"{where} takes no file for the series ({error.strerror}); choose another folder"
            ) from error
        spooled._writer = spooled.path.open("wb", buffering=2**20)
        for parts in values.parts:
            spooled.append(parts)
        return spooled

    def append(self, parts: list[np.ndarray]) -> None:
        """Write the parts of one more series, (rows, steps) each.

        Raises:
            DataError: the disk is full; the file is gone.
        """
        self._offsets.append(self.nbytes)
        self.nbytes += sum(part.nbytes for part in parts)
        with self._writing():
            for part in parts:
                self._writer.write(np.ascontiguousarray(part).data)

    def finish(self) -> None:
        """Write what is left in buffers; from now on the file is read."""
        with self._writing():
            self._writer.close()
        self._writer = None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a full disk into an error that tells the remedy, and leave no half-written file behind."""
        try:
            yield
        except OSError as error:
            with suppress(OSError):
                self.close()
            self._remove()
            raise DataError(
                f"{self.path} cannot be written ({error.strerror}); choose a folder with more room for the series"
            ) from error

    def read(self, series: int, part: int, rows: int, steps: int, first: int, stop: int) -> np.ndarray:
        """Steps `first` to `stop` of a part of (rows, steps) numbers, (rows, stop − first), not to be written to.

        Raises:
            DataError: the file is gone, or was cut short.
        """
        end = self.nbytes if series + 1 == len(self._offsets) else self._offsets[series + 1]
        kind = KINDS[part]
        offset = self._offsets[series] if part == 0 else end - rows * steps * kind.itemsize
        values = np.empty((rows, stop - first), dtype=kind)
        if stop - first == steps:
            self._fill(values, offset)
        else:
            for row in range(rows):
                self._fill(values[row], offset + (row * steps + first) * kind.itemsize)
        values.flags.writeable = False
        return values

    def _fill(self, values: np.ndarray, offset: int) -> None:
        if not values.size:
            return
        if self._reader is None or self._pid != os.getpid():
            self._open()
        view = values.data.cast("B")
        if hasattr(os, "preadv"):
            count = os.preadv(self._reader.fileno(), [view], offset)
        else:
            with self._lock:
                self._reader.seek(offset)
                count = self._reader.readinto(view)
        if count != values.nbytes:
            raise DataError(f"{self.path} was cut short while in use; read the data again")

    def _open(self) -> None:
        try:
            self._reader = self.path.open("rb", buffering=0)
        except OSError as error:
            raise DataError(
                f"{self.path}, which held the series, is gone ({error.strerror}); read them again"
            ) from error
        self._pid = os.getpid()

    def close(self) -> None:
        """Close the file."""
        for stream in (self._writer, self._reader):
            if stream is not None:
                stream.close()
        self._writer = self._reader = None
        self._remove()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "nbytes": self.nbytes, "offsets": self._offsets}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.nbytes, self._offsets = state["path"], state["nbytes"], state["offsets"]
        self._writer = self._reader = None
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._remove = weakref.finalize(self, _remove, Claim(), self._pid)  # which has nothing


def _remove(claim: Claim, pid: int) -> None:
    """Remove the file, in the process that made it alone: a forked worker's end is not the end of the store."""
    if os.getpid() == pid:
        claim.end()
