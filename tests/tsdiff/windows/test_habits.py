"""Times of a season that are zero since a few seasons, or no longer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffPredictor
from tsdiff.windows.habits import without_old_habits

DAYS = np.arange(7 * 56)
WEEK, SUNDAY, SOLD = DAYS // 7, DAYS % 7 == 6, 20.0 + DAYS * 7 % 11


@pytest.mark.parametrize("weeks", [3, 4, 6, 12, 30])
@pytest.mark.parametrize("opened", [True, False])
def test_what_was_before_a_habit_is_missing(weeks: int, opened: bool) -> None:
    old = SUNDAY & (56 - weeks > WEEK)
    history = np.where(old if opened else SUNDAY & ~old, 0.0, SOLD)
    history[[10, 13, 300]] = np.nan
    found = np.isnan(without_old_habits(history, (7, 365))) & ~np.isnan(history)
    assert np.array_equal(found, old & ~np.isnan(history))


@pytest.mark.parametrize(
    "history",
    [
        SOLD,
        np.where(SUNDAY, 0.0, SOLD),
        np.where(SUNDAY, 0.0, SOLD) - 1,  # 0 is a value as others
        np.where(SUNDAY & (WEEK < 54), 0.0, SOLD),  # two are chance
        np.where(SUNDAY & (WEEK % 10 < 6), 0.0, SOLD),  # six of ten are closed, as they have been before
        *(np.where(DAYS[::-1] < last, 0.0, SOLD) for last in range(1, 30)),  # holidays
        np.where(np.arange(24 * 3000) % 24 < 9, 0.0, 5.0),  # as they have always been, however long
        np.zeros(100),
        np.full(100, np.nan),
        np.zeros(0),
    ],
)
def test_other_zeros_are_values(history: np.ndarray) -> None:
    for seasons in ((7, 365), (24, 168)):
        assert without_old_habits(history, seasons) is history


@pytest.mark.parametrize("opened", [True, False])
def test_hours_of_sundays_are_times_of_the_week(opened: bool) -> None:
    hours = np.arange(168 * 40)
    by_day, sunday = (hours % 24 >= 8) & (hours % 24 < 20), hours % 168 >= 144
    old = by_day & sunday & (hours < 168 * 35)
    shut = old if opened else by_day & sunday & ~old
    history = np.where(by_day & ~shut, 10.0 + hours % 7, 0.0)
    assert np.array_equal(np.isnan(without_old_habits(history, (24, 168))), old)
    assert without_old_habits(history, (24, 0)) is history
    history[-24 * 9 :] = 0.0  # holidays
    assert not np.isnan(without_old_habits(history, (24, 168))).any()


@pytest.mark.parametrize("season", [1, 7, 24, 168])
def test_series_by_chance_have_hardly_any(season: int) -> None:
    rng = np.random.default_rng(0)
    made = [np.where(rng.random(1000) < rng.random(), 0.0, 1.0) for _ in range(200)]
    assert sum(without_old_habits(one, (season,)) is not one for one in made) <= 4


def test_a_shop_that_opened_on_sundays_is_forecast_open() -> None:
    predictor = TSDiffPredictor.from_pretrained("default").adapted("D", 28)
    history = np.where(SUNDAY & (WEEK < 52), 0.0, SOLD)
    entry = {"start": pd.Period("2024-01-01", "D"), "target": history}
    samples = next(iter(predictor.predict([entry], num_samples=100))).samples
    assert samples.min() > 0
    assert samples[:, 6::7].mean() > 15
