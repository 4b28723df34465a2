"""DCUNet, the complex-valued U-Net of the first score-based enhancement paper, as published."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from shared.checks import Count, Even, Natural
from shared.errors import DataError
from shared.flow_maps.span import SpanConfig, SpanEmbedding, SpanNetwork
from shared.sde import SDE
from speech.model.frontend import FrontEndConfig

Architecture = Literal["DCUNet-10", "DCUNet-16", "DCUNet-20", "DilDCUNet-v2"]
Extent = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """A level of the way down; the way up mirrors it. Extents are of frequencies and frames.

    Attributes:
        outputs: complex channels.
        kernel, stride, dilation: of the convolution.
    """

    outputs: int
    kernel: Extent
    stride: Extent
    dilation: Extent = (1, 1)


ARCHITECTURES: dict[str, tuple[Layer, ...]] = {
    "DCUNet-10": (
        Layer(32, (7, 5), (2, 2)),
        Layer(64, (7, 5), (2, 2)),
        *(Layer(64, (5, 3), (2, 2)),) * 2,
        Layer(64, (5, 3), (2, 1)),
    ),
    "DCUNet-16": (
        Layer(32, (7, 5), (2, 2)),
        Layer(32, (7, 5), (2, 1)),
        Layer(64, (7, 5), (2, 2)),
        Layer(64, (5, 3), (2, 1)),
        *(Layer(64, (5, 3), (2, 2)), Layer(64, (5, 3), (2, 1))) * 2,
    ),
    "DCUNet-20": (
        Layer(32, (7, 1), (1, 1)),
        Layer(32, (1, 7), (1, 1)),
        Layer(64, (7, 5), (2, 2)),
        Layer(64, (7, 5), (2, 1)),
        *(Layer(64, (5, 3), (2, 2)), Layer(64, (5, 3), (2, 1))) * 2,
        Layer(64, (5, 3), (2, 2)),
        Layer(90, (5, 3), (2, 1)),
    ),
    "DilDCUNet-v2": (
        *(Layer(32, (4, 4), (1, 1)),) * 3,
        Layer(64, (4, 4), (2, 1), (2, 1)),
        Layer(128, (4, 4), (2, 2), (4, 1)),
        Layer(256, (4, 4), (2, 2), (8, 1)),
    ),
}
"""Levels by the architectures' published names (Choi et al. 2019; the last is of Welker et al. 2022)."""

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "relu": F.relu, "leaky_relu": F.leaky_relu}


@dataclass(frozen=True)
class DCUNetConfig(SpanConfig):
    """Settings of `DCUNet`. The defaults are those of the published training script.

    Attributes:
        kind: tells the backbones apart in a saved configuration.
        architecture: kernel sizes, strides and widths of the levels; "DilDCUNet-v2" is that of Welker et al. 2022.
        time_embedding: "gfp", random Fourier features; "ds", those of DiffWave; None, no time is seen.
        time_embedding_complex: features are complex exponentials in place of sines and cosines.
        temb_layers_global: layers over the embedding that all blocks share.
        temb_layers_local: layers over it in each block.
        temb_activation: between these layers.
        fix_length: what is done where the frames less one are no multiple of the strides: zeros are added at the end,
            frames are cut there, or it is an error.
        norm_type: "bN", batch norm of real and imaginary part each; "CbN", complex batch norm that whitens both.
        activation: of the blocks, on real and imaginary part each.
        embed_dim: width of the time embedding.

    Raises:
        ConfigError: a value that cannot be used.
    """

    kind: Literal["dcunet"] = "dcunet"
    architecture: Architecture = "DilDCUNet-v2"
    time_embedding: Literal["gfp", "ds"] | None = "gfp"
    time_embedding_complex: bool = False
    temb_layers_global: Natural = 1
    temb_layers_local: Count = 1
    temb_activation: Literal["silu", "relu", "leaky_relu"] = "silu"
    fix_length: Literal["pad", "trim"] | None = "pad"
    norm_type: Literal["bN", "CbN"] = "bN"
    activation: Literal["silu", "relu", "leaky_relu"] = "leaky_relu"
    embed_dim: Even = 128

    def _related(self) -> None:
        told = self.time_embedding is not None
        self._require(told or not self.span, "span time_embedding", "a flow map is told two times; embed the first too")

    def build(self, frontend: FrontEndConfig, sde: SDE) -> DCUNet:
        """The network, with fresh weights."""
        return DCUNet(self)


