"""Training in several processes of Ray: Ray Train starts them and tells each which it is, Lightning does the rest."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import typer

from shared.console.command import claim_output
from shared.console.progress import is_quiet, set_quiet
from shared.errors import ConfigError, DataError, DiffusionError
from shared.optional import needed
from shared.scale.on_ray import Cluster, connected

MOST_RESTARTS = 3
"""How often a training goes on after one of its processes died."""

Settings = tuple[str, ...]
"""Changes of an experiment, as --set has them."""


@dataclass(frozen=True)
class Training:
    """What each process is to do.

    Attributes:
        main: of a verb; it takes the settings that tell Lightning of the processes, and whether they have begun before.
            All of it is pickled.
        output: folder for the results, which all see under this name; what is finished of a training is there.
        gpu: whether each takes a GPU.
    """

    main: Callable[[Settings, bool], None]
    output: Path
    gpu: bool


def command_on_ray(main: Callable[[Any], None], options: Any, gpu: bool) -> None:
    """Run a verb that trains in processes of Ray, each with these options (`shared.scale.options.Together`).

    Raises:
        ConfigError, DataError, DiffusionError, MissingPackageError: see `train_on_ray`.
    """
    claim_output(options.output)
    train_on_ray(Training(partial(_one_of_them, main, options), options.output, gpu), options.workers, options.address)


def _one_of_them(main: Callable[[Any], None], options: Any, settings: Settings, again: bool) -> None:
    """Train as one of them; what these very processes began before is gone on with."""
    retrain, changes = options.retrain and not again, [*(options.changes or ()), *settings]
    main(replace(options, engine=None, workers=None, address=None, retrain=retrain, changes=changes))


def train_on_ray(training: Training, workers: int | None = None, address: str | None = None) -> None:
    """Train in `workers` processes, each of one CPU or GPU, which end with the same weights.

    To Lightning each process is a machine of its own with one device. Where a process or its machine dies, Ray starts
    all of them again, and they go on from the state that the first of them saved last.

    Args:
        training: what they do.
        workers: how many; None: one for each CPU, or GPU, of the machine or the cluster.
        address: of a cluster; see `shared.scale.run.run`.

    Raises:
        ConfigError: the cluster cannot be reached, or is too small.
        DataError: processes died again and again.
        DiffusionError: what `main` raises.
        MissingPackageError: without the extra "scale".
    """
    ray = needed("ray", "scale", "engine='ray'")
    gpus = float(training.gpu)
    with connected(ray, Cluster(workers, address, gpus)), _own_gpus(), _storage(training.output) as storage:
        room = int(ray.cluster_resources().get("GPU" if training.gpu else "CPU", 0))
        count = max(1, room) if workers is None else workers
        if count > room:
            raise ConfigError(
                f"workers={count}: the cluster has {room} {'GPUs' if training.gpu else 'CPUs'}; take fewer"
            )
        with _told(storage):
            _fit(training, count, storage)


def _fit(training: Training, workers: int, storage: Path) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        partial(_process, training, storage, os.getcwd(), is_quiet()),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=training.gpu),
        run_config=RunConfig(
            name="ray",
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=MOST_RESTARTS),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise _cause(error) from error


def _process(training: Training, storage: Path, folder: str, quiet: bool) -> None:
    """What each process does: tell Lightning which it is, and train."""
    from ray import train

    which = train.get_context()
    rank, workers = which.get_world_rank(), which.get_world_size()
    os.environ.update(LOCAL_RANK="0", NODE_RANK=str(rank))
    os.chdir(folder)  # relative names are those of where the command was given
    set_quiet(quiet or rank > 0)
    begun = storage / f"begun{rank}"
    again = begun.exists()
    begun.touch()
    settings = ("hardware.devices=1", f"hardware.nodes={workers}", "hardware.strategy=ddp")
    with ExitStack() as streams:
        if rank == 0:
            out, err = (streams.enter_context((storage / name).open("a", 1, "utf-8")) for name in _STREAMS)
            streams.enter_context(redirect_stdout(out))
            streams.enter_context(redirect_stderr(err))
        try:
            training.main(settings, again)
        except typer.Exit as done:
            if done.exit_code:
                raise


_STREAMS = ("out", "err")
"""Files of what the first process writes: Ray's own way brings what Ray itself has to say of the other processes."""


@contextmanager
def _told(storage: Path) -> Iterator[None]:
    """What the first process writes to its standard output and error comes out of those of this one."""
    over = threading.Event()
    thread = threading.Thread(target=_copy, args=(storage, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _copy(storage: Path, over: threading.Event) -> None:
    places = dict.fromkeys(_STREAMS, 0)
    last = False
    while not last:
        last = over.wait(0.5)
        for name, stream in zip(_STREAMS, (sys.stdout, sys.stderr), strict=True):
            if (storage / name).exists():
                with (storage / name).open(encoding="utf-8", errors="replace") as file:
                    file.seek(places[name])
                    stream.write(file.read())
                    stream.flush()
                    places[name] = file.tell()


@contextmanager
def _storage(output: Path) -> Iterator[Path]:
    """A folder for what Ray keeps of the training while it runs."""
    output.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".ray-", dir=output.absolute()))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _own_gpus() -> Iterator[None]:
    """Each process sees its own GPU alone, which is then the first to it."""
    name = "TRAIN_ENABLE_SHARE_CUDA_VISIBLE_DEVICES"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def _cause(error: Any) -> Exception:
    """What a process raised, in the words that are meant for users; else that they died."""
    failures = getattr(error, "worker_failures", {})
    for failure in failures.values():
        found = getattr(failure, "_base_exc", failure)
        if isinstance(found, DiffusionError):
            return found
    first = next((str(failure) for failure in failures.values()), str(error))
    lines = [line for line in first.strip().splitlines() if line.strip()]
    return DataError(
        f"processes that train died {MOST_RESTARTS + 1} times ({lines[-1] if lines else type(error).__name__}); the "
        "same command goes on from the state that was saved last"
    )
