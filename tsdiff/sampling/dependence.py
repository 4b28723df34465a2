"""Paths whose steps hang together as the anchor's errors did on the series' own past.

One network for all series joins the steps of its paths much alike, whether a series' errors come and go from step to
step or stay; sums over the steps are then far too wide for the first. What a series' past says of it: the errors of its
anchor at past origins, step by step, whose correlation is that of `tsdiff.windows.hanging`.

The draws of each step are then rearranged: their normal scores, freed of their own correlation and given that one, tell
the ranks (Iman & Conover 1982, "A distribution-free approach to inducing rank correlation among input variables"). What
the draws say of each step stays as it was, and so does how the first of them rank.

Series that are drawn one by one go together in the same way: their scores, each freed of its own correlation, are mixed
over the series, and get that back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tsdiff.sampling.shuffle import FEWEST, shuffled
from tsdiff.windows.hanging import correlations, likeliness

_RIDGE = 0.05
"""Share of independent steps in the draws' own correlation, which few draws do not tell well."""


def error_correlation(missed: np.ndarray, steps: int) -> np.ndarray | None:
    """How the errors of the steps of a forecast hang together.

    Args:
        missed: errors at past origins, (origins, n), in any unit; of another number of steps than the forecast's, the
            last are taken for its.
        steps: of the forecast.

    Returns:
        A correlation matrix (steps, steps); None where no error tells it.
    """
    weights = likeliness(missed)
    if weights is None:
        return None
    family = correlations(max(missed.shape[1], steps))[:, -steps:, -steps:]
    return np.tensordot(weights, family, 1)


def with_past_share(draws: np.ndarray, missed: np.ndarray, share: float) -> np.ndarray:
    """Draws whose steps hang together as errors of the past did.

    Args:
        draws: (n, steps); fewer than 8 draws stay as they are.
        missed: errors at past origins, (origins, any number of steps); without any the draws stay as they are.
        share: of the past's correlation in theirs, in [0, 1]; the rest is their own.

    Returns:
        The draws of each step, rearranged.
    """
    count, steps = draws.shape
    past = error_correlation(missed, steps) if share and count >= FEWEST and steps > 1 else None
    if past is None:
        return draws
    scores, own = _scores_of(draws)
    wanted = share * past + (1 - share) * own
    free = np.linalg.solve(_root(own, _RIDGE), scores.T)
    return shuffled(draws, (_root(wanted, 1e-9) @ free).T)


def going_together(
    draws: Sequence[np.ndarray], correlation: np.ndarray, rng: np.random.Generator
) -> Sequence[np.ndarray]:
    """Draws of several series whose steps go together over the series.

    Args:
        draws: of each series, (n, steps), by itself; fewer than 2 draws stay as they are.
        correlation: of the series at one step, (series, series).
        rng: pairs the draws before.

    Returns:
        The draws of each step and series, rearranged; the steps of a series hang together about as they did.
    """
    count = len(draws[0])
    if count < 2:
        return draws
    told = [_scores_of(one) for one in draws]
    roots = [_root(own, _RIDGE) for _, own in told]
    free = [
        np.linalg.solve(root, scores.T)[:, rng.permutation(count)]
        for root, (scores, _) in zip(roots, told, strict=True)
    ]
    mixed = np.tensordot(_root(correlation, 1e-3), np.stack(free), 1)
    return [shuffled(one, (root @ part).T) for one, root, part in zip(draws, roots, mixed, strict=True)]


def _scores_of(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores of draws (n, steps), of each step by itself, and their correlation (steps, steps)."""
    scores = normal_scores(len(draws))[draws.argsort(axis=0, kind="stable").argsort(axis=0)]
    return scores, scores.T @ scores / (scores[:, 0] @ scores[:, 0])


def _root(correlation: np.ndarray, ridge: float) -> np.ndarray:
    """Cholesky's factor of a correlation with a share of independent steps."""
    return np.linalg.cholesky((1 - ridge) * correlation + ridge * np.eye(len(correlation)))


@lru_cache(maxsize=16)
def normal_scores(count: int) -> np.ndarray:
    """Standard normal quantiles in the middles of `count` equal parts."""
    from scipy.special import ndtri  # takes a while to load

    return ndtri((np.arange(count) + 0.5) / count)
