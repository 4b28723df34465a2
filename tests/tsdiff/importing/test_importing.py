"""Published checkpoints: reading, mapping, refusing. `test_parity.py` has what the published code makes of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from gluonts.model.forecast import SampleForecast
from gluonts.time_feature import time_features_from_frequency_str
from torch import Tensor

import tsdiff
from shared.errors import CheckpointError, ConfigError
from tests.tsdiff.conftest import windows_of
from tests.tsdiff.published import SCHEDULES, published_state, save_lightning
from tsdiff import TSDiff, TSDiffPredictor, import_checkpoint
from tsdiff.model.backbones import S4Config
from tsdiff.tasks.likelihood import LikelihoodSettings
from tsdiff.tasks.refinement import RefineConfig
from tsdiff.tasks.synthesis import SynthesisConfig, synthesize

KERNEL = "backbone.residual_blocks.0.s4block.layer.kernel.kernel"


CONFIG: dict[str, Any] = {
    "freq": "H",
    "context_length": 18,
    "prediction_length": 6,
    "normalization": "mean",
    "use_lags": False,
    "use_features": False,
    "init_skip": False,
    "conjugates": True,
}


def noise(model: TSDiff, features: Tensor | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, model.config.length, model.config.network_channels, generator=generator)
    with torch.no_grad():
        return model.predict_noise(x, torch.tensor([0, 40, 99]), features)


def test_sizes_follow_from_shapes(saved: Callable[[Any], Path]) -> None:
    path = saved(published_state(width=6, blocks=3, state=10, channels=11, features=8))
    model = import_checkpoint(path, {**CONFIG, "use_lags": True, "init_skip": True, "conjugates": False})
    assert model.config.backbone == S4Config(
        width=6, blocks=3, state=10, step_embedding=16, input_skip=True, conjugates=False
    )
    assert model.config.lags == (24, 48, 72, 96, 120, 144, 168, 336, 504, 672)
    assert model.config.external_features == 8
    assert (model.config.freq, model.config.context_length, model.config.prediction_length) == ("h", 18, 6)
    assert model.config.output == "noise"
    assert model.config.calendar == "none"
    assert noise(model).shape == (3, 24, 11)
    assert model.statistics == tsdiff.windows.scales.Statistics(0.0, 1.0, 18.0)


def test_save_and_load_give_the_same(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    model = import_checkpoint(saved(published_state()), CONFIG)
    model.save_pretrained(tmp_path / "model")
    assert sorted(os.listdir(tmp_path / "model")) == ["config.json", "model.safetensors"]
    again = TSDiff.from_pretrained(tmp_path / "model")
    assert again.config.backbone == model.config.backbone
    assert again.config.default_scale == 0.0
    assert again.config.minimum_scale == model.config.minimum_scale
    assert again.sde == model.sde
    assert again.statistics == model.statistics
    assert torch.equal(noise(again), noise(model))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("place", ["", "backbone."])
def test_names_of_wrapped_modules_are_those_within(saved: Callable[[Any], Path], prefix: str, place: str) -> None:
    """DataParallel and torch.compile put them there, around the module or its backbone."""
    state = published_state()
    expected = noise(import_checkpoint(saved(state), CONFIG))
    wrapped = {place + prefix + k.removeprefix(place) if k.startswith(place) else k: v for k, v in state.items()}
    assert torch.equal(noise(import_checkpoint(saved(wrapped), CONFIG)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_read(saved: Callable[[Any], Path], dtype: torch.dtype) -> None:
    """In float16 the smallest scale, 1e-10, is 0."""
    half = {name: value.to(dtype) if value.is_floating_point() else value for name, value in published_state().items()}
    model = import_checkpoint(saved(half), CONFIG)
    assert model.config.minimum_scale == pytest.approx(1e-10, rel=0.01)
    rounded = {name: value.float() if value.is_floating_point() else value for name, value in half.items()}
    rounded["scaler.minimum_scale"] = torch.tensor(1e-10)
    assert torch.equal(noise(model), noise(import_checkpoint(saved(rounded), CONFIG)))


def test_settings_from_yaml_and_from_lightning(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    expected = noise(import_checkpoint(saved(published_state()), CONFIG))
    lines = [f"{name}: {str(value).lower() if isinstance(value, bool) else value}" for name, value in CONFIG.items()]
    (tmp_path / "train.yaml").write_text("\n".join([*lines, "lr: 1.e-3", "device: cuda:0", "setup: forecasting"]))
    assert torch.equal(noise(import_checkpoint(tmp_path / "best_checkpoint.ckpt", tmp_path / "train.yaml")), expected)
    hyper = {**CONFIG, "init_skip": True, "timesteps": 50, "backbone_parameters": {"dropout": 0.1, "hidden_dim": 8}}
    path = saved({"state_dict": published_state(), "hyper_parameters": hyper, "epoch": 3})
    model = import_checkpoint(path)
    assert isinstance(model.config.backbone, S4Config)
    assert model.config.backbone.input_skip
    assert model.config.backbone.dropout == 0.1
    assert len(model.config.sde.betas) == 50
    model = import_checkpoint(path, {"init_skip": False, "timesteps": 100})
    assert torch.equal(noise(model), expected)


def test_functions_among_the_settings_are_read_by_name(tmp_path: Path) -> None:
    """Lightning pickles the schedule by reference; whatever is not one of the two published ones has to be said."""
    state, path = published_state(), tmp_path / "last.ckpt"

    def betas(schedule: str, config: dict[str, Any] | None = None) -> list[float]:
        save_lightning(path, state, {**CONFIG, "diffusion_scheduler": schedule, "timesteps": 50})
        return import_checkpoint(path, config).config.sde.betas  # type: ignore[no-any-return]

    linear = betas(f"{SCHEDULES}.linear_beta_schedule")
    assert (linear[0], linear[-1], len(linear)) == (1e-4, 0.1, 50)
    assert betas(f"{SCHEDULES}.cosine_beta_schedule")[-1] == 0.9999
    for other in ("elsewhere.linear_beta_schedule", f"{SCHEDULES}.nonlinear_beta_schedule"):
        with pytest.raises(ConfigError, match=f"diffusion_scheduler='{other}'"):
            betas(other)
        assert betas(other, {"diffusion_scheduler": "linear"}) == linear

    def linear_beta_schedule(steps: int) -> Tensor:
        raise AssertionError("called")

    assert betas(other, {"diffusion_scheduler": linear_beta_schedule}) == linear


def test_hyperparameters_count_no_features_as_the_module_does(tmp_path: Path) -> None:
    """Of no static numbers the published transforms make one."""
    hyper = {**CONFIG, "use_features": True, "num_feat_static_real": 0, "num_feat_static_cat": 0}
    path = save_lightning(tmp_path / "last.ckpt", published_state(), hyper)
    assert import_checkpoint(path).config.static_features == 1


def test_categories_are_in_the_order_of_their_numbers(saved: Callable[[Any], Path]) -> None:
    """The embedding of the eleventh comes after that of the tenth, not after that of the first."""
    sizes = tuple(range(2, 13))
    embedded = [(size + 1) // 2 for size in sizes]
    state = published_state(features=1 + sum(embedded) + 1 + 5)
    for i, (size, width) in enumerate(zip(sizes, embedded, strict=True)):
        state[f"embedder._embedders.{i}.weight"] = torch.zeros(size, width)
    model = import_checkpoint(saved(state), {**CONFIG, "use_features": True})
    assert model.config.categories == sizes


def test_what_else_the_scripts_read_and_write_is_a_configuration(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    """results.yaml around the run's settings, Lightning's hparams.yaml, and the scripts that use a checkpoint."""
    path = saved(published_state())
    known = {**CONFIG, "init_skip": True, "timesteps": 50}
    run = {
        **known,
        "config": "train.yaml",
        "out_dir": "./",
        "missing_scenario": "RM",
        "missing_values": 168,
        "scale": 4,
    }
    files = {
        "results.yaml": yaml.safe_dump({"config": run, "version": 0, "metrics": [{"CRPS": 0.1}]}),
        "hparams.yaml": yaml.safe_dump({**known, "lr": 1e-3, "cardinalities": None})
        + "diffusion_scheduler: !!python/name:uncond_ts_diff.utils.linear_beta_schedule ''\n",
        "guidance.yaml": yaml.safe_dump({**known, "ckpt": "best_checkpoint.ckpt", "scaling_type": "mean"}),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        config = import_checkpoint(path, tmp_path / name).config
        assert (config.backbone.input_skip, len(config.sde.betas)) == (True, 50)  # type: ignore[union-attr]
    (tmp_path / "runs.yaml").write_text("freq: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match=r"runs\.yaml"):
        import_checkpoint(path, tmp_path / "runs.yaml")
    with pytest.raises(ConfigError, match="unknown settings version"):
        import_checkpoint(path, {**known, "version": 0})


def test_without_settings_what_is_assumed_is_said(saved: Callable[[Any], Path]) -> None:
    with pytest.warns(UserWarning, match=r"freq='h'.*prediction_length=24.*context_length=12.*conjugates="):
        model = import_checkpoint(saved(published_state(horizon=36)))
    assert model.config.length == 36
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import_checkpoint(saved(published_state(horizon=36)), CONFIG)


@pytest.mark.slow
@pytest.mark.parametrize(("skip", "conjugates"), [(True, False), (False, True)])
def test_trained_weights_tell_skip_and_pairs(saved: Callable[[Any], Path], skip: bool, conjugates: bool) -> None:
    """A network fitted to give pure noise back at the last step, as any trained one does."""
    torch.manual_seed(0)
    state = published_state(blocks=1, features=8)
    state[f"{KERNEL}.C"] *= 4
    model = import_checkpoint(saved(state), {**CONFIG, "init_skip": skip, "conjugates": conjugates})
    ours = dict(model.denoiser.network.backbone.named_parameters())
    # Kernels with large gain make the two ways to sum them differ, as in training; only the last layers are fitted.
    fitted = [ours[f"{layer}.{part}"] for layer in ("input", "head", "output") for part in ("weight", "bias")]
    fitted += [ours[f"blocks.0.{layer}.{part}"] for layer in ("mix", "to_skip") for part in ("weight", "bias")]
    fitted.append(ours["blocks.0.convolution.direct"])
    optimizer = torch.optim.Adam(fitted, lr=1e-2)
    for _ in range(150):  # after which the other ways to read it err four times as much
        x = torch.randn(16, 24, 1)
        loss = (model.predict_noise(x, torch.full((16,), 99)) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for public, mine in tsdiff.importing.published_names(1).items():
        if mine in ours:
            state[f"backbone.{public}"] = ours[mine].detach().reshape(state[f"backbone.{public}"].shape)
    settings = {name: value for name, value in CONFIG.items() if name not in ("init_skip", "conjugates")}
    with pytest.warns(UserWarning, match="init_skip"):
        found = import_checkpoint(saved(state), settings).config.backbone
    assert isinstance(found, S4Config)
    assert (found.input_skip, found.conjugates) == (skip, conjugates)


def test_kernels_that_were_never_made_are_made_for_the_window(saved: Callable[[Any], Path]) -> None:
    model = import_checkpoint(saved(published_state(horizon=0)), CONFIG)
    assert int(model.denoiser.network.backbone.blocks[0].convolution.horizon) == 24
    told = {"init_skip": False, "conjugates": False}
    for freq, features, context, prediction in (("H", 8, 336, 24), ("D", 14, 360, 30)):
        path = saved(published_state(features=features, horizon=0))
        with pytest.warns(UserWarning, match=f"prediction_length={prediction}.*context_length={context}"):
            model = import_checkpoint(path, {"freq": freq, **told})
        assert (model.config.context_length, model.config.prediction_length) == (context, prediction)
    with pytest.raises(ConfigError, match="context_length"):
        import_checkpoint(saved(published_state(horizon=0)), {"freq": "W", **told})


def test_the_scaler_is_the_one_in_the_file(saved: Callable[[Any], Path]) -> None:
    """MeanScaler's buffers and their values; NOPScaler has none; the backbone alone does not tell."""
    bare = {name: value for name, value in CONFIG.items() if name != "normalization"}

    def scaling(state: dict[str, Tensor], settings: dict[str, Any] = bare) -> tuple[Any, ...]:
        config = import_checkpoint(saved(state), settings).config
        return config.scaling, config.default_scale, config.minimum_scale

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scaling(published_state()) == ("mean", 0.0, float(torch.tensor(1e-10)))
        changed = {"scaler.default_scale": torch.tensor(2.5), "scaler.minimum_scale": torch.tensor(0.25)}
        assert scaling(published_state() | changed) == ("mean", 2.5, 0.25)
        without = published_state(normalization="none")
        assert scaling(without, {**bare, "normalization": "none"}) == ("none", None, 1e-10)
        assert scaling(without, CONFIG) == ("mean", 0.0, 1e-10)
    with pytest.warns(UserWarning, match="assumed normalization='none'"):
        assert scaling(without)[0] == "none"
    backbone = {name: value for name, value in without.items() if name.startswith("backbone.")}
    with pytest.warns(UserWarning, match="assumed normalization='mean'"):
        assert scaling(backbone) == ("mean", 0.0, 1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaler.default_scale": None}, "missing key 'scaler.default_scale'"),
        ({"scaler.minimum_scale": torch.tensor(0.0)}, "'scaler.minimum_scale' is 0.0, not a scale"),
        ({"scaler.default_scale": torch.tensor(-1.0)}, "not a scale"),
        ({"scaler.default_scale": torch.tensor(torch.nan)}, "not a scale"),
        ({"scaler.default_scale": torch.ones(1000)}, r"of shape \(1000,\), not one number"),
        ({"scaler.default_scale": torch.tensor(1j)}, "torch.complex64"),
        ({"scaler.loc": torch.tensor(0.0)}, "unknown key 'scaler.loc'"),
    ],
)
def test_a_scaler_that_is_none_is_refused(
    saved: Callable[[Any], Path], change: dict[str, Tensor | None], message: str
) -> None:
    state = {name: value for name, value in {**published_state(), **change}.items() if value is not None}
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(saved(state), CONFIG)


