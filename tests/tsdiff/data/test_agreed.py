"""Series of one table whose times seem to differ in frequency."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from shared.errors import DataError
from tsdiff.data import series_from_frame
from tsdiff.data.frequency import infer_freq


def sales(freq: str, ids: int, kept: float = 1.0) -> pd.DataFrame:
    """Sixty steps of each id, of which so many have a row."""
    times = pd.date_range("2024-01-01", periods=60, freq=freq)
    frame = pd.DataFrame({"item_id": np.arange(ids).repeat(60), "timestamp": np.tile(times, ids), "target": 1.0})
    return frame[np.random.default_rng(0).random(len(frame)) < kept]


def short(times: list[str] | pd.DatetimeIndex) -> pd.DataFrame:
    return pd.DataFrame({"item_id": -1, "timestamp": pd.to_datetime(times), "target": 1.0})


@pytest.mark.parametrize(("freq", "found"), [("D", "D"), ("h", "h"), ("W-MON", "W-MON"), ("MS", "M"), ("B", "B")])
def test_rows_of_sales_alone_have_the_frequency_that_most_show(freq: str, found: str) -> None:
    """Of 300 ids with six rows in ten some have no two that are one step apart, or few of them."""
    assert series_from_frame(sales(freq, 300, 0.6)).freq == found


@pytest.mark.parametrize(
    ("freq", "times"),
    [
        ("D", ["2024-02-01", "2024-02-03", "2024-02-05"]),
        ("D", ["2024-02-01", "2024-02-08", "2024-02-15"]),
        ("D", ["2024-02-01", "2024-02-02", "2024-02-05", "2024-02-08"]),
        ("B", ["2024-02-05", "2024-02-06", "2024-02-07"]),
        ("MS", ["2024-01-01", "2024-04-01", "2024-07-01"]),
        ("h", ["2024-01-01", "2024-01-02", "2024-01-03"]),
    ],
)
def test_a_short_series_goes_with_the_others(freq: str, times: list[str]) -> None:
    frame = pd.concat([sales(freq, 5), short(times)])
    assert series_from_frame(frame).freq == series_from_frame(sales(freq, 5)).freq


@pytest.mark.parametrize(
    "other",
    [
        short(pd.date_range("2024-01-01", periods=8, freq="2D")),
        short(["2024-01-01 06:00", "2024-01-01 07:00", "2024-01-01 08:00"]),
        pd.concat([short(pd.date_range("2024-01-01", periods=7, freq="2D")).assign(item_id=n) for n in range(-9, 0)]),
    ],
    ids=["enough rows", "off the grid", "many of them"],
)
def test_series_that_do_differ_are_refused(other: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="the series differ in frequency"):
        series_from_frame(pd.concat([sales("D", 5), other]))


def test_weeks_with_gaps_are_weeks_of_their_weekday() -> None:
    assert infer_freq(pd.to_datetime(["2024-01-02", "2024-01-09", "2024-01-30", "2024-02-06", "2024-02-20"])) == "W-TUE"
