"""What of a long history the model of all frequencies is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.tsdiff.universal import UNIVERSAL
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.data.entries import Series
from tsdiff.windows.calendar import recent_steps
from tsdiff.windows.series import recent_part

HORIZON = 4
START = pd.Period("2024-01-01", freq="h")


@pytest.fixture(scope="module")
def hourly() -> TSDiffPredictor:
    return TSDiffPredictor(TSDiff(UNIVERSAL)).adapted("h", HORIZON)


@pytest.mark.parametrize(
    ("freq", "horizon", "steps"),
    [("h", 4, 14 * 24), ("h", 48, 480), ("D", 14, 140), ("M", 1, 40), ("min", 20, 200)],
)
def test_how_much_is_recent(freq: str, horizon: int, steps: int) -> None:
    """Ten horizons, three seasons, two weeks of days, or 40 steps, whichever is most."""
    assert recent_steps(freq, horizon) == steps


@pytest.mark.parametrize(("more", "kept"), [(-300, 36), (-1, 335), (0, 336), (1, 336), (500, 336)])
def test_the_last_steps_are_kept_with_the_time_they_start_at(hourly: TSDiffPredictor, more: int, kept: int) -> None:
    target = np.arange(recent_steps("h", HORIZON) + more, dtype=np.float32)
    found = recent_part(Series("a", START, target), hourly.model.config)
    np.testing.assert_array_equal(found.target, target[-kept:])
    assert found.start == START + len(target) - kept


def test_a_history_that_was_long_ago_is_kept_whole(hourly: TSDiffPredictor) -> None:
    target = np.r_[np.ones(50), np.full(400, np.nan)]
    assert len(recent_part(Series("a", START, target), hourly.model.config)) == 450
