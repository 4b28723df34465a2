"""Changes of the clocks near a forecast: series are counted in UTC, and what keeps to the local clock moves in it."""

from __future__ import annotations

from datetime import tzinfo

import numpy as np
import pandas as pd

from shared.console.notes import tell
from tsdiff.data.frequency import quiet
from tsdiff.data.series import SeriesSet

_LEARNT = pd.Timedelta(days=7)
"""After so long a model has seen how the season lies since a change."""


def tell_changes(series: SeriesSet, steps: int) -> None:
    """Warn where clocks change within a forecast of so many steps after the series' ends, or in the week before it.

    Series of days and coarser steps are counted in local days, and no change concerns them.
    """
    zone = series.origin.zone
    if zone.tz is None or zone.days:
        return
    with quiet():
        ends = pd.PeriodIndex([entry["start"] + np.shape(entry["target"])[-1] for entry in series]).unique()
        ahead = ends.shift(steps - 1).to_timestamp()
    first, last = ends.to_timestamp() - zone.minutes - _LEARNT, ahead - zone.minutes
    changes = offset_changes(first.min(), last.max(), zone.tz)
    met = [time for time in changes if ((first < time) & (time <= last)).any()]
    if met:
        time = series.origin.timestamp
        tell(
            f"the clocks of {zone.tz} change at {met[0].tz_localize('UTC').tz_convert(zone.tz)}, in a forecast or the "
            "week before it, and hours are counted in UTC: what keeps to the local clock is forecast an hour off for "
            f"some days. If this does, give local times without their zone, df[{time!r}].dt.tz_localize(None), and the "
            "mean of those that come twice"
        )


def offset_changes(first: pd.Timestamp, last: pd.Timestamp, tz: tzinfo) -> list[pd.Timestamp]:
    """The hours, naive in UTC, from which on a zone's offset from UTC is another, after `first` and up to `last`."""
    hours = pd.date_range(first.floor("h"), last, freq="h")
    local = hours.tz_localize("UTC").tz_convert(tz).tz_localize(None)
    changed = np.flatnonzero(np.diff((local - hours).to_numpy().astype(np.int64)))
    return hours[changed + 1].tolist()
