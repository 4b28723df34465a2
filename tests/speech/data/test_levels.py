"""Powers of waveforms, and that they depend on nothing but the waveform."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from speech.data.levels import active_power, power


def test_a_power_is_the_mean_square() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        x = rng.standard_normal(32_640).astype(dtype)
        assert power(x) == pytest.approx(float(np.mean(np.square(x.astype(np.float64)))), rel=1e-12)
    assert power(np.array([3.0, -1.0], np.float32)) == 5.0


def test_a_power_does_not_depend_on_threads() -> None:
    """Mixtures are scaled by it, and equal seeds are to give equal batches on any machine setting."""
    assert any(library["user_api"] == "blas" for library in threadpool_info())
    x = np.random.default_rng(0).standard_normal((20, 32_640)).astype(np.float32)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append([(power(row), active_power(row, 16_000)) for row in x])
    assert found[0] == found[1]
