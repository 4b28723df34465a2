"""The causal light network a frame at a time, for runtimes where moving memory costs more than multiplying."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.errors import ConfigError
from speech.model.backbones.light import LightBackbone
from speech.model.backbones.light_layers import BandConv, Block, Edge, Mixing


class LightFrames(nn.Module):
    """`LightBackbone` at one time of the process about the noisy spectrogram itself, frame by frame.

    A frame alone makes each convolution three products of matrices, and what the time of the process adds and scales is
    part of their weights. The weights are the network's own; a runtime folds what is made of them as it reads the file.

    Args:
        network: causal.
        time: of the process.

    Attributes:
        reaches: of each layer along time, in frames: it sees its input of now, of so many frames ago, and of twice as
            many.

    Raises:
        ConfigError: the network is not causal, or a flow map's.
    """

    def __init__(self, network: LightBackbone, time: float):
        super().__init__()
        network.refuse_look_ahead()
        if network.span is not None:
            raise ConfigError("span=True: a flow map runs with times of its own; take a network without")
        self.network = network
        self.time = nn.Buffer(torch.tensor([time]), persistent=False)
        self._layers = [layer for layer in network.modules() if isinstance(layer, BandConv)]
        self.reaches = tuple(layer.dilation for layer in self._layers)

    def silence(self) -> list[Tensor]:
        """What each layer saw before the first frame: (bands, channels) each."""
        return [layer.weight.new_zeros(layer.shape) for layer in self._layers]

    def forward(self, noisy: Tensor, far: Sequence[Tensor], near: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Estimate one frame.

        Args:
            noisy: compressed, (frequencies, 2), real and imaginary parts.
            far: what each layer saw twice its reach ago, (bands, channels).
            near: what it saw its reach ago.

        Returns:
            The estimate, shaped like `noisy`; and what each layer saw now.
        """
        network = self.network
        layers = _Layers(self._layers, far, near)
        embedding = network.embed(self.time)
        features = network.features_of(noisy[None, :, None], self.time)[0, :, 0].flatten()
        fine = network.analyse(features.view(-1, network.analyse.in_features))
        fine = fine + network.condition(embedding)
        fine = self._edge(network.before, fine, layers)
        x = network.narrow(fine.view(len(fine) // 2, -1)) + network.place[:, 0]
        for block in network.blocks:
            if isinstance(block, Mixing):
                x = self._mixing(block, x, layers)
            else:
                assert isinstance(block, Block)
                scale, shift = block.condition(embedding)[0].chunk(2)
                h = layers(block.norm(x), 1 + scale, shift)
                x = x + block.point(F.silu(h))
        fine = fine + network.widen(network.norm(x)).view(len(fine), -1)
        fine = self._edge(network.after, fine, layers)
        parts = network.synthesise(fine).view(-1, 3, 2)[: network.frequencies]
        return network.estimate_of(parts, noisy, noisy), *layers.seen

    @staticmethod
    def _edge(edge: Edge, fine: Tensor, layers: _Layers) -> Tensor:
        return fine + F.silu(layers(edge.norm(fine)))

    @staticmethod
    def _mixing(mixing: Mixing, x: Tensor, layers: _Layers) -> Tensor:
        whole = mixing.norm(mixing.squeeze(x).view(1, -1))
        whole = mixing.spread(F.silu(layers(whole)))
        return x + mixing.expand(F.silu(whole.view(len(x), -1)))


class _Layers:
    """The layers along time, in turn, each with its past; what they see now is noted."""

    def __init__(self, layers: Sequence[BandConv], far: Sequence[Tensor], near: Sequence[Tensor]):
        self._turns = iter(zip(layers, far, near, strict=True))
        self.seen: list[Tensor] = []

    def __call__(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        layer, far, near = next(self._turns)
        self.seen.append(x)
        weight: Tensor = layer.weight
        result: Tensor = layer.bias
        if scale is not None and shift is not None:
            weight, result = weight * scale[:, None, None, None], result * scale + shift
        taps = weight.unbind(2)
        x = F.pad(torch.cat((far, near, x), dim=1), (0, 0, len(taps) // 2, len(taps) // 2))
        for place, tap in enumerate(taps):  # (out, in, frames) on rows of (frames · in)
            product = tap.transpose(1, 2).flatten(1).T
            result = torch.addmm(result, x[place : len(x) - len(taps) + 1 + place], product)
        return result
