"""Scores against plain NumPy formulas, the baseline against published numbers, forecasts as tables."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.ev.metrics import MASE, ND, NRMSE, MeanWeightedSumQuantileLoss
from gluonts.model.evaluation import evaluate_forecasts
from gluonts.model.forecast import QuantileForecast, SampleForecast
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from shared.errors import ConfigError, DataError
from shared.files.io import write_json
from tsdiff.data import candidate_seasons, embedded_series, load_folder, split_windows
from tsdiff.evaluation.metrics import (
    CRPS_LEVELS,
    Metrics,
    best_seasonal_naive,
    evaluate,
    forecasts_to_frame,
    metrics_table,
    rich_metrics_table,
    seasonal_naive,
)

ROOT = Path(__file__).resolve().parents[3]
SERIES = ROOT / os.environ.get("SHARED_DATA", "../shared/data") / "series"
needs_shared = pytest.mark.skipif(not SERIES.is_dir(), reason=f"no shared data at {SERIES}; set SHARED_DATA")

HORIZON = 6


def make_windows(seed: int = 0, count: int = 4, history: int = 60):
    """Pairs of past and label around a level of 10, hourly, and 99 samples for each."""
    rng = np.random.default_rng(seed)
    start = pd.Period("2024-01-01 00:00", freq="h")
    pairs, forecasts = [], []
    for item in range(count):
        values = (10 + rng.normal(size=history + HORIZON)).astype(np.float32)
        past = {"item_id": f"s{item}", "start": start, "target": values[:history]}
        label = {"item_id": f"s{item}", "start": start + history, "target": values[history:]}
        samples = (10 + rng.normal(size=(99, HORIZON))).astype(np.float32)
        pairs.append((past, label))
        forecasts.append(SampleForecast(samples, start + history, item_id=f"s{item}"))
    return pairs, forecasts


def plain_scores(pairs, forecasts, season: int = 24) -> dict[str, float]:
    """The definitions written out in NumPy, over the observed values only."""
    actual = np.stack([label["target"] for _, label in pairs]).astype(float)
    seen = ~np.isnan(actual)

    def quantile(level: float) -> np.ndarray:
        return np.stack([np.sort(f.samples, axis=0)[round((len(f.samples) - 1) * level)] for f in forecasts])

    def pinball(level: float) -> float:
        error = (actual - quantile(level))[seen]
        return float(np.maximum(level * error, (level - 1) * error).sum())

    def inside(low: float, high: float) -> float:
        return float(((actual >= quantile(low)) & (actual <= quantile(high)))[seen].mean())

    weight = np.abs(actual[seen]).sum()
    mean = np.stack([f.samples.mean(axis=0) for f in forecasts])
    scales = [np.nanmean(np.abs(p["target"][season:] - p["target"][:-season])) for p, _ in pairs]
    scaled = np.abs(actual - quantile(0.5)) / np.array(scales)[:, None]
    return {
        "crps": float(np.mean([2 * pinball(level) / weight for level in CRPS_LEVELS])),
        "nd": float(np.abs(actual - quantile(0.5))[seen].sum() / weight),
        "nrmse": float(np.sqrt(np.square(actual - mean)[seen].mean()) / np.abs(actual[seen]).mean()),
        "mase": float(scaled[seen].mean()),
        "coverage_50": inside(0.25, 0.75),
        "coverage_90": inside(0.05, 0.95),
    }


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), holes=st.sets(st.integers(0, 4 * HORIZON - 1), max_size=4 * HORIZON - 1))
def test_scores_equal_the_definitions_whatever_is_missing(seed, holes):
    pairs, forecasts = make_windows(seed)
    for hole in holes:
        pairs[hole // HORIZON][1]["target"][hole % HORIZON] = np.nan
    metrics = evaluate(forecasts, pairs)
    assert metrics.as_dict() == pytest.approx(plain_scores(pairs, forecasts), rel=1e-5)
    assert len(metrics.notes) == bool(holes)
    if holes:
        assert metrics.notes[0].startswith(f"{len(holes)} of {4 * HORIZON} actual values")


def test_scores_equal_those_of_gluonts_own_evaluator():
    split = split_windows(embedded_series()[:3], 24, 2)
    forecasts = seasonal_naive(split.test, 24)
    metrics = [MeanWeightedSumQuantileLoss(CRPS_LEVELS), ND(), NRMSE(), MASE()]
    theirs = evaluate_forecasts(forecasts, test_data=split.test, metrics=metrics, seasonality=24).iloc[0].to_numpy()
    ours = evaluate(forecasts, split.test)
    np.testing.assert_allclose([ours.crps, ours.nd, ours.nrmse, ours.mase], theirs, rtol=1e-6)


def test_coverage_counts_both_ends_of_the_interval():
    pairs, _ = make_windows(count=1)
    label = pairs[0][1]
    label["target"][:] = [1.0, 0.25, 0.75, 0.24, 0.76, 0.5]
    keys = ["0.05", "0.25", "0.5", "0.75", "0.95"]
    arrays = np.array([[float(key)] * HORIZON for key in keys])
    metrics = evaluate([QuantileForecast(arrays, label["start"], keys, item_id="s0")], pairs)
    assert metrics.coverage_50 == pytest.approx(3 / 6)
    assert metrics.coverage_90 == pytest.approx(5 / 6)


@pytest.mark.slow
def test_a_calibrated_forecast_covers_what_it_promises():
    pairs, forecasts = make_windows(seed=0, count=400)
    metrics = evaluate(forecasts, pairs)
    # Of 99 samples the quantiles are numbers 24 and 74, 5 and 93, counted from 0: (74 − 24) / 100, (93 − 5) / 100.
    assert metrics.coverage_50 == pytest.approx(0.50, abs=0.03)
    assert metrics.coverage_90 == pytest.approx(0.88, abs=0.02)


ROUNDED = 100 + 30 * np.sin(np.arange(72) * 2 * np.pi / 24)
"""The same each day, but for rounding."""


@pytest.mark.parametrize(
    "past", [np.full(60, 3.0), np.full(60, np.nan), np.ones(1), np.ones(0), np.arange(72) % 24, ROUNDED]
)
def test_a_history_without_a_scale_is_left_out_of_mase_only(past):
    pairs, forecasts = make_windows()
    whole, without = evaluate(forecasts, pairs), evaluate(forecasts[1:], pairs[1:])
    pairs[0][0]["target"] = past.astype(np.float64)
    metrics = evaluate(forecasts, pairs)
    assert metrics.crps == whole.crps
    assert metrics.mase == pytest.approx(without.mase)
    assert "1 window whose history is constant or unobserved, or the same in each season" in metrics.notes[0]
    alone = evaluate(forecasts[:1], pairs[:1])
    assert math.isnan(alone.mase)
    assert alone.as_dict()["mase"] is None


def test_a_history_shorter_than_the_season_is_scaled_by_single_steps():
    pairs, forecasts = make_windows(history=24)
    assert evaluate(forecasts, pairs).mase == pytest.approx(plain_scores(pairs, forecasts, season=1)["mase"], rel=1e-5)


def test_labels_of_zero_leave_relative_scores_undefined_and_say_so(tmp_path):
    pairs, forecasts = make_windows(count=1)
    pairs[0][1]["target"][:] = 0
    metrics = evaluate(forecasts, pairs)
    assert math.isnan(metrics.crps)
    assert math.isnan(metrics.nrmse)
    assert "every actual value is 0" in metrics.notes[-1]
    write_json(tmp_path / "metrics.json", metrics.as_dict())
    assert json.loads((tmp_path / "metrics.json").read_text())["crps"] is None


def test_what_cannot_be_scored_is_refused():
    pairs, forecasts = make_windows()
    with pytest.raises(DataError, match="3 forecasts but more test windows"):
        evaluate(forecasts[:3], pairs)
    with pytest.raises(DataError, match="3 test windows but more forecasts"):
        evaluate(forecasts, pairs[:3])
    with pytest.raises(DataError, match=r"is of series 's1'.*actual values of 's0'"):
        evaluate(forecasts[::-1][2:], pairs[:2])
    with pytest.raises(ConfigError, match="seasonality=0: need"):
        evaluate(forecasts, pairs, seasonality=0)
    torn = np.array(forecasts[1].samples)
    torn[3, 2] = np.nan
    forecasts[1] = SampleForecast(torn, forecasts[1].start_date, item_id="s1")
    with pytest.raises(DataError, match=r"'s1'.*not finite"):
        evaluate(forecasts, pairs)
    late = SampleForecast(np.ones((2, HORIZON)), pairs[0][1]["start"] + 1, item_id="s0")
    with pytest.raises(DataError, match="in the order of the test windows"):
        evaluate([late], pairs[:1])
    long = SampleForecast(np.ones((2, HORIZON + 1)), pairs[0][1]["start"], item_id="s0")
    with pytest.raises(DataError, match=r"shape \(7,\).*\(6,\)"):
        evaluate([long], pairs[:1])
    pairs[0][1]["target"][:] = np.nan
    with pytest.raises(DataError, match="none of the 6 actual values"):
        evaluate(forecasts[:1], pairs[:1])


def test_two_values_are_history_enough_for_mase_and_one_is_not():
    """A history shorter than the season is scaled by its mean step."""
    start = pd.Period("2024-01-01", freq="h")
    label = {"item_id": "a", "start": start + 2, "target": np.array([4.0, 4.0], dtype=np.float32)}
    forecast = SampleForecast(np.full((3, 2), 9.0), start + 2, item_id="a")
    past = {"item_id": "a", "start": start, "target": np.array([1.0, 3.0], dtype=np.float32)}
    found = evaluate([forecast], [(past, label)], seasonality=24)
    assert found.mase == pytest.approx(5 / 2)
    one = {"item_id": "a", "start": start + 1, "target": np.array([3.0], dtype=np.float32)}
    assert np.isnan(evaluate([forecast], [(one, label)], seasonality=24).mase)


# --- the baseline ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_baseline_on_the_embedded_data():
    test = split_windows(embedded_series(), 24, 7).test
    day, week = (evaluate(seasonal_naive(test, lag), test) for lag in (24, 168))
    assert day.crps == pytest.approx(0.0724, abs=5e-5)
    assert week.crps == pytest.approx(0.0753, abs=5e-5)
    assert best_seasonal_naive(test) == (24, day)


@needs_shared
@pytest.mark.parametrize(
    ("name", "lag", "crps"),
    [
        ("exchange_rate_nips", 1, 0.0093), ("exchange_rate_nips", 5, 0.0107), ("ltsf_illness", 1, 0.0500),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("pjm_hourly", 24, 0.0724), ("pjm_hourly", 168, 0.0753), ("electricity_weekly", 52, 0.0722),
                ("tourism_quarterly", 4, 0.1194), ("fred_md", 12, 0.1222),
            )
        ),
    ],
)  # fmt: skip
def test_the_baseline_on_whole_folders(name, lag, crps):
    folder = load_folder(SERIES / name)
    assert folder.test is not None
    assert folder.prediction_length is not None
    test = split_windows(folder.test, folder.prediction_length).test
    assert lag in candidate_seasons(folder.freq)
    assert evaluate(seasonal_naive(test, lag), test).crps == pytest.approx(crps, abs=6e-5)


def test_the_baseline_repeats_the_season_and_bridges_gaps():
    start = pd.Period("2024-01-01", freq="D")
    past = {"item_id": "a", "start": start, "target": np.array([1, 2, 3, np.nan, 5, 6], dtype=np.float32)}
    label = {"item_id": "a", "start": start + 6, "target": np.array([3.0, 5, 6, 3], dtype=np.float32)}
    forecast = seasonal_naive([(past, label)], 3)[0]
    np.testing.assert_array_equal(forecast.samples, [[3, 5, 6, 3]])
    assert (forecast.start_date, forecast.item_id) == (start + 6, "a")
    assert np.isnan(past["target"][3])
    assert evaluate([forecast], [(past, label)], seasonality=3).crps == 0
    assert best_seasonal_naive([(past, label)], (1, 3))[0] == 3


def test_a_season_that_no_series_is_as_long_as_is_not_taken_for_one():
    """It was the mean of the history, by the name of a season."""
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", freq="D"), "target": np.resize([0.0, 2.0], 40)}
    label = {**entry, "start": entry["start"] + 40, "target": np.ones(4)}
    assert best_seasonal_naive([(entry, label)], (7, 365))[0] == 7
    assert best_seasonal_naive([(entry, label)], (365,))[0] == 365


def test_what_cannot_be_forecast_is_refused():
    pairs, _ = make_windows()
    with pytest.raises(DataError, match="no test window"):
        seasonal_naive([], 24)
    with pytest.raises(ConfigError, match="lag=0: need"):
        seasonal_naive(pairs, 0)
    with pytest.raises(ConfigError, match="lags is empty"):
        best_seasonal_naive(pairs, ())
    pairs[2][0]["target"][:] = np.nan
    with pytest.raises(DataError, match="'s2' has no observed value"):
        seasonal_naive(pairs, 24)


# --- tables ------------------------------------------------------------------------------------------------


def test_scores_as_markdown_and_on_the_terminal():
    rows = {"model": Metrics(0.05, 0.06, 0.1, 0.8, 0.48, 0.91), "naive": Metrics(0.07, 0.07, 0.2, math.nan, 0.0, 0.0)}
    lines = metrics_table(rows).splitlines()
    assert lines[0].split(" | ")[:2] == ["| method", "CRPS"]
    assert lines[2] == "| model | 0.0500 | 0.0600 | 0.1000 | 0.8000 | 48.0 % | 91.0 % |"
    assert lines[3].split(" | ")[4] == "–"
    assert len({line.count("|") for line in lines}) == 1
    printed = io.StringIO()
    Console(width=100, file=printed).print(rich_metrics_table(rows, title="Scores"))
    assert "0.0500" in printed.getvalue()


def test_forecasts_as_a_table(tmp_path):
    _, forecasts = make_windows(count=2)
    frame = forecasts_to_frame(forecasts, (0.05, 0.5, 0.95))
    assert frame.columns.tolist() == ["item_id", "timestamp", "mean", "0.05", "0.5", "0.95"]
    assert frame.index.tolist() == list(range(2 * HORIZON))
    second = frame[frame["item_id"] == "s1"]
    assert second["timestamp"].tolist() == pd.date_range("2024-01-03 12:00", periods=HORIZON, freq="h").tolist()
    np.testing.assert_array_equal(second["0.95"], forecasts[1].quantile(0.95))
    np.testing.assert_array_equal(second["mean"], forecasts[1].mean)
    frame.to_csv(tmp_path / "forecasts.csv", index=False)
    assert pd.read_csv(tmp_path / "forecasts.csv").shape == frame.shape
    assert forecasts_to_frame([]).columns.tolist()[:3] == ["item_id", "timestamp", "mean"]
    with pytest.raises(ConfigError, match=r"quantile_levels=\(1\.5,\): need"):
        forecasts_to_frame(forecasts, (1.5,))


def test_month_ends_come_back_as_month_ends():
    forecast = SampleForecast(np.ones((1, 3)), pd.Period("2024-01", freq="M"), item_id="a")
    stamps = forecasts_to_frame([forecast], stamp="end")["timestamp"]
    assert stamps.tolist() == list(pd.to_datetime(["2024-01-31", "2024-02-29", "2024-03-31"]))
