"""Exponential moving average of a network's weights, with the usual warm-up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from shared.checks import Portion, checked


def ema_of(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of `model` that `update_parameters(model)` moves by decay min(decay, (1 + n)/(10 + n)) at update n.

    Raises:
        ConfigError: decay is not in [0, 1).
    """
    checked(Portion, ema_decay=decay)

    @torch.no_grad()
    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        n = int(updates)
        torch._foreach_lerp_(list(averaged), list(current), 1 - min(decay, (1 + n) / (10 + n)))

    averaged = AveragedModel(model, multi_avg_fn=average)
    return averaged.requires_grad_(False)
