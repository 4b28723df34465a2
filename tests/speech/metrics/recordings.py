"""Recordings by formula that the metrics' tests score, and what they read of the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

RATE = 16000
Folders = dict[str, Path]


def voice(seed: int, seconds: float = 0.6) -> np.ndarray:
    """Noise that comes and goes. DNSMOS doubles it until it has 9 s: 0.6 s make one window, 0.5 s make seven."""
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.1 * np.random.default_rng(seed).standard_normal(time.size) * np.sin(7 * time) ** 2


def write(path: Path, signal: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal.T, rate, subtype="FLOAT" if path.suffix == ".wav" else None)


def by_file(frame: pd.DataFrame) -> dict[str, dict[str, object]]:
    return {row["file"]: row for row in frame.to_dict("records")}
