"""Frequencies: one spelling for all of them, inference from timestamps, and the usual seasons."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from shared.errors import DataError

EXAMPLES = "h, 15min, D, B (business days), W, M, Q, Y"
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

# Months by which the end of a period lies after the month that a "start" frequency names.
_CALENDAR = {"MS": ("M", 0), "ME": ("M", 0), "BMS": ("M", 0), "BME": ("M", 0)}
_CALENDAR |= {"QE": ("Q", 0), "BQE": ("Q", 0), "QS": ("Q", 2), "BQS": ("Q", 2)}
_CALENDAR |= {"YE": ("Y", 0), "BYE": ("Y", 0), "YS": ("Y", 11), "BYS": ("Y", 11)}
# Offsets without periods of their own that date each period of another: holidays become missing days.
_DATES_OF = {"C": "B", "CBMS": "M", "CBME": "M", "WOM": "M", "LWOM": "M"}
_SECOND = 10**9  # in the nanoseconds of a timestamp
_TICKS = ("D", "h", "min", "s", "ms", "us", "ns")
_DAY = pd.Timedelta(days=1)
_EDGE = 6  # days at either end of a month of which one is a working day
_MOST_BETWEEN = 8  # steps of a grid from one of some times to the next, usually, so that it may be theirs
_USUAL = {
    "s": pd.Timedelta("1s"),
    "min": pd.Timedelta("1min"),
    "5min": pd.Timedelta("5min"),
    "15min": pd.Timedelta("15min"),
    "30min": pd.Timedelta("30min"),
    "h": pd.Timedelta("1h"),
    "12h": pd.Timedelta("12h"),
    "D": _DAY,
    "W": 7 * _DAY,
    "M": 30.4 * _DAY,
    "Q": 91.3 * _DAY,
    "Y": 365.25 * _DAY,
}
"""Frequencies that most series have, and their steps."""

# Steps in one unit of the base frequency: the primary season first.
_SEASONS: dict[str, tuple[int, ...]] = {
    "s": (3600, 86_400),
    "min": (1440, 10_080),
    "h": (24, 168),
    "D": (7, 365),
    "B": (5, 260),
    "W": (52,),
    "M": (12,),
    "Q": (4,),
    "Y": (),
}


@contextmanager
def quiet(*others: type[Warning]) -> Iterator[None]:
    """Silence pandas' notices about old spellings and business-day periods, which no caller can act on, and others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for kind in others:
            warnings.simplefilter("ignore", kind)
        yield


def _split(freq: str) -> tuple[int, str]:
    """Split a normalised frequency such as "2W-SUN" into (2, "W-SUN")."""
    match = re.fullmatch(r"(\d*)(\D.*)", freq)
    if match is None:
        raise DataError(f"frequency {freq!r} cannot be understood; use for example {EXAMPLES}")
    return int(match[1] or 1), match[2]


def normalise_freq(freq: str | pd.offsets.BaseOffset) -> str:
    """Give the spelling that `pd.Period` of the installed pandas wants.

    Old and new spellings are accepted alike: "H" and "h", "T" and "min", "M", "ME" and "MS", "Q", "QE" and
    "QS-OCT", "A", "Y" and "YE", all with a multiple ("15T", "2h"); steps below a day are told in the largest unit that
    they are whole numbers of, hours at most: "60min" and "3600s" are "h". Days are no 24 hours, which may begin at any
    time. Business months, custom business days and the like become the months or business days that they date; holidays
    are then missing values.

    Args:
        freq: A frequency string or a pandas offset.

    Returns:
        The normalised frequency, for example "h", "15min", "W-SUN", "M", "Q-DEC".

    Raises:
        DataError: The frequency is unknown, not positive, longer than times can be, or has no regular periods.
    """
    with quiet():
        try:
            offset = to_offset(freq)
        except (ValueError, TypeError, OverflowError):
            offset = None
        if offset is None:
            raise DataError(f"unknown frequency {freq!r}; use for example {EXAMPLES}")
        if offset.n < 1:
            raise DataError(f"frequency {freq!r} is not positive; use for example {EXAMPLES}")
        name, _, anchor = _split(offset.freqstr)[1].partition("-")
        count = offset.n
        if name in _TICKS[1:]:
            try:
                count, name = _in_largest_unit(offset.n * pd.Timedelta(f"1{name}"))
            except OverflowError:
                raise DataError(f"frequency {freq!r} is too long a step; use for example {EXAMPLES}") from None
        if name in _CALENDAR:
            base, shift = _CALENDAR[name]
            if anchor:
                month = (MONTHS.index(anchor) + shift) % 12
                # Quarters that start in January, April, … are one grid: name it as pandas does, Q-DEC.
                base += f"-{MONTHS[9 + month % 3 if base == 'Q' and shift else month]}"
        elif name in _DATES_OF:
            base = _DATES_OF[name]
        elif name in _TICKS or name in ("B", "W"):
            base = f"{name}-{anchor}" if anchor else name
        else:
            raise DataError(
                f"frequency {freq!r} has no regular periods; resample to one of {EXAMPLES}, or give a finer one, such"
                " as 'h' for business hours: the steps in between become missing values"
            )
        return str(pd.Period("2000-01-03", freq=f"{count if count > 1 else ''}{base}").freqstr)


