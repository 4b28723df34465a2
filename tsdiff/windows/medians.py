"""The median of a few hundred numbers at most, for which a sort takes less than what NumPy's does beside."""

from __future__ import annotations

from typing import Any

import numpy as np


def median(values: np.ndarray) -> Any:
    """As NumPy's along the last axis, of values (…, n), n at least 1, none of which is missing: (…)."""
    ordered = np.sort(values, axis=-1)
    count = ordered.shape[-1]
    return (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2
