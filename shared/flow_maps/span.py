"""How a network is told the second time of a flow map."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from shared.checks import Checked

_FREQUENCIES, _HIDDEN = 16, 64


def one_for_all(values: Tensor) -> Tensor:
    """Values of a batch, (batch,), or the one that all items have, (1,)."""
    return values[:1] if bool((values == values[0]).all()) else values


class SpanEmbedding(nn.Module):
    """What a flow map's network adds to its embedding of the time for the span t − r, which lies in [0, 1].

    Two layers over the embedding itself and sines and cosines of the span. The weights of the last are zero at first,
    so that a map with the weights of a denoiser begins as that denoiser, whatever the span.

    Args:
        units: of the embedding.
    """

    frequencies: Tensor

    def __init__(self, units: int):
        super().__init__()
        octaves = torch.linspace(-2, 3, _FREQUENCIES)
        self.register_buffer("frequencies", 2 * math.pi * 2**octaves, persistent=False)
        self.inner = nn.Linear(units + 2 * _FREQUENCIES, _HIDDEN)
        self.outer = nn.Linear(_HIDDEN, units)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, embedding: Tensor, span: Tensor | None) -> Tensor:
        """The new embedding.

        Args:
            embedding: of the time, (batch or 1, units).
            span: t − r, (batch,); None is 0.
        """
        if span is None:
            span = embedding.new_zeros(len(embedding))
        angle = span.to(embedding.dtype)[:, None] * self.frequencies.to(embedding.dtype)
        features = torch.cat([angle.sin(), angle.cos()], dim=1)
        rows = max(len(embedding), len(features))
        joint = torch.cat([embedding.expand(rows, -1), features.expand(rows, -1)], dim=1)
        return embedding + self.outer(nn.functional.silu(self.inner(joint)))


@dataclass(frozen=True)
class SpanConfig(Checked):
    """Settings of a network that can be a flow map's.

    Args:
        span: whether it is one, told how far each step leads.
    """

    span: bool = field(default=False, kw_only=True)


class SpanNetwork(nn.Module):
    """A network that can be a flow map's."""

    span: SpanEmbedding | None

    @property
    def takes_span(self) -> bool:
        """Whether it is one."""
        return self.span is not None
