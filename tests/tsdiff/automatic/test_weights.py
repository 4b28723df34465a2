"""Shares of a pool: the quadratic form of its CRPS, and what is taken when."""

from __future__ import annotations

import numpy as np
import pytest

from tsdiff.automatic.predictor import apportioned
from tsdiff.automatic.weights import Losses, choose, pooled_shares, uncertainty

NAMES = ("naive", "bundled", "trained")


def losses(shifts: tuple[float, ...], spreads: tuple[float, ...], windows: int = 60) -> Losses:
    """Of Gaussian candidates around what happened, which is standard normal."""
    rng = np.random.default_rng(0)
    actual = [rng.normal(size=3) for _ in range(windows)]
    samples = [
        [shift + spread * rng.normal(size=(80, 3)) for _ in range(windows)]
        for shift, spread in zip(shifts, spreads, strict=True)
    ]
    return Losses.of(samples, actual)


def test_the_form_is_the_crps_of_the_samples_together():
    rng = np.random.default_rng(1)
    one, two, actual = rng.normal(size=(4, 5)), rng.normal(1.0, 2.0, size=(4, 5)), rng.normal(size=5)
    actual[2] = np.nan
    found = Losses.of([[one], [two]], [actual])
    whole = np.concatenate([one, two])[:, np.isfinite(actual)]
    seen = actual[np.isfinite(actual)]
    wanted = np.abs(whole - seen).mean(0) - np.abs(whole[:, None] - whole[None]).mean((0, 1)) / 2
    assert found.total(np.array([0.5, 0.5])) == pytest.approx(wanted.sum())
    assert found.size.sum() == pytest.approx(np.abs(seen).sum())


def test_shares_are_the_best_on_the_simplex():
    found = losses((-1.0, 1.0, 8.0), (0.5, 0.5, 0.5))
    shares = found.best_shares()
    assert shares.sum() == pytest.approx(1.0)
    assert shares[2] == 0
    assert abs(shares[0] - 0.5) < 0.1  # two that err to either side
    grid = [np.array([a, 1 - a, 0.0]) for a in np.linspace(0, 1, 101)]
    assert found.total(shares) <= min(map(found.total, grid)) + 1e-3 * found.total(shares)


@pytest.mark.parametrize(
    ("shifts", "spreads", "taken"),
    [
        ((2.0, 0.0, 2.0), (1.0, 1.0, 1.0), [0, 1, 0]),
        ((0.0, 3.0, -2.0), (1.0, 0.3, 0.3), [1, 0, 0]),
    ],
)
def test_what_is_clearly_best_is_taken_alone(shifts, spreads, taken):
    choice = choose(losses(shifts, spreads), NAMES, list(range(60)), list(range(60)))
    assert choice.shares.tolist() == taken


def test_a_pool_is_taken_where_it_does_better_on_windows_that_did_not_choose():
    choice = choose(losses((5.0, -1.0, 1.0), (1.0, 0.4, 0.4)), NAMES, list(range(60)), list(range(60)))
    assert choice.shares[0] == 0
    assert min(choice.shares[1:]) > 0.3
    assert "pooled" in choice.why


def test_candidates_that_are_as_good_as_each_other_are_pooled():
    """The guard, too: windows after those that chose were forecast worse by it alone (docs/auto.md)."""
    choice = choose(losses((0.0, 0.02, -0.02), (1.0, 1.0, 1.0), windows=8), NAMES, list(range(8)), list(range(8)))
    assert min(choice.shares) > 0.2


@pytest.mark.parametrize(
    ("each", "taken"),
    [
        ((10.0, 1.0, 1.02), [0, 0.56, 0.44]),  # a pool that is worse by less than a hundredth
        ((10.0, 1.0, 1.2), [0, 1, 0]),
        ((1.0, 0.985, 3.0), [0.44, 0.56, 0]),
        ((1.0, 0.97, 3.0), [0, 1, 0]),
        ((1.0, 0.995, 1.2), [1, 0, 0]),  # better than the guard by less than a hundredth
    ],
)
def test_a_hundredth_decides(each, taken):
    found = Losses(np.tile(each, (5, 1)), np.zeros((5, 3, 3)), np.ones(5))
    assert choose(found, NAMES, list(range(5)), list(range(5))).shares.tolist() == pytest.approx(taken, abs=0.011)


