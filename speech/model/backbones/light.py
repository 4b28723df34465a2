"""A small network for spectrograms that runs on a CPU, many times faster than the sound lasts.

A few frequency bins make a fine band, two of those a band. Residual blocks on the bands convolve over neighbouring
bands and, dilated, over frames (ConvTasNet's stacks, Luo & Mesgarani 2019, with dense convolutions: a CPU trains
depthwise ones no faster); between them all bands are mixed through one narrow layer. Norms are over the channels of one
band and frame, so that nothing but the convolutions looks along time: a part of a recording, with `context_frames`
around it, gives what the whole gives. The result is x̂_0 = (1 + m_y)·y + m_x·x_t + a, with complex masks and addend of
every bin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Le, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from shared.checks import Count, Even, Natural
from shared.errors import ConfigError
from shared.flow_maps.span import SpanConfig, SpanEmbedding, SpanNetwork
from shared.predictions import EDMScales
from shared.sde import SDE
from shared.sde.base import expand
from speech.model.backbones.light_layers import (
    BandConv,
    Block,
    Edge,
    Mixing,
    Stream,
    TimeEmbedding,
    join_bands,
    split_bands,
    zero,
)
from speech.model.frontend import FrontEndConfig

_FEATURES, _OUTPUTS = 8, 6
_AMPLITUDE = 0.1
"""About what a compressed spectrogram's bins deviate by; scales features and the addend."""
_FLOOR = 1e-3
"""Amplitude below which the logarithmic features tell no difference."""
_LEAST_POWER = 1e-6
"""What is added under a root; of 1e-8 and less ONNX's exporter makes 0."""

_LARGEST = 1024
"""Of a patch and of a dilation, which no shape tells: padding goes with them."""
Bins = Annotated[Count, Le(_LARGEST)]

LightState = tuple[Tensor, ...]
"""What a causal network remembers between two pieces: past frames of every layer along time."""


@dataclass(frozen=True)
class LightConfig(SpanConfig):
    """Size of a `LightBackbone`.

    Args:
        width: channels of a band.
        edge_width: channels of a fine band, before and after the blocks.
        patch: frequency bins of a fine band, up to 1,024; a band has two fine ones.
        blocks: residual blocks.
        dilations: of the blocks along time, in turn, in frames, up to 1,024; mixings, in turn, reach twice as far.
        mixed: channels that each band gives to the mixing of all bands; 0 for none.
        mixing_width: hidden units of that mixing.
        mixing_every: blocks from one mixing to the next.
        embedding: units of the embedding of the time of the process.
        causal: see no frame after the one that is estimated; lets the network run by `LightBackbone.step`.

    Raises:
        ConfigError: a value is out of its range.
    """

    width: Count = 64
    edge_width: Count = 32
    patch: Bins = 4
    blocks: Count = 8
    dilations: Annotated[tuple[Bins, ...], MinLen(1)] = (1, 2, 4, 8)
    mixed: Natural = 8
    mixing_width: Count = 256
    mixing_every: Count = 2
    embedding: Even = 128
    causal: bool = False
    kind: Literal["light"] = "light"

    def build(self, frontend: FrontEndConfig, sde: SDE) -> LightBackbone:
        """The network, with fresh weights."""
        return LightBackbone(self, frontend.frequencies, sde)


