"""Windows of equal length, real or synthetic: drawn from series, stacked, brought to one scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from shared.checks import Count, checked
from shared.errors import DataError
from shared.random import derive_seed
from tsdiff.data.entries import Entry, entries_of
from tsdiff.data.frequency import shifted

SOURCE = "source"
"""Field of an entry that names the series it was cut from or took its scale from."""


@dataclass(frozen=True)
class WindowSet:
    """Windows as one array.

    Attributes:
        values: (n, length) float64; each dimension of a multivariate window is a row of its own.
        sources: (n,) str: rows that share one are not independent; cross-validation keeps them together.
    """

    values: np.ndarray
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def length(self) -> int:
        """Steps in a window."""
        return int(self.values.shape[1])


Windows = WindowSet | np.ndarray | Iterable[Entry]
"""A set, an array (n, length), or GluonTS entries of equal length."""


def stack_windows(windows: Windows, name: str) -> WindowSet:
    """Bring windows to one array.

    Args:
        windows: see `Windows`. Rows of a bare array, and entries without `SOURCE`, are taken as independent.
        name: of the set, for messages.

    Raises:
        DataError: no window, windows that differ in length, missing or infinite values.
    """
    if not isinstance(windows, WindowSet):
        rows, sources = _rows(windows, name)
        windows = WindowSet(rows, np.asarray(sources))
    if windows.values.ndim != 2 or not windows.values.size:
        raise DataError(f"{name} has shape {windows.values.shape}; give windows (n, length), at least one")
    bad = np.flatnonzero(~np.isfinite(windows.values).all(axis=1))
    if bad.size:
        raise DataError(
            f"{name}: {bad.size} of {len(windows)} windows hold values that are missing or infinite, the first in "
            f"window {bad[0]}; fill them or leave those windows out (`real_windows` draws complete ones)"
        )
    return windows


def _rows(windows: np.ndarray | Iterable[Entry], name: str) -> tuple[np.ndarray, list[str]]:
    if isinstance(windows, np.ndarray):
        return windows.astype(np.float64), [str(place) for place in range(len(windows))]
    rows: list[np.ndarray] = []
    sources: list[str] = []
    for place, entry in enumerate(windows):
        if not isinstance(entry, Mapping):
            raise DataError(
                f"{name}: window {place} is a {type(entry).__name__} and no GluonTS entry; give entries, or one array "
                "(n, length)"
            )
        target = np.atleast_2d(np.asarray(entry["target"], dtype=np.float64))
        if rows and target.shape[1] != rows[0].shape[1]:
            raise DataError(
                f"{name}: window {place} has {target.shape[1]} steps, those before have {rows[0].shape[1]}; "
                "give windows of one length"
            )
        rows.append(target)
        sources += [str(entry.get(SOURCE, f"window {place}"))] * len(target)
    if not rows:
        raise DataError(f"{name} holds no window; give at least one")
    return np.concatenate(rows), sources


def real_windows(entries: Iterable[Entry], length: int, n: int, *, seed: int = 0, parts: int = 1) -> list[Entry]:
    """Cut n different complete windows out of series: every series has the same chance, then every place in it.

    Series that have fewer windows left than their share give all they have.

    Args:
        entries: univariate or multivariate series; read once.
        length: steps in a window.
        n: how many.
        seed: of the draw.
        parts: cut each series into so many stretches of time first. Windows lie within one and name it as their
            `SOURCE`, so that a set of few series still has groups that do not overlap.

    Returns:
        Entries with "item_id", "start", "target" of `length` steps, and `SOURCE`.

    Raises:
        ConfigError: n, length or parts is below 1.
        DataError: the series have fewer complete windows.
    """
    n, length, parts = checked(Count, n=n, length=length, parts=parts)
    rng = np.random.default_rng(derive_seed(seed, "real windows"))
    pieces = [
        piece for place, entry in enumerate(entries_of(entries)) for piece in _pieces(entry, place, length, parts)
    ]
    found = sum(len(places) for _, _, places in pieces)
    if found < n:
        raise DataError(
            f"the series have {found} different windows of {length} steps without missing values, and {n} are needed; "
            "ask for fewer, give longer series, or fill their gaps first (impute_df)"
        )
    queues = [rng.choice(places, size=min(len(places), n), replace=False) for _, _, places in pieces]
    order = rng.permutation(len(pieces))
    drawn = ((piece, int(queues[piece][turn])) for turn in range(n) for piece in order if turn < len(queues[piece]))
    return [
        _cut(pieces[piece][0], pieces[piece][1], first, length, number)
        for number, (piece, first) in enumerate(islice(drawn, n))
    ]


def count_windows(entries: Iterable[Entry], length: int, parts: int = 1) -> int:
    """How many different windows `real_windows` can draw."""
    every = (_pieces(entry, place, length, parts) for place, entry in enumerate(entries_of(entries)))
    return sum(len(places) for pieces in every for _, _, places in pieces)


def _pieces(entry: Entry, place: int, length: int, parts: int) -> list[tuple[Entry, str, np.ndarray]]:
    """The series, the name of each of its parts, and the first steps of that part's complete windows."""
    target = np.atleast_2d(np.asarray(entry["target"]))
    item = str(entry.get("item_id", place))
    gaps = np.concatenate([[0], np.cumsum(~np.isfinite(target).all(axis=0))])
    firsts = np.arange(max(0, target.shape[1] - length + 1))
    complete = firsts[gaps[firsts + length] == gaps[firsts]]
    edges = np.linspace(0, target.shape[1], parts + 1).round().astype(int)
    pieces = []
    for part in range(parts):
        name = item if parts == 1 else f"{item}, part {part + 1} of {parts}"
        inside = complete[(complete >= edges[part]) & (complete + length <= edges[part + 1])]
        if inside.size:
            pieces.append((entry, name, inside))
    return pieces


def _cut(entry: Entry, source: str, first: int, length: int, number: int) -> Entry:
    target = np.asarray(entry["target"], dtype=np.float64)[..., first : first + length]
    start = shifted(entry["start"], first)
    return {"item_id": f"real_{number}", "start": start, "target": target.copy(), SOURCE: source}


def enough_parts(entries: Sequence[Entry], groups: int = 10) -> int:
    """Into how many stretches to cut each series so that there are at least `groups` of them."""
    return max(1, -(-groups // max(1, len(entries))))


def context_scales(windows: np.ndarray, context_length: int) -> np.ndarray:
    """The mean absolute value of each row's context, (n, 1), the paper's mean scaling.

    A context of zeros tells no scale: the whole row's is taken, and 1 where that is zero too.
    """
    context = np.abs(windows[:, :context_length]).mean(axis=1, keepdims=True)
    whole = np.abs(windows).mean(axis=1, keepdims=True)
    return np.where(context > 0, context, np.where(whole > 0, whole, 1.0))


def with_values(entries: Sequence[Entry], values: np.ndarray, prefix: str) -> list[Entry]:
    """The entries with other targets (n, length), named after `prefix`; their starts and sources are kept."""
    return [
        {**entry, "item_id": f"{prefix}_{place}", "target": row.astype(np.float64)}
        for place, (entry, row) in enumerate(zip(entries, values, strict=True))
    ]
