"""Published checkpoints: reading, mapping, refusing, and the same numbers as the published code."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.time_feature import time_features_from_frequency_str
from gluonts.torch.util import lagged_sequence_values
from torch import Tensor

import tsdiff
from shared.errors import CheckpointError, ConfigError
from tests.tsdiff.published import published_code, published_state
from tsdiff import TSDiff, TSDiffPredictor, import_checkpoint
from tsdiff.backbones import S4Config
from tsdiff.importing import PUBLISHED_LAGS
from tsdiff.windows import Conditions, conditioning

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


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    def save(content: Any) -> Path:
        torch.save(content, tmp_path / "best_checkpoint.ckpt")
        return tmp_path / "best_checkpoint.ckpt"

    return save


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
    assert model.statistics == tsdiff.windows.Statistics(0.0, 1.0, 18.0)


def test_save_and_load_give_the_same(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    model = import_checkpoint(saved(published_state()), CONFIG)
    model.save_pretrained(tmp_path / "model")
    assert sorted(os.listdir(tmp_path / "model")) == ["config.json", "model.safetensors"]
    again = TSDiff.from_pretrained(tmp_path / "model")
    assert again.config.backbone == model.config.backbone
    assert again.sde == model.sde
    assert again.statistics == model.statistics
    assert torch.equal(noise(again), noise(model))


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
    assert len(model.config.sde["betas"]) == 50
    model = import_checkpoint(path, {"init_skip": False, "timesteps": 100})
    assert torch.equal(noise(model), expected)


def test_the_published_schedule_is_read_by_name(saved: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("uncond_ts_diff.utils")
    exec("def linear_beta_schedule(steps): raise AssertionError('called')", module.__dict__)
    monkeypatch.setitem(sys.modules, "uncond_ts_diff", types.ModuleType("uncond_ts_diff"))
    monkeypatch.setitem(sys.modules, "uncond_ts_diff.utils", module)
    hyper = {**CONFIG, "diffusion_scheduler": module.linear_beta_schedule}
    path = saved({"state_dict": published_state(), "hyper_parameters": hyper})
    monkeypatch.undo()
    betas = import_checkpoint(path).config.sde["betas"]
    assert (betas[0], betas[-1]) == (1e-4, 0.1)


def test_without_settings_what_is_assumed_is_said(saved: Callable[[Any], Path]) -> None:
    with pytest.warns(UserWarning, match=r"freq='h'.*prediction_length=24.*context_length=12.*conjugates="):
        model = import_checkpoint(saved(published_state(horizon=36)))
    assert model.config.length == 36
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import_checkpoint(saved(published_state(horizon=36)), CONFIG)


@pytest.mark.parametrize("conjugates", [True, False])
@pytest.mark.parametrize("skip", [True, False])
def test_trained_weights_tell_skip_and_pairs(saved: Callable[[Any], Path], skip: bool, conjugates: bool) -> None:
    """A network fitted to give pure noise back at the last step, as any trained one does."""
    torch.manual_seed(0)
    state = published_state(blocks=1, features=8)
    model = import_checkpoint(saved(state), {**CONFIG, "init_skip": skip, "conjugates": conjugates})
    ours = dict(model.denoiser.network.backbone.named_parameters())
    # Kernels with large gain make the two ways to sum them differ, as in training; only the last layers are fitted.
    fitted = [ours[f"{layer}.{part}"] for layer in ("input", "head", "output") for part in ("weight", "bias")]
    fitted += [ours[f"blocks.0.{layer}.{part}"] for layer in ("mix", "to_skip") for part in ("weight", "bias")]
    fitted.append(ours["blocks.0.convolution.direct"])
    optimizer = torch.optim.Adam(fitted, lr=1e-2)
    for _ in range(400):
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
    with pytest.raises(ConfigError, match="context_length"):
        import_checkpoint(saved(published_state(horizon=0)), {"freq": "H"})


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
    window = conditioning(entry, model.config, model.statistics, "a")
    inputs = Conditions.stack([window], model.config).inputs
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


COND: dict[str, Any] = {**CONFIG, "model": "conditional", "use_lags": True, "noise_observed": True}


def published_features(target: np.ndarray, context: int, horizon: int) -> tuple[Tensor, float]:
    """What the published TSDiff-Cond shows its network of a series to forecast, (1, length, 12), and the scale."""
    past = torch.from_numpy(np.nan_to_num(target).astype(np.float32))[None]
    seen = torch.from_numpy(~np.isnan(target))[None]
    scale = float(past[:, -context:].abs().sum() / seen[:, -context:].sum())
    shown = torch.cat([past / scale, torch.zeros(1, horizon)], dim=1)
    lags = lagged_sequence_values(
        list(PUBLISHED_LAGS["h"]), shown[:, : -context - horizon], shown[:, -context - horizon :], dim=1
    )
    mask = torch.cat([seen[:, -context:].float(), torch.zeros(1, horizon)], dim=1)
    return torch.cat([lags, shown[:, -context - horizon :, None], mask[..., None]], dim=-1), scale


def test_a_conditional_model_sees_what_the_published_one_sees(saved: Callable[[Any], Path]) -> None:
    rng = np.random.default_rng(0)
    target = 5 + rng.normal(size=800)
    target[[300, 700, 790]] = np.nan
    model = import_checkpoint(saved(published_state(features=12)), COND)
    assert model.config.conditional
    assert model.config.known_lags == PUBLISHED_LAGS["h"]
    entry = {"start": pd.Period("2024-01-01", "h"), "target": target, "item_id": "a"}
    window = conditioning(entry, model.config, model.statistics, "a")
    conditions = Conditions.stack([window], model.config)
    expected, scale = published_features(target, 18, 6)
    torch.testing.assert_close(conditions.inputs["known"], expected, rtol=1e-5, atol=1e-6)
    assert window.scale == pytest.approx([scale], rel=1e-6)
    same = conditions.observing(conditions.values, conditions.observed)
    assert torch.equal(same.inputs["known"], conditions.inputs["known"])
    for settings in ({"method": "ddpm"}, {"steps": 4}):
        (forecast,) = TSDiffPredictor(model).with_sampling(**settings).predict([entry], num_samples=3)
        assert np.isfinite(forecast.samples).all()


def test_a_conditional_model_is_known_by_its_features(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    bare = {name: value for name, value in CONFIG.items() if name != "use_lags"}
    with pytest.warns(UserWarning, match="model='conditional'"):
        model = import_checkpoint(saved(published_state(features=2)), bare)
    assert model.config.conditional
    assert model.config.known_lags == ()
    model.save_pretrained(tmp_path / "model")
    again = TSDiff.from_pretrained(tmp_path / "model").config
    assert (again.conditional, again.known_lags) == (True, ())
    untold = {"context_length": 18, "prediction_length": 6}
    with pytest.warns(UserWarning, match="conjugates"):  # lags of days or business days; skip and pairs are tried
        model = import_checkpoint(saved(published_state(features=14)), untold)
    assert (model.config.freq, len(model.config.known_lags)) == ("D", 12)
    unconditional = {**bare, "model": "unconditional"}
    assert not import_checkpoint(saved(published_state(features=2)), unconditional).config.conditional


@pytest.mark.parametrize(
    ("features", "change", "message"),
    [
        (8, {}, "the published ones of freq='h' are 10"),
        (12, {"use_lags": False}, "use_lags=False"),
        (12, {"use_features": True}, "nor can the published code build it"),
        (12, {"noise_observed": False}, "noise_observed=False"),
        (1, {}, "1 channels and 1 features"),
        (12, {"model": "other"}, "give conditional or unconditional"),
    ],
)
def test_what_is_no_conditional_model_is_refused(
    saved: Callable[[Any], Path], features: int, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        import_checkpoint(saved(published_state(features=features)), {**COND, **change})


class Runs:
    """A pickle that would run code."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def test_code_in_a_file_does_not_run(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    target = tmp_path / "ran"
    state = {**published_state(), "extra": Runs(target)}
    with pytest.raises(CheckpointError, match="not read"):
        import_checkpoint(saved(state), CONFIG)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Runs(target), protocol=2))
    with pytest.raises(CheckpointError):
        import_checkpoint(tmp_path / "plain.pkl", CONFIG)
    assert not target.exists()