@pytest.mark.parametrize("batch", [1, 2])
def test_zeros_take_the_scale_of_what_is_forecast_with_them(saved: Callable[[Any], Path], batch: int) -> None:
    model = import_checkpoint(saved(published_state()), CONFIG)
    start, zeros = pd.Period("2024-01-01", "h"), np.append(np.full(10, 3.0), np.zeros(18))
    entries = [{"start": start, "target": zeros}, {"start": start, "target": np.full(28, 8.0)}][:batch]
    (forecast, *_) = TSDiffPredictor(model).with_sampling(steps=4).predict(entries, num_samples=3)
    # Alone there is no scale but the smallest; with the other series it is 18·8 over 36 observed values.
    assert 0 < np.abs(forecast.samples).max() < (1e-8 if batch == 1 else 4 * 100)
    assert batch == 1 or np.abs(forecast.samples).max() > 0.4


def asked(model: TSDiff, verb: str) -> np.ndarray:
    """What a verb makes of two series, one with a context of zeros."""
    predictor, start = TSDiffPredictor(model).with_sampling(steps=2), pd.Period("2024-01-01", "h")
    whole = [np.append(np.zeros(18), np.full(6, 1e-3)), np.full(24, 8.0)]
    entries = [{"start": start, "target": target, "item_id": str(i)} for i, target in enumerate(whole)]
    past = [{**entry, "target": entry["target"][:18]} for entry in entries]
    if verb == "forecast":
        # A series that has never moved is forecast to stay; these have.
        moved = [{**entry, "target": np.append([1.0, 2.0], entry["target"])} for entry in past]
        return np.stack([one.samples for one in predictor.predict(moved, num_samples=2)])
    if verb == "impute":
        gaps = [{**entry, "target": np.where(np.arange(24) == 20, np.nan, entry["target"])} for entry in entries]
        return np.stack([one.samples for one in predictor.impute(gaps, num_samples=2)])
    if verb == "refine":
        bases = [SampleForecast(np.full((2, 6), 4.0), start + 18, item_id=str(i)) for i in range(2)]
        refined = predictor.refine(bases, past, RefineConfig(steps=1, num_samples=2))
        return np.stack([one.samples for one in refined])
    if verb == "synthesize":
        return np.stack([made["target"] for made in synthesize(model, 2, entries, SynthesisConfig(steps=2, seed=2))])
    settings = LikelihoodSettings(method="elbo", levels=2, stride=24)
    joined = {"start": start, "target": np.concatenate(whole)}
    return predictor.log_likelihood([joined], settings)[0].log_likelihood


