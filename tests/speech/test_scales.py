"""The scales around the network, worked out by hand: σ = 0.4 and σ_data = 0.3 make √(σ² + σ_data²) = 0.5."""

from __future__ import annotations

import pytest
import torch

from speech.model.config import Parameterisation
from speech.model.model import _input_scale, _output_scale, _skip_scale

EDM = Parameterisation("score", "edm", "edm", "edm", "1/t", sigma_data=0.3)
SIGMA = torch.tensor([0.4, 0.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (_input_scale, [1 / 0.5, 1 / 0.3]),
        (_output_scale, [0.4 * 0.3 / 0.5, 0.0]),
        (_skip_scale, [0.09 / 0.25, 1.0]),
    ],
)
def test_edm_scales(scale: object, expected: list[float]) -> None:
    """Karras et al. 2022, table 1."""
    found = scale(EDM, SIGMA)  # type: ignore[operator]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_other_scales() -> None:
    plain = Parameterisation("score", "1", "1/sigma", "0", "1/t")
    assert _input_scale(plain, SIGMA) is None
    assert _skip_scale(plain, SIGMA) is None
    torch.testing.assert_close(_output_scale(plain, SIGMA[:1]), 1 / SIGMA[:1])
