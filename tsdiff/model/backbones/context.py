"""A network that reads what is known of a window once, and then draws what is not as often as asked.

The window is cut into patches. An encoder (a transformer, Vaswani et al. 2017, with layer norms first) reads those that
hold a known value; a decoder denoises those that hold a wanted one, looking at each other and at what the encoder read,
and is told the noise level by scales and shifts (Peebles and Xie 2023, "Scalable diffusion models with transformers").
All samples of a window share one reading, so that a sample costs the few tokens of its horizon alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.nn import functional as F

from shared.checks import Count
from shared.errors import ConfigError
from shared.flow_maps.span import SpanConfig, SpanEmbedding, SpanNetwork

_FREQUENCIES = 16
_MOST_TOKENS = 4096
_MASKED = -1e9
_FEW_TOKENS = 4


@dataclass(frozen=True)
class ContextConfig(SpanConfig):
    """Size of a `ContextNetwork`, which models with conditional=True can have.

    Args:
        patch: points in a token; a window has at most 4,096 tokens.
        width: channels of a token, a multiple of `heads`.
        encoder_blocks, decoder_blocks: blocks of each.
        heads: of the attention.
        expansion: width of a block's inner layer, in widths.
    """

    patch: Count = 8
    width: Count = 96
    encoder_blocks: Count = 3
    decoder_blocks: Count = 3
    heads: Count = 4
    expansion: Count = 3
    kind: Literal["context"] = "context"

    def _related(self) -> None:
        super()._related()
        self._require(self.width % self.heads == 0, "width heads", "need a multiple of heads for the width")

    def build(self, length: int, channels: int, features: int, about: int = 0) -> ContextNetwork:
        """The network, with fresh weights; see `ContextNetwork`."""
        return ContextNetwork(self, length, channels, features, about)


class Memory(NamedTuple):
    """What the encoder read of some windows.

    Attributes:
        keys, values: of the known patches for each decoder block, (windows, tokens, width).
        mask: 0 where there is something to be looked at, (windows, 1, 1, tokens).
        tokens: places of the patches that are drawn, (n,).
        told: what is known of these, (windows, n, width).
        wanted: 1 at their wanted points, else 0, (windows, n, patch, 1).
        about: of the whole window, (windows, width).
        of_row: which window each row of the state is of, (rows,); None for one row a window.
        draws: rows a window, where all have as many and they lie together; else 0.
        apart: 0 where a drawn patch is wanted of the window itself, not of others alone, (windows, 1, 1, n); None where
            all are.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor
    tokens: Tensor
    told: Tensor
    wanted: Tensor
    about: Tensor
    of_row: Tensor | None
    draws: int
    apart: Tensor | None = None

    @property
    def points(self) -> Tensor:
        """Places of the patches' points, (n·patch,)."""
        inside = torch.arange(self.wanted.shape[2], device=self.tokens.device)
        return (self.tokens[:, None] * len(inside) + inside).flatten()


class Attention(nn.Module):
    """Scaled dot-product attention of several heads; queries of a token, keys and values of its own or of others."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.keyed, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of tokens (batch, n, width)."""
        keys, values = self.keyed(tokens).chunk(2, dim=-1)
        return keys, values

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (batch, m, width), keys and values (batch, n, width) → (batch, m, width)."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(x), keys, values))
        return self.out(attended(q, k, v, mask).transpose(1, 2).flatten(2))


