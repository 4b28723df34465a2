"""Linear autoregressions of a series, fitted once and made of many of its pasts at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

MOST_LAGS, RECENT = 64, 1024
"""Last values that the longest regression is on, and that it learns from."""
_RIDGE = 0.5


class Autoregression:
    """A linear regression on past values by ridge (Hoerl and Kennard 1970).

    Args:
        values: (n,).
        before: of which it learns.
        lags: steps back that are regressed on; those of which `before` holds no four are left out.
        changes: regress changes on changes, else values on values around their mean.
        rows: times as many equations as lags that it needs.
        recent: of what it learns from, the last values that it takes, and at least four times the longest lag; None
            takes all.
    """

    def __init__(
        self,
        values: np.ndarray,
        before: int,
        lags: Iterable[int],
        *,
        changes: bool = False,
        rows: int = 6,
        recent: int | None = None,
    ):
        self.values, self.changes = values, changes
        self.lags = np.array(sorted(lag for lag in set(lags) if 0 < 4 * lag < before), dtype=int)
        self.longest = int(self.lags.max(initial=0))
        seen = values[:before] if recent is None else values[:before][-max(recent, 4 * self.longest) :]
        self.low, self.high = float(seen.min()), float(seen.max())
        self.level = 0.0 if changes else float(seen.mean())
        x = np.diff(seen) if changes else seen - self.level
        count = len(x) - self.longest
        self.enough = 0 < rows * len(self.lags) <= count
        if self.enough:
            table = sliding_window_view(x, count)[self.longest - self.lags]
            square = table @ table.T
            ridge = _RIDGE * len(self.lags) / count * square.diagonal() + 1e-6 * square.trace() / len(square) + 1e-300
            self.coefficients = np.linalg.solve(square + np.diag(ridge), table @ x[self.longest :])

    def before(self, ends: np.ndarray, steps: int) -> np.ndarray:
        """What is regressed on, so many steps before each end: (steps, ends)."""
        x = self.values[np.maximum(ends + np.arange(-steps - 1, 0)[:, None], 0)]
        return np.diff(x, axis=0) if self.changes else x[1:] - self.level

    def leads_to(self, x: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The values that what is regressed on, (ends, h), means, within what has been seen and once more that."""
        wide = self.high - self.low
        made = self.values[ends - 1][:, None] + np.cumsum(x, axis=1) if self.changes else x + self.level
        return np.clip(made, self.low - wide, self.high + wide)


def few_lags(seasons: Sequence[int]) -> set[int]:
    """The last three steps and those around a season ago."""
    return {1, 2, 3} | {season + more for season in seasons if season for more in (0, 1)}


def many_lags(before: int, seasons: Sequence[int]) -> set[int]:
    """All last steps, up to `MOST_LAGS`, and those around a season ago: cycles that keep to no calendar are in them."""
    return set(range(1, min(MOST_LAGS, before // 4) + 1)) | {
        season + more for season in seasons if season for more in (-1, 0, 1)
    }


def regressed(some: Sequence[Autoregression], ends: np.ndarray, horizon: int) -> list[np.ndarray]:
    """Forecasts of the `horizon` steps after each end by autoregressions: (ends, h) each."""
    if not some:
        return []
    lags = np.unique(np.concatenate([one.lags for one in some]))
    known, coefficients = int(lags[-1]), np.zeros((len(some), 1, len(lags)))
    x = np.empty((len(some), known + horizon, len(ends)))
    for place, one in enumerate(some):
        coefficients[place, 0, np.searchsorted(lags, one.lags)] = one.coefficients
        x[place, :known] = one.before(ends, known)
    most = np.array([2 * (one.high - one.low) for one in some])[:, None]
    for step in range(known, known + horizon):
        made = (coefficients @ x.take(step - lags, axis=1))[:, 0]
        x[:, step] = np.minimum(np.maximum(made, -most), most)
    return [one.leads_to(x[place, known:].T, ends) for place, one in enumerate(some)]
