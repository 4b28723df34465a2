"""Training on two processes of the CPU beside one with the same batches: speed, losses, and a process that is killed.

    python benchmarks/data_parallel.py                          an idle machine of two cores, a quarter of an hour
    python benchmarks/data_parallel.py --steps 20 --kills 1     small

The forecaster of the embedded data and the light enhancer, on made-up sounds, are trained with two batches a step: by
one process that takes both, and by two that take one each and talk by gloo, each process on one thread. Then the second
of two is killed (SIGKILL) at a random step, and the training goes on from what was saved: with two processes again, or
with one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from lightning.pytorch.callbacks import Callback

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.io import write_text
from shared.training.batches import Batch
from shared.training.module import LAST_STATE, DiffusionModule, fit
from shared.training.monitoring import LossHistory
from speech.training.fit import new_model, objective_of
from speech.training.settings import read_experiment as read_speech
from tsdiff.experiment.experiment import load_experiment_data, read_experiment

TOGETHER = 2
"""Batches a step."""
FIRST = 5
"""Steps that are not timed."""


class Sounds:
    """Tones in noise."""

    def __init__(self, size: int, samples: int):
        self.size, self.samples = size, samples

    def batch(self, rng: np.random.Generator) -> Batch:
        time = np.arange(self.samples) / 16000
        tones = rng.uniform(200, 900, (self.size, 3, 1))
        clean = (0.1 * np.sin(2 * np.pi * tones * time)).sum(axis=1)
        noisy = clean + rng.normal(0, 0.1, clean.shape)
        return Batch(*(torch.from_numpy(part.astype(np.float32)) for part in (clean, noisy)))


class Die(Callback):
    """Kills the second process at a step."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def train(kind: str, steps: int, processes: int, folder: Path, die: int | None) -> dict[str, Any]:
    """One process of a training, which goes on from what there is in the folder; losses, seconds and weights."""
    losses = LossHistory(1)
    callbacks: list[Callback] = [losses, *([] if die is None else [Die(die)])]
    changes = [f"training.max_steps={steps}", f"training.accumulate={TOGETHER}", "training.save_every_seconds=1.0"]
    where: dict[str, Any] = {"devices": processes, "strategy": "ddp" if processes > 1 else "auto"}
    if kind == "forecaster":
        experiment = read_experiment(None, changes)
        data = load_experiment_data(experiment.data)
        estimator = experiment.estimator(data, 0)
        predictor = estimator.train(data.split.train, folder=folder, progress=False, callbacks=callbacks, **where)
        weights = predictor.model.denoiser.state_dict()
    else:
        made = read_speech(None, [*changes, "objective.pesq_weight=0"])
        model = new_model(made)
        module = DiffusionModule(model, objective_of(made, model), made.training)
        sounds = Sounds(made.data.batch_size, made.crop_samples(model.frame_multiple))
        fit(module, sounds, folder, progress=False, callbacks=callbacks, **where)
        weights = module.ema_denoiser.state_dict()
    return {"rows": losses.rows, "weights": {name: value.clone() for name, value in weights.items()}}


def one_process(kind: str, steps: int, processes: int, folder: Path, die: int | None) -> None:
    """Train, and leave what came of it in the folder."""
    torch.set_num_threads(1)
    found = train(kind, steps, processes, folder, die)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        torch.save(found, folder / "found.pt")


def start(kind: str, steps: int, processes: int, folder: Path, die: int | None = None) -> list[int]:
    """Train in so many processes; their exit statuses."""
    told = {"kind": kind, "steps": steps, "processes": processes, "folder": str(folder), "die": die}
    port = str(find_free_network_port())
    running = []
    for rank in range(processes):
        where = {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(where if processes > 1 else {})}
        command = [sys.executable, __file__, "--side", json.dumps(told)]
        with (folder / f"log{rank}.txt").open("w") as log:
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    statuses = []
    for process in reversed(running):  # the first may wait for one that is dead
        statuses.append(process.wait(3600))
    return statuses[::-1]


