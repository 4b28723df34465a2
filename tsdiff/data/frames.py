"""From files and pandas tables, long or wide, to series."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shared.checks import Count, checked
from shared.errors import ConfigError, DataError, DiffusionError, counted, first_line
from tsdiff.data.agreed import agreed_freq
from tsdiff.data.columns import (
    ITEM_NAMES,
    TARGET_NAMES,
    column_of,
    differing_in_spaces,
    ids_of,
    numbers_of,
    time_name,
    times_of,
    told_apart,
    values_of,
)
from tsdiff.data.covariates import DYNAMIC, completed
from tsdiff.data.entries import Entry, read_series
from tsdiff.data.frequency import infer_freq, normalise_freq
from tsdiff.data.layouts import own_name, resampled, row_numbers, was_wide, with_levels
from tsdiff.data.origin import Origin, Zone
from tsdiff.data.repeated import check_unique
from tsdiff.data.series import SeriesSet, notes_of, reason_to_skip, refuse_if_empty
from tsdiff.data.statics import StaticColumns
from tsdiff.data.tables import UNREADABLE, read_arrow, read_csv, read_parquet
from tsdiff.data.timestamps import (
    grid_positions,
    parse_timestamps,
    stamp_side,
    within_periods,
)

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".feather", ".arrow")

_FEW_ADJACENT, _FEWEST_TELLING = 0.1, 3
"""Share of rows a step apart below which a series with many gaps may be of another frequency, and how many rows tell
of their times."""


def load_table(path: str | os.PathLike[str], item_id: str | None = None) -> pd.DataFrame:
    """Read a table from a .csv, .tsv (also .gz), .parquet, .feather or .arrow (Arrow IPC, file or stream) file.

    Args:
        path: The file.
        item_id: The column of ids where it has no usual name; in CSV ids stay as they are written, such as 007.

    Returns:
        The table, with at least one row.

    Raises:
        DataError: The file is missing, of another kind, unreadable or empty, unpacks to too much, or has too many
            columns or too long texts (`tsdiff.data.tables`).
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: unknown kind of table; use a file that ends in {', '.join(SUFFIXES)}")
    if not os.path.isfile(path):  # False for what no file system takes as a name
        raise DataError(f"{path}: no such file; check the path")
    try:
        frame = _read(path, name, ITEM_NAMES if item_id is None else (*ITEM_NAMES, item_id))
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: the file is empty; it needs a header line and rows") from error
    except DiffusionError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as a table ({first_line(error)}); write it again") from error
    if frame.empty:
        raise DataError(f"{path}: the table has no rows; it needs one row for each value")
    return frame


def _read(path: Path, name: str, ids: Collection[str]) -> pd.DataFrame:
    if name.endswith(".parquet"):
        return read_parquet(path)
    return read_arrow(path) if name.endswith((".feather", ".arrow")) else read_csv(path, ids)


