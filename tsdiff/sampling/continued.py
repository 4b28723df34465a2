"""Forecasts beyond a model's reach: paths that go on from their own last values, piece after piece.

Every path could be a history of its own, but reading a history costs more than drawing from it. So paths that end alike
go on together from one of them, and within such a group the one that ends highest gets what begins highest, as ranks
are put together by Clark et al. (2004), "The Schaake shuffle".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tsdiff.data.entries import Series

_GROUPS = 10
"""Histories that the paths of a series go on from. Twice as many forecast no better, and take twice as long."""
_SEAM = 4
"""Steps before and after the seam by whose mean paths are ranked."""

Draw = Callable[[Sequence[Series], int, Sequence[tuple[object, ...]]], np.ndarray]
"""Some draws of what follows each series, told apart by a key of each: (series, draws, reach, 1)."""


def continued(draw: Draw, series: Sequence[Series], num_samples: int, ahead: int) -> np.ndarray:
    """Paths of any number of steps.

    Args:
        draw: what follows some series, as far as the model reaches.
        series: of one channel.
        num_samples: paths of each.
        ahead: steps.

    Returns:
        (series, num_samples, ahead, 1).
    """
    paths = draw(series, num_samples, [()] * len(series))
    while (done := paths.shape[2]) < ahead:
        groups = [_alike(own) for own in paths]
        of_group = [(place, n, group) for place, some in enumerate(groups) for n, group in enumerate(some)]
        longer = [_with(series[place], paths[place, group[len(group) // 2]]) for place, _, group in of_group]
        most = max(len(group) for _, _, group in of_group)
        drawn = draw(longer, most, [(done, n) for _, n, _ in of_group])
        ahead_of = np.empty((len(series), num_samples, *drawn.shape[2:]), dtype=drawn.dtype)
        for (place, _, group), draws in zip(of_group, drawn, strict=True):
            ahead_of[place, group] = _by_height(draws[: len(group)])
        paths = np.concatenate([paths, ahead_of], axis=2)
    return paths[:, :, :ahead]


def _alike(paths: np.ndarray) -> list[np.ndarray]:
    """Which paths (n, steps, 1) go on together, those of each group by how high they end."""
    ends = paths[:, -_SEAM:, 0].mean(axis=1)
    return np.array_split(np.argsort(ends, kind="stable"), min(len(paths), _GROUPS))


def _with(series: Series, path: np.ndarray) -> Series:
    """The series and a path (steps, 1) after it."""
    target = series.target
    return replace(series, target=np.concatenate([target, path.T.reshape(*target.shape[:-1], -1)], axis=-1))


def _by_height(draws: np.ndarray) -> np.ndarray:
    """Draws (n, steps, 1) by how high they begin."""
    return draws[np.argsort(draws[:, :_SEAM, 0].mean(axis=1), kind="stable")]