def trained(kind: str, steps: int, processes: int, folder: Path) -> dict[str, Any]:
    """What a training to its end came to.

    Raises:
        RuntimeError: a process failed.
    """
    if any(start(kind, steps, processes, folder)):
        raise RuntimeError("\n".join(path.read_text() for path in folder.glob("log*.txt")))
    return torch.load(folder / "found.pt", weights_only=True)


def rate(rows: Sequence[dict[str, float]]) -> float:
    """Steps a second after the first few."""
    return (rows[-1]["step"] - rows[FIRST - 1]["step"]) / (rows[-1]["seconds"] - rows[FIRST - 1]["seconds"])


def apart(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The largest differences of losses, as shares of the loss, and of weights, as shares of each tensor's largest."""
    losses = [[row["loss"] for row in found["rows"]] for found in (one, other)]
    of_loss = max(abs(a - b) / abs(a) for a, b in zip(*losses, strict=True))
    of_weights = max(
        float((value - other["weights"][name]).abs().max() / value.abs().max().clamp(min=1e-9))
        for name, value in one["weights"].items()
        if value.is_floating_point()
    )
    return [f"{of_loss:.1e}", f"{of_weights:.1e}"]


def compared(kind: str, steps: int, place: Path) -> tuple[list[list[str]], dict[str, Any]]:
    """A row for one process and one for two, and what the one came to."""
    found = {}
    for processes in (1, 2):
        (folder := place / f"{kind}-{processes}").mkdir()
        found[processes] = trained(kind, steps, processes, folder)
    rates = {processes: rate(one["rows"]) for processes, one in found.items()}
    rows = [
        [kind, str(n), str(TOGETHER // n), f"{rates[n]:.2f}", f"{rates[n] / rates[1]:.2f}", *apart(found[1], found[n])]
        for n in found
    ]
    return rows, found[1]


def killed(kind: str, steps: int, place: Path, wanted: dict[str, Any], rng: random.Random, after: int) -> list[str]:
    """The row of a training of two processes of which one dies, and which goes on with `after`."""
    folder, step = place / f"{kind}-killed", rng.randrange(steps // 4, steps - 1)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    first, second = start(kind, steps, 2, folder, step)
    assert (first != 0, second) == (True, -signal.SIGKILL), (folder / "log0.txt").read_text()
    saved = torch.load(folder / LAST_STATE, weights_only=True)["global_step"]
    found = trained(kind, steps, after, folder)
    return [kind, str(step), str(saved), str(after), *apart(wanted, found)]


def main(
    steps: Annotated[int, typer.Option(help="Of each training.", min=20)] = 200,
    kills: Annotated[int, typer.Option(help="Trainings in which a process is killed, for each model and end.")] = 2,
    model: Annotated[list[str] | None, typer.Option(help="Which; once for each [forecaster, enhancer].")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write the tables.")] = None,
    side: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure, and print the tables."""
    if side is not None:
        told = json.loads(side)
        one_process(told["kind"], told["steps"], told["processes"], Path(told["folder"]), told["die"])
        return
    rows, lost, rng = [], [], random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        for kind in model or ["forecaster", "enhancer"]:
            some, alone = compared(kind, steps, Path(name))
            rows += some
            lost += [killed(kind, steps, Path(name), alone, rng, after) for after in (2, 1) for _ in range(kills)]
    speed = ["model", "processes", "batches of a step, each", "steps a second", "times", "loss apart", "weights apart"]
    after = ["model", "killed at step", "saved last", "ended by processes", "loss apart", "weights apart"]
    text = header("Training on two processes") + (
        f"\n{steps} steps of {TOGETHER} batches; a process has one thread, two talk by gloo. Apart from one process "
        "that was not stopped: the largest difference of the loss of a step, as a share of it, and of the averaged "
        "weights at the end, as a share of the largest of their tensor. Steps a second: without the first "
        f"{FIRST}.\n\n"
        + table(speed, rows)
        + "\nThe second of two processes is killed (SIGKILL), which ends the first; the state is saved every second."
        + "\n\n"
        + table(after, lost)
    )
    print(text)
    if output is not None:
        write_text(output, text)


if __name__ == "__main__":
    typer.run(main)