@pytest.mark.parametrize(("gains", "alone_taken"), [((0.6, 0, 0, 0, -0.02, 0), False), ((0.1,) * 6, True)])
def test_what_is_better_at_one_time_alone_is_not_taken_alone(gains, alone_taken):
    """Eight series of one market: all of them gain at the same time, which is one piece of luck and not eight."""
    each = np.tile([10.0, 1.0, 1.0], (48, 1))
    each[:, 2] -= np.tile(gains, 8)
    groups, times = np.arange(48) // 6, np.arange(48) % 6
    found = Losses(each, np.zeros((48, 3, 3)), np.ones(48))
    shares = choose(found, NAMES, groups.tolist(), times.tolist()).shares
    assert (shares.tolist() == [0, 0, 1]) == alone_taken
    assert shares[2] > shares[1]


def test_an_uncertainty_is_that_of_windows_or_of_times():
    values = np.array([1.0, 2.0, 3.0, 6.0])
    apart = np.sqrt(4 * values.var(ddof=1))
    assert uncertainty(values, [0, 1, 2, 3]) == pytest.approx(apart)
    assert uncertainty(values, [0, 0, 0, 0]) == pytest.approx(apart)  # one time tells nothing of others
    assert uncertainty(values, [0, 0, 1, 1]) == pytest.approx(6.0)  # 3 and 9
    assert uncertainty(values, [0, 1, 1, 0]) == pytest.approx(apart)  # 7 and 5


def test_few_windows_choose_nothing():
    choice = choose(losses((0.0, 5.0, 5.0), (1.0, 1.0, 1.0), windows=2), NAMES, [0, 1], [0, 1])
    assert choice.shares.tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize(("shares", "whole", "counts"), [((0.5, 0.5), 5, [3, 2]), ((0.26, 0.74), 100, [26, 74])])
def test_samples_are_dealt_by_shares(shares, whole, counts):
    assert apportioned(shares, whole) == counts
    assert sum(apportioned((0.31, 0.37, 0.32), whole)) == whole


def test_a_candidate_of_hardly_any_use_is_left_out():
    # 1 + .48 s − .5 s (1 − s) of a share s of the second is least at s = .02.
    found = Losses(np.array([[1.0, 1.48]]), np.array([[[0.0, 0.5], [0.5, 0.0]]]), np.ones(1))
    assert found.total(np.array([0.98, 0.02])) < found.total(np.array([1.0, 0.0]))
    assert found.best_shares().tolist() == [1.0, 0.0]


def test_the_reason_states_the_crps_as_a_share_of_the_values():
    # A CRPS of 2 and 1 in each of 12 windows, whose values are 4 in size.
    found = Losses(np.tile([2.0, 1.0], (12, 1)), np.zeros((12, 2, 2)), np.full(12, 4.0))
    why = choose(found, NAMES[:2], list(range(12)), list(range(12))).why
    assert why.startswith("bundled scores CRPS 0.25 on windows")
    assert why.endswith("(CRPS of all levels; the table's is of 0.1 … 0.9)")  # which is another number


def test_few_windows_pull_shares_towards_equal_ones():
    """Of the candidates that are nearly as good: not of the guard, which is far behind."""
    few, many = (losses((4.0, 0.0, 0.2), (1.0, 1.0, 1.0), windows=count) for count in (6, 2000))
    told = pooled_shares(few)
    assert told[0] == 0
    np.testing.assert_allclose(told, (6 * few.best_shares() + 40 * np.array([0.0, 0.5, 0.5])) / 46, atol=0.011)
    np.testing.assert_allclose(pooled_shares(many), many.best_shares(), atol=0.02)
    assert told.sum() == pytest.approx(1.0)
