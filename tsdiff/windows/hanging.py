"""How the errors of a forecast's steps hang together, as they did at past origins, and what values known later say.

The correlation of errors is averaged over a family of them, each by how likely it makes those errors: of an
autoregression that is forecast from its last value, with a part that all steps share. A path of errors counts by its
direction, not its size, so that calm and wild times count alike (the angular Gaussian law; Tyler 1987, "Statistical
analysis for the angular central Gaussian distribution on the sphere").

Where values after a gap are known, a forecast over it is off by some of what it is off there: of a walk by so much that
the bridge between both sides is left, of noise by nothing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_RATES = (0.0, 0.25, 0.5, 0.7, 0.85, 0.95, 1.0)
"""What an error keeps from one step to the next; 1 is a walk."""
_COMMON = (0.0, 0.05, 0.15, 0.3, 0.6)
"""Shares of the variance that all steps have in common."""
_NUGGET = 1e-3
"""Share of independent steps besides, for the numbers' sake."""
_LONGEST = 128
"""Steps of errors that are looked at; of more, so many that are evenly spread."""


def likeliness(missed: np.ndarray) -> np.ndarray | None:
    """How likely each member of the family is by errors at past origins, (origins, n), in any unit: (kinds,), which
    add up to 1; None where no error tells it."""
    steps = missed.shape[1]
    if steps > _LONGEST:
        missed = missed[:, _spread(_LONGEST, steps)]
    size = np.linalg.norm(missed, axis=1, keepdims=True)
    paths = missed[size[:, 0] > 0] / size[size > 0][:, None]
    if not len(paths) or missed.shape[1] < 2:
        return None
    precisions, log_determinants = _laws(missed.shape[1], steps)
    squares = np.einsum("kos,os->ko", paths @ precisions, paths)
    logs = -0.5 * (len(paths) * log_determinants + missed.shape[1] * np.log(squares).sum(1))
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


@lru_cache(maxsize=8)
def correlations(steps: int) -> np.ndarray:
    """Those of the family, (kinds, steps, steps)."""
    return _correlations(steps, np.arange(steps), np.arange(steps))


def told_by_last(weights: np.ndarray, steps: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """What the errors of the last steps of a forecast tell of those of all, each by its deviation.

    Args:
        weights: of the family, as of `likeliness`.
        steps: of the forecast.
        last: how many are known.

    Returns:
        The regression on them, (steps, last), and the share of each step's variance that it tells, (steps,).
    """
    places = np.arange(steps)
    known = np.tensordot(weights, _correlations(steps, places, places[-last:]), 1)
    slopes: np.ndarray = np.linalg.solve(known[-last:] + _NUGGET * np.eye(last), known.T).T
    return slopes, np.clip((slopes * known).sum(1), 0.0, 1.0)


@lru_cache(maxsize=16)
def _laws(count: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Inverse covariances of `count` of so many steps, (kinds, count, count), and log-determinants, (kinds,)."""
    places = _spread(count, steps)
    covariances = _covariances(steps, places, places) + _NUGGET * np.eye(count)
    return np.linalg.inv(covariances), np.linalg.slogdet(covariances)[1]


def _spread(count: int, steps: int) -> np.ndarray:
    """So many of the steps, the first and the last among them."""
    return np.linspace(0, steps - 1, count).round().astype(int)


def _correlations(steps: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(kinds, rows, columns) of the family, of steps counted from 0."""
    alone = np.stack([_growth(rate, steps) for rate in _RATES])
    deviations = np.sqrt(np.concatenate([(1 - common) * alone + common for common in _COMMON]))
    made: np.ndarray = _covariances(steps, rows, columns)
    made /= deviations[:, rows, None] * deviations[:, None, columns]
    return made


def _covariances(steps: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(kinds, rows, columns): of errors of steps i ≤ j the sum of rate^(j − i + 2k) over k ≤ i, whose variances are 1
    in the mean over the steps, and what all have in common."""
    apart, earlier = np.abs(rows[:, None] - columns), np.minimum(rows[:, None], columns)
    alone = np.stack([rate**apart * _growth(rate, steps)[earlier] for rate in _RATES])
    return np.concatenate([(1 - common) * alone + common for common in _COMMON])


def _growth(rate: float, steps: int) -> np.ndarray:
    """Variances of the errors of an autoregression that is forecast from its last value, (steps,), 1 in the mean."""
    variances: np.ndarray = np.cumsum(rate ** (2 * np.arange(steps)))
    return variances / variances.mean()
