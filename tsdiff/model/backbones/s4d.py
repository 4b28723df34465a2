"""A diagonal state-space network (S4D; Gu et al. 2022) over patches of the window, made for CPUs.

Residual blocks as in TSDiff (Kollovieh et al. 2023, appendix B): noise-level embedding, a bidirectional state-space
convolution, a gated output and a sum of skips. Two things make it cheap. Channels lead, (channels, batch, tokens), so
that mixing channels is one matrix product and so is the convolution, by the Toeplitz matrix of its kernel, which on a
CPU beats the FFT for the few hundred tokens of a window. And the window is cut into patches, which are the tokens.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.checks import Count, Portion
from shared.errors import ConfigError
from shared.flow_maps.span import SpanConfig, SpanEmbedding, SpanNetwork, one_for_all
from tsdiff.model.backbones.cache import WeightCache
from tsdiff.model.backbones.channels import gated, mix

_EMBEDDING = 64
_FREQUENCIES = 16
_MOST_TOKENS, _LARGEST_BASIS, _LARGEST_KERNEL = 4096, 1 << 24, 1 << 28


@dataclass(frozen=True)
class PatchedConfig(SpanConfig, ABC):
    """What a `PatchedS4D` is made from: its sizes, and its convolutions.

    Args:
        patch: points in a token, 1 takes them one by one; a window has at most 4,096 tokens.
        width: channels of the residual stream.
        blocks: residual blocks.
        dropout: share of block activations that are dropped in training.
    """

    patch: Count = 24
    width: Count = 64
    blocks: Count = 3
    dropout: Portion = 0.0

    def build(self, length: int, channels: int, features: int) -> PatchedS4D:
        """The network, with fresh weights; see `PatchedS4D`."""
        return PatchedS4D(self, length, channels, features)

    @abstractmethod
    def convolutions(self, tokens: int) -> Callable[[int], nn.Module]:
        """What makes the convolution of block 0, 1, … over `tokens`, (width, batch, tokens) → the same shape.

        Raises:
            ConfigError: the kernels are too large.
        """


@dataclass(frozen=True)
class S4DConfig(PatchedConfig):
    """Size of a `PatchedS4D` of diagonal state spaces.

    Args:
        state: complex states of each channel and direction.
    """

    state: Count = 16
    kind: Literal["s4d"] = "s4d"

    def convolutions(self, tokens: int) -> Callable[[int], nn.Module]:
        """See `PatchedConfig.convolutions`."""
        width, entries = self.width, 2 * self.width * self.state * tokens
        if entries > _LARGEST_BASIS or width * tokens**2 > _LARGEST_KERNEL:
            raise ConfigError(
                f"{tokens} tokens of patch={self.patch}, width={width}, state={self.state}: need 2 · width · state · "
                f"tokens up to {_LARGEST_BASIS} and width · tokens² up to {_LARGEST_KERNEL}, the numbers of a kernel; "
                "take larger patches"
            )
        basis = kernel_basis(width, self.state, tokens)
        return lambda block: DiagonalConvolution(width, self.state, basis)


class PatchedS4D(SpanNetwork):
    """(batch, length, channels) → the same shape, given the noise level and known features.

    Args:
        config: sizes, and what the convolutions of the blocks are.
        length: points in a window; a multiple of config.patch.
        channels: of the series.
        features: known features at every point (calendar, covariates); 0 for none.

    Raises:
        ConfigError: the length is not a multiple of the patch, or makes too many tokens.
    """

    frequencies: Tensor

    def __init__(self, config: PatchedConfig, length: int, channels: int = 1, features: int = 0):
        super().__init__()
        if length % config.patch:
            raise ConfigError(f"a window of {length} points is not a multiple of the patch, {config.patch}")
        self.config, self.length, self.channels, self.features = config, length, channels, features
        self.tokens = length // config.patch
        width = config.width
        if self.tokens > _MOST_TOKENS:
            raise ConfigError(
                f"{self.tokens} tokens (length {length}, patch {config.patch}): need at most {_MOST_TOKENS} tokens; "
                "take larger patches"
            )
        self.input = nn.Linear(config.patch * channels, width)
        self.feature_input = nn.Linear(config.patch * features, width, bias=False) if features else None
        frequencies = torch.exp(torch.linspace(math.log(0.3), math.log(8.0), _FREQUENCIES))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.level = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, _EMBEDDING), nn.SiLU(), nn.Linear(_EMBEDDING, _EMBEDDING), nn.SiLU()
        )
        self.span = SpanEmbedding(_EMBEDDING) if config.span else None
        made = config.convolutions(self.tokens)
        self.blocks = nn.ModuleList(
            Block(config, self.tokens, partial(made, i), last=i == config.blocks - 1) for i in range(config.blocks)
        )
        self.head = nn.Linear(width, width)
        self.output = nn.Linear(width, config.patch * channels)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, log_snr: Tensor, features: Tensor | None = None, span: Tensor | None = None) -> Tensor:
        """The network's output.

        Args:
            x: noisy windows (batch, length, channels).
            log_snr: λ of each item, (batch,).
            features: (batch, length, features), or (1, length, features) for the whole batch.
            span: t − r of a flow map's step, (batch,).

        Returns:
            (batch, length, channels).

        Raises:
            ConfigError: the window or its features have another shape than the network was made for.
        """
        batch = self._check(x, features)
        if not self.training:  # one embedding serves the batch when sampling
            log_snr, span = one_for_all(log_snr), None if span is None else one_for_all(span)
        angles = log_snr[:, None].to(x.dtype) * self.frequencies
        level = self.level(torch.cat([angles.sin(), angles.cos()], dim=1))
        if self.span is not None:
            level = self.span(level, span)

        stream = mix(self.input, self._tokens(x))
        if self.feature_input is not None and features is not None:
            known = mix(self.feature_input, self._tokens(features))
            shape = (self.config.width, -1, self.tokens)
            stream = (stream.view(shape) + known.view(shape)).flatten(1)
        skip: Tensor | None = None
        for block in self.blocks:
            stream, skip = block(stream, level, skip)
        assert skip is not None
        out = mix(self.output, F.silu(mix(self.head, skip)))
        return out.t().reshape(batch, self.length, self.channels)

    def _tokens(self, x: Tensor) -> Tensor:
        """(batch, length, k) → (patch·k, batch·tokens)."""
        return x.reshape(x.shape[0] * self.tokens, -1).t()

    def _check(self, x: Tensor, features: Tensor | None) -> int:
        if x.ndim != 3 or x.shape[1:] != (self.length, self.channels):
            raise ConfigError(f"windows must be (batch, {self.length}, {self.channels}), not {tuple(x.shape)}")
        if self.features and (features is None or features.shape[1:] != (self.length, self.features)):
            found = None if features is None else tuple(features.shape)
            raise ConfigError(f"this model needs features (batch, {self.length}, {self.features}), got {found}")
        return x.shape[0]


class Block(nn.Module):
    """Norm and noise level, state-space convolution, gate; adds to the residual stream and to the skips."""

    def __init__(self, config: PatchedConfig, tokens: int, convolution: Callable[[], nn.Module], last: bool):
        super().__init__()
        width = config.width
        self.tokens, self.dropout = tokens, config.dropout
        self.film = nn.Linear(_EMBEDDING, 2 * width)
        nn.init.zeros_(self.film.weight)
        with torch.no_grad():
            self.film.bias.copy_(torch.cat([torch.ones(width), torch.zeros(width)]))
        self.convolution = convolution()
        self.gate = nn.Linear(width, 2 * width)
        self.to_stream = None if last else nn.Linear(width, width, bias=False)
        self.to_skip = nn.Linear(width, width)

    def forward(self, stream: Tensor, level: Tensor, skip: Tensor | None) -> tuple[Tensor, Tensor]:
        """stream and skip are (width, batch·tokens); level is (batch or 1, embedding)."""
        width = stream.shape[0]
        scale, shift = self.film(level).t()[:, :, None].chunk(2)
        hidden = stream * torch.rsqrt(stream.square().mean(0, keepdim=True) + 1e-5)
        hidden = torch.addcmul(shift, hidden.view(width, -1, self.tokens), scale)
        hidden = F.silu(self.convolution(hidden)).view(width, -1)
        if self.dropout:
            hidden = F.dropout(hidden, self.dropout, self.training)
        hidden = gated(mix(self.gate, hidden))
        added = mix(self.to_skip, hidden)
        skip = added if skip is None else skip + added
        if self.to_stream is not None:
            stream = torch.addmm(stream, self.to_stream.weight, hidden)
        return stream, skip


class DiagonalConvolution(nn.Module):
    """Bidirectional state-space convolution of every channel, as a product with its Toeplitz matrix.

    The states decay and oscillate as in S4D-Lin, with time scales spread over the channels; these are fixed, and what
    is learned is how the states are read out, in both directions, and the direct term D.
    """

    basis: Tensor

    def __init__(self, width: int, state: int, basis: Tensor):
        super().__init__()
        self.readout = nn.Parameter(torch.randn(2, width, 1, 2 * state) * math.sqrt(0.5))
        self.direct = nn.Parameter(torch.randn(width))
        self.register_buffer("basis", basis, persistent=False)
        self._cache = WeightCache()

    def forward(self, x: Tensor) -> Tensor:
        """x (width, batch, tokens) → the same shape."""
        return torch.bmm(x, self.matrix())

    def matrix(self) -> Tensor:
        """The convolution as a matrix (width, tokens, tokens), y = x @ matrix; in inference made once."""
        if torch.is_grad_enabled() and self.readout.requires_grad:
            return self._matrix()
        return self._cache.get((self.readout, self.direct), self._matrix)

    def _matrix(self) -> Tensor:
        causal = torch.bmm(self.readout[0], self.basis)[:, 0]
        anticausal = torch.bmm(self.readout[1], self.basis)[:, 0, 1:]
        tokens = causal.shape[1]
        kernel = torch.cat([anticausal.flip(1), causal[:, :1] + self.direct[:, None], causal[:, 1:]], dim=1)
        # Row j holds lags −j … tokens−1−j, so that entry (j, i) is the kernel at lag i − j.
        return kernel.unfold(1, tokens, 1).flip(1)


def kernel_basis(width: int, state: int, tokens: int) -> Tensor:
    """Real impulse responses of the states, (width, 2·state, tokens).

    Poles −½ + iπn (S4D-Lin), discretised by zero-order hold with time steps log-spaced from 0.01 to 0.5 tokens.
    """
    step = torch.logspace(math.log10(0.01), math.log10(0.5), width, dtype=torch.float64)[:, None]
    pole = torch.complex(torch.full((state,), -0.5, dtype=torch.float64), math.pi * torch.arange(state).double())
    gain = torch.expm1(pole * step) / pole
    response = 2 * gain[..., None] * torch.exp((pole * step)[..., None] * torch.arange(tokens))
    return torch.cat([response.real, -response.imag], dim=1).float()
