"""Timestamps: from whatever a column holds to naive datetimes, and from those to places on a grid."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from shared.errors import DataError
from tsdiff.data.frequency import base_freq, common_freq, multiple, odd, quiet, resampled_freq, unit_freq, usual_freq
from tsdiff.data.grids import CALENDAR, off_grid, units_after
from tsdiff.data.origin import Zone, local_times
from tsdiff.data.year_parts import PART_OF_YEAR, first_days

Stamp = Literal["start", "end", "first workday", "last workday"]
"""Which day of their period timestamps name."""

_DAY_MONTH = re.compile(r"^\s*(\d{1,2})([/.\-])(\d{1,2})[/.\-]\d{2,4}\b")
_DATE = re.compile(rf"\s*(\d{{4}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}|{PART_OF_YEAR})")
_TIME_OF_DAY = r"\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*"
_YEAR_AND_WEEK = re.compile(r"\D*\d{4}[\W_]+[1-5]\d\D*|\D*[1-5]\d[\W_]+\d{4}\D*")
_WORD = re.compile(r"[^\W\d_]{3}")
_FEW = 100
"""Texts that tell whether a column holds dates."""
_EARLIEST, _LATEST = 1678, 2261
_FORMATS, _UNITS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}, {13: "ms", 16: "us", 19: "ns"}
"""What numbers of so many digits usually are as dates, and as times since 1970."""
_MONTHS = 12
_SECONDS_FROM = 9
"""Digits of seconds since 1970; numbers of fewer count steps, as in the M competitions."""

_DATED_AT_END = (*CALENDAR, "W")
_DAYS = (*_DATED_AT_END, "D", "B")
_OFFSET = re.compile(r"\s*(Z|UTC|[+-]\d{2}:?\d{2})$")
# A series this much longer than its rows comes from a broken timestamp, not from a gap.
_SPARSE_RATIO, _SPARSE_LENGTH = 100, 100_000


def parse_timestamps(values: pd.Series, name: str, freq: str | None = None) -> tuple[pd.DatetimeIndex, Zone, list[str]]:
    """Read a column of timestamps.

    Times with a zone become naive UTC, in which hours and finer steps are regular whatever clocks do. Those of daily
    and coarser data become naive local days, because UTC would move them to another day, and days of 23 and 25 hours
    would be irregular.

    Args:
        values: Strings, dates, datetimes (with or without a zone) or periods; any length.
        name: The column's name, for messages.
        freq: The frequency, normalised; None takes times that are the same time of day in their zone for days.

    Returns:
        Naive timestamps in the order of `values`, the zone that leads back, and notes on what was changed.

    Raises:
        DataError: Numbers, missing values, text that is no date, or day and month that cannot be told apart.
    """
    if isinstance(values.dtype, pd.PeriodDtype):
        try:
            values = values.dt.to_timestamp()
        except pd.errors.OutOfBoundsDatetime as error:
            raise _beyond(name) from error
    if pd.api.types.is_numeric_dtype(values.dtype):
        first = next(iter(values.dropna()), 0)
        digits = len(f"{first:.0f}")
        way = f"df[{name!r}], unit={_UNITS.get(digits, 's')!r})"
        if digits == 4 and first != int(first):  # 2024.09, and 2024.1 for October
            way = f"df[{name!r}].map('{{:.2f}}'.format), format='%Y.%m')"
        elif digits == 6 and (values.dropna() % 100 > _MONTHS).any():  # 202053
            way = f"df[{name!r}].astype('Int64').astype(str) + '1', format='%G%V%u'), if these are weeks of ISO 8601"
        elif digits in _FORMATS:
            way = f"df[{name!r}].astype('Int64').astype(str), format={_FORMATS[digits]!r})"
        elif digits < _SECONDS_FROM:
            way = f"df[{name!r}], unit='D'), which makes days of numbered steps"
        raise DataError(
            f"column {name!r} holds numbers (first: {first}), whose unit as a time is unknown; convert it first, for "
            f"example with pd.to_datetime({way}"
        )
    missing = np.flatnonzero(values.isna().to_numpy())
    if missing.size:
        raise DataError(
            f"column {name!r} has {missing.size} missing timestamps, the first in row {missing[0]}; drop those rows"
        )
    try:
        parsed = _to_datetime(values, name).as_unit("ns")
    except pd.errors.OutOfBoundsDatetime as error:
        raise _beyond(name) from error
    if parsed.tz is None:
        return parsed, Zone(), []
    offsets = _offsets_differ(values)
    clock = _clock(values) if offsets else parsed.tz_localize(None)
    days = _local_days(clock, None if offsets else parsed)
    if freq is not None:
        keeps_days = base_freq(freq) in _DAYS
        days = clock if keeps_days and days is None else days
    else:
        keeps_days = days is not None and days.normalize().nunique() > 1
    if keeps_days and days is not None:
        lost = f"column {name!r} has several offsets and no zone; its local calendar days are kept, without a zone"
        return days, Zone() if offsets else Zone(parsed.tz, days=True), [lost] * offsets
    lost = f"column {name!r} has several offsets and no zone; its times are in UTC"
    utc = parsed.tz_convert("UTC").tz_localize(None)
    minutes = pd.Timedelta(0)
    if (utc != utc.floor("h")).any():  # otherwise hours of UTC, which a zone of half hours has at half past
        minutes = pd.Timedelta((clock[0] - utc[0]) % pd.Timedelta("1h"))
    return utc + minutes, Zone(parsed.tz, minutes=minutes), [lost] * offsets


def _beyond(name: str) -> DataError:
    return DataError(f"column {name!r} holds times outside the years 1678 to 2261; leave those rows out")


def looks_dated(values: pd.Series | pd.Index) -> bool:
    """Whether a column or an index holds dates: as such, or as texts that begin like one."""
    if isinstance(values.dtype, pd.PeriodDtype | pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return True
    some = values.dropna()[:_FEW]
    return bool(len(some)) and all(map(is_date, some))


def is_date(value: object) -> bool:
    """Whether a value is a date, or a text that begins like one."""
    return isinstance(value, date | pd.Period) or (isinstance(value, str) and _DATE.match(value) is not None)


def years(values: pd.Series) -> pd.Series | None:
    """A column of whole numbers that may be years, as dates; None of others."""
    if not pd.api.types.is_integer_dtype(values.dtype) or not values.between(_EARLIEST, _LATEST).all():
        return None
    return pd.to_datetime(values.astype(str), format="%Y")


def _offsets_differ(values: pd.Series) -> bool:
    """Whether times name their offsets from UTC, and not all the same, as text with the clocks' changes does."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return False
    return values.map(_offset).nunique() > 1


