"""Models compute in float32: what is read from a file is made so whatever the default is, others are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch
from torch import nn

from shared.errors import ConfigError

_ONE_AT_A_TIME = RLock()
"""The default is the process's, and two that change it at once would leave it changed."""


@contextmanager
def single() -> Iterator[None]:
    """Tensors of no stated kind made within are float32, after `torch.set_default_dtype(torch.float64)` too."""
    with _ONE_AT_A_TIME:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def check_default() -> None:
    """See that a new model's weights, and what is computed for its training, are made of float32.

    Raises:
        ConfigError: `torch.set_default_dtype` chose others.
    """
    chosen = torch.get_default_dtype()
    if chosen != torch.float32:
        raise ConfigError(
            f"torch.set_default_dtype({chosen}) is in force: models are made and trained in float32; set torch.float32 "
            "around them (samplers and likelihoods of the core go by the dtype of what they are given)"
        )


def check_weights(model: nn.Module, besides: str = "") -> None:
    """See that a model's weights are as they were made.

    Args:
        model: the model.
        besides: what the message advises besides.

    Raises:
        ConfigError: it was converted to another precision.
    """
    weights = (value.dtype for value in model.parameters() if value.is_floating_point())
    if (other := next((dtype for dtype in weights if dtype != torch.float32), None)) is not None:
        raise ConfigError(f"a model with weights in {other}: it computes in float32; give model.float(){besides}")
