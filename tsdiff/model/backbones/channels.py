"""Linear layers of activations whose channels lead, (channels, batch·length).

Mixing channels is then one matrix product, each channel's series is contiguous for the convolutions, and nothing is
ever transposed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mix(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer over the leading dimension: x (in, n) → (out, n)."""
    if layer.bias is None:
        return layer.weight @ x
    return torch.addmm(layer.bias[:, None], layer.weight, x)


def normalise(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """A layer norm over the leading dimension of x (channels, ...), in the precision of its weights."""
    x = x.to(layer.weight.dtype)
    shape = (-1, *[1] * (x.ndim - 1))
    centred = x - x.mean(0, keepdim=True)
    spread = (centred.square().mean(0, keepdim=True) + layer.eps).rsqrt()
    return torch.addcmul(layer.bias.view(shape), centred * spread, layer.weight.view(shape))


def gated(x: Tensor) -> Tensor:
    """The first half of the channels times the sigmoid of the second: `glu`, whose derivative along a direction has no
    gradient in torch."""
    value, gate = x.chunk(2)
    return value * torch.sigmoid(gate)
