"""The processes that tests go through."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.sde import (
    BBEDSDE,
    FOUVESDE,
    OUVESDE,
    OUVPSDE,
    SBVESDE,
    SDE,
    VESDE,
    VPSDE,
    DiscreteVPSDE,
    FlowSDE,
    ResfusionSDE,
    SubVPSDE,
    VPBridgeSDE,
    cosine_betas,
    linear_betas,
)

SDES: dict[str, SDE] = {
    "vp": VPSDE(),
    "sub_vp": SubVPSDE(),
    "ve": VESDE(),
    "flow": FlowSDE(),
    "discrete_linear": DiscreteVPSDE(linear_betas(100, 1e-4, 0.1)),
    "discrete_cosine": DiscreteVPSDE(cosine_betas(100)),
    "ouve": OUVESDE(),
    "fouve": FOUVESDE(),
    "ouvp": OUVPSDE(),
    "bbed": BBEDSDE(),
    "sbve": SBVESDE(),
    "brownian_bridge": SBVESDE(k=1.0),
    "resfusion": ResfusionSDE(),
    "vp_bridge": VPBridgeSDE(),
}
"""One of each process, the discrete one with its two tables."""

ANCHORED = ("ouve", "fouve", "ouvp", "bbed", "sbve", "brownian_bridge", "resfusion", "vp_bridge")
"""Names in `SDES` of the processes that lead to an anchor."""

BRIDGES = ("sbve", "brownian_bridge", "vp_bridge")
"""Names of those that end in the anchor itself."""


DISTINCT = ("vp", "ve", "discrete_linear", "ouve", "sbve", "flow")
"""Names in `SDES` of the processes that together take every way through what knows a process by its coefficients alone:
with an anchor or none, constant α, a start at α = 0 or α = σ = 0, an end at clean data or before it, and the exact
forward step or Euler's."""


def all_sdes(
    *, skip: tuple[str, ...] = (), others_slow: bool = False, slow: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test once for every process of `SDES`, as its arguments `name` and `sde`; those that are not `DISTINCT`
    among the slow tests if so told, and those named."""
    late = {*slow, *(name for name in SDES if others_slow and name not in DISTINCT)}
    cases = [
        pytest.param(name, sde, id=name, marks=pytest.mark.slow if name in late else ())
        for name, sde in SDES.items()
        if name not in skip
    ]
    return pytest.mark.parametrize(("name", "sde"), cases)
