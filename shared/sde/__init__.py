"""Stochastic differential equations of the toolkit. Each is one Gaussian path around an anchor: see `SDE`."""

from __future__ import annotations

from typing import Annotated

from shared.kinds import OneOf
from shared.sde.anchored import BBEDSDE, FOUVESDE, OUVESDE, OUVPSDE, SBVESDE, ResfusionSDE, VPBridgeSDE
from shared.sde.base import SDE
from shared.sde.preserving import VESDE, VPSDE, DiscreteVPSDE, FlowSDE, SubVPSDE, cosine_betas, linear_betas

SDES: tuple[type[SDE], ...] = (
    VPSDE,
    SubVPSDE,
    VESDE,
    FlowSDE,
    DiscreteVPSDE,
    OUVESDE,
    FOUVESDE,
    OUVPSDE,
    BBEDSDE,
    SBVESDE,
    ResfusionSDE,
    VPBridgeSDE,
)
"""The processes that files name by their `kind`."""
Process = Annotated[SDE, OneOf(SDE, SDES)]
"""The type of a setting that is a process: an object, a kind, or a mapping of kind and parameters."""
