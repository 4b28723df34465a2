"""A model's score on windows: of Gaussian windows, of every bundled network, and by the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from shared.diagnostics import DiagnosisSettings
from shared.errors import ConfigError, DataError
from shared.sde import VPSDE
from tests.shared.flow_maps.directions import awaken
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines
from tests.tsdiff.gaussian_model import LENGTH, gaussian_model
from tests.tsdiff.model.test_context import config as context_config
from tests.tsdiff.model.test_tsflow import config as tsflow_config
from tsdiff import TSDiff, TSDiffConfig, TSDiffPredictor
from tsdiff.commands import application
from tsdiff.model.backbones import S4Config, S4DConfig, SpaceTimeConfig
from tsdiff.tasks.diagnosis import diagnose_model

BRIEF = DiagnosisSettings(noise=(1.0, 0.25), probes=2, steps=(1, 4), fine=12)


def made(config: TSDiffConfig) -> TSDiff:
    torch.manual_seed(0)
    model = TSDiff(config)
    awaken(model)
    return model


def small(backbone: Any, **settings: Any) -> TSDiffConfig:
    return TSDiffConfig("h", HORIZON, CONTEXT, backbone=backbone, **settings)


MODELS = {
    "s4d": lambda: small(S4DConfig(patch=4, width=8, blocks=2, state=4), sde=VPSDE()),
    "conditional": lambda: small(S4DConfig(patch=4, width=8, blocks=1, state=4), sde=VPSDE(), conditional=True),
    "s4": lambda: small(S4Config(width=8, blocks=2, state=4, step_embedding=8)),
    "spacetime": lambda: small(SpaceTimeConfig(patch=4, width=8, blocks=2, state=4, prepared=2), sde=VPSDE()),
    "tsflow": tsflow_config,
}


def test_an_exact_model_departs_from_nothing() -> None:
    model, _ = gaussian_model()
    target = 50 + 10 * np.random.default_rng(0).standard_normal(100)
    series = [{"start": pd.Period("2024-01-01", "h"), "target": target.astype(np.float32)}]
    found = diagnose_model(model, series, BRIEF, windows=3)
    assert (found.items, found.dimensions) == (3, LENGTH)
    for level in found.levels:
        assert level.asymmetry < 1e-10  # single precision
        assert level.loop < 1e-4
        assert level.fokker_planck < 0.01
        assert 0 < level.flipd < 2 * LENGTH  # the windows are not of its law, so that it may count too many


@pytest.mark.slow
@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_every_network_is_measured(config: Any) -> None:
    found = diagnose_model(made(config()), sines(), BRIEF, windows=4)
    for level in found.levels:
        values = (level.asymmetry, level.data_asymmetry, level.loop, level.fokker_planck, level.flipd)
        assert all(map(math.isfinite, values))
        assert 0 <= level.asymmetry <= 1
        assert 0 <= level.loop <= 1
        assert level.asymmetry > 1e-12  # a network at random is no gradient
    assert [one.nfe for one in found.sampling] == [1, 4]
    assert not found.notes


def test_a_model_with_an_anchor_is_told_nothing_of_the_windows() -> None:
    week = np.arange(200.0) % 7
    series = [{"start": pd.Period("2023-01-02", "D"), "target": 50 + week}]
    found = diagnose_model(made(context_config()).adapted("D", 16), series, BRIEF, windows=2)
    assert all(math.isfinite(level.fokker_planck) for level in found.levels)


def test_the_bundled_model_in_seconds() -> None:
    model = TSDiffPredictor.from_pretrained("default").adapted("h", 24).model
    settings = DiagnosisSettings(noise=(0.5,), probes=2, steps=(1, 8), fine=30)
    found = diagnose_model(model, sines(length=600, period=24), settings, windows=2)
    assert found.levels[0].asymmetry < 0.1
    assert 0 < found.levels[0].flipd < found.dimensions
    assert found.sampling[1].distance < found.sampling[0].distance


def test_series_that_give_no_windows() -> None:
    empty = [{"start": pd.Period("2024-01-01", "h"), "target": np.full(9, np.nan)}]
    with pytest.raises(DataError, match="no series holds an observed value"):
        diagnose_model(made(MODELS["s4d"]()), empty, BRIEF)
    with pytest.raises(ConfigError, match="windows"):
        diagnose_model(made(MODELS["s4d"]()), sines(), BRIEF, windows=0)


def test_a_predictor_in_place_of_its_model_is_told(trained: TSDiffPredictor) -> None:
    with pytest.raises(ConfigError, match=r"need a TSDiff, such as a predictor's \.model"):
        diagnose_model(trained, sines(1))  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_command(tmp_path: Path, trained: TSDiffPredictor) -> None:
    trained.serialize(tmp_path / "model")
    rows = [
        pd.DataFrame({"item_id": one["item_id"], "timestamp": one["start"].to_timestamp(), "target": one["target"]})
        for one in sines()
    ]
    for frame in rows:
        frame["timestamp"] += pd.to_timedelta(np.arange(len(frame)), "h")
    pd.concat(rows).to_csv(tmp_path / "data.csv", index=False)
    common = ["diagnose", "--model", str(tmp_path / "model"), "--data", str(tmp_path / "data.csv"), "--freq", "h"]
    common += ["--output", str(tmp_path / "out"), "--noise", "1", "--noise", "0.5", "--fine", "20"]
    ran = CliRunner().invoke(application(), [*common, "--measure", "flipd", "--measure", "sampling"])
    assert ran.exit_code == 0, ran.output
    assert "FLIPD" in ran.output
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert [level["noise"] for level in written["levels"]] == [1.0, 0.5]
    assert written["levels"][0]["asymmetry"] is None
    assert written["sampling"][0]["nfe"] == 1
    assert (tmp_path / "out/diagnosis.png").stat().st_size > 10_000
    with pytest.raises(ConfigError, match="measures"):
        CliRunner().invoke(application(), [*common, "--measure", "guess"], catch_exceptions=False)
