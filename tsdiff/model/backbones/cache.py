"""Values that follow from a network's weights, computed once for the same weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor


class WeightCache:
    """Keeps the last value, and the weights that it was made from.

    Weights are compared by content: fused optimisers and writes to `.data` leave no trace in a tensor's version.
    """

    def __init__(self) -> None:
        self._kept: tuple[tuple[Tensor, ...], Hashable, Tensor] | None = None

    def get(self, weights: tuple[Tensor, ...], make: Callable[[], Tensor], key: Hashable = None) -> Tensor:
        """The value of `make()` for these weights and this key, without gradients."""
        kept = self._kept
        if kept is None or kept[1] != key or not all(map(_same, kept[0], weights)):
            # Not an inference tensor even in inference mode: guidance may differentiate through it later.
            with torch.inference_mode(False), torch.no_grad():
                kept = (tuple(weight.detach().clone() for weight in weights), key, make())
            self._kept = kept
        return kept[2]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
