"""Parts of the training loop: batches from any step on, stopping with a saved state, saving it whole, the bar."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, Timer
from lightning.pytorch.plugins import TorchCheckpointIO
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm.std import tqdm

from shared.console.progress import bar
from shared.errors import ConfigError, DiffusionError
from shared.files.io import atomic_path
from shared.random import derive_seed
from shared.signals import HANGUP, ending
from shared.training.batches import Batch, BatchSource


def in_main_thread() -> bool:
    """Whether signals may be handled here."""
    return threading.current_thread() is threading.main_thread()


def ends_step(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether a batch is the last of its step."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


class Stopper(Callback):
    """Saves the state when training ends; the first Ctrl-C, a terminal that is closed (SIGHUP), or a SIGTERM to a
    process that trains alone, ends it after the running step, when weights, averages and step count belong together.
    (Several processes may hear of a SIGTERM in different steps; Lightning ends them together, and what was saved last
    is kept.)

    Attributes:
        asked: the signal that came; None before. SIGTERM comes to Lightning.
    """

    def __init__(self, state: Path | None):
        self.state = state
        self.asked: int | None = None
        self.saved = -1

    def listen(self) -> None:
        """From now on Ctrl-C and SIGHUP come here."""
        if in_main_thread():
            for number in {signal.SIGINT, *ending()} - {signal.SIGTERM}:
                signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked is None:
            self.asked = number
        elif number != HANGUP:
            raise KeyboardInterrupt

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        asked = self.asked is not None or (trainer.received_sigterm and trainer.world_size == 1)
        if asked and ends_step(trainer, batch_idx):
            self._save(trainer)
            raise KeyboardInterrupt

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if self.state is not None and trainer.global_step != self.saved:
            self.saved = trainer.global_step
            trainer.save_checkpoint(self.state)


def state_keeper(state: Path, seconds: float) -> ModelCheckpoint:
    """Saves the training state to `state` every so many seconds of training, each over the one before."""
    return ModelCheckpoint(
        dirpath=state.parent,
        filename=state.stem,
        train_time_interval=timedelta(seconds=seconds),
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=False,
    )


class Clock(Callback):
    """Counts the seconds of training as part of the saved state, so that they are known whatever ended a run."""

    def __init__(self) -> None:
        self._before, self._started = 0.0, time.perf_counter()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return self._before + time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = float(state_dict["seconds"])


class SameStart(Callback):
    """Sees that either all processes go on from a saved state, or none does: some alone would wait for the others."""

    def __init__(self, path: str | None):
        self.path = path

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Ask the others.

        Raises:
            ConfigError: only some see a state.
        """
        if trainer.world_size == 1:
            return
        found = self.path is not None
        together = trainer.strategy
        if together.reduce_boolean_decision(found, all=False) != together.reduce_boolean_decision(found, all=True):
            raise ConfigError(
                "only some of the processes see the training state from which they are to go on; take an output folder "
                "that all machines share"
            )


class AtomicIO(TorchCheckpointIO):
    """Writes beside the target and renames; Lightning's own goes by way of the system's temporary folder, and where
    that is another file system a stop during the move leaves half a file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            try:
                torch.save(checkpoint, stream)
            except RuntimeError as error:  # of positions in the file, after what failed
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


class Progress(Callback):
    """A bar over steps with the smoothed loss. Where a timer may end the training first, its end is what the timer
    leaves time for."""

    def __init__(self, description: str):
        self.description = description
        self.bar: tqdm | None = None
        self.loss: float | None = None
        self._first, self._started = 0, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self._first, self._started = trainer.global_step, time.perf_counter()
            self.bar = bar(trainer.max_steps, self.description, "steps", initial=self._first)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        if self.bar is None:
            return
        self.bar.total = self._end(trainer, self.bar)
        self.bar.update(trainer.global_step - self.bar.n)  # a step may take several batches
        if trainer.global_step % 20 == 0:
            loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
            self.loss = loss if self.loss is None else 0.9 * self.loss + 0.1 * loss
            self.bar.set_postfix(loss=f"{self.loss:.4f}", refresh=False)

    def _end(self, trainer: L.Trainer, shown: tqdm) -> int:
        """The step that training will come to, at its speed so far."""
        timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
        left = [seconds for timer in timers if (seconds := timer.time_remaining()) is not None]
        if not left:
            return trainer.max_steps
        mean = (trainer.global_step - self._first) / (time.perf_counter() - self._started)
        speed = shown.format_dict["rate"] or mean  # that by which the bar tells the time left
        return min(trainer.max_steps, trainer.global_step + round(speed * max(0.0, min(left))))

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._close()


class BatchData(L.LightningDataModule):
    """Hands out a loader that starts at the trainer's step, with `share` batches a step."""

    def __init__(self, source: BatchSource, seed: int, max_steps: int, num_workers: int, share: int = 1):
        super().__init__()
        self.source, self.seed, self.max_steps, self.num_workers = source, seed, max_steps, num_workers
        self.share = share

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        places = range(trainer.global_rank * self.share, (trainer.global_rank + 1) * self.share)
        stream = _Stream(self.source, self.seed, range(trainer.global_step, self.max_steps), places)
        return DataLoader(stream, batch_size=None, num_workers=self.num_workers)

    def transfer_batch_to_device(
        self, batch: Batch | DiffusionError, device: torch.device, dataloader_idx: int
    ) -> Batch:
        if isinstance(batch, DiffusionError):
            raise batch
        return batch.to(device)


class _Stream(IterableDataset):
    """The batches of these places in each step, in order; each by a generator seeded with (seed, step, place).

    An error of a worker process comes in place of its batch: raised there, torch would make its traceback the message.
    """

    def __init__(self, source: BatchSource, seed: int, steps: range, places: range):
        self.source, self.seed, self.steps, self.places = source, seed, steps, places

    def __iter__(self) -> Iterator[Batch | DiffusionError]:
        worker = get_worker_info()
        offset, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        numbers = ((step, place) for step in self.steps for place in self.places)
        for step, place in islice(numbers, offset, None, stride):
            try:
                yield self.source.batch(np.random.default_rng(derive_seed(self.seed, "batch", step, place)))
            except DiffusionError as error:
                if worker is None:
                    raise
                yield error
