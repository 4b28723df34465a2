"""Flow maps of speech, and the rollout of a model's own sampler: trained, saved, loaded, and used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from shared.flow_maps import LagrangianMap
from shared.sde import FlowSDE
from shared.training.config import TrainingConfig
from speech.enhancer import Enhancer
from speech.model.config import Parameterisation, SamplingConfig
from speech.model.model import SpeechModel
from speech.training.fit import new_model, train
from speech.training.rollout import Rollout
from speech.training.settings import read_experiment
from speech.training.terms import ObjectiveConfig, SpeechObjective
from tests.speech.conftest import TINY_FRONT_END, TINY_LIGHT
from tests.speech.models import tiny_model
from tests.speech.training.test_speech_training import Sounds, experiment, run

MAP = replace(TINY_LIGHT, span=True)
KINDS = ["lagrangian", "shortcut", "mean_flow", "consistency"]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that maps start from."""
    folder = tmp_path_factory.mktemp("started")
    run(experiment(10), folder)
    return folder / "model"


def map_settings(folder: Path | None, kind: str = "lagrangian", steps: int = 3, **model: Any) -> Any:
    base = experiment(steps)
    objective = replace(base.objective, flow_map=kind)
    made = replace(base.model, backbone=MAP, sampling=SamplingConfig("map", steps=1), **model)
    return replace(base, model=made, objective=objective, start_from=None if folder is None else str(folder))


@pytest.fixture(scope="module")
def mapped(started: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SpeechModel, Path]:
    folder = tmp_path_factory.mktemp("mapped")
    return run(map_settings(started), folder).model, folder / "model"


