"""Trained models that are found again: by everything that they depend on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from lightning.pytorch.callbacks import Callback

from shared.errors import ConfigError
from shared.noise import GaussianProcess, OrnsteinUhlenbeck
from shared.objectives import DiffusionLoss
from shared.sde import FlowSDE
from shared.training.config import TrainingConfig
from shared.training.monitoring import CPULimit
from tests.shared.training.test_training import PressCtrlC
from tests.tsdiff.conftest import sines
from tsdiff import TSDiffEstimator, TSDiffPredictor
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


def brief(steps: int = 2, **settings: Any) -> TSDiffEstimator:
    """Trains in no time."""
    backbone = S4DConfig(patch=4, width=8, blocks=1, state=4)
    return TSDiffEstimator(
        "h", 8, 24, backbone=backbone, training=TrainingConfig(max_steps=steps), scaling="mean", **settings
    )


def test_a_model_found_beside_is_left_in_place_of_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, beside = tmp_path / "here", tmp_path / "beside"
    options: dict[str, Any] = {"retrain": False, "progress": False}
    first, _ = trained_predictor(sines(), brief(2), here, **options)
    second, _ = trained_predictor(sines(), brief(3), beside, **options)
    found, _ = trained_predictor(sines(), brief(3, sampling=Sampling(steps=5)), here, **options)
    assert f"using the model trained before, {beside}" in capsys.readouterr().err
    left = TSDiffPredictor.from_pretrained(here / "model")
    assert left.sampling == found.sampling == Sampling(steps=5)
    assert left.model.state_dict().keys() == second.model.state_dict().keys()
    for name, value in second.model.state_dict().items():
        assert torch.equal(left.model.state_dict()[name], value)
    again, _ = trained_predictor(sines(), brief(2), here, **options)
    assert "training TSDiff for 2 steps" in capsys.readouterr().err  # what is there is not it any more
    for name, value in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)


def test_sampling_is_left_as_the_last_run_has_it(tmp_path: Path) -> None:
    for steps in (4, 6):
        estimator = brief(sampling=Sampling(steps=steps))
        trained_predictor(sines(), estimator, tmp_path / "out", retrain=False, progress=False)
        assert TSDiffPredictor.from_pretrained(tmp_path / "out/model").sampling.steps == steps


@pytest.mark.parametrize(("where", "then"), [("a/seed-3", "b/seed-3"), ("a/seed-3", "b"), ("a", "b/seed-3")])
def test_models_of_several_seeds_are_found_beside(
    where: str, then: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_predictor(sines(), brief(), tmp_path / where, retrain=False, progress=False)
    trained_predictor(sines(), brief(), tmp_path / then, retrain=False, progress=False)
    assert f"using the model trained before, {tmp_path / where}/model" in capsys.readouterr().err


def test_a_model_of_another_objective_is_trained_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, settings in enumerate(({}, {"horizon_weight": 9.0}, {"horizon_weight": 9.0})):
        trained_predictor(sines(), brief(**settings), tmp_path / str(place), retrain=False, progress=False)
        assert ("using the model trained before" in capsys.readouterr().err) == (place == 2)


def test_what_starts_from_a_model_that_was_trained_again_is_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = tmp_path / "start"
    for steps, found in ((2, False), (2, True), (3, False)):
        trained_predictor(sines(), brief(steps), start, retrain=False, progress=False)
        capsys.readouterr()
        trained_predictor(
            sines(), brief(4, start_from=start / "model"), tmp_path / "then", retrain=False, progress=False
        )
        assert ("using the model trained before" in capsys.readouterr().err) == found
    trained_on = tmp_path / "then/model/trained_on.json"
    told = json.loads(trained_on.read_text())
    del told["fingerprint"]["start_weights"]  # as an older version wrote it
    trained_on.write_text(json.dumps(told))
    then = brief(4, start_from=start / "model")
    trained_predictor(sines(), then, tmp_path / "then", retrain=False, progress=False)
    shutil.rmtree(start)  # what it started from is no longer needed
    trained_predictor(sines(), then, tmp_path / "then", retrain=False, progress=False)
    assert capsys.readouterr().err.count("using the model trained before") == 2


def test_a_model_that_was_saved_over_a_trained_one_is_not_taken_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_predictor(sines(), brief(), tmp_path, retrain=False, progress=False)
    other, _ = trained_predictor(sines(), brief(4), tmp_path / "other", retrain=False, progress=False)
    capsys.readouterr()
    other.serialize(tmp_path / "model")
    for told in (f"training again: {tmp_path / 'model'} holds other weights", "using the model trained before"):
        trained_predictor(sines(), brief(), tmp_path, retrain=False, progress=False)
        assert told in capsys.readouterr().err


def test_a_damaged_model_is_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Even one whose first bytes state a header that is longer than any file."""
    trained_predictor(sines(), brief(), tmp_path, retrain=False, progress=False)
    (tmp_path / "model/model.safetensors").write_bytes(b"\xff" * 100)
    trained_predictor(sines(), brief(), tmp_path, retrain=False, progress=False)
    assert "training again: " in capsys.readouterr().err
    TSDiffPredictor.from_pretrained(tmp_path / "model")


def test_an_earlier_state_stays_until_a_new_training_has_come_to_one(tmp_path: Path) -> None:
    """Of a training that is refused for its settings nothing is removed; one that begins anew does not go on."""
    with pytest.raises(typer.Exit):
        trained_predictor(sines(), brief(3), tmp_path, retrain=False, progress=False, callbacks=[PressCtrlC(1)])
    (state,) = tmp_path.glob("training-*/last.ckpt")
    before = state.read_bytes()
    with pytest.raises(ConfigError, match="strategy='none'"):
        trained_predictor(sines(), brief(3), tmp_path, retrain=True, strategy="none")
    assert state.read_bytes() == before
    steps = Steps()
    trained_predictor(sines(), brief(3), tmp_path, retrain=True, progress=False, callbacks=[steps])
    assert steps.count == 3
    assert not state.parent.is_dir()


class Steps(Callback):
    """Counts those of a training."""

    count = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.count += 1


def test_a_model_that_is_found_draws_as_wide_as_its_training_chose(tmp_path: Path) -> None:
    """Even of a training that ends with its first step."""

    def found() -> TSDiffPredictor:
        backbone = S4DConfig(patch=4, width=8, blocks=1, state=4)
        settings: dict[str, Any] = {"backbone": backbone, "scaling": "mean", "from_data": "max_steps"}
        estimator = TSDiffEstimator("h", 8, 24, sampling=Sampling(steps=2), **settings)
        return trained_predictor(sines(8, 60), estimator, tmp_path, retrain=False, callbacks=[CPULimit(0.0)])[0]

    first = found()
    assert first.sampling.width != 1
    assert found().sampling == first.sampling
    assert TSDiffPredictor.from_pretrained(tmp_path / "model").sampling == first.sampling
