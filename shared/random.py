"""Random numbers: seeds from names, noise that does not depend on the size of the batch, one generator an item."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from torch import Tensor

from shared.errors import ConfigError

Generators = torch.Generator | Sequence[torch.Generator] | None
"""Nothing (the global state), one generator for the whole batch, or one per item of the batch."""


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from integers and names, the same on every platform and Python version."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def natural(seed: int) -> int:
    """A seed as NumPy's generators take it: itself, or another number for one below 0."""
    return seed if seed >= 0 else derive_seed(seed)


@overload
def log_uniform(rng: np.random.Generator, low: float, high: float) -> float: ...


@overload
def log_uniform(rng: np.random.Generator, low: float, high: float, size: int | tuple[int, ...]) -> np.ndarray: ...


def log_uniform(
    rng: np.random.Generator, low: float, high: float, size: int | tuple[int, ...] | None = None
) -> float | np.ndarray:
    """Numbers from `low` to `high`, both above 0, whose logarithms are uniform: one, or an array of this size."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def make_generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by `derive_seed(*parts)`."""
    return torch.Generator(device=device).manual_seed(derive_seed(*parts))


def seeds(count: int, generator: Generators = None) -> list[int]:
    """A seed for each of `count` items, drawn from its generator, or from the one for all."""
    each = generator if isinstance(generator, Sequence) else [generator] * count
    return [int(torch.empty((), dtype=torch.int64, device=_place(g)).random_(generator=g)) for g in each]


def device_of(generator: torch.Generator) -> torch.device:
    """Where one generator lives.

    Raises:
        ConfigError: it is none, but a seed, or a generator of NumPy.
    """
    if isinstance(generator, torch.Generator):
        return generator.device
    seed = generator if isinstance(generator, int) else 0
    raise ConfigError(f"generator={generator!r}: give torch.Generator().manual_seed({seed}), or one per item")


def _place(generator: torch.Generator | None) -> torch.device | None:
    return None if generator is None else device_of(generator)


class PlacedGenerator(torch.Generator):
    """A generator whose noise depends on the place along the last axis, so that overlapping pieces share it.

    The n-th draw of `randn` is a fixed, endless sequence along the last axis; a piece sees the part that begins at its
    `start`. Pieces of one recording with the same seed thus get the same noise where they overlap, whatever their
    lengths. Give one per item of the batch. It lives on the CPU.

    Args:
        parts: as `derive_seed` takes them.
        start: place of the first element of the piece along the last axis, from 0.
    """

    _BLOCK = 16

    def __new__(cls, *parts: int | str, start: int = 0) -> PlacedGenerator:
        return super().__new__(cls)

    def __init__(self, *parts: int | str, start: int = 0):
        if start < 0:
            raise ConfigError(f"start={start}: places are counted from 0")
        self._parts, self._start, self._draws = parts, start, 0

    def randn(self, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        """The next draw, standard normal, of this shape."""
        *lead, length = shape
        first, skip = divmod(self._start, self._BLOCK)
        blocks = []
        for block in range(first, first + -(-(skip + length) // self._BLOCK)):
            self.manual_seed(derive_seed(*self._parts, self._draws, block))
            blocks.append(torch.randn(*lead, self._BLOCK, generator=self, dtype=dtype))
        self._draws += 1
        return torch.cat(blocks, dim=-1)[..., skip : skip + length] if blocks else torch.empty(*shape, dtype=dtype)


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
        ConfigError: the number of generators is not the batch size, or a seed was given for one.
    """
    if generator is None or not isinstance(generator, Sequence):
        source = device if generator is None else device_of(generator)
        return torch.randn(tuple(shape), generator=generator, dtype=dtype, device=source).to(device or source)
    if len(generator) != shape[0]:
        raise ConfigError(f"{len(generator)} generators for a batch of {shape[0]}: give one per item, or just one")
    made = torch.empty(*shape, dtype=dtype, device=generator[0].device if generator else device)
    for item, own in zip(made.unbind(), generator, strict=True):
        if isinstance(own, PlacedGenerator):
            item.copy_(own.randn(shape[1:], dtype))
        else:
            item.normal_(generator=own)  # the bits of torch.randn, sooner for small items
    return made.to(device or made.device)


def randn_like(like: Tensor, generator: Generators = None) -> Tensor:
    """`randn` of a tensor's shape, dtype and device."""
    return randn(like.shape, generator, dtype=like.dtype, device=like.device)
