"""DeepAR, PatchTST and a lag Transformer of GluonTS, trained within a limit of CPU time or steps."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import lightning as L
import numpy as np
from gluonts.model.predictor import Predictor
from gluonts.time_feature import get_lags_for_frequency, time_features_from_frequency_str
from gluonts.torch.model.deepar import DeepAREstimator
from gluonts.torch.model.estimator import PyTorchLightningEstimator
from gluonts.torch.model.lag_tst import LagTSTEstimator
from gluonts.torch.model.patch_tst import PatchTSTEstimator
from gluonts.transform import AsNumpyArray, ExpectedNumInstanceSampler
from lightning.pytorch.callbacks import Callback

from shared.errors import ConfigError, DataError
from shared.random import derive_seed
from shared.training.module import quiet_lightning
from tsdiff.baselines.base import SamplePredictor, TrainingJob, seeded
from tsdiff.data import Entry, candidate_seasons
from tsdiff.data.frequency import quiet

_STEPS_PER_EPOCH = 50
_SINGLE = AsNumpyArray("target", expected_ndim=1, dtype=np.float32)
"""These networks take nothing else."""
Scaling = Literal["mean", "std", "none"]


@dataclass(frozen=True)
class DeepARConfig:
    """Settings of GluonTS's `DeepAREstimator` (Salinas et al. 2020).

    Attributes:
        hidden_size, layers, dropout: of the recurrent network.
        learning_rate, batch_size: of training; the rate falls to zero along a cosine over the limit of time or steps.
        scaling: divide by the mean absolute value of the context.
        time_features: hour of day and so on; without them the series are mere sequences.
        max_lag: the longest lagged value among the inputs, in steps; None takes GluonTS's for the frequency.
    """

    hidden_size: int = 40
    layers: int = 2
    dropout: float = 0.1
    learning_rate: float = 1e-3
    batch_size: int = 32
    scaling: bool = True
    time_features: bool = True
    max_lag: int | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "hidden_size", "layers", "learning_rate", "batch_size")

    def train(self, entries: list[Entry], job: TrainingJob) -> Predictor:
        """Train; the default context is one season or twice the horizon, whatever is longer, beside the lags."""
        context = job.context_length or default_context(job, seasons=1, horizons=2)

        def estimator(trainer: dict[str, Any]) -> PyTorchLightningEstimator:
            return DeepAREstimator(
                freq=job.freq,
                prediction_length=job.prediction_length,
                context_length=context,
                num_layers=self.layers,
                hidden_size=self.hidden_size,
                dropout_rate=self.dropout,
                lr=self.learning_rate,
                batch_size=self.batch_size,
                num_batches_per_epoch=_STEPS_PER_EPOCH,
                scaling=self.scaling,
                lags_seq=_lags(job.freq, self.max_lag),
                time_features=time_features_from_frequency_str(job.freq) if self.time_features else [],
                num_parallel_samples=job.num_samples,
                train_sampler=_sampler(entries, context, job.prediction_length),
                trainer_kwargs=trainer,
            )

        return _train(estimator, entries, job, self.learning_rate)


@dataclass(frozen=True)
class PatchTSTConfig:
    """Settings of GluonTS's `PatchTSTEstimator` (Nie et al. 2023, with a Student-t output).

    Attributes:
        width, heads, layers, dropout: of the encoder; its feed-forward layers are four times as wide.
        patch, stride: in steps; None takes 16 and 8, or a quarter and an eighth of a context below 64.
        learning_rate, batch_size: as in `DeepARConfig`.
        scaling: of a window by its context.
    """

    width: int = 32
    heads: int = 4
    layers: int = 2
    dropout: float = 0.1
    patch: int | None = None
    stride: int | None = None
    learning_rate: float = 1e-3
    batch_size: int = 32
    scaling: Scaling = "mean"

    def __post_init__(self) -> None:
        _check_positive(self, "width", "heads", "layers", "learning_rate", "batch_size", "patch", "stride")
        _check_heads(self.width, self.heads)

    def train(self, entries: list[Entry], job: TrainingJob) -> Predictor:
        """Train; the default context is two long seasons or five horizons, whatever is longer."""
        context = job.context_length or default_context(job, seasons=2, horizons=5, longest=True)
        patch = self.patch or (16 if context >= 64 else max(1, context // 4))
        stride = self.stride or max(1, patch // 2)
        if patch > context:
            raise ConfigError(f"patch is {patch}, longer than the context of {context} steps; give a shorter one")

        def estimator(trainer: dict[str, Any]) -> PyTorchLightningEstimator:
            return PatchTSTEstimator(
                prediction_length=job.prediction_length,
                context_length=context,
                patch_len=patch,
                stride=stride,
                d_model=self.width,
                nhead=self.heads,
                dim_feedforward=4 * self.width,
                num_encoder_layers=self.layers,
                dropout=self.dropout,
                lr=self.learning_rate,
                batch_size=self.batch_size,
                num_batches_per_epoch=_STEPS_PER_EPOCH,
                scaling=None if self.scaling == "none" else self.scaling,
                train_sampler=_sampler(entries, context, job.prediction_length),
                trainer_kwargs=trainer,
            )

        return _train(estimator, entries, job, self.learning_rate)


@dataclass(frozen=True)
class TransformerConfig:
    """Settings of GluonTS's `LagTSTEstimator`: a Transformer over time steps whose inputs are lagged values.

    It stands where the TSDiff paper has the Transformer of GluonTS's former MXNet models.

    Attributes:
        width, heads, layers, dropout: of the encoder; its feed-forward layers are four times as wide.
        learning_rate, batch_size, max_lag: as in `DeepARConfig`.
        scaling: of a window by its context.
    """

    width: int = 32
    heads: int = 4
    layers: int = 2
    dropout: float = 0.1
    learning_rate: float = 1e-3
    batch_size: int = 32
    scaling: Scaling = "mean"
    max_lag: int | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "width", "heads", "layers", "learning_rate", "batch_size")
        _check_heads(self.width, self.heads)

    def train(self, entries: list[Entry], job: TrainingJob) -> Predictor:
        """Train; the default context is one season or one horizon, whatever is longer, beside the lags."""
        context = job.context_length or default_context(job, seasons=1, horizons=1)

        def estimator(trainer: dict[str, Any]) -> PyTorchLightningEstimator:
            return LagTSTEstimator(
                freq=job.freq,
                prediction_length=job.prediction_length,
                context_length=context,
                d_model=self.width,
                nhead=self.heads,
                dim_feedforward=4 * self.width,
                num_encoder_layers=self.layers,
                dropout=self.dropout,
                lags_seq=_lags(job.freq, self.max_lag),
                lr=self.learning_rate,
                batch_size=self.batch_size,
                num_batches_per_epoch=_STEPS_PER_EPOCH,
                scaling=None if self.scaling == "none" else self.scaling,
                train_sampler=_sampler(entries, context, job.prediction_length),
                trainer_kwargs=trainer,
            )

        return _train(estimator, entries, job, self.learning_rate)


class _MakeEstimator(Protocol):
    def __call__(self, trainer: dict[str, Any]) -> PyTorchLightningEstimator:
        """An estimator that hands `trainer` to Lightning's Trainer."""
        ...


