"""The bundled forecaster, quick and as it ships."""

from __future__ import annotations

import pytest

from tsdiff import TSDiffPredictor


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    """Quick: no kernels are compared. It was not adapted."""
    return TSDiffPredictor.from_pretrained("default").with_sampling(steps=1, method="ode1", covariance="scalar")


@pytest.fixture(scope="module")
def real() -> TSDiffPredictor:
    """As it ships."""
    return TSDiffPredictor.from_pretrained("default")
