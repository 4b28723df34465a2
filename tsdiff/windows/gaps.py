"""Gaps of training windows, filled with values such as the series has there in other seasons.

What a gap holds is left out of the loss, but the network sees it, and the guidance measures the covariance of windows
with it. Straight lines over gaps are smoother than any series: a network that has seen them beside its noise expects
neighbours to tell more than they do, and a covariance of them is too sure of itself, so that intervals become narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SEASONS_AWAY = (1, -1, 2, -2, 3, -3)
"""From which seasons a gap takes its values, the first that has them."""
_LEAST_PAIRS = 3
"""Steps that are observed in both seasons, to compare them by."""
_LONGEST_MEMORY = 0.9999
_FARTHEST, _DONORS = 8, 4
"""Seasons away from which an expected value is taken, and how many of them are averaged."""
_NESTED = 7
"""How many times the shorter season a longer one may be that holds its shape too, as a week holds days."""


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


def expected(values: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """A series whose gaps hold what up to four other seasons tell: straight lines, and how the seasons depart from them
    there, moved by how far they lie apart around the gap, as far as the series' seasons are alike. Long gaps are filled
    from their edges on.

    Args:
        values: (n,), NaN where missing, at least one observed; flat before the first and after the last.
        seasons: in steps; 0 stands for none.
    """
    missing = np.isnan(values)
    filled = bridged_line(values)
    seen = ~missing
    first, last = np.flatnonzero(seen)[[0, -1]]
    inside = slice(first, last + 1)
    lags = _lags_around([season for season in seasons if 1 < season < last - first])
    if lags and missing[inside].any():
        filled = filled.copy()
        _fill(filled[inside], seen[inside], lags)
    return filled


def stretches(flags: np.ndarray) -> list[tuple[int, int]]:
    """(first, last + 1) of each run of true values in flags (length,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, dtype=np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def bridged_line(values: np.ndarray) -> np.ndarray:
    """Values (n,) with straight lines over NaN, flat at the ends; at least one is finite."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    places = np.arange(len(values))
    return np.interp(places, places[~missing], values[~missing])


def _lags_around(seasons: Sequence[int]) -> list[int]:
    """Numbers of steps to look at, before and after, the nearest of the season that tells most first."""
    longest_first = bool(seasons) and max(seasons) <= _NESTED * min(seasons)
    ordered = sorted(seasons, reverse=longest_first)
    return [n * season for season in ordered for away in range(1, _FARTHEST + 1) for n in (away, -away)]


def _fill(line: np.ndarray, seen: np.ndarray, lags: Sequence[int]) -> None:
    """Fill what is not seen of a bridged line (n,), in place; what was filled helps with what is left."""
    alike = _likeness(line, seen, abs(lags[0]))
    seen = seen.copy()
    while not seen.all():
        total, count = np.zeros_like(line), np.zeros(len(line), dtype=int)
        for lag in lags:
            waiting = ~seen & (count < _DONORS)
            if not waiting.any():
                break
            added, ready = _from_season(line, seen, waiting, lag)
            total[ready] += added[ready]
            count += ready
        found = count > 0
        if not found.any():
            return
        # Regression on the mean of `count` seasons that are like each other as they are like this one.
        line[found] += (total * alike / np.maximum(1 + (count - 1) * alike, 1))[found]
        seen |= found


def _likeness(line: np.ndarray, seen: np.ndarray, season: int) -> np.ndarray:
    """How much a series departs from straight lines over stretches as long as each gap as it did a season before:
    a correlation from 0 to 1 for every step that is not seen, (n,)."""
    made = np.zeros_like(line)
    known: dict[int, float] = {}
    for start, stop in stretches(~seen):
        half = min((stop - start + 1) // 2, len(line) // 4, season // 2)
        if half not in known:
            known[half] = _season_correlation(line, seen, season, max(half, 1))
        made[start:stop] = known[half]
    return made


def _season_correlation(line: np.ndarray, seen: np.ndarray, season: int, half: int) -> float:
    """`_likeness` over stretches of 2·half steps; 1 where too little is seen to tell."""
    off = line[half:-half] - (line[: -2 * half] + line[2 * half :]) / 2
    whole = seen[half:-half] & seen[: -2 * half] & seen[2 * half :]
    both = whole[season:] & whole[:-season]
    if both.sum() < _LEAST_PAIRS:
        return 1.0
    now, before = off[season:][both], off[:-season][both]
    size = float(np.sqrt((now @ now) * (before @ before)))
    return min(max(float(now @ before) / size, 0.0), 1.0) if size > 0 else 1.0


def _from_season(line: np.ndarray, seen: np.ndarray, waiting: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """What is to be added to a bridged line (n,) so that it goes on as it does `lag` steps before, and at which of the
    waiting steps that is known."""
    places = np.arange(len(line))
    source = places - lag
    within = (source >= 0) & (source < len(line))
    source = np.clip(source, 0, len(line) - 1)
    ready, both = waiting & within & seen[source], within & seen & seen[source]
    if not ready.any() or both.sum() < _LEAST_PAIRS:
        return np.zeros_like(line), np.zeros_like(ready)
    donor = line[source]
    return donor + _difference(line - donor, seen, both) - line, ready


def _texture(line: np.ndarray, seen: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """What is added to a bridged line (length,) in its gaps, so that it goes on as another season does."""
    added, waiting = np.zeros_like(line), ~seen
    for lag in lags:
        change, ready = _from_season(line, seen, waiting, lag)
        added[ready] = change[ready]
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
