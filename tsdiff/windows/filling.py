"""What a series' gaps are expected to hold, by its own seasons: filled in two ways, by what each is worth there.

From the seasons next to a gap, step by step, which follows a shape that changes; and by each phase's mean departure
from the level, which needs no two values a season apart, and is steadier where much is missing. Stretches of known
values, as long as the gaps, are hidden for a try, and the way that fills these better gets the more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsdiff.windows.gaps import LEAST_PAIRS, bridged_line, from_season, remembered_between, stretches
from tsdiff.windows.spikes import without_spikes

_FARTHEST, _DONORS = 8, 4
"""Seasons away from which an expected value is taken, and how many of the nearest are averaged, step by step."""
_NESTED = 7
"""How many times the shorter season a longer one may be that holds its shape too, as a week holds days."""
_LONGER = 3
"""How much longer stretches may be that tell of a gap, on each side of the middle."""
_AROUND, _PASSES = 2, 2
"""Seasons on each side of a step that its level is the mean of, and how often levels and shape are made."""
_TRIED, _FEWEST, _SHARPNESS, _TINY = 1 / 8, 5, 4.0, 1e-12
"""Share of the known values that are hidden for a try, how many are too few, and how much the better way gets."""


@dataclass(frozen=True)
class Expected:
    """A series without gaps.

    Attributes:
        values: (n,), those that were missing filled in.
        error: how far off what fills the gaps is, as a deviation, by the tries; 0 where there were none.
    """

    values: np.ndarray
    error: float


def expected(values: np.ndarray, seasons: Sequence[int]) -> Expected:
    """A series whose gaps hold straight lines, and how its other seasons depart from such there, as far as the series'
    seasons are alike. Long gaps are filled from their edges on; single late values far off those around (`spikes.py`)
    tell nothing of them.

    Args:
        values: (n,), NaN where missing, at least one observed; flat before the first and after the last.
        seasons: in steps; 0 stands for none.
    """
    filled, seen = bridged_line(values), ~np.isnan(values)
    first, last = np.flatnonzero(seen)[[0, -1]]
    inside = slice(first, last + 1)
    if seen[inside].all():
        return Expected(filled, 0.0)
    filled = filled.copy()
    fitting = [season for season in seasons if 1 < season < last - first]
    made, error = _weighed(bridged_line(without_spikes(values[inside], seasons)), seen[inside], fitting)
    filled[inside] = np.where(seen[inside], filled[inside], made)
    return Expected(filled, error)


def _weighed(line: np.ndarray, seen: np.ndarray, seasons: Sequence[int]) -> tuple[np.ndarray, float]:
    """A bridged line (n,) filled in both ways, by how far off each is where known values are hidden, and how far both
    together are."""
    made, hidden = _both_ways(line, seen, seasons), _hidden(seen)
    if not hidden.any():
        return made.mean(0), 0.0
    fewer = seen & ~hidden
    tried = _both_ways(bridged_line(np.where(fewer, line, np.nan)), fewer, seasons)
    errors = np.abs(tried - line)[:, hidden].mean(1)
    least = _TINY * float(np.abs(line).max()) or 1.0
    shares = ((errors + least) / (errors.min() + least)) ** -_SHARPNESS
    shares /= shares.sum()
    return np.where(seen, line, shares @ made), 1.25 * float(np.abs(shares @ tried - line)[hidden].mean())


def _both_ways(line: np.ndarray, seen: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """A bridged line (n,) filled by neighbours and by phases, by the other where one tells nothing: (2, n)."""
    if not seasons:
        return np.stack([line, line])
    nearby, phases = _by_neighbours(line, seen, seasons), _by_phases(line, seen, seasons[0])
    made = np.stack([np.where(np.isnan(nearby), phases, nearby), np.where(np.isnan(phases), nearby, phases)])
    return np.where(np.isnan(made), line, made)


def _hidden(seen: np.ndarray) -> np.ndarray:
    """Which known values to hide: stretches all over, two at least, as long as the gap that a missing step is part of
    on average, or half the stretch of known ones that a known one is; the first and the last value are kept."""
    known = np.flatnonzero(seen)
    hidden = np.zeros(len(seen), dtype=bool)
    if len(known) <= _FEWEST:
        return hidden
    length = max(int(min(_typical(~seen), _typical(seen) / 2, _TRIED * len(known) / 2)), 1)
    # Not evenly, or every one of them would be at the same phase of some season.
    count = np.arange(max(round(_TRIED * len(known) / length), 2))
    starts = known[((count + 0.5 + 0.3 * np.sin(2.4 * count)) / len(count) * len(known)).astype(int)]
    hidden[np.minimum(starts[:, None] + np.arange(length), len(seen) - 1)] = True
    hidden[[0, -1]] = False
    return hidden & seen


def _typical(flags: np.ndarray) -> float:
    """Steps of the stretch that a true one is part of, on average."""
    lengths = np.array([stop - start for start, stop in stretches(flags)])
    return float((lengths**2).sum() / lengths.sum())


def _by_phases(line: np.ndarray, seen: np.ndarray, season: int) -> np.ndarray:
    """The level and shape of a bridged line (n,), and what its known values depart from both, as far as this is left
    after so many steps; NaN where no season nearby tells anything."""
    level, told = _level(line, _AROUND * season), seen
    shape = np.zeros_like(line)
    for _ in range(_PASSES):  # the level of part of a season is that of its shape too, until this is known
        shape, told = _shape(np.where(seen, line - level, 0.0), seen, season)
        level = _level(bridged_line(np.where(seen, line - shape, np.nan)), _AROUND * season)
    smooth, gaps = level + shape, told & ~seen
    filled = np.where(told, line, np.nan)
    if gaps.any():
        filled[gaps] = smooth[gaps] + remembered_between(line - smooth, seen, seen, gaps)
    return filled


def _shape(off: np.ndarray, seen: np.ndarray, season: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of what other seasons nearby depart from their level at the same phase, (n,), by the regression of known
    steps on it, and where there are such."""
    count = len(off)
    total, donors = np.zeros(count), np.zeros(count)
    for away in range(season, min(_FARTHEST * season, count - 1) + 1, season):
        total[away:] += off[:-away]
        total[:-away] += off[away:]
        donors[away:] += seen[:-away]
        donors[:-away] += seen[away:]
    shape, told = total / np.maximum(donors, 1), donors > 0
    both = seen & told
    power = float(shape[both] @ shape[both])
    alike = float(off[both] @ shape[both]) / power if power > 0 else 0.0
    return shape * min(max(alike, 0.0), 1.0), told


