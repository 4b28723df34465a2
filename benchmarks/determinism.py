"""Equal seeds, equal weights? Many speech trainings of one seed in processes of their own, compared step by step.

Each training reads the same generated recordings, mixes them with every damage that there is (rooms, codecs, lost
packets, other speeds), and trains a small network on one thread. Every `--each` of them are forks of one process, which
saves imports. What could make a difference by accident is varied: from process to process the hash seed of strings,
NumPy's BLAS threads, the size of the environment (which moves the stack) and what freed and fresh memory holds (glibc's
MALLOC_PERTURB_); from fork to fork where blocks of memory begin. The bytes of every batch, and of weights, optimiser
and averages after every step, are hashed. The second part measures how equal the enhancer's results are when a
recording is enhanced alone and in a batch, on one thread and on two.

Example:
    python benchmarks/determinism.py --runs 200
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import torch
import typer
from lightning.pytorch.callbacks import Callback

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.experiment import HardwareSettings
from shared.files.io import write_text
from shared.training.batches import Batch, BatchSource
from shared.training.module import TrainingConfig
from speech.data import MixConfig
from speech.enhancer import Enhancer
from speech.model.backbones import LightConfig
from speech.model.config import SamplingConfig
from speech.model.frontend import FrontEndConfig
from speech.model.model import SpeechModel
from speech.training.fit import new_model, train
from speech.training.recordings import training_source
from speech.training.settings import DataSettings, Experiment, ValidationSettings

RATE = 16000
RESULT = Path(__file__).parent / "results" / "determinism.md"
SAMPLERS = ("sde1", "sde2", "pc")


def experiment(steps: int) -> Experiment:
    """A training that uses every part of the mixer, on one thread."""
    base = Experiment()
    mix = MixConfig(
        noises=3, clean=0.05, silence=0.05, synthetic=0.3, babble=0.2, noise_speed=(0.9, 1.1), noise_tilt=(-3.0, 3.0)
    )
    chances = {
        "filtered": 0.5,
        "swelling": 0.3,
        "rumble": 0.3,
        "reverb": 0.5,
        "clipped": 0.2,
        "limited": 0.2,
        "coded": 0.5,
        "lossy": 0.2,
    }
    backbone = LightConfig(width=16, edge_width=8, blocks=2, mixing_width=32, embedding=16)
    return replace(
        base,
        data=DataSettings(seconds=1.0, batch_size=4, mix=replace(mix, **chances)),  # type: ignore[arg-type]
        model=replace(base.model, backbone=backbone, frontend=FrontEndConfig(n_fft=254, hop_length=96)),
        objective=replace(base.objective, spectral_weight=0.1),
        training=TrainingConfig(max_steps=steps, learning_rate=2e-3, warmup=0.0, decay="constant"),
        validation=ValidationSettings(files=0),
        hardware=HardwareSettings(threads=1),
    )


def make_data(folder: Path) -> None:
    """Recordings by formula: voices (harmonics that come and go), noises at 22.05 kHz, decaying rooms."""
    rng = np.random.default_rng(0)
    for i in range(6):
        time_axis = np.arange(2 * RATE) / RATE
        pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * time_axis))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        voice = sum(np.sin(k * phase) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 3 * time_axis) > -0.3)
        _write(folder / "train" / "clean" / f"{i % 3}-1-{i}.wav", 0.1 * voice, RATE)
        _write(folder / "train" / "noise" / f"{i}.flac", 0.1 * rng.standard_normal(44100), 22050)
        decay = np.exp(-np.arange(4000) / rng.uniform(200, 900)) * rng.standard_normal(4000)
        _write(folder / "train" / "rir" / f"{i}.wav", np.concatenate([[2.0], 0.2 * decay]) / 3, RATE)


def _write(path: Path, samples: np.ndarray, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1, 1), rate, subtype="PCM_16")


def _hash(*arrays: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Watched:
    """A source of batches whose hashes are kept."""

    def __init__(self, source: BatchSource):
        self.source, self.hashes = source, list[str]()

    def batch(self, rng: np.random.Generator) -> Batch:
        batch = self.source.batch(rng)
        assert batch.y is not None
        self.hashes.append(_hash(batch.x0.numpy(), batch.y.numpy()))
        return batch


class Watch(Callback):
    """Hashes weights, averages and the optimiser's state after every step."""

    def __init__(self) -> None:
        self.hashes: list[str] = []

    def on_train_batch_end(self, trainer: Any, pl_module: torch.nn.Module, *_: Any) -> None:
        state = [value for entry in trainer.optimizers[0].state.values() for value in entry.values()]
        tensors = [*pl_module.state_dict().values(), *state]
        self.hashes.append(_hash(*(value.detach().numpy() for value in tensors)))


def stir(seed: int) -> list[bytearray]:
    """Take and free blocks of random sizes, so that later ones begin elsewhere; what is returned is to be held."""
    rng = np.random.default_rng(seed)
    blocks = [bytearray(int(size)) for size in rng.integers(1, 5000, 4000)]
    return [block for block, kept in zip(blocks, rng.random(len(blocks)) < 0.5, strict=True) if kept]


def work(folder: Path, steps: int, run: int) -> dict[str, Any]:
    """One training; returns its hashes."""
    held = stir(run) if run else []
    made = experiment(steps)
    source, watch = Watched(training_source(made, folder, 1)), Watch()
    with tempfile.TemporaryDirectory() as output:
        train(made, source, [], output, progress=False, tensorboard=False, callbacks=[watch])
    return {"batches": source.hashes, "steps": watch.hashes, "held": len(held)}


