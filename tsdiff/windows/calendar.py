"""What is known of every time step: its place in the day, the week or the year."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from gluonts.time_feature import TimeFeature, time_features_from_frequency_str

from tsdiff.data.frequency import base_freq, candidate_seasons, freq_of, multiple, quiet, shifted
from tsdiff.windows.config import Calendar

_CYCLES: dict[str, tuple[str, ...]] = {
    "s": ("hour", "day"),
    "min": ("day", "week"),
    "h": ("day", "week"),
    "D": ("week",),
    "B": ("week",),
    "W": ("year",),
    "M": ("year",),
    "Q": ("year",),
}

# What "season" adds after them, where the first cycle is a week.
_LONG_CYCLES = {"D": "year", "B": "year"}
SEASON_WIDTH = 8
"""Features of the kind "season"."""
LONGEST_SEASON = 200
"""Steps of a season above which "season" does as if there were none, for windows hardly hold two."""


def _cycles(freq: str) -> tuple[str, ...]:
    # Of every seventh day the place in the week tells nothing.
    whole_weeks = base_freq(freq) == "D" and multiple(freq) % 7 == 0
    return _CYCLES.get("W" if whole_weeks else base_freq(freq), ())


def _gluonts_features(freq: str) -> list[TimeFeature]:
    # GluonTS refuses steps below a second, whose place in the day tells nothing.
    with quiet():
        return [] if base_freq(freq) in ("ms", "us", "ns") else time_features_from_frequency_str(freq)


def season_of(freq: str) -> float:
    """Steps of the primary season of a normalised frequency, of weeks 52.18; 0 where there is none to be seen."""
    season = float(candidate_seasons(freq)[0])
    if base_freq(freq) == "W" or (base_freq(freq) == "D" and multiple(freq) % 7 == 0):
        season *= 365.25 / 364
    return season if 1 < season <= LONGEST_SEASON else 0.0


def recent_steps(freq: str, horizon: int) -> int:
    """Steps of history that tell most of what comes: ten horizons, three seasons, and two weeks where days are seasons.

    Args:
        freq: normalised frequency.
        horizon: steps to forecast.
    """
    season = season_of(freq)
    weeks = 14 * season if "day" in _cycles(freq)[:1] else 0
    return int(np.ceil(max(10 * horizon, 3 * season, weeks, 40)))


def calendar_width(freq: str, kind: Calendar) -> int:
    """Number of calendar features of a normalised frequency."""
    if kind == "none":
        return 0
    if kind == "season":
        return SEASON_WIDTH
    if kind == "gluonts":
        return len(_gluonts_features(freq)) + 1
    return 2 * len(_cycles(freq))


def calendar_features(start: pd.Period, length: int, kind: Calendar, age: int = 0) -> np.ndarray:
    """Features of `length` steps from `start`: (length, calendar_width), float32.

    Args:
        start: the first step.
        length: how many.
        kind: "waves": sines and cosines of unit variance. "gluonts": GluonTS's features, in −½ … ½, and
            log10(2 + steps since the series' start). "season", the same columns for every frequency: sine and cosine
            of the place in the primary season, the same of twice the angle, sine and cosine of the place in a longer
            season (zeros where there is none), the logarithm of the season's length, and 1 before the series' start.
        age: steps from the series' start to `start`; below 0 before it.
    """
    freq = freq_of(start)
    width = calendar_width(freq, kind)
    if not width:
        return np.zeros((length, 0), dtype=np.float32)
    with quiet():
        index = pd.period_range(start, periods=length, freq=start.freq)
        if kind == "season":
            return _season_features(index, freq, age)
        if kind == "gluonts":
            features = [feature(index) for feature in _gluonts_features(freq)]
            ages = np.log10(2.0 + np.maximum(np.arange(age, age + length), 0))
            return np.stack([*features, ages], axis=1).astype(np.float32)
        angles = np.stack([2 * np.pi * _phase(index, cycle) for cycle in _cycles(freq)], axis=1)
    waves = np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(length, -1)
    return (np.sqrt(2.0) * waves).astype(np.float32)


def _season_features(index: pd.PeriodIndex, freq: str, age: int) -> np.ndarray:
    """The features "season" of the steps `index`, of which the first is `age` steps after the series' start."""
    season = season_of(freq)
    cycles = list(_cycles(freq)) if season else []
    if len(cycles) == 1 and base_freq(freq) in _LONG_CYCLES and cycles[0] == "week":
        cycles.append(_LONG_CYCLES[base_freq(freq)])
    columns = np.zeros((len(index), SEASON_WIDTH), dtype=np.float32)
    for place, cycle in enumerate(cycles[:2]):
        angle = 2 * np.pi * _phase(index, cycle)
        for harmonic in (1, 2) if place == 0 else (1,):
            first = 4 * place + 2 * (harmonic - 1)
            columns[:, first] = np.sqrt(2.0) * np.sin(harmonic * angle)
            columns[:, first + 1] = np.sqrt(2.0) * np.cos(harmonic * angle)
    columns[:, -2] = (np.log2(season) - 4) / 2 if season else -2.5
    columns[:, -1] = np.arange(age, age + len(index)) < 0
    return columns


class CalendarTable:
    """Calendar features of any window of a set of series, from one table over all their time.

    Args:
        starts: of the series.
        lengths: of the series.
        kind: of the features.
        margin: steps before a start and after an end that windows may reach.
    """

    _LARGEST = 4_000_000  # steps; a set that spans more has its features made window by window

    def __init__(self, starts: Iterable[pd.Period], lengths: Iterable[int], kind: Calendar, margin: int):
        self._kind = kind
        self._table: np.ndarray | None = None
        firsts = list(starts)
        self._step = firsts[0].freq.n
        low = min(start.ordinal for start in firsts)
        high = max(s.ordinal + n * self._step for s, n in zip(firsts, lengths, strict=True))
        span = (high - low) // self._step + 2 * margin
        aligned = all((start.ordinal - low) % self._step == 0 for start in firsts)
        if kind == "waves" and aligned and span <= self._LARGEST:
            first = next(start for start in firsts if start.ordinal == low)
            self._low, self._margin = low, margin
            self._table = calendar_features(shifted(first, -margin), span, kind)

    def window(self, start: pd.Period, first: int, length: int) -> np.ndarray:
        """Features (length, width) from step `first` (which may be negative) of the series that starts at `start`."""
        if self._table is None:
            return calendar_features(shifted(start, first), length, self._kind, first)
        place = (start.ordinal - self._low) // self._step + first + self._margin
        return self._table[place : place + length]


def _phase(index: pd.PeriodIndex, cycle: str) -> np.ndarray:
    """Position in the cycle, 0 … 1, (length,)."""
    if cycle == "year":
        # By days, which unlike times have no first or last year.
        return (index.asfreq("D", how="START").dayofyear.to_numpy() - 1) / 365.25
    seconds = index.hour.to_numpy() * 3600 + index.minute.to_numpy() * 60 + index.second.to_numpy()
    if cycle == "hour":
        return (seconds % 3600) / 3600
    if cycle == "day":
        return seconds / 86400
    return (index.dayofweek.to_numpy() + seconds / 86400) / 7
