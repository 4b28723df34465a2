"""Items of a batch as rows, and complex numbers as pairs of real ones."""

from __future__ import annotations

import torch
from torch import Tensor


def rows(x: Tensor) -> Tensor:
    """x (batch, ...) as (batch, elements): one element where the items are single numbers, (batch,)."""
    return x[:, None].flatten(1)


def real_parts(x: Tensor) -> Tensor:
    """x (batch, ...), with an axis more, of real and imaginary parts, where it is complex."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def from_parts(parts: Tensor, like: Tensor) -> Tensor:
    """What `real_parts` took apart: complex where `like` is."""
    return torch.complex(*parts.unbind(-1)) if like.is_complex() else parts
