"""Stochastic differential equations of the toolkit. Each is one Gaussian path around an anchor: see `SDE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from shared.kinds import OneOf, chosen
from shared.sde.anchored import BBEDSDE, FOUVESDE, OUVESDE, OUVPSDE, SBVESDE, ResfusionSDE
from shared.sde.base import SDE
from shared.sde.preserving import VESDE, VPSDE, DiscreteVPSDE, FlowSDE, SubVPSDE, cosine_betas, linear_betas

__all__ = [
    "BBEDSDE",
    "FOUVESDE",
    "OUVESDE",
    "OUVPSDE",
    "SBVESDE",
    "SDE",
    "VESDE",
    "VPSDE",
    "DiscreteVPSDE",
    "FlowSDE",
    "Process",
    "ResfusionSDE",
    "SubVPSDE",
    "cosine_betas",
    "linear_betas",
    "sde_from",
]

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
)
Process = Annotated[SDE, OneOf(SDE, SDES)]
"""The type of a setting that is a process: an object, a kind, or a mapping of kind and parameters."""


def sde_from(value: SDE | str | Mapping[str, Any], custom: Sequence[type] = ()) -> SDE:
    """A process from its kind, or from a mapping of kind and parameters as `dataclasses.asdict` writes it.

    Args:
        value: one of these; a process is returned as it is.
        custom: classes of processes besides those of the toolkit.

    Raises:
        ConfigError: unknown kind or parameter, or a value out of range.
    """
    found: SDE = chosen(Process, value, "process", custom)
    return found
