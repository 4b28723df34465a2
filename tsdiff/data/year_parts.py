"""Texts that name parts of years: quarters, months by name or of statistical offices, and weeks of ISO 8601."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shared.errors import DataError

_NAME = (
    "(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?)"
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

PART_OF_YEAR = (
    r"(?:\d{4}[-: ]?[Qq][1-4]|[Qq][1-4][-/ ']?(?:\d{4}|\d\d)|(?:19|20)\d{2}-?(?:[Mm](?:1[0-2]|0?[1-9])|W[0-5]\d[1-7]?)|"
    rf"{_NAME}[-/ .,']+\d{{1,4}}|\d{{1,4}}[-/ .]*{_NAME})\b"
)
"""What such texts begin like."""

_QUARTERS = (r"\s*(?P<year>\d{4})[-: ]?[Qq](?P<part>[1-4])\s*", r"\s*[Qq](?P<part>[1-4])[-/ ']?(?P<year>\d{4}|\d\d)\s*")
_NAMED = (
    rf"\s*(?P<month>{_NAME})[-/ .,']*(?P<number>\d{{4}}|\d\d?)\s*",
    rf"\s*(?P<number>\d{{4}}|\d\d?)[-/ .]*(?P<month>{_NAME})\.?\s*",
)
_MONTH = r"\s*(?P<year>\d{4})-?[Mm](?P<part>1[0-2]|0?[1-9])\s*"
_WEEK = r"\s*(\d{4})-?W(\d{2})(?:-?([1-7]))?\s*"
_FIRST_SHORT = 30
"""The year of two digits from which on spreadsheets take them for the last century's."""
_SIX_DIGITS = r"\s*\d{6}\s*"


def first_days(values: pd.Series, name: str) -> pd.DatetimeIndex | None:
    """The first days of parts of years; None of other texts.

    Args:
        values: texts: quarters, 2024Q1, 2024-Q1, 2024 Q1, 2024:Q1, Q1 2024 or Q1-24; months, 2024M01, Jan 2024,
            Jan-24 or 24-Jan; or weeks, 2024-W05, or days of them, 2024-W05-3. Years of two digits are 1930 to 2029, as
            in spreadsheets.
        name: the column's, for messages.

    Raises:
        DataError: a week that its year has not, or what may be a month or a day: six digits alone, or Jan-24 where such
            months do not follow each other.
    """
    for pattern, months in (*((quarter, 3) for quarter in _QUARTERS), (_MONTH, 1)):
        if values.str.fullmatch(pattern).all():
            found = values.str.extract(pattern)
            month = (found["part"].astype(int) - 1) * months + 1
            return _months(found["year"], month)
    for pattern in _NAMED:
        if values.str.fullmatch(pattern).all():
            return _of_named_months(values, values.str.extract(pattern), name)
    if values.str.fullmatch(_SIX_DIGITS).all():
        raise DataError(
            f"column {name!r}: {values.iloc[0]!r} may be a month or a day; convert it first, for example with "
            f"pd.to_datetime(df[{name!r}], format='%Y%m')"
        )
    return _of_weeks(values, name) if values.str.fullmatch(_WEEK).all() else None


def _of_named_months(values: pd.Series, found: pd.DataFrame, name: str) -> pd.DatetimeIndex:
    """Months by their names and years, of four digits or of two, which may be days."""
    month = found["month"].str[:3].str.lower().map(MONTHS.index) + 1
    short = found["number"].str.len() < 4
    if short.any() and not _are_years(month[short], found["number"][short].astype(int)):
        raise DataError(
            f"column {name!r}: {values[short].iloc[0]!r} may be a day without a year, or a month; convert it first: "
            f"days with pd.to_datetime(df[{name!r}] + ' 2024'), the year being yours, months by years of four digits"
        )
    return _months(found["number"], month)


def _months(year: pd.Series, month: pd.Series) -> pd.DatetimeIndex:
    """The first days of months, of years of four digits or fewer."""
    number = year.astype(int)
    number += np.where(year.str.len() < 4, np.where(number < _FIRST_SHORT, 2000, 1900), 0)
    return pd.DatetimeIndex(pd.to_datetime(number.astype(str) + "-" + month.astype(str), format="%Y-%m"))


def _are_years(month: pd.Series, number: pd.Series) -> bool:
    """Whether numbers of one or two digits beside months are years: where one can be no day, or where months follow
    each other beside the same number, as days do within a month."""
    if not number.between(1, 31).all():
        return True
    own = pd.DataFrame({"month": month, "number": number}).drop_duplicates()
    return len(own) > 1 and (own["number"].diff() == 0).sum() >= (len(own) - 1) / 2


def _of_weeks(values: pd.Series, name: str) -> pd.DatetimeIndex:
    """Weeks by their Mondays, or days of them."""
    year, week, day = (part for _, part in values.str.extract(_WEEK).items())
    days = pd.to_datetime(year + "-W" + week + "-" + day.fillna("1"), format="%G-W%V-%u", errors="coerce")
    wrong = days.isna() | (days.dt.strftime("%G") != year)  # pandas takes week 53 of a year of 52 for the next one's
    if wrong.any():
        bad = values[wrong].iloc[0]
        raise DataError(f"column {name!r}: {bad!r} is no week of its year; weeks are those of ISO 8601, 2024-W05")
    return pd.DatetimeIndex(days)
