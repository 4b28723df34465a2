"""Zeros that tell nothing: of outages that are over, and a last one that may not be in yet."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdiff import TSDiffPredictor
from tsdiff.windows.outages import without_last_closure, without_last_zero, without_outages

MONTHS = np.arange(108)
SOLD = np.rint(60 + 24 * np.sin(2 * np.pi * MONTHS / 12) + 3 * np.random.default_rng(0).normal(size=108))


def shut(values: np.ndarray, *stretches: tuple[int, int]) -> np.ndarray:
    made = values.copy()
    for start, stop in stretches:
        made[start:stop] = 0.0
    return made


@pytest.mark.parametrize(
    "stretches", [[(70, 74)], [(48, 52), (70, 74)], [(40, 46), (53, 58)], [(20, 23), (40, 43), (60, 70)]]
)
def test_outages_that_are_over_are_missing(stretches: list[tuple[int, int]]) -> None:
    history = shut(SOLD[:96], *stretches)
    assert np.array_equal(np.isnan(without_outages(history, (12,))), history == 0)


@pytest.mark.parametrize(
    "history",
    [
        SOLD,
        shut(SOLD, (70, 72)),  # too short to be more than chance
        shut(SOLD, (100, 104)),  # over for less than a season
        shut(SOLD, (4, 9)),  # nothing known before
        shut(SOLD, (15, 18), (35, 38), (55, 58), (75, 78)),  # a habit
        np.where(np.arange(108) % 5 == 0, 0.0, shut(SOLD, (61, 65))),
        shut(SOLD, (60, 66)) - 1,  # 0 is a value as others
        np.full(108, np.nan),
        np.zeros(108),
    ],
)
def test_other_zeros_are_values(history: np.ndarray) -> None:
    assert without_outages(history, (12,)) is history


def test_closing_days_are_none_and_hide_none() -> None:
    days = np.arange(300)
    closing = np.where(days % 7 == 6, 0.0, 50.0 + days % 5)
    assert without_outages(closing, (7,)) is closing
    found = np.isnan(without_outages(shut(closing, (200, 221)), (7,)))
    assert np.array_equal(found, (days >= 200) & (days < 221) & (days % 7 != 6))


def test_what_comes_each_year_is_no_outage() -> None:
    days = np.arange(900)
    school = np.where(days % 365 < 62, 0.0, 50.0 + days % 5)[100:]  # a day of leap years is as far off as another
    assert without_outages(school, (7, 365)) is school
    strike = np.where((days[100:] >= 600) & (days[100:] < 630), 0.0, school)
    found = np.isnan(without_outages(strike, (7, 365)))
    assert np.array_equal(found, (days[100:] >= 600) & (days[100:] < 630))
    assert np.array_equal(np.isnan(without_outages(school, (7,))), school == 0)


@pytest.mark.parametrize(("freq", "steps"), [("D", 28), ("B", 20)])
def test_forecasts_foresee_what_is_closed_each_summer(freq: str, steps: int) -> None:
    """Both summers counted as outages that are over, and the third was forecast at the level of June."""
    index = pd.period_range("2020-01-06", "2022-07-20", freq=freq)
    open_days = np.random.default_rng(0).poisson(50.0, len(index)).astype(float)
    served = np.where(np.isin(index.month, [7, 8]), 0.0, open_days)
    past = int((index < pd.Period("2022-06-20", freq)).sum())
    predictor = TSDiffPredictor.from_pretrained("default").adapted(freq, steps)
    (made,) = predictor.predict([{"start": index[0], "target": served[:past]}], 100)
    closed = index[past : past + steps].month == 7
    assert np.median(made.samples[:, ~closed]) > 35
    assert np.median(made.samples, axis=0)[closed].max() <= 3
    assert (made.samples[:, closed][:, 3:] == 0).mean() > 0.7


def beach(until: str, steps: int) -> tuple[pd.PeriodIndex, np.ndarray, np.ndarray]:
    """Days of one that is closed from November to March, up to a day and so many more; and what is known of it."""
    index = pd.period_range("2020-04-01", pd.Period(until, "D") + steps, freq="D")
    noise = np.random.default_rng(0).normal(size=len(index))
    visits = (60 + 25 * np.sin(2 * np.pi * (index.dayofyear - 110) / 365)) * np.exp(0.15 * noise)
    came = np.where(np.isin(index.month, [11, 12, 1, 2, 3]), 0.0, visits)
    return index, came, np.where(np.arange(len(index)) < len(index) - steps, came, np.nan)


def test_a_closed_season_is_missing_before_it_opens() -> None:
    index, _, known = beach("2023-03-20", 28)
    closed = (index >= pd.Period("2022-11-01", "D")) & (known == 0)
    np.testing.assert_array_equal(np.isnan(without_last_closure(known, (7, 365))), np.isnan(known) | closed)
    wholly_closed, opened = beach("2023-01-20", 28)[2], beach("2023-04-05", 28)[2]
    rare = np.where(np.arange(900) % 10 == 0, 5.0, np.r_[[0.0] * 872, [np.nan] * 28])
    rare[820:872] = 0  # hardly sold at all, and not for a while
    for history, seasons in [(known, (7,)), (wholly_closed, (7, 365)), (opened, (7, 365)), (rare, (7, 365))]:
        assert without_last_closure(history, seasons) is history


def test_forecasts_foresee_how_much_comes_when_a_closed_season_ends() -> None:
    """Past forecasts of closed days were right, so that intervals had no width, at half of what came."""
    index, came, known = beach("2023-03-20", 28)
    predictor = TSDiffPredictor.from_pretrained("default").adapted("D", 28)
    (made,) = predictor.predict([{"start": index[0], "target": known[:-28]}], 100)
    opened = came[-28:] > 0
    assert (made.samples[:, :8] == 0).mean() > 0.7  # three winters tell, and not to the day when they end
    assert (made.samples[:, opened] == 0).mean() < 0.1
    low, high = np.quantile(made.samples[:, opened], [0.05, 0.95], axis=0)
    assert ((low <= came[-28:][opened]) & (came[-28:][opened] <= high)).mean() > 0.8
    assert np.mean(high / low) < 4


def test_a_last_zero_is_missing_where_none_was_near() -> None:
    one, two = shut(SOLD, (107, 108)), shut(SOLD, (106, 108))
    assert np.flatnonzero(np.isnan(without_last_zero(one, 12))).tolist() == [107]
    for history in (SOLD, two, shut(SOLD, (107, 108), (100, 101)), one - 30, shut(SOLD[:10], (9, 10)), np.zeros(50)):
        assert without_last_zero(history, 12) is history
    closing = np.where(np.arange(140) % 7 == 6, 0.0, 50.0)
    assert without_last_zero(closing, 7) is closing


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, 5.0, np.nan]), min_size=1, max_size=80), st.sampled_from([1, 7, 12]))
def test_nothing_but_zeros_is_taken_away(values: list[float], season: int) -> None:
    history = np.array(values)
    made_by = without_outages(history, (season,)), without_last_zero(history, season)
    for made in (*made_by, without_last_closure(history, (season, 3 * season))):
        taken = np.isnan(made) & ~np.isnan(history)
        assert (history[taken] == 0).all()
        assert np.array_equal(made[~taken], history[~taken], equal_nan=True)


@pytest.mark.parametrize("stretches", [[(48, 52), (70, 74)], [(60, 64), (80, 84)]])
def test_forecasts_do_not_repeat_two_outages(stretches: list[tuple[int, int]]) -> None:
    """They had dips a season after each, and intervals down to 0: 2.4 times the error of a history without."""
    predictor = TSDiffPredictor.from_pretrained("default").adapted("M", 12)
    start = pd.Period("2016-01", freq="M")
    histories = SOLD[:96], shut(SOLD[:96], *stretches)
    plain, made = predictor.predict([{"start": start, "target": each} for each in histories], 100)
    errors = [np.abs(one.quantile(0.5) - SOLD[96:]).mean() for one in (plain, made)]
    assert errors[1] < 1.2 * errors[0]
    assert made.samples.min() > 10


def test_a_last_zero_is_told_in_the_next_steps_alone() -> None:
    predictor = TSDiffPredictor.from_pretrained("default").adapted("M", 12)
    entry = {"start": pd.Period("2016-01", freq="M"), "target": shut(SOLD[:96], (95, 96))}
    (made,) = predictor.predict([entry], 100)
    assert np.abs(made.quantile(0.5) - SOLD[96:]).max() < 12
    zeros = (made.samples == 0).mean(axis=0)
    assert 0.2 < zeros[0] < 0.3
    assert (np.diff(zeros) <= 0).all()
    assert zeros[4:].max() < 0.05
