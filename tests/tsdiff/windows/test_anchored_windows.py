"""Windows around anchors: what they hide and tell, gaps, levels and units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tests.tsdiff.windows.test_anchors import LENGTH, season
from tsdiff.windows.anchored import ABOUT_WIDTH, KNOWN_WIDTH, Wanted, anchored_windows, squash


def anchored_window(values: np.ndarray, first: int, hidden: np.ndarray, seasons: tuple[int, int]):
    (made,) = anchored_windows([Wanted(values, first, hidden, seasons)])
    return made


def window(values: np.ndarray, horizon: int = 8, seasons: tuple[int, int] = (7, 0)):
    hidden = np.zeros(LENGTH, dtype=bool)
    return anchored_window(values, len(values) + horizon - LENGTH, hidden, seasons)


def test_a_window_hides_what_it_is_to_forecast():
    rng = np.random.default_rng(5)
    values = rng.normal(size=200).cumsum()
    other = values.copy()
    other[-8:] = 1e3
    hidden = np.arange(LENGTH) >= LENGTH - 8
    made = [anchored_window(v, 200 - LENGTH, hidden, (7, 0)) for v in (values, other, values[:-8])]
    for one in made[1:]:
        assert_allclose(one.anchor, made[0].anchor)
        assert_allclose(one.known, made[0].known)
        assert_allclose(one.about, made[0].about)


def test_a_window_looks_alike_on_every_level_and_in_every_unit():
    """Below 0, where no ratios are looked at. Of the whole window it is told where 0 lies."""
    rng = np.random.default_rng(6)
    values = rng.normal(size=200).cumsum() + np.sin(np.arange(200) * 2 * np.pi / 7)
    values -= values.max() + 10
    plain = window(values)
    assert np.abs(plain.known[:, 0]).max() > 0.5
    moved, smaller = window(values - 500), window(1e-3 * values)
    for made in (moved, smaller):
        assert_allclose(made.known, plain.known, atol=2e-2)  # what weighs the forecasts sees whole numbers, and more
    assert_allclose(smaller.about, plain.about, atol=2e-2)


def test_a_window_tells_what_is_wanted_and_what_is_known():
    values = np.arange(20.0)
    values[5] = np.nan
    made = window(values)
    assert made.known.shape == (LENGTH, KNOWN_WIDTH)
    assert made.about.shape == (ABOUT_WIDTH,)
    wanted, known = made.known[:, -2], made.known[:, -1]
    start = LENGTH - 28
    assert known[start:].sum() == 19
    assert wanted[start + 5] == 1
    assert (wanted[-8:] == 1).all()
    assert not wanted[:start].any()
    assert not known[:start].any()
    assert_allclose(made.anchor[start : start + 20][known[start : start + 20] > 0], values[~np.isnan(values)])


def test_a_gap_is_seen_from_both_sides():
    values = np.concatenate([np.full(60, 1.0), np.full(10, np.nan), np.full(60, 3.0)])
    made = anchored_window(values, 40, np.zeros(LENGTH, dtype=bool), (0, 0))
    gap = made.anchor[20:30]
    assert (np.diff(gap) > 0).all()
    assert gap[0] > 1
    assert gap[-1] < 3
    turned = anchored_window(values[::-1], 130 - 40 - LENGTH, np.zeros(LENGTH, dtype=bool), (0, 0))
    assert_allclose(turned.anchor[::-1][20:30], gap)


@pytest.mark.parametrize("beside", [2, 5, 9])
def test_a_gap_beside_a_few_first_or_last_values_goes_by_the_many_on_its_other_side(beside):
    """What a few values tell of a season is little, and was taken for half of what is known of the gap."""
    values = season(90) + np.random.default_rng(0).normal(size=90)
    truth = values[beside : beside + 5].copy()
    values[beside : beside + 5] = np.nan
    nowhere = np.zeros(LENGTH, dtype=bool)
    first = anchored_window(values, 0, nowhere, (7, 0))
    last = anchored_window(values[::-1], 90 - LENGTH, nowhere, (7, 0))
    for anchor, scale in ((first.anchor, first.scale), (last.anchor[::-1], last.scale[::-1])):
        assert np.abs(anchor[beside : beside + 5] - truth).mean() < 3
        assert scale[beside : beside + 5].max() < 5


def test_a_walk_goes_on_from_a_single_first_value():
    """Which nothing was tried on: what a last value is worth, the many after the gap tell."""
    walk = 100 + np.random.default_rng(1).normal(size=90).cumsum()
    walk[1:4] = np.nan
    made = anchored_window(walk, 0, np.zeros(LENGTH, dtype=bool), (7, 0))
    assert_allclose(made.anchor[1:4], np.interp([1, 2, 3], [0, 4], walk[[0, 4]]), atol=0.7)
    assert 0.5 < made.scale[1:4].mean() < 3


def test_where_nothing_is_known_there_is_no_anchor():
    made = anchored_window(np.full(30, np.nan), 0, np.zeros(LENGTH, dtype=bool), (7, 0))
    assert (made.scale == 1).all()
    assert not made.anchor.any()
    assert made.about[-1] == 1
    assert (made.known[:, -2] == 1).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 120), st.integers(1, 40), st.floats(0, 0.9), st.integers(0, 2**32 - 1))
def test_windows_are_finite_whatever_is_missing(count, horizon, missing, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count) * 10.0 ** rng.integers(-6, 7)
    values[rng.random(count) < missing] = np.nan
    made = window(values, min(horizon, LENGTH - 1), (7, 365))
    assert np.isfinite(made.known).all()
    assert np.isfinite(made.about).all()
    assert np.isfinite(made.anchor).all()
    assert (made.scale > 0).all()


def test_squashing_is_odd_and_rising():
    values = np.linspace(-50, 50, 1001)
    made = squash(values)
    assert (np.diff(made) > 0).all()
    assert_allclose(made, -squash(-values))
    assert_allclose(made[np.abs(values) <= 3], values[np.abs(values) <= 3])


@pytest.mark.parametrize("missing", [20, 100, 1000, 5000])
def test_a_window_knows_what_came_before_a_gap_that_begins_before_it(missing):
    values = np.r_[season(200) + np.random.default_rng(0).normal(size=200), np.full(missing, np.nan)]
    made = window(values)
    truth = season(len(values) + 8)[-8:]
    assert np.abs(made.anchor[-8:] - truth).max() < 8
    assert 0.5 < made.scale[-8:].min() <= made.scale[-8:].max() < 40


def test_a_gap_beyond_the_window_is_seen_from_its_other_side():
    values = np.r_[np.full(10, 5.0), np.full(200, np.nan), np.full(300, 25.0)]
    anchor = anchored_window(values, 100, np.zeros(LENGTH, dtype=bool), (0, 0)).anchor
    assert_allclose(anchor, np.interp(np.arange(100, 100 + LENGTH), [9, 210], [5, 25]), atol=0.5)
    hidden = np.arange(LENGTH) >= LENGTH - 8  # then what comes after is not to be known
    assert_allclose(anchored_window(values, 100, hidden, (0, 0)).anchor, 5.0, atol=0.5)


def test_missing_values_before_the_first_are_no_history():
    rng = np.random.default_rng(1)
    values = 10 + np.arange(30) + 0.3 * rng.normal(size=30)
    alone, behind = window(values), window(np.r_[np.full(300, np.nan), values])
    assert_allclose(behind.anchor[-8:], alone.anchor[-8:])
    assert_allclose(behind.scale[-8:], alone.scale[-8:])
