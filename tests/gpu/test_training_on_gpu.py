"""Training on a GPU: as on the CPU but for rounding, in every precision, and on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.experiment import HardwareSettings
from shared.training.config import TrainingConfig
from speech.training.fit import train
from tests.gpu.ways import WAYS, Way, every_way
from tests.speech.training.test_speech_training import Sounds, experiment, sound
from tests.tsdiff.conftest import sines, tiny_estimator
from tests.tsdiff.model.test_context import config
from tests.tsdiff.pretraining.test_anchored import source
from tsdiff import TSDiff
from tsdiff.pretraining.training import train as train_forecaster

pytestmark = pytest.mark.gpu
Weights = Mapping[str, Tensor]
STEPS, RATE = 4, 3e-3
FLOAT32 = WAYS["float32"]


def settings(way: Way, steps: int) -> TrainingConfig:
    """Of a few steps whose rate does not depend on how many they are."""
    return TrainingConfig(
        max_steps=steps,
        learning_rate=RATE,
        warmup=0.0,
        decay="constant",
        ema_decay=0.5,
        precision=way.precision,
        compile=way.compiled,
    )


def enhancer(folder: Path, device: str, training: TrainingConfig) -> Weights:
    """The light network, measured on a recording as it goes."""
    hardware = HardwareSettings("cpu" if device == "cpu" else "cuda")
    made = replace(experiment(), training=training, hardware=hardware)
    recordings = [("recording", *sound(np.random.default_rng(9), 2000))]
    trained = train(made, Sounds(), recordings, folder, progress=False, tensorboard=False)
    assert trained.checks[-1]["step"] == training.max_steps
    return trained.model.state_dict()


def estimator(folder: Path, device: str, training: TrainingConfig) -> Weights:
    """A forecaster by self-guidance."""
    made = tiny_estimator(training=training, device=device)
    return made.train(sines(), folder=folder, progress=False).model.denoiser.state_dict()


def forecaster(folder: Path, device: str, training: TrainingConfig) -> Weights:
    """The kind that ships."""
    torch.manual_seed(0)
    model = TSDiff(config())
    trained = train_forecaster(model, source(), training, folder, device=device, progress=False)
    return trained.denoiser.state_dict()


Job = Callable[[Path, str, TrainingConfig], Weights]
every_job = pytest.mark.parametrize(
    "job", [pytest.param(job, id=job.__name__) for job in (enhancer, estimator, forecaster)]
)


def ran(job: Job, folder: Path, device: str, training: TrainingConfig) -> Tensor:
    """All weights that a training ends with, on the CPU."""
    folder.mkdir(exist_ok=True)
    torch.compiler.reset()
    weights = job(folder, device, training)
    return torch.cat([weight.detach().cpu().flatten() for weight in weights.values() if weight.is_floating_point()])


def strayed(found: Tensor, wanted: Tensor) -> float:
    """How far weights are apart, as `Way.strayed` has it."""
    return float((found - wanted).square().mean().sqrt()) / (STEPS * RATE)


@every_way
@every_job
def test_it_moves_the_weights_as_on_the_cpu(job: Job, way: Way, device: str, tmp_path: Path) -> None:
    wanted = ran(job, tmp_path / "cpu", "cpu", settings(FLOAT32, STEPS))
    found = ran(job, tmp_path / "there", device, settings(way, STEPS))
    assert strayed(found, wanted) < way.strayed


@every_way
@every_job
def test_a_stopped_training_goes_on(job: Job, way: Way, device: str, tmp_path: Path) -> None:
    whole = ran(job, tmp_path / "whole", device, settings(way, STEPS))
    ran(job, tmp_path / "parts", device, settings(way, STEPS // 2))
    parts = ran(job, tmp_path / "parts", device, settings(way, STEPS))
    assert strayed(parts, whole) < FLOAT32.strayed


@every_job
def test_a_state_goes_from_the_cpu_to_the_gpu_and_back(job: Job, device: str, tmp_path: Path) -> None:
    for steps, place in ((1, "cpu"), (2, device), (STEPS, "cpu")):
        found = ran(job, tmp_path / "parts", place, settings(FLOAT32, steps))
    assert strayed(found, ran(job, tmp_path / "whole", "cpu", settings(FLOAT32, STEPS))) < FLOAT32.strayed
