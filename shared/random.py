"""Random numbers that do not depend on the size of the batch: one generator an item."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from shared.errors import ConfigError

Generators = torch.Generator | Sequence[torch.Generator] | None
"""Nothing (the global state), one generator for the whole batch, or one per item of the batch."""


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from integers and names, the same on every platform and Python version."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def make_generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by `derive_seed(*parts)`."""
    return torch.Generator(device=device).manual_seed(derive_seed(*parts))


def randn(
    shape: Sequence[int],
    generator: Generators = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Standard normal noise (batch, ...); with one generator per item, item i depends on generator i alone.

    Generators on the CPU serve any device: noise is drawn where the generator lives and moved. Complex noise has
    E|ε|² = 1, half of it in each part.

    Raises:
        ConfigError: the number of generators is not the batch size.
    """
    if generator is None or isinstance(generator, torch.Generator):
        source = device if generator is None else generator.device
        return torch.randn(*shape, generator=generator, dtype=dtype, device=source).to(device or source)
    if len(generator) != shape[0]:
        raise ConfigError(f"{len(generator)} generators for a batch of {shape[0]}: give one per item, or just one")
    items = [torch.randn(*shape[1:], generator=g, dtype=dtype, device=g.device) for g in generator]
    return torch.stack(items).to(device or items[0].device)
