"""Scores that several benchmarks take: quantile losses, the 90 % interval of samples, and how sure a ratio is."""

from __future__ import annotations

import numpy as np


def quantile_losses(quantiles: np.ndarray, actual: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Twice the loss of each quantile (levels, h) at each actual value (..., 1 or levels, h)."""
    off = actual - quantiles
    return 2 * np.maximum(levels[:, None] * off, (levels[:, None] - 1) * off)


def inside(samples: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Which actual values (..., h) lie in the 90 % interval of samples (..., draws, h)."""
    low, high = np.quantile(samples, [0.05, 0.95], axis=-2)
    return (actual >= low) & (actual <= high)


def drawn_again(parts: np.ndarray, wholes: np.ndarray, times: int, seed: int = 0) -> tuple[float, float]:
    """5 % and 95 % points of Σ parts / Σ wholes, (n,) each, when items are drawn with replacement so many times."""
    drawn = np.random.default_rng(seed).integers(0, len(parts), (times, len(parts)))
    low, high = np.quantile(parts[drawn].sum(axis=1) / wholes[drawn].sum(axis=1), [0.05, 0.95])
    return float(low), float(high)
