"""Sensors that are stuck are told; what often repeats its values is not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdiff import TSDiffPredictor
from tsdiff.data import series_from_gluonts
from tsdiff.data.stuck import stuck_values

HOURS = np.arange(720)
LOAD = 100 + 30 * np.sin(2 * np.pi * HOURS / 24) + 4 * np.sin(0.7 * HOURS**1.3)


def stuck(values: np.ndarray, count: int) -> np.ndarray:
    return np.where(np.arange(len(values)) >= len(values) - count, values[-count], values)


@given(count=st.integers(0, 40), decimals=st.integers(0, 6), gap=st.integers(0, 5))
@settings(deadline=None)
def test_equal_last_values_are_counted_if_there_never_were_nearly_so_many(count: int, decimals: int, gap: int) -> None:
    """Also of a sensor that is rounded, of which two or three in a row are equal now and then, and around gaps."""
    values = stuck(np.round(LOAD, decimals), count + 1)
    values[-8 : len(values) - 8 + gap] = np.nan
    known = values[np.isfinite(values)]
    ends = int(np.argmax(known[::-1] != known[-1]))
    assert stuck_values(values) == (ends if ends >= 12 else 0)


RNG = np.random.default_rng(0)
DAYLIGHT = np.maximum(0.0, np.sin(2 * np.pi * (HOURS - 8) / 24)) * (5 + np.sin(0.7 * HOURS**1.3))
USUAL = {
    "counts": np.append(RNG.poisson(0.4, 700), np.full(20, 1)),
    "slow counts": np.append(20 + RNG.integers(-1, 2, 700), np.full(20, 20)),
    "intermittent": np.append(RNG.poisson(0.2, 700) * LOAD[:700], np.zeros(40)),
    "prices": np.repeat(LOAD[::24], 24),
    "nights": np.append(DAYLIGHT[:691], np.zeros(14)),
    "polar night": np.append(DAYLIGHT[:691], np.zeros(60)),
    "often full": stuck(np.minimum(LOAD, 110.0), 1).clip(max=110.0)[: 24 * 29 + 9],
    "short": np.append(LOAD[:10], np.full(14, 100.0)),
    "constant": np.full(100, 3.0),
    "nothing": np.full(100, np.nan),
    "empty": np.zeros(0),
}


@pytest.mark.parametrize("name", USUAL)
def test_what_often_repeats_its_values_is_not_stuck(name: str) -> None:
    assert stuck_values(USUAL[name].astype(float)) == 0


def test_a_sensor_of_the_sun_that_is_stuck_by_day_is_told_though_nights_are_equal() -> None:
    assert stuck_values(np.append(DAYLIGHT[:684], np.full(36, DAYLIGHT[683] + 1))) == 36


def test_of_a_thousand_rounded_series_hardly_one_is_told() -> None:
    walks = np.round(RNG.normal(size=(1000, 300)).cumsum(axis=1))
    assert sum(stuck_values(row[: 300 - place % 50]) > 0 for place, row in enumerate(walks)) <= 1


def frame(series: dict[str, np.ndarray]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"item_id": name, "timestamp": pd.date_range("2026-01-01", periods=len(row), freq="h"), "y": row})
        for name, row in series.items()
    ]
    return pd.concat(parts)


def said(call: Any, *arguments: Any, **options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        call(*arguments, num_samples=2, prediction_length=3, **options)
    return [str(one.message) for one in told]


def test_forecasts_tell_it() -> None:
    predictor = TSDiffPredictor.from_pretrained("default")
    given = frame({"a": LOAD, "b": stuck(LOAD, 36)})
    line = f"series 'b': its last 36 values are all {LOAD[-36]:.6g}, as never so long before"
    for call in (predictor.predict_df, predictor.plot):
        assert [one.startswith(line) for one in said(call, given)] == [True]
    assert line in said(predictor.predict_sums_df, given, {"all": ["a", "b"]})[0]


def test_many_stuck_sensors_are_one_line_and_channels_are_named() -> None:
    start = pd.Period("2026-01-01", freq="h")
    many = [{"start": start, "item_id": f"s{i}", "target": stuck(LOAD + i, 20 + i)} for i in range(5)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        series_from_gluonts(many).tell_stuck()
        series_from_gluonts([{**many[0], "target": np.stack([LOAD, stuck(LOAD, 30)])}]).tell_stuck()
    lines = [str(one.message) for one in told]
    assert len(lines) == 2
    assert lines[0].endswith("and 4 more alike: 's1', 's2', 's3', 's4'")
    assert lines[1].startswith("channel 1 of series 's0': its last 30 values are all")
