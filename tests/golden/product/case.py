"""A case, the table of all, and the file of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.golden.recipe import digest
from tests.golden.store import text

Results = dict[str, Tensor | np.ndarray]
"""By name, arrays of any shape; of longer ones a digest is kept."""

FILE = Path(__file__).parent / "product.npz"
SAVED = Path(__file__).parent / "saved"
"""Models, settings and training states as the toolkit wrote them."""

TOLERANCE = 1e-5
"""Largest difference, as a share of a result's largest number."""


@dataclass(frozen=True)
class Case:
    """One case.

    Args:
        name: of its numbers in the file.
        compute: what gives them; it is handed an empty folder.
        tolerance: largest difference, as a share of a result's largest number.
    """

    name: str
    compute: Callable[[Path], Results]
    tolerance: float = TOLERANCE

    def digests(self, folder: Path) -> dict[str, np.ndarray]:
        """What is kept of each result: float64, of at most 48 numbers."""
        return {name: digest(torch.as_tensor(value)) for name, value in self.compute(folder).items()}


CASES: dict[str, Case] = {}


def case(name: str, tolerance: float = TOLERANCE) -> Callable[[Callable[[Path], Results]], Callable[[Path], Results]]:
    """Enter a function among the cases."""

    def enter(compute: Callable[[Path], Results]) -> Callable[[Path], Results]:
        assert name not in CASES, name
        CASES[name] = Case(name, compute, tolerance)
        return compute

    return enter


def pack(name: str, digests: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a case for the file: all its numbers in a row, and the name and count of each result."""
    for label, numbers in digests.items():
        assert numbers.size, f"{name}: {label} is empty"
        assert np.isfinite(numbers).all(), f"{name}: {label} is not finite"
    lines = [f"{numbers.size} {label}" for label, numbers in digests.items()]
    numbers = np.concatenate([numbers.ravel() for numbers in digests.values()])
    return {f"{name}/numbers": numbers.astype(np.float32), f"{name}/names": text(lines)}


def unpack(name: str, numbers: np.ndarray, lines: list[str]) -> dict[str, np.ndarray]:
    """The digests that `pack` was given, by name."""
    found: dict[str, np.ndarray] = {}
    first = 0
    for line in lines:
        count, label = line.split(" ", 1)
        found[label] = numbers[first : first + int(count)].astype(np.float64)
        first += int(count)
    assert first == len(numbers), name
    return found


def differences(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> dict[str, float]:
    """Of each result, the largest difference as a share of its largest number; 1 where one is missing or new."""
    shares: dict[str, float] = {}
    for label in {**wanted, **found}:
        one, other = found.get(label), wanted.get(label)
        if one is None or other is None or one.shape != other.shape:
            shares[label] = 1.0
            continue
        error, size = float(np.abs(one - other).max()), float(np.abs(other).max())
        shares[label] = 0.0 if error == 0 else error / max(size, 1e-30)
        shares[label] = 1.0 if not np.isfinite(shares[label]) else shares[label]
    return shares
