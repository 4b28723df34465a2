"""Several channels, lags, covariates, categories, and what a conditional network is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import CONTEXT, HORIZON, tiny_estimator, windows_of
from tsdiff import TSDiff, TSDiffConfig, TSDiffPredictor
from tsdiff.model.backbones import S4Config, S4DConfig
from tsdiff.windows.conditioning import cut
from tsdiff.windows.missing import MissingContext
from tsdiff.windows.scales import Statistics
from tsdiff.windows.source import WindowSource

TINY = S4DConfig(patch=4, width=4, blocks=1, state=2)


def config(**more: Any) -> TSDiffConfig:
    return TSDiffConfig("h", 4, 8, **{"backbone": TINY, "calendar": "none", **more})


def numbered(length: int, channels: int = 1, **more: Any) -> dict[str, Any]:
    """Values that tell their channel and step."""
    target = 1000.0 * (1 + np.arange(channels))[:, None] + np.arange(length)
    return {"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": target.squeeze(), **more}


# --- channels and lags -------------------------------------------------------------------------------------


def test_a_training_window_holds_channels_then_lags_each_scaled_by_its_channel():
    made, lags = numbered(60, channels=2), (3, 20)
    source = WindowSource([made], config(channels=2, lags=lags), batch_size=300)
    batch = source.batch(np.random.default_rng(0))
    assert batch.x0.shape == (300, 12, 6)
    for window, mask, name in zip(batch.x0.numpy(), batch.mask.numpy(), batch.ids, strict=True):
        first = int(name.split(" from step ")[1])
        scale = np.abs(made["target"][:, first : first + 8]).mean(axis=1)
        for copy, lag in enumerate((0, *lags)):
            raw = cut(made["target"].T.astype(np.float32), first - lag, 12)
            seen = ~np.isnan(raw)
            part = slice(2 * copy, 2 * copy + 2)
            np.testing.assert_array_equal(mask[:, part], seen)
            np.testing.assert_allclose(window[:, part][seen], (raw / scale)[seen], rtol=1e-5)


def test_to_forecast_lags_are_observed_as_far_as_the_series_goes():
    found = windows_of(numbered(40), config(lags=(2, 24)), Statistics())
    observed = found.observed[0].numpy()
    np.testing.assert_array_equal(observed[:, 0], np.arange(12) < 8)
    np.testing.assert_array_equal(observed[:, 1], np.arange(12) < 10)
    np.testing.assert_array_equal(observed[:, 2], np.ones(12))
    np.testing.assert_allclose(found.to_series(found.values[..., :1].numpy())[0, :8, 0], 1000.0 + np.arange(32, 40))
    # A lag that is longer than the history is unobserved, and no error.
    short = windows_of(numbered(10), config(lags=(24,)), Statistics()).observed[0]
    assert not short[:8, 1].any()


def test_network_units_lead_back_for_each_channel():
    entry = numbered(30, channels=3)
    found = windows_of(entry, config(channels=3), Statistics(0.5, 2.0), first=10)
    np.testing.assert_allclose(found.to_series(found.values.numpy())[0], entry["target"][:, 10:22].T, rtol=1e-5)
    np.testing.assert_allclose(found.to_network(entry["target"][:, 10:22].T[None]), found.values.numpy(), rtol=1e-4)


@pytest.mark.slow
def test_forecasts_of_several_channels_have_them_last_and_in_their_units():
    t = np.arange(240)
    wave = 3 + np.sin(2 * np.pi * t / 8)
    entries = [
        {"item_id": f"{i}", "start": pd.Period("2024-01-01", "h"), "target": np.stack([wave, 100 * (i + 1) * wave])}
        for i in range(3)
    ]
    predictor = tiny_estimator(150, channels=2, calendar="none").train(entries, progress=False)
    for i, forecast in enumerate(predictor.predict(entries, num_samples=20)):
        assert forecast.samples.shape == (20, HORIZON, 2)
        np.testing.assert_allclose(forecast.mean.mean(axis=0), [3, 300 * (i + 1)], rtol=0.1)


def test_a_saved_model_of_channels_lags_and_features_forecasts_as_before(tmp_path):
    entries = [
        numbered(60, channels=2, feat_static_cat=[1], feat_static_real=[4.0], feat_dynamic_real=np.arange(68.0)[None])
    ]
    settings = {"channels": 2, "lags": (8,), "categories": (3,), "static_features": 1, "dynamic_features": 1}
    predictor = tiny_estimator(5, scale_feature=True, calendar="gluonts", **settings).train(entries, progress=False)
    predictor.serialize(tmp_path)
    again = TSDiffPredictor.deserialize(tmp_path)
    for one, other in zip(predictor.predict(entries, 3), again.predict(entries, 3), strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
    assert again.model.sample(2, like=entries[0]).shape == (2, CONTEXT + HORIZON, 2)


# --- covariates --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_covariate_known_in_the_future_is_used():
    """The series is its covariate plus noise: only who looks at the future of the covariate can forecast it."""
    rng = np.random.default_rng(0)
    entries = []
    for i in range(6):
        drive = np.repeat(rng.choice([1.0, 5.0], size=70), 4)[: 240 + HORIZON]
        target = 5 + drive[:240] + 0.1 * rng.normal(size=240)
        entry = {"item_id": f"s{i}", "start": pd.Period("2024-01-01", "h"), "target": target}
        entries.append({**entry, "feat_dynamic_real": drive[None]})
    predictor = tiny_estimator(200, dynamic_features=1, calendar="none").train(entries, progress=False)
    errors = [
        np.abs(forecast.mean - 5 - entry["feat_dynamic_real"][0, -HORIZON:]).mean()
        for forecast, entry in zip(predictor.predict(entries, num_samples=20), entries, strict=True)
    ]
    assert np.mean(errors) < 0.7  # ignoring it leaves 2
    with pytest.raises(DataError, match="feat_dynamic_real covers 240 steps, 248 are needed"):
        list(predictor.predict([{**entries[0], "feat_dynamic_real": entries[0]["feat_dynamic_real"][:, :240]}]))


def test_zeros_that_a_covariate_foretells_are_not_drawn_by_chance():
    """Sold is on promotion alone, seven a time; without the covariate such zeros come by chance."""
    rng = np.random.default_rng(0)
    entries = []
    for i in range(6):
        promotion = (rng.random(200 + HORIZON) < 0.3).astype(float)
        sold = np.where(promotion > 0, rng.poisson(6, len(promotion)) + 1.0, 0.0)[:200]
        entry = {"item_id": f"s{i}", "start": pd.Period("2024-01-01", "h"), "target": sold}
        entries.append({**entry, "feat_dynamic_real": promotion[None]})
    predictor = tiny_estimator(150, dynamic_features=1, calendar="none").train(entries, progress=False)
    predictor = predictor.with_sampling(counts=True)
    ahead = np.concatenate([one.samples.mean(axis=0) for one in predictor.predict(entries, num_samples=40)])
    promoted = np.concatenate([entry["feat_dynamic_real"][0, -HORIZON:] for entry in entries]) > 0
    gap = np.arange(200) % 10 == 5
    holed = [{**entry, "target": np.where(gap, np.nan, entry["target"])} for entry in entries]
    filled = np.concatenate([one.samples.mean(axis=0) for one in predictor.impute(holed, num_samples=10)])
    at_gaps = np.concatenate([entry["feat_dynamic_real"][0, :200][gap] for entry in entries]) > 0
    for means, known in ((ahead, promoted), (filled, at_gaps)):
        assert means[known].mean() > 5
        assert means[~known].mean() < 1


def test_features_come_in_their_order_and_standardised():
    entries = [
        numbered(40, feat_static_real=[5.0], feat_dynamic_real=10 + np.arange(40.0)[None]),
        numbered(40, feat_static_real=[7.0], feat_dynamic_real=10 + np.arange(40.0)[None]),
    ]
    cfg = config(static_features=1, dynamic_features=1, scale_feature=True, calendar="waves")
    source = WindowSource(entries, cfg, batch_size=50)
    statistics = source.measure(np.random.default_rng(0))
    assert statistics.feature_center == (6.0, 29.5)
    features = source.batch(np.random.default_rng(1)).condition["features"]
    assert features.shape == (50, 12, 2 + 4 + 1)
    assert set(features[..., 1].unique().tolist()) == {-1.0, 1.0}
    alone = windows_of(entries[1], cfg, statistics, first=5).inputs["features"][0]
    assert float(alone[0, 0]) == pytest.approx(np.log(1008.5), rel=1e-6)
    spread = np.arange(40).std()
    np.testing.assert_allclose(alone[:, -1], (10 + np.arange(5, 17) - 29.5) / spread, rtol=1e-5)


@pytest.mark.parametrize("backbone", [TINY, S4Config(width=4, blocks=1, state=4, step_embedding=8)])
def test_a_category_changes_the_answer_and_embeddings_learn(backbone):
    torch.manual_seed(0)
    model = TSDiff(config(categories=(3, 2), static_features=1, scale_feature=True, backbone=backbone)).train()
    torch.nn.init.normal_(model.denoiser.network.backbone.output.weight)
    entries = [numbered(30, feat_static_cat=[code, 1], feat_static_real=[0.0]) for code in (0, 2)]
    inputs = windows_of(entries, model.config, model.statistics).inputs
    out = model(torch.ones(2, 12, 1), torch.full((2,), 0.5), **inputs)
    assert not torch.allclose(out[0], out[1])
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.denoiser.network.inputs.parameters())


@pytest.mark.parametrize(
    ("changes", "entry", "message"),
    [
        ({"channels": 2}, numbered(30), r"target of shape \(30,\); it must be \(2, length\)"),
        ({"channels": 2}, numbered(30, 3), r"target of shape \(3, 30\); it must be \(2, length\)"),
        ({"dynamic_features": 1}, numbered(30), "has no feat_dynamic_real; this model needs 1"),
        ({"static_features": 2}, numbered(30, feat_static_real=[1.0]), r"feat_static_real has shape \(1,\)"),
        ({"static_features": 1}, numbered(30, feat_static_real=[np.nan]), "missing, infinite or too large"),
        ({"categories": (3,)}, numbered(30), r"feat_static_cat has shape \(0,\)"),
        ({"categories": (3,)}, numbered(30, feat_static_cat=[3]), "category 3 is not one of 0 … 2"),
        ({"categories": (3,)}, numbered(30, feat_static_cat=[0.5]), "category 0.5 is not one of"),
    ],
)
def test_entries_that_do_not_fit_the_model_are_refused_by_name(changes, entry, message):
    with pytest.raises(DataError, match=message):
        WindowSource([entry], config(**changes))
    with pytest.raises(DataError, match=message):
        windows_of(entry, config(**changes), Statistics())


@pytest.mark.parametrize(
    "bad", [{"channels": 0}, {"lags": (0,)}, {"lags": (3, 3)}, {"categories": (0,)}, {"calendar": "moon"}]
)
def test_settings_that_cannot_be_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        config(**bad)


# --- TSDiff-Cond -------------------------------------------------------------------------------------------


def test_a_conditional_network_is_shown_its_context_and_scored_on_the_rest():
    cfg = config(conditional=True, lags=(6,))
    missing = MissingContext("BM-E", 0.25)
    entry = numbered(60)
    entry["target"][30] = np.nan
    batch = WindowSource([entry], cfg, batch_size=64, missing=missing).batch(np.random.default_rng(0))
    known, x0, mask = batch.condition["known"].numpy(), batch.x0.numpy(), batch.mask.numpy()
    values, shown = known[..., :2], known[..., 2:]
    data = np.stack([~np.isnan(cut(entry["target"][:, None], int(i.split()[-1]) - lag, 12)[:, 0]) for i in batch.ids
                     for lag in (0, 6)]).reshape(64, 2, 12).transpose(0, 2, 1)  # fmt: skip
    place = np.arange(12)[None]
    np.testing.assert_array_equal(shown[..., 0], (place < 6) * data[..., 0])
    np.testing.assert_array_equal(shown[..., 1], data[..., 1])
    np.testing.assert_array_equal(mask, data - shown)
    np.testing.assert_allclose(values, x0 * shown)


@pytest.mark.slow
def test_a_conditional_model_forecasts_and_does_not_draw_unconditionally():
    t = np.arange(400)
    entries = [
        {"item_id": f"{i}", "start": pd.Period("2024-01-01", "h"), "target": 5 + (i + 1) * np.sin(2 * np.pi * t / 8)}
        for i in range(3)
    ]
    predictor = tiny_estimator(300, conditional=True, calendar="none").train(entries, progress=False)
    truth = [5 + (i + 1) * np.sin(2 * np.pi * (400 + np.arange(HORIZON)) / 8) for i in range(3)]
    errors = [np.abs(f.mean - y).mean() for f, y in zip(predictor.predict(entries, 20), truth, strict=True)]
    assert np.mean(errors) < 0.7  # the mean alone leaves 1.3
    with pytest.raises(ConfigError, match="a conditional model only forecasts"):
        predictor.model.sample(1)
    with pytest.raises(ConfigError, match="only a conditional model"):
        tiny_estimator(5, missing=MissingContext())
