"""The layers of NCSN++ (Song et al. 2021, appendix H): residual blocks, attention, resampling, time embedding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, TypeVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, MultipleOf
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from shared.checks import Portion
from shared.flow_maps.span import SpanConfig, SpanEmbedding
from speech.model.backbones.fir import downsample, fir, upsample

Direction = Literal["up", "down"]
M = TypeVar("M", nn.Conv2d, nn.Linear)

_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "swish": F.silu,
    "elu": F.elu,
    "relu": F.relu,
    "lrelu": partial(F.leaky_relu, negative_slope=0.2),
}


_MOST_TAPS = 32
"""Of a filter, which shapes do not tell."""


@dataclass(frozen=True)
class LayerConfig(SpanConfig):
    """What the layers have in common, by the published code's names.

    Attributes:
        nf: channels at the first level.
        resblock_type: "biggan" resamples inside residual blocks, "ddpm" between them.
        nonlinearity: of all blocks.
        fir: resample with `fir_kernel`; otherwise by repeating and averaging.
        fir_kernel: taps of the separable filter, up to 32, scaled to sum 1.
        skip_rescale: divide sums of two branches by √2.
        init_scale: of the last convolution of each block at the start; 0 means 1e-10.
        fourier_scale: standard deviation of the frequencies of the time embedding, which is of log t.
        dropout: probability inside residual blocks.

    Raises:
        ConfigError: a value that cannot be used.
    """

    nf: Annotated[int, Ge(4), MultipleOf(4)] = 128
    resblock_type: Literal["biggan", "ddpm"] = "biggan"
    nonlinearity: Literal["swish", "elu", "relu", "lrelu"] = "swish"
    fir: bool = True
    fir_kernel: tuple[float, ...] = (1, 3, 3, 1)
    skip_rescale: bool = True
    init_scale: float = 0.0
    fourier_scale: float = 16.0
    dropout: Portion = 0.0

    def _related(self) -> None:
        taps = self.fir_kernel
        met = 2 <= len(taps) <= _MOST_TAPS and 0 < abs(sum(taps)) < math.inf
        self._require(met or not self.fir, "fir_kernel", f"need a low-pass filter of 2 to {_MOST_TAPS} taps")

    @property
    def taps(self) -> tuple[float, ...] | None:
        """Of the resampling filter; None where there is none."""
        return self.fir_kernel if self.fir else None


def activate(x: Tensor, name: str) -> Tensor:
    """The nonlinearity of a tensor that nobody else needs: without gradients it is overwritten."""
    return _ACTIVATIONS[name](x, inplace=not torch.is_grad_enabled())


class GroupNorm(nn.GroupNorm):
    """Torch's, whose derivative along a direction wants its input contiguous, which tensors that lead the channels last
    are not."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to the same shape."""
        return super().forward(x if unpack_dual(x).tangent is None else x.contiguous())


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of 4 channels, 32 groups at most."""
    return GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


def convolution(inputs: int, outputs: int, kernel: int, scale: float = 1.0, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size (stride 1), with the weights' variance scaled and no bias at the start."""
    padding = kernel // 2 if stride == 1 else 0
    return _scaled(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding), scale)


def dense(inputs: int, outputs: int, scale: float = 1.0) -> nn.Linear:
    """A linear layer with the weights' variance scaled and no bias at the start."""
    return _scaled(nn.Linear(inputs, outputs), scale)


def _scaled(layer: M, scale: float) -> M:
    nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(scale or 1e-10))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def merge(x: Tensor, h: Tensor, rescale: bool) -> Tensor:
    """x + h, over √2 where the variance is to stay. h is overwritten."""
    h = h.add_(x)
    return h.mul_(math.sqrt(0.5)) if rescale else h


class TimeEmbedding(nn.Module):
    """Random Fourier features of log t and two linear layers.

    Args:
        config: of the network.
    """

    def __init__(self, config: LayerConfig):
        super().__init__()
        self.nonlinearity = config.nonlinearity
        self.frequencies: Tensor
        self.register_buffer("frequencies", config.fourier_scale * torch.randn(config.nf))
        self.expand = dense(2 * config.nf, 4 * config.nf)
        self.mix = dense(4 * config.nf, 4 * config.nf)
        self.span = SpanEmbedding(4 * config.nf) if config.span else None

    def forward(self, t: Tensor, span: Tensor | None = None) -> Tensor:
        """(batch,) times, and spans of a map, to (batch, 4·nf) features, the blocks' nonlinearity already applied."""
        phase = t.to(self.frequencies.dtype).log()[:, None] * self.frequencies * 2 * math.pi
        h = self.expand(torch.cat([phase.sin(), phase.cos()], dim=-1))
        h = self.mix(activate(h, self.nonlinearity))
        return activate(h if self.span is None else self.span(h, span), self.nonlinearity)


