"""Times that a series has more than once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shared.errors import DataError
from tsdiff.data.origin import Zone

_NIGHT = (23, 0, 1, 2, 3)
"""Hours that clocks which are put back have twice."""
_APART = pd.Timedelta(days=150)
"""They are so far apart, or farther."""
_IN_A_DAY = (24, 48, 96, 1440)
"""How many hours, half and quarter hours, and minutes a day has."""
_HOUR = np.timedelta64(1, "h")


def check_unique(stamps: pd.DatetimeIndex, item: str, single: bool, zone: Zone) -> None:
    """Raise DataError if sorted `stamps` repeat; `single` says that the table was taken as one series."""
    repeated = stamps.duplicated()
    if not repeated.any():
        return
    first = zone.told(stamps[int(repeated.argmax())])
    hint = "or, if another column tells series apart, too, join it to the ids"
    if single:
        hint = (
            "or, if the table holds several series, name the column that tells them apart (item_id, of frames "
            "id_column, on the command line --id); join several such columns into one"
        )
    if zone.tz is None and _as_of_clocks(stamps):
        hint += (
            "; if clocks were put back then, take the mean of both rows, or give times with their offset from UTC, as "
            f"in {first}+02:00 and {first}+01:00"
        )
    elif (stamps == stamps.normalize()).all() and np.median(stamps.value_counts()) in _IN_A_DAY:
        hint += (
            "; if times of day are in a column of their own, add them to the dates, as hours by pd.to_datetime(date) + "
            "pd.to_timedelta(hour, unit='h')"
        )
    raise DataError(f"series {item!r} has timestamp {first} more than once; aggregate such rows first, {hint}")


def _as_of_clocks(stamps: pd.DatetimeIndex) -> bool:
    """Whether sorted times repeat as where clocks are put back: those of one hour of single nights, each twice."""
    repeated = stamps.duplicated()
    twice = stamps[repeated]
    hours = twice.floor("h").unique()
    nights = twice.is_unique and set(hours.hour) <= set(_NIGHT) and (np.diff(hours) >= _APART).all()
    steps = np.diff(stamps[~repeated])
    return bool(nights) and steps.size > 0 and steps.min() <= _HOUR