def work_all(folder: Path, steps: int, runs: range) -> None:
    """Trainings in forks of this process, one after the other; prints the hashes of each as a line of JSON."""
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    for run in runs:
        with context.Pool(1) as pool:
            print(json.dumps(pool.apply(work, (folder, steps, run))), flush=True)


def surroundings(run: int) -> dict[str, str]:
    """The environment of a process whose first training is `run`; that of 0 is left as it is."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if run:
        environment["OPENBLAS_NUM_THREADS"] = str(1 + run % 2)  # of NumPy
        environment["PYTHONHASHSEED"] = str(run)
        environment["PADDING"] = "x" * (run * 173 % 8192)
        if run % 3:
            environment["MALLOC_PERTURB_"] = str(1 + run * 37 % 255)
    return environment


def trainings(runs: int, steps: int, each: int) -> Iterator[dict[str, Any]]:
    """What each training printed, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        make_data(Path(name))
        for run in range(0, runs, each):
            count = min(each, runs - run)
            command = [sys.executable, __file__, "--worker", name, "--steps", str(steps)]
            command += ["--run", str(run), "--each", str(count)]
            done = subprocess.run(command, env=surroundings(run), capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"trainings from {run} on failed:\n{done.stderr[-2000:]}")
            yield from map(json.loads, done.stdout.strip().splitlines()[-count:])


def first_difference(one: list[str], other: list[str]) -> int | None:
    """The first step (from 1) at which two histories differ."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=True), 1) if a != b), None)


def compare(found: list[dict[str, Any]]) -> tuple[str, list[list[str]]]:
    """A sentence, and a row for each training that is not as most are."""
    usual = Counter(tuple(run["steps"]) for run in found).most_common(1)[0][0]
    whole = next(run for run in found if tuple(run["steps"]) == usual)
    rows = []
    for number, run in enumerate(found):
        batch, step = (first_difference(run[name], whole[name]) for name in ("batches", "steps"))
        if batch or step:
            rows.append([str(number), str(batch or "–"), str(step or "–")])
    steps = len(whole["steps"])
    if not rows:
        bound = 1 - 0.05 ** (1 / len(found))
        return (
            f"{len(found)} trainings of {steps} steps: all batches, weights, averages and optimiser states are equal "
            f"after every step, bit for bit. A share of deviating trainings above {bound:.1%} would have shown with "
            "95 % probability.",
            rows,
        )
    return f"{len(rows)} of {len(found)} trainings of {steps} steps differ from the others:", rows


def stochastic_models() -> Iterator[tuple[str, SpeechModel]]:
    """A small network with weights that do something, and each stochastic sampler."""
    for sampler in SAMPLERS:
        made = experiment(1)
        model = new_model(replace(made, model=replace(made.model, sampling=SamplingConfig(sampler, steps=8))))  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.02 * torch.randn(weight.shape, generator=generator))
        yield sampler, model.eval()


def equality() -> list[list[str]]:
    """How far results of one recording are apart: alone, in a batch of 5, and on two threads; dB under the result."""
    rng = np.random.default_rng(0)
    sounds = (0.1 * rng.standard_normal((5, 1, RATE))).astype(np.float32)
    rows = []
    for name, model in stochastic_models():
        results = {}
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for batch in (1, 5):
                enhancer = Enhancer(model, batch_size=batch, seed=3)
                results[threads, batch] = (
                    enhancer.enhance(sounds, RATE)
                    if batch > 1
                    else np.concatenate([enhancer.enhance(one[None], RATE) for one in sounds])
                )
        torch.set_num_threads(1)
        again = np.concatenate([Enhancer(model, batch_size=1, seed=3).enhance(one[None], RATE) for one in sounds])
        alone = results[1, 1]
        apart = [again, results[1, 5], results[2, 1], results[2, 5]]
        rows.append([name, *(_decibels(other - alone, alone) for other in apart)])
    return rows


def _decibels(difference: np.ndarray, whole: np.ndarray) -> str:
    energy = float(np.square(difference, dtype=np.float64).sum())
    if energy == 0:
        return "equal"
    return f"{10 * np.log10(energy / float(np.square(whole, dtype=np.float64).sum())):.0f} dB"


def main(
    runs: Annotated[int, typer.Option(help="Trainings.", min=2)] = 200,
    steps: Annotated[int, typer.Option(help="Steps of each.", min=1)] = 30,
    each: Annotated[int, typer.Option(help="Trainings of a process, in forks of it.", min=1)] = 5,
    worker: Annotated[Path | None, typer.Option(hidden=True)] = None,
    run: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Train many times with one seed, and enhance in several ways; write benchmarks/results/determinism.md."""
    if worker is not None:
        work_all(worker, steps, range(run, run + each))
        return
    started, found = time.perf_counter(), []
    for one in trainings(runs, steps, each):
        found.append(one)
        if len(found) % 10 == 0:
            print(f"{len(found)} trainings, {time.perf_counter() - started:.0f} s: {compare(found)[0]}", flush=True)
    sentence, rows = compare(found)
    parts = [header("Equal seeds"), "## Training\n", sentence + "\n"]
    if rows:
        parts.append(table(["training", "first other batch", "first other step"], rows))
    parts += [
        "## Stochastic samplers\n",
        "Five recordings of a second enhanced one by one on one thread, and the energy by which other ways differ, "
        "relative to the result:\n",
        table(["sampler", "the same again", "batch of 5", "2 threads", "batch of 5, 2 threads"], equality()),
    ]
    write_text(RESULT, "\n".join(parts))
    print("\n".join(parts))


if __name__ == "__main__":
    typer.run(main)
