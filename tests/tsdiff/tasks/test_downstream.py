"""What windows are worth to a forecaster: the Linear Predictive Score, and training on synthetic data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from shared.errors import ConfigError, DataError
from tests.tsdiff.tasks.test_realism import ar1
from tsdiff.data import split_windows
from tsdiff.tasks.synthesis import (
    downstream_frame,
    gaussian,
    linear_predictive_score,
    real_windows,
    train_on_synthetic,
)
from tsdiff.tasks.synthesis.downstream import ScaledForecaster, _linear

HORIZON, CONTEXT = 4, 12
START = pd.Period("2024-01-01", freq="h")


def series(values: np.ndarray) -> list[dict[str, object]]:
    return [{"item_id": f"s{k}", "start": START, "target": row.astype(np.float32)} for k, row in enumerate(values)]


@pytest.fixture(scope="module")
def split():
    return split_windows(series(10.0 + ar1(12, 300, 0.9)), HORIZON, windows=2)


@pytest.fixture(scope="module")
def real(split):
    return real_windows(split.train, CONTEXT + HORIZON, 200)


def closed_form(windows: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression with a free bias, from the normal equations."""
    x, y = windows[:, :-HORIZON], windows[:, -HORIZON:]
    centred_x, centred_y = x - x.mean(axis=0), y - y.mean(axis=0)
    weight = np.linalg.solve(centred_x.T @ centred_x + penalty * np.eye(x.shape[1]), centred_x.T @ centred_y).T
    return weight, y.mean(axis=0) - weight @ x.mean(axis=0)


# --- the linear model --------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.0, 1.0, 30.0])
def test_the_fit_is_the_closed_form_and_scikit_learns(penalty):
    windows = 1.0 + ar1(80, CONTEXT + HORIZON, 0.8)
    model = _linear(windows, HORIZON, penalty).inner
    weight, bias = closed_form(windows, penalty)
    np.testing.assert_allclose(model.weight, weight, atol=1e-5)  # windows are single precision
    np.testing.assert_allclose(model.bias, bias, atol=1e-5)
    ridge = Ridge(alpha=penalty).fit(windows[:, :CONTEXT], windows[:, CONTEXT:])
    np.testing.assert_allclose(model.weight, ridge.coef_, atol=1e-5)


@pytest.mark.slow
def test_ar1_gives_its_conditional_mean():
    windows = ar1(8000, CONTEXT + HORIZON, 0.8)
    model = _linear(windows, HORIZON).inner
    wanted = np.zeros((HORIZON, CONTEXT))
    wanted[:, -1] = 0.8 ** np.arange(1, HORIZON + 1)
    np.testing.assert_allclose(model.weight, wanted, atol=0.06)


def test_one_step_horizons_work():
    model = _linear(ar1(50, 9, 0.8), 1)
    (forecast,) = model.predict(series(ar1(1, 20, 0.8)), num_samples=1)
    assert forecast.samples.shape == (1, 1)
    assert forecast.start_date == START + 20


# --- the score ---------------------------------------------------------------------------------------------


def by_hand(windows: np.ndarray, pairs: list, penalty: float = 1.0) -> float:
    weight, bias = closed_form(windows, penalty)
    error = total = 0.0
    for past, label in pairs:
        context = past["target"][-CONTEXT:].astype(np.float64)
        scale = np.abs(context).mean()
        error += np.abs(label["target"] - scale * (weight @ (context / scale) + bias)).sum()
        total += np.abs(label["target"]).sum()
    return error / total


def test_the_score_is_the_normalised_deviation_of_ridge_on_scaled_windows(split, real):
    score = linear_predictive_score(real, split.test, HORIZON)
    values = np.stack([w["target"] for w in real]).astype(np.float64)
    scaled = values / np.abs(values[:, :CONTEXT]).mean(axis=1, keepdims=True)
    wanted = by_hand(scaled, list(split.test))
    assert score.nd == pytest.approx(wanted, rel=1e-4)
    assert score.crps == pytest.approx(score.nd, rel=1e-6)  # of a point forecast, over levels that are symmetric


