"""Grids of frequencies, and which timestamps lie on them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tsdiff.data.frequency import base_freq, multiple, quiet, unit_freq

CALENDAR = ("M", "Q", "Y")
"""Units of which one row a period is all that is asked, stamped on its first, last or any day."""


def off_grid(stamps: pd.DatetimeIndex, freq: str) -> np.ndarray:
    """Which of sorted, distinct timestamps (n,) lie off the grid of `freq` that starts at the first, or within the same
    period as the one before."""
    steps = units_after(stamps, freq)
    off = (steps % multiple(freq) != 0) | _off_phase(stamps, freq)
    off[1:] |= np.diff(steps) == 0
    return np.asarray(off)


def units_after(stamps: pd.DatetimeIndex, freq: str) -> np.ndarray:
    """How many units of a frequency timestamps (n,) lie after the first."""
    with quiet():
        ordinals = stamps.to_period(unit_freq(freq)).astype(np.int64).to_numpy()
    return np.asarray(ordinals - ordinals[0])


def _off_phase(stamps: pd.DatetimeIndex, freq: str) -> np.ndarray:
    """Where a timestamp sits elsewhere within its period than the first one does."""
    base = base_freq(freq)
    if base in CALENDAR:
        return np.zeros(len(stamps), dtype=bool)
    if base == "B":
        return np.asarray(stamps.dayofweek >= 5) | _differs_in(stamps, pd.Timedelta(days=1))
    return _differs_in(stamps, pd.Timedelta(days=7) if base == "W" else pd.Timedelta(f"1{base}"))


def _differs_in(stamps: pd.DatetimeIndex, unit: pd.Timedelta) -> np.ndarray:
    fine = stamps.as_unit("ns").to_numpy().astype(np.int64)
    return np.asarray((fine - fine[0]) % unit.value != 0)