def series_from_frame(
    frame: pd.DataFrame,
    *,
    target: str | Sequence[str] = "target",
    item_id: str | None = None,
    timestamp: str | None = None,
    freq: str | None = None,
    min_length: int = 1,
    dynamic: Sequence[str] = (),
    static: Sequence[str] = (),
    vocabulary: Mapping[str, Sequence[str]] | None = None,
) -> SeriesSet:
    """Make a clean set of series from a table in long format, one row for each value.

    Rows may come in any order. Gaps become NaN, so do infinities; each repair is noted. Series that hold no
    observed value or are too short are skipped, the others go on.

    Args:
        frame: The table; not changed.
        target: The column of values; "target" finds "y" where only that is there, or else the only column of numbers
            besides the others that are named here. A list of columns makes multivariate
            series, targets (channels, length).
        item_id: The column, or level of the index, that names the series; None takes "item_id" or "unique_id" if there
            is one, or where times repeat the only column of texts, if they do not within one of its names; else the
            whole table is one series named after `target`.
        timestamp: The column, or level of the index, with the times; None takes "timestamp", "time",
            "datetime", "date" or "ds", in any case, or else an index of datetimes or periods, the only column of
            dates, or "year" with whole numbers.
        freq: The frequency, in any pandas spelling, old or new; None takes that of periods and infers that of times.
        min_length: Series with fewer steps, gaps counted, are skipped.
        dynamic: Numeric columns that are known in the future: feat_dynamic_real. The rows of a series after its last
            observed target are then the future, and belong to the features alone.
        static: Columns with one value a series: numbers make feat_static_real, everything else (also booleans and
            pandas categories) feat_static_cat, coded by the vocabulary of the column.
        vocabulary: For static categories, by column, the values that the codes 0, 1, … stand for, such as the
            `vocabulary` of the set that a model was trained on; None takes the sorted values of this table.

    Returns:
        The set, ordered by item; the same whatever the order of the rows (its notes aside). Series know no time zone:
        see `parse_timestamps`; `SeriesSet.origin` leads back to the table's zone, ids and names.

    Raises:
        DataError: A missing column, values that are not numbers, missing item ids or timestamps, repeated or
            irregular timestamps, a frequency that is unknown or cannot be inferred, no usable series.
        ConfigError: `min_length` is below 1, or a target is one of the covariates, too.
    """
    checked(Count, min_length=min_length)
    if frame.empty:
        raise DataError("the table has no rows; it needs one row for each value")
    frame = with_levels(frame, item_id, timestamp)
    times, name = times_of(frame, timestamp)
    found_id = None
    several = pd.api.types.is_list_like(target)  # a column may be called 2
    if item_id is None:
        named = {name, *(target if several else [target]), *dynamic, *static}
        item_id = found_id = ids_of(frame, times, named)
    if not several and target == TARGET_NAMES[0] and target not in frame.columns:
        target = values_of(frame, {item_id, name, *dynamic, *static})
    targets: list[Any] = list(target) if several else [target]
    whole = " ".join(map(str, targets))
    if not targets:
        raise ConfigError("target names no column; give at least one")
    both = sorted({*targets} & {*dynamic, *static})
    if both:
        raise ConfigError(f"{both[0]!r} is a target and a covariate; what is to be forecast is not known: take it out")
    values = np.stack([numbers_of(column_of(frame, name), name) for name in (*targets, *dynamic)], axis=1)
    if freq is None and isinstance(times.dtype, pd.PeriodDtype):
        freq = normalise_freq(times.dtype.freq)
    grid = None if freq is None else normalise_freq(freq)
    stamps, zone, notes = parse_timestamps(times, own_name(frame, name), grid)
    if found_id is not None and found_id not in ITEM_NAMES:
        notes.append(told_apart(found_id))
    parts = list(_parts(frame, item_id, whole, stamps, zone, values, notes))
    notes += differing_in_spaces(part.item for part in parts)
    grid = grid or agreed_freq({part.item: part.stamps for part in parts})
    call = partial(resampled, frame, item_id, name, target)
    statics = StaticColumns.read(frame, static, vocabulary)
    made = ((part, *_entry(part, grid, zone, call, len(targets), dynamic, not several)) for part in parts)
    entries, skipped = _usable(made, statics, min_length, notes)
    refuse_if_empty(entries, skipped)
    used = [part for part in parts if part.item not in skipped]
    side = stamp_side(pd.DatetimeIndex(np.concatenate([part.stamps for part in used])), grid)
    zone, moved = within_periods({part.item: part.stamps for part in used}, grid, side, zone)
    notes.extend(moved)
    named = {item_id, name, *targets, *dynamic, *static, *row_numbers(frame)}
    others = [column for column in frame.columns if column not in named]
    origin = Origin(
        item_id="item_id" if item_id is None else item_id,
        timestamp=time_name(frame, timestamp),
        target=whole if several else targets[0],
        labels=None if item_id is None else _labels(column_of(frame, item_id), parts),
        zone=zone,
        unused=tuple(map(str, others)),
        ahead=_known_ahead(frame, used, len(targets), others),
        dynamic=tuple(map(str, dynamic)),
        reals=tuple(map(str, statics.reals)),
    )
    return SeriesSet(entries, grid, notes, skipped, side, statics.vocabulary, origin)


@dataclass(frozen=True)
class Part:
    """One series of a table: its sorted times, and its values (rows, targets and then dynamic features)."""

    item: str
    stamps: pd.DatetimeIndex
    values: np.ndarray
    rows: np.ndarray


def _usable(
    made: Iterable[tuple[Part, Entry, list[str]]], statics: StaticColumns, min_length: int, notes: list[str]
) -> tuple[list[Entry], dict[str, str]]:
    """Of series with their entries and notes the entries of those that are of use, with their static features, and why
    the others are skipped; append to `notes` what is noted of those that are of use."""
    entries: list[Entry] = []
    skipped: dict[str, str] = {}
    for part, entry, found in made:
        reason = reason_to_skip(entry["target"], min_length)
        if reason is None:
            entries.append(entry | statics.of(part.rows, part.item))
            notes.extend(found)
        else:
            skipped[part.item] = reason
    return entries, skipped


