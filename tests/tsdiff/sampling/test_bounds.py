"""Bounds that are asked for: series that have been beyond them are told of, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from tsdiff import TSDiffPredictor
from tsdiff.sampling.settings import Sampling

COUNT = 60
Call = Callable[[TSDiffPredictor, list[dict[str, Any]]], object]


def entries() -> list[dict[str, Any]]:
    """Three series, of which two reach from 40 to 60; some values of each are missing."""
    wave = 10 * np.sin(np.arange(COUNT) * np.pi / 12)
    wave[20:23] = np.nan
    levels = {"a": 0.0, "b": 50.0, "c": 50.0}
    start = pd.Period("2024-01-01", "h")
    return [{"item_id": name, "start": start, "target": level + wave} for name, level in levels.items()]


def forecast(predictor: TSDiffPredictor, dataset: list[dict[str, Any]]) -> object:
    return list(predictor.predict(dataset, 4))


def impute(predictor: TSDiffPredictor, dataset: list[dict[str, Any]]) -> object:
    return list(predictor.impute(dataset, 4))


@pytest.fixture(scope="module")
def plain() -> TSDiffPredictor:
    predictor = TSDiffPredictor.from_pretrained("default").adapted("h", 6)
    return TSDiffPredictor(predictor.model, Sampling(steps=2, method="ode2"))


@pytest.mark.parametrize("call", [forecast, impute])
@pytest.mark.parametrize("counts", [False, True])
def test_series_beyond_a_bound_are_told_of_once(
    call: Call, counts: bool, plain: TSDiffPredictor, recwarn: pytest.WarningsRecorder
) -> None:
    call(plain.with_sampling(counts=counts, maximum=30.0, minimum=-5.0), entries())
    said = [str(one.message) for one in recwarn if issubclass(one.category, Note)]
    assert said == [
        "minimum=-5: series 'a' has had values below it (down to -10); no sample will be",
        "maximum=30: series 'b' and 1 more have had values above it (up to 60); no sample will be",
    ]


def test_of_bounds_that_no_value_passes_nothing_is_said(
    plain: TSDiffPredictor, recwarn: pytest.WarningsRecorder
) -> None:
    forecast(plain.with_sampling(counts=True, maximum=60.0, minimum=-10.0), entries())
    impute(plain, entries())
    assert not [one for one in recwarn if issubclass(one.category, Note)]


def test_frames_are_told_of_too(plain: TSDiffPredictor) -> None:
    times = pd.date_range("2024-01-01", periods=COUNT, freq="h")
    frame = pd.DataFrame({"timestamp": times, "target": entries()[1]["target"]})
    with pytest.warns(Note, match=r"^maximum=30: .* has had values above it \(up to 60\)"):
        made = plain.predict_df(frame, num_samples=4, maximum=30.0)
    assert made["mean"].max() == 30
