"""NCSN++ as the published speech enhancement models have it, the four variants one network with options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import MaxLen, MinLen
from torch import Tensor, nn

from shared.checks import Count
from shared.errors import DataError
from shared.sde import SDE
from speech.model.backbones.ncsnpp_layers import (
    Attention,
    LayerConfig,
    Resample,
    ResidualBlock,
    TimeEmbedding,
    activate,
    convolution,
    group_norm,
    resampled,
)
from speech.model.frontend import FrontEndConfig

# Frames are padded to a multiple of 2 to the power of the levels, which shapes do not tell.
_MOST_LEVELS = 10
CHANNELS = 4
"""Real and imaginary part of the state and of the noisy recording."""


@dataclass(frozen=True)
class NCSNppConfig(LayerConfig):
    """Settings of `NCSNpp`, those of its layers (`LayerConfig`) among them.

    The defaults are those of the journal paper (Richter et al. 2023): 65.6 M parameters.

    Names are those of the published code, so that its settings can be carried over.

    Attributes:
        kind: tells the backbones apart in a saved configuration.
        ch_mult: of each level, channels over nf; each level halves frequencies and frames; up to 10 levels.
        num_res_blocks: residual blocks of a level on the way down; there is one more on the way up.
        attn_resolutions: numbers of frequency bins at which levels have attention. The middle always has.
        image_size: frequency bins of the input, from which follows what levels attn_resolutions means.
        resamp_with_conv: for "ddpm": convolve on resampling.
        progressive: how the output is gathered from the levels.
        progressive_input: how the input is given to the levels.
        progressive_combine: of "input_skip": add it, or concatenate.
        centered: the input is centred at 0; otherwise it is in [0, 1] and is stretched to [−1, 1].
        divide_by_time: divide by t "before" or "after" the last 1×1 convolution, or not at all.

    Raises:
        ConfigError: a value that cannot be used.
    """

    kind: Literal["ncsnpp"] = "ncsnpp"
    ch_mult: Annotated[tuple[Count, ...], MinLen(1), MaxLen(_MOST_LEVELS)] = (1, 1, 2, 2, 2, 2, 2)
    num_res_blocks: Count = 2
    attn_resolutions: tuple[int, ...] = (16,)
    image_size: int = 256
    resamp_with_conv: bool = True
    progressive: Literal["none", "output_skip", "residual"] = "output_skip"
    progressive_input: Literal["none", "input_skip", "residual"] = "input_skip"
    progressive_combine: Literal["sum", "cat"] = "sum"
    centered: bool = True
    divide_by_time: Literal["before", "after"] | None = "before"

    @property
    def attention_levels(self) -> tuple[bool, ...]:
        """Which levels have attention."""
        return tuple(self.image_size // 2**level in self.attn_resolutions for level in range(len(self.ch_mult)))

    def build(self, frontend: FrontEndConfig, sde: SDE) -> NCSNpp:
        """The network, with fresh weights."""
        return NCSNpp(self)


PUBLISHED: dict[str, NCSNppConfig] = {
    "ncsnpp": NCSNppConfig(),
    "ncsnpp_v2": NCSNppConfig(divide_by_time=None),
    "ncsnpp_48k": NCSNppConfig(
        attn_resolutions=(), progressive="none", progressive_input="none", divide_by_time="after"
    ),
}
"""The published variants by their names there."""


class Readout(nn.Module):
    """Normalisation, nonlinearity and a 3×3 convolution.

    Args:
        config: of the network.
        inputs, outputs: channels.
        scale: of the weights' variance at the start.
    """

    def __init__(self, config: NCSNppConfig, inputs: int, outputs: int, scale: float):
        super().__init__()
        self.nonlinearity = config.nonlinearity
        self.norm = group_norm(inputs)
        self.conv = convolution(inputs, outputs, 3, scale)

    def forward(self, h: Tensor) -> Tensor:
        """(batch, inputs, height, width) to (batch, outputs, height, width)."""
        return self.conv(activate(self.norm(h), self.nonlinearity))


class DownLevel(nn.Module):
    """Residual blocks of one level, and what leads to the next.

    Attributes:
        blocks: residual blocks.
        attention: one after each block, or none.
        resample: to half the size; None at the last level.
        pyramid: joins the shrunk input: a 1×1 convolution ("input_skip") or resampling ("residual").
    """

    def __init__(self, config: NCSNppConfig, level: int, inputs: int, pyramid_channels: int):
        super().__init__()
        self.config = config
        outputs = config.nf * config.ch_mult[level]
        sizes = [inputs] + [outputs] * config.num_res_blocks
        self.blocks = nn.ModuleList(ResidualBlock(config, size, outputs) for size in sizes[:-1])
        attention = config.attention_levels[level]
        self.attention = nn.ModuleList(Attention(config, outputs) for _ in self.blocks if attention)
        self.resample: ResidualBlock | Resample | None = None
        self.pyramid: nn.Conv2d | Resample | None = None
        self.kept, self.outputs = sizes[1:], outputs
        if level == len(config.ch_mult) - 1:
            return
        if config.resblock_type == "biggan":
            self.resample = ResidualBlock(config, outputs, outputs, "down")
        else:
            self.resample = Resample("down", outputs, outputs, config.taps, config.resamp_with_conv)
        if config.progressive_input == "input_skip":
            self.pyramid = convolution(pyramid_channels, outputs, 1)
            self.outputs = outputs * (2 if config.progressive_combine == "cat" else 1)
        elif config.progressive_input == "residual":
            self.pyramid = Resample("down", pyramid_channels, outputs, config.taps)
        self.kept = [*self.kept, self.outputs]

    def forward(self, h: Tensor, pyramid: Tensor, time: Tensor) -> tuple[list[Tensor], Tensor]:
        """States to keep for the way up, the last to go on with, and the shrunk input."""
        kept = []
        for i, block in enumerate(self.blocks):
            h = block(h, time)
            if len(self.attention):
                h = self.attention[i](h)
            kept.append(h)
        if self.resample is None:
            return kept, pyramid
        h = self.resample(h, time) if isinstance(self.resample, ResidualBlock) else self.resample(h)
        if isinstance(self.pyramid, nn.Conv2d):
            pyramid = resampled(pyramid, "down", self.config.taps)
            joined = self.pyramid(pyramid)
            h = h + joined if self.config.progressive_combine == "sum" else torch.cat([joined, h], dim=1)
        elif self.pyramid is not None:
            pyramid = self.pyramid(pyramid) + h
            h = pyramid = pyramid * math.sqrt(0.5) if self.config.skip_rescale else pyramid
        return [*kept, h], pyramid


class UpLevel(nn.Module):
    """Residual blocks of one level on the way up, and what leads to the level above.

    Attributes:
        blocks: residual blocks, each of which takes a state of the way down too.
        attention: after the blocks.
        pyramid: adds to the output: a `Readout`, or resampling ("residual", but for the first level).
        resample: to twice the size; None at the last level.
    """

    def __init__(self, config: NCSNppConfig, level: int, inputs: int, kept: list[int], pyramid_channels: int):
        super().__init__()
        self.config = config
        outputs, last = config.nf * config.ch_mult[level], level == len(config.ch_mult) - 1
        self.blocks = nn.ModuleList()
        for size in kept:
            self.blocks.append(ResidualBlock(config, inputs + size, outputs))
            inputs = outputs
        self.attention = Attention(config, outputs) if config.attention_levels[level] else None
        self.pyramid: Readout | Resample | None = None
        if config.progressive == "output_skip":
            self.pyramid = Readout(config, outputs, CHANNELS, config.init_scale)
        elif config.progressive == "residual":
            self.pyramid = (
                Readout(config, outputs, outputs, 1.0)
                if last
                else Resample("up", pyramid_channels, outputs, config.taps)
            )
        self.resample: ResidualBlock | Resample | None = None
        if level > 0:
            self.resample = (
                ResidualBlock(config, outputs, outputs, "up")
                if config.resblock_type == "biggan"
                else Resample("up", outputs, outputs, config.taps, config.resamp_with_conv)
            )

    def forward(
        self, h: Tensor, kept: list[Tensor], pyramid: Tensor | None, time: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The state, twice as large, and the output so far. Takes the states that it uses from the end of `kept`."""
        for block in self.blocks:
            h = block(torch.cat([h, kept.pop()], dim=1), time)
        if self.attention is not None:
            h = self.attention(h)
        if isinstance(self.pyramid, Resample):
            assert pyramid is not None
            h = self.pyramid(pyramid) + h
            h = pyramid = h * math.sqrt(0.5) if self.config.skip_rescale else h
        elif self.pyramid is not None:
            own = self.pyramid(h)
            pyramid = own if pyramid is None else own.add_(resampled(pyramid, "up", self.config.taps))
        if self.resample is not None:
            h = self.resample(h, time) if isinstance(self.resample, ResidualBlock) else self.resample(h)
        return h, pyramid


