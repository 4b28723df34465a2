"""Weights, inputs and noise by a rule from their names, so that none are stored; and digests of results.

All draws are uniform: torch gives these bit for bit on every machine, which it does not for normal ones.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from shared.random import PlacedGenerator

_PICKED, _PROJECTED = 40, 8


def draw(name: str, *shape: int) -> Tensor:
    """Uniform in [−1, 1), float64, a function of name and shape."""
    digest = hashlib.sha256(f"{name} {shape}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1


def complex_draw(name: str, *shape: int) -> Tensor:
    """Complex64 of unit power."""
    return (math.sqrt(1.5) * torch.view_as_complex(draw(name, *shape, 2))).to(torch.complex64)


def weight(name: str, shape: Sequence[int]) -> Tensor:
    """The tensor of a network's state that has this name and shape: float64, of a size that keeps signals alive.

    Matrices and kernels are scaled by their inputs, gains and variances lie around 1, biases around 0; counters are 0.
    """
    last = name.rsplit(".", 1)[-1]
    if not shape:
        return torch.zeros(())
    if len(shape) > 1:
        return math.sqrt(3 / math.prod(shape[1:])) * draw(name, *shape)
    if last in ("weight", "running_var", "Wrr", "Wii", "RVrr", "RVii"):
        return 1 + 0.3 * draw(name, *shape)
    return 0.3 * draw(name, *shape)


def fill(state: Mapping[str, Tensor], salt: str = "") -> None:
    """Write the weights of all names into the tensors of a state dict; another salt gives others."""
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(weight(salt + name, tuple(tensor.shape)))


class RecipeNoise(PlacedGenerator):
    """The noise of one item of a batch, draw by draw, complex; for samplers that take a generator per item.

    Args:
        item: of the batch.
    """

    def __init__(self, item: int):
        super().__init__("noise", item)
        self._item, self._count = item, 0

    def randn(self, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        """The next draw."""
        self._count += 1
        return complex_draw(f"noise {self._item} {self._count}", *shape).to(dtype or torch.complex64)


def digest(value: Tensor) -> np.ndarray:
    """What is kept of a result: some of its numbers, and inner products of all of them with fixed directions."""
    value = value.detach()
    flat = (torch.view_as_real(value) if value.is_complex() else value).double().flatten()
    if len(flat) <= _PICKED:
        return flat.numpy()
    picked = flat[torch.arange(_PICKED) * (len(flat) - 1) // (_PICKED - 1)]
    directions = draw("directions", _PROJECTED, len(flat)) / math.sqrt(len(flat))
    return torch.cat([picked, directions @ flat]).numpy()