class LightBackbone(SpanNetwork):
    """(x_t, y, t) → x̂_0; with fresh weights y.

    Args:
        config: sizes.
        frequencies: bins of a spectrogram, any number.
        sde: the process, whose noise the state is scaled by.

    Attributes:
        config: the same.
        frame_multiple: 1, any number of frames will do.
    """

    frame_multiple = 1

    def __init__(self, config: LightConfig, frequencies: int, sde: SDE):
        super().__init__()
        self.config, self.frequencies, self.sde = config, frequencies, sde
        width, edge, causal, units = config.width, config.edge_width, config.causal, config.embedding
        bands = -(-frequencies // (2 * config.patch))
        self.embed = TimeEmbedding(units)
        self.span = SpanEmbedding(units) if config.span else None
        self.analyse = nn.Linear(config.patch * _FEATURES, edge)
        self.condition = zero(nn.Linear(units, edge))
        self.before = Edge(edge, 2 * bands, causal)
        self.narrow = nn.Linear(2 * edge, width)
        self.place = nn.Parameter(torch.randn(bands, 1, width) / 50)
        self.blocks = nn.ModuleList()
        for i in range(config.blocks):
            dilation = config.dilations[i % len(config.dilations)]
            if config.mixed and i % config.mixing_every == 0:
                reach = 2 * config.dilations[i // config.mixing_every % len(config.dilations)]
                self.blocks.append(Mixing(width, bands, config.mixed, config.mixing_width, reach, causal))
            self.blocks.append(Block(width, bands, dilation, causal, units))
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * edge)
        self.after = Edge(edge, 2 * bands, causal)
        self.synthesise = zero(nn.Linear(edge, config.patch * _OUTPUTS))

    @property
    def context_frames(self) -> tuple[int, int]:
        """Frames (before, after) a frame that its estimate depends on, exactly."""
        before, after = zip(*(layer.context for layer in self._along_time()), strict=True)
        return sum(before), sum(after)

    def load_without_look_ahead(self, other: LightBackbone) -> None:
        """Take over the weights of a network that looks ahead, all but those of later frames: a start for training.

        Raises:
            ConfigError: this network is not causal, the other one is, or they differ in something else.
        """
        if not self.config.causal or replace(other.config, causal=True) != self.config or other.config.causal:
            raise ConfigError(f"{self.config} cannot start from {other.config}: only `causal` may differ, from False")
        self.load_state_dict(other.state_dict())
        with torch.no_grad():
            for layer in self._along_time():
                layer.weight.copy_(layer.weight.roll(1, dims=3))  # (−d, 0, d) of the other are (−2d, −d, 0) here
                layer.weight[..., 0] = 0

    def forward(self, x_t: Tensor, y: Tensor, t: Tensor, span: Tensor | None = None) -> Tensor:
        """Estimate the clean spectrogram.

        Args:
            x_t: states, complex (batch, 1, frequencies, frames).
            y: noisy spectrograms, shaped like `x_t`.
            t: times of the process (batch,), in [0, 1].
            span: t − r of a flow map's step, (batch,).

        Returns:
            x̂_0, complex, shaped like `x_t`.

        Raises:
            ConfigError: the spectrogram's number of frequencies is another.
        """
        return self._estimate(x_t, y, t, span, None)

    def initial_state(self, batch: int = 1) -> LightState:
        """What `step` starts from: silence before the first frame.

        Raises:
            ConfigError: the network is not causal.
        """
        self.refuse_look_ahead()
        return tuple(layer.initial_past(batch) for layer in self._along_time())

    def step(
        self, x_t: Tensor, y: Tensor, t: Tensor, state: LightState, span: Tensor | None = None
    ) -> tuple[Tensor, LightState]:
        """`forward` on the next frames of a sound, one or more, without look-ahead.

        Pieces joined equal the whole at once. Where a sampler calls the network several times, each of its calls has a
        state of its own.

        Args:
            x_t, y, t: as in `forward`, of these frames.
            state: from `initial_state` or the step before.
            span: as in `forward`.

        Returns:
            x̂_0 of these frames, and the state for the next.

        Raises:
            ConfigError: the network is not causal.
        """
        self.refuse_look_ahead()
        stream = Stream(state)
        estimate = self._estimate(x_t, y, t, span, stream)
        return estimate, tuple(stream.future)

    def refuse_look_ahead(self) -> None:
        """Refuse what runs frame by frame.

        Raises:
            ConfigError: the network is not causal.
        """
        if not self.config.causal:
            raise ConfigError(
                "causal=False: this network looks ahead and cannot run frame by frame; train a causal one"
            )

    def _along_time(self) -> list[BandConv]:
        return [module for module in self.modules() if isinstance(module, BandConv)]

    def estimate_pairs(
        self, x_t: Tensor, y: Tensor, t: Tensor, past: LightState | None = None
    ) -> tuple[Tensor, LightState]:
        """`forward`, or `step` where there is a past, on real and imaginary parts, for runtimes without
        complex numbers.

        Args:
            x_t, y: (batch, frequencies, frames, 2).
            t: times of the process (batch,).
            past: as the state of `step`; None: of the whole.

        Returns:
            x̂_0, shaped like `y`, and the state for the next frames, empty without a past.
        """
        stream = None if past is None else Stream(past)
        estimate = self.estimate_of(self._parts(x_t, y, t, None, stream), x_t, y)
        return estimate, () if stream is None else tuple(stream.future)

    def features_of(self, y: Tensor, t: Tensor) -> Tensor:
        """What the network hears of noisy spectrograms (batch, frequencies, frames, 2) about themselves: (batch,
        frequencies that fill whole bands, frames, features)."""
        return self._features(y, y, t)

    @staticmethod
    def estimate_of(parts: Tensor, x_t: Tensor, y: Tensor) -> Tensor:
        """x̂_0, of masks and addends (…, 3, 2); all in real and imaginary parts (…, 2)."""
        mask_y, mask_x, addend = parts.unbind(-2)
        return y + _times(mask_y, y) + _times(mask_x, x_t) + _AMPLITUDE * addend

    def _estimate(self, x_t: Tensor, y: Tensor, t: Tensor, span: Tensor | None, stream: Stream | None) -> Tensor:
        if y.shape[2] != self.frequencies:
            raise ConfigError(
                f"a spectrogram of {y.shape[2]} frequencies, where the network has weights for {self.frequencies}: "
                "use the front end that it was made for"
            )
        parts = self._parts(torch.view_as_real(x_t[:, 0]), torch.view_as_real(y[:, 0]), t, span, stream)
        mask_y, mask_x, addend = torch.view_as_complex(parts).unbind(-1)
        estimate = (1 + mask_y) * y[:, 0] + mask_x * x_t[:, 0] + _AMPLITUDE * addend
        return estimate[:, None]

    def _parts(self, x_t: Tensor, y: Tensor, t: Tensor, span: Tensor | None, stream: Stream | None) -> Tensor:
        """Masks of y and x_t, and the addend, of every bin: (batch, frequencies, frames, 3, 2), real and imaginary."""
        embedding = self.embed(t)
        if self.span is not None:
            embedding = self.span(embedding, span)
        fine = self.analyse(split_bands(self._features(x_t, y, t), self.config.patch))
        fine = self.before(fine + self.condition(embedding)[:, None, None].to(fine.dtype), stream)
        x = self.narrow(split_bands(fine, 2))
        x = x + self.place.to(x.dtype)
        for block in self.blocks:
            x = block(x, stream) if isinstance(block, Mixing) else block(x, embedding, stream)
        fine = self.after(fine + join_bands(self.widen(self.norm(x)), 2), stream)
        out = join_bands(self.synthesise(fine), self.config.patch)[:, : self.frequencies].to(y.dtype)
        return out.unflatten(-1, (3, 2)).contiguous()

    def _features(self, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """(batch, bands · bins of each, frames, features), with zeros above the highest frequency."""
        scale = EDMScales.of_state(self.sde.sigma(t), _AMPLITUDE).input
        state = x_t - y
        parts = [y / _AMPLITUDE, state * expand(scale, state)]
        for spectrogram in (y, x_t):
            power = spectrogram.square().sum(-1, keepdim=True)
            parts.append(torch.sqrt(power / _AMPLITUDE**2 + _LEAST_POWER))
            parts.append(torch.log1p(power / _FLOOR**2) / 4)
        missing = -self.frequencies % (2 * self.config.patch)
        return F.pad(torch.cat(parts, dim=-1), (0, 0, 0, 0, 0, missing))


def _times(mask: Tensor, spectrogram: Tensor) -> Tensor:
    """The product of complex numbers given as pairs (..., 2)."""
    (a, b), (c, d) = mask.unbind(-1), spectrogram.unbind(-1)
    return torch.stack((a * c - b * d, a * d + b * c), dim=-1)
