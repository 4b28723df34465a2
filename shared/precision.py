"""What is read from a file is made in float32, whatever torch's default is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

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
