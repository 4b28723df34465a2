"""Gaps of training windows, filled with values such as the series has there in other seasons.

What a gap holds is left out of the loss, but the network sees it, and the guidance measures the covariance of windows
with it. Straight lines over gaps are smoother than any series: a network that has seen them beside its noise expects
neighbours to tell more than they do, and a covariance of them is too sure of itself, so that intervals become narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsdiff.windows.conditioning import bridge

_SEASONS_AWAY = (1, -1, 2, -2, 3, -3)
"""From which seasons a gap takes its values, the first that has them."""
_LEAST_PAIRS = 3
"""Steps that are observed in both seasons, to compare them by."""
_LONGEST_MEMORY = 0.9999


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


def _texture(line: np.ndarray, seen: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """What is added to a bridged line (length,) in its gaps, so that it goes on as another season does."""
    places = np.arange(len(line))
    added, waiting = np.zeros_like(line), ~seen
    for lag in lags:
        source = places - lag
        within = (source >= 0) & (source < len(line))
        source = np.clip(source, 0, len(line) - 1)
        ready, both = waiting & within & seen[source], within & seen & seen[source]
        if not ready.any() or both.sum() < _LEAST_PAIRS:
            continue
        donor = line[source]
        added[ready] = (donor + _difference(line - donor, seen, both) - line)[ready]
        waiting &= ~ready
        if not waiting.any():
            break
    return added


def _difference(change: np.ndarray, seen: np.ndarray, both: np.ndarray) -> np.ndarray:
    """How far a line lies from another season: as a first-order autoregression around its mean that is known at the
    edges of each gap. Of a season's noise nothing remains in the gap, of a walk's difference a straight line."""
    center = float(change[both].mean())
    left = change - center
    pairs = both[1:] & both[:-1]
    power = float((left[1:][pairs] ** 2).sum())
    memory = float(np.clip((left[1:] * left[:-1])[pairs].sum() / power, 0.0, _LONGEST_MEMORY)) if power > 0 else 0.0
    places = np.arange(len(change))
    before = np.maximum.accumulate(np.where(seen, places, -1))
    after = np.minimum.accumulate(np.where(seen, places, len(change))[::-1])[::-1]
    has_before, has_after = before >= 0, after < len(change)
    back, ahead = np.where(has_before, places - before, np.inf), np.where(has_after, after - places, np.inf)
    whole = 1.0 - memory ** (2 * (back + ahead))
    whole[whole <= 0] = 1.0
    from_left = np.where(has_before, left[np.maximum(before, 0)], 0.0) * memory**back * (1 - memory ** (2 * ahead))
    right = left[np.minimum(after, len(change) - 1)]
    from_right = np.where(has_after, right, 0.0) * memory**ahead * (1 - memory ** (2 * back))
    made: np.ndarray = center + (from_left + from_right) / whole
    return made
