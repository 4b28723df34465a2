"""The first step of the published bridge sampler, by what its docstring says of its weights."""

from __future__ import annotations

import math

import pytest
import torch

from shared.samplers.published import PublishedBridgeStart
from shared.sde import SBVESDE


@pytest.mark.parametrize("steps", [2, 5, 50])
def test_weights_are_those_of_the_bridge_but_for_what_epsilon_adds(steps: int) -> None:
    """The data weigh α(t_1); state and anchor differ by σ(t_1)(1 − 1/s_T) of all."""
    sde = SBVESDE()
    start = PublishedBridgeStart(sde, torch.ones(1), torch.linspace(1, 1e-4, steps + 1, dtype=torch.float64))
    first = torch.tensor([1.0 - (1.0 - 1e-4) / steps], dtype=torch.float64)
    end = math.sqrt(sde.c * (sde.k**2 - 1) / (2 * math.log(sde.k)))
    assert start._of_data == pytest.approx(float(sde.alpha(first)), rel=1e-3)
    more = float(sde.sigma(first)) * (1 - 1 / end)
    assert start._of_state + start._of_data + start._of_anchor == pytest.approx(1 + more, abs=0.03 * more)
    left = math.sqrt(float(sde.alpha(first))) * end
    reference = math.sqrt(end**2 - left**2)
    assert start._of_state == pytest.approx(reference * left / (end * 1e-4), rel=1e-3)  # √ϵ = 1e-4
