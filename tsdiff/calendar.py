"""What is known of every time step: its place in the day, the week or the year, as sines and cosines."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tsdiff.data.frequency import base_freq, multiple, quiet

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


def _cycles(freq: str) -> tuple[str, ...]:
    # Of every seventh day the place in the week tells nothing.
    whole_weeks = base_freq(freq) == "D" and multiple(freq) % 7 == 0
    return _CYCLES.get("W" if whole_weeks else base_freq(freq), ())


def shifted(start: pd.Period, steps: int) -> pd.Period:
    """The period `steps` after `start`; without pandas' notice about business days, which no caller can act on."""
    with quiet():
        return start + steps


def calendar_width(freq: str) -> int:
    """Number of calendar features of a normalised frequency."""
    return 2 * len(_cycles(freq))


def calendar_features(start: pd.Period, length: int) -> np.ndarray:
    """Features of `length` steps from `start`: (length, calendar_width), float32, each of unit variance."""
    cycles = _cycles(start.freqstr)
    if not cycles:
        return np.zeros((length, 0), dtype=np.float32)
    with quiet():
        index = pd.period_range(start, periods=length, freq=start.freq)
        angles = np.stack([2 * np.pi * _phase(index, cycle) for cycle in cycles], axis=1)
    waves = np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(length, -1)
    return (np.sqrt(2.0) * waves).astype(np.float32)


def _phase(index: pd.PeriodIndex, cycle: str) -> np.ndarray:
    """Position in the cycle, 0 … 1, (length,)."""
    if cycle == "year":
        return (index.start_time.dayofyear.to_numpy() - 1) / 365.25
    seconds = index.hour.to_numpy() * 3600 + index.minute.to_numpy() * 60 + index.second.to_numpy()
    if cycle == "hour":
        return (seconds % 3600) / 3600
    if cycle == "day":
        return seconds / 86400
    return (index.dayofweek.to_numpy() + seconds / 86400) / 7
