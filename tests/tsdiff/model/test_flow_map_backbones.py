"""Every bundled network of series as a flow map's: what it is at first, and its derivatives along a direction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from shared.random import make_generator
from tests.shared.flow_maps.directions import awaken, check_directions
from tsdiff.model.backbones import ContextConfig, S4Config, S4DConfig, SpaceTimeConfig

CONFIGS: dict[str, Any] = {
    "s4d": S4DConfig(patch=4, width=8, blocks=2, state=4, span=True),
    "context": ContextConfig(patch=4, width=8, encoder_blocks=1, decoder_blocks=2, heads=2, span=True),
    "spacetime": SpaceTimeConfig(patch=4, width=8, blocks=2, state=4, prepared=2, span=True),
    "s4": S4Config(width=8, blocks=2, state=4, step_embedding=8, span=True),
}


def features() -> torch.Tensor:
    """What is known of every point, (1, 16, 2), as "context" reads it: wanted from the middle on, known before."""
    wanted = (torch.arange(16) >= 8).double()
    return torch.stack([wanted, 1 - wanted], dim=1)[None]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_derivatives_along_a_direction(config: Any, training: bool) -> None:
    torch.manual_seed(0)
    network = config.build(16, 1, 2).double().train(training)
    awaken(network)
    x, known = torch.randn(3, 16, 1, dtype=torch.float64, generator=make_generator("x")), features().expand(3, -1, -1)
    t = torch.tensor([1.0, 2.0, 0.3], dtype=torch.float64)
    span = torch.tensor([0.1, 0.5, 0.2], dtype=torch.float64)
    check_directions(network, lambda x, t, span: network(x, t, known, span=span), x, t, span)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_network_says_whether_it_is_a_maps(config: Any) -> None:
    for span in (True, False):
        assert replace(config, span=span).build(16, 1, 2).takes_span is span


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_map_begins_as_the_network_it_starts_from(config: Any) -> None:
    torch.manual_seed(0)
    network, known = config.build(16, 1, 2), features().float().expand(3, -1, -1)
    network.eval()
    assert network.takes_span
    x, t = torch.randn(3, 16, 1, generator=make_generator("x")), torch.tensor([1.0, 2.0, 0.3])
    for span in (torch.zeros(3), torch.tensor([0.1, 0.5, 0.2])):
        torch.testing.assert_close(network(x, t, known, span=span), network(x, t, known), rtol=0, atol=0)
