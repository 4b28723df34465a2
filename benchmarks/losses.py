"""The weighted quantile loss apart, window by window: for intervals, and for what one series does to a score."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def without_worst(names: Sequence[str], losses: np.ndarray, sizes: np.ndarray) -> tuple[str, float, float]:
    """The series with the largest loss, its share of the whole loss, and the CRPS of all others.

    Args:
        names: The series of each window, (windows,).
        losses, sizes: Of `window_losses`.
    """
    series, place = np.unique(np.asarray(names), return_inverse=True)
    total = np.bincount(place, losses)
    worst = int(total.argmax())
    others = place != worst
    return str(series[worst]), float(total[worst] / total.sum()), float(losses[others].sum() / sizes[others].sum())


def ruled(worst: str, share: float, rest: float) -> str:
    """A note on a score that one series rules."""
    return f"{share:.0%} of the loss is of the series {worst}, {rest:.4f} without it"


def without_ruling(row: Mapping[str, Any]) -> float | None:
    """The CRPS without the series that rules it, from the note of a row of baselines.csv; None where none does."""
    found = re.search(r"of the loss is of the series .+, ([\d.]+) without it", str(row["note"]))
    return None if found is None else float(found.group(1))


def all_without_ruling(path: Path) -> dict[tuple[str, str], float]:
    """`without_ruling` by set and model, of the rows of a baselines.csv that have it."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as stream:
        found = {(row["set"], row["model"]): without_ruling(row) for row in csv.DictReader(stream)}
    return {key: rest for key, rest in found.items() if rest is not None}


def beside(score: str, rest: float | None) -> str:
    """A score's cell, with what it is without the series that rules it."""
    return score if rest is None else f"{score}; {rest:.4f} without one series"
