"""Tables of results that grow row by row, so that a measurement that was stopped goes on where it was."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from shared.files.io import atomic_path


@dataclass(frozen=True)
class Rows:
    """A CSV file.

    Attributes:
        path: Where it is; made by the first row.
        keys: Columns that tell rows apart.
    """

    path: Path
    keys: tuple[str, ...]

    def read(self) -> list[dict[str, Any]]:
        """All rows, in the order in which they were added."""
        return pd.read_csv(self.path, keep_default_na=False).to_dict("records") if self.path.is_file() else []

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether there is a row with these keys."""
        return any(self._same(row, old) for old in self.read())

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, in place of an older one with its keys. Several processes may add to one table."""
        with self._locked():
            rows = [*(old for old in self.read() if not self._same(row, old)), dict(row)]
            with atomic_path(self.path) as temporary:
                pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g")

    def _same(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        return all(str(one[key]) == str(other[key]) for key in self.keys)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_suffix(".lock")
        with open(lock, "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
