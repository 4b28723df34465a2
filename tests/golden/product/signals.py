"""Series and sounds that the cases run on, from nothing but their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.golden.recipe import draw

Entry = dict[str, Any]


def series(freq: str, count: int, length: int, period: int) -> list[Entry]:
    """Seasonal series of different levels with uniform noise, as GluonTS entries."""
    t = np.arange(length)
    entries = []
    for i in range(count):
        wave = 1.5 + np.sin(2 * np.pi * t / period + i) + 0.1 * draw(f"series {freq} {i}", length).numpy()
        start = pd.Period("2021-01-01", freq=freq) + i
        entries.append({"item_id": f"{freq}{i}", "start": start, "target": (10 * (i + 1) * wave).astype(np.float32)})
    return entries


def with_gaps(entries: list[Entry]) -> list[Entry]:
    """The same series with missing values, within and near the end."""
    holed = [{**entry, "target": np.array(entry["target"])} for entry in entries]
    for entry in holed:
        entry["target"][..., -9:-6] = np.nan
        entry["target"][..., 5] = np.nan
    return holed


def rich_series(count: int, length: int, ahead: int) -> list[Entry]:
    """Two channels with dynamic, static and categorical covariates."""
    return [
        {
            **entry,
            "target": np.stack([entry["target"], 2 + draw(f"second {i}", length).numpy().astype(np.float32)]),
            "feat_dynamic_real": draw(f"dynamic {i}", 2, length + ahead).numpy().astype(np.float32),
            "feat_static_real": draw(f"static {i}", 1).numpy().astype(np.float32),
            "feat_static_cat": np.array([i % 2]),
        }
        for i, entry in enumerate(series("h", count, length, 8))
    ]


def frame(entries: list[Entry]) -> pd.DataFrame:
    """The series as one long frame."""
    parts = []
    for entry in entries:
        times = pd.period_range(entry["start"], periods=len(entry["target"])).to_timestamp()
        parts.append(pd.DataFrame({"item_id": entry["item_id"], "timestamp": times, "target": entry["target"]}))
    return pd.concat(parts, ignore_index=True)


def noisy_sound(rate: int, seconds: float, channels: int = 0, noise: float = 0.08) -> NDArray[np.float32]:
    """Syllables of a gliding harmonic tone in noise: (samples,), or (channels, samples)."""
    samples = round(rate * seconds)
    t = np.arange(samples) / rate
    rows = []
    for i in range(max(channels, 1)):
        phase = 2 * np.pi * (140 * t + 20 * np.sin(2 * np.pi * 1.5 * t + i) / (2 * np.pi * 1.5))
        voice = sum(np.sin(k * phase) / k for k in range(1, 12))
        loudness = np.clip(np.sin(2 * np.pi * 3 * t + i), 0, None) ** 0.5
        rows.append(0.15 * voice * loudness + noise * draw(f"noise {rate} {i}", samples).numpy())
    wave = np.stack(rows).astype(np.float32)
    return wave if channels else wave[0]
