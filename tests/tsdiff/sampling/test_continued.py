"""Paths that go on from their own last values: widths of a walk, groups, keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from tsdiff.data.entries import Series
from tsdiff.sampling.continued import continued

REACH = 16


class Walks:
    """Draws of random walks (`memory` 1) or autoregressions after the last value of a series, by its key."""

    def __init__(self, memory: float):
        self.memory, self.keys, self.lengths = memory, [], []

    def __call__(self, series: Sequence[Series], count: int, keys: Sequence[tuple[object, ...]]) -> np.ndarray:
        made = []
        for one, key in zip(series, keys, strict=True):
            rng = np.random.default_rng([int(one.name), *key])
            self.keys.append((one.name, *key))
            self.lengths.append(len(one))
            last = np.full(count, one.values[-1, 0])
            steps = []
            for _ in range(REACH):
                last = self.memory * last + rng.normal(size=count)
                steps.append(last)
            made.append(np.stack(steps, axis=1)[..., None])
        return np.stack(made)


def series(name: str, target: np.ndarray) -> Series:
    return Series(name, pd.Period("2024-01-01", freq="D"), target)


def test_the_width_of_a_walk_goes_on_growing():
    found = continued(Walks(1.0), [series(str(i), np.zeros(5)) for i in range(20)], 200, 4 * REACH)
    assert found.shape == (20, 200, 4 * REACH, 1)
    deviation = found[..., 0].std(axis=1).mean(axis=0)
    np.testing.assert_allclose(deviation, np.sqrt(np.arange(1, 4 * REACH + 1)), rtol=0.12)
    jumps = np.abs(np.diff(found[..., 0], axis=2)).mean(axis=(0, 1))
    assert jumps[[REACH - 1, 2 * REACH - 1]].max() < 3 * np.median(jumps)  # paths of a group begin from one value


def test_what_forgets_keeps_its_width():
    found = continued(Walks(0.5), [series("1", np.zeros(5))], 300, 3 * REACH)[0, :, :, 0]
    np.testing.assert_allclose(found.std(axis=0)[4:], np.sqrt(1 / 0.75), rtol=0.2)


@pytest.mark.parametrize("count", [1, 3, 10, 25])
def test_histories_grow_and_have_keys_of_their_own(count):
    draw = Walks(1.0)
    found = continued(draw, [series("0", np.zeros(5)), series("1", np.ones((1, 7)))], count, 2 * REACH + 3)
    assert found.shape == (2, count, 2 * REACH + 3, 1)
    assert len(set(draw.keys)) == len(draw.keys) == 2 + 2 * 2 * min(count, 10)
    assert sorted(set(draw.lengths)) == [5, 7, 5 + REACH, 7 + REACH, 5 + 2 * REACH, 7 + 2 * REACH]


def test_a_series_is_continued_alike_in_any_company():
    alone = continued(Walks(1.0), [series("3", np.arange(9.0))], 12, 40)
    both = continued(Walks(1.0), [series("8", np.zeros(30)), series("3", np.arange(9.0))], 12, 40)
    np.testing.assert_array_equal(alone[0], both[1])