def _offset(value: object) -> str:
    found = _OFFSET.search(value) if isinstance(value, str) else None
    return found[1] if found else str(getattr(value, "tzinfo", None))


def _clock(values: pd.Series) -> pd.DatetimeIndex:
    """What the clocks showed, without the offsets."""
    bare = values.map(lambda v: _OFFSET.sub("", v) if isinstance(v, str) else v.replace(tzinfo=None))
    return pd.DatetimeIndex(pd.to_datetime(bare, format="ISO8601" if isinstance(bare.iloc[0], str) else None))


def _local_days(clock: pd.DatetimeIndex, zoned: pd.DatetimeIndex | None) -> pd.DatetimeIndex | None:
    """Local times that are at one time of day, or would be if clocks had it; None for others."""
    of_day = clock - clock.normalize()
    usual = clock.normalize() + pd.Timedelta(of_day.value_counts().idxmax())
    if (usual == clock).all():
        return usual
    if zoned is None or zoned.tz is None:
        return None
    first, second = local_times(usual, zoned.tz)
    return usual if ((first == zoned) | (second == zoned)).all() else None


def _to_datetime(values: pd.Series, name: str) -> pd.DatetimeIndex:
    if isinstance(values.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(values.dtype):
        return pd.DatetimeIndex(values)
    if values.map(lambda value: isinstance(value, pd.Period)).all():
        return pd.DatetimeIndex([period.to_timestamp() for period in values])
    attempts: list[dict[str, object]] = [{}, {"utc": True}]
    if values.map(lambda value: isinstance(value, str)).all():
        if len(values) and re.fullmatch(_TIME_OF_DAY, values.iloc[0]):  # which pandas takes for times of today
            raise DataError(
                f"column {name!r} holds times of day without a date (first: {values.iloc[0]!r}); write timestamps as "
                "2024-01-31 18:00, in one column"
            )
        if (days := first_days(values, name)) is not None:
            return days
        iso: dict[str, object] = {"format": "ISO8601"}
        attempts = [{"dayfirst": _day_first(values, name)}, iso, {**iso, "utc": True}]
    elif (odd := next((v for v in values if isinstance(v, (int, float, np.number))), None)) is not None:
        raise DataError(f"column {name!r} mixes dates and numbers (first: {odd!r}); convert it with pd.to_datetime")
    for options in attempts:
        try:
            with quiet(UserWarning):  # that it parses one by one
                parsed = pd.to_datetime(values, **options)  # type: ignore[call-overload]
            if parsed.dtype != object:
                return pd.DatetimeIndex(parsed)
        except (ValueError, TypeError):
            continue
    bad = _first_bad(values)
    text, more = str(bad), ""
    if _YEAR_AND_WEEK.fullmatch(text):
        more = ", weeks of ISO 8601 as 2024-W05"
    elif _WORD.search(text):
        more = ", months by their numbers or in English"
    raise DataError(f"column {name!r}: {bad!r} is not a date; write timestamps as 2024-01-31 18:00{more}")


def _first_bad(values: pd.Series) -> object:
    with quiet():
        bad = pd.to_datetime(values, errors="coerce", format="mixed", utc=True).isna().to_numpy()
    other = bad & ~values.map(is_date).to_numpy(dtype=bool)
    return values.iloc[int((other if other.any() else bad).argmax())]


def _day_first(values: pd.Series, name: str) -> bool:
    """Whether dates such as 31/01/2024 name the day first; refused where the data cannot tell."""
    matches = [_DAY_MONTH.match(value) for value in values.iloc[:1].tolist() + values.tolist()]
    if matches[0] is None:
        return False
    pairs = [(int(match[1]), int(match[3])) for match in matches if match is not None]
    if any(first > 12 for first, _ in pairs):
        return True
    if any(second > 12 for _, second in pairs):
        return False
    if matches[0][2] == ".":  # who parts them by points writes the day first
        return True
    raise DataError(
        f"column {name!r}: in {values.iloc[0]!r} day and month cannot be told apart; write timestamps as 2024-01-31"
    )


def grid_positions(
    stamps: pd.DatetimeIndex, freq: str, item: str, zone: Zone, resampled: Callable[[str], str]
) -> tuple[np.ndarray, pd.Period]:
    """Place sorted, distinct timestamps on the grid of `freq`.

    Args:
        stamps: Naive timestamps, sorted, no repeats; at least one.
        freq: A normalised frequency.
        item, zone: The series' name and the table's time zone, for messages.
        resampled: The call that brings the table to a frequency, for messages.

    Returns:
        Positions (int64, the first is 0, as long as `stamps`) and the period of the first.

    Raises:
        DataError: A timestamp lies off the grid, or the span is absurdly long for the number of rows.
    """
    with quiet():
        start = pd.Period(stamps[0], freq=freq)
    off = off_grid(stamps, freq)
    if off.any():
        if base_freq(freq) in CALENDAR and (remedy := whole_weeks(stamps)) is not None:
            raise DataError(f"series {item!r}: {remedy}")
        told, usual = f"frequency {freq!r}", freq
        if odd(freq):  # irregular times seem to have such a one
            told, usual = "any usual frequency", usual_freq(pd.Series(stamps).diff().median())
        finer = common_freq(stamps)
        given = "the frequency it has" if finer in (None, freq) else f"freq={finer!r}, whose grid all of them are on"
        raise DataError(
            f"series {item!r}: timestamp {zone.told(stamps[int(off.argmax())])} is not on the grid of {told} that"
            f" starts at {zone.told(stamps[0])}; resample the series, for example with"
            f" {resampled(resampled_freq(usual))}, or give {given}"
        )
    positions = units_after(stamps, freq) // multiple(freq)
    length = int(positions[-1]) + 1
    if length > _SPARSE_LENGTH and length > _SPARSE_RATIO * len(stamps):
        raise DataError(
            f"series {item!r} has {len(stamps)} rows from {zone.told(stamps[0])} to {zone.told(stamps[-1])}, which is"
            f" {length} steps of {freq!r}; check its first and last timestamp or give a coarser frequency"
        )
    return positions, start


def whole_weeks(stamps: pd.DatetimeIndex) -> str | None:
    """What to do about months, quarters or years of whole weeks, as retail calendars have them, for messages; None of
    other timestamps.

    Args:
        stamps: Naive timestamps, sorted, no repeats.
    """
    hours = np.diff(stamps.to_numpy().astype("datetime64[h]")).astype(int)
    weeks = np.unique(hours // 168)
    if not weeks.size or (hours % 168).any() or weeks[0] < 4:
        return None
    days = 7 * int(weeks[0])
    apart = f"timestamps are {' or '.join(map(str, weeks[:2]))} weeks apart"
    if len(weeks) == 1:
        return f"{apart}; give freq='{days}D'"
    unit, half = usual_freq(pd.Timedelta(days=days)), days // 2
    if (stamps + pd.Timedelta(days=half)).to_period(unit).is_unique:
        dates = f"(times + pd.Timedelta(days={half})).dt.to_period({unit!r}).dt.to_timestamp()"
        remedy = f"by what its middle is in, {dates}, with − for + where it is dated by its last day"
    else:
        first = str(stamps[0].date())
        remedy = f"as if all were of {days} days, pd.date_range({first!r}, periods={len(stamps)}, freq='{days}D')"
    return f"{apart}, as in retail calendars; date each period {remedy}"


def stamp_side(stamps: pd.DatetimeIndex, freq: str) -> Stamp:
    """Tell which day of their periods timestamps name.

    Weeks are dated by their last day where all stamps are. Months, quarters and years are dated at their ends where
    every stamp is nearer to it than to the beginning: by the last working day where at least half of the stamps are and
    none is later, so that holidays may come before it. At their beginnings likewise. Those that are all on the same
    day, such as the 28th, are counted from the beginning.
    """
    base = base_freq(freq)
    if base not in _DATED_AT_END:
        return "start"
    periods, days = stamps.to_period(unit_freq(freq)), stamps.normalize()
    first, last = periods.to_timestamp(how="start"), periods.to_timestamp(how="end").normalize()
    if base not in CALENDAR:
        return "end" if (days == last).all() else "start"
    at_end = bool((last - days <= days - first).all())
    edge = last if at_end else first
    worked = _working(edge, at_end)
    within = (days <= worked if at_end else days >= worked).all()
    if within and (days != edge).any() and (days == worked).mean() >= 0.5:
        return "last workday" if at_end else "first workday"
    same_day = bool((days - first == days[0] - first[0]).all()) and bool((days != last).any())
    return "end" if at_end and not same_day else "start"


def _working(days: pd.DatetimeIndex, before: bool) -> pd.DatetimeIndex:
    """The days, or the Fridays before those of weekends, or the Mondays after them."""
    days_of = days.to_numpy().astype("datetime64[D]")
    return pd.DatetimeIndex(np.busday_offset(days_of, 0, roll="backward" if before else "forward")).as_unit(days.unit)


def within_periods(
    series: Mapping[str, pd.DatetimeIndex], freq: str, stamp: Stamp, zone: Zone
) -> tuple[Zone, list[str]]:
    """The zone that gives back timestamps that all lie as far within their periods, such as hours dated at half past;
    or, where they differ in that, the zone as it is and what becomes of them, a line for each series that has some."""
    stamps = pd.DatetimeIndex(np.concatenate(list(series.values())))
    with quiet():
        kept = to_timestamps(stamps.to_period(unit_freq(freq)), stamp)
    for led in (Zone(), *_months_apart(stamps, kept, freq)):
        apart = stamps - led.restored(kept)
        if (apart == apart[0]).all():
            return replace(zone, within=apart[0], months=led.months, month_end=led.month_end), []
    moved = np.flatnonzero(kept != stamps)
    ends = np.cumsum([len(own) for own in series.values()])
    names, (places, first) = list(series), np.unique(np.searchsorted(ends, moved, "right"), return_index=True)
    return zone, [
        f"series {names[place]!r}: timestamps are moved to the {stamp} of their periods ({zone.told(stamps[at])} to "
        f"{zone.told(kept[at])})"
        for place, at in zip(places, moved[first], strict=True)
    ]


def _months_apart(stamps: pd.DatetimeIndex, kept: pd.DatetimeIndex, freq: str) -> list[Zone]:
    """What leads from days of quarters or years to the first or last days of the months that timestamps are in; nothing
    where these differ in how many months they lie apart."""
    if base_freq(freq) not in ("Q", "Y"):
        return []
    months = 12 * (stamps.year - kept.year) + stamps.month - kept.month
    return [Zone(months=int(months[0]), month_end=end) for end in (False, True) if (months == months[0]).all()]


def to_timestamps(periods: pd.PeriodIndex | pd.Series | list[pd.Period], stamp: Stamp = "start") -> pd.DatetimeIndex:
    """Turn periods back into timestamps, at the day that they name in the source.

    Args:
        periods: Any regular periods.
        stamp: Which day; weeks have a first and a last alone, and shorter periods are always dated by their start.

    Raises:
        DataError: One is before 1677-09-21 or after 2262-04-11, beyond pandas' timestamps.
    """
    try:
        with quiet():
            periods = pd.PeriodIndex(periods)
            first = periods.to_timestamp(how="start")
            if stamp == "start" or base_freq(periods.freqstr) not in _DATED_AT_END:
                return first
            if stamp == "first workday":
                return _working(first, before=False)
            last = periods.asfreq(unit_freq(periods.freqstr), how="START").to_timestamp(how="end").normalize()
            return _working(last, before=True) if stamp == "last workday" else last
    except pd.errors.OutOfBoundsDatetime as error:
        raise DataError(
            f"{periods[0]} to {periods[-1]} is not within {pd.Timestamp.min:%Y-%m-%d} to {pd.Timestamp.max:%Y-%m-%d}, "
            "which timestamps hold; take fewer steps, or earlier times"
        ) from error