def _labels(ids: pd.Series, parts: Sequence[Part]) -> pd.Series:
    """The ids as the table holds them, by the names of the series."""
    return ids.iloc[np.array([part.rows[0] for part in parts])].set_axis([part.item for part in parts])


def _known_ahead(frame: pd.DataFrame, parts: Sequence[Part], targets: int, others: Sequence[Any]) -> tuple[str, ...]:
    """Which of other columns hold numbers that are known in all rows after the series' last values; none where there
    are no such rows."""
    seen = [np.isfinite(part.values[:, :targets]).any(axis=1) for part in parts]
    late = np.concatenate(
        [part.rows[flags.size - flags[::-1].argmax() :] for part, flags in zip(parts, seen, strict=True)]
    )
    if not late.size or not frame.columns.is_unique:
        return ()
    rows = frame.iloc[late]
    numeric = [name for name in others if pd.api.types.is_numeric_dtype(rows[name])]
    return tuple(str(name) for name in numeric if rows[name].notna().all())


def _parts(
    frame: pd.DataFrame,
    item_id: str | None,
    target: str,
    stamps: pd.DatetimeIndex,
    zone: Zone,
    values: np.ndarray,
    notes: list[str],
) -> Iterator[Part]:
    """Yield each series sorted by time, ordered by item; append to `notes` which ones had to be sorted."""
    for item, rows in _groups(frame, item_id, target):
        part = stamps[rows]
        if not part.is_monotonic_increasing:
            rows = rows[np.argsort(part.to_numpy(), kind="stable")]
            part = stamps[rows]
            notes.append(f"series {item!r}: unsorted timestamps were sorted")
        check_unique(part, item, item_id is None or was_wide(frame), zone)
        yield Part(item, part, values[rows], rows)


def _groups(frame: pd.DataFrame, item_id: str | None, target: str) -> Iterator[tuple[str, np.ndarray]]:
    if item_id is None:
        yield target, np.arange(len(frame))
        return
    ids = column_of(frame, item_id)
    missing = np.flatnonzero(ids.isna().to_numpy())
    if missing.size:
        raise DataError(
            f"column {item_id!r} has {missing.size} missing item ids, the first in row {missing[0]}; fill or drop them"
        )
    ids = ids.astype(object) if pd.api.types.is_numeric_dtype(ids.dtype) else ids.astype(str)
    codes, names = pd.factorize(ids, sort=True)
    order = np.argsort(codes, kind="stable")
    for name, rows in zip(names, np.split(order, np.cumsum(np.bincount(codes))[:-1]), strict=True):
        yield str(name), rows


def _entry(
    part: Part,
    freq: str,
    zone: Zone,
    resampled: Callable[[str], str],
    targets: int,
    dynamic: Sequence[str],
    univariate: bool,
) -> tuple[Entry, list[str]]:
    """The entry of one series, without its static features, and notes."""
    item = part.item
    positions, start = grid_positions(part.stamps, freq, item, zone, resampled)
    full = np.full((part.values.shape[1], int(positions[-1]) + 1), np.nan)
    full[:, positions] = part.values.T
    gaps = full.shape[1] - len(positions)
    values, features = full[:targets], full[targets:]
    notes = []
    if gaps:
        positive = not (part.values[:, :targets] <= 0).any()
        notes.append(_gaps_of(part, gaps, freq, positive, float((np.diff(positions) == 1).mean())))
    if len(features):
        observed = np.flatnonzero(np.isfinite(values).any(axis=0))
        values = values[:, : int(observed[-1]) + 1 if observed.size else 0]
    known = {}
    if len(features) and values.shape[1]:
        known[DYNAMIC], repaired = completed(features, item, dynamic)
        notes += repaired
    target = values[0] if univariate else values
    series = read_series({"start": start, "target": target, **known}, item, freq)
    return series.as_entry(), notes + notes_of(series)


def _gaps_of(part: Part, gaps: int, freq: str, positive: bool, adjacent: float) -> str:
    """A note of how many steps of a series are missing; and, if most are, of the frequency that it may have instead,
    where few rows are `adjacent`, or of zeros that may be meant, where all its values are `positive`."""
    note = f"series {part.item!r}: {counted(gaps, 'gap')} filled as missing"
    if gaps <= len(part.stamps) or len(part.stamps) < _FEWEST_TELLING:
        return note
    if adjacent < _FEW_ADJACENT and (found := infer_freq(part.stamps)) not in (None, freq):
        return f"{note}: its times look like {found!r}, not {freq!r}; is freq right?"
    return (
        f"{note}, most of its steps; where no row means 0, as of what is not sold, add rows of 0" if positive else note
    )
