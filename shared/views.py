"""Items of a batch as rows, complex numbers as pairs of real ones, and whether shapes agree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from shared.errors import ConfigError


def rows(x: Tensor) -> Tensor:
    """x (batch, ...) as (batch, elements): one element where the items are single numbers, (batch,)."""
    return x[:, None].flatten(1)


def shaped_like(state: Tensor, made: Any, maker: str) -> Tensor:
    """What a network made of a state (batch, ...), which has to be of its shape: another one would be stretched to it.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(made, Tensor):
        raise ConfigError(f"the {maker} returned the type {type(made).__name__}: need a tensor shaped like the state")
    if made.shape != state.shape:
        raise ConfigError(f"the {maker} returned shape {tuple(made.shape)} for a state of {tuple(state.shape)}")
    return made


def real_parts(x: Tensor) -> Tensor:
    """x (batch, ...), with an axis more, of real and imaginary parts, where it is complex."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def from_parts(parts: Tensor, like: Tensor) -> Tensor:
    """What `real_parts` took apart: complex where `like` is."""
    return torch.complex(*parts.unbind(-1)) if like.is_complex() else parts
