"""What is easily given wrong where synthetic sets are drawn, written and compared; each answer helps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import sines
from tsdiff.data import split
from tsdiff.tasks.synthesis import (
    count_windows,
    gaussian,
    linear_predictive_score,
    real_windows,
    realism,
    save_series,
    series_frame,
    synthesize,
    train_on_synthetic,
)

TEST = split(sines(), 8).test
REAL = real_windows(sines(), 24, 12)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: real_windows(TEST, 24, 2), "of pairs of input and label give the inputs"),
        (lambda: count_windows(sines()[0], 24), "put it into a list: [entry]"),
        (lambda: realism(series_frame(REAL), REAL), "the real windows: window 0 is a str and no GluonTS entry"),
        (lambda: realism(REAL, [np.ones(24)] * 12), "the synthetic windows: window 0 is a ndarray"),
        (lambda: realism(REAL, REAL, max_lag=2.5), "max_lag=2.5: need a whole number"),  # type: ignore[arg-type]
        (lambda: linear_predictive_score(REAL, TEST.input, 8), "no pair; give pairs (input entry, label entry)"),
        (lambda: linear_predictive_score(REAL, TEST, 8.5), "prediction_length=8.5: need"),  # type: ignore[arg-type]
        (lambda: train_on_synthetic(REAL, {"real": REAL}, TEST, "h", 8), "none of them 'real'"),
        (lambda: train_on_synthetic(REAL, REAL, TEST, "h", 8), "sets of windows by name"),  # type: ignore[arg-type]
        (lambda: gaussian(REAL, context_length=0), "context_length=0: need"),
    ],
)
def test_what_cannot_be_compared_is_told(call: Any, said: str):
    with pytest.raises((ConfigError, DataError), match=re.escape(said)):
        call()


def test_a_predictor_or_settings_by_name_are_told_what_is_taken(trained):
    with pytest.raises(ConfigError, match=r"need a TSDiff, such as a predictor's \.model"):
        synthesize(trained, 2, sines())
    with pytest.raises(ConfigError, match="need a SynthesisConfig"):
        synthesize(trained.model, 2, sines(), {"steps": 3})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["csv_path", "parquet_path", "gluonts_folder"])
def test_series_that_do_not_go_into_one_table_are_refused_and_leave_none(kind: str, tmp_path: Path):
    two = {**sines(1)[0], "item_id": "two", "target": np.ones((2, 5))}
    with pytest.raises(DataError, match=r"series 'two' has a target of shape \(2, 5\)"):
        save_series([*sines(300), two], **{kind: tmp_path / "made"})
    unnamed = {"start": two["start"], "target": np.ones(3)}
    with pytest.raises(DataError, match="has no 'item_id'"):
        save_series([unnamed], **{kind: tmp_path / "made"})
    with pytest.raises(DataError, match=r"put it into a list: \[entry\]"):
        save_series(sines(1)[0], **{kind: tmp_path / "made"})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
