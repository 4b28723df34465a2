"""Shares of candidates in a pool of their samples, by the CRPS of their backtests.

The CRPS of a mixture of sample sets is exactly quadratic in its shares w,

    CRPS(w) = Σ w_i E|X_i − y| − ½ Σ w_i w_j E|X_i − X_j|                       (Gneiting & Raftery 2007, eq. 21)

and convex over shares that sum to one, since the second term is an energy distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FOLDS = 5
_LEAST_SHARE = 0.05
"""A candidate below this share is left out."""
_EQUAL, _NEAR = 40, 1.25
"""Windows that equal shares count as much as, and how much worse than the best a candidate may be to have one."""
_FEW = 4
"""Windows below this number say too little to choose by."""
_MARGIN, _DOUBT = 0.01, 2.0
"""By which share, and how many standard errors, one candidate alone has to be better than the pool, for what is best on
few windows alone is so by chance more often than what several tell; by that share better than the first, too."""
_MEASURE = "(CRPS of all levels; the table's is of 0.1 … 0.9)"
"""What a reason adds, whose numbers would else seem to contradict the table of a report."""


@dataclass(frozen=True)
class Losses:
    """What the CRPS of any pool is made of, window by window, summed over the observed steps.

    Attributes:
        to_actual: E|X_i − y|, (windows, candidates).
        between: E|X_i − X_j|, (windows, candidates, candidates).
        size: Σ|y|, (windows,).
    """

    to_actual: np.ndarray
    between: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, samples: Sequence[Sequence[np.ndarray]], actual: Sequence[np.ndarray]) -> Losses:
        """From the samples (n, steps) of each candidate's windows, and what happened (steps,), NaN where unknown."""
        windows, count = len(actual), len(samples)
        to_actual, between = np.zeros((windows, count)), np.zeros((windows, count, count))
        for place, truth in enumerate(actual):
            seen = np.isfinite(truth)
            drawn = [np.asarray(one[place], dtype=np.float64)[:, seen] for one in samples]
            for i, one in enumerate(drawn):
                to_actual[place, i] = np.abs(one - truth[seen]).mean(axis=0).sum()
                for j, other in enumerate(drawn[: i + 1]):
                    gap = np.abs(one[:, None] - other[None]).mean(axis=(0, 1)).sum()
                    between[place, i, j] = between[place, j, i] = gap
        return cls(to_actual, between, np.array([np.abs(truth[np.isfinite(truth)]).sum() for truth in actual]))

    def __getitem__(self, chosen: np.ndarray) -> Losses:
        """Some windows."""
        return Losses(self.to_actual[chosen], self.between[chosen], self.size[chosen])

    def each(self, shares: np.ndarray) -> np.ndarray:
        """CRPS of a pool with these shares, (candidates,), in each window."""
        return self.to_actual @ shares - self.between @ shares @ shares / 2

    def total(self, shares: np.ndarray) -> float:
        """Summed over the windows."""
        return float(self.each(shares).sum())

    def best_shares(self) -> np.ndarray:
        """The shares with the least CRPS, small ones left out, in hundredths."""
        from scipy.optimize import minimize

        count = self.to_actual.shape[1]
        scale = self.to_actual.sum(axis=0).max() or 1.0
        line, square = self.to_actual.sum(axis=0) / scale, self.between.sum(axis=0) / scale
        found = minimize(
            lambda w: line @ w - w @ square @ w / 2,
            np.full(count, 1 / count),
            jac=lambda w: line - square @ w,
            bounds=[(0.0, 1.0)] * count,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(count)},
            method="SLSQP",
        )
        return _rounded(found.x if found.success else alone(int(line.argmin()), count))


def pooled_shares(losses: Losses) -> np.ndarray:
    """The best shares, drawn towards equal ones of the candidates that are nearly as good as the best, the more so the
    fewer windows tell: what is best on few is so by chance (Claeskens et al. 2016, "The forecast combination puzzle").

    Returns:
        (candidates,), in hundredths, which sum to 1.
    """
    singles = _singles(losses)
    near = singles <= _NEAR * singles.min()
    told = len(losses.size) / (len(losses.size) + _EQUAL)
    return _rounded(told * losses.best_shares() + (1 - told) * near / near.sum())


def alone(place: int, count: int) -> np.ndarray:
    """The shares of one candidate and no other."""
    return np.eye(count)[place]


