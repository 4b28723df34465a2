"""The same numbers as the published code, which `tests/golden/make_tsdiff.py` asked once."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.files.pickles import load_pickle
from tests.golden import tsdiff_cases as cases
from tests.golden.store import Golden
from tests.tsdiff.conftest import windows_of
from tests.tsdiff.published import published_state, save_lightning
from tsdiff import TSDiff, TSDiffPredictor, import_checkpoint
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.windows.scales import window_scale

GOLDEN = Golden(cases.PATH)
FULL: dict[str, Any] = {"freq": "H", "context_length": 312, "prediction_length": 48, "normalization": "mean"}
DOUBLE, SINGLE = 1e-12, 5e-6
"""Largest differences, as shares of the largest number, in double and in single precision."""


def network(path: Path, channels: int, skip: bool, features: int, both: bool, horizon: int = cases.HORIZON) -> TSDiff:
    """A published network of full size, imported."""
    state = published_state(
        cases.WIDTH, cases.BLOCKS, 128, channels, features or 8, horizon, step_embedding=cases.STEP_EMBEDDING
    )
    torch.save(state, path / "best_checkpoint.ckpt")
    settings = {**FULL, "init_skip": skip, "conjugates": both, "use_lags": channels > 1 or features == 12}
    kind = "conditional" if features == 12 else "unconditional"
    return import_checkpoint(path / "best_checkpoint.ckpt", {**settings, "model": kind})


def noise_in(model: TSDiff, features: int, at: int, dtype: torch.dtype) -> Tensor:
    length, step = cases.ASKED[at]
    x, known = cases.noisy(length, model.config.network_channels, features)
    inputs = {} if known is None else {"known" if model.config.conditional else "features": known.to(dtype)}
    with torch.no_grad():
        return model.to(dtype).predict_noise(x.to(dtype), torch.tensor(step), **inputs)


@pytest.mark.parametrize("both", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("channels", "skip", "features"), cases.NETWORKS)
def test_the_network(tmp_path: Path, channels: int, skip: bool, features: int, both: bool) -> None:
    model = network(tmp_path, channels, skip, features, both)
    for dtype, tolerance in ((torch.float32, SINGLE), (torch.float64, DOUBLE)):
        for at in range(len(cases.ASKED)):
            GOLDEN.assert_close(
                noise_in(model, features, at, dtype), f"network/{channels}/{features}/{both}/{at}", tolerance
            )


def test_a_network_that_was_saved_before_its_first_call(tmp_path: Path) -> None:
    model = network(tmp_path, *cases.NETWORKS[-1], both=False, horizon=0)
    # The readout that its kernels need is stored in single precision.
    found = noise_in(model, cases.NETWORKS[-1][2], 0, torch.float64)
    GOLDEN.assert_close(found, "network/uncalled", 1e-7)


@pytest.mark.parametrize("name", list(cases.SCALES))
def test_the_scaler(name: str) -> None:
    default, minimum = cases.SCALES[name]
    values, observed = cases.rows()
    windows = np.where(observed > 0, values, np.float32(np.nan))[..., None]
    small = S4DConfig(patch=1, width=4, blocks=1, state=2)
    config = TSDiffConfig("h", 1, 20, backbone=small, default_scale=default or 0.0, minimum_scale=minimum)
    _, scale = window_scale(windows, np.full_like(windows, 7), config)
    np.testing.assert_allclose(scale, GOLDEN.array(f"scale/{name}"), rtol=1e-6)


def layout(name: str) -> dict[str, Any]:
    return json.loads(GOLDEN.lines(f"{name}/layout")[0])  # type: ignore[no-any-return]


def published(name: str) -> dict[str, Tensor]:
    """The state dict of a small published module."""
    shape = {key: value for key, (value, _) in layout(name)["state_dict"].items()}
    return published_state(
        width=cases.BACKBONE["hidden_dim"],
        blocks=cases.BACKBONE["num_residual_blocks"],
        state=128,
        channels=shape["backbone.input_init.0.weight"][1],
        features=shape["backbone.residual_blocks.0.feature_encoder.weight"][1],
        horizon=cases.CONTEXT + cases.PREDICTION,
        normalization=cases.MODELS[name]["normalization"],
    )


@pytest.mark.parametrize("name", list(cases.MODELS))
def test_our_test_files_have_the_published_layout(name: str, tmp_path: Path) -> None:
    """Names in their order, shapes, types and whatever else Lightning's callback writes."""
    written, state = layout(name), published(name)
    found = {key: [list(value.shape), str(value.dtype)] for key, value in state.items()}
    assert list(found.items()) == list(written["state_dict"].items())
    path = save_lightning(tmp_path / "last.ckpt", state, written["hyper_parameters"])
    content = load_pickle(path, references=True)
    assert list(content) == written["keys"]
    content["hyper_parameters"]["diffusion_scheduler"] = content["hyper_parameters"]["diffusion_scheduler"].name
    assert content["hyper_parameters"] == written["hyper_parameters"]


@pytest.mark.parametrize("name", list(cases.MODELS))
def test_windows_features_and_forecasts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the checkpoint to the forecast of three series together, with the published samplers and the same noise."""
    path = save_lightning(tmp_path / "last.ckpt", published(name), layout(name)["hyper_parameters"])
    model = import_checkpoint(path, {"conjugates": False})
    still = {"feat_static_cat": [0], "feat_static_real": [0.0]}  # as the published transforms set them
    entries = [{"start": cases.start(), "target": target, **still} for target in cases.series()]
    batch = windows_of(entries, model.config, model.statistics)
    scales = GOLDEN.array(f"{name}/scale")
    np.testing.assert_allclose(batch.scale[:, 0], scales[:, :, 0], rtol=1e-6)
    torch.testing.assert_close(batch.values, torch.from_numpy(GOLDEN.array(f"{name}/values")), rtol=1e-6, atol=1e-6)
    shown = model.denoiser.network.inputs(batch.values, **batch.inputs)
    if name != "lags":  # which has none
        wanted = torch.from_numpy(GOLDEN.array(f"{name}/features"))
        torch.testing.assert_close(shown, wanted, rtol=1e-5, atol=1e-6)

    samples = 1 if name == "conditional" else cases.SAMPLES
    rows, calls = len(entries) * samples, count()

    def drawn(item: Tensor, **_: Any) -> Tensor:
        number, row = divmod(next(calls), rows)
        return item.copy_(cases.noise(number, rows, item.shape[1])[row])

    monkeypatch.setattr("torch.Tensor.normal_", drawn)
    predictor = TSDiffPredictor(model).with_sampling(method="ddpm", guidance="quantile", scale=cases.STRENGTH)
    found = np.stack([forecast.samples for forecast in predictor.predict(entries, num_samples=samples)])
    wanted = GOLDEN.array(f"{name}/forecast")
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
