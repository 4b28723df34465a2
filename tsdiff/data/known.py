"""Frames as people have them: long or wide, with what is known of the future in a second one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from shared.console.notes import tell
from shared.errors import ConfigError, DataError, counted, first_few
from tsdiff.data.columns import (
    ITEM_NAMES,
    TARGET_NAMES,
    ids_of,
    numbers_of,
    refuse_list,
    sole_numbers,
    times_of,
    told_apart,
)
from tsdiff.data.covariates import DYNAMIC, completed
from tsdiff.data.entries import Entry, kind_of, towards_pandas
from tsdiff.data.frames import series_from_frame
from tsdiff.data.frequency import quiet, steps_between
from tsdiff.data.layouts import looks_wide, with_levels
from tsdiff.data.load import load_dataset
from tsdiff.data.series import SeriesSet, summarised
from tsdiff.data.timestamps import to_timestamps

_NAMED = 3


@dataclass(frozen=True)
class Names:
    """What a frame calls its columns; None finds those with usual names.

    Attributes:
        id_column: that names the series; or a level of the index.
        timestamp_column: of the times; or a level of the index.
        target: of the values.
    """

    id_column: str | None = None
    timestamp_column: str | None = None
    target: str | None = None

    def of(self, df: Any, beside: Iterable[str] = ()) -> Names:
        """The names that a frame's columns have; `target` is None of a wide frame, which has a column a series.

        Args:
            df: the frame.
            beside: columns of covariates, which are none of values.

        Raises:
            DataError: no frame, or none that has times and values.
            ConfigError: the target is one of the covariates.
        """
        beside = list(beside)
        if self.target is not None and self.target in beside:
            raise ConfigError(
                f"target={self.target!r} is one of the covariates, too; leave it out of them, or name another target"
            )
        if not isinstance(df, pd.DataFrame):
            read = "GluonTS entries go to predict(dataset), a file is read by pandas.read_csv or tsdiff.data.load_table"
            raise DataError(f"a {kind_of(df)} is no pandas DataFrame; {towards_pandas(df) or read}")
        if df.empty:
            raise DataError("the frame has no rows; it needs one row for each value")
        channels = "several are channels, and tsdiff.data.load_dataset makes entries of them, for predict and train"
        refuse_list(self.target, "values", channels)
        df = with_levels(df, self.id_column, self.timestamp_column)
        item = self.id_column
        times, time = times_of(df, self.timestamp_column)
        if item is None:
            item = ids_of(df, times, (time, self.target, *beside))
            if item is not None and item not in ITEM_NAMES:
                tell(told_apart(item, "id_column"))
        others = [name for name in df.columns if name not in (item, time, *beside)]
        target = self.target
        if target is None:
            target = _target(df, item, time, others)
            _tell_other_values(target, others, beside)
        return Names(item, time, target)


def _target(df: pd.DataFrame, item: str | None, time: str, others: Sequence[str]) -> str | None:
    """The column of values; None of a wide frame."""
    if "target" in others:
        return "target"
    # Beside other columns, y without ids may be one of many series; with ds it is as Nixtla and Prophet have it.
    if "y" in others and (item is not None or time == "ds" or len(others) == 1):
        return "y"
    if item is None and looks_wide(df[[*others, *([time] if time in df.columns else [])]], "", None, None):
        return None
    numeric = sole_numbers(df, others)
    if numeric is not None:
        return numeric
    listed = ", ".join(map(repr, df.columns))
    raise DataError(
        f"no column of values ({' or '.join(map(repr, TARGET_NAMES))}); name it with target=…; the frame has {listed}"
    )


def _tell_other_values(target: str | None, others: Sequence[str], beside: Sequence[str]) -> None:
    """Note what the values are where a column that has the usual name of values is a covariate."""
    usual = next((name for name in TARGET_NAMES if name in beside), None)
    if usual is not None:
        found = f"column {target!r}" if target is not None else f"columns {', '.join(map(repr, others[:10]))}"
        tell(f"{usual!r} is a covariate, and forecast is what {found} hold{'s' * (target is not None)}; see target")


def read_frame(df: pd.DataFrame, names: Names, freq: str | None = None, beside: Sequence[str] = ()) -> SeriesSet:
    """The series of a frame, long or wide.

    Args:
        df: the frame.
        names: of its columns, all found (`Names.of`).
        freq: in any pandas spelling; None finds it.
        beside: columns of covariates, which are no series.

    Raises:
        DataError: see `series_from_frame`.
    """
    item, time = names.id_column, names.timestamp_column
    df = with_levels(df, item, time)
    timestamp = time if time in df.columns or time == df.index.name else None
    if names.target is None:
        return load_dataset(df.drop(columns=[*beside], errors="ignore"), layout="wide", timestamp=timestamp, freq=freq)
    return load_dataset(df, layout="long", target=names.target, item_id=item, timestamp=timestamp, freq=freq)


def listed(names: str | Sequence[str]) -> list[str]:
    """Names of columns, each once, of which one may be given by itself."""
    return [names] if isinstance(names, str) else list(dict.fromkeys(names))


def series_to_learn(df: pd.DataFrame, names: Names, freq: str | None, covariates: Sequence[str]) -> SeriesSet:
    """The series of a frame, with covariates that are known of the future; warnings tell what was repaired or left out.

    Args:
        df: long or wide.
        names: of its columns, as they were given.
        freq: in any pandas spelling; None finds it.
        covariates: columns.

    Raises:
        DataError: see `series_from_frame` and `with_covariates`.
    """
    names = names.of(df, covariates)
    series = read_frame(df, names, freq, covariates)
    series.warn()
    tell_unused(df, names, covariates, "what is known of the future goes into covariates")
    return with_covariates(series, df, names, covariates) if covariates else series


def tell_unused(df: pd.DataFrame, names: Names, beside: Sequence[str], remedy: str) -> None:
    """Note columns of a long frame that nothing is made of, and what makes something of them."""
    used = {names.id_column, names.timestamp_column, names.target, *beside}
    columns = with_levels(df, names.id_column, names.timestamp_column).columns
    unused = [name for name in columns if name not in used]
    if unused and names.target is not None:
        tell(f"{unused_columns(unused)}; {remedy}")


def unused_columns(names: Sequence[Any]) -> str:
    """That nothing is made of some columns, for messages."""
    return f"columns {first_few([repr(name) for name in names], 10)} are not used"


def in_order(columns: list[str], trained: Sequence[str]) -> list[str]:
    """Covariates in the order of those that a model was trained with, by name; others as they are, which is noted."""
    by_name = {str(name): name for name in columns}
    if len(by_name) != len(trained) or list(by_name) == list(trained):
        return columns
    if by_name.keys() == set(trained):
        return [by_name[name] for name in trained]
    pairs = [f"{given!r} for {name!r}" for given, name in zip(columns, trained, strict=True) if str(given) != name]
    tell(f"this model was trained with other covariates, and takes {', '.join(pairs)}; is that right?")
    return columns


def future_columns(future_df: Any, names: Names) -> list[str]:
    """The covariates of a frame of what is to come: its columns besides ids, times and values.

    Raises:
        DataError: no frame, or one without covariates.
    """
    if not isinstance(future_df, pd.DataFrame):
        remedy = towards_pandas(future_df) or "give a pandas DataFrame of ids, times and covariates"
        raise DataError(f"future_df is a {kind_of(future_df)}; {remedy}")
    future_df = with_levels(future_df, names.id_column, names.timestamp_column)
    wanted = None if names.timestamp_column in (None, "index") else names.timestamp_column
    if wanted is not None and wanted not in future_df.columns and future_df.index.name != wanted:
        raise DataError(f"future_df has no column {wanted!r} of timestamps, which df has; name it so in both")
    time = times_of(future_df, wanted)[1]
    found = [name for name in future_df.columns if name not in (names.id_column, time, names.target)]
    if not found:
        raise DataError(
            "future_df has no column besides ids and times; give the covariates as columns, or leave it out"
        )
    return found


def with_covariates(
    series: SeriesSet,
    df: pd.DataFrame,
    names: Names,
    columns: Sequence[str],
    future_df: pd.DataFrame | None = None,
    steps: int = 0,
    past: bool = False,
    learnt: bool = False,
) -> SeriesSet:
    """Series with their covariates as feat_dynamic_real (columns, length + steps), NaN where missing in the past.

    Without future_df the end of the past is to be forecast: what is missing there is put on straight lines
    (`completed`), and a series without any value of a covariate is refused.

    Args:
        series: of `df` (`read_frame`).
        df: the frame, with the covariates' past.
        names: of its columns, all found.
        columns: of covariates.
        future_df: the covariates of the steps after each series' end, by id; of a wide frame without ids, the same for
            all series.
        steps: that are needed.
        past: whether nothing is to be known of their future.
        learnt: whether they are for a model that was trained with them: what is missing of the past, from where they
            begin, is put on straight lines all the same.

    Infinite values are missing, which is said, as is a covariate without a value in the past of a series.

    Raises:
        DataError: a column that `df` has not, covariates without any value, or without one in a series that is to be
            forecast by its past, that are not numbers or lie on another grid; or values that are missing in the future,
            which are named with their ids and times.
    """
    lacking = [name for name in columns if name not in df.columns]
    if lacking:
        raise DataError(
            f"df has no column {', '.join(map(repr, lacking))} of covariates; their past has to be in it, too"
        )
    item = names.id_column if names.target is not None else None
    time = str(names.timestamp_column)
    keys = [time] if item is None else [item, time]
    whole = _known(df, names, item, columns)
    if future_df is not None:
        future = _known(future_df, names, item, columns)
        if item is not None:
            _check_kinds(whole, future, item, "ids")
            _tell_strangers(whole, future, item)
        _check_kinds(whole, future, time, "times")
        _check_steps(future, keys)
        whole = pd.concat([whole, future], ignore_index=True)
    whole = whole.drop_duplicates(keys)
    numbers = {name: numbers_of(whole[name], name, covariate=True) for name in columns}
    if not any(np.isfinite(values).any() for values in numbers.values()):
        raise DataError(f"covariates {', '.join(map(repr, columns))} have no value at all; leave them out")
    found = series_from_frame(whole, target=list(columns), item_id=item, timestamp=time, freq=series.freq)
    by_name = {entry["item_id"]: entry for entry in found}
    single = next(iter(found)) if item is None else None
    _tell_infinite(numbers)
    entries, repaired, missing = [], list[str](), dict[str, dict[str, pd.PeriodIndex]]()
    for entry in series:
        known = single if single is not None else by_name.get(entry["item_id"])
        features, length = _aligned(entry, known, len(columns), steps), len(entry["target"])
        gaps = np.isnan(features[:, length:])
        for column, row in zip(columns, gaps, strict=True):
            if row.any():
                with quiet():
                    ahead = pd.period_range(entry["start"] + length, periods=steps, freq=series.freq)
                missing.setdefault(column, {})[entry["item_id"]] = ahead[row]
        if (learnt or future_df is None) and not past and not gaps.any():
            features, found_missing = completed(features, entry["item_id"], columns, begun=True)
            repaired += found_missing
        entries.append({**entry, DYNAMIC: features})
    if missing:
        raise DataError(_missing(missing, series, steps))
    for line in summarised(repaired):
        tell(line)
    _tell_without_past(entries, columns)
    origin = series.origin if past else replace(series.origin, dynamic=tuple(map(str, columns)))
    return replace(series, entries=entries, origin=origin)


def _tell_infinite(covariates: Mapping[str, np.ndarray]) -> None:
    for name, values in covariates.items():
        infinite = int(np.isinf(values).sum())
        if infinite:
            tell(f"covariate {name!r}: {counted(infinite, 'infinity', 'infinities')} treated as missing")


def _tell_without_past(entries: Sequence[Entry], columns: Sequence[str]) -> None:
    """Note covariates that have no value in the past of some series."""
    for place, name in enumerate(columns):
        ids = [e["item_id"] for e in entries if np.isnan(e[DYNAMIC][place, : len(e["target"])]).all()]
        if ids:
            more = f" and of {len(ids) - 1} more ids" if len(ids) > 1 else ""
            tell(f"covariate {name!r} has no value in the past of id {ids[0]!r}{more}; nothing is learnt of it there")


def _known(frame: pd.DataFrame, names: Names, item: str | None, columns: Sequence[str]) -> pd.DataFrame:
    """Covariates of a frame, ids if there are, and times, by the frame's names of them."""
    time = names.timestamp_column
    frame = with_levels(frame, item, time)
    times, _ = times_of(frame, time if time in frame.columns or time == frame.index.name else None)
    made = frame[list(columns)].reset_index(drop=True)
    made.columns = pd.Index(columns, tupleize_cols=False)  # names of several levels are tuples
    if item is not None:
        if item not in frame.columns:
            raise DataError(f"future_df has no column {item!r} of ids, which df has; repeat its rows for each id")
        ids = frame[item]
        if isinstance(ids.dtype, pd.CategoricalDtype):
            ids = pd.Series(np.asarray(ids))  # of numbers or texts
        made[item] = ids.to_numpy() if ids.dtype.kind in "iuf" else ids.astype(str).to_numpy()
    made[str(time)] = times.array
    return made