def _in_largest_unit(step: pd.Timedelta) -> tuple[int, str]:
    """A step as a whole number of the largest unit below a day: 120 minutes as (2, "h")."""
    unit = next(unit for unit in _TICKS[1:] if not step % pd.Timedelta(f"1{unit}"))
    return int(step // pd.Timedelta(f"1{unit}")), unit


def freq_of(period: pd.Period) -> str:
    """The normalised frequency of a period, in whichever way that spells it."""
    return _known(period.freqstr)


_known = cache(normalise_freq)


def base_freq(freq: str) -> str:
    """The unit of a normalised frequency, without multiple and anchor: "15min" → "min", "W-MON" → "W"."""
    return _split(freq)[1].partition("-")[0]


def unit_freq(freq: str) -> str:
    """A normalised frequency without its multiple: "2W-MON" → "W-MON"."""
    return _split(freq)[1]


def multiple(freq: str) -> int:
    """How many units one step of a normalised frequency has: "15min" → 15."""
    return _split(freq)[0]


def candidate_seasons(freq: str) -> tuple[int, ...]:
    """Lags worth trying for a seasonal-naive forecast, in steps, the primary season first and 1 last.

    Hourly 24 and 168, daily 7 and 365, business days 5 and 260, weekly 52, monthly 12, quarterly 4, minutes
    and seconds likewise a day and a week, or an hour and a day. Of a multiple such as "15min" only the lags
    that are whole numbers of steps are kept. Multiples of seven days count as weeks.

    Args:
        freq: A frequency in any pandas spelling.

    Raises:
        DataError: The frequency is unknown.
    """
    freq = normalise_freq(freq)
    steps, base = multiple(freq), base_freq(freq)
    if base == "D" and steps % 7 == 0:
        steps, base = steps // 7, "W"
    lags = [lag // steps for lag in _SEASONS.get(base, ()) if lag % steps == 0]
    return (*(lag for lag in lags if lag > 1), 1)


def infer_freq(stamps: pd.DatetimeIndex) -> str | None:
    """Infer the normalised frequency of one series that may have gaps.

    Args:
        stamps: Sorted, distinct timestamps without a time zone.

    Returns:
        The frequency, or None when there are fewer than three timestamps or their steps fit no frequency.
    """
    if len(stamps) < 3:
        return None
    stamps = stamps.as_unit("ns")
    found = _infer_regular(stamps)
    if found is not None:
        return found
    gaps: np.ndarray = np.diff(stamps.to_numpy().astype(np.int64))
    steps, counts = np.unique(gaps, return_counts=True)
    step = int(steps[counts.argmax()])
    day = 86_400 * _SECOND
    if step == day and not (stamps.dayofweek >= 5).any() and gaps.sum() >= 7 * day:
        return "B"
    found = _infer_business(stamps)
    if found is not None:
        return found
    found = _infer_regular(_longest_run(stamps, gaps, 1.5 * step))
    if found is not None:
        return found
    months = _dated_alike(stamps)
    if months is not None:
        return infer_freq(months)
    delta = pd.Timedelta(step, unit="ns")
    with quiet():
        offset = to_offset(delta)  # type: ignore[call-overload]  # the stubs know only strings
    # A step of about a month that no calendar frequency explains would come out as "31D": no grid at all.
    on_grid = offset is not None and not (gaps % step).any()
    if on_grid and step == 7 * day:
        return normalise_freq(f"W-{stamps[0]:%a}".upper())
    return normalise_freq(offset) if offset is not None and (on_grid or delta < pd.Timedelta(days=8)) else None


def common_freq(stamps: pd.DatetimeIndex) -> str | None:
    """The normalised frequency on whose grid sorted, distinct times all lie, as Mondays, Wednesdays and Fridays do on
    that of days; None where the usual step from one to the next is many of its steps."""
    gaps = np.diff(stamps.as_unit("ns").to_numpy().astype(np.int64))
    step = int(np.gcd.reduce(gaps)) if len(gaps) else 0
    if not step or np.median(gaps) > _MOST_BETWEEN * step:
        return None
    with quiet():
        return normalise_freq(to_offset(pd.Timedelta(step, unit="ns")))  # type: ignore[call-overload]


def odd(freq: str) -> bool:
    """Whether a normalised frequency is a time that does not divide a day, as irregular timestamps seem to have."""
    unit = base_freq(freq)
    return unit in _TICKS[1:] and bool(_DAY % (multiple(freq) * pd.Timedelta(f"1{unit}")))


def usual_freq(step: pd.Timedelta) -> str:
    """The usual frequency whose step is nearest to this one, by their ratio."""
    return min(_USUAL, key=lambda freq: abs(np.log(_USUAL[freq] / step)))


def resampled_freq(freq: str) -> str:
    """A normalised frequency as `resample` of pandas takes it: "Q-JAN" → "QE-JAN"."""
    base = base_freq(freq)
    return freq.replace(base, f"{base}E", 1) if base in ("M", "Q", "Y") else freq


def _infer_regular(stamps: pd.DatetimeIndex) -> str | None:
    if len(stamps) < 3:
        return None
    with quiet():
        found = pd.infer_freq(stamps)
    if found is not None and found.startswith("WOM") and (np.diff(stamps.month) % 12 != 1).any():
        return None  # pandas takes quarters of 13 weeks for months
    try:
        return None if found is None else normalise_freq(found)
    except DataError:
        return None


def _infer_business(stamps: pd.DatetimeIndex) -> str | None:
    """Every second, third, … business day, which falls on all five of them and never on a weekend."""
    if len(set(stamps.dayofweek)) != 5 or (stamps.dayofweek >= 5).any() or (stamps != stamps.normalize()).any():
        return None
    days = stamps.to_numpy().astype("datetime64[D]")
    steps = np.busday_count(days[:-1], days[1:])
    step = int(steps.min())
    return f"{step}B" if step > 1 and not (steps % step).any() else None


def _dated_alike(stamps: pd.DatetimeIndex) -> pd.DatetimeIndex | None:
    """Months by their first or last day, of stamps that name one day of all months, such as the 15th, or a working day
    at their beginning or end, holidays or not; None of others, and of what is dated so already."""
    one_day = (stamps.day == np.minimum(stamps.day.max(), stamps.days_in_month)).all()
    left = stamps.days_in_month - stamps.day
    at_end = bool((left < _EDGE).all())
    if not one_day and not ((at_end or (stamps.day <= _EDGE).all()) and (stamps.dayofweek < 5).all()):
        return None
    months = stamps.to_period("M").to_timestamp(how="end" if at_end else "start").normalize()
    return months if months.is_unique and (months != stamps).any() else None


def _longest_run(stamps: pd.DatetimeIndex, gaps: np.ndarray, limit: float) -> pd.DatetimeIndex:
    """The longest stretch of `stamps` in which no step is above `limit`."""
    breaks = np.flatnonzero(gaps > limit) + 1
    starts, stops = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(stamps)]])
    best = int((stops - starts).argmax())
    return stamps[starts[best] : stops[best]]


def shifted(start: pd.Period, steps: int) -> pd.Period:
    """The period `steps` after `start`; without pandas' notice about business days, which no caller can act on."""
    with quiet():
        return start + steps


def steps_between(start: pd.Period, other: pd.Period) -> int | None:
    """Steps from one period to another of the same frequency, below 0 where it is earlier; None where they lie on
    different grids, as hours from 0:00 and from 1:00 by twos do."""
    units = other.ordinal - start.ordinal
    steps, rest = divmod(units, start.freq.n)
    return None if rest else int(steps)
