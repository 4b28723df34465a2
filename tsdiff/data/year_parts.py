"""Texts that name parts of years: quarters, months of statistical offices, and weeks of ISO 8601."""

from __future__ import annotations

import pandas as pd

from shared.errors import DataError

PART_OF_YEAR = (
    r"(?:\d{4}[-: ]?[Qq][1-4]|[Qq][1-4][-/ ]?\d{4}|(?:19|20)\d{2}-?(?:[Mm](?:1[0-2]|0?[1-9])|W[0-5]\d[1-7]?))\b"
)
"""What such texts begin like."""

_QUARTERS = (r"\s*(?P<year>\d{4})[-: ]?[Qq](?P<part>[1-4])\s*", r"\s*[Qq](?P<part>[1-4])[-/ ]?(?P<year>\d{4})\s*")
_MONTH = r"\s*(?P<year>\d{4})-?[Mm](?P<part>1[0-2]|0?[1-9])\s*"
_WEEK = r"\s*(\d{4})-?W(\d{2})(?:-?([1-7]))?\s*"
_SIX_DIGITS = r"\s*\d{6}\s*"


def first_days(values: pd.Series, name: str) -> pd.DatetimeIndex | None:
    """The first days of parts of years; None of other texts.

    Args:
        values: texts: quarters, 2024Q1, 2024-Q1, 2024 Q1, 2024:Q1 or Q1 2024; months, 2024M01; or weeks, 2024-W05, or
            days of them, 2024-W05-3.
        name: the column's, for messages.

    Raises:
        DataError: a week that its year has not, or six digits alone, which may be a month or a day.
    """
    for pattern, months in (*((quarter, 3) for quarter in _QUARTERS), (_MONTH, 1)):
        if values.str.fullmatch(pattern).all():
            found = values.str.extract(pattern)
            month = (found["part"].astype(int) - 1) * months + 1
            return pd.DatetimeIndex(pd.to_datetime(found["year"] + "-" + month.astype(str), format="%Y-%m"))
    if values.str.fullmatch(_SIX_DIGITS).all():
        raise DataError(
            f"column {name!r}: {values.iloc[0]!r} may be a month or a day; convert it first, for example with "
            f"pd.to_datetime(df[{name!r}], format='%Y%m')"
        )
    return _of_weeks(values, name) if values.str.fullmatch(_WEEK).all() else None


def _of_weeks(values: pd.Series, name: str) -> pd.DatetimeIndex:
    """Weeks by their Mondays, or days of them."""
    year, week, day = (part for _, part in values.str.extract(_WEEK).items())
    days = pd.to_datetime(year + "-W" + week + "-" + day.fillna("1"), format="%G-W%V-%u", errors="coerce")
    wrong = days.isna() | (days.dt.strftime("%G") != year)  # pandas takes week 53 of a year of 52 for the next one's
    if wrong.any():
        bad = values[wrong].iloc[0]
        raise DataError(f"column {name!r}: {bad!r} is no week of its year; weeks are those of ISO 8601, 2024-W05")
    return pd.DatetimeIndex(days)
