"""Any number of series behind one interface: in memory while they are few, in one flat file on disk when they are many.

Training draws windows at random places of random series, and batch n must be a function of (seed, n), so that a run
that was stopped goes on exactly. Series that do not fit in memory are therefore not streamed through a shuffle buffer,
which has a state, but written once to a file of numbers that any window can be read from. Targets are kept in double
precision, for they may be small beside their level.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from shared.errors import DataError
from tsdiff.data.covariates import CATEGORIES, DYNAMIC, REALS, Layout
from tsdiff.data.entries import Entry, EntrySequence
from tsdiff.data.frequency import freq_of, quiet
from tsdiff.data.spool import KINDS, InMemory, Spooled

SPOOL_ABOVE = 512 * 2**20


class SeriesStore(EntrySequence):
    """Series and their covariates, read-only. A sized GluonTS dataset that may be indexed and iterated at will.

    Only the values are large; names, starts, lengths and static features stay in memory (some 200 bytes a series).
    Make one with `SeriesStore.of`. It is a context manager; `close`, or its end of life, removes its file.

    Attributes:
        freq: Frequency of the series.
        layout: Channels and covariates, the same in every series.
        lengths: Steps of each target, int64 (series,).
    """

    def __init__(self, index: _Index, values: InMemory | Spooled):
        self._index, self._values = index, values
        self._periods: dict[int, pd.Period] = {}  # making one takes as long as reading a window
        self.freq, self.layout = index.freq, index.layout
        self.lengths: np.ndarray = np.array(index.lengths, dtype=np.int64)

    @classmethod
    def of(
        cls,
        entries: Iterable[Mapping[str, Any]],
        *,
        spool_above: int | None = SPOOL_ABOVE,
        folder: str | os.PathLike[str] | None = None,
    ) -> SeriesStore:
        """Take in entries, one by one; in memory they are views of the caller's arrays where those are float64.

        Args:
            entries: GluonTS entries as `series_from_gluonts` or `checked_entries` leaves them; a store is returned
                as it is. Fields other than item_id, start, target and the covariates are dropped.
            spool_above: Bytes of values from which they go to a file; 0 always writes one, None never.
            folder: Where to put the file; None takes the system's temporary folder.

        Returns:
            The store.

        Raises:
            DataError: There is no series, their frequencies or layouts differ, or the file cannot be written.
        """
        if isinstance(entries, SeriesStore):
            return entries
        index = _Index()
        values: InMemory | Spooled = InMemory()
        size = 0
        for place, entry in enumerate(entries):
            index.append(entry, place)
            parts = _parts(entry)
            size += sum(part.nbytes for part in parts)
            if isinstance(values, InMemory) and spool_above is not None and size > spool_above:
                values = Spooled.of(values, folder)
            values.append(parts)
        if not len(index):
            raise DataError("the data holds no series at all; give at least one")
        values.finish()
        return cls(index, values)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def spooled(self) -> bool:
        """Whether the values are in a file."""
        return isinstance(self._values, Spooled)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self._values.nbytes

    def name(self, series: int) -> str:
        """The item_id of a series."""
        return self._index.names[series]

    def start(self, series: int) -> pd.Period:
        """The period of the first step."""
        ordinal = self._index.ordinals[series]
        if ordinal not in self._periods:
            with quiet():
                self._periods[ordinal] = pd.Period(ordinal=ordinal, freq=self.freq)
        return self._periods[ordinal]

    def target(self, series: int) -> np.ndarray:
        """The target (channels, length), float64, NaN where missing; one channel where entries hold (length,)."""
        return self._part(series, 0, 0, int(self.lengths[series]))

    def window(self, series: int, first: int, length: int) -> np.ndarray:
        """`length` steps of the target from step `first`, NaN where the series has none: (channels, length), new.

        Only these steps are read, so that the cost does not grow with the series.
        """
        return self._window(series, 0, first, length, int(self.lengths[series]))

    def dynamic(self, series: int) -> np.ndarray:
        """The features known in the future (rows, steps), float32, steps ≥ length; no rows where there are none."""
        steps = self._index.dynamic_lengths[series]
        return self._part(series, 1, 0, steps) if steps else np.empty((0, 0), dtype=KINDS[1])

    def dynamic_window(self, series: int, first: int, length: int) -> np.ndarray:
        """`length` steps of `dynamic` from step `first`, NaN where it has none: (rows, length), new."""
        return self._window(series, 1, first, length, self._index.dynamic_lengths[series])

    def categories(self, series: int) -> np.ndarray:
        """feat_static_cat, int64 (n,)."""
        return self._index.statics[CATEGORIES][series]

    def reals(self, series: int) -> np.ndarray:
        """feat_static_real, float32 (n,)."""
        return self._index.statics[REALS][series]

    def close(self) -> None:
        """Remove the file, if there is one; the store is of no use afterwards."""
        self._values.close()

    def __enter__(self) -> SeriesStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entry(self, series: int) -> Entry:
        """A series as a GluonTS entry."""
        target = self.target(series)
        entry: Entry = {
            "item_id": self.name(series),
            "start": self.start(series),
            "target": target if self.layout.channels else target[0],
        }
        covariates = {DYNAMIC: self.dynamic(series), CATEGORIES: self.categories(series), REALS: self.reals(series)}
        return entry | {name: values for name, values in covariates.items() if len(values)}

    def _rows(self, part: int) -> int:
        return self.layout.dynamic if part else max(self.layout.channels, 1)

    def _part(self, series: int, part: int, first: int, stop: int) -> np.ndarray:
        steps = int(self.lengths[series]) if part == 0 else self._index.dynamic_lengths[series]
        return self._values.read(series, part, self._rows(part), steps, first, stop)

    def _window(self, series: int, part: int, first: int, length: int, steps: int) -> np.ndarray:
        low, high = max(first, 0), min(first + length, steps)
        if high - low == length > 0:
            return np.array(self._part(series, part, low, high), dtype=KINDS[part], order="C")
        window = np.full((self._rows(part), length), np.nan, dtype=KINDS[part])
        if high > low:
            window[:, low - first : high - first] = self._part(series, part, low, high)
        return window


def _parts(entry: Mapping[str, Any]) -> list[np.ndarray]:
    """The target (channels, length) and, if there are any, the dynamic features (rows, steps), of `KINDS`."""
    target = np.asarray(entry["target"], dtype=KINDS[0])
    parts = [target[None] if target.ndim == 1 else target]
    if entry.get(DYNAMIC) is not None:
        parts.append(np.asarray(entry[DYNAMIC], dtype=KINDS[1]))
    return parts


class _Index:
    """Everything about the series but their values."""

    def __init__(self) -> None:
        self.freq = ""
        self.layout = Layout()
        self.names: list[str] = []
        self.ordinals, self.lengths, self.dynamic_lengths = array("q"), array("q"), array("q")
        self.statics: dict[str, list[np.ndarray]] = {CATEGORIES: [], REALS: []}

    def __len__(self) -> int:
        return len(self.names)

    def append(self, entry: Mapping[str, Any], place: int) -> None:
        name, start = str(entry.get("item_id", place)), entry["start"]
        layout = Layout.of(entry)
        if not self.names:
            self.freq, self.layout = freq_of(start), layout
        self.layout.check(layout, name)
        if freq_of(start) != self.freq:
            raise DataError(f"series {name!r} has frequency {start.freqstr!r}, not {self.freq!r} as the others")
        self.names.append(name)
        start = start if start.freqstr == self.freq else start.asfreq(self.freq, how="start")
        self.ordinals.append(start.ordinal)
        self.lengths.append(entry["target"].shape[-1])
        self.dynamic_lengths.append(entry[DYNAMIC].shape[-1] if layout.dynamic else 0)
        for field, kind in ((CATEGORIES, np.int64), (REALS, np.float32)):
            self.statics[field].append(np.asarray(() if entry.get(field) is None else entry[field], dtype=kind))
