"""The network of a model with an anchor as an ONNX file, run by ONNX Runtime."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from shared.errors import ConfigError
from tests.tsdiff.model.test_context import config, lively
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.export import export_onnx
from tsdiff.windows.conditioning import Windows, forecast_place
from tsdiff.windows.series import observed_series

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def windows_of(model: TSDiff, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network is told of `count` series of different lengths, of which one has a gap, to be forecast."""
    rng = np.random.default_rng(0)
    places = []
    for place in range(count):
        values = 10 + rng.normal(size=30 + 100 * place).cumsum()
        values[5:9] = np.nan if place == 1 else values[5:9]
        entry = {"start": pd.Period("2024-01-01", "h"), "target": values}
        places.append(forecast_place(observed_series(entry, model.config, f"s{place}"), model.config))
    inputs = dict(Windows.of(places, model.config, model.statistics).inputs)
    about, _ = inputs.pop("about"), inputs.pop("of_row")
    outer = model.denoiser.network
    return outer.inputs(inputs["known"], **inputs), about


def compare(model: TSDiff, path: Path, count: int, draws: int) -> None:
    known, about = windows_of(model, count)
    steps = model.config.prediction_length
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(count, draws, model.config.length, 1, generator=generator)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    network = model.denoiser.network.backbone
    for level, span in ((-6.0, 0.9), (0.3, 0.0), (4.0, 0.1)):
        given = {"state": state, "log_snr": torch.tensor([level]), "known": known, "about": about}
        ahead = {"span": torch.tensor([span])} if network.takes_span else {}
        (found,) = session.run(["estimate"], {name: part.numpy() for name, part in {**given, **ahead}.items()})
        with torch.no_grad():
            rows = torch.arange(count).repeat_interleave(draws)
            memory = network.encode(known, about, rows, model.config.context_length)
            far = {name: part.expand(count * draws) for name, part in ahead.items()}
            wanted = network.decode(state.flatten(0, 1), torch.full((count * draws,), level), memory, **far)
        wanted = wanted.view_as(state).numpy()
        assert np.abs(wanted[:, :, -steps:]).max() > 1e-3
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow  # the exporter takes its time, whatever the network's size
@pytest.mark.parametrize(("steps", "span"), [(16, False), (6, True)])
def test_the_runtime_gives_the_same_numbers_for_any_windows_and_draws(tmp_path, steps, span):
    made = config()
    made = replace(made, backbone=replace(made.backbone, span=span))
    model = TSDiffPredictor(lively(TSDiff(made))).adapted("h", steps).model
    path = export_onnx(model, tmp_path / "network")
    assert path == tmp_path / "network.onnx"
    compare(model, path, 3, 5)
    compare(model, path, 1, 1)
    stated = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    assert json.loads(stated["config"])["prediction_length"] == steps


@pytest.mark.slow
def test_the_bundled_forecaster_in_the_runtime(tmp_path):
    model = TSDiffPredictor.from_pretrained("default").adapted("h", 24).model
    compare(model, export_onnx(model, tmp_path / "f.onnx"), 4, 10)


def test_what_cannot_be_exported_is_refused(tmp_path):
    model = TSDiff(config())
    with pytest.raises(ConfigError, match=r"freq='any': .*adapted"):
        export_onnx(model, tmp_path / "f.onnx")
    plain = TSDiff(config(scaling="mean", conditional=False, calendar="none", freq="h", backbone=S4DConfig(patch=8)))
    with pytest.raises(ConfigError, match="'s4d' network cannot be exported"):
        export_onnx(plain, tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []
