"""Series of two states, as on and off, open and shut, tariffs of day and night: what is drawn is one or the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

States = tuple[float, float]
"""The lower value and the upper one."""

_RECENT = 2000
"""Values that are looked at."""
_VISITS = 4
"""How many times a series has to come to each: one that changed from one level to another may go on to a third."""
_CHANCE = 1e-3
"""Rare events of which no two came at once by a chance larger than this are counts, of which two may."""


def states_of(values: np.ndarray) -> States | None:
    """The two values, the lower first, that a history (length,), NaN where missing, takes alone; None where it takes
    others, comes to one of them less than four times or, of counts, more than two are not seen by chance: by Poisson's
    law with as many zeros, two at once would nearly always have been seen where there are states."""
    seen = values[-_RECENT:]
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return None
    low, high = float(seen.min()), float(seen.max())
    above = seen == high
    if low == high or not (above | (seen == low)).all():
        return None
    changes = int(np.count_nonzero(above[1:] != above[:-1]))
    if changes + 1 < 2 * _VISITS or (_counts(low, high) and not _unlikely(above)):
        return None
    return low, high


def _counts(low: float, high: float) -> bool:
    return low >= 0 and low.is_integer() and high.is_integer()


def _unlikely(above: np.ndarray) -> bool:
    """Whether events, told when there were some (n,), would hardly have come one at a time alone."""
    share = float(above.mean())
    alone = -np.log1p(-share) * (1 - share) / share
    return bool(above.sum() * np.log(alone) < np.log(_CHANCE))


def as_states(samples: np.ndarray, states: States) -> np.ndarray:
    """Samples (number, steps) that are one of two states: the highest of each step the upper one, as many as their mean
    says."""
    low, high = states
    chance = (samples.mean(axis=0, dtype=np.float64) - low) / (high - low)
    ranks = (samples.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable") + 0.5) / len(samples)
    return np.where(ranks > 1 - chance, high, low).astype(samples.dtype)


def raised(values: np.ndarray, states: States) -> np.ndarray:
    """Values by how far they are from the lower of two states to the upper one, 0 and 1."""
    low, high = states
    return (values - low) / (high - low)


def by_zeros(samples: np.ndarray, states: States, adapted: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Samples that are one of two states, the lower one where those from 0 to 1, `adapted`, are zero."""
    return np.where(adapted(raised(samples, states)) > 0, states[1], states[0]).astype(samples.dtype)
