"""Gaps of training windows: what is observed stays, a season is continued, roughness is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsdiff.windows.config import WindowConfig
from tsdiff.windows.filling import expected
from tsdiff.windows.gaps import bridge, bridged_line, patch_gaps, remembered_between
from tsdiff.windows.source import WindowSource


def outages(values: np.ndarray, share: float = 0.3) -> np.ndarray:
    """With blocks of ten steps missing."""
    rng = np.random.default_rng(1)
    made = values.copy()
    blocks = made[: len(made) // 10 * 10].reshape(-1, 10)
    blocks[rng.random(len(blocks)) < share] = np.nan
    return made


def test_a_season_goes_on_in_its_gaps():
    wave = np.sin(2 * np.pi * np.arange(96) / 24)[None, :, None]
    holed = wave.copy()
    holed[0, 30:47] = np.nan
    holed[0, 90:93] = np.nan
    filled, observed = patch_gaps(holed, (24,))
    np.testing.assert_allclose(filled, wave, atol=1e-12)
    np.testing.assert_array_equal(observed, ~np.isnan(holed))


@pytest.mark.parametrize("seasons", [(), (200,), (24,)])
def test_what_nothing_tells_is_a_line(seasons):
    holed = np.where(np.arange(40) < 20, np.nan, np.arange(40.0))[None, :, None]
    holed[0, 30] = np.nan
    line, seen = bridge(holed)
    filled, observed = patch_gaps(holed, seasons if seasons != (24,) else (41,))
    np.testing.assert_array_equal(filled, line)
    np.testing.assert_array_equal(observed, seen)
    empty = np.full((2, 8, 1), np.nan)
    np.testing.assert_array_equal(patch_gaps(empty, (2,))[0], np.zeros((2, 8, 1)))


def test_whole_windows_are_left_alone():
    whole = np.random.default_rng(0).normal(size=(3, 50, 2))
    assert patch_gaps(whole, (7,))[0] is whole


def test_the_covariance_of_a_series_with_outages_is_that_of_the_whole():
    rng = np.random.default_rng(0)
    values = 10 + rng.normal(size=20_000)
    start = pd.Period("2024-01-01", "h")
    config = WindowConfig("h", 24, 72, scaling="none")

    def near(target: np.ndarray) -> float:
        """Correlation of neighbours in filled windows, which is 0 in the series."""
        source = WindowSource([{"item_id": "a", "start": start, "target": target}], config)
        windows = source._scaled_windows(np.random.default_rng(0), 400)[0][..., 0] - 10
        return float((windows[:, 1:] * windows[:, :-1]).mean() / windows.var())

    assert abs(near(values)) < 0.02
    assert near(outages(values)) < 0.1  # lines make it .27


def test_a_walk_is_bridged_by_a_line():
    walk = np.arange(200.0)
    holed = walk[None, :, None].copy()
    holed[0, 90:110] = np.nan
    np.testing.assert_allclose(patch_gaps(holed, (24,))[0][0, :, 0], walk, atol=1e-6)


def test_a_difference_is_bridged_by_the_conditional_mean_of_its_autoregression():
    rng = np.random.default_rng(0)
    change = np.zeros(300)
    for place in range(1, 300):
        change[place] = 0.9 * change[place - 1] + rng.normal()
    seen = np.ones(300, dtype=bool)
    for first, last in ((0, 4), (50, 52), (100, 120), (290, 300)):
        seen[first:last] = False
    left, pairs = change - change[seen].mean(), seen[1:] & seen[:-1]
    memory = (left[1:] * left[:-1])[pairs].sum() / (left[1:][pairs] ** 2).sum()
    covariance = memory ** np.abs(np.subtract.outer(np.arange(300), np.arange(300)))
    wanted = covariance[np.ix_(~seen, seen)] @ np.linalg.solve(covariance[np.ix_(seen, seen)], left[seen])
    found = remembered_between(np.where(seen, change, 1e6), seen, seen, ~seen)  # what is not seen tells nothing
    np.testing.assert_allclose(found - change[seen].mean(), wanted, atol=1e-9)


def test_windows_that_are_mostly_missing_are_drawn_again():
    target = np.full(5000, np.nan)
    target[:500] = np.arange(500)
    target[600::10] = 1.0  # enough for a context, too little to learn from
    config = WindowConfig("h", 8, 16, scaling="none")
    source = WindowSource([{"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": target}], config)
    rows, _ = source._draw(np.random.default_rng(0), 200)
    thin = np.isnan(rows[:, :, 0]).mean(axis=1) > 0.5
    assert thin.mean() < 0.45  # nine in ten places are


@pytest.mark.parametrize(("seasons", "missing"), [((24, 168), 30), ((24, 168), 700), ((7, 365), 90), ((12, 0), 40)])
def test_what_is_expected_in_a_gap_is_the_season_around_the_level_of_its_edges(seasons, missing):
    steps = np.arange(2000)
    whole = 50 + 0.01 * steps + 3 * np.sin(2 * np.pi * steps / seasons[0])
    holed = whole.copy()
    holed[900 : 900 + missing] = np.nan
    np.testing.assert_allclose(expected(holed, seasons).values, whole, atol=0.05)


def test_noise_is_averaged_in_what_is_expected():
    rng = np.random.default_rng(0)
    season = 3 * np.sin(2 * np.pi * np.arange(700) / 7)
    noisy = season + rng.normal(size=700)
    holed = np.where(rng.random(700) < 0.2, np.nan, noisy)
    gaps = np.isnan(holed)
    error = (expected(holed, (7, 0)).values - season)[gaps].std()
    copied = (patch_gaps(holed[None, :, None], (7,))[0][0, :, 0] - season)[gaps].std()
    assert error < 0.75 < copied  # four values have half the deviation, and what is around adds to it


def test_of_nothing_but_a_walk_a_line_is_expected():
    rng = np.random.default_rng(2)
    walk = rng.normal(size=400).cumsum()
    holed = walk.copy()
    holed[200:210] = np.nan
    line = bridged_line(holed)
    np.testing.assert_array_equal(expected(holed, (0, 0)).values, line)
    assert np.abs(expected(holed, (24, 0)).values - line).max() < 3


def test_ends_are_flat_and_whole_series_stay_as_they_are():
    values = np.array([np.nan, 1.0, 3.0, 2.0, np.nan, np.nan])
    np.testing.assert_array_equal(expected(values, (2, 0)).values, [1.0, 1.0, 3.0, 2.0, 2.0, 2.0])
    np.testing.assert_array_equal(expected(np.arange(50.0), (7, 24)).values, np.arange(50.0))


@pytest.mark.parametrize("apart", [2, 3])
@pytest.mark.parametrize("season", [7, 12])
def test_of_a_walk_that_is_seldom_seen_a_line_is_expected(apart, season):
    walk = np.random.default_rng(0).normal(size=300).cumsum()
    holed = np.where((np.arange(300) % apart == 0) | (np.arange(300) == 299), walk, np.nan)
    missing, line = np.isnan(holed), bridged_line(holed)
    assert (
        np.abs(expected(holed, (season, 0)).values - walk)[missing].mean() < 1.1 * np.abs(line - walk)[missing].mean()
    )


@pytest.mark.parametrize("apart", [2, 3])
def test_a_week_is_expected_of_days_that_are_seldom_seen(apart):
    days = np.arange(300)
    week = np.array([0.0, 1.0, 8.0, 2.0, 9.0, 4.0, -6.0])[days % 7]
    holed = np.where(days % apart == 0, week + np.random.default_rng(0).normal(size=300), np.nan)
    within = np.isnan(holed) & (days < days[~np.isnan(holed)].max())
    assert np.abs(expected(holed, (7, 365)).values - week)[within].mean() < 1.0
    assert np.abs(bridged_line(holed) - week)[within].mean() > 4


def test_much_noise_is_averaged_where_most_is_missing():
    rng = np.random.default_rng(0)
    season = 5 * np.sin(2 * np.pi * np.arange(800) / 12)
    holed = np.where(rng.random(800) < 0.6, np.nan, season + 2 * rng.normal(size=800))
    off = (expected(holed, (12, 0)).values - season)[np.isnan(holed)]
    assert off.std() < 1.5


def test_a_season_is_expected_in_one_gap_in_the_middle_of_a_high_level():
    steps = np.arange(400)
    whole = 1e8 + 10 * np.sin(2 * np.pi * steps / 24)
    holed = np.where((steps >= 190) & (steps < 230), np.nan, whole)
    np.testing.assert_allclose(expected(holed, (24, 168)).values, whole, rtol=0, atol=0.5)
