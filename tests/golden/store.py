"""One file of golden numbers: arrays by name, and texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from tests.golden.recipe import digest


class Golden:
    """The numbers that a published code gave.

    Args:
        path: an archive of arrays, as `save` writes it.
    """

    def __init__(self, path: Path):
        self._arrays = np.load(path)

    def array(self, name: str) -> np.ndarray:
        """As stored."""
        return self._arrays[name]

    def lines(self, name: str) -> list[str]:
        """Of a text."""
        return self._arrays[name].tobytes().decode().split("\n")

    def assert_close(self, found: Tensor, name: str, tolerance: float) -> None:
        """A result's digest is the stored one, to a share of its largest number."""
        wanted, got = self.array(name), digest(found)
        assert got.shape == wanted.shape
        error = float(np.abs(got - wanted).max() / np.abs(wanted).max())
        assert error < tolerance, f"{name}: differs from the published result by {error:.1e} of its largest number"


def shape_text(shape: Sequence[int]) -> str:
    """A shape in a text: 3x4, or - where there are no axes."""
    return "x".join(map(str, shape)) or "-"


def shape_of(written: str) -> tuple[int, ...]:
    """The shape that `shape_text` wrote."""
    return () if written == "-" else tuple(map(int, written.split("x")))


def text(lines: list[str]) -> np.ndarray:
    """A text to be stored."""
    return np.frombuffer("\n".join(lines).encode(), np.uint8)


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an archive."""
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