class TrainingLimit(Callback):
    """Ends training after an amount of CPU time or steps, and lets the learning rate fall to zero by then.

    The rate follows a cosine over the share of the limit that is used up.

    Args:
        learning_rate: at the start.
        max_steps: −1 is no limit.
        cpu_minutes: of this process; None is no limit.
    """

    def __init__(self, learning_rate: float, max_steps: int, cpu_minutes: float | None):
        self.learning_rate, self.max_steps, self.cpu_minutes = learning_rate, max_steps, cpu_minutes
        self.started = time.process_time()

    def share(self, step: int) -> float:
        """How much of the limit is used up, from 0 to 1."""
        by_time = (time.process_time() - self.started) / (60 * self.cpu_minutes) if self.cpu_minutes else 0.0
        by_steps = step / self.max_steps if self.max_steps > 0 else 0.0
        return min(1.0, max(by_time, by_steps))

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Set the rate."""
        rate = self.learning_rate * 0.5 * (1 + math.cos(math.pi * self.share(trainer.global_step)))
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Stop when the limit is reached."""
        if self.share(trainer.global_step) >= 1:
            trainer.should_stop = True


def _train(make: _MakeEstimator, entries: list[Entry], job: TrainingJob, learning_rate: float) -> Predictor:
    """Train within the job's limit; files go to a temporary folder, the caller's random state stays as it is."""
    with tempfile.TemporaryDirectory() as folder, quiet(), _silence(), seeded(derive_seed(job.seed, "train")):
        limit = TrainingLimit(learning_rate, job.steps, job.cpu_minutes)
        estimator = make(
            {
                "accelerator": "cpu",
                "max_epochs": -1,
                "max_steps": job.steps,
                "callbacks": [limit],
                "default_root_dir": folder,
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
            }
        )
        predictor = estimator.train(list(_SINGLE(entries, is_train=True)), cache_data=True)
    predictor.input_transform = _SINGLE + predictor.input_transform
    return SamplePredictor(predictor, job.num_samples, job.seed)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep GluonTS and Lightning from reporting what no caller can act on."""
    with quiet_lightning("gluonts.torch"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def default_context(job: TrainingJob, *, seasons: int, horizons: int, longest: bool = False) -> int:
    """A number of seasons or of horizons, whatever is longer.

    The season is the primary one of the frequency, or with `longest` the longest one of at most 200 steps (hourly:
    the week).
    """
    found = [season for season in candidate_seasons(job.freq) if season <= 200]
    season = max(found) if longest else found[0]
    return max(seasons * season, horizons * job.prediction_length)


def _lags(freq: str, max_lag: int | None) -> list[int]:
    """GluonTS's lags for the frequency, none longer than `max_lag`."""
    lags = get_lags_for_frequency(freq)
    return lags if max_lag is None else [lag for lag in lags if lag <= max_lag] or [1]


def _sampler(entries: list[Entry], context: int, horizon: int) -> ExpectedNumInstanceSampler:
    """One window a series and pass; its context is whole, or at least half of the shortest series, and padded."""
    lengths = [len(entry["target"]) for entry in entries]
    if max(lengths) <= horizon:
        raise DataError(f"no series is longer than the horizon of {horizon} steps (the longest has {max(lengths)})")
    min_past = min(context, max(1, (min(lengths) - horizon) // 2))
    return ExpectedNumInstanceSampler(num_instances=1.0, min_past=min_past, min_future=horizon)


def _check_positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise ConfigError(f"{name} is {value}; it must be positive")


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise ConfigError(f"width {width} is not a multiple of heads {heads}; give one that is")
