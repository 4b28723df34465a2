"""A folder that holds what the pages speak of: sales.csv, recordings, a published checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tests.docs.blocks import ROOT
from tests.speech.media_files import tones, write_video
from tests.speech.published import COMMON, OUVE, SMALL, random_weights, save_published, small_layout

RATE = 16000


def voice(seconds: float, seed: int) -> np.ndarray:
    """A buzz in syllables and noise, (samples,): enough for scores of speech to be defined."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 140 * n * t) / n for n in range(1, 20))
    return (0.1 * buzz * (np.sin(2 * np.pi * 3 * t) > -0.3) + 1e-3 * rng.standard_normal(len(t))).astype(np.float32)


def sales(shops: int = 3, days: int = 120) -> pd.DataFrame:
    """A long table with the columns of the README's example, and covariates."""
    rng = np.random.default_rng(0)
    day = pd.date_range("2024-01-01", periods=days, freq="D")
    parts = []
    for shop in range(shops):
        promotion = rng.random(days) < 0.2
        sold = 100 * (1 + shop) * (1 + 0.3 * np.sin(2 * np.pi * np.arange(days) / 7) + 0.5 * promotion)
        noisy = sold * np.exp(0.05 * rng.standard_normal(days))
        region = f"region {shop % 2}"
        parts.append(pd.DataFrame({"shop": f"shop {shop}", "day": day, "sold": noisy, "promotion": promotion * 1.0}))
        parts[-1]["region"] = region
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; the scripts are reached as from a checkout."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("recipes", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    sales().to_csv(folder / "sales.csv", index=False)
    rng = np.random.default_rng(1)
    for name in ("recordings", "clean", "noisy"):
        (folder / name).mkdir()
    for place in range(2):
        clean = voice(1.2, place)
        noisy = clean + 0.02 * rng.standard_normal(len(clean)).astype(np.float32)
        soundfile.write(folder / "clean" / f"{place}.wav", clean, RATE)
        for target in ("noisy", "recordings"):
            soundfile.write(folder / target / f"{place}.wav", noisy, RATE)
        for suffix in ("wav", "flac"):
            soundfile.write(folder / f"noisy.{suffix}", noisy, RATE)
    soundfile.write(folder / "lecture.wav", noisy, RATE)
    soundfile.write(folder / "call.wav", noisy[::2], RATE // 2)
    write_video(folder / "film.mp4", tones(48_000))
    state = random_weights(small_layout(), seed=0)
    save_published(folder / "sgmse.ckpt", state, None, {**COMMON, **OUVE, **SMALL, "backbone": "ncsnpp"})
    return folder
