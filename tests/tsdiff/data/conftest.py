"""The bundled forecaster, quick."""

from __future__ import annotations

import pytest

from tsdiff import TSDiffPredictor


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    """Quick: no kernels are compared."""
    return TSDiffPredictor.from_pretrained("default").with_sampling(steps=1, method="ode1", covariance="scalar")