class NCSNpp(nn.Module):
    """The network of the published models: a U-Net of residual blocks on complex spectrograms (Song et al. 2021).

    Weights and activations are kept channels last, which is what CPUs and tensor cores multiply fastest.

    Args:
        config: its settings.

    Attributes:
        config: as given.
        frame_multiple: recordings are continued to a multiple of this many frames: 64, as the published code does, or
            what more levels ask for. The network itself takes whatever its levels can halve.
    """

    def __init__(self, config: NCSNppConfig):
        super().__init__()
        self.config = config
        levels = range(len(config.ch_mult))
        self.frame_multiple = max(64, 2 ** levels[-1])
        self.time = TimeEmbedding(config)
        self.input = convolution(CHANNELS, config.nf, 3)
        self.down, sizes = nn.ModuleList(), [config.nf]
        for i in levels:
            pyramid = sizes[-1] if config.progressive_input == "residual" and i > 0 else CHANNELS
            level = DownLevel(config, i, sizes[-1], pyramid)
            self.down.append(level)
            sizes += level.kept
        width = sizes[-1]
        self.middle = nn.ModuleList(
            [ResidualBlock(config, width, width), Attention(config, width), ResidualBlock(config, width, width)]
        )
        self.up, pyramid = nn.ModuleList(), 0
        for i in reversed(levels):
            kept = [sizes.pop() for _ in range(config.num_res_blocks + 1)]
            self.up.append(UpLevel(config, i, width, kept, pyramid))
            width = pyramid = config.nf * config.ch_mult[i]
        self.readout = (
            None if config.progressive == "output_skip" else Readout(config, width, CHANNELS, config.init_scale)
        )
        self.output = nn.Conv2d(CHANNELS, 2, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def takes_span(self) -> bool:
        """Whether it is a flow map's."""
        return self.time.span is not None

    def forward(self, x_t: Tensor, y: Tensor, t: Tensor, span: Tensor | None = None) -> Tensor:
        """What the published network returns, without the sign and scaling of the model around it.

        Args:
            x_t: state, complex (batch, 1, frequencies, frames).
            y: noisy recording, likewise.
            t: time, (batch,).
            span: t − r of a flow map's step, (batch,).

        Returns:
            Complex, like x_t.

        Raises:
            DataError: frequencies or frames that the levels cannot halve, or not those that attention was placed for.
        """
        self._check(x_t)
        parts = torch.cat([torch.view_as_real(x_t)[:, 0], torch.view_as_real(y)[:, 0]], dim=-1)
        x = parts.permute(0, 3, 1, 2)
        if not self.config.centered:
            x = 2 * x - 1
        time = self.time(t, span)
        kept, shrunk = [self.input(x)], x
        for down in self.down:
            more, shrunk = down(kept[-1], shrunk, time)
            kept += more
        before, attention, after = self.middle
        h = after(attention(before(kept[-1], time)), time)
        gathered: Tensor | None = None
        for up in self.up:
            h, gathered = up(h, kept, gathered, time)
        if self.readout is not None:
            gathered = self.readout(h)
        assert gathered is not None
        scale = t.to(x.dtype)[:, None, None, None]
        if self.config.divide_by_time == "before":
            gathered = gathered / scale
        result = self.output(gathered).to(x.dtype)
        if self.config.divide_by_time == "after":
            result = result / scale
        return torch.view_as_complex(result.permute(0, 2, 3, 1).contiguous())[:, None]

    def _check(self, x: Tensor) -> None:
        factor = 2 ** (len(self.config.ch_mult) - 1)
        bins, frames = x.shape[-2:]
        for count, what, remedy in (
            (bins, "frequencies", "choose an n_fft for which n_fft/2 + 1"),
            (frames, "frames", "continue them (SpeechModel.pad_frames; Enhancer does it itself) so that their number"),
        ):
            if not count or count % factor:
                raise DataError(
                    f"a spectrogram of {count} {what} cannot be halved {len(self.config.ch_mult) - 1} times; {remedy} "
                    f"is a multiple of {factor}"
                )
        if any(self.config.attention_levels) and bins != self.config.image_size:
            raise DataError(
                f"a spectrogram of {bins} frequencies, where attention was placed for image_size="
                f"{self.config.image_size}: give n_fft={2 * self.config.image_size - 2}"
            )
