"""SpaceTime's layer (Zhang et al. 2023, "Effectively modeling time series with simple discrete state spaces") as a
network of windows: the residual blocks of `s4d`, with companion-matrix convolutions in both directions.

A companion matrix can be any autoregression, which diagonal state spaces cannot. The first block also has channels with
fixed kernels, which prepare the series as published: differences of order 1 to 4, and what moving averages leave over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

import tsdiff.model.backbones.companion as companion
from shared.checks import Count, Natural
from shared.errors import ConfigError
from tsdiff.model.backbones.s4d import PatchedConfig
from tsdiff.model.backbones.two_sided import TwoSidedConvolution

_MOST_ENTRIES, _MOST_TERMS = 1 << 20, 1 << 26
_DIFFERENCES = 4


@dataclass(frozen=True)
class SpaceTimeConfig(PatchedConfig):
    """Size of a SpaceTime network, which as published takes points one by one.

    Args:
        state: dimension d of each channel's state, in each direction: of 2 to 256, width · d² at most 2²⁰.
        prepared: channels of the first block whose forward kernels are fixed, up to `width`.
    """

    patch: Count = 1
    state: Annotated[int, Ge(2), Le(256)] = 16
    prepared: Natural = 16
    kind: Literal["spacetime"] = "spacetime"

    def _related(self) -> None:
        entries = self.width * self.state**2
        self._require(entries <= _MOST_ENTRIES, "width state", f"need at most {_MOST_ENTRIES} for width · state²")
        self._require(self.prepared <= self.width, "prepared width", "need at most all channels")

    def convolutions(self, tokens: int) -> Callable[[int], nn.Module]:
        """See `PatchedConfig.convolutions`."""
        if self.width * tokens > _MOST_TERMS:
            raise ConfigError(f"width={self.width}, {tokens} tokens: need width · tokens up to {_MOST_TERMS}")

        def made(block: int) -> nn.Module:
            return CompanionConvolution(self.width, self.state, tokens, self.prepared if block == 0 else 0)

        return made


class CompanionConvolution(TwoSidedConvolution):
    """Every channel convolved with the kernels of two companion spaces, one in each direction, plus the direct term.

    What is learned of the readout is its truncated form, so that a kernel costs no power of a matrix. Roots are kept
    inside the unit circle by shrinking all of a space (`companion.within`). They start as damped waves of all lengths
    up to the window's.

    Args:
        width: channels.
        state: d.
        tokens: length of the series.
        prepared: channels, the first, whose forward kernel is fixed.
    """

    prepared: Tensor

    def __init__(self, width: int, state: int, tokens: int, prepared: int = 0):
        super().__init__()
        self.tokens = tokens
        self._factor = companion.damping(tokens, state)
        last, gain, readout = _damped_waves(width, state, tokens)
        self.last = nn.Parameter(last.float())
        self.gain = nn.Parameter(gain.float())
        last, _, readout = companion.damped(companion.within(last), gain, readout, self._factor)
        self.readout = nn.Parameter(companion.truncated(last, readout, tokens).float())
        self.direct = nn.Parameter(torch.randn(width))
        self.register_buffer("prepared", preparing_kernels(prepared, tokens), persistent=False)

    def kernels(self, length: int) -> Tensor:
        """See `TwoSidedConvolution`."""
        if length != self.tokens:
            raise ConfigError(f"{length} tokens: these readouts are of {self.tokens}")
        last, gain, cut = (part.double() for part in (self.last, self.gain, self.readout))
        last, gain, _ = companion.damped(companion.within(last), gain, cut, self._factor)
        made = companion.undamped(companion.circle_kernel(last, gain, cut, length), self._factor)
        ahead, behind = made.to(self.direct.dtype)
        return torch.stack([torch.cat([self.prepared.to(ahead), ahead[len(self.prepared) :]]), behind])

    def spaces(self) -> tuple[Tensor, Tensor, Tensor]:
        """p, b and c of all spaces, (2, width, d), float64: what the kernels are of."""
        last, gain, cut = (part.detach().double() for part in (self.last, self.gain, self.readout))
        last = companion.within(last)
        inner, _, _ = companion.damped(last, gain, cut, self._factor)
        return (
            last,
            gain,
            companion.damped(last, gain, companion.restored(inner, cut, self.tokens), 1 / self._factor)[2],
        )


def _damped_waves(width: int, state: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """p, b, c (2, width, d), float64: b is the first unit vector, c random, and each p has a pair of roots
    e^{−1/τ ± iθ}, with times τ from 1 to the window's length and θ drawn up to π/2."""
    decay = torch.exp(-1 / torch.logspace(0, math.log10(max(tokens, 2)), width, dtype=torch.float64)).expand(2, width)
    angle = torch.rand(2, width).double().square() * (math.pi / 2)
    last = 0.01 * torch.randn(2, width, state).double() / state
    last[..., -1] += 2 * decay * angle.cos()
    last[..., -2] -= decay.square()
    gain = torch.zeros_like(last)
    gain[..., 0] = 1
    return last, gain, torch.randn(2, width, state).double() / math.sqrt(state)


def preparing_kernels(count: int, length: int) -> Tensor:
    """Fixed kernels (count, length): differences of order 1 … 4, then what moving averages over 2, 4, 8, … steps leave
    over, and again from the start."""
    kernels = []
    widths = [2**power for power in range(1, 5) if 2**power <= length]
    for order in range(1, _DIFFERENCES + 1):
        taps = torch.tensor([(-1.0) ** k * math.comb(order, k) for k in range(order + 1)])
        kernels.append(taps)
    for size in widths:
        taps = torch.full((size,), -1.0 / size)
        taps[0] += 1
        kernels.append(taps)
    out = torch.zeros(count, length)
    for row in range(count):
        taps = kernels[row % len(kernels)][:length]
        out[row, : len(taps)] = taps
    return out
