"""Changes of the clocks near what is forecast, filled or scored: series are counted in UTC, and what keeps to the
local clock moves in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo

import numpy as np
import pandas as pd

from shared.console.notes import tell
from shared.runs import runs
from tsdiff.data.entries import Entry
from tsdiff.data.frequency import quiet
from tsdiff.data.origin import Origin

_LEARNT = pd.Timedelta(days=7)
"""After so long a model has seen how the season lies since a change."""


def tell_changes(origin: Origin, entries: Iterable[Entry], steps: int) -> None:
    """Warn where clocks change within a forecast of so many steps after the series' ends, or in the week before it.

    Series of days and coarser steps are counted in local days, and no change concerns them.
    """
    if not _in_utc(origin):
        return
    with quiet():
        ends = pd.PeriodIndex([entry["start"] + np.shape(entry["target"])[-1] for entry in entries]).unique()
        ahead = ends.shift(steps - 1)
    _tell(origin, ends, ahead, pd.Timedelta(0), "is forecast an hour off", "a forecast or the week before it")


def tell_changes_in_scored(origin: Origin, entries: Sequence[Entry], last: int | None) -> None:
    """Warn where clocks change within so many steps at the ends of series, which are scored, or in the week before
    them; None: all are."""
    if not _in_utc(origin):
        return
    lengths = [np.shape(entry["target"])[-1] for entry in entries]
    begins = [0 if last is None else max(0, length - last) for length in lengths]
    with quiet():
        first = pd.PeriodIndex([entry["start"] + begin for entry, begin in zip(entries, begins, strict=True)])
        end = pd.PeriodIndex([entry["start"] + (length - 1) for entry, length in zip(entries, lengths, strict=True)])
    _tell(origin, first, end, pd.Timedelta(0), "looks like an anomaly", "what is scored or the week before it")


def tell_changes_at_gaps(origin: Origin, entries: Iterable[Entry]) -> None:
    """Warn where clocks change within a gap of series, or in the week before or after it."""
    if not _in_utc(origin):
        return
    edges = [np.zeros((0, 2), dtype=np.int64)]
    for entry in entries:
        places = runs(np.isnan(entry["target"])) - [0, 1]
        edges.append(entry["start"].ordinal + places * entry["start"].freq.n)
    found = np.unique(np.concatenate(edges), axis=0)
    if len(found):
        made = pd.PeriodIndex.from_ordinals  # type: ignore[attr-defined]  # the stubs lack it
        first, last = (made(ordinals, freq=entry["start"].freq) for ordinals in found.T)
        _tell(origin, first, last, _LEARNT, "is filled an hour off", "a gap or within a week of it")


def _in_utc(origin: Origin) -> bool:
    return origin.zone.tz is not None and not origin.zone.days


def _tell(
    origin: Origin, first: pd.PeriodIndex, last: pd.PeriodIndex, after: pd.Timedelta, done: str, where: str
) -> None:
    """Warn of the first change in a stretch of periods, the week before it, or so long after it."""
    zone = origin.zone
    assert zone.tz is not None
    begin = first.to_timestamp() - zone.minutes - _LEARNT
    end = last.to_timestamp() - zone.minutes + after
    changes = offset_changes(begin.min(), end.max(), zone.tz)
    met = next((time for time in changes if ((begin < time) & (time <= end)).any()), None)
    if met is not None:
        local = f"df[{origin.timestamp!r}].dt.tz_localize(None)"
        tell(
            f"the clocks of {zone.tz} change at {met.tz_localize('UTC').tz_convert(zone.tz)}, in {where}, and hours "
            f"are counted in UTC: what keeps to the local clock {done} for some days. If this does, "
            f"give local times without their zone, {local}, and the mean of those that come twice"
        )


def offset_changes(first: pd.Timestamp, last: pd.Timestamp, tz: tzinfo) -> list[pd.Timestamp]:
    """The hours, naive in UTC, from which on a zone's offset from UTC is another, after `first` and up to `last`."""
    hours = pd.date_range(first.floor("h"), last, freq="h")
    local = hours.tz_localize("UTC").tz_convert(tz).tz_localize(None)
    changed = np.flatnonzero(np.diff((local - hours).to_numpy().astype(np.int64)))
    return hours[changed + 1].tolist()
