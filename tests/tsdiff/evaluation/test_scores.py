"""The paper's CRPS through GluonTS, multivariate and joint scores, and tables over seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.ev.metrics import MASE, ND, NRMSE
from gluonts.model.evaluation import evaluate_model
from gluonts.model.forecast import QuantileForecast, SampleForecast
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import HORIZON, sines
from tsdiff.data import split
from tsdiff.evaluation.joint import energy_scores, joint_metrics
from tsdiff.evaluation.metrics import CRPS_LEVELS, Metrics, crps, evaluate
from tsdiff.evaluation.tables import Result, results_frame, results_markdown, summary, write_results

START = pd.Period("2024-01-01", "h")


def test_gluonts_evaluate_model_gives_our_numbers(trained):
    entries = sines()
    entries[1]["target"][-3] = np.nan  # an actual value that is missing
    test = split(entries, HORIZON, 2).test
    ours = evaluate(trained.predict(test.input), test, seasonality=3)
    metrics = [crps(), ND(), NRMSE(), MASE()]
    theirs = evaluate_model(trained, test_data=test, metrics=metrics, seasonality=3).iloc[0]
    for value, name in (
        (ours.crps, "mean_weighted_sum_quantile_loss"), (ours.nd, "ND[0.5]"), (ours.nrmse, "NRMSE[mean]"),
        (ours.mase, "MASE[0.5]"),
    ):  # fmt: skip
        assert value == pytest.approx(theirs[name], rel=1e-5)


def test_crps_is_the_formula_of_the_paper():
    rng = np.random.default_rng(0)
    samples, actual = rng.normal(size=(3, 50, 6)), rng.normal(size=(3, 6))
    pairs, forecasts, losses = [], [], []
    for draws, truth in zip(samples, actual, strict=True):
        pairs.append(({"start": START, "target": rng.normal(size=30)}, {"start": START + 30, "target": truth}))
        forecasts.append(SampleForecast(draws, START + 30))
    for level in CRPS_LEVELS:
        total = 0.0
        for forecast, truth in zip(forecasts, actual, strict=True):
            error = truth - forecast.quantile(level)
            total += 2 * np.maximum(level * error, (level - 1) * error).sum()
        losses.append(total / np.abs(actual).sum())
    assert evaluate(forecasts, pairs).crps == pytest.approx(np.mean(losses), rel=1e-9)


def multivariate(seed: int, windows: int = 3, channels: int = 2, draws: int = 20):
    """Pairs and sample forecasts, with a missing actual value in the first window."""
    rng = np.random.default_rng(seed)
    pairs, forecasts = [], []
    for place in range(windows):
        actual = rng.normal(size=(channels, 4))
        if place == 0:
            actual[0, 2] = np.nan
        past = {"item_id": str(place), "start": START, "target": rng.normal(size=(channels, 40))}
        pairs.append((past, {"item_id": str(place), "start": START + 40, "target": actual}))
        forecasts.append(SampleForecast(rng.normal(size=(draws, 4, channels)), START + 40, str(place)))
    return forecasts, pairs


def test_channels_count_as_series():
    forecasts, pairs = multivariate(1)
    alone, singles = [], []
    for forecast, (past, label) in zip(forecasts, pairs, strict=True):
        for channel in range(2):
            alone.append(SampleForecast(forecast.samples[..., channel], forecast.start_date, forecast.item_id))
            singles.append((past | {"target": past["target"][channel]}, label | {"target": label["target"][channel]}))
    together = evaluate(forecasts, pairs)
    assert together == evaluate(alone, singles)
    assert together.notes == ("1 of 24 actual values are missing and left out",)
    with pytest.raises(DataError, match=r"has shape \(4, 2\), the actual values \(3, 4\)"):
        evaluate(forecasts, [(past, label | {"target": np.ones((3, 4))}) for past, label in pairs])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100), channels=st.integers(1, 4))
def test_the_energy_score_is_its_definition_scales_and_is_crps_in_one_dimension(seed, factor, channels):
    rng = np.random.default_rng(seed)
    samples, actual = rng.normal(size=(7, 3, channels)), rng.normal(size=(3, channels))
    found = energy_scores(samples, actual)
    for step in range(3):
        x, y = samples[:, step], actual[step]
        pairs = np.mean([np.linalg.norm(a - b) for a in x for b in x])
        assert found[step] == pytest.approx(np.mean([np.linalg.norm(a - y) for a in x]) - pairs / 2)
    np.testing.assert_allclose(energy_scores(factor * samples, factor * actual), factor * found)
    turned, _ = np.linalg.qr(rng.normal(size=(channels, channels)))
    np.testing.assert_allclose(energy_scores(samples @ turned, actual @ turned), found)


def test_the_energy_score_of_gaussian_samples_is_its_closed_form():
    # CRPS of N(0, 1) at y = 0 (Gneiting & Raftery 2007, eq. 5): 2φ(0) − 1/√π.
    draws = np.random.default_rng(0).normal(size=(4000, 1, 1))
    wanted = 2 / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi)
    assert energy_scores(draws, np.zeros((1, 1)))[0] == pytest.approx(wanted, abs=0.02)


def test_joint_metrics_are_of_the_sum_and_of_whole_steps():
    forecasts, pairs = multivariate(2)
    found = joint_metrics(forecasts, pairs)
    sums = [SampleForecast(f.samples.sum(axis=2), f.start_date, f.item_id) for f in forecasts]
    labels = [(p | {"target": p["target"].sum(axis=0)}, a | {"target": a["target"].sum(axis=0)}) for p, a in pairs]
    assert found.crps_sum == pytest.approx(evaluate(sums, labels).crps)
    steps = [energy_scores(f.samples, a["target"].T) for f, (_, a) in zip(forecasts, pairs, strict=True)]
    assert found.energy_score == pytest.approx(np.nanmean(np.concatenate(steps)))
    assert found.notes == ("1 step with a missing channel left out",)


def test_joint_metrics_refuse_what_has_no_joint_samples():
    forecasts, pairs = multivariate(3)
    with pytest.raises(DataError, match="joint scores need samples"):
        joint_metrics([f.copy_dim(0) for f in forecasts], [(p, a | {"target": a["target"][0]}) for p, a in pairs])
    quantiles = [QuantileForecast(f.samples[:2], f.start_date, ["0.5", "mean"], f.item_id) for f in forecasts]
    with pytest.raises(DataError, match="joint scores need samples"):
        joint_metrics(quantiles, pairs)
    forecasts[1].samples[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        joint_metrics(forecasts, pairs)


def result(dataset: str, method: str, seed: int | None, value: float) -> Result:
    return Result(dataset, method, seed, Metrics(value, 2 * value, 3 * value, float("nan"), 0.5, 0.9), 1.0, 2.0, 16)


def test_tables_over_seeds(tmp_path: Path):
    results = [result("b", "TSDiff", seed, value) for seed, value in ((0, 0.1), (1, 0.4), (2, 0.2))]
    results.append(result("b", "naive", None, 0.5))
    found = summary(results)
    assert list(found.index) == [("b", "TSDiff"), ("b", "naive")]
    row = found.loc[("b", "TSDiff")]
    assert row["crps", "median"] == 0.2
    assert row["crps", "mean"] == pytest.approx(0.7 / 3)
    assert row["crps", "std"] == pytest.approx(np.std([0.1, 0.4, 0.2], ddof=1))
    assert row["seeds", "count"] == 3
    assert np.isnan(found.loc[("b", "naive")]["crps", "std"])
    write_results(tmp_path, results, "Test")
    read = pd.read_csv(tmp_path / "results.csv")
    assert read["crps"].tolist() == [0.1, 0.4, 0.2, 0.5]
    assert read["seed"].tolist()[:3] == [0, 1, 2]
    text = (tmp_path / "results.md").read_text()
    assert text == f"# Test\n\n{results_markdown(results)}"
    assert "| b | TSDiff | 3 | 0.2000 | 0.2333 ± 0.1528 |" in text
    assert "| b | naive | 1 | 0.5000 | 0.5000 |" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith(("| dataset", "| b |"))}
    assert len(widths) == 2  # each of the two tables is whole
    json.dumps(results_frame(results)["crps"].tolist())
    with pytest.raises(ConfigError, match="no results"):
        write_results(tmp_path, [])
