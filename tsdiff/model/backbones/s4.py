"""TSDiff's published network: residual blocks around a bidirectional S4 layer.

Kollovieh et al. 2023, appendix B, after the S4 of Gu et al. 2022. The noise level comes in as the step of the
diffusion's table. A window may have any length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F

from shared.checks import Count, Even, Portion
from shared.errors import ConfigError
from shared.flow_maps.span import SpanConfig, SpanEmbedding, SpanNetwork, one_for_all
from tsdiff.model.backbones.channels import mix, normalise
from tsdiff.model.backbones.dplr import DPLR, doubled, hippo_legs, kernel, truncated
from tsdiff.model.backbones.two_sided import TwoSidedConvolution

_SHORTEST_STEP, _LONGEST_STEP = 1e-3, 1e-1
# Kernels are made from dense matrices of the states (float64), and from states times steps.
_LARGEST_STATE, _MOST_ENTRIES, _MOST_TERMS = 512, 1 << 22, 1 << 28
_LONGEST_HORIZON = 1 << 24


@dataclass(frozen=True)
class S4Config(SpanConfig):
    """Size of an `S4Backbone`; the defaults are the paper's.

    Args:
        width: channels of the residual stream.
        blocks: residual blocks.
        state: dimension of each channel's state, in each direction; even, at most 512, width · state² at most 2²².
        step_embedding: sines and cosines of the step.
        dropout: share of activations that are dropped in training, in and after each S4 layer.
        input_skip: add the input to the output.
        conjugates: sum the kernel over both members of each conjugate pair of states, as the S4 paper does, and the
            published code with KeOps or its CUDA extension. Without these, the published code sums over one member
            of each pair, which is another network: False, for what was trained that way.
    """

    width: Count = 64
    blocks: Count = 3
    state: Annotated[Even, Le(_LARGEST_STATE)] = 128
    step_embedding: Annotated[Even, Ge(4)] = 128
    dropout: Portion = 0.0
    input_skip: bool = False
    conjugates: bool = True
    kind: Literal["s4"] = "s4"
    level: ClassVar[Literal["step"]] = "step"
    """What the network is told of the noise; others are told the log-SNR."""

    def _related(self) -> None:
        met = self.width * self.state**2 <= _MOST_ENTRIES
        need = f"need at most {_MOST_ENTRIES} for width · state², the entries of its dense matrices"
        self._require(met, "state width", need)

    @property
    def patch(self) -> int:
        """Points in a token: this network takes them one by one."""
        return 1

    def build(self, length: int, channels: int, features: int) -> S4Backbone:
        """The network, with fresh weights; see `S4Backbone`."""
        return S4Backbone(self, length, channels, features)


class S4Backbone(SpanNetwork):
    """(batch, length, channels) → the same shape, given the step and, optionally, known features.

    Args:
        config: sizes.
        length: of the windows to train on. Longer ones are possible, at the cost of dense matrix powers for each
            kernel that is made.
        channels: of a window.
        features: known at every point; 0 for none.
    """

    def __init__(self, config: S4Config, length: int, channels: int = 1, features: int = 0):
        super().__init__()
        if length < 1:
            raise ConfigError(f"a window of {length} points: need at least one")
        if config.width * config.state * length > _MOST_TERMS:
            raise ConfigError(
                f"width · state · length = {config.width} · {config.state} · {length}: need at most {_MOST_TERMS}, the "
                "terms of a kernel; shorten the windows"
            )
        width = config.width
        self.config, self.channels, self.features = config, channels, features
        self.input = nn.Linear(channels, width)
        self.level = nn.Sequential(
            nn.Linear(config.step_embedding, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.span = SpanEmbedding(width) if config.span else None
        self.blocks = nn.ModuleList(
            S4Block(config, length, self.features, last=i == config.blocks - 1) for i in range(config.blocks)
        )
        self.head = nn.Linear(width, width)
        self.output = nn.Linear(width, channels)

    def forward(self, x: Tensor, step: Tensor, features: Tensor | None = None, span: Tensor | None = None) -> Tensor:
        """The predicted noise (or what else the network is trained to give).

        Args:
            x: noisy windows (batch, length, channels).
            step: 0-based place in the diffusion's table, (batch,), whole or between two steps.
            features: (batch or 1, length, features); None adds nothing.
            span: t − r of a flow map's step, (batch,).

        Returns:
            (batch, length, channels).

        Raises:
            ConfigError: the window or its features have another shape than the network was made for.
        """
        self._check(x, step, features)
        if not self.training:  # one embedding serves the batch when sampling
            step, span = one_for_all(step), None if span is None else one_for_all(span)
        level = self.level(step_embedding(step.to(x.dtype), self.config.step_embedding))
        if self.span is not None:
            level = self.span(level, span)
        known = None if features is None else features.flatten(0, 1).t()
        stream = F.relu(mix(self.input, x.flatten(0, 1).t())).view(-1, *x.shape[:2])
        skip: Tensor | None = None
        for block in self.blocks:
            stream, added = block(stream, level, known)
            skip = added if skip is None else skip + added
        assert skip is not None
        out = mix(self.output, F.relu(mix(self.head, skip))).t().reshape(x.shape)
        return out + x if self.config.input_skip else out

    def truncate(self, length: int) -> None:
        """Make readouts that were never truncated those of kernels of `length` steps."""
        for block in self.blocks:
            assert isinstance(block, S4Block)
            if not int(block.convolution.horizon):
                block.convolution.truncate(length)

    def _check(self, x: Tensor, step: Tensor, features: Tensor | None) -> None:
        if x.ndim != 3 or x.shape[2] != self.channels or x.shape[1] < 1:
            raise ConfigError(f"windows must be (batch, length, {self.channels}), not {tuple(x.shape)}")
        if step.shape != x.shape[:1]:
            raise ConfigError(f"one step for each of {x.shape[0]} windows, not {tuple(step.shape)}")
        if features is None:
            return
        if not self.features:
            raise ConfigError(f"this network takes no features, got {tuple(features.shape)}")
        if (
            features.ndim != 3
            or features.shape[0] not in (1, len(x))
            or features.shape[1:] != (x.shape[1], self.features)
        ):
            expected = f"({len(x)}, {x.shape[1]}, {self.features})"
            raise ConfigError(f"features must be {expected}, not {tuple(features.shape)}")


class S4Block(nn.Module):
    """Step, S4 layer with residual, features, tanh·sigmoid gate; adds to the stream and to the skips."""

    def __init__(self, config: S4Config, length: int, features: int, last: bool):
        super().__init__()
        width = config.width
        self.dropout = config.dropout
        self.step = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.convolution = S4Convolution(width, config.state, length, config.conjugates)
        self.mix = nn.Linear(width, width)
        self.feature_input = nn.Linear(features, width) if features else None
        self.to_stream = None if last else nn.Linear(width, width)
        self.to_skip = nn.Linear(width, width)

    def forward(self, stream: Tensor, level: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """The new stream, (width, batch, length), and the skip, (width, batch·length).

        Args:
            stream: (width, batch, length).
            level: (batch or 1, width).
            known: features (features, batch·length or length), or None.
        """
        hidden = stream + self.step(level).t()[:, :, None]
        mixed = F.gelu(self.convolution(normalise(self.norm, hidden)))
        if self.dropout:
            mixed = F.dropout(mixed, self.dropout, self.training)
        mixed = mix(self.mix, mixed.flatten(1)).view(stream.shape)
        if self.dropout:  # whole channels, as published
            mixed = F.dropout1d(mixed, self.dropout, self.training)
        hidden = hidden + mixed
        if self.feature_input is not None and known is not None:
            hidden = hidden + mix(self.feature_input, known).view(len(stream), -1, stream.shape[2])
        gated = (torch.tanh(hidden) * torch.sigmoid(hidden)).flatten(1)
        if self.to_stream is not None:
            stream = stream + mix(self.to_stream, gated).view(stream.shape)
        return stream, mix(self.to_skip, gated)


class S4Convolution(TwoSidedConvolution):
    """Every channel convolved with two S4 kernels, one forward and one backward in time, plus the direct term D.

    Args:
        width: channels.
        state: dimension of a channel's state.
        horizon: length that the readout is truncated at, see `dplr.truncated`.
        conjugates: see `S4Config`.
    """

    horizon: Tensor

    def __init__(self, width: int, state: int, horizon: int, conjugates: bool = True):
        super().__init__()
        self.conjugates = conjugates
        legs = hippo_legs(state)
        span = math.log(_LONGEST_STEP / _SHORTEST_STEP)
        self.log_step = nn.Parameter(torch.rand(width) * span + math.log(_SHORTEST_STEP))
        self.log_decay = nn.Parameter(legs.pole.real.neg().log().float().repeat(width, 1))
        self.frequency = nn.Parameter(legs.pole.imag.float().repeat(width, 1))
        self.low_rank = nn.Parameter(_parts(legs.low_rank).repeat(width, 1, 1))
        self.gain = nn.Parameter(_parts(legs.input).repeat(width, 1, 1))
        self.readout = nn.Parameter(torch.randn(2, width, state // 2, 2) * math.sqrt(0.5))
        self.direct = nn.Parameter(torch.randn(width))
        self.register_buffer("horizon", torch.tensor(0))
        self.truncate(horizon)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if not 0 <= int(self.horizon) <= _LONGEST_HORIZON:
            # The last argument collects what `load_state_dict` raises.
            args[-1].append(f"{prefix}horizon is {int(self.horizon)}, and no number of steps up to {_LONGEST_HORIZON}")

    @torch.no_grad()
    def truncate(self, length: int) -> None:
        """Turn a readout that was never truncated (horizon 0) into that of kernels of `length` steps."""
        readout = truncated(_complex(self.readout.double()), self.system(torch.float64), length)
        self.readout.copy_(torch.view_as_real(readout))
        self.horizon.fill_(length)

    def kernels(self, length: int) -> Tensor:
        """Kernels (2, width, length): of lags 0, 1, … and of lags −1, −2, …"""
        readout, system, horizon = _complex(self.readout), self.system(self.readout.dtype), int(self.horizon)
        if horizon < 1:
            raise ConfigError("this readout was never truncated: call `truncate` with the length of the windows")
        while horizon < length:
            readout = doubled(readout, system, horizon)
            horizon *= 2
        return kernel(readout, system, horizon, self.conjugates)[..., :length]

    def system(self, dtype: torch.dtype) -> DPLR:
        """The state space of every channel, in real precision `dtype`."""
        pole = torch.complex(-self.log_decay.to(dtype).exp(), self.frequency.to(dtype))
        low_rank, gain = _complex(self.low_rank.to(dtype)), _complex(self.gain.to(dtype))
        return DPLR(pole, low_rank, gain, self.log_step.to(dtype).exp())


def step_embedding(step: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of step/10000^(i/(width/2 − 1)), i < width/2: (batch, width)."""
    half = width // 2
    rate = torch.exp(torch.arange(half, device=step.device, dtype=step.dtype) * (-math.log(10000.0) / (half - 1)))
    angle = step[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def _complex(parts: Tensor) -> Tensor:
    """(..., 2) → (...), complex."""
    return torch.view_as_complex(parts.contiguous())


def _parts(value: Tensor) -> Tensor:
    """(...), complex → (..., 2), single precision."""
    return torch.view_as_real(value.resolve_conj()).float()
