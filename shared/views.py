"""Items of a batch as rows, complex numbers as pairs of real ones, and whether shapes agree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from shared.errors import ConfigError


def rows(x: Tensor) -> Tensor:
    """x (batch, ...) as (batch, elements): one element where the items are single numbers, (batch,)."""
    return x[:, None].flatten(1)


def check_numbers(name: str, given: Any) -> None:
    """Raise ConfigError unless this is a tensor (batch, ...) of real or complex numbers."""
    if not isinstance(given, Tensor):
        raise ConfigError(f"{name} of the type {type(given).__name__}: need a tensor, such as torch.as_tensor makes")
    if not (given.is_floating_point() or given.is_complex()):
        raise ConfigError(f"{name} of {given.dtype}: need real or complex numbers, such as {name.split()[-1]}.float()")
    if given.ndim == 0:
        raise ConfigError(f"{name} without axes: need (batch, ...)")


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