def noisy(count: int = 2) -> np.ndarray:
    return 0.1 * np.random.default_rng(3).standard_normal((count, 1, 2000)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_every_objective_trains_a_map_from_a_model(started: Path, kind: str, tmp_path: Path) -> None:
    model = run(map_settings(started, kind), tmp_path).model
    moved = model.get_parameter("backbone.span.outer.weight")
    assert float(moved.abs().max()) > 0
    enhancer = Enhancer(model, sampler="map", steps=1)
    assert np.isfinite(enhancer.enhance(noisy()[0], 16000)).all()
    assert enhancer.nfe == 1


def test_a_flow_around_the_recording_has_maps(tmp_path: Path) -> None:
    made = map_settings(None, sde=FlowSDE(scale=0.3), parameterisation=Parameterisation("data"))
    enhancer = Enhancer(run(made, tmp_path).model, sampler="map", steps=2)
    assert np.isfinite(enhancer.enhance(noisy()[0], 16000)).all()
    assert enhancer.nfe == 2


def test_results_differ_by_seed_and_not_by_batch(mapped: tuple[SpeechModel, Path]) -> None:
    model, _ = mapped
    enhancer = Enhancer(model, steps=2)
    together = enhancer.enhance(noisy(), 16000)
    np.testing.assert_allclose(enhancer.enhance(noisy()[1], 16000), together[1], atol=1e-6)
    other = enhancer.enhance(noisy(), 16000, seed=1)
    assert float(np.abs(other - together).max()) > 1e-4


def test_it_is_saved_and_loaded(mapped: tuple[SpeechModel, Path]) -> None:
    model, folder = mapped
    again = Enhancer.from_pretrained(folder)
    assert again.sampling.sampler == "map"
    assert again.model.denoiser.is_map
    np.testing.assert_array_equal(again.enhance(noisy(), 16000), Enhancer(model).enhance(noisy(), 16000))


def test_a_map_begins_as_the_model(started: Path) -> None:
    model, start = new_model(map_settings(started)), SpeechModel.from_pretrained(started)
    x, y = 0.1 * torch.randn(2, 2, 1, TINY_FRONT_END.frequencies, 16, dtype=torch.complex64)
    t, r = torch.tensor([[0.9, 0.5], [0.3, 0.0]])
    with torch.no_grad():
        expected = start.denoise(x, y, t)
        for to in (r, None):
            torch.testing.assert_close(model.eval().denoise(x, y, t, to), expected)


def test_a_causal_map_runs_as_a_stream() -> None:
    torch.manual_seed(0)
    base = tiny_model(causal=True)
    config = replace(base.config, backbone=replace(base.config.backbone, span=True), sampling=SamplingConfig("map", 2))
    model = SpeechModel(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.05 * torch.randn_like(weights))
    enhancer = Enhancer(model, upper_band="drop")
    wave = noisy()[0]
    stream = enhancer.stream(16000, peak=float(np.abs(wave).max()))
    blocks = [stream.push(wave[:, i : i + 300]) for i in range(0, 2000, 300)]
    streamed = np.concatenate([*blocks, stream.flush()], axis=1)
    whole = enhancer.enhance(wave, 16000, peak=float(np.abs(wave).max()))
    np.testing.assert_allclose(streamed, whole, atol=1e-4)


def test_what_does_not_fit_is_refused_with_the_remedy(started: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no flow map"):
        Enhancer(SpeechModel.from_pretrained(started), sampler="map", steps=1).enhance(noisy()[0], 16000)
    base = experiment(2)
    with pytest.raises(ConfigError, match="span=True among its backbone's settings"):
        run(replace(base, objective=replace(base.objective, flow_map=LagrangianMap())), tmp_path)
    with pytest.raises(ConfigError, match="there is no flow_map objective"):
        run(replace(base, model=replace(base.model, backbone=MAP)), tmp_path)
    with pytest.raises(ConfigError, match="start_from"):
        run(map_settings(None, "consistency"), tmp_path)


def test_the_settings_that_come_with_the_package_train_a_map(started: Path, tmp_path: Path) -> None:
    small = [
        f"model.backbone.{name}={value}" for name, value in vars(TINY_LIGHT).items() if name not in ("kind", "span")
    ]
    small = [line.replace("(", "[").replace(")", "]").replace("False", "false") for line in small]
    small += [f"model.frontend.{name}={getattr(TINY_FRONT_END, name)}" for name in ("n_fft", "hop_length")]
    small += ["objective.pesq_weight=0", "training.max_steps=3", f"start_from={started}"]
    made = read_experiment("light_map", small)
    assert made.model.backbone == MAP
    trained = train(made, Sounds(), [], tmp_path, progress=False, tensorboard=False)
    assert trained.steps == 3
    assert (Enhancer(trained.model).sampling.sampler, trained.model.config.sampling.steps) == ("map", 1)


# The rollout. ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sampling",
    [SamplingConfig("ode1", 1), SamplingConfig("sde2", 3), SamplingConfig("ode2", 3, reverse_starting_point=0.9)],
    ids=["one call", "noise", "late start"],
)
def test_the_rollout_is_the_sampler_with_the_gradient_of_its_last_call(sampling: SamplingConfig) -> None:
    from speech.inference.sampling import sample_spectrogram

    model = tiny_model()
    y = 0.1 * torch.randn(2, 1, 64, 16, dtype=torch.complex64)
    made = Rollout(sampling).estimate(model.denoiser, y, torch.Generator().manual_seed(1))
    expected = sample_spectrogram(model, y, sampling, torch.Generator().manual_seed(1)).x
    torch.testing.assert_close(made.detach(), expected)
    made.abs().square().sum().backward()
    assert any(bool((weight.grad != 0).any()) for weight in model.parameters() if weight.grad is not None)


@pytest.mark.slow
def test_a_rollout_lowers_the_error_of_the_own_sampler(started: Path, tmp_path: Path) -> None:
    rollout = Rollout(SamplingConfig("sde1", steps=2))
    base = experiment(30)
    objective = ObjectiveConfig(loss="data_prediction", l1_weight=0.01, rollout=rollout)
    training = TrainingConfig(max_steps=30, learning_rate=2e-3, ema_decay=0.5)
    made = replace(base, objective=objective, start_from=str(started), training=training)
    batch = Sounds().batch(np.random.default_rng(77))
    measure = SpeechObjective(objective)

    def error(model: SpeechModel) -> float:
        with torch.no_grad():
            return float(measure(model, batch.x0, batch.y, generator=torch.Generator().manual_seed(5)).mean())

    before = error(SpeechModel.from_pretrained(started))
    assert error(run(made, tmp_path).model) < 0.9 * before


def test_a_map_is_rolled_out_too(mapped: tuple[SpeechModel, Path], tmp_path: Path) -> None:
    made = map_settings(mapped[1])
    rollout = Rollout(SamplingConfig("map", steps=2))
    made = replace(made, objective=replace(made.objective, flow_map=None, rollout=rollout))
    assert run(made, tmp_path).model.denoiser.is_map


def test_rollouts_that_cannot_be_are_refused() -> None:
    y = 0.1 * torch.randn(1, 1, 64, 16, dtype=torch.complex64)
    with pytest.raises(ConfigError, match="last data prediction"):
        Rollout(SamplingConfig("ode1", 2, t_end=0.3)).estimate(tiny_model().denoiser, y)
    with pytest.raises(ConfigError, match="a rollout needs loss='data_prediction'"):
        ObjectiveConfig(loss="denoiser", rollout=Rollout())
    with pytest.raises(ConfigError, match="train the map first"):
        ObjectiveConfig(loss="data_prediction", rollout=Rollout(), flow_map="lagrangian")