def _check_kinds(past: pd.DataFrame, future: pd.DataFrame, key: str, what: str) -> None:
    """Refuse ids or times that are of one kind in one frame and of another in the other."""
    one, other = past[key].dtype, future[key].dtype
    same = one == other or (one.kind == other.kind and one.kind in "iu")
    if what == "times" and not same:
        zones = [getattr(dtype, "tz", None) for dtype in (one, other)]
        if one.kind == other.kind == "M" and (zones[0] is None) == (zones[1] is None):
            future[key] = future[key].astype(one)
            return
    if not same:
        raise DataError(f"the {what} are {one} in df and {other} in future_df; give both the same")


def _check_steps(future: pd.DataFrame, keys: list[str]) -> None:
    """Refuse a step that has several rows of covariates that differ."""
    apart = future.drop_duplicates()
    twice = apart[apart.duplicated(keys)]
    if len(twice):
        where = " of id ".join(map(str, reversed(twice.iloc[0][keys].tolist())))
        raise DataError(f"future_df has different covariates for {where}; give one row for each step")


def _tell_strangers(past: pd.DataFrame, future: pd.DataFrame, item: str) -> None:
    strangers = [repr(str(name)) for name in pd.unique(future[item][~future[item].isin(past[item])])]
    if strangers:
        tell(f"future_df has ids that df does not have, and they are left out: {first_few(strangers, 10)}")


