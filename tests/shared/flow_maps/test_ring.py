"""A map that is trained in seconds: in one call it beats one call of the flow that it is made of."""

from __future__ import annotations

import pytest

from benchmarks.ring import Budget, World, distance, train_ring
from shared.flow_maps import LagrangianMap


@pytest.mark.slow
def test_one_call_of_a_map_beats_one_of_the_flow() -> None:
    """Of two modes little is seen, so that the flow's first call, the mean, lies between. The flow is the map's own
    diagonal, for which more steps change nothing here: a better one has the same mean."""
    world = World(modes=2, blur=1.5)
    budget = Budget(steps=700, learning_rate=5e-3, world=world)
    found = train_ring(LagrangianMap(diagonal=0.5), budget, width=64)
    assert distance(found, "map", 1, 5000, world) < 0.85 * distance(found, "ode1", 1, 5000, world)
