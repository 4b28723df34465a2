"""Samples take the values that a series takes: none below zero, whole numbers, and as many zeros."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tsdiff.sampling.zeros import Support, _present, within, within_gaps


@pytest.mark.parametrize(
    ("values", "nonnegative", "counts"),
    [
        ([0, 1, 5, np.nan], True, True),
        ([0.5, 2.0], True, False),
        ([-1, 2], False, False),
        ([np.nan], False, False),
        ([np.inf, 3], True, True),
        ([0, 2.0**52 - 1], True, True),
        ([0, 2.0**52], True, False),  # such floats have no halves
        ([1e20, 3e20], True, False),
    ],
)
def test_what_a_series_takes_is_read_from_it(values, nonnegative, counts):
    found = Support.of(np.array(values, dtype=float))
    assert (found.nonnegative, found.counts) == (nonnegative, counts)


def normal(mean: float, deviation: float, steps: int = 14) -> np.ndarray:
    """Samples of a Gaussian forecast."""
    return np.random.default_rng(1).normal(mean, deviation, (400, steps)).astype(np.float32)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.7, 2.0])
def test_counts_are_whole_with_the_share_of_zeros_of_the_history(rate):
    history = np.random.default_rng(0).poisson(rate, 300).astype(float)
    made = within(normal(rate, np.sqrt(rate)), history, (7,))
    assert (made == np.rint(made)).all()
    assert made.min() == 0
    assert made.dtype == np.float32
    assert (made == 0).mean() == pytest.approx((history[-200:] == 0).mean(), abs=0.03 + 0.05 * (rate == 2.0))


def test_lumpy_demand_is_zero_as_often_as_it_was_and_large_values_stay():
    rng = np.random.default_rng(0)
    history = np.where(rng.random(300) < 0.8, 0.0, rng.normal(50, 5, 300))
    samples = normal(10, 20)
    made = within(samples, history, (1,), told=True)
    assert (made == 0).mean() == pytest.approx((history[-200:] == 0).mean(), abs=0.02)
    np.testing.assert_array_equal(made[made > 0], samples[made > 0])
    sure = within(normal(60, 2), history, (1,), told=True)  # far from zero: a value as large is none
    assert sure.min() > 40


def test_what_comes_by_chance_has_the_sizes_of_the_history_in_the_order_of_the_samples():
    """Whatever the samples are: their mean was half of what a shop sells."""
    rng = np.random.default_rng(0)
    history = np.where(rng.random(200) < 0.8, 0.0, rng.poisson(5.0, 200) + 1.0)
    samples = normal(0.3, 0.5)
    made = within(samples, history, (7,))
    assert made.dtype == np.float32
    assert set(np.unique(made)) <= set(history)
    assert made.mean() == pytest.approx(history.mean(), rel=0.1)
    for level in (0.85, 0.9, 0.95, 0.99):
        assert np.quantile(made, level) == pytest.approx(np.quantile(history, level), abs=1)
    for step in range(samples.shape[1]):
        assert (np.diff(made[samples[:, step].argsort(), step]) >= 0).all()


@pytest.mark.parametrize("rate", [1.5, 2.5])
def test_counts_with_some_zeros_that_come_by_chance_keep_their_mean(rate):
    """Samples too wide for them, of which what is below 0 came back as 0 or 1."""
    history = np.random.default_rng(2).poisson(rate, 400).astype(float)
    made = within(normal(rate, 1.5 * np.sqrt(rate)), history, (7,))
    assert made.mean() == pytest.approx(history[-200:].mean(), rel=0.03)
    assert np.quantile(made, 0.95) == np.quantile(history[-200:], 0.95)


@pytest.mark.parametrize("rate", [4.0, 6.0])
def test_counts_of_wide_samples_are_zero_no_more_often_than_the_series(rate):
    """All that was below 0 was 0: 5 % of the samples for six a day, of which a Poisson law has .2 %."""
    days = np.arange(14)
    means = rate * (1 + 0.5 * np.sin(2 * np.pi * days / 7))
    history = np.random.default_rng(0).poisson(np.tile(means, 15)).astype(float)
    samples = normal(0, 1.8 * np.sqrt(rate)) + means.astype(np.float32)
    assert (samples < 0).mean() > 2 * np.exp(-means).mean()
    made = within(samples, history, (7,))
    most = max((history[-200:] == 0).mean(), np.exp(-means).mean())
    assert (made == 0).mean() == pytest.approx(most, rel=0.1)
    assert (np.diff(made[samples[:, 3].argsort(), 3]) >= 0).all()


def test_counts_that_fall_to_zero_may_be_zero_as_they_never_were():
    history = np.rint(np.linspace(60, 3, 200))
    made = within(samples := normal(0.6, 0.5), history, (7,))
    assert (made == 0).mean() == pytest.approx((samples < 0.5).mean(), abs=0.01)


@pytest.mark.parametrize("name", ["weekends", "drift", "trend", "few"])
def test_counts_with_some_zeros_that_something_foretells_keep_their_samples(name):
    rng, days = np.random.default_rng(0), np.arange(60 if name == "few" else 200)
    rate = np.full(len(days), 2.0)
    if name == "weekends":
        rate = np.where(days % 7 >= 5, 1.0, 3.0)
    if name == "drift":
        rate = 2 * np.exp(np.cumsum(rng.normal(0, 0.1, len(days))))
    if name == "trend":
        rate = 1 + days / 80
    history = rng.poisson(rate).astype(float)
    assert 0.05 < (history == 0).mean() < 0.3
    assert within(normal(50.0, 1.0), history, (7,)).min() > 40


def test_days_differ_as_far_as_chance_does_not_make_them():
    """Sales every seventh day by chance have no day without any; those of weekends are on weekends."""
    rng, days = np.random.default_rng(1), np.arange(280)
    alike = np.where(rng.random(280) < 1 / 7, 3.0, 0.0)
    share = (alike[-200:] == 0).mean()
    np.testing.assert_allclose((within(normal(0.3, 0.5, 14), alike, (7,)) == 0).mean(axis=0), share, atol=0.06)
    weekends = rng.poisson(np.where(days % 7 >= 5, 1.5, 0.4)).astype(float)
    zero = (within(normal(0.3, 0.5, 7), weekends, (7,)) == 0).mean(axis=0)
    assert zero[5:].max() < 0.35 < 0.45 < zero[:5].min()


@pytest.mark.parametrize("name", ["nights", "runs", "growing", "few", "told", "unknown of late"])
def test_what_does_not_come_by_chance_keeps_its_samples(name):
    rng, steps = np.random.default_rng(0), np.arange(24 * 20)
    zero = {"nights": steps % 24 < 12, "runs": steps // 30 % 2 == 0}.get(name, rng.random(len(steps)) < 0.6)
    history = np.where(zero, 0.0, rng.gamma(4.0, 1.0, len(steps)))
    if name == "growing":
        history *= steps / 100
    if name == "few":
        history[:-20] = 0.0
        history[-20:][::6] = 0.0
    if name == "unknown of late":
        history[-24 * 19 :] = np.nan
        samples = normal(4.0, 1.0)
        assert np.isfinite(within(samples, np.append(history, np.full(24 * 40, np.nan)), (24,))).all()
    samples = normal(4.0, 1.0)
    made = within(samples, history, (24,), told=name == "told")
    assert set(made[made > 0].tolist()) <= set(samples[samples > 0].tolist())


def test_the_share_of_zeros_is_that_of_the_times_of_the_season():
    rng = np.random.default_rng(0)
    day = np.arange(24 * 28) % 24
    history = np.where(day < 12, 0.0, rng.poisson(3.0, len(day)) + 1.0)
    nights, days = (
        within(normal(0.4, 0.5, 12), history, (24,)),
        within(normal(4.0, 1.0, 24)[:, 12:], history[12:], (24,)),
    )
    assert (nights == 0).mean() > 0.85
    later = within(normal(4.0, 1.5, 12), history[:-12], (24,))
    assert (later == 0).mean() < 0.02
    assert days.shape == (400, 12)


@pytest.mark.parametrize("name", ["closed", "told", "opened", "idle"])
def test_a_day_of_the_week_that_is_always_zero_is_so_however_wide_samples_are(name):
    """Sundays of a shop that was never open on them had a mean of a fifth of the others', at a chance of 25 %."""
    days, samples = np.arange(210), normal(40, 30)
    history = np.where(days % 7 == 6, 0.0, SOLD[days % 200] + 10)
    if name == "opened":  # once
        history[-1] = 30.0
    if name == "idle":  # two months of three, so that most other days are zero, too
        history[days // 30 % 3 > 0] = 0.0
    made = within(samples, history, (7,), told=name == "told")
    sundays = made[:, [6, 13]]
    if name in ("closed", "opened"):
        np.testing.assert_allclose((sundays == 0).mean(axis=0), 28 / 29, atol=0.01)
        others = np.delete(made, [6, 13], axis=1)
        assert (others == 0).mean() < 0.01 < (samples < 0).mean()
        assert (sundays[sundays > 0] > 80).all()  # the largest of the samples
    else:
        assert (sundays == 0).mean() < 0.7


@pytest.mark.parametrize(("before", "exceptions"), [(8, 0), (52, 0), (20, 1)])
def test_sundays_of_two_weeks_follow_laplace_and_leave_other_days_alone(before: int, exceptions: int):
    """Of a shop that had opened on two Sundays these stayed zero in two thirds, and other days in 2 to 16 %."""
    days = np.arange(7 * (before + 2))
    zero = (days % 7 == 6) & (days < 7 * before) & (days >= 7 * exceptions)
    made = within(normal(40, 30), np.where(zero, 0.0, SOLD[days % 200] + 10), (7,))
    expected = (1 + exceptions) / (3 + exceptions)
    np.testing.assert_allclose((made[:, [6, 13]] == 0).mean(axis=0), expected, atol=0.01)
    assert (np.delete(made, [6, 13], axis=1) == 0).mean() < 0.01


@pytest.mark.parametrize("weeks", [3, 4, 6, 12])
def test_a_habit_of_a_month_goes_before_that_of_a_year(weeks: int):
    """Most Sundays of a shop that had opened on some were zero, and few of one that had closed on as many."""
    days, samples = np.arange(7 * (52 + weeks)), normal(40, 30)
    sunday, late = days % 7 == 6, days >= 7 * 52
    opened, closed = (np.where(sunday & zero, 0.0, SOLD[days % 200] + 10) for zero in (~late, late))
    assert (within(samples, opened, (7,)) == 0).mean() < 0.01
    made = within(samples, closed, (7,))
    np.testing.assert_allclose((made[:, [6, 13]] == 0).mean(axis=0), weeks / (weeks + 1), atol=0.03)
    assert (np.delete(made, [6, 13], axis=1) == 0).mean() < 0.01


@pytest.mark.parametrize("weeks", [5, 12])
def test_sundays_of_hours_are_those_of_weeks(weeks):
    """Of a day's hours a seventh was zero, so that all days were as often; of the next one none may be a Sunday."""
    hours = np.arange(weeks * 168)
    opened = (hours % 24 >= 8) & (hours % 24 < 20) & (hours % 168 < 144)
    history = np.where(opened, SOLD[hours % 200] + 10, 0.0)
    samples, week = normal(40, 30, 168), opened[:168]
    made = within(samples, history, (24, 168, 365, 1))
    assert (made[:, ~week] == 0).mean() > 0.9
    assert (made[:, week] == 0).mean() < 0.01
    assert (within(samples[:, :24], history, (24, 168))[:, week[:24]] == 0).mean() < 0.01
    assert (within(samples, history, (24,))[:, week] == 0).mean() > 0.1
    gapped = np.where((hours >= 400) & (hours < 568), np.nan, history)
    filled = within_gaps(normal(40, 30, 168), gapped, (24, 168))
    assert (filled[:, ~opened[400:568]] == 0).mean() > 0.9
    assert (filled[:, opened[400:568]] == 0).mean() < 0.01


def test_few_sundays_are_chance():
    hours = np.arange(2 * 168)
    history = np.where(hours % 168 < 144, SOLD[hours % 200] + 10, 0.0)
    assert (within(normal(40, 30, 168), history, (24, 168))[:, 144:] == 0).mean() < 0.7


def test_zeros_alone_go_on_and_series_without_zeros_get_none_but_by_rounding():
    assert not within(normal(0.0, 0.3), np.zeros(50), (7,)).any()
    counts = np.arange(1.0, 60.0)
    np.testing.assert_array_equal(within(np.array([[0.4, 0.6, 2.4, 2.6, -3.0]]), counts, (1,)), [[0, 1, 2, 3, 0]])
    positive = counts + 0.5
    np.testing.assert_array_equal(within(np.array([[-0.4, 0.6]]), positive, (1,)), [[0.0, 0.6]])


def test_not_asked_for_only_the_bound_is_kept():
    samples = np.array([[-1.0, 0.3, 2.7]])
    np.testing.assert_array_equal(within(samples, np.array([0.0, 1.0, 2.0]), (1,), counts=False), [[0.0, 0.3, 2.7]])


RNG = np.random.default_rng(3)
SOLD = RNG.poisson(30.0, 200).astype(float)


@pytest.mark.parametrize(
    "present", [SOLD[:60], np.append(1.0, RNG.poisson(3.0, 60)), np.ones(100), 30 + RNG.normal(0, 2, 60)]
)
def test_zeros_before_a_launch_tell_nothing(present):
    samples = normal(present.mean(), present.std() + 0.05)
    launched = within(samples, np.concatenate([np.zeros(140), present]), (7,))
    np.testing.assert_array_equal(launched, within(samples, present, (7,)))
    assert (launched == 0).mean() < 0.2


@pytest.mark.parametrize("days", [20, 60, 150])
@pytest.mark.parametrize("sold", [SOLD, SOLD + 0.5, np.tile([0.0, *SOLD[:6]], 20)])
def test_what_is_sold_no_more_has_a_small_chance_of_life_at_most(sold, days):
    made = within(normal(0.6, 1.0), np.concatenate([sold, np.zeros(days)]), (7,))
    assert (made > 0).mean() <= 1 / (days + 1) + 1e-3
    assert (np.quantile(made, 0.9, axis=0) == 0).all()


def shut(first: int, stop: int, count: int = 120) -> np.ndarray:
    """Months of a shop with a year's season that was shut for some of them."""
    month = np.arange(count)
    sold = np.rint(60 + 30 * np.sin(2 * np.pi * month / 12))
    return np.where((first <= month) & (month < stop), 0.0, sold)


@pytest.mark.parametrize(("first", "stop"), [(40, 44), (70, 76), (90, 105)])
def test_zeros_of_an_outage_that_is_over_tell_nothing(first: int, stop: int):
    """They stood at the lowest months of the year, long after."""
    samples = normal(40, 12, 12)
    for history in (shut(first, stop), shut(first, stop) + 0.25 * (shut(first, stop) > 0)):
        assert (within(samples, history, (12,)) == 0).mean() < 0.002
    some = shut(first, stop)
    some[first + 1] = 2.0  # a sale in between
    some[0] = np.nan
    assert (within(samples, some, (12,)) == 0).mean() < 0.002


def test_zeros_of_two_outages_tell_no_more():
    history = np.minimum(shut(40, 44), shut(70, 76))
    assert (within(normal(40, 12, 12), history, (12,)) == 0).mean() < 0.002
    history[9] = 0.0  # neither in one nor in another
    assert (within(normal(40, 12, 12), history, (12,)) == 0).mean() == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize("since", [20, 80, 160])
def test_an_outage_of_a_shop_that_is_closed_on_sundays_tells_nothing(since: int):
    days = np.arange(300)
    history = np.where((days % 7 == 6) | ((days >= since) & (days < since + 21)), 0.0, SOLD[days % 140] + 10)
    made = within(normal(30, 5, 14), history, (7,))
    assert (made == 0).mean() == pytest.approx(1 / 7, abs=0.02)


@pytest.mark.parametrize(
    "history",
    [
        np.minimum.reduce([shut(at, at + 5) for at in (10, 35, 60, 85)]),  # a habit
        np.where(np.arange(120) % 60 == 58, 0.0, shut(70, 76)),  # what has happened before
        shut(100, 110),  # less than a season ago
        shut(40, 42),  # too few to be more than chance
    ],
)
def test_other_zeros_tell(history: np.ndarray):
    made = within(normal(40, 12, 12), history, (12,))
    assert (made == 0).mean() == pytest.approx((history == 0).mean(), abs=0.01)


def test_what_is_closed_each_summer_is_zero_then_and_open_before():
    """By Laplace's rule, after two summers in three of four samples; three days at either end are left to the model."""
    days = np.arange(800)
    history = np.where(days % 365 < 60, 0.0, np.resize(SOLD, 800))[:720]
    made = within(normal(20, 6, 28), history, (7, 365, 1))
    np.testing.assert_allclose((made[:, 13:] == 0).mean(axis=0), 0.75, atol=0.01)
    assert (made[:, :13] == 0).mean() < 0.01
    once = within(normal(20, 6, 28), history[365:], (7, 365, 1))
    assert (once == 0).mean() < 0.01


def test_a_season_that_is_over_each_winter_has_not_ended():
    days = np.arange(900)
    history = np.where(days % 365 < 150, 0.0, np.resize(SOLD, 900))[: 730 + 100]
    assert _present(history, (7, 365)) is history
    assert len(_present(history[365 + 200 :], (7, 365))) == 100


def test_a_shop_that_no_longer_closes_on_sundays_is_not_zero_on_them():
    closing = np.where(np.arange(140) % 7 == 6, 0.0, SOLD[:140])
    made = within(normal(30, 5), np.concatenate([closing, SOLD[140:]]), (7,))
    assert made.min() > 0


def intermittent(rng: np.random.Generator, zeros: float, steps: int) -> np.ndarray:
    return np.where(rng.random(steps) < zeros, 0.0, rng.poisson(5.0, steps) + 1.0)


STATIONARY = {
    "half zeros": intermittent(np.random.default_rng(0), 0.5, 100),
    "70 % zeros": intermittent(np.random.default_rng(1), 0.7, 300),
    "90 % zeros": intermittent(np.random.default_rng(2), 0.9, 60),
    "runs of zeros": np.repeat(intermittent(np.random.default_rng(3), 0.6, 60), 6),
    "closed on Sundays": np.where(np.arange(150) % 7 == 6, 0.0, SOLD[:150]),
    "closed for holidays": np.concatenate([SOLD[:150], np.zeros(9)]),
    "150 days of the year": np.where(np.arange(1000) % 365 < 150, 0.0, np.resize(SOLD, 1000)),
    "in them": np.where(np.arange(840) % 365 < 150, 0.0, np.resize(SOLD, 840)),
    "with gaps": np.where(np.arange(300) % 50 < 20, np.nan, intermittent(np.random.default_rng(4), 0.8, 300)),
}


@pytest.mark.parametrize("name", STATIONARY)
def test_where_nothing_changes_all_of_the_history_tells(name):
    history = STATIONARY[name]
    assert _present(history, (7,)) is history


@pytest.mark.parametrize("hours", [60, 100, 500])
def test_nights_are_no_change(hours):
    history = np.where(np.arange(hours) % 24 < 11, 0.0, np.resize(SOLD, hours))
    assert _present(history, (24,)) is history


def test_of_a_thousand_intermittent_series_hardly_one_changes():
    rng = np.random.default_rng(0)
    made = [intermittent(rng, rng.uniform(0.7, 0.9), int(rng.integers(40, 300))) for _ in range(1000)]
    assert sum(_present(one, (7,)) is not one for one in made if one.any()) <= 5


@pytest.mark.parametrize("values", [[3.0] * 6 + [0.0] * 6, [0.0] * 8 + [3.0] * 8])
def test_halves_that_do_not_vary_are_told_apart_without_a_warning(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = within(normal(2.0, 1.0), np.array(values), (7,), counts=True)
    assert set(np.unique(made)) <= set(range(12))


# --- gaps ----------------------------------------------------------------------------------------------------


def holed(values: np.ndarray, every: int = 9) -> np.ndarray:
    made = values.astype(float)
    made[::every] = np.nan
    return made


def test_gaps_of_counts_are_whole_with_the_zeros_of_what_lies_around_them():
    """Sundays without a sale, and of the other days one in ten."""
    rng = np.random.default_rng(0)
    days = np.arange(420)
    values = holed(np.where((days % 7 == 6) | (rng.random(420) < 0.1), 0, rng.poisson(9, 420) + 1))
    missing = np.isnan(values)
    samples = rng.normal(np.where(days[missing] % 7 == 6, 0.5, 10.0), 2.0, (200, missing.sum()))
    made = within_gaps(samples, values, (7,))
    assert (made == np.rint(made)).all()
    sunday = days[missing] % 7 == 6
    assert (made[:, sunday] == 0).mean() > 0.85
    assert (made[:, ~sunday] == 0).mean() < 0.15
    np.testing.assert_array_equal(within_gaps(samples, values, (7,), counts=False), np.maximum(samples, 0))


def test_an_outage_is_told_in_gaps_beside_it_alone():
    """Gaps elsewhere had its zeros at their lowest steps."""
    hours = np.arange(720)
    values = 20 + 5 * np.sin(hours / 24 * 2 * np.pi) + 0.1 * np.cos(hours)
    values[300:340] = 0.0
    away, beside = values.copy(), values.copy()
    away[400:430] = beside[340:350] = np.nan
    samples = np.random.default_rng(4).normal(values[400:430], 1.0, (100, 30))
    np.testing.assert_array_equal(within_gaps(samples, away, (24, 168, 1)), samples)
    assert (within_gaps(samples[:, :10], beside, (24, 168, 1)) == 0).any()


def test_gaps_of_demand_that_comes_by_chance_have_its_sizes():
    rng = np.random.default_rng(1)
    values = holed(np.where(rng.random(300) < 0.7, 0, rng.poisson(5, 300) + 1))
    missing = np.isnan(values)
    made = within_gaps(rng.normal(0.3, 0.5, (200, missing.sum())), values, (7,))
    assert set(np.unique(made)) <= set(values[~missing])
    assert (made == 0).mean() == pytest.approx((values == 0).sum() / (~missing).sum(), abs=0.04)
    assert made.mean() == pytest.approx(np.nanmean(values), rel=0.15)


def test_gaps_before_a_launch_and_after_an_end_are_zero_and_those_between_as_what_was_sold():
    rng = np.random.default_rng(2)
    days = np.arange(450)
    alive = (days >= 150) & (days < 300)
    values = holed(np.where(alive, rng.poisson(6, 450) + 1, 0))
    missing = np.isnan(values)
    inside = alive[missing]
    made = within_gaps(rng.normal(np.where(inside, 7.0, 0.0), 2.0, (200, missing.sum())), values, (7,))
    assert (made[:, ~inside] == 0).mean() > 0.98
    assert (made[:, inside] == 0).mean() < 0.01  # as there is none; of all around, half are
    between = holed(np.where(days < 150, 0, rng.poisson(6, 450) + 1))
    between[140:165] = np.nan  # when it began, nobody knows: the samples tell
    at = np.flatnonzero(np.isnan(between))
    made = within_gaps(rng.normal(4, 1, (50, len(at))), between, (7,))
    assert made[:, (at >= 140) & (at < 165)].mean() == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("values", [[0, np.nan, 0, 0, np.nan], [np.nan, 3, np.nan], [5.5, np.nan, 0, 2]])
def test_gaps_of_few_values(values):
    given = np.array(values, dtype=float)
    made = within_gaps(np.array([[-1.0, 0.2], [0.4, 2.6]])[:, : np.isnan(given).sum()], given, (7,))
    assert (made >= 0).all()
    assert (made == np.rint(made)).all() == Support.of(given).counts
