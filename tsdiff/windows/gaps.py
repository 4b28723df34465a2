"""Gaps of training windows, filled with values such as the series has there in other seasons.

What a gap holds is left out of the loss, but the network sees it, and the guidance measures the covariance of windows
with it. Straight lines over gaps are smoother than any series: a network that has seen them beside its noise expects
neighbours to tell more than they do, and a covariance of them is too sure of itself, so that intervals become narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.runs import runs

_SEASONS_AWAY = (1, -1, 2, -2, 3, -3)
"""From which seasons a gap takes its values, the first that has them."""
LEAST_PAIRS = 3
"""Steps that are observed in both seasons, to compare them by."""
_LONGEST_MEMORY, _APART = 0.9999, 8
"""Most of a difference that is left at the next step, and how far apart values may lie that tell of it."""


def bridge(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill NaN by straight lines (flat at the ends, 0 where a channel holds nothing) and tell what was observed.

    Args:
        windows: (rows, length, channels).

    Returns:
        filled, and observed (0 and 1, float32), of the same shape.
    """
    observed = ~np.isnan(windows)
    filled = windows
    if not observed.all():
        filled = windows.copy()
        for row, channel in np.argwhere(~observed.all(axis=1)):
            line = windows[row, :, channel]
            filled[row, :, channel] = bridged_line(line) if observed[row, :, channel].any() else 0.0
    return filled, observed.astype(np.float32)


def patch_gaps(windows: np.ndarray, seasons: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Fill NaN by the values of another season of the window, moved by how far the two lie apart around the gap.

    Where no other season of the window holds values, gaps are straight lines.

    Args:
        windows: (rows, length, channels).
        seasons: in steps, the longest that fits goes first.

    Returns:
        filled, and observed (0 and 1, float32), of the same shape; see `bridge`.
    """
    filled, observed = bridge(windows)
    length = windows.shape[1]
    lags = [n * season for season in sorted(seasons, reverse=True) for n in _SEASONS_AWAY if abs(n * season) < length]
    if not lags or observed.all():
        return filled, observed
    seen = observed > 0
    for row, channel in np.argwhere(~seen.all(axis=1) & seen.any(axis=1)):
        filled[row, :, channel] += _texture(filled[row, :, channel], seen[row, :, channel], lags)
    return filled, observed


def stretches(flags: np.ndarray) -> list[tuple[int, int]]:
    """(first, last + 1) of each run of true values in flags (length,)."""
    return [(first, after) for first, after in runs(flags).tolist()]


def bridged_line(values: np.ndarray) -> np.ndarray:
    """Values (n,) with straight lines over NaN, flat at the ends; at least one is finite."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    places = np.arange(len(values))
    return np.interp(places, places[~missing], values[~missing])


def from_season(line: np.ndarray, seen: np.ndarray, waiting: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """At which waiting steps of a bridged line (n,) it is known how it goes on `lag` steps before, (n,), and what is to
    be added to it there so that it does so, one number for each."""
    places = np.arange(len(line))
    source = places - lag
    within = (source >= 0) & (source < len(line))
    source = np.clip(source, 0, len(line) - 1)
    ready, both = waiting & within & seen[source], within & seen & seen[source]
    if not ready.any() or both.sum() < LEAST_PAIRS:
        return np.zeros(len(line), dtype=bool), np.zeros(0)
    change = line - line[source]
    return ready, remembered_between(change, seen, both, ready) - change[ready]


def _texture(line: np.ndarray, seen: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """What is added to a bridged line (length,) in its gaps, so that it goes on as another season does."""
    added, waiting = np.zeros_like(line), ~seen
    for lag in lags:
        ready, change = from_season(line, seen, waiting, lag)
        added[ready] = change
        waiting &= ~ready
        if not waiting.any():
            break
    return added


def remembered_between(change: np.ndarray, seen: np.ndarray, both: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far a line (n,) lies from another season at the wanted steps, one number for each: as a first-order
    autoregression around its mean that is known at the edges of each gap. Of a season's noise nothing remains in the
    gap, of a walk's difference a straight line.

    Args:
        change: (n,), of which only what is seen counts.
        seen: (n,).
        both: (n,): where the other season is known too; the autoregression is fitted to these.
        wanted: (n,).
    """
    center = float(change[both].mean())
    left = np.append(np.where(seen, change - center, 0.0), 0.0)  # beyond both ends is nothing
    memory = _memory(left[:-1], both)
    places, count = np.arange(len(change)), len(change)
    before = np.maximum.accumulate(np.where(seen, places, -1))[wanted]
    after = np.minimum.accumulate(np.where(seen, places, count)[::-1])[::-1][wanted]
    back, ahead = places[wanted] - before, after - places[wanted]
    kept = memory ** np.arange(int(max(back.max(), ahead.max())) + 1.0)
    from_left, from_right = np.where(before >= 0, kept[back], 0.0), np.where(after < count, kept[ahead], 0.0)
    whole = 1.0 - (from_left * from_right) ** 2
    whole[whole <= 0] = 1.0
    return (
        center
        + (left[before] * from_left * (1 - from_right**2) + left[after] * from_right * (1 - from_left**2)) / whole
    )


def _memory(left: np.ndarray, both: np.ndarray) -> float:
    """How much of a value (n,) is left at the next step, by neighbours that are known in both seasons, or the nearest
    pairs where there are too few of these, as of every second value."""
    for apart in range(1, _APART + 1):
        pairs = both[apart:] & both[:-apart]
        if pairs.sum() >= LEAST_PAIRS:
            power = float((left[apart:][pairs] ** 2).sum())
            kept = float((left[apart:] * left[:-apart])[pairs].sum()) / power if power > 0 else 0.0
            return float(np.clip(kept, 0.0, _LONGEST_MEMORY)) ** (1 / apart)
    return 0.0
