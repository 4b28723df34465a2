"""Both sides of a gap: each goes on to what is known beyond it, as far as its errors hang together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tsdiff.windows.anchored import Wanted, anchored_windows
from tsdiff.windows.anchors import pooled
from tsdiff.windows.hanging import correlations, likeliness, told_by_last
from tsdiff.windows.sides import Sides, joined

STEPS = 10
NOTHING = np.zeros(0)


def filled(values: np.ndarray, gap: slice, seasons: tuple[int, int] = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """Anchor and scale of what is hidden."""
    hidden = np.zeros(len(values), dtype=bool)
    hidden[gap] = True
    (made,) = anchored_windows([Wanted(values, 0, hidden, seasons)])
    return made.anchor[gap], made.scale[gap]


def errors(rate: float, origins: int = 60, steps: int = STEPS) -> np.ndarray:
    """Those of forecasts of an autoregression from its last value, (origins, steps)."""
    noise, made = np.random.default_rng(0).normal(size=(origins, steps)), np.zeros((origins, steps))
    for step in range(steps):
        made[:, step] = rate * made[:, step - 1] * (step > 0) + noise[:, step]
    return made


def test_a_walk_that_is_known_later_is_a_bridge():
    """Of S_k given S_n: S_n·k/n, and of its variance k a share of k/n is told."""
    weights = likeliness(errors(1.0))
    slopes, told = told_by_last(weights, STEPS, 1)
    k = np.arange(1, STEPS + 1)
    assert_allclose(slopes[:, 0] * np.sqrt(k / STEPS), k / STEPS, atol=0.05)
    assert_allclose(told, k / STEPS, atol=0.07)


def test_an_autoregression_that_is_known_later_is_its_conditional_mean():
    rate, k = 0.7, np.arange(1, STEPS + 1)
    variance = (1 - rate ** (2 * k)) / (1 - rate**2)
    slopes, told = told_by_last(likeliness(errors(rate, 2000)), STEPS, 1)
    exact = rate ** (STEPS - k) * np.sqrt(variance / variance[-1])  # by their deviations
    assert_allclose(slopes[:, 0], exact, atol=0.1)
    assert_allclose(told, exact**2, atol=0.1)


def test_noise_that_is_known_later_tells_nothing():
    slopes, told = told_by_last(likeliness(errors(0.0)), STEPS, 2)
    assert np.abs(slopes[:-2]).max() < 0.05
    assert told[:-2].max() < 0.05


def test_what_is_known_is_met_whatever_errors_are_like():
    for weights in np.eye(len(correlations(STEPS))):
        slopes, told = told_by_last(weights, STEPS, 3)
        assert_allclose(slopes[-3:], np.eye(3), atol=0.05)
        assert ((told >= 0) & (told <= 1)).all()


def test_errors_of_very_many_steps_are_looked_at_here_and_there():
    weights = likeliness(errors(1.0, 10, 1000))
    assert weights is not None
    assert told_by_last(weights, 1000, 4)[0][500].sum() == pytest.approx(np.sqrt(0.5), abs=0.1)
    assert likeliness(np.zeros((3, 5))) is None
    assert likeliness(np.ones((3, 1))) is None


def test_a_gap_between_mirrored_sides_has_the_size_of_a_forecast():
    """Where nothing is to be met beyond it."""
    side = pooled(np.random.default_rng(7).normal(size=27).cumsum() - 20, STEPS, (0, 0))
    gap = joined(Sides((side, side), (NOTHING, NOTHING)), iter([side, side]))
    assert_allclose((gap.scale * gap.profile).sum(), (side.scale * side.profile).sum(), rtol=1e-6)
    assert_allclose(gap.mean, gap.mean[::-1])


def walks(count: int, drift: float = 0.0, length: int = 160) -> np.ndarray:
    return 50 + (drift + np.random.default_rng(3).normal(size=(count, length))).cumsum(1)


@pytest.mark.parametrize("drift", [0.0, 0.4])
@pytest.mark.parametrize("gap", [slice(70, 82), slice(145, 157)])
def test_a_walk_between_two_sides_is_near_its_bridge(drift, gap):
    """Whose mean is the line, and whose deviation is √(k(n − k)/n); beside a short side, which tells little, more."""
    off, bridge, sizes = [], [], []
    for walk in walks(30, drift):
        anchor, scale = filled(walk, gap, (7, 0))
        line = np.interp(np.arange(len(walk))[gap], [gap.start - 1, gap.stop], walk[[gap.start - 1, gap.stop]])
        off.append(anchor - walk[gap])
        bridge.append(line - walk[gap])
        sizes.append(scale)
    assert np.abs(off).mean() < 1.1 * np.abs(bridge).mean()
    k = np.arange(1, 13)
    exact = np.sqrt(k * (13 - k) / 13)
    assert 0.9 < np.mean(sizes) / exact.mean() < (1.5 if gap.stop < 100 else 2)


def test_a_few_values_after_a_gap_do_not_pull_a_season_to_them():
    rng = np.random.default_rng(0)
    shape = np.tile(5 * rng.normal(size=7), 22)[:150]
    off = [filled(shape + rng.normal(size=150), slice(130, 148), (7, 0))[0] - shape[130:148] for _ in range(12)]
    assert np.abs(off).mean() < 0.9


def test_noise_is_not_moved_to_another_level_before_it_changes():
    """Beyond twice what is expected its values tell less: the level may have changed in between."""
    off = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        values = np.where(np.arange(160) < 90, 0.0, 30.0) + rng.normal(size=160)
        anchor, _ = filled(values, slice(85, 95))
        off.append(anchor)
    assert np.mean(off, axis=0)[0] < 8
    assert np.mean(off, axis=0)[-1] > 22
