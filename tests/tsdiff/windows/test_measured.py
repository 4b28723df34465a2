"""Statistics of training windows that are measured again, and defaults that two ways to the same thing share."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from shared.errors import DataError
from tests.tsdiff.conftest import sines
from tests.tsdiff.windows.test_windows import config, entry
from tsdiff import TSDiff
from tsdiff.tasks.synthesis.draw import SynthesisConfig
from tsdiff.windows.source import WindowSource


def test_the_covariance_measured_later_is_that_measured_with_the_statistics() -> None:
    source = WindowSource(sines(), config())
    first = source.measure(np.random.default_rng(3), 64).covariance
    again = source.measure_covariance(np.random.default_rng(3), 64)
    assert first is not None
    torch.testing.assert_close(again.variances, first.variances, rtol=1e-4, atol=1e-6)
    assert again.rest == pytest.approx(first.rest, rel=1e-3)


@pytest.mark.parametrize(("context", "windows"), [(8, 2048), (40_000, 256)])
def test_windows_of_any_length_are_measured_in_bounded_memory(context: int, windows: int) -> None:
    """2,048 windows of 40,000 steps take 3.4 GB; 256 are as many as a covariance has directions."""
    source = WindowSource([entry(np.random.default_rng(0).normal(size=50_000))], config(context))
    filled, seen = source._scaled_windows(np.random.default_rng(3), 2048)
    assert filled.shape[0] == windows
    assert seen.size == filled.size


@pytest.mark.parametrize(("count", "enough"), [(1, False), (2, True)])
def test_two_windows_tell_a_covariance_and_one_does_not(count: int, enough: bool) -> None:
    source = WindowSource([entry(np.arange(40.0))], config(), batch_size=1)
    if enough:
        assert source.measure_covariance(np.random.default_rng(0), count).n == 12
    else:
        with pytest.raises(DataError, match="fewer than two"):
            source.measure_covariance(np.random.default_rng(0), count)


def test_windows_are_drawn_alike_by_the_model_and_for_a_data_set() -> None:
    """`TSDiff.sample` and `tsdiff synthesize` give windows of the same kind where nothing is said."""
    plain = inspect.signature(TSDiff.sample).parameters
    for name in ("method", "steps", "log_snr_end", "seed"):
        assert plain[name].default == getattr(SynthesisConfig(), name), name