def _rounded(shares: np.ndarray) -> np.ndarray:
    kept = np.where(shares >= _LEAST_SHARE, shares, 0.0)
    hundredths = np.floor(100 * kept / kept.sum())
    hundredths[hundredths.argmax()] += 100 - hundredths.sum()
    return np.asarray(hundredths / 100)


@dataclass(frozen=True)
class Choice:
    """The shares that were chosen.

    Attributes:
        shares: (candidates,), they sum to 1.
        why: in a sentence.
    """

    shares: np.ndarray
    why: str


def choose(losses: Losses, names: Sequence[str], groups: Sequence[object], times: Sequence[object]) -> Choice:
    """One candidate or a pool, by what does best on windows that did not choose.

    Windows are dealt to folds, all of one series together where there are series enough. In turn each fold is left out,
    the shares and the best single candidate are found on the others, and both are scored on it. The pool is taken
    unless the best candidate alone does better so by 1 % and two standard errors. That has to do better than the first
    candidate, the guard, or the guard is taken.

    Args:
        losses: of all windows.
        names: of the candidates, the guard first.
        groups: of the windows: their series.
        times: of the windows: where they begin.
    """
    windows, count = losses.to_actual.shape
    if count == 1:
        return Choice(alone(0, 1), f"{names[0]} is the only candidate")
    if windows < _FEW:
        kept = [name for name in ("bundled", "auto_ets", names[0]) if name in names][:2]
        shares = np.array([1 / len(kept) if name in kept else 0.0 for name in names])
        return Choice(shares, f"{windows} windows are too few to choose by: {' and '.join(kept)} in equal shares")
    guard, single, pool = alone(0, count), alone(int(_singles(losses).argmin()), count), pooled_shares(losses)
    scores = {kind: np.zeros(windows) for kind in ("guard", "single", "pool")}
    for held in _folds(groups):
        others, own = losses[~held], losses[held]
        scores["guard"][held] = own.each(guard)
        scores["single"][held] = own.each(alone(int(_singles(others).argmin()), count))
        scores["pool"][held] = own.each(pooled_shares(others))
    size, sums = losses.size.sum() or 1.0, {kind: score.sum() for kind, score in scores.items()}
    told = {kind: f"{total / size:.4g}" for kind, total in sums.items()}
    best = names[int(single.argmax())]
    tested = "on windows that did not choose"
    several = np.count_nonzero(pool) > 1
    worse = scores["pool"] - scores["single"]
    if several and worse.sum() < max(_MARGIN * sums["single"], _DOUBT * uncertainty(worse, times)):
        scored = f"pooled samples score CRPS {told['pool']} {tested}, the best candidate {told['single']}"
        return Choice(pool, f"{scored} {_MEASURE}")
    if sums["single"] < (1 - _MARGIN) * sums["guard"]:
        beside = f"a pool is worse ({told['pool']})" if several else "the best pool is of it alone"
        return Choice(single, f"{best} scores CRPS {told['single']} {tested}; {beside} {_MEASURE}")
    return Choice(guard, f"nothing is surely better than {names[0]} ({told['guard']}) {tested} {_MEASURE}")


def uncertainty(values: np.ndarray, times: Sequence[object]) -> float:
    """Standard error of the sum of values, (windows,); those of one time are no more independent than they seem, for
    series of one market go up and down together (Cameron & Miller 2015, "Cluster-robust inference")."""
    number = {time: place for place, time in enumerate(dict.fromkeys(times))}
    together = np.bincount([number[time] for time in times], values - values.mean())
    parts = [part for part in (values - values.mean(), together) if len(part) > 1]
    return max(float(np.sqrt((part**2).sum() * len(part) / (len(part) - 1))) for part in parts)


def _singles(losses: Losses) -> np.ndarray:
    """Summed CRPS of each candidate alone."""
    between = np.diagonal(losses.between, axis1=1, axis2=2)
    return (losses.to_actual - between / 2).sum(axis=0)


def _folds(groups: Sequence[object]) -> list[np.ndarray]:
    """Which windows each fold holds."""
    known = list(dict.fromkeys(groups))
    number = {group: place for place, group in enumerate(known)}
    keys = np.array([number[group] for group in groups]) if len(known) >= _FEW else np.arange(len(groups))
    count = min(_FOLDS, len(set(keys.tolist())))
    return [keys % count == fold for fold in range(count)]
