"""How the published module scales its windows: what its buffers and its settings say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from shared.errors import CheckpointError, ConfigError
from tsdiff.importing.settings import EMBEDDER, Settings

_BUFFERS = {"scaler.default_scale": "default_scale", "scaler.minimum_scale": "minimum_scale"}


@dataclass(frozen=True)
class Scaler:
    """Fields of `TSDiffConfig`; the defaults are those of the MeanScaler of GluonTS 0.12, which the code is pinned to.

    A default scale of 0 means there that a context without any value but zeros takes the batch's scale.
    """

    scaling: Literal["mean", "none"] = "mean"
    default_scale: float | None = 0.0
    minimum_scale: float = 1e-10

    @classmethod
    def of(cls, state: Mapping[str, Tensor], settings: Settings) -> Scaler:
        """The scaler of a state dict. MeanScaler has two buffers, NOPScaler has none.

        Raises:
            CheckpointError: a buffer is missing, or is no number that can be used.
            ConfigError: the settings contradict it, or name another normalisation.
        """
        buffers = {name: state[name] for name in _BUFFERS if name in state}
        said = settings.values.get("normalization")
        if said not in (None, "mean", "none"):
            raise ConfigError(f"normalization={said!r} cannot be used here; windows are scaled by 'mean' or by 'none'")
        if said == "none" and buffers:
            raise ConfigError(f"normalization='none', but {settings.origin} holds the buffers of 'mean'")
        if said is None and not buffers:
            # The whole module without such buffers scales nothing; the backbone alone does not tell.
            whole = any(name.startswith(EMBEDDER) for name in state)
            said = settings.assume("normalization", "none" if whole else "mean")
        if said == "none":
            return cls("none", None)
        return cls(**_numbers(buffers, settings.origin)) if buffers else cls()


def without_scaler(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without the scaler's buffers."""
    return {name: value for name, value in state.items() if name not in _BUFFERS}


def _numbers(buffers: Mapping[str, Tensor], origin: str) -> dict[str, Any]:
    missing = [name for name in _BUFFERS if name not in buffers]
    if missing:
        raise CheckpointError(f"{origin} does not fit the published layout: missing key {missing[0]!r}")
    least = buffers["scaler.minimum_scale"]
    if least.dtype == torch.float16 and not least.any():  # in half precision 1e-10 is 0
        buffers = {**buffers, "scaler.minimum_scale": torch.full_like(least, Scaler.minimum_scale, dtype=torch.float32)}
    for name, value in buffers.items():
        if value.numel() != 1 or not value.is_floating_point():
            raise CheckpointError(f"{origin}: {name!r} is {value.dtype} of shape {tuple(value.shape)}, not one number")
        if not 0 <= float(value) < math.inf or (name == "scaler.minimum_scale" and not value):
            raise CheckpointError(f"{origin}: {name!r} is {float(value)}, not a scale")
    return {_BUFFERS[name]: float(value) for name, value in buffers.items()}
