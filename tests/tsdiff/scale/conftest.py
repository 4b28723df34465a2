"""The bundled forecaster."""

from __future__ import annotations

import pytest

from tsdiff import TSDiffPredictor


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default")
