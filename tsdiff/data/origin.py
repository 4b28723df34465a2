"""What a table called things, so that results are written in its own terms: names, ids, time zone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo

import numpy as np
import pandas as pd

from shared.console.notes import tell


@dataclass(frozen=True)
class Zone:
    """The time zone of a table's timestamps, and how series, which know none, count time.

    Attributes:
        tz: The zone; None where timestamps had none, or no single one.
        days: Whether series are in local days, as those of daily and coarser data are; otherwise they are in UTC.
        minutes: Added to UTC, so that whole hours are whole hours in zones of half hours too; below an hour.
        within: How far all timestamps lie within their periods, as hours dated at half past.
        months: How many months all timestamps lie after those of their quarters or years, as of quarters that are given
            as such and begin in February; below 0 where they lie before, None where they lie as `within` tells alone.
        month_end: Whether that leads to a month's last day; otherwise to its first.
    """

    tz: tzinfo | None = None
    days: bool = False
    minutes: timedelta = timedelta(0)
    within: timedelta = timedelta(0)
    months: int | None = None
    month_end: bool = False

    def restored(self, stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Naive timestamps of series in the table's zone, and where they were within their periods.

        A local day begins where its midnight would be; where clocks skip that time, it begins right after, and where
        they have it twice, at the first: a warning names the day.
        """
        if self.months is not None:
            months = stamps.to_period("M").shift(self.months)
            stamps = months.to_timestamp(how="end" if self.month_end else "start").normalize()
        stamps = stamps + self.within if self.within else stamps
        if self.tz is None:
            return stamps
        if not self.days:
            return (stamps - self.minutes).tz_localize("UTC").tz_convert(self.tz)
        first, second = local_times(stamps, self.tz)
        for odd, what in ((first != second, "is twice"), (first.tz_localize(None) != stamps, "is not")):
            if odd.any():
                place = int(np.flatnonzero(odd)[0])
                tell(
                    f"the time {stamps[place]} {what} in zone {self.tz}, where clocks change; {first[place]} is given "
                    "for it"
                )
        return first

    def told(self, stamp: pd.Timestamp) -> str:
        """A naive timestamp of a series as the table has it, for messages."""
        if self.tz is None or self.days:
            return str(stamp)
        return str(self.restored(pd.DatetimeIndex([stamp]))[0])


def local_times(stamps: pd.DatetimeIndex, tz: tzinfo) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Naive local timestamps with their zone: the first and the second of those that clocks have twice; of those that
    they skip, the time after."""
    summer = np.ones(len(stamps), dtype=bool)
    one, other = (stamps.tz_localize(tz, ambiguous=is_dst, nonexistent="shift_forward") for is_dst in (summer, ~summer))
    return one.where(one <= other, other), other.where(one <= other, one)


@dataclass(frozen=True)
class Origin:
    """Names, ids and time zone of the table that series came from.

    Attributes:
        item_id, timestamp, target: Its columns; these names where it had none.
        labels: Its ids, in their own dtype, by the names of the series; None where it had none.
        zone: Of its timestamps.
        unused: Its columns that nothing was made of.
        ahead: Those of them that hold numbers, and are known in the rows after the last values.
        dynamic: Its columns of covariates, in the order of feat_dynamic_real's rows.
        reals: Its static columns of numbers, in the order of feat_static_real.
    """

    item_id: str = "item_id"
    timestamp: str = "timestamp"
    target: str = "target"
    labels: pd.Series | None = field(default=None, compare=False)
    zone: Zone = field(default_factory=Zone)
    unused: tuple[str, ...] = field(default=(), compare=False)
    ahead: tuple[str, ...] = field(default=(), compare=False)
    dynamic: tuple[str, ...] = field(default=(), compare=False)
    reals: tuple[str, ...] = field(default=(), compare=False)

    def restored(self, frame: pd.DataFrame, times: Sequence[str] = ("timestamp",)) -> pd.DataFrame:
        """A table of results in the terms of the source.

        Args:
            frame: Columns "item_id" (names of series) and `times` (naive), perhaps "value" (of the target); not
                changed.
            times: Columns of timestamps.

        Returns:
            The same with the source's ids, zone and names of columns; a name that another column of the results has is
            not taken.
        """
        made = frame.copy(deep=False)
        if self.labels is not None and len(made):
            made["item_id"] = self.labels.loc[made["item_id"]].array
        for name in times:
            if name in made.columns and len(made):
                made[name] = self.zone.restored(pd.DatetimeIndex(made[name]))
        wanted = {"item_id": self.item_id, "timestamp": self.timestamp, "value": self.target}
        free = {ours: theirs for ours, theirs in wanted.items() if theirs not in made.columns}
        return made.rename(columns=free)
