"""What each of two processes does that train together, told which it is by the environment, as torchrun tells it.

Each leaves FOLDER/<rank>.pt: the batches it saw and the weights it ended with, of a least-squares line, a forecaster
and an enhancer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shared.experiment import HardwareSettings
from shared.training.batches import Batch
from shared.training.module import DiffusionModule, TrainingConfig, fit
from speech.training.fit import train
from tests.speech.training.test_speech_training import Sounds, experiment, sound
from tests.tsdiff.conftest import sines, tiny_estimator

TWO: Mapping[str, Any] = {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}
CONFIG = TrainingConfig(max_steps=5, learning_rate=0.05, warmup=0.0, decay="constant", ema_decay=0.5)


class Line(nn.Module):
    """A line in three variables."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


class Squares:
    """Squared distance of the line from `y`: no noise, so that the batch alone decides; keeps what it could draw."""

    def __init__(self) -> None:
        self.draws: list[Tensor] = []

    def __call__(
        self, network: nn.Module, x0: Tensor, y: Tensor | None, *, generator: torch.Generator, **_: Any
    ) -> Tensor:
        assert y is not None
        self.draws.append(torch.rand(4, generator=generator))
        return (network(x0) - y).square().mean(dim=1)


class Points:
    """Points near a plane; keeps the batches that it gave."""

    def __init__(self) -> None:
        self.given: list[Batch] = []

    def batch(self, rng: np.random.Generator) -> Batch:
        x = torch.from_numpy(rng.normal(size=(8, 3)).astype(np.float32))
        y = x.sum(dim=1, keepdim=True) + 0.1 * torch.from_numpy(rng.normal(size=(8, 1)).astype(np.float32))
        self.given.append(Batch(x, y))
        return self.given[-1]


class Replayed:
    """The given batches, one after the other."""

    def __init__(self, batches: list[Batch]) -> None:
        self.left = iter(batches)

    def batch(self, rng: np.random.Generator) -> Batch:
        return next(self.left)


def line() -> DiffusionModule:
    """The line before training."""
    torch.manual_seed(0)
    return DiffusionModule(Line(), Squares(), CONFIG)  # type: ignore[arg-type]


def state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of its weights."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _line() -> dict[str, Any]:
    module, points = line(), Points()
    fit(module, points, progress=False, **TWO)
    return {
        "weights": state(module.denoiser),
        "averaged": state(module.ema_denoiser),
        "batches": [(batch.x0, batch.y) for batch in points.given],
        "draws": module.loss.draws,  # type: ignore[attr-defined]
    }


def _forecaster(folder: Path) -> dict[str, Any]:
    estimator = tiny_estimator(4, save_every=1e6)
    predictor = estimator.train(sines(), folder=folder / "forecaster", progress=False, **TWO)
    return {"weights": state(predictor.model.denoiser)}


def _enhancer(folder: Path) -> dict[str, Any]:
    recordings = [("recording", *sound(np.random.default_rng(9), 2000))]
    made = replace(experiment(4), hardware=HardwareSettings("cpu", 2, "ddp"))
    trained = train(made, Sounds(), recordings, folder / "enhancer", progress=False, tensorboard=False)
    return {"weights": state(trained.model), "checks": [dict(row) for row in trained.checks]}


def main(folder: Path, rank: int, port: int) -> None:
    """Train all three as the process `rank` of those that talk by this port."""
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    found = {"line": _line(), "forecaster": _forecaster(folder), "enhancer": _enhancer(folder)}
    assert rank == torch.distributed.get_rank()
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.barrier()  # the first process ends when both files are there
