"""The laws of `benchmarks/laws.py` against what their formulas say of the next value."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from benchmarks.laws import FUTURES, LAWS, LEVELS, crps, lasting, states


@pytest.mark.parametrize("name", LAWS)
def test_histories_and_futures_are_of_their_lengths(name):
    law = LAWS[name]
    history, futures = law.draw(np.random.default_rng(0), law.history, law.horizon)
    assert history.shape == (law.history,)
    assert futures.shape == (FUTURES, law.horizon)
    assert np.isfinite(history).all()
    assert np.isfinite(futures).all()
    assert (futures.std(0) > 0).all()


def test_futures_go_on_from_the_history():
    rng = np.random.default_rng(1)
    history, futures = states(1.0, slope=0.5)(rng, 100, 20)
    assert_allclose(futures[:, 0].mean(), history[-1] + 0.5, atol=0.3)
    assert_allclose(futures[:, 19].mean(), history[-1] + 10, atol=1.3)
    assert_allclose(futures[:, 19].std(), np.sqrt(20), rtol=0.2)
    history, futures = lasting(0.8, lambda steps: 20 + 0.0 * steps)(rng, 100, 20)
    assert_allclose(futures[:, 0].mean(), 20 + 0.8 * (history[-1] - 20), atol=0.3)
    assert_allclose(futures[:, 0].std(), 1, rtol=0.2)
    assert_allclose(futures[:, 19].std(), 1 / np.sqrt(1 - 0.64), rtol=0.2)


def test_the_score_is_least_for_the_law():
    rng = np.random.default_rng(2)
    actual, draws = rng.normal(size=(4000, 3)), rng.normal(size=(4000, 3))
    scores = {
        (shift, width): crps(np.quantile(shift + width * draws, LEVELS, axis=0), actual)
        for shift in (-0.3, 0, 0.3)
        for width in (0.7, 1, 1.4)
    }
    assert min(scores, key=lambda key: scores[key]) == (0, 1)
    assert_allclose(scores[0, 1], 2 * norm.pdf(norm.ppf(LEVELS)).mean(), rtol=0.03)