@pytest.mark.parametrize("verb", ["forecast", "impute", "refine", "synthesize", "likelihood"])
def test_every_verb_scales_windows_together(saved: Callable[[Any], Path], verb: str) -> None:
    """18 zeros and 18 eights: the batch's scale is 4, as if it were the default."""
    found = [
        asked(
            import_checkpoint(saved(published_state() | {"scaler.default_scale": torch.tensor(default)}), CONFIG), verb
        )
        for default in (0.0, 4.0, 5.0)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_series_are_left_as_they_are_without_a_scaler(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    model = import_checkpoint(saved(published_state(normalization="none")), {**CONFIG, "normalization": "none"})
    model.save_pretrained(tmp_path / "model")
    model = TSDiff.from_pretrained(tmp_path / "model")
    entry = {"start": pd.Period("2024-01-01", "h"), "target": np.arange(100.0, 130.0)}
    window = windows_of(entry, model.config, model.statistics)
    assert (window.loc, window.scale) == (0.0, 1.0)
    np.testing.assert_array_equal(window.values[0, :18, 0], np.arange(112.0, 130.0))


def test_guided_forecast(saved: Callable[[Any], Path]) -> None:
    model = import_checkpoint(saved(published_state()), CONFIG)
    entry = {"start": pd.Period("2024-01-01", "h"), "target": 5 + np.sin(np.arange(40)), "item_id": "a"}
    predictor = TSDiffPredictor(model).with_sampling(steps=4)
    (forecast,) = predictor.predict([entry], num_samples=5)
    (unguided,) = predictor.with_sampling(scale=0.0).predict([entry], num_samples=5)
    assert forecast.samples.shape == (5, 6)
    assert np.isfinite(forecast.samples).all()
    assert not np.allclose(forecast.samples, unguided.samples, rtol=1e-3)


def test_a_model_with_lags_forecasts_with_what_of_them_is_known(saved: Callable[[Any], Path]) -> None:
    model = import_checkpoint(saved(published_state(channels=11)), {**CONFIG, "use_lags": True})
    entry = {"start": pd.Period("2024-01-01", "h"), "target": 5 + np.sin(np.arange(400)), "item_id": "a"}
    (forecast,) = TSDiffPredictor(model).with_sampling(steps=4).predict([entry], num_samples=3)
    assert np.isfinite(forecast.samples).all()
    with pytest.raises(ConfigError, match="has 10 lags, the published ones of freq='D' are 12"):
        import_checkpoint(saved(published_state(channels=11)), {**CONFIG, "freq": "D", "use_lags": True})


def test_features_are_the_published_ones_in_their_order(saved: Callable[[Any], Path]) -> None:
    """Log-scale, embedded category, static number, GluonTS's four features of an hour, age."""
    embedding = {"embedder._embedders.0.weight": torch.full((1, 1), 0.7)}
    state = published_state(features=8) | embedding
    model = import_checkpoint(saved(state), {**CONFIG, "freq": "h", "use_features": True})
    target = np.full(30, 5.0)
    entry = {"start": pd.Period("2024-03-01", "h"), "target": target, "feat_static_cat": [0], "feat_static_real": [0.3]}
    window = windows_of(entry, model.config, model.statistics)
    inputs = window.inputs
    index = pd.period_range("2024-03-01 12:00", periods=24, freq="h")
    clock = [feature(index) for feature in time_features_from_frequency_str("h")]
    constants = [np.full(24, np.log(5.0)), np.full(24, 0.7), np.full(24, 0.3)]
    expected = np.stack([*constants, *clock, np.log10(2.0 + np.arange(12, 36))], axis=1)
    raw = torch.from_numpy(expected[None].astype(np.float32))
    x, step = torch.randn(1, 24, 1), torch.tensor([7])
    with torch.no_grad():
        torch.testing.assert_close(model.predict_noise(x, step, **inputs), model.predict_noise(x, step, raw))
    (forecast,) = TSDiffPredictor(model).with_sampling(steps=4).predict([entry], num_samples=3)
    assert np.isfinite(forecast.samples).all()
    bare = {name: value for name, value in state.items() if name not in embedding}
    with pytest.raises(CheckpointError, match="embedding of categories is missing"):
        import_checkpoint(saved(bare), {**CONFIG, "use_features": True})
    with pytest.raises(ConfigError, match="takes 6 features"):
        import_checkpoint(saved(published_state(features=6) | embedding), {**CONFIG, "use_features": True})
