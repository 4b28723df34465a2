"""Scores that are known in closed form, with and without a part that is no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from shared.guidance import DenoiserFunction
from shared.samplers.run import Node
from shared.sde import SDE
from tests.shared.mixture import F64


def rotation(size: int) -> Tensor:
    """An antisymmetric orthogonal matrix: a quarter turn in each plane of two neighbours."""
    turn = torch.zeros(size, size, dtype=F64)
    for place in range(0, size, 2):
        turn[place, place + 1], turn[place + 1, place] = -1.0, 1.0
    return turn


def turned(denoiser: DenoiserFunction, sde: SDE, strength: float) -> DenoiserFunction:
    """The denoiser whose score has strength·B·u besides, with B the `rotation`, for states (batch, size)."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        node = Node.at(sde, float(t[0]))
        variance = (node.sigma / node.alpha) ** 2
        return denoiser(x, t) + strength * variance * (x / node.alpha) @ rotation(x.shape[1]).T

    return denoise
