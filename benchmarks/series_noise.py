"""On real series: noise with a colour against white at equal calls and training, SpaceTime against S4 and patched S4D
at equal processor time, and positive series with and without their logarithm.

Scored on validation windows cut from the end of the training parts; the test parts are not touched. One seed and short
trainings, so that differences of a few percent are chance.

Example:
    OMP_NUM_THREADS=1 python benchmarks/series_noise.py
    OMP_NUM_THREADS=1 python benchmarks/series_noise.py --part networks
    OMP_NUM_THREADS=1 python benchmarks/series_noise.py --part positive --windows 80
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import lightning.pytorch as L
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ablations import validation
from benchmarks.machine import header, table
from benchmarks.sets import DEFAULT_DATA, DataFolder
from shared.files.io import write_text
from shared.noise import GaussianProcess, OrnsteinUhlenbeck, Periodic, SumOfKernels
from shared.sde import FlowSDE
from tsdiff import TSDiffPredictor
from tsdiff.baselines.training import TrainingLimit
from tsdiff.data import Entry, WindowSplit
from tsdiff.evaluation.metrics import evaluate
from tsdiff.experiment.presets import PRESETS
from tsdiff.model.backbones import S4Config, S4DConfig, SpaceTimeConfig
from tsdiff.windows.transforms import InverseSoftplus, Log

CALLS = (2, 4, 8, 16)
ENDLESS = 10**6
"""Steps of a training that its time ends."""
SAMPLES = 100
USUAL = "pjm_hourly"
DAY = OrnsteinUhlenbeck(24.0)
NOISES: dict[str, GaussianProcess | None] = {
    "white": None,
    "Ornstein–Uhlenbeck, a day": GaussianProcess(DAY),
    "periodic, a day": GaussianProcess(Periodic(24.0)),
    "both": GaussianProcess(SumOfKernels((DAY, Periodic(24.0)))),
}
BACKBONES: dict[str, Any] = {
    "patched S4D": S4DConfig(patch=24),
    "S4": S4Config(),
    "SpaceTime": SpaceTimeConfig(),
    "patched SpaceTime": SpaceTimeConfig(patch=24),
}
TRANSFORMS: dict[str, dict[str, Any]] = {
    "mean": {"scaling": "mean"},
    "standard": {"scaling": "standard"},
    "logarithm, standard": {"scaling": "standard", "transform": Log(1.0)},
    "inverse softplus, standard": {"scaling": "standard", "transform": InverseSoftplus(100.0, 1.0)},
}


class Part(Enum):
    """What is measured."""

    noise = "noise"
    networks = "networks"
    positive = "positive"


class Counted(TrainingLimit):
    """Tells how many steps there were."""

    steps = 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *told: Any) -> None:
        """Count."""
        self.steps = trainer.global_step
        super().on_train_batch_end(trainer, pl_module, *told)


class Data:
    """The training part of a set and its validation windows."""

    def __init__(self, name: str, folder: Path, windows: int):
        self.name = name
        self.freq, split, self.pairs = validation(name, folder, windows)
        self.split: WindowSplit = split

    def trained(self, steps: int, limit: TrainingLimit | None = None, **settings: Any) -> TSDiffPredictor:
        """A forecaster with the set's preset and these settings; with a limit, which rules the rates too, so long."""
        preset = replace(PRESETS[self.name], output="velocity", members=1, **settings).with_training(max_steps=steps)
        if limit is not None:
            preset = preset.with_training(warmup=0.0, decay="constant")
        estimator = preset.estimator(self.freq, len(self.pairs[0][1]["target"]), guidance="mse")
        return estimator.train(self.split.train, progress=False, callbacks=[] if limit is None else [limit])

    def crps(self, predictor: TSDiffPredictor) -> float:
        """Of its samples."""
        past: list[Entry] = [entry for entry, _ in self.pairs]
        return float(evaluate(predictor.predict(past, SAMPLES), self.pairs).crps)


def of_noise(data: Data, steps: int) -> str:
    """Every noise at every number of calls, even in t."""
    rows = []
    for name, noise in NOISES.items():
        predictor = data.trained(steps, sde=FlowSDE(noise=noise))
        scores = []
        for calls in CALLS:
            times = tuple(torch.linspace(1, 0, calls + 1, dtype=torch.float64).tolist())
            drawn = predictor.with_sampling(method="ode2", steps=calls, schedule=times)
            scores.append(f"{data.crps(drawn):.4f}")
        rows.append([name, *scores])
        print(data.name, *rows[-1], flush=True)
    return table(["noise \\ calls", *map(str, CALLS)], rows)


def of_backbones(data: Data, minutes: float) -> str:
    """Every network after as many processor minutes of training."""
    rows = []
    for name, backbone in BACKBONES.items():
        limit = Counted(-1, minutes)
        predictor = data.trained(ENDLESS, limit, backbone=backbone)
        spent = (time.process_time() - limit.started) / 60
        size = sum(weight.numel() for weight in predictor.model.parameters())
        rows.append([name, f"{size:,}", str(limit.steps), f"{spent:.1f}", f"{data.crps(predictor):.4f}"])
        print(data.name, *rows[-1], flush=True)
    return table(["network", "weights", "steps", "minutes", "CRPS"], rows)


def of_transforms(data: list[Data], steps: int) -> str:
    """Every transform on every set."""
    rows = []
    for name, settings in TRANSFORMS.items():
        rows.append([name, *(f"{data_set.crps(data_set.trained(steps, **settings)):.4f}" for data_set in data)])
        print(*rows[-1], flush=True)
    return table(["scaling", *(data_set.name for data_set in data)], rows)


def main(
    part: Annotated[Part, typer.Option(help="What to measure.")] = Part.noise,
    name: Annotated[str, typer.Option("--set", help="Set of the first two parts.")] = USUAL,
    steps: Annotated[int, typer.Option(help="Training steps for each noise and transform.")] = 1000,
    minutes: Annotated[float, typer.Option(help="Processor minutes of training for each network.")] = 0.5,
    windows: Annotated[int, typer.Option(help="Validation windows at most.")] = 20,
    data: DataFolder = DEFAULT_DATA,
    output: Annotated[Path, typer.Option(help="Folder for the table.")] = Path("benchmarks/results"),
) -> None:
    """Train and score everything of a part; write its table."""
    torch.set_num_threads(1)
    scored = f"\nCRPS of {SAMPLES} samples on up to {windows} validation windows, one seed. "
    if part is Part.noise:
        text = header(f"Noise with a colour, {name}") + scored
        text += f"A straight path, {steps} training steps, ode2 in steps even in t, the guidance of the covariance.\n\n"
        text += of_noise(Data(name, data, windows), steps)
    elif part is Part.networks:
        text = header(f"Networks at equal processor time, {name}") + scored + "\n\n"
        text += of_backbones(Data(name, data, windows), minutes)
    else:
        sets = [Data(each, data, windows) for each in ("tourism_quarterly", "electricity_weekly")]
        text = header("Positive series") + scored + f"{steps} training steps.\n\n" + of_transforms(sets, steps)
    other = "" if part is Part.positive or name == USUAL else f"_{name}"
    write_text(output / f"series_{part.value}{other}.md", text)


if __name__ == "__main__":
    typer.run(main)
