"""Trained models that are found again: by everything that they depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.noise import GaussianProcess, OrnsteinUhlenbeck
from shared.objectives import DiffusionLoss
from shared.sde import FlowSDE
from shared.training.config import TrainingConfig
from tests.tsdiff.conftest import sines
from tsdiff import TSDiffEstimator
from tsdiff.commands.trained import fingerprint, trained_predictor
from tsdiff.model.backbones import S4DConfig
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.missing import MissingContext

USUAL: dict[str, Any] = {"freq": "h", "prediction_length": 8, "context_length": 24, "conditional": True}
OTHERS: dict[str, Any] = {
    "freq": "D",
    "prediction_length": 12,
    "context_length": 48,
    "scaling": "standard",
    "calendar": "none",
    "output": "noise",
    "channels": 2,
    "lags": (24,),
    "dynamic_features": 1,
    "static_features": 1,
    "categories": (3,),
    "scale_feature": True,
    "conditional": False,
    "transform": "log",
    "regression": 0.1,
    "missing": MissingContext(),
    "backbone": S4DConfig(patch=4),
    "sde": FlowSDE(),
    "loss": DiffusionLoss(),
    "flow_map": "lagrangian",
    "start_from": "default",
    "training": TrainingConfig(max_steps=3),
    "batch_size": 8,
    "scale_power": 1.0,
    "horizon_weight": 5.0,
    "from_data": (),
}
BESIDE: dict[str, dict[str, Any]] = {
    "transform": {"scaling": "standard"},
    "regression": {"scaling": "standard", "sde": FlowSDE(noise=GaussianProcess(OrnsteinUhlenbeck(2.0)))},
}
"""What another setting needs."""
WITHOUT_EFFECT = {"sampling", "device"}


def told(**settings: Any) -> dict[str, Any]:
    return fingerprint(sines(1, 40), TSDiffEstimator(**{**USUAL, **settings}))


def test_every_setting_of_the_estimator_is_tried() -> None:
    assert OTHERS.keys() | WITHOUT_EFFECT == set(TSDiffEstimator._own_names())


@pytest.mark.parametrize("name", OTHERS)
def test_every_setting_that_decides_a_training_is_told(name: str) -> None:
    beside = BESIDE.get(name, {})
    assert told(**beside, **{name: OTHERS[name]}) != told(**beside)


def test_usual_settings_and_those_of_sampling_are_told_as_older_files_have_them() -> None:
    plain = told(sampling=Sampling(steps=3), device="cpu")
    assert plain == told()
    assert plain.keys() == {"data", "config", "training", "batch_size", "from_data"}


def test_a_model_of_another_objective_is_trained_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbone = S4DConfig(patch=4, width=8, blocks=1, state=4)
    usual: dict[str, Any] = {"backbone": backbone, "training": TrainingConfig(max_steps=2), "scaling": "mean"}
    for place, settings in enumerate(({}, {"horizon_weight": 9.0}, {"horizon_weight": 9.0})):
        estimator = TSDiffEstimator("h", 8, 24, **usual, **settings)
        trained_predictor(sines(), estimator, tmp_path / str(place), retrain=False, progress=False)
        assert ("using the model trained before" in capsys.readouterr().err) == (place == 2)
