"""Training batches: what one holds, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass
class Batch:
    """One training batch.

    Attributes:
        x0: clean data (batch, ...).
        y: anchor, shaped like `x0`.
        mask: 1 where an element counts in the loss, broadcastable to `x0`.
        condition: keyword arguments of the network.
        ids: what each item is, for messages.
    """

    x0: Tensor
    y: Tensor | None = None
    mask: Tensor | None = None
    condition: Mapping[str, Tensor] = field(default_factory=dict)
    ids: Sequence[str] = ()

    def to(self, device: torch.device) -> Batch:
        """This batch on `device`."""

        def move(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device, non_blocking=True)

        condition = {name: value.to(device, non_blocking=True) for name, value in self.condition.items()}
        return Batch(self.x0.to(device, non_blocking=True), move(self.y), move(self.mask), condition, self.ids)


class BatchSource(Protocol):
    """Where batches come from: a batch must depend on the generator alone."""

    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw one batch."""
        ...
