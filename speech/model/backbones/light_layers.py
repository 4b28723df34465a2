"""Layers of the light network, on activations (batch, bands, frames, channels)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FRAMES = 3
"""Taps of every convolution along time."""


class Stream:
    """What the layers of a causal network hand on from one piece of a sound to the next.

    Args:
        past: of each layer, in the order in which they run: the last frames of its input.
    """

    def __init__(self, past: tuple[Tensor, ...]):
        self._past = iter(past)
        self.future: list[Tensor] = []

    def prepend(self, x: Tensor, frames: int) -> Tensor:
        """x with the layer's past before it; its own last `frames` are kept for the next piece."""
        x = torch.cat((next(self._past).to(x.dtype), x), dim=2)
        self.future.append(x[:, :, -frames:].clone())
        return x


class BandConv(nn.Module):
    """Convolution over bands and frames that keeps both their numbers; zeros lie outside.

    Args:
        channels: in and out.
        bands: of the input.
        kernel: taps along the bands, odd.
        dilation: between the taps along time, in frames.
        causal: look only back.
    """

    def __init__(self, channels: tuple[int, int], bands: int, kernel: int, dilation: int, causal: bool):
        super().__init__()
        convolution = nn.Conv2d(channels[0], channels[1], (kernel, FRAMES))
        self.weight = nn.Parameter(convolution.weight.detach().contiguous(memory_format=torch.channels_last))
        assert convolution.bias is not None
        self.bias = nn.Parameter(convolution.bias.detach())
        self.shape = (bands, channels[0])
        self.dilation, self.causal = dilation, causal
        self.span = (FRAMES - 1) * dilation

    @property
    def context(self) -> tuple[int, int]:
        """Frames that it sees before and after the one that it makes."""
        return (self.span, 0) if self.causal else (self.span // 2, self.span // 2)

    def initial_past(self, batch: int) -> Tensor:
        """Silence before the first frame: (batch, bands, frames, channels)."""
        return self.weight.new_zeros(batch, self.shape[0], self.span, self.shape[1])

    def forward(self, x: Tensor, stream: Stream | None) -> Tensor:
        padding = self.span // 2
        if self.causal:
            x = F.pad(x, (0, 0, self.span, 0)) if stream is None else stream.prepend(x, self.span)
            padding = 0
        weight = self.weight.contiguous(memory_format=torch.channels_last)
        out = F.conv2d(
            x.permute(0, 3, 1, 2),
            weight,
            self.bias,
            padding=(weight.shape[2] // 2, padding),
            dilation=(1, self.dilation),
        )
        return out.permute(0, 2, 3, 1)


class Mixing(nn.Module):
    """All bands of a frame and of its neighbours, through one narrow layer; added to the input.

    Each band hands over a few channels; those of all bands together are one vector a frame.
    """

    def __init__(self, width: int, bands: int, mixed: int, hidden: int, dilation: int, causal: bool):
        super().__init__()
        self.squeeze = nn.Linear(width, mixed)
        self.norm = nn.LayerNorm(bands * mixed)
        self.frames = BandConv((bands * mixed, hidden), 1, 1, dilation, causal)
        self.spread = nn.Linear(hidden, bands * mixed)
        self.expand = zero(nn.Linear(mixed, width))

    def forward(self, x: Tensor, stream: Stream | None) -> Tensor:
        batch, bands, frames, _ = x.shape
        whole = self.squeeze(x).permute(0, 2, 1, 3).reshape(batch, 1, frames, -1)
        whole = self.spread(F.silu(self.frames(self.norm(whole), stream)))
        return x + self.expand(F.silu(whole.view(batch, frames, bands, -1).permute(0, 2, 1, 3)))


class Block(nn.Module):
    """A convolution whose result the time of the process scales and shifts; added to the input."""

    def __init__(self, width: int, bands: int, dilation: int, causal: bool, embedding: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.neighbours = BandConv((width, width), bands, 3, dilation, causal)
        self.condition = zero(nn.Linear(embedding, 2 * width))
        self.point = zero(nn.Linear(width, width))

    def forward(self, x: Tensor, embedding: Tensor, stream: Stream | None) -> Tensor:
        h = self.neighbours(self.norm(x), stream)
        scale, shift = self.condition(embedding)[:, None, None].to(h.dtype).chunk(2, -1)
        return x + self.point(F.silu(torch.addcmul(h + shift, h, scale)))


class Edge(nn.Module):
    """A convolution over the fine bands, added to its input."""

    def __init__(self, width: int, bands: int, causal: bool):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.neighbours = BandConv((width, width), bands, 3, 1, causal)

    def forward(self, x: Tensor, stream: Stream | None) -> Tensor:
        return x + F.silu(self.neighbours(self.norm(x), stream))


class TimeEmbedding(nn.Module):
    """t (batch,) of the process, in [0, 1] → (batch, units): sines and cosines, then two layers."""

    frequencies: Tensor

    def __init__(self, units: int):
        super().__init__()
        octaves = torch.linspace(-2, 4, units // 2)
        self.register_buffer("frequencies", 2 * math.pi * 2**octaves, persistent=False)
        self.layers = nn.Sequential(nn.Linear(units, units), nn.SiLU(), nn.Linear(units, units), nn.SiLU())

    def forward(self, t: Tensor) -> Tensor:
        angle = t.to(self.frequencies.dtype)[:, None] * self.frequencies
        return self.layers(torch.cat((angle.sin(), angle.cos()), dim=-1))


def zero(layer: nn.Linear) -> nn.Linear:
    """The layer with weights of zero, so that what it ends adds nothing at first."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def split_bands(x: Tensor, size: int) -> Tensor:
    """(batch, bands · size, frames, channels) → (batch, bands, frames, size · channels)."""
    batch, fine, frames, channels = x.shape
    x = x.reshape(batch, fine // size, size, frames, channels).transpose(2, 3)
    return x.reshape(batch, fine // size, frames, size * channels)


def join_bands(x: Tensor, size: int) -> Tensor:
    """The inverse of `split_bands`."""
    batch, bands, frames, channels = x.shape
    x = x.reshape(batch, bands, frames, size, channels // size).transpose(2, 3)
    return x.reshape(batch, bands * size, frames, channels // size)