def test_windows_that_are_scaled_are_taken_as_they_are(split):
    windows = 1.0 + 0.1 * ar1(100, CONTEXT + HORIZON, 0.9, seed=5)
    score = linear_predictive_score(windows, split.test, HORIZON, scaled=True, penalty=3.0)
    assert score.nd == pytest.approx(by_hand(windows, list(split.test), 3.0), rel=1e-4)


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(factor=st.floats(1e-6, 1e6))
def test_the_score_does_not_depend_on_units(split, real, factor):
    scaled = [{**w, "target": w["target"].astype(np.float64) * factor} for w in real]
    test = [({**p, "target": p["target"] * factor}, {**l, "target": l["target"] * factor}) for p, l in split.test]
    score = linear_predictive_score(scaled, test, HORIZON)
    assert score.nd == pytest.approx(linear_predictive_score(real, split.test, HORIZON).nd, rel=1e-3)


def test_longer_windows_serve_with_their_ends(split, real):
    longer = [{**w, "target": np.concatenate([np.full(7, 1e3), w["target"]])} for w in real]
    score = linear_predictive_score(longer, split.test, HORIZON, CONTEXT)
    assert score.crps == linear_predictive_score(real, split.test, HORIZON).crps


def test_what_follows_exactly_is_forecast_exactly():
    values = 5.0 + np.sin(2 * np.pi * np.arange(400)[None] / 12 + np.arange(8)[:, None])
    split = split_windows(series(values), HORIZON)
    windows = real_windows(split.train, CONTEXT + HORIZON, 300)
    assert linear_predictive_score(windows, split.test, HORIZON, penalty=1e-6).crps < 1e-3


def test_gaussian_surrogates_are_as_good_and_noise_is_not(split, real):
    """The score sees second moments alone."""
    score = linear_predictive_score(real, split.test, HORIZON).crps
    same = linear_predictive_score(gaussian(real, context_length=CONTEXT), split.test, HORIZON).crps
    noise = linear_predictive_score(10 + ar1(200, CONTEXT + HORIZON, 0.0), split.test, HORIZON).crps
    assert same < 1.05 * score
    assert noise > 1.1 * score


def test_histories_that_are_short_or_have_gaps_are_filled(real):
    past = [
        {"item_id": "short", "start": START, "target": np.array([5.0, 6.0], dtype=np.float32)},
        {"item_id": "gaps", "start": START, "target": np.array([4.0, np.nan] * 10 + [4.0], dtype=np.float32)},
        {"item_id": "zeros", "start": START, "target": np.zeros(20, dtype=np.float32)},
    ]
    labels = [{**p, "start": p["start"] + len(p["target"]), "target": np.ones(HORIZON)} for p in past]
    score = linear_predictive_score(real, list(zip(past, labels, strict=True)), HORIZON)
    assert np.isfinite(score.crps)


def test_a_history_without_a_value_in_the_context_goes_on_from_the_last_one_before(real):
    target = np.array([3.0, 8.0] + [np.nan] * 30)
    past = {"item_id": "shut", "start": START, "target": target}
    label = {**past, "start": START + len(target), "target": np.full(HORIZON, 8.0)}
    assert linear_predictive_score(real, [(past, label)], HORIZON).nd < 0.2
    echo = Echo()
    list(ScaledForecaster(echo, CONTEXT).predict([past]))
    np.testing.assert_array_equal(echo.seen[0]["target"], [1.0] + [np.nan] * (CONTEXT - 1))
    np.testing.assert_array_equal(past["target"], target)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prediction_length": 16}, DataError, "the windows have 16 steps; a context of 1 and a horizon of 16 need 17"),
        ({"context_length": 13}, DataError, "have 16 steps; a context of 13 and a horizon of 4 need 17"),
        ({"context_length": 0}, ConfigError, "context_length=0"),
        ({"prediction_length": 0}, ConfigError, "prediction_length=0"),
        ({"prediction_length": 5}, DataError, r"has shape \(4,\), the windows' horizon is 5"),
        ({"penalty": -1.0}, ConfigError, "penalty=-1"),
        ({"test": []}, DataError, "no test window"),
        ({"windows": np.full((5, 16), np.nan)}, DataError, "5 of 5 windows hold values that are missing"),
        ({"windows": []}, DataError, "holds no window"),
    ],
)
def test_what_has_no_score_is_refused(split, real, change, error, message):
    arguments = {"windows": real, "test": split.test, "prediction_length": HORIZON, **change}
    with pytest.raises(error, match=message):
        linear_predictive_score(**arguments)


