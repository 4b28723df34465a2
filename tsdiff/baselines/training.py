"""Training of any GluonTS estimator within a limit of CPU time or steps."""

from __future__ import annotations

import copy
import math
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor
from gluonts.torch.model.estimator import PyTorchLightningEstimator
from gluonts.transform import AsNumpyArray
from lightning.pytorch.callbacks import Callback

from shared.errors import ConfigError
from shared.random import derive_seed
from shared.training.module import quiet_lightning
from tsdiff.baselines.base import TrainingJob, seeded
from tsdiff.data import Entry
from tsdiff.data.frequency import quiet


class TrainingLimit(Callback):
    """Ends training after an amount of CPU time or steps, and lets the learning rate fall to zero by then.

    The rate follows a cosine over the share of the limit that is used up, from what it is at the start.

    Args:
        max_steps: −1 is no limit.
        cpu_minutes: of this process; None is no limit.
    """

    def __init__(self, max_steps: int, cpu_minutes: float | None):
        self.max_steps, self.cpu_minutes = max_steps, cpu_minutes
        self.started = time.process_time()
        self.rates: list[list[float]] = []

    def share(self, step: int) -> float:
        """How much of the limit is used up, from 0 to 1."""
        by_time = (time.process_time() - self.started) / (60 * self.cpu_minutes) if self.cpu_minutes else 0.0
        by_steps = step / self.max_steps if self.max_steps > 0 else 0.0
        return min(1.0, max(by_time, by_steps))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the rates."""
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in trainer.optimizers]

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Set the rates."""
        factor = 0.5 * (1 + math.cos(math.pi * self.share(trainer.global_step)))
        for optimizer, rates in zip(trainer.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Stop when the limit is reached."""
        if self.share(trainer.global_step) >= 1:
            trainer.should_stop = True


def trained(estimator: Estimator, entries: list[Entry], job: TrainingJob, limited: bool) -> Predictor:
    """Train an estimator, which stays as it was, as does the caller's random state; its files go to a temporary folder.

    Args:
        estimator: GluonTS's, or one like them.
        entries: checked.
        job: its limit is for Lightning's trainer.
        limited: whether the job's limit goes before that of the estimator.

    Raises:
        ConfigError: settings that the estimator's network refuses.
    """
    if not isinstance(estimator, PyTorchLightningEstimator):
        return estimator.train(entries)
    single = AsNumpyArray("target", expected_ndim=entries[0]["target"].ndim, dtype=np.float32)
    estimator = copy.copy(estimator)
    with tempfile.TemporaryDirectory() as folder, quiet(), _silence(), seeded(derive_seed(job.seed, "train")):
        changes: dict[str, Any] = {"default_root_dir": folder, "logger": False, "enable_model_summary": False}
        changes |= {"enable_progress_bar": False}
        if limited:
            limit = TrainingLimit(job.steps, job.cpu_minutes)
            own = estimator.trainer_kwargs.get("callbacks", [])
            changes |= {"max_epochs": -1, "max_steps": job.steps, "callbacks": [*own, limit]}
        estimator.trainer_kwargs = {"accelerator": "cpu", **estimator.trainer_kwargs, **changes}
        try:
            predictor = estimator.train(list(single(entries, is_train=True)), cache_data=True)
        except (AssertionError, TypeError) as error:
            raise ConfigError(f"{type(estimator).__name__} does not take its settings: {error}") from error
    predictor.input_transform = single + predictor.input_transform
    return predictor


@contextmanager
def _silence() -> Iterator[None]:
    """Keep GluonTS and Lightning from reporting what no caller can act on."""
    with quiet_lightning("gluonts.torch"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
