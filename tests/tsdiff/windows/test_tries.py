"""Which of a history's pasts are tried, and what those on such days say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.signal import lfilter

from tsdiff.windows.anchors import pooled
from tsdiff.windows.simple import CANDIDATES
from tsdiff.windows.tries import Earlier, a_season_ago, backtests, has_weeks
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


@pytest.mark.parametrize("weeks", [4, 6])
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
    behind = made.behind(2, 1e-12)
    there = made.usable[:2].all(0)
    off = np.where(there, np.abs(made.made[:2] - made.actual[:2, None]).mean(2).mean(0), np.inf)
    np.testing.assert_allclose(behind, np.minimum(np.log(off / off.min()), 4), atol=1e-9)
    none = ALL.copy()
    none[np.argmin(off)] = False
    without = a_season_ago(values, None, (888, DAY), none, (DAY, WEEK))
    assert without is not None
    again = without.behind(2, 1e-12)
    assert again[np.argmin(off)] == 4
    assert np.sort(again)[0] == 0


def tries(errors: np.ndarray, usable: np.ndarray | None = None) -> Earlier:
    """Of which each candidate missed by so much, (tries, CANDIDATES)."""
    made = np.repeat(errors[..., None], DAY, axis=2)
    return Earlier(
        made, np.ones(errors.shape, dtype=bool) if usable is None else usable, np.zeros((len(errors), DAY)), None
    )


def test_what_is_surely_behind_is_so_by_two_standard_errors() -> None:
    errors = np.full((4, CANDIDATES), np.e**2)
    errors[:, 0] = [1, 2, 3, 4]  # the best one of all
    errors[:, 1] = np.e * errors[:, 0]
    errors[:, 2] = errors[:, 0] * np.exp([0, 2, 0, 2])
    errors[:, 3] = errors[:, 0] * np.exp([0, 8, 0, 0])
    sure, count = tries(errors).surely_behind(0.0)
    np.testing.assert_allclose(sure[:4], [0, 1, 0, 0], atol=1e-9)
    assert_array_equal(count, 4)
    errors[:, 2] = errors[:, 0] * np.exp([2, 4, 2, 4])
    np.testing.assert_allclose(tries(errors).surely_behind(0.0)[0][2], 3 - 2 / np.sqrt(4))


def test_what_was_tried_once_is_not_surely_behind_and_without_the_best_one_nothing_is_said() -> None:
    errors = np.full((3, CANDIDATES), 5.0)
    errors[:, 0] = 1.0
    usable = np.ones(errors.shape, dtype=bool)
    usable[1:, 1] = False
    usable[2, 0] = False
    errors[2, 0] = 500.0
    usable[1:, 5], errors[0, 5] = False, 0.1  # once, by luck
    sure, count = tries(errors, usable).surely_behind(0.0)
    assert sure[1] == 0
    assert count[1] == 1
    others = [2, 3, 4, *range(6, CANDIDATES)]
    np.testing.assert_allclose(sure[others], np.log(5))
    assert_array_equal(count[others], 2)
