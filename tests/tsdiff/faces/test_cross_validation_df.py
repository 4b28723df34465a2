"""Frames of forecasts over the end of each series, and pictures of forecasts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import tiny_estimator
from tests.tsdiff.faces.test_predict_df import DAYS, long, said
from tests.tsdiff.faces.test_predict_df_covariates import promoted

# --- cross-validation ------------------------------------------------------------------------------------------


def test_windows_roll_over_the_end_of_each_series(default):
    given = pd.concat([long(), long(["short"], DAYS[:8])])
    with pytest.warns(Note, match="series 'short' left out: 8 values"):
        made = default.cross_validation_df(given, 3, 2, prediction_length=5, num_samples=3, quantile_levels=[0.5])
    assert list(made.columns) == ["item_id", "timestamp", "cutoff", "actual", "mean", "0.5"]
    assert made["cutoff"].unique().tolist() == [DAYS[-10], DAYS[-8], DAYS[-6]]
    merged = made.merge(given, on=["item_id", "timestamp"])
    assert len(merged) == len(made) == 2 * 3 * 5
    np.testing.assert_array_equal(merged["actual"], merged["target"])
    assert ((made["timestamp"] - made["cutoff"]).dt.days.groupby(made["cutoff"]).min() == 1).all()
    before = given[(given["timestamp"] <= DAYS[-6]) & (given["item_id"] != "short")]
    window = default.predict_df(before, prediction_length=5, num_samples=3, quantile_levels=[0.5])
    last = made[made["cutoff"] == DAYS[-6]]
    np.testing.assert_allclose(last["0.5"], window["0.5"], rtol=1e-4)
    with pytest.raises(ConfigError, match="step=0"):
        default.cross_validation_df(given, 3, 0, prediction_length=5)


def test_windows_whose_last_values_are_missing_are_told(default):
    """Rows that are still to come, and a value that is lost, were NaN in "actual" without a word."""
    given = long()
    given.loc[(given["item_id"] == "b") & (given["timestamp"] > DAYS[-3]), "target"] = np.nan
    options: dict[str, Any] = {"windows": 2, "prediction_length": 5}
    line = "actual is missing in 2 of 20 rows, of ids 'b': no value was observed there"
    assert any(one.startswith(line) for one in said(default.cross_validation_df, given, **options))
    assert not any("missing" in one for one in said(default.cross_validation_df, long(), **options))


def test_windows_know_covariates(real):
    past, _, _ = promoted()
    options: dict[str, Any] = {"prediction_length": 10, "num_samples": 9}
    known = real.cross_validation_df(past, covariates=["promotion"], **options)
    pd.testing.assert_frame_equal(real.cross_validation_df(past, covariates="promotion", **options), known)
    with pytest.warns(Note, match="not used"):
        plain = real.cross_validation_df(past, **options)
    errors = [(made["0.5"] - made["actual"]).abs().mean() for made in (plain, known)]
    assert errors[1] < 0.5 * errors[0]


def test_windows_whose_covariates_miss_values_are_told_by_column_and_id(default):
    """Errors named feat_dynamic_real, which no frame has."""
    past = promoted()[0].reset_index(drop=True)
    options = {"covariates": ["promotion"], "prediction_length": 10}
    holed = past.assign(promotion=past["promotion"].where((past.index != len(past) - 3) & (past.index != 5)))
    told = said(default.cross_validation_df, holed, **options)
    lines = "covariate 'promotion' misses 1 of 120 values, which are put on straight lines"
    assert told == [f"series {name!r}: {lines}" for name in "ab"]
    none = past.assign(promotion=past["promotion"].where(past["item_id"] != "b"))
    call = partial(tiny_estimator(steps=1, dynamic_features=1).fit, none, covariates="promotion")
    for lacking in (partial(default.cross_validation_df, none, **options), call):
        with pytest.raises(
            DataError, match="series 'b': covariate 'promotion' holds no value; fill it, or leave it or"
        ):
            lacking()


# --- pictures --------------------------------------------------------------------------------------------------


def test_plot_gives_a_figure_and_writes_a_picture(default, tmp_path: Path):
    given = long([1, 2, 3])
    figure = default.plot(given, prediction_length=7, num_samples=5, path=tmp_path / "x.png", ids=[3, 1], title="Sales")
    assert (tmp_path / "x.png").stat().st_size > 5000
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["3", "1"]
    shown = default.plot(given, prediction_length=7, num_samples=5, max_panels=2)
    assert len(shown.axes) == 2
    assert shown._repr_png_().startswith(b"\x89PNG")  # what a notebook asks for
    past = default.plot(given.assign(x=1.0), prediction_length=7, num_samples=5, past_covariates=["x"], max_panels=1)
    assert len(past.axes) == 1
    with pytest.raises(ConfigError, match=r"quantile_levels=\[0.1\]: this call has no such option"):
        default.plot(given, prediction_length=7, quantile_levels=[0.1])
    with pytest.raises(DataError, match=r"ids \[9\]"):
        default.plot(given, prediction_length=7, ids=[9])
    with pytest.raises(ConfigError, match="ids is empty; name the series to draw"):
        default.plot(given, prediction_length=7, ids=[])
    one = default.plot(long(["ab", "a"]), prediction_length=7, num_samples=5, ids="ab")
    assert [axes.get_title(loc="left") for axes in one.axes] == ["ab"]
    day = pd.Timestamp("2020-01-01")
    for known, wanted in (([1, 2], 2), ([1.0, 2.0], [1]), ([day, DAYS[0]], day), ([("x", 1), ("y", 2)], ("x", 1))):
        found = long(["a", "b"])
        found["item_id"] = pd.Series(np.repeat(pd.Series(known), len(DAYS)).tolist())
        assert len(default.plot(found, prediction_length=7, num_samples=5, ids=wanted).axes) == 1
    with pytest.raises(ConfigError, match="picture"):
        default.plot(given, prediction_length=7, path="x.bmp")
