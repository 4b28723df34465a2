"""Stochastic differential equations of the toolkit. Each is one Gaussian path around an anchor: see `SDE`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from shared.errors import ConfigError
from shared.sde.anchored import BBEDSDE, OUVESDE, OUVPSDE, SBVESDE
from shared.sde.base import SDE
from shared.sde.preserving import VESDE, VPSDE, DiscreteVPSDE, SubVPSDE, cosine_betas, linear_betas

__all__ = [
    "BBEDSDE",
    "OUVESDE",
    "OUVPSDE",
    "SBVESDE",
    "SDE",
    "VESDE",
    "VPSDE",
    "DiscreteVPSDE",
    "SubVPSDE",
    "cosine_betas",
    "linear_betas",
    "sde_from_config",
    "sde_to_config",
]

SDES: dict[str, type[SDE]] = {
    "vp": VPSDE,
    "sub_vp": SubVPSDE,
    "ve": VESDE,
    "discrete_vp": DiscreteVPSDE,
    "ouve": OUVESDE,
    "ouvp": OUVPSDE,
    "bbed": BBEDSDE,
    "sbve": SBVESDE,
}


def sde_to_config(sde: SDE) -> dict[str, Any]:
    """A JSON-ready description, {"name": ..., parameters...}; `sde_from_config` inverts it."""
    names = {cls: name for name, cls in SDES.items()}
    return {"name": names[type(sde)], **asdict(sde)}  # type: ignore[call-overload]


def sde_from_config(config: dict[str, Any]) -> SDE:
    """The SDE that `sde_to_config` described.

    Raises:
        ConfigError: unknown name or parameter.
    """
    parameters = dict(config)
    name = parameters.pop("name", None)
    if not isinstance(name, str) or name not in SDES:
        raise ConfigError(f"unknown SDE {name!r}; known: {', '.join(SDES)}")
    try:
        return SDES[name](**parameters)
    except TypeError as error:  # unknown parameters, or values that are no numbers
        raise ConfigError(f"parameters of SDE {name!r}: {error}") from error
