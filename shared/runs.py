"""Runs of steps, one after the other, of which something is true."""

from __future__ import annotations

import numpy as np


def runs(flags: np.ndarray) -> np.ndarray:
    """Where each run of true values in flags (length,) begins, and the place after its last: (runs, 2), int64."""
    return np.flatnonzero(np.diff(np.asarray(flags, dtype=bool), prepend=False, append=False)).reshape(-1, 2)