class ResidualBlock(nn.Module):
    """Two normalised 3×3 convolutions, the time added between them, beside a shortcut.

    Args:
        config: of the network.
        inputs, outputs: channels.
        resample: halve or double height and width on the way, as BigGAN does.
    """

    def __init__(self, config: LayerConfig, inputs: int, outputs: int, resample: Direction | None = None):
        super().__init__()
        self.nonlinearity, self.rescale, self.dropout = config.nonlinearity, config.skip_rescale, config.dropout
        self.taps, self.resample = config.fir_kernel if config.fir else None, resample
        self.norm1 = group_norm(inputs)
        self.conv1 = convolution(inputs, outputs, 3)
        self.time = dense(4 * config.nf, outputs)
        self.norm2 = group_norm(outputs)
        self.conv2 = convolution(outputs, outputs, 3, config.init_scale)
        self.shortcut: nn.Conv2d | None = None
        if inputs != outputs or resample is not None:
            self.shortcut = convolution(inputs, outputs, 1, 1.0 if config.resblock_type == "biggan" else 0.1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """
        Args:
            x: (batch, inputs, height, width).
            time: (batch, 4·nf).

        Returns:
            (batch, outputs, height', width').
        """
        h = activate(self.norm1(x), self.nonlinearity)
        if self.resample is not None:
            h = resampled(h, self.resample, self.taps)
        h = self.conv1(h).add_(self.time(time)[:, :, None, None])
        h = activate(self.norm2(h), self.nonlinearity)
        h = self.conv2(F.dropout(h, self.dropout, self.training))
        return merge(self._short(x), h, self.rescale)

    def _short(self, x: Tensor) -> Tensor:
        if self.shortcut is None:
            return x
        if self.resample == "up":
            # A 1×1 convolution and a filter of each channel commute, and there are fewer points before.
            x = resampled(F.conv2d(x, self.shortcut.weight), "up", self.taps)
            assert self.shortcut.bias is not None
            return x.add_(self.shortcut.bias[:, None, None].to(x.dtype))
        if self.resample == "down":
            x = resampled(x, "down", self.taps)
        return self.shortcut(x)


class Attention(nn.Module):
    """Self-attention between all points of an image, with one head.

    Args:
        config: of the network.
        channels: of the image.
    """

    def __init__(self, config: LayerConfig, channels: int):
        super().__init__()
        self.rescale = config.skip_rescale
        self.norm = group_norm(channels)
        self.query, self.key, self.value = (dense(channels, channels, 0.1) for _ in range(3))
        self.output = dense(channels, channels, config.init_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to the same shape."""
        points = self.norm(x).permute(0, 2, 3, 1).flatten(1, 2)
        h = F.scaled_dot_product_attention(self.query(points), self.key(points), self.value(points))
        h = self.output(h).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
        return merge(x, h, self.rescale)


class Resample(nn.Module):
    """Half or double size with an optional 3×3 convolution, outside residual blocks.

    Args:
        direction: "up" or "down".
        inputs, outputs: channels; the same without convolution.
        taps: of the filter; None repeats values, or averages (and strides where it convolves).
        convolve: whether there is a convolution: after "up", before "down" goes down.
    """

    def __init__(
        self, direction: Direction, inputs: int, outputs: int, taps: tuple[float, ...] | None, convolve: bool = True
    ):
        super().__init__()
        self.direction, self.taps = direction, taps
        stride = 2 if direction == "down" else 1
        self.conv = convolution(inputs, outputs, 3, stride=stride) if convolve else None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) to (batch, outputs, height', width')."""
        if self.conv is None:
            return resampled(x, self.direction, self.taps)
        if self.taps is None:
            if self.direction == "up":
                return self.conv(resampled(x, "up", None))
            return self.conv(F.pad(x, (0, 1, 0, 1)))
        if self.direction == "down":
            excess = len(self.taps)
            return self.conv(fir(x, self.taps, ((excess + 1) // 2, excess // 2)))
        # The convolution of the image with a zero behind every value, then the filter.
        kernel = self.conv.weight.flip(2, 3).transpose(0, 1)
        h = F.conv_transpose2d(x, kernel, stride=2)
        excess = len(self.taps) - 4
        h = fir(h, self.taps, ((excess + 1) // 2 + 1, excess // 2 + 1), gain=4.0)
        assert self.conv.bias is not None
        return h + self.conv.bias[:, None, None]


def resampled(x: Tensor, direction: Direction, taps: tuple[float, ...] | None) -> Tensor:
    """Half or double height and width, filtered, or with taps None by repeating and averaging."""
    if taps is not None:
        return upsample(x, taps) if direction == "up" else downsample(x, taps)
    return F.interpolate(x, scale_factor=2, mode="nearest") if direction == "up" else F.avg_pool2d(x, 2)