def _aligned(entry: Entry, known: Entry | None, count: int, steps: int) -> np.ndarray:
    """Covariates (count, length + steps) of a series from those of a set that may start and end elsewhere."""
    length = len(entry["target"]) + steps
    made = np.full((count, length), np.nan)
    if known is None:
        return made
    ahead = steps_between(entry["start"], known["start"])
    if ahead is None:
        raise DataError(
            f"series {entry['item_id']!r} starts at {entry['start']}, its covariates at {known['start']}: these are "
            f"not on one grid of {entry['start'].freqstr!r}; give rows for the same times"
        )
    values = known["target"]
    first, last = max(ahead, 0), min(ahead + values.shape[1], length)
    if last > first:
        made[:, first:last] = values[:, first - ahead : last - ahead]
    return made


def _missing(missing: dict[str, dict[str, pd.PeriodIndex]], series: SeriesSet, steps: int) -> str:
    """What to say of covariates that are missing in the future."""
    told = []
    for column, items in missing.items():
        parts = []
        for item, periods in list(items.items())[:_NAMED]:
            times = series.origin.zone.restored(to_timestamps(periods[:_NAMED], series.stamp))
            more = f" and {len(periods) - _NAMED} more" if len(periods) > _NAMED else ""
            parts.append(f"of id {item!r} at {', '.join(map(str, times))}{more}")
        others = f"; and of {len(items) - _NAMED} more ids" if len(items) > _NAMED else ""
        told.append(f"{column!r} {'; '.join(parts)}{others}")
    return (
        f"future_df lacks covariates for the {steps} steps after the ends of series: {'; '.join(told)}; add these rows"
    )
