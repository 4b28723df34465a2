"""Partitioned Parquet of few series, and what is asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DRAWS: dict[str, Any] = {"prediction_length": 6, "num_samples": 4}
TOGETHER = {"batch_rows": 12}
"""Three series of four draws are drawn together, and are a unit."""


def frame(count: int, first: int = 0, length: int = 60) -> pd.DataFrame:
    """A long frame of hourly series, in the order of their ids."""
    rng, steps = np.random.default_rng(first), np.arange(length)
    parts = [
        pd.DataFrame(
            {
                "item_id": f"s{first + place:03d}",
                "timestamp": pd.date_range("2024-01-01", periods=length, freq="h"),
                "target": 20 + 5 * np.sin(steps / 24 * 2 * np.pi + place) + rng.standard_normal(length),
            }
        )
        for place in range(count)
    ]
    return pd.concat(parts, ignore_index=True)


def write(folder: Path, frames: dict[str, pd.DataFrame], rows: int = 100) -> Path:
    """Files of small groups of rows, so that series lie across them."""
    for name, table in frames.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path, row_group_size=rows, index=False)
    return folder


def results(folder: Path) -> dict[str, bytes]:
    """The result files of a job."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}
