"""The ways to compute that are tried on a GPU: precision, compiled or not; and how far apart results may then be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor


@dataclass(frozen=True)
class Way:
    """How a network is computed.

    Attributes:
        precision: Lightning's name.
        compiled: through `torch.compile`.
        error: of a forward pass, against float32 on the CPU; see `apart`.
        strayed: root mean square distance of weights from those of a training on the CPU in float32, over the learning
            rate times the steps, which is about how far AdamW moves each.
    """

    precision: Literal["32-true", "bf16-mixed"]
    compiled: bool
    error: float
    strayed: float

    def autocast(self, device: str) -> torch.autocast:
        """What its precision is for a forward pass."""
        return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=self.precision == "bf16-mixed")


WAYS = {
    "float32": Way("32-true", False, 1e-5, 0.02),
    "bf16": Way("bf16-mixed", False, 0.06, 0.6),
    "compiled": Way("32-true", True, 1e-5, 0.02),
    "bf16-compiled": Way("bf16-mixed", True, 0.06, 0.6),
}

every_way = pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in WAYS.items()])


def apart(found: np.ndarray | Tensor, wanted: np.ndarray | Tensor) -> float:
    """Root mean square of the difference over that of `wanted`, real or complex."""
    one, other = (torch.as_tensor(value).detach().cpu() for value in (found, wanted))
    return float((one.to(other.dtype) - other).abs().square().mean().sqrt() / other.abs().square().mean().sqrt())
