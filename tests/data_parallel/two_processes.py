"""What each of two processes does that train together, told which it is by the environment, as torchrun tells it.

Each leaves FOLDER/<rank>.pt: the batches it saw and the weights it ended with, of a least-squares line, a forecaster
and an enhancer; of lines that share the batches of a step, one of them going on from FOLDER/one, where one process had
stopped, and one that stops, in FOLDER/two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.experiment import HardwareSettings
from shared.training.batches import Batch
from shared.training.module import DiffusionModule, TrainingConfig, fit
from shared.training.monitoring import LossHistory
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


class EndAt(Callback):
    """Ends the training at a step, as a limit by the clock does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step


def line(**changes: Any) -> DiffusionModule:
    """The line before training."""
    torch.manual_seed(0)
    return DiffusionModule(Line(), Squares(), replace(CONFIG, **changes))  # type: ignore[arg-type]


def state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of its weights."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def trained_line(folder: Path | None = None, end: int | None = None, accumulate: int = 1, **where: Any) -> Any:
    """A line trained to its end, or to this step; what it saw, drew and came to."""
    module, points, losses = line(accumulate=accumulate), Points(), LossHistory(1)
    ending = [] if end is None else [EndAt(end)]
    fit(module, points, folder, progress=False, callbacks=[losses, *ending], **where)
    return {
        "losses": [row["loss"] for row in losses.rows],
        "weights": state(module.denoiser),
        "averaged": state(module.ema_denoiser),
        "batches": [(batch.x0, batch.y) for batch in points.given],
        "draws": module.loss.draws,
    }


def _refused(folder: Path) -> str:
    try:
        fit(line(), Points(), folder, progress=False, **TWO)
    except ConfigError as error:
        return str(error)
    return ""


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
    found = {
        "line": trained_line(**TWO),
        "shared": trained_line(accumulate=4, **TWO),
        "resumed": trained_line(folder / "one", accumulate=4, **TWO),
        "stopped": trained_line(folder / "two", 3, accumulate=4, **TWO),
        "forecaster": _forecaster(folder),
        "enhancer": _enhancer(folder),
        "refused": _refused(folder / ("two" if rank else "nothing")),
    }
    assert rank == torch.distributed.get_rank()
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.barrier()  # the first process ends when both files are there
