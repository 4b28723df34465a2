"""Which of a history's pasts are tried, and what those on such days say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.signal import lfilter

from tsdiff.windows.anchors import pooled
from tsdiff.windows.simple import CANDIDATES
from tsdiff.windows.tries import a_season_ago, backtests, has_weeks
from tsdiff.windows.weighing import weighed

DAY, WEEK = 24, 168
ALL = np.ones(CANDIDATES, dtype=bool)


def workweek(steps: np.ndarray) -> np.ndarray:
    """Hours from a Monday on; Saturdays and Sundays are 6 lower."""
    return 100 + 10 * np.sin(2 * np.pi * steps / DAY) - 6 * ((steps // DAY) % 7 >= 5)


def hours(mean: np.ndarray, seed: int) -> np.ndarray:
    return mean + lfilter([1.0], [1.0, -0.5], np.random.default_rng(seed).normal(size=len(mean)))


def mean_miss(first: int, mean, seeds: int = 6) -> float:
    """How far the weighed mean of the first six hours after `first` is off."""
    steps = np.arange(first + DAY)
    pools = weighed([pooled(hours(mean(steps[:first]), seed), DAY, (DAY, WEEK)) for seed in range(seeds)])
    return float(np.mean([np.abs(pool.mean - mean(steps[first:]))[:6].mean() for pool in pools]))


@pytest.mark.parametrize("weeks", [3, 6])
@pytest.mark.parametrize("day", [0, 5], ids=["Monday", "Saturday"])
def test_the_first_day_after_a_weekend_or_of_it_is_no_day_as_yesterday(weeks: int, day: int) -> None:
    assert mean_miss(weeks * WEEK + day * DAY, workweek) < 1.4  # 6 of a day ago; the noise has a deviation of 1.2


def test_where_days_are_alike_weeks_ago_take_nothing_away() -> None:
    assert mean_miss(4 * WEEK, lambda steps: 100 + 10 * np.sin(2 * np.pi * steps / DAY)) < 0.9


def test_worse_at_such_an_hour_counts_less_and_better_no_more() -> None:
    history = hours(workweek(np.arange(6 * WEEK)), 1)
    pool = pooled(history, DAY, (DAY, WEEK))
    lately = (pool.errors / pool.errors.min()) ** -4
    factors = np.divide(pool.shares, lately, out=np.zeros(CANDIDATES), where=lately > 1e-9)
    factors /= factors.max()
    yesterday, same_hour = [2, 8], [5, 11, 12]
    assert factors[yesterday].max() < 0.2
    np.testing.assert_allclose(factors[same_hour], 1, rtol=0.05)


def test_tries_weeks_ago_begin_then_and_know_two_weeks_where_two_of_them_do() -> None:
    values = np.arange(1000.0)

    def begins(count: int, known: np.ndarray | None = None, seasons: tuple[int, int] = (DAY, WEEK)) -> list[int]:
        tried, ends = backtests(count, DAY, seasons)
        made = a_season_ago(values[:count], known, (int(ends[-1]), tried), ALL, seasons)
        return [] if made is None else [int(begin) for begin in made.actual[:, 0]]

    assert begins(1000) == [832, 664, 496]  # 328 and 160 know less than two
    assert begins(504) == [336, 168]
    assert begins(330) == []  # 162 knows no week
    known = np.ones(1000, dtype=bool)
    known[831] = known[664:688] = False
    assert begins(1000, known) == [496]  # the others come after a gap, or see none
    assert begins(1000, seasons=(DAY, 100)) == [800]  # late ones go back to 888
    assert not has_weeks((7, 365))
    assert not has_weeks((0, 0))
    assert has_weeks((96, 672))


def test_what_a_try_tells_is_the_logarithm_of_errors() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=1000)
    made = a_season_ago(values, None, (888, DAY), ALL, (DAY, WEEK))
    assert made is not None
    behind, tries = made.behind(2, 1e-12)
    off = np.abs(made.made[:2] - made.actual[:2, None]).mean(2).mean(0)
    there = tries == 2
    assert_array_equal(there, tries > 0)
    off = np.where(there, off, np.inf)
    np.testing.assert_allclose(behind, np.minimum(np.log(off / off.min()), 4), atol=1e-9)
    none = ALL.copy()
    none[np.argmin(off)] = False
    without = a_season_ago(values, None, (888, DAY), none, (DAY, WEEK))
    assert without is not None
    again, some = without.behind(2, 1e-12)
    assert some[np.argmin(off)] == 0
    assert again[np.argmin(off)] == 4
    assert np.sort(again)[0] == 0
