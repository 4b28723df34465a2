"""Anchors: simple forecasts, and their pool."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tsdiff.windows.anchored import Wanted, anchored_windows
from tsdiff.windows.anchors import pooled, seasons_of
from tsdiff.windows.simple import simple_forecasts

LENGTH = 64


@pytest.mark.parametrize(
    ("freq", "seasons"), [("h", (24, 168)), ("15min", (96, 672)), ("D", (7, 365)), ("M", (12, 0)), ("Y-DEC", (0, 0))]
)
def test_seasons(freq, seasons):
    assert seasons_of(freq) == seasons


def test_simple_forecasts_say_what_their_names_say():
    rng = np.random.default_rng(0)
    values = rng.normal(size=100).cumsum()
    ends = np.array([100, 80, 41])
    made, usable = simple_forecasts(values, ends, 9, (4, 20))
    assert usable[:, [*range(16), 17, 20, 21]].all()
    for row, end in enumerate(ends):
        history = values[:end]
        assert_allclose(made[row, 0], history[-1])
        assert_allclose(made[row, 1], history[-4:].mean())
        assert_allclose(made[row, 2], np.resize(history[-4:], 9))
        assert_allclose(made[row, 3], np.resize(history[-16:].reshape(4, 4).mean(0), 9))
        assert_allclose(made[row, 5], history[-20:][:9])
        steps = min(end, 27)
        line = np.polyfit(np.arange(-steps, 0), history[-steps:], 1)
        assert_allclose(made[row, 9], np.polyval(line, np.arange(9)), rtol=1e-9, atol=1e-9)
        assert_allclose(made[row, 10], np.median(history[-7:]))
        assert_allclose(
            made[row, 11], np.mean([history[-20 * k :][:9] for k in range(1, min(end // 20, 4) + 1)], axis=0)
        )
        assert_allclose(made[row, 14], history.mean())
        level = history[0]
        for value in history[1:]:
            level += 0.3 * (value - level)
        assert_allclose(made[row, 15] - level, made[row, 3] - history[-16:].mean())
        assert_allclose(made[row, 17, :2] - history[-1], (history[-1] - history[-2]) * np.array([0.8, 0.8 + 0.64]))


def test_a_forecast_knows_nothing_of_what_comes_after_its_end():
    rng = np.random.default_rng(1)
    values = rng.normal(size=60)
    other = values.copy()
    other[40:] += 5
    ends = np.array([40])
    found, expected = (simple_forecasts(given, ends, 6, (7, 0)) for given in (other, values[:40]))
    assert_allclose(found[0], expected[0])
    assert (found[1] == expected[1]).all()


def test_a_linear_recursion_goes_on():
    rng = np.random.default_rng(2)
    values = rng.normal(size=6000)
    for step in range(3, 6000):
        values[step] = 0.5 * values[step - 1] - 0.3 * values[step - 3] + 0.1 * values[step]
    made, usable = simple_forecasts(10 + values, np.array([6000]), 5, (0, 0))
    expected = list(values)
    for _ in range(5):
        expected.append(0.5 * expected[-1] - 0.3 * expected[-3])
    assert usable[0, 18]
    assert_allclose(made[0, 18] - 10, expected[6000:], atol=0.02)


def test_a_line_with_seasons_goes_on_by_its_slope():
    steps = np.arange(100)
    values = 5 + 0.3 * steps + np.sin(2 * np.pi * steps / 10)
    made, _ = simple_forecasts(values[:90], np.array([90, 63, 25]), 10, (10, 0))
    for row, end in enumerate((90, 63, 25)):
        expected = 5 + 0.3 * np.arange(end, end + 10) + np.sin(2 * np.pi * np.arange(end, end + 10) / 10)
        line = np.polyfit(np.arange(end), values[:end], 1)
        assert_allclose(made[row, 20], np.polyval(line, np.arange(end, end + 10)))
        assert_allclose(made[row, 21], expected, atol=30 * abs(line[0] - 0.3) + 1e-9)


def test_growth_by_a_ratio_goes_on():
    values = 100 * 1.02 ** np.arange(60) * (1.5 + np.sin(2 * np.pi * np.arange(60) / 12))
    made, usable = simple_forecasts(values, np.array([60]), 12, (12, 0))
    steps = np.arange(60, 72)
    assert usable[0, 16]
    assert_allclose(made[0, 16], 100 * 1.02**steps * (1.5 + np.sin(2 * np.pi * steps / 12)), rtol=1e-6)
    values[50:] = 0  # what was positive at first need not stay so
    assert np.isfinite(simple_forecasts(values, np.array([60, 45]), 12, (12, 0))[0]).all()
    assert not simple_forecasts(values - 200, np.array([60]), 12, (12, 0))[1][0, 16]


@pytest.mark.parametrize("season", [0, 7])
def test_growth_goes_on_at_every_origin(season):
    """Beside what the first origin knows, the last values are 30 times as large."""
    values = 10 * np.exp(0.05 * np.arange(120.0))
    ends = np.array([106, 92, 36])
    made, usable = simple_forecasts(values, ends, 14, (season, 0))
    assert usable[:, 23].all()
    for row, end in enumerate(ends):
        assert_allclose(made[row, 23], values[end : end + 14], rtol=1e-6)


def test_growth_of_few_values_goes_on():
    values = 10 * np.exp(0.2 * np.arange(12.0))
    made, usable = simple_forecasts(values, np.array([6, 4]), 4, (12, 0))
    assert usable[:, 23].tolist() == [True, False]
    assert_allclose(made[0, 23], values[6:10])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_what_cannot_be_tried_the_error_grows_with_the_steps(count):
    pool = pooled(np.array([3.0, 5.0, 4.0])[:count], 9, (7, 365))
    assert pool.tries == 0
    assert 3 <= pool.mean.min() <= pool.mean.max() <= 5
    assert_allclose(pool.profile, np.sqrt(np.arange(1, 10)))


@pytest.mark.parametrize(("count", "tries", "steps"), [(4, 1, 1), (8, 4, 2), (12, 3, 4), (40, 2, 14)])
def test_short_histories_are_tried_by_shorter_forecasts(count, tries, steps):
    pool = pooled(np.random.default_rng(0).normal(size=count), 14, (7, 365))
    assert pool.missed.shape == (tries, steps)


def test_errors_are_told_by_how_high_the_forecast_is():
    rng, steps = np.random.default_rng(3), np.arange(1200)
    week = 100 + 60 * np.sin(2 * np.pi * steps / 7)
    alike, by_level = (pooled(week + size * rng.normal(size=1200), 14, (7, 0)) for size in (5.0, 0.05 * week))
    assert abs(alike.tilt) < 0.25
    high = week > np.median(week)
    assert by_level.tilt == pytest.approx(np.log(week[high].mean() / week[~high].mean()), abs=0.3)
    ahead = 100 + 60 * np.sin(2 * np.pi * (1200 + np.arange(14)) / 7)
    assert np.corrcoef(alike.height, ahead)[0, 1] > 0.98
    flat = pooled(rng.normal(size=400), 14, (7, 0))
    assert np.abs(flat.height).max() < 1.5


def yearly_peak(count: int) -> np.ndarray:
    """Days with a week and noise, and a peak of thirty days once a year, which begins at step 1070."""
    steps, noise = np.arange(count), np.random.default_rng(0).normal(size=count)
    return 100 + 10 * np.sin(2 * np.pi * steps / 7) + 200 * ((steps - 1070) % 365 < 30) + 3 * noise


def test_tries_of_a_year_ago_tell_of_a_peak_to_come():
    pool = pooled(yearly_peak(1070), 28, (7, 365))
    last, season, year = (int(place) for place in (0, 2, 5))
    assert (pool.ago[:, 0] == 1).all()
    assert pool.ago[year, 1] < 0.2 < 3 < pool.ago[last, 1]
    assert pool.ago[season, 1] > 3
    assert pool.swing > 2.5  # the mean of late knows weeks alone, and was right
    calm = pooled(yearly_peak(1000), 28, (7, 365))
    assert calm.ago[season, 1] < 1
    assert abs(calm.swing) < 1


@pytest.mark.parametrize(("count", "seasons"), [(700, (7, 365)), (1070, (0, 0)), (90, (12, 0))])
def test_without_a_whole_season_before_nothing_is_told_of_it(count, seasons):
    """The last of them tries its simple forecasts over more than a season anyway."""
    pool = pooled(yearly_peak(count), 12, seasons)
    assert not pool.ago[:, 0].any()
    assert_allclose(pool.ago[:, 1], pool.evidence[:, 1])
    assert pool.swing == 0


def test_tries_of_a_year_ago_are_not_judged_by_what_was_filled_in():
    values = yearly_peak(1070)
    known = np.ones(1070, dtype=bool)
    known[1070 - 365 : 1070 - 365 + 14] = False
    values[~known] = 1e6
    known[1070 - 730 : 1070 - 730 + 28] = False
    values[340:368] = -1e6
    pool = pooled(values, 28, (7, 365), known)
    assert (pool.ago[:, 0] == 1).all()
    assert pool.ago[5, 1] > 1  # what it says there was filled in
    alone = pooled(values, 28, (7, 365), np.ones(1070, dtype=bool))
    assert alone.swing == 3


def test_tries_of_late_tell_of_a_break():
    """Eight steps after the level began to rise, the mean is far behind what continues the last change."""
    values = 100 + 2.0 * np.maximum(np.arange(150) - 142, 0) + 0.3 * np.random.default_rng(0).normal(size=150)
    mean, change = 3, 17
    pool = pooled(values, 14, (7, 0))
    assert pool.late[change, 0] < 0.2 < 1 < pool.late[mean, 0]
    assert pool.late[mean, 2] > 1
    before = pooled(values[:142], 14, (7, 0))
    assert (np.abs(before.late[[mean, change], 2]) < 0.7).all()


def test_tries_of_late_are_those_of_their_steps():
    """The last quarter and half of twelve steps, by closed form: what the last value missed of a line."""
    pool = pooled(np.arange(60.0), 12, (0, 0))
    sizes = np.array([np.arange(1, steps + 1).mean() for steps in (3, 6)])
    least = 0.2 * (pool.errors.min() + 1e-3 * np.arange(60.0).std())
    for column, size in enumerate(sizes):
        assert pool.late[0, column] == pytest.approx(min(4, np.log((size + least) / least)), rel=0.05)
    assert pool.late[0, 2] == pytest.approx(np.log(sizes.mean() / 6.5), rel=0.05)


def test_tries_of_late_are_not_judged_by_what_was_filled_in():
    values, known = np.random.default_rng(0).normal(size=90), np.ones(90, dtype=bool)
    values[-4:], known[-4:] = 1e3, False
    assert pooled(values, 12, (0, 0), known).late[0, 2] < 0.7 < 1.4 < pooled(values, 12, (0, 0)).late[0, 2]
    known[-8:] = False
    pool = pooled(values, 12, (0, 0), known)
    assert not pool.late[:, 2].any()
    assert_allclose(pool.late[:, 0], pool.evidence[:, 1], atol=0.1)


def test_what_the_history_is_too_short_for_is_the_last_value():
    made, usable = simple_forecasts(np.arange(5.0), np.array([5]), 3, (24, 168))
    assert not usable[0, [2, 3, 4, 5, 6, 8]].any()
    assert_allclose(made[0, ~usable[0]], 4.0)


@pytest.mark.parametrize("slope", [-0.7, 0.2])
def test_a_line_goes_on(slope):
    values = 3 + slope * np.arange(90)
    pool = pooled(values, 14, (7, 365))
    assert_allclose(pool.mean, 3 + slope * np.arange(90, 104), atol=0.2 * abs(slope))


def test_a_season_goes_on():
    values = np.sin(2 * np.pi * np.arange(200) / 24)
    pool = pooled(values, 30, (24, 168))
    assert_allclose(pool.mean, np.sin(2 * np.pi * np.arange(200, 230) / 24), atol=0.05)


@pytest.mark.parametrize("level", [0.0, 42.0, 1e8])
def test_a_constant_has_hardly_a_scale(level):
    pool = pooled(np.full(100, level), 14, (7, 365))
    assert_allclose(pool.mean, level)
    assert 0 < pool.scale <= 1e-8 * level + 1e-9


def test_noise_on_a_high_level_keeps_its_size():
    rng = np.random.default_rng(2)
    pool = pooled(1e8 + 10 * rng.normal(size=300), 14, (7, 365))
    assert 5 < pool.scale < 25
    assert np.abs(pool.mean - 1e8).max() < 20


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.sampled_from([(0, 0), (7, 0), (7, 365), (24, 168)]),
    st.floats(-1e4, 0),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**32 - 1),
)
def test_level_and_unit_do_not_matter(count, seasons, level, unit, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count).cumsum() + rng.normal(size=count)
    values -= values[0]  # never all positive, where ratios are looked at too
    plain, moved = pooled(values, 6, seasons), pooled(unit * (level + values), 6, seasons)
    assert_allclose(plain.shares.sum(), 1)
    size = np.abs(values).max() + 1
    assert_allclose(moved.mean / unit - level, plain.mean, atol=2e-2 * size)
    assert np.isfinite(moved.mean).all()
    assert moved.scale > 0


def season(count: int) -> np.ndarray:
    return 100 + 20 * np.sin(2 * np.pi * np.arange(count) / 7)


def test_forecasts_are_not_judged_by_what_was_filled_in():
    rng = np.random.default_rng(3)
    values = season(300) + rng.normal(size=300)
    plain, told = pooled(values, 14, (7, 0)), pooled(values, 14, (7, 0), np.ones(300, dtype=bool))
    assert_allclose(told.mean, plain.mean, rtol=0, atol=0)
    filled = np.full(300, 7.0)
    known = np.ones(300, dtype=bool)
    known[288:294] = False
    filled[~known] = 1e3
    judged = pooled(filled, 14, (0, 0), known)
    assert judged.errors[0] == 0  # of the last value
    assert pooled(filled, 14, (0, 0)).errors[0] > 100
    assert pooled(filled, 14, (0, 0), np.arange(300) < 200).tries == 0  # nothing is known of what came later


@pytest.mark.parametrize("horizon", [1, 3])
def test_tries_begin_after_known_values(horizon):
    """Of noise of which every second value is known, straight lines between them are told what follows: a line through
    the last two steps was never wrong."""
    values = np.random.default_rng(0).normal(size=201)
    known = np.arange(201) % 2 == 0
    values[1::2] = (values[:-1:2] + values[2::2]) / 2
    pool = pooled(values, horizon, (7, 0), known)
    assert pool.tries >= 6
    assert 0.8 < pool.scale < 2
    assert pool.mean.shape == pool.profile.shape == (horizon,)
    assert pool.missed.shape == (pool.tries, horizon)
    assert 0.2 < pooled(values, horizon, (7, 0)).errors.min() < 0.7  # where all count as known


def test_of_many_gaps_the_one_to_forecast_is_not_left_out():
    rng = np.random.default_rng(4)
    values = season(200) + 0.1 * rng.normal(size=200)
    for place in range(140, 198, 5):
        values[place : place + 3] = np.nan
    hidden = np.zeros(LENGTH, dtype=bool)
    (made,) = anchored_windows([Wanted(values, len(values) + 1 - LENGTH, hidden, (7, 0), ahead=True)])
    assert abs(made.anchor[-1] - season(201)[-1]) < 1


def test_a_week_that_differs_is_not_multiplied_week_by_week():
    rng = np.random.default_rng(0)
    values = 100 + 20 * np.sin(np.arange(800) / 7 * 2 * np.pi) + rng.normal(size=800)
    values[-7:] *= 4
    made, usable = simple_forecasts(values, np.array([800, 796, 790]), 128, (7, 365))
    assert np.abs(made[usable]).max() <= 20 * values.max()


@pytest.mark.parametrize("seasons", [(12, 0), (4, 36)])
def test_the_median_of_seasons_leaves_out_one_that_went_otherwise(seasons):
    """Since four seasons all is twice as large, or higher by 3; one season before was like no other."""
    rng, season = np.random.default_rng(3), seasons[1] or seasons[0]
    shape, number = np.tile(1 + rng.random(season), 10), np.repeat(np.arange(10), season)
    strange = 5 * rng.random(len(shape)) * (number == 2)
    for place, values in ((32, shape * (1 + (number > 4))), (33, shape + 3 * (number > 4))):
        made, usable = simple_forecasts((values + strange)[: 9 * season], np.array([9 * season]), 5, seasons)
        assert usable[0, place]
        assert_allclose(made[0, place], values[9 * season :][:5])


def test_medians_of_seasons_say_what_their_names_say():
    values = np.random.default_rng(4).normal(size=400)
    made, usable = simple_forecasts(values, np.array([400, 331]), 9, (4, 36))
    assert usable[:, [33, 34, 35]].all()
    assert not usable[:, 32].any()  # some are negative
    for row, end in enumerate((400, 331)):
        origins = [end - 36 * k for k in range(1, 9)]
        for place, around in ((33, 16), (34, 36)):
            now = values[end - around : end].mean()
            paths = [values[at : at + 9] + now - values[at - around : at].mean() for at in origins if at >= around]
            assert_allclose(made[row, place], np.median(paths, axis=0))
    change = values[36:331] - values[:-36][: 331 - 36]
    kept = max(float(change[1:] @ change[:-1]) / float(change @ change), 0)
    missed = values[330] - simple_forecasts(values, np.array([330]), 1, (4, 36))[0][0, 33, 0]
    assert_allclose(made[1, 35], made[1, 33] + missed * kept ** np.arange(1.0, 10.0))


def test_medians_of_seasons_ask_for_two_and_what_their_level_is_of():
    values = np.arange(300.0)
    for end, horizon, told in ((88, 9, True), (87, 9, False), (88, 40, False), (124, 40, True)):
        assert simple_forecasts(values[:end], np.array([end]), horizon, (4, 36))[1][0, 33] == told
    assert not simple_forecasts(values, np.array([300]), 9, (0, 0))[1][0, 32:].any()
    assert np.isfinite(simple_forecasts(values, np.array([300, 124, 88, 87, 3, 1]), 9, (4, 36))[0]).all()
