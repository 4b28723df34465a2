"""Baselines by name: seasonal naive, linear, AutoETS, and GluonTS's networks within a limit."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.model.forecast import QuantileForecast, SampleForecast
from gluonts.model.predictor import Predictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator
from lightning.pytorch.callbacks import Callback
from sklearn.linear_model import Ridge

from benchmarks.sets import load
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import sines
from tsdiff.baselines import BASELINE_NAMES, BASELINES, train_baseline
from tsdiff.baselines.base import SamplePredictor
from tsdiff.data import split_windows
from tsdiff.evaluation.metrics import evaluate, seasonal_naive

HORIZON, CONTEXT = 8, 24
SMALL: dict[str, dict[str, Any]] = {
    "auto_ets": {"season": 8},
    "deepar": {"hidden_size": 8, "num_layers": 1, "lags_seq": [1, 2, 8, 16]},
    "patchtst": {"d_model": 8, "nhead": 2, "num_encoder_layers": 1, "patch_len": 8},
    "transformer": {"d_model": 8, "nhead": 2, "num_encoder_layers": 1, "lags_seq": [1, 2, 8, 16]},
}

NETWORKS = ("deepar", "patchtst", "transformer")


def train(name: Any, dataset=None, *, samples: int = 20, steps: int | None = 3, **options) -> Predictor:
    options = {**(SMALL.get(name, {}) if isinstance(name, str) else {}), "max_steps": steps, **options}
    return train_baseline(name, dataset or sines(), "h", HORIZON, CONTEXT, num_samples=samples, **options)


@pytest.mark.parametrize("name", BASELINE_NAMES)
def test_every_baseline_forecasts_samples_in_order_and_again_the_same(name):
    if name == "auto_ets":
        pytest.importorskip("statsforecast")
    data = sines()
    data[1]["target"][50:60] = np.nan
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    predictor = train(name, data)
    first = list(predictor.predict(data))
    assert [f.item_id for f in first] == ["s0", "s1", "s2"]
    assert [f.start_date for f in first] == [e["start"] + 200 for e in data]
    assert all(isinstance(f, SampleForecast) and f.samples.shape == (20, HORIZON) for f in first)
    assert all(f.samples.shape == (7, HORIZON) for f in predictor.predict(data, num_samples=7))
    again = list(train(name, data).predict(data))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
    assert torch.equal(torch.random.get_rng_state(), state[0])
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("freq", "horizon", "context"),
    [("h", 24, {"deepar": 48, "patchtst": 336, "transformer": 24}), ("M", 12, {"deepar": 24, "patchtst": 60})],
)
def test_contexts_are_seasons_or_horizons_as_documented(freq, horizon, context):
    """docs/baselines.md: PatchTST looks back two weeks of hours, or else five horizons."""
    series = [{"start": pd.Period("2020-01-01", freq=freq), "target": np.arange(500.0, dtype=np.float32)}]
    for name, steps in context.items():
        trained = train_baseline(name, series, freq, horizon, max_steps=1)
        network = trained.inner.prediction_net.model
        assert network.context_length == steps


def test_gradients_are_the_callers_business_between_two_forecasts():
    for _ in train("deepar").predict(sines()):
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["deepar", *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[1:])])
def test_networks_learn_and_leave_settings_and_data_alone(name):
    data = sines(length=240)
    split = split_windows(data, HORIZON)
    before = [entry["target"].copy() for entry in data]
    wide = {"hidden_size": 16} if name == "deepar" else {"d_model": 16}
    predictor = train(name, split.train, steps=80, samples=100, lr=1e-2, **wide)
    metrics = evaluate(predictor.predict(split.test.input), split.test)
    guess = evaluate(train(name, split.train, steps=1, lr=1e-2, **wide).predict(split.test.input), split.test)
    assert metrics.crps < 0.5 * guess.crps
    for entry, target in zip(data, before, strict=True):
        np.testing.assert_array_equal(entry["target"], target)


def test_training_ends_when_its_time_is_up():
    started = time.process_time()
    predictor = train("patchtst", steps=None, cpu_minutes=0.01)
    assert 0.6 <= time.process_time() - started < 20
    assert np.isfinite(next(iter(predictor.predict(sines()))).samples).all()


def test_seeds_differ():
    one, other = (next(iter(train("patchtst", seed=seed).predict(sines()))).samples for seed in (0, 1))
    assert not np.array_equal(one, other)


# --- linear ------------------------------------------------------------------------------------------------


def test_linear_is_the_ridge_regression_of_scaled_windows():
    rng = np.random.default_rng(0)
    data = [{"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": rng.normal(5, 1, 90).astype(np.float32)}]
    target = data[0]["target"].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(target, CONTEXT + HORIZON)
    scale = np.abs(windows[:, :CONTEXT]).mean(axis=1, keepdims=True)
    ridge = Ridge(alpha=1.0).fit(windows[:, :CONTEXT] / scale, windows[:, CONTEXT:] / scale)
    last = target[-CONTEXT:]
    wanted = ridge.predict(last[None] / np.abs(last).mean())[0] * np.abs(last).mean()
    forecast = next(iter(train("linear", data).predict(data)))
    np.testing.assert_allclose(forecast.samples, np.tile(wanted, (20, 1)), rtol=1e-5)


def test_linear_continues_sines_exactly_whatever_their_scale_and_offset():
    data = sines(length=400)
    split = split_windows(data, HORIZON)
    for factor in (1e-6, -1.0, 1e12):
        scaled = [{**e, "target": (e["target"] * factor).astype(np.float32)} for e in data]
        split = split_windows(scaled, HORIZON)
        metrics = evaluate(train("linear", split.train).predict(split.test.input), split.test)
        assert metrics.nd < 0.01


def test_linear_takes_a_shorter_context_where_no_series_holds_four_horizons_and_one():
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", freq="D")}
    for length in (35, 34, 8):
        short = [{**entry, "target": np.arange(length) % 7 + 1.0}]
        made = next(iter(train_baseline("linear", short, "D", 7).predict(short)))
        assert np.isfinite(made.samples).all()
    with pytest.raises(DataError, match=r"no series holds a training window of 1 [+] 7 steps"):
        train_baseline("linear", [{**entry, "target": np.ones(7)}], "D", 7)


def test_linear_draws_windows_where_there_are_many_and_can_take_scaled_series():
    data = sines(length=500)
    predictor = train("linear", data, windows=100)
    assert isinstance(predictor, SamplePredictor)
    assert predictor.inner.weight.shape == (HORIZON, CONTEXT)
    plain = train("linear", data, scaling=False, penalty=0.0)
    target = np.asarray(data[0]["target"], dtype=np.float64)
    wanted = plain.inner.weight @ target[-CONTEXT:] + plain.inner.bias
    np.testing.assert_allclose(next(iter(plain.predict(data))).samples[0], wanted, rtol=1e-5)


def test_linear_forecasts_short_constant_and_zero_histories():
    predictor = train("linear")
    start = pd.Period("2024-01-01", "h")
    for target in (np.full(40, 3.0), np.zeros(40), np.array([2.0]), np.array([np.nan, 1.0, np.nan])):
        entry = {"item_id": "x", "start": start, "target": target.astype(np.float32)}
        assert np.isfinite(next(iter(predictor.predict([entry]))).samples).all()


# --- seasonal naive and AutoETS ----------------------------------------------------------------------------


def test_seasonal_naive_is_that_of_the_evaluation_repeated():
    test = split_windows(sines(), HORIZON).test
    ours = train("seasonal_naive", lag=8).predict(test.input)
    for forecast, wanted in zip(ours, seasonal_naive(test, 8), strict=True):
        np.testing.assert_array_equal(forecast.samples, np.repeat(wanted.samples, 20, axis=0))


def test_auto_ets_of_a_random_walk_spreads_as_its_theory_says():
    pytest.importorskip("statsforecast")
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 2.0, 600)
    data = [
        {"item_id": "w", "start": pd.Period("2024-01-01", "D"), "target": (1e3 + steps.cumsum()).astype(np.float32)}
    ]
    predictor = train_baseline("auto_ets", data, "D", 16, num_samples=999, season=1)
    samples = next(iter(predictor.predict(data))).samples
    np.testing.assert_allclose(samples.mean(axis=0), data[0]["target"][-1], atol=3.0)
    assert (np.diff(samples, axis=0) >= 0).all()
    np.testing.assert_allclose(samples.std(axis=0), steps.std() * np.sqrt(np.arange(1, 17)), rtol=0.15)


def test_auto_ets_keeps_a_trend():
    pytest.importorskip("statsforecast")
    t = np.arange(200.0)
    noise = np.random.default_rng(0).normal(0, 1, 200)
    data = [{"item_id": "t", "start": pd.Period("2024-01-01", "D"), "target": (100 + 5 * t + noise).astype(np.float32)}]
    predictor = train_baseline("auto_ets", data, "D", 10, num_samples=99, season=1)
    median = next(iter(predictor.predict(data))).quantile(0.5)
    np.testing.assert_allclose(median, 100 + 5 * np.arange(200, 210), rtol=5e-3)


def test_auto_ets_takes_whatever_history_there_is():
    pytest.importorskip("statsforecast")
    predictor = train("auto_ets", max_history=100)
    start = pd.Period("2024-01-01", "h")
    gaps = sines(1)[0]["target"].copy()
    gaps[[0, 50, 199]] = np.nan
    usual = (np.ones(1), np.full(30, -2.0), np.zeros(9), np.arange(1.0, 4.0), np.arange(6.0), gaps, 1e12 * gaps)
    medians = []
    for target in usual:
        entry = {"item_id": "x", "start": start, "target": target.astype(np.float32)}
        forecast = next(iter(predictor.predict([entry])))
        assert np.isfinite(forecast.samples).all()
        medians.append(np.median(forecast.samples, axis=0))
    for median, value in zip(medians, (1.0, -2.0, 0.0), strict=False):
        np.testing.assert_allclose(median, value, atol=1e-3)
    np.testing.assert_allclose(medians[-1], 1e12 * medians[-2], rtol=0.05)


@pytest.mark.slow
def test_the_measured_numbers_of_auto_ets(shared_data):
    pytest.importorskip("statsforecast")
    loaded = load("exchange_rate_nips", shared_data)
    predictor = train_baseline("auto_ets", loaded.train, loaded.freq, 30, max_history=200)
    # .0077 on an Intel Xeon, .0070 on an AMD EPYC: the optimiser of statsforecast ends elsewhere.
    assert evaluate(predictor.predict(loaded.test.input), loaded.test).crps == pytest.approx(0.0074, abs=8e-4)


# --- what is refused ---------------------------------------------------------------------------------------


def test_quantile_forecasts_become_samples_with_those_quantiles():
    class Quantiles(Predictor):
        def predict(self, dataset, **kwargs):
            for entry in dataset:
                keys = ["0.1", "0.5", "0.9"]
                values = np.array([[1.0] * HORIZON, [2.0] * HORIZON, [4.0] * HORIZON])
                yield QuantileForecast(values, entry["start"] + len(entry["target"]), keys, item_id=entry["item_id"])

    forecast = next(iter(SamplePredictor(Quantiles(HORIZON), 99).predict(sines())))
    for level, value in ((0.1, 1.0), (0.5, 2.0), (0.9, 4.0)):
        assert forecast.quantile(level) == pytest.approx([value] * HORIZON, abs=0.1)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ConfigError, match=r"'deeper'.*deepar"):
        train("deeper")
    with pytest.raises(ConfigError, match=r"deepar does not take these settings .*penalty"):
        train("deepar", penalty=1.0)
    for options, message in (({"samples": 0}, "num_samples=0: need"), ({"cpu_minutes": 0}, "cpu_minutes=0: need")):
        with pytest.raises(ConfigError, match=message):
            train("linear", **options)
    with pytest.raises(ConfigError, match="prediction_length=0: need"):
        train_baseline("linear", sines(), "h", 0)
    with pytest.raises(ConfigError, match="d_model 6 is not a multiple of nhead 4"):
        train("patchtst", d_model=6, nhead=4)
    with pytest.raises(ConfigError, match="patch_len is 48, longer than the context of 24"):
        train("patchtst", patch_len=48)
    for name, setting in (("linear", {"penalty": -1.0}), ("linear", {"windows": 0}), ("linear", {"lag": 3})):
        with pytest.raises(ConfigError):
            train(name, **setting)
    assert train("linear", penalty=0.0, windows=1).inner.weight.shape == (HORIZON, CONTEXT)
    with pytest.raises(ConfigError, match="lag=0: need"):
        train("seasonal_naive", lag=0)
    with pytest.raises(ConfigError, match="max_history=0: need"):
        train("auto_ets", max_history=0)
    with pytest.raises(DataError, match=r"24 \+ 8 steps; the longest has 30"):
        train("linear", sines(length=30))
    with pytest.raises(DataError, match="no series is longer than the horizon of 8 steps"):
        train("patchtst", sines(length=8))
    with pytest.raises(DataError, match=r"no usable series|no series"):
        train("linear", [{**sines(1)[0], "target": np.full(90, np.nan)}])
    predictor = train("seasonal_naive")
    with pytest.raises(ConfigError, match="does not take foo"):
        predictor.predict(sines(), foo=1)
    with pytest.raises(ConfigError, match="num_samples=0"):
        predictor.predict(sines(), num_samples=0)
    with pytest.raises(DataError, match=r"'s0' holds no observed value"):
        list(predictor.predict([{**sines(1)[0], "target": np.full(9, np.nan)}]))


def test_a_linear_forecast_without_a_value_in_its_context_goes_on_from_the_last_before():
    """It ended the forecasts of all other series."""
    (level,) = sines(1)
    level["target"] = np.concatenate([level["target"], np.full(60, 7.0), np.full(50, np.nan)])
    known = {**level, "target": np.full(60, 7.0)}
    predictor = train("linear")
    made, wanted = (next(predictor.predict([one])).samples for one in (level, known))
    np.testing.assert_allclose(made, wanted, rtol=1e-5)


def test_defaults_are_listed_by_name():
    assert tuple(BASELINES) == BASELINE_NAMES


# --- forecasters of GluonTS's that are passed in ------------------------------------------------------------


def feedforward(**trainer: Any) -> SimpleFeedForwardEstimator:
    trainer = {"max_epochs": 2, "enable_progress_bar": False, **trainer}
    return SimpleFeedForwardEstimator(HORIZON, CONTEXT, hidden_dimensions=[8], trainer_kwargs=trainer)


@pytest.mark.slow
def test_any_estimator_is_trained_as_it_says_or_within_the_limit_and_stays_as_it_was():
    estimator, steps = feedforward(), []

    class Count(Callback):
        def on_train_batch_end(self, trainer, *_):
            steps.append(trainer.global_step)

    estimator.trainer_kwargs["callbacks"] = [Count()]
    before = dict(estimator.trainer_kwargs)
    first, again = (list(train(estimator, steps=3).predict(sines())) for _ in range(2))
    assert estimator.trainer_kwargs == before
    assert steps == [1, 2, 3] * 2
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
    steps.clear()
    train(estimator, steps=None)
    assert len(steps) == 2 * 50  # its own epochs, of GluonTS's number of batches


def test_any_predictor_gives_samples_and_what_does_not_fit_is_refused():
    naive = SeasonalNaivePredictor(HORIZON, season_length=8)
    for ours, named in zip(train(naive).predict(sines()), train("seasonal_naive", lag=8).predict(sines()), strict=True):
        np.testing.assert_array_equal(ours.samples, named.samples)
    with pytest.raises(ConfigError, match="SeasonalNaivePredictor forecasts 3 steps, not 8"):
        train(SeasonalNaivePredictor(3, season_length=8))
    with pytest.raises(ConfigError, match="lag: give them to your SeasonalNaivePredictor"):
        train(naive, lag=8)