def attended(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention (rows, heads, tokens, size). Torch's own has no derivative along a direction on a CPU, and takes longer
    among the few patches of one draw."""
    if q.device.type == "cpu" and mask is None and q.shape[2] <= _FEW_TOKENS >= k.shape[2]:
        # By what each is off the first, one product less.
        others = ((k[:, :, 1:] - k[:, :, :1]) / math.sqrt(q.shape[-1])).unbind(2)
        scores = torch.stack([q.new_zeros(q.shape[:-1]), *((q * other[:, :, None]).sum(-1) for other in others)])
        made = v[:, :, :1].expand_as(q)
        for share, more in zip(scores.softmax(0)[1:, ..., None], (v[:, :, 1:] - v[:, :, :1]).unbind(2), strict=True):
            made = torch.addcmul(made, share, more[:, :, None])
        return made
    if unpack_dual(q).tangent is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores + mask).softmax(-1) @ v


class EncoderBlock(nn.Module):
    """Attention and an inner layer, each added to what came in."""

    def __init__(self, width: int, heads: int, expansion: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = Attention(width, heads)
        self.inner = _inner(width, expansion)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, tokens, width) → the same shape."""
        seen = self.norms[0](x)
        x = x + self.attention(seen, *self.attention.read(seen), mask)
        return x + self.inner(self.norms[1](x))


class DecoderBlock(nn.Module):
    """Attention among the drawn patches, to the known ones, and an inner layer, each scaled by the noise level."""

    def __init__(self, width: int, heads: int, expansion: int):
        super().__init__()
        self.own, self.known = Attention(width, heads), Attention(width, heads)
        self.inner = _inner(width, expansion)
        self.level = nn.Linear(width, 9 * width)
        nn.init.zeros_(self.level.weight)
        nn.init.zeros_(self.level.bias)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the known patches."""
        return self.known.read(tokens)

    def forward(
        self, x: Tensor, level: Tensor, keys: Tensor, values: Tensor, mask: Tensor, apart: Tensor | None
    ) -> Tensor:
        """x (windows, draws, tokens, width), level (windows, draws or 1, width); `apart` hides tokens from one another,
        (windows · draws, 1, 1, tokens)."""
        shifts = self.level(level)[:, :, None].chunk(9, dim=-1)

        def scaled(x: Tensor, place: int) -> Tensor:
            return torch.addcmul(shifts[place + 1], F.layer_norm(x, x.shape[-1:]), 1 + shifts[place])

        seen = scaled(x, 0).flatten(0, 1)
        x = torch.addcmul(x, self.own(seen, *self.own.read(seen), apart).view_as(x), 1 + shifts[2])
        asked = scaled(x, 3).flatten(1, 2)
        x = torch.addcmul(x, self.known(asked, keys, values, mask).view_as(x), 1 + shifts[5])
        return torch.addcmul(x, self.inner(scaled(x, 6)), 1 + shifts[8])


class ContextNetwork(SpanNetwork):
    """(batch, length, channels) → the same shape, given the noise level and what is known of the window.

    Args:
        config: sizes.
        length: points in a window; a multiple of config.patch.
        channels: of the series.
        features: numbers known of every point; the last two tell whether the point is wanted, and whether it is known.
        about: numbers known of the whole window.

    Raises:
        ConfigError: the length is not a multiple of the patch, or makes too many tokens.
    """

    frequencies: Tensor

    def __init__(self, config: ContextConfig, length: int, channels: int, features: int, about: int = 0):
        super().__init__()
        if length % config.patch or length // config.patch > _MOST_TOKENS:
            raise ConfigError(
                f"a window of {length} points: need a multiple of the patch, {config.patch}, and at most "
                f"{_MOST_TOKENS} patches"
            )
        self.config, self.patch, self.channels = config, config.patch, channels
        self.tokens, width = length // config.patch, config.width
        self.point = nn.Linear(config.patch * features, width)
        self.target = nn.Linear(config.patch * features, width)
        self.noisy = nn.Linear(config.patch * channels, width)
        self.places = nn.Parameter(0.02 * torch.randn(2, self.tokens, width))
        self.nothing = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.about = nn.Sequential(nn.Linear(max(about, 1), width), nn.SiLU(), nn.Linear(width, 2 * width))
        self.register_buffer("frequencies", torch.exp(torch.linspace(math.log(0.1), math.log(3.0), _FREQUENCIES)))
        self.level = nn.Sequential(nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.span = SpanEmbedding(width) if config.span else None
        sizes = (width, config.heads, config.expansion)
        self.encoder = nn.ModuleList(EncoderBlock(*sizes) for _ in range(config.encoder_blocks))
        self.decoder = nn.ModuleList(DecoderBlock(*sizes) for _ in range(config.decoder_blocks))
        self.read, last = nn.LayerNorm(width), nn.Linear(width, config.patch * channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.out = nn.Sequential(nn.LayerNorm(width), last)

    def encode(
        self, inputs: Tensor, about: Tensor | None = None, of_row: Tensor | None = None, first: int = 0
    ) -> Memory:
        """Read what is known of windows.

        Args:
            inputs: (windows, length, features).
            about: (windows, about).
            of_row: which window each row of the state will be of, (rows,); None for one row a window.
            first: step from which on the windows will be drawn; patches before it are not, wanted or not.
        """
        wanted, known = inputs[..., -2:].unflatten(1, (self.tokens, self.patch)).amax(2).unbind(-1)
        seen, tokens = ((part.amax(0) > 0).nonzero()[:, 0] for part in (known, wanted))
        tokens = tokens[tokens >= first // self.patch]
        memory = self.read_patches(inputs, about, seen, tokens)
        others = wanted[:, tokens] == 0  # wanted of another window: what this one gets is not to depend on its company
        if bool(others.any()):
            apart = torch.zeros_like(others, dtype=inputs.dtype).masked_fill(others, _MASKED)[:, None, None]
            memory = memory._replace(apart=apart)
        return memory if of_row is None else memory._replace(of_row=of_row, draws=_draws(of_row, len(inputs)))

    def read_patches(self, inputs: Tensor, about: Tensor | None, seen: Tensor, tokens: Tensor) -> Memory:
        """`encode` where the places are given of the patches of which something is known, and of those drawn."""
        windows = len(inputs)
        points = inputs[..., -2:].unflatten(1, (self.tokens, self.patch))
        known = points[..., 1].amax(2)
        patches = inputs.unflatten(1, (self.tokens, self.patch)).flatten(2)
        blank = inputs.new_zeros(windows, 1) if about is None else about
        read, whole = self.about(blank).chunk(2, dim=-1)
        x = self.point(patches[:, seen]) + self.places[0, seen] + read[:, None]
        x = torch.cat([x, self.nothing.expand(windows, 1, -1) + read[:, None]], dim=1)
        hidden = F.pad(known[:, seen] == 0, (0, 1), value=False)
        mask = torch.zeros_like(hidden, dtype=x.dtype).masked_fill(hidden, _MASKED)[:, None, None]
        for block in self.encoder:
            x = block(x, mask)
        x = self.read(x)
        pairs = [block.read(x) for block in self.decoder]  # type: ignore[operator]
        told = self.target(patches[:, tokens]) + self.places[1, tokens]
        keys, values = (tuple(part) for part in zip(*pairs, strict=True))
        return Memory(keys, values, mask, tokens, told, points[:, tokens][..., :1], whole, None, 1)

    def decode(self, x: Tensor, level: Tensor, memory: Memory, span: Tensor | None = None) -> Tensor:
        """The wanted patches of states x (rows, length, channels) at log-SNRs (rows,), for spans t − r of a flow map's
        step (rows,); elsewhere 0. States may be the wanted patches alone, (rows, len(memory.points), channels)."""
        draws, tokens = memory.draws, memory.tokens
        spread = memory if draws else _by_row(memory)
        told = self._levels(level, span, draws or 1)
        told = F.silu(told + spread.about[:, None])
        # What is known beside wanted points is told by the reading, and is no part of the state.
        whole = x.shape[1] != len(tokens) * self.patch
        patches = x.unflatten(1, (-1, self.patch))
        patches = (patches[:, tokens] if whole else patches).unflatten(0, (-1, draws or 1))
        h = self.noisy((patches * spread.wanted[:, None]).flatten(3)) + spread.told[:, None]
        apart = None if spread.apart is None else spread.apart.repeat_interleave(draws or 1, 0)
        for block, keys, values in zip(self.decoder, spread.keys, spread.values, strict=True):
            h = block(h, told, keys, values, spread.mask, apart)
        made = self.out(h).flatten(0, 1).to(x.dtype)
        if whole:
            made = x.new_zeros(len(x), self.tokens, made.shape[2]).index_copy(1, tokens, made)
        return made.unflatten(2, (self.patch, self.channels)).flatten(1, 2)

    def _levels(self, level: Tensor, span: Tensor | None, draws: int) -> Tensor:
        """What blocks are told of the rows' log-SNRs and spans, (windows, draws, width); (1, 1, width) where all rows
        share them, as in sampling, which saves a quarter of the work."""
        given = [part for part in (level, span) if part is not None]
        varied = any(part.requires_grad or unpack_dual(part).tangent is not None for part in given)
        if len(level) == 1 or (not varied and all(bool((part == part[0]).all()) for part in given)):
            level, span, draws = level[:1], None if span is None else span[:1], 1
        angles = 0.5 * level[:, None] * self.frequencies
        told = self.level(torch.cat([angles.sin(), angles.cos()], dim=-1))
        if self.span is not None:
            told = self.span(told, span)
        return told.unflatten(0, (-1, draws))

    def forward(
        self, x: Tensor, level: Tensor, inputs: Tensor, about: Tensor | None = None, span: Tensor | None = None
    ) -> Tensor:
        """`decode` after `encode`."""
        return self.decode(x, level, self.encode(inputs, about), span)


def _by_row(memory: Memory) -> Memory:
    """The memory of each row, where rows of a window are not evenly spread."""
    rows = memory.of_row
    assert rows is not None
    keys, values = (tuple(part[rows] for part in parts) for parts in (memory.keys, memory.values))
    told, wanted, about = memory.told[rows], memory.wanted[rows], memory.about[rows]
    apart = None if memory.apart is None else memory.apart[rows]
    return Memory(keys, values, memory.mask[rows], memory.tokens, told, wanted, about, None, 1, apart)


def _draws(of_row: Tensor, windows: int) -> int:
    """`Memory.draws`."""
    draws, rest = divmod(len(of_row), windows)
    even = torch.arange(windows, device=of_row.device).repeat_interleave(max(draws, 1))
    return draws if not rest and torch.equal(even, of_row) else 0


def _inner(width: int, expansion: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, expansion * width), nn.GELU(approximate="tanh"), nn.Linear(expansion * width, width)
    )
