"""Tiny forecasters that several files share."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.training.module import TrainingConfig
from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.data.entries import Entry, named_entries
from tsdiff.model.backbones import S4DConfig
from tsdiff.windows.conditioning import Windows, forecast_place
from tsdiff.windows.config import WindowConfig
from tsdiff.windows.scales import Statistics
from tsdiff.windows.series import observed_series

HORIZON, CONTEXT = 8, 16


def tiny_estimator(steps: int = 60, seed: int = 0, save_every: float = 15.0, **settings: Any) -> TSDiffEstimator:
    """Trains in a second."""
    training = TrainingConfig(
        max_steps=steps, learning_rate=1e-2, ema_decay=0.95, seed=seed, save_every_seconds=save_every
    )
    backbone = S4DConfig(patch=4, width=16, blocks=1, state=4)
    settings = {"backbone": backbone, "training": training, "batch_size": 16, "scaling": "mean", **settings}
    return TSDiffEstimator("h", HORIZON, CONTEXT, **settings)


def sines(count: int = 3, length: int = 200, period: int = 8) -> list[dict[str, Any]]:
    """Positive sines of different level and phase."""
    t = np.arange(length)
    return [
        {
            "item_id": f"s{i}",
            "start": pd.Period("2024-01-01", freq="h") + i,
            "target": (10 * (i + 1) * (1.5 + np.sin(2 * np.pi * t / period + i))).astype(np.float32),
        }
        for i in range(count)
    ]


def assert_same_entries(left: Iterable[Entry], right: Iterable[Entry]) -> None:
    """Names, starts and targets are the same."""
    left, right = list(left), list(right)
    assert [entry["item_id"] for entry in left] == [entry["item_id"] for entry in right]
    for one, other in zip(left, right, strict=True):
        assert one["start"] == other["start"]
        assert one["start"].freqstr == other["start"].freqstr
        np.testing.assert_array_equal(one["target"], other["target"])


def windows_of(
    entries: dict[str, Any] | list[dict[str, Any]],
    config: WindowConfig,
    statistics: Statistics,
    first: int | None = None,
) -> Windows:
    """Windows of one entry or several that are used together, from step `first`; None takes those to forecast."""
    listed = entries if isinstance(entries, list) else [entries]
    horizon = config.prediction_length if first is None else 0
    series = [observed_series(entry, config, name, horizon) for name, entry in named_entries(listed)]
    places = [forecast_place(one, config) if first is None else (one, first) for one in series]
    return Windows.of(places, config, statistics)


@cache
def trained_on_sines() -> TSDiffPredictor:
    """Trained on `sines()`, once in a process."""
    return tiny_estimator(steps=250).train(sines(), progress=False)


@pytest.fixture(scope="session")
def trained() -> TSDiffPredictor:
    return trained_on_sines()


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    """The bundled forecaster in four steps; files that take other ones have a fixture of this name."""
    return TSDiffPredictor.from_pretrained("default").with_sampling(steps=4)