def test_damaged_files_are_refused(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    content = saved(published_state()).read_bytes()
    for name, data in {"half": content[: len(content) // 2], "empty": b"", "text": b"freq: H"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=name):
            import_checkpoint(tmp_path / name, CONFIG)
    with pytest.raises(CheckpointError, match="no file"):
        import_checkpoint(tmp_path / "absent", CONFIG)
    for other in ([1, 2], {"state_dict": 3}, {"a": 1}):
        with pytest.raises(CheckpointError):
            import_checkpoint(saved(other), CONFIG)


def test_keys_that_do_not_fit_are_named(saved: Callable[[Any], Path]) -> None:
    def changed(name: str, value: Tensor | None) -> Path:
        state = published_state()
        if value is None:
            del state[name]
        else:
            state[name] = value
        return saved(state)

    cases = {
        "backbone.residual_blocks.1.norm_extra": (torch.zeros(2), "unknown key 'residual_blocks.1.norm_extra'"),
        "backbone.residual_blocks.1.time_linear.bias": (None, "missing key 'residual_blocks.1.time_linear.bias'"),
        "backbone.input_init.0.weight": (None, "missing key 'input_init.0.weight'"),
        f"{KERNEL}.C": (torch.zeros(3), "dimensions"),
        f"{KERNEL}.P": (torch.zeros(2, 8, 4, 2), "shape"),
        f"{KERNEL}.w_imag": (torch.full((8, 4), torch.nan), "not finite"),
    }
    for name, (value, message) in cases.items():
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(changed(name, value), CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_lags": True}, "use_lags"),
        ({"normalization": "zscore"}, "normalization"),
        ({"init_skip": "no"}, "init_skip"),
        ({"context_length": 0}, "context_length"),
        ({"context_lenght": 18}, "context_lenght"),
        ({"diffusion_scheduler": "sigmoid"}, "diffusion_scheduler"),
    ],
)
def test_settings_that_cannot_be_used(saved: Callable[[Any], Path], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        import_checkpoint(saved(published_state()), {**CONFIG, **change})


def test_a_broken_yaml_is_refused(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("freq: [H")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        import_checkpoint(saved(published_state()), tmp_path / "bad.yaml")


@pytest.mark.parametrize("conjugates", [True, False])
@pytest.mark.parametrize(("channels", "skip", "featured"), [(1, False, False), (11, True, False), (1, True, True)])
def test_the_published_code_gives_the_same(
    saved: Callable[[Any], Path],
    monkeypatch: pytest.MonkeyPatch,
    conjugates: bool,
    channels: int,
    skip: bool,
    featured: bool,
) -> None:
    """Needs a checkout of the published code; see `tests/tsdiff/published.py`."""
    s4, backbones = published_code()
    if conjugates:  # what KeOps and the CUDA extension sum
        single = s4.cauchy_naive
        monkeypatch.setattr(
            s4, "cauchy_naive", lambda v, z, w: single(torch.cat([v, v.conj()], -1), z, torch.cat([w, w.conj()], -1))
        )
    torch.manual_seed(0)
    published = backbones.BackboneModel(channels, 64, channels, 128, 3, 8, init_skip=skip).eval()
    with torch.no_grad():
        published(torch.randn(1, 360, channels), torch.tensor([0]))  # makes its kernels' length
    state = {f"backbone.{name}": value.clone() for name, value in published.state_dict().items()}
    state["embedder._embedders.0.weight"] = torch.zeros(1, 1)
    settings = {"context_length": 312, "prediction_length": 48, "use_lags": channels > 1, "use_features": featured}
    model = import_checkpoint(saved(state), {**CONFIG, **settings, "init_skip": skip, "conjugates": conjugates})
    for length in (360, 200, 500):
        x, features = torch.randn(3, length, channels), torch.randn(3, length, 8) if featured else None
        for step in (torch.tensor([0, 37, 99]), torch.tensor([5, 5, 5])):
            with torch.no_grad():
                theirs, ours = published(x, step, features), model.predict_noise(x, step, features)
            print(f"largest difference at length {length}: {float((theirs - ours).abs().max()):.1e}")
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5 if not conjugates else 2e-4)


def test_the_published_conditional_network_gives_the_same(saved: Callable[[Any], Path]) -> None:
    """Needs a checkout of the published code; see `tests/tsdiff/published.py`."""
    _, backbones = published_code()
    torch.manual_seed(0)
    published = backbones.BackboneModel(1, 64, 1, 128, 3, 12, init_skip=True).eval()
    x, features, step = torch.randn(2, 360, 1), torch.randn(2, 360, 12), torch.tensor([3, 80])
    with torch.no_grad():
        published(x, step, features)  # makes its kernels' length
        state = {f"backbone.{name}": value.clone() for name, value in published.state_dict().items()}
        settings = {"context_length": 312, "prediction_length": 48, "init_skip": True, "conjugates": False}
        model = import_checkpoint(saved(state), {**COND, **settings})
        theirs, ours = published(x, step, features), model.predict_noise(x, step, known=features)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)
