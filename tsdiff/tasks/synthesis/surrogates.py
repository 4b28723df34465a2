"""What a generator must beat: surrogates that share the real windows' second moments and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft

from shared.checks import Count, checked
from shared.errors import DataError
from shared.random import derive_seed
from tsdiff.data.entries import Entry
from tsdiff.tasks.synthesis.windows import context_scales, stack_windows, with_values


def phase_randomised(windows: Sequence[Entry], *, seed: int = 0) -> list[Entry]:
    """Each window with its own mean and amplitude spectrum, and random phases.

    Linear, stationary and Gaussian in the limit; what hangs on the calendar, on asymmetry or on bursts is lost
    (Theiler et al. 1992, "Testing for nonlinearity in time series: the method of surrogate data").

    Args:
        windows: univariate windows of one length, complete.
        seed: window i depends on (seed, i) alone.

    Raises:
        DataError: see `stack_windows`.
    """
    values = stack_windows(windows, "the windows").values
    _refuse_channels(values, windows)
    length = values.shape[1]
    spectrum = fft.rfft(values, axis=1)
    turns = np.zeros(spectrum.shape)
    free = slice(1, (length + 1) // 2)  # the mean, and the highest frequency of an even length, have no phase
    for place, row in enumerate(turns):
        rng = np.random.default_rng(derive_seed(seed, "phases", place))
        row[free] = rng.uniform(0.0, 2.0 * np.pi, len(row[free]))
    return with_values(windows, fft.irfft(np.abs(spectrum) * _direction(spectrum, turns), length, axis=1), "phases")


def _direction(spectrum: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Unit vectors: the signs of the real components that have no phase, e^{i·turn} elsewhere."""
    kept = np.where(spectrum.real < 0, -1.0, 1.0)
    return np.where(turns == 0.0, kept, np.exp(1j * turns))


def gaussian(windows: Sequence[Entry], *, context_length: int, seed: int = 0) -> list[Entry]:
    """Draws from the normal distribution with the mean and covariance of the scaled windows, one for each window.

    The place of a step in the window is all that mean and covariance see. A model that is linear in the context learns
    from these what it would learn from the windows themselves, so the Linear Predictive Score cannot tell them apart.

    Args:
        windows: univariate windows of one length, complete, at least two.
        context_length: steps whose mean absolute value is a window's scale; draw i takes that of window i.
        seed: of the draws.

    Raises:
        ConfigError: context_length is below 1.
        DataError: fewer than two windows; see `stack_windows`.
    """
    checked(Count, context_length=context_length)
    values = stack_windows(windows, "the windows").values
    _refuse_channels(values, windows)
    if len(values) < 2:
        raise DataError("a covariance needs at least two windows; give more")
    scales = context_scales(values, context_length)
    scaled = values / scales
    rng = np.random.default_rng(derive_seed(seed, "gaussian"))
    draws = rng.multivariate_normal(scaled.mean(axis=0), np.cov(scaled, rowvar=False), len(values), method="eigh")
    return with_values(windows, draws * scales, "gaussian")


def _refuse_channels(values: np.ndarray, windows: Sequence[Entry]) -> None:
    if len(values) != len(windows):
        raise DataError("surrogates are of univariate windows; give each dimension as an entry of its own")