# Complex tensors are kept as real ones with an axis of length 2 after the batch, which low precision can do too.


def _weight(real: Tensor, imaginary: Tensor, inputs: int) -> Tensor:
    """The real weight that multiplies [real; imaginary] parts as complex numbers do; `inputs`: axis of the inputs."""
    rows = [torch.cat([real, -imaginary], dim=inputs), torch.cat([imaginary, real], dim=inputs)]
    return torch.cat(rows, dim=1 - inputs)


def _bias(real: Tensor | None, imaginary: Tensor | None) -> Tensor | None:
    return None if real is None or imaginary is None else torch.cat([real - imaginary, real + imaginary])


class ComplexConv(nn.Module):
    """A complex convolution, as one real one over both parts.

    Args:
        inputs, outputs: complex channels.
        layer: kernel, stride, dilation; its padding is half the kernel.
        bias: whether there is one.
    """

    def __init__(self, inputs: int, outputs: int, layer: Layer, bias: bool = False):
        super().__init__()
        padding = (layer.kernel[0] // 2, layer.kernel[1] // 2)
        self.real, self.imaginary = (
            nn.Conv2d(inputs, outputs, layer.kernel, layer.stride, padding, layer.dilation, bias=bias) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2, inputs, frequencies, frames) to (batch, 2, outputs, …, …)."""
        real, imaginary = self.real, self.imaginary
        weight, bias = _weight(real.weight, imaginary.weight, 1), _bias(real.bias, imaginary.bias)
        h = F.conv2d(x.flatten(1, 2), weight, bias, real.stride, real.padding, real.dilation)
        return h.unflatten(1, (2, -1))


class ComplexConvTranspose(nn.Module):
    """A transposed complex convolution; arguments as `ComplexConv`."""

    def __init__(self, inputs: int, outputs: int, layer: Layer, bias: bool = False):
        super().__init__()
        padding = (layer.kernel[0] // 2, layer.kernel[1] // 2)
        self.layer, self.padding = layer, padding
        self.real, self.imaginary = (
            nn.ConvTranspose2d(inputs, outputs, layer.kernel, layer.stride, padding, bias=bias, dilation=layer.dilation)
            for _ in range(2)
        )

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """(batch, 2, inputs, frequencies, frames) to (batch, 2, outputs, *size)."""
        layer = self.layer
        natural = [
            (n - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            for n, stride, padding, dilation, kernel in zip(
                x.shape[-2:], layer.stride, self.padding, layer.dilation, layer.kernel, strict=True
            )
        ]
        extra = [wanted - n for wanted, n in zip(size, natural, strict=True)]
        weight = _weight(self.real.weight, self.imaginary.weight, 0)
        bias = _bias(self.real.bias, self.imaginary.bias)
        h = F.conv_transpose2d(
            x.flatten(1, 2), weight, bias, layer.stride, self.padding, extra, dilation=layer.dilation
        )
        return h.unflatten(1, (2, -1))


class ComplexLinear(nn.Module):
    """A complex linear layer of vectors (batch, 2, inputs)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.real, self.imaginary = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2, inputs) to (batch, 2, outputs)."""
        weight = _weight(self.real.weight, self.imaginary.weight, 1)
        return F.linear(x.flatten(1), weight, _bias(self.real.bias, self.imaginary.bias)).unflatten(1, (2, -1))


class BatchNorm(nn.BatchNorm2d):
    """Torch's, which cannot keep running statistics while a derivative along a direction is taken."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frequencies, frames) to the same shape."""
        if not self.training or unpack_dual(x).tangent is None:
            return super().forward(x)
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class PartsBatchNorm(nn.Module):
    """Batch norm of real and imaginary part each, of (batch, 2, channels, frequencies, frames)."""

    def __init__(self, channels: int):
        super().__init__()
        self.real, self.imaginary = BatchNorm(channels), BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """To the same shape."""
        return torch.stack([self.real(x[:, 0]), self.imaginary(x[:, 1])], dim=1)