def _level(line: np.ndarray, around: int) -> np.ndarray:
    """The mean of a line (n,) up to so many steps before and after each."""
    middle, places = float(line.mean()), np.arange(len(line))
    first, last = np.maximum(places - around, 0), np.minimum(places + around + 1, len(line))
    totals = np.concatenate([[0.0], np.cumsum(line - middle)])
    return middle + (totals[last] - totals[first]) / (last - first)


def _by_neighbours(line: np.ndarray, seen: np.ndarray, seasons: Sequence[int]) -> np.ndarray:
    """A bridged line (n,) whose gaps depart from it as up to four seasons nearby do, moved by how far they lie apart
    around the gap; what was filled helps with what is left of the same gap. NaN where none tells anything."""
    lags = _lags_around(seasons)
    alike = _likeness(line, seen, abs(lags[0]))
    gap = np.zeros(len(line), dtype=int)
    for number, (start, stop) in enumerate(stretches(~seen), 1):
        gap[start:stop] = number
    line, seen, places = line.copy(), seen.copy(), np.arange(len(line))
    found = ~seen
    while found.any():
        total, count = np.zeros_like(line), np.zeros(len(line), dtype=int)
        for lag in lags:
            waiting = ~seen & (count < _DONORS)
            if not waiting.any():
                break
            source = gap[np.clip(places - lag, 0, len(line) - 1)]
            ready, added = from_season(line, seen, waiting & ((source == 0) | (source == gap)), lag)
            total[ready] += added
            count += ready
        found = count > 0
        # Regression on the mean of `count` seasons that are like each other as they are like this one.
        line[found] += (total * alike / np.maximum(1 + (count - 1) * alike, 1))[found]
        seen |= found
    return np.where(seen, line, np.nan)


def _lags_around(seasons: Sequence[int]) -> list[int]:
    """Numbers of steps to look at, before and after, the nearest of the season that tells most first."""
    longest_first = bool(seasons) and max(seasons) <= _NESTED * min(seasons)
    ordered = sorted(seasons, reverse=longest_first)
    return [n * season for season in ordered for away in range(1, _FARTHEST + 1) for n in (away, -away)]


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
    """`_likeness` over stretches of 2·half steps, and longer ones and the season after where too little is seen to
    tell, as of every second value; 0 where nothing tells."""
    pairs, powers = 0, np.zeros(3)
    for lag in (season, 2 * season):
        for reach in range(half, min(half + _LONGER, (len(line) - lag - 1) // 2) + 1):
            off = line[reach:-reach] - (line[: -2 * reach] + line[2 * reach :]) / 2
            whole = seen[reach:-reach] & seen[: -2 * reach] & seen[2 * reach :]
            both = whole[lag:] & whole[:-lag]
            now, before = off[lag:][both], off[:-lag][both]
            pairs += len(now)
            powers += now @ before, now @ now, before @ before
            if pairs >= LEAST_PAIRS:
                size = float(np.sqrt(powers[1] * powers[2]))
                return min(max(float(powers[0]) / size, 0.0), 1.0) if size > 0 else 1.0
    return 0.0
