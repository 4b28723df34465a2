"""What is taken for granted of entries that say nothing, and sizes of the baselines' networks that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import ConfigError
from tests.tsdiff.conftest import sines
from tsdiff.baselines import train_baseline
from tsdiff.data.covariates import Layout


def test_an_entry_with_only_a_target_has_the_plain_layout() -> None:
    assert Layout.of({"target": np.ones(5)}) == Layout()
    assert Layout.of({"target": np.ones((2, 5)), "feat_static_cat": np.array([1])}) == Layout(2, 0, 1, 0)


@pytest.mark.parametrize(
    ("baseline", "name"),
    [("deepar", "num_layers"), ("patchtst", "num_encoder_layers"), ("transformer", "lr"), ("deepar", "batch_size")],
)
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_that_cannot_be_are_named(baseline: str, name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}: need a positive number"):
        train_baseline(baseline, sines(), "h", 8, **{name: value})