class ComplexBatchNorm(nn.Module):
    """Whitens real and imaginary part together (Trabelsi et al. 2018), with the statistics of the batch at hand.

    As published it keeps no running statistics, so that outputs depend on the batch in evaluation mode too.

    Args:
        channels: complex channels.

    Attributes:
        weight: (3, channels): of real and real, real and imaginary, imaginary and imaginary part.
        bias: (2, channels).
    """

    def __init__(self, channels: int):
        super().__init__()
        weight = torch.ones(3, channels)
        weight[1].uniform_(-0.9, 0.9)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(2, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2, channels, frequencies, frames) to the same shape."""
        x = x - x.mean((0, 3, 4), keepdim=True)
        a, b = x[:, 0], x[:, 1]
        rr, ii = (part.square().mean((0, 2, 3)) + 1e-5 for part in (a, b))
        ri = (a * b).mean((0, 2, 3))
        # The inverse root of [[rr, ri], [ri, ii]].
        s = (rr * ii - ri.square()).sqrt()
        scale = 1 / (s * (rr + ii + 2 * s).sqrt())
        root = torch.stack([torch.stack([s + ii, -ri]), torch.stack([-ri, s + rr])]) * scale
        w = self.weight
        gain = torch.einsum("ijc,jkc->ikc", torch.stack([w[:2], w[1:]]), root)
        mixed = [gain[i, 0, :, None, None] * a + gain[i, 1, :, None, None] * b for i in (0, 1)]
        return torch.stack(mixed, dim=1) + self.bias[:, :, None, None]


class TimeFeatures(nn.Module):
    """Features of the time.

    Args:
        config: of the network.
    """

    def __init__(self, config: DCUNetConfig):
        super().__init__()
        self.config = config
        size = config.embed_dim if config.time_embedding_complex else config.embed_dim // 2
        self.frequencies: Tensor | None
        self.register_buffer("frequencies", 16 * torch.randn(size) if config.time_embedding == "gfp" else None)
        self.size = size

    def forward(self, t: Tensor) -> Tensor:
        """(batch,) times to (batch, 2, embed_dim)."""
        if self.frequencies is not None:
            phase = t[:, None] * self.frequencies * 2 * math.pi
        else:
            phase = t[:, None] * 10 ** (4 * torch.arange(self.size, device=t.device) / (self.size - 1))
        if self.config.time_embedding_complex:
            return torch.stack([phase.cos(), phase.sin()], dim=1)
        features = torch.cat([phase.sin(), phase.cos()], dim=-1)
        return torch.stack([features, torch.zeros_like(features)], dim=1)


class Block(nn.Module):
    """A convolution, the time added, batch norm, and a nonlinearity.

    Args:
        config: of the network.
        conv: the convolution, to `outputs` complex channels.
        outputs: them.
    """

    def __init__(self, config: DCUNetConfig, conv: ComplexConv | ComplexConvTranspose, outputs: int):
        super().__init__()
        self.conv = conv
        self.norm = PartsBatchNorm(outputs) if config.norm_type == "bN" else ComplexBatchNorm(outputs)
        self.activation, self.time_activation = config.activation, config.temb_activation
        sizes = [config.embed_dim] * config.temb_layers_local + [outputs]
        timed = config.time_embedding is not None
        self.time = nn.ModuleList(ComplexLinear(*pair) for pair in pairwise(sizes) if timed)

    def forward(self, x: Tensor, time: Tensor | None, size: torch.Size | None = None) -> Tensor:
        """(batch, 2, inputs, frequencies, frames) to (batch, 2, outputs, …, …), of `size` where it goes up."""
        h = self.conv(x) if size is None else self.conv(x, size)
        if time is not None:
            for layer in self.time:
                time = _ACTIVATIONS[self.time_activation](layer(time))
            h = h + time[..., None, None]
        return _ACTIVATIONS[self.activation](self.norm(h))


class DCUNet(SpanNetwork):
    """A U-Net of complex convolutions (Choi et al. 2019) that is told the time (Welker et al. 2022).

    Args:
        config: its settings.

    Attributes:
        config: as given.
        frame_multiple: 64, to which the published code continues recordings; the network itself takes what `fix_length`
            says.
    """

    frame_multiple = 64

    def __init__(self, config: DCUNetConfig):
        super().__init__()
        self.config = config
        layers = ARCHITECTURES[config.architecture]
        self.strides = tuple(math.prod(layer.stride[axis] for layer in layers) for axis in (0, 1))
        self.features = None if config.time_embedding is None else TimeFeatures(config)
        self.span = SpanEmbedding(2 * config.embed_dim) if config.span else None
        shared = 0 if config.time_embedding is None else config.temb_layers_global
        self.time = nn.ModuleList(ComplexLinear(config.embed_dim, config.embed_dim) for _ in range(shared))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        inputs = 2
        for layer in layers:
            self.down.append(Block(config, ComplexConv(inputs, layer.outputs, layer), layer.outputs))
            inputs = layer.outputs
        for below, layer in zip(layers[-2::-1], layers[:0:-1], strict=True):
            conv = ComplexConvTranspose(inputs, below.outputs, layer)
            self.up.append(Block(config, conv, below.outputs))
            inputs = 2 * below.outputs
        self.output = ComplexConvTranspose(inputs, 1, layers[0], bias=True)

    def forward(self, x_t: Tensor, y: Tensor, t: Tensor, span: Tensor | None = None) -> Tensor:
        """What the published network returns, without the sign of the model around it.

        Args:
            x_t, y, t, span: as `NCSNpp.forward` takes them; frequencies less one are a multiple of the strides.

        Returns:
            Complex, like x_t.

        Raises:
            DataError: frequencies or frames that do not fit the strides.
        """
        frames = x_t.shape[-1]
        x = self._fixed(torch.view_as_real(torch.cat([x_t, y], dim=1)).movedim(-1, 1))
        time = None if self.features is None else self.features(t.to(x.dtype))
        for layer in self.time:
            time = _ACTIVATIONS[self.config.temb_activation](layer(time))
        if self.span is not None and time is not None:
            time = self.span(time.flatten(1), span).unflatten(1, (2, -1))
        h, kept = x, []
        for block in self.down:
            h = block(h, time)
            kept.append(h)
        for block, skip in zip(self.up, kept[-2::-1], strict=True):
            h = torch.cat([block(h, time, skip.shape[-2:]), skip], dim=2)
        result = self.output(h, x.shape[-2:]).to(x.dtype).movedim(1, -1).contiguous()
        return F.pad(torch.view_as_complex(result), (0, frames - x.shape[-1]))

    def _fixed(self, x: Tensor) -> Tensor:
        bins, frames = x.shape[-2:]
        if (bins - 1) % self.strides[0]:
            raise DataError(
                f"{self.config.architecture} takes a multiple of {self.strides[0]} and 1 frequencies, not {bins}: "
                "give a front end with n_fft=512, say"
            )
        excess = (frames - 1) % self.strides[1]
        if excess and self.config.fix_length is None:
            raise DataError(
                f"{self.config.architecture} takes a multiple of {self.strides[1]} and 1 frames, not {frames}: give as "
                'many, or set fix_length to "pad" or "trim"'
            )
        if excess:
            x = F.pad(x, (0, self.strides[1] - excess if self.config.fix_length == "pad" else -excess))
        return x
