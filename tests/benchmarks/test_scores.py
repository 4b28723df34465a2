"""The scores of `benchmarks/scores.py` on numbers of which they are known."""

from __future__ import annotations

import numpy as np

from benchmarks.scores import drawn_again, inside, quantile_losses


def test_quantile_losses_are_twice_what_a_level_costs():
    losses = quantile_losses(np.array([[1.0], [1.0]]), np.array([2.0]), np.array([0.1, 0.9]))
    np.testing.assert_allclose(losses, [[0.2], [1.8]])


def test_the_interval_is_that_of_the_draws_whatever_stands_before_them():
    draws = np.linspace(0, 100, 101)[:, None]
    actual = np.array([[4.9], [5.1], [94.9], [95.1]])
    one = inside(draws, actual)
    assert one.ravel().tolist() == [False, True, True, False]
    several = inside(np.broadcast_to(draws, (4, 101, 1)), actual)
    assert (several == one).all()


def test_what_is_the_same_for_all_items_is_sure():
    assert drawn_again(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]), times=50) == (0.5, 0.5)
    low, high = drawn_again(np.array([0.0, 1.0]), np.ones(2), times=200)
    assert (low, high) == (0.0, 1.0)