# --- train on synthetic, test on real ----------------------------------------------------------------------


def test_the_linear_row_is_the_score_and_real_comes_first(split, real):
    noise = [{**w, "target": 10.0 + row} for w, row in zip(real, ar1(200, CONTEXT + HORIZON, 0.0), strict=True)]
    rows = train_on_synthetic(real, {"copy": real, "noise": noise}, split.test, "h", HORIZON)
    assert [(row.model, row.trained_on) for row in rows] == [
        ("linear", "real"),
        ("linear", "copy"),
        ("linear", "noise"),
    ]
    assert rows[0].metrics == rows[1].metrics == linear_predictive_score(real, split.test, HORIZON)
    assert rows[2].metrics.crps > rows[0].metrics.crps
    frame = downstream_frame(rows)
    assert list(frame["trained_on"]) == ["real", "copy", "noise"]
    assert frame["crps"].iloc[0] == rows[0].metrics.crps


class Echo(Predictor):
    """Repeats the last value, and keeps what it was shown."""

    def __init__(self):
        super().__init__(prediction_length=HORIZON)
        self.seen = []

    def predict(self, dataset, num_samples=1):
        self.seen = list(dataset)  # all before the first forecast, as predictors that work in batches do
        for entry in self.seen:
            end = entry["start"] + len(entry["target"])
            yield SampleForecast(np.full((1, HORIZON), entry["target"][-1]), end, entry["item_id"])


def test_scaled_forecasters_see_the_scaled_context_and_answer_in_the_series_units():
    values = np.array([[1000.0] * 5 + [-4.0, 2.0] * 6, [1.0] * 5 + [3e6] * 12])
    echo = Echo()
    forecasts = list(ScaledForecaster(echo, CONTEXT).predict(series(values)))
    np.testing.assert_allclose(echo.seen[0]["target"], [-4 / 3, 2 / 3] * 6, rtol=1e-6)
    np.testing.assert_allclose(echo.seen[1]["target"], np.ones(CONTEXT))
    assert [entry["start"] for entry in echo.seen] == [START + 5] * 2
    np.testing.assert_allclose(forecasts[0].samples, [[2.0] * HORIZON], rtol=1e-6)
    np.testing.assert_allclose(forecasts[1].samples, [[3e6] * HORIZON])
    assert [(f.item_id, f.start_date) for f in forecasts] == [("s0", START + 17), ("s1", START + 17)]


@pytest.mark.parametrize("model", ["deepar", "transformer", "patchtst"])
def test_networks_train_on_either(split, real, model):
    """A few steps: which is better is a benchmark's business, that each sees its windows is tested here."""
    other = [{**w, "target": w["target"][::-1].copy()} for w in real]
    options = {"models": (model,), "max_steps": 2, "num_samples": 10}
    pairs = list(split.test)[:8]
    rows = train_on_synthetic(real, {"reversed": other}, pairs, "h", HORIZON, **options)
    assert [(row.model, row.trained_on) for row in rows] == [(model, "real"), (model, "reversed")]
    assert all(0 < row.metrics.crps < 1 for row in rows)
    assert rows[0].metrics != rows[1].metrics


@pytest.mark.parametrize(
    ("synthetic", "models", "error", "message"),
    [
        (slice(0, 100), ("linear",), DataError, r"few windows have shape \(100, 16\), the real ones \(200, 16\)"),
        (slice(None), (), ConfigError, "models is empty"),
        (
            slice(None),
            ("linear", "oracle"),
            ConfigError,
            "model 'oracle' is not trained on windows; take some of linear",
        ),
    ],
)
def test_unlike_sets_are_refused(split, real, synthetic, models, error, message):
    with pytest.raises(error, match=message):
        train_on_synthetic(real, {"few": real[synthetic]}, split.test, "h", HORIZON, models=models)
