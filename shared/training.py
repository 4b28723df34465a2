"""Training a denoiser with Lightning: EMA, exact resume, and a stop that names the batch when the loss is not finite.

Batch n and its noise are functions of (seed, n) alone. So a run that was stopped and started again sees the same
batches and draws as one that was not, with nothing but the step count to remember.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm.auto import tqdm

from shared.ema import ema_of
from shared.errors import CheckpointError, ConfigError, TrainingError
from shared.io import atomic_path
from shared.memory import keep_large_blocks
from shared.random import derive_seed

LAST_STATE = "last.ckpt"


@dataclass
class Batch:
    """One training batch.

    Attributes:
        x0: clean data (batch, ...).
        y: anchor, shaped like `x0`.
        mask: 1 where an element counts in the loss, broadcastable to `x0`.
        condition: keyword arguments of the network.
        ids: what each item is, for messages.
    """

    x0: Tensor
    y: Tensor | None = None
    mask: Tensor | None = None
    condition: Mapping[str, Tensor] = field(default_factory=dict)
    ids: Sequence[str] = ()

    def to(self, device: torch.device) -> Batch:
        """This batch on `device`."""

        def move(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device, non_blocking=True)

        condition = {name: value.to(device, non_blocking=True) for name, value in self.condition.items()}
        return Batch(self.x0.to(device, non_blocking=True), move(self.y), move(self.mask), condition, self.ids)


class BatchSource(Protocol):
    """Where batches come from: a batch must depend on the generator alone."""

    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw one batch."""
        ...


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Args:
        max_steps: optimiser steps.
        learning_rate: peak of AdamW's learning rate.
        weight_decay: of AdamW, on matrices only.
        warmup: share of the steps in which the rate rises to its peak.
        decay: "cosine" to zero at max_steps, or "constant".
        gradient_clip: norm at which gradients are clipped; 0 does not clip.
        ema_decay: of the averaged weights, which are those that are used afterwards.
        seed: of data order, times and noise.
        precision: Lightning's, "32-true" or "bf16-mixed".
        num_workers: processes that prepare batches; 0 prepares them in the training process.
        save_every_seconds: how often the training state is saved; it is saved at the end and on Ctrl-C besides.
        compile: train through `torch.compile`, which takes a minute or more to start; weights and their names are the
            same as without, results agree to rounding.
    """

    max_steps: int = 1000
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: float = 0.05
    decay: Literal["cosine", "constant"] = "cosine"
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    num_workers: int = 0
    save_every_seconds: float = 15.0
    compile: bool = False

    def __post_init__(self) -> None:
        if self.max_steps < 1:
            raise ConfigError(f"max_steps={self.max_steps}: need at least one step")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate={self.learning_rate}: need a positive rate")
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"warmup={self.warmup}: need 0 <= warmup < 1")

    def rate(self, step: int) -> float:
        """Learning rate at `step` as a share of the peak."""
        rise = max(1, round(self.warmup * self.max_steps))
        if step < rise and self.warmup > 0:
            return (step + 1) / rise
        if self.decay == "constant":
            return 1.0
        progress = step / self.max_steps
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, progress))))


N = TypeVar("N", bound=nn.Module)
N_contra = TypeVar("N_contra", bound=nn.Module, contravariant=True)


class Objective(Protocol[N_contra]):
    """The loss of each item, (batch,), of a network on a batch; see `Batch` for the arguments."""

    def __call__(
        self,
        denoiser: N_contra,
        x0: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        condition: Mapping[str, Tensor] | None = None,
    ) -> Tensor: ...


class DiffusionModule(L.LightningModule, Generic[N]):
    """Trains a network with an objective, such as a `Denoiser` with a `DiffusionLoss`.

    The averaged weights are `ema_denoiser`. A loss that is not finite raises TrainingError with the ids of the items.

    Args:
        denoiser: the network; its attribute `network` is what may be compiled.
        loss: the objective.
        config: how to train.
    """

    def __init__(self, denoiser: N, loss: Objective[N], config: TrainingConfig):
        super().__init__()
        self.denoiser = denoiser
        self.loss = loss
        self.config = config
        self.averaged = ema_of(denoiser, config.ema_decay)

    @property
    def ema_denoiser(self) -> N:
        """The denoiser with averaged weights."""
        module = self.averaged.module
        assert isinstance(module, type(self.denoiser))
        return module

    @property
    def network(self) -> nn.Module:
        """The part of the denoiser that may be compiled."""
        network = self.denoiser.network
        assert isinstance(network, nn.Module)
        return network

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss of one batch; also seeds what the network draws (dropout) by the step."""
        seed = derive_seed(self.config.seed, "step", self.global_step, self.global_rank)
        _seed_global(seed)
        generator = torch.Generator(device="cpu").manual_seed(seed)
        losses = self.loss(self.denoiser, batch.x0, batch.y, batch.mask, generator, condition=batch.condition)
        finite = torch.isfinite(losses)
        if not bool(finite.all()):
            bad = [i for i, ok in enumerate(finite.tolist()) if not ok]
            names = ", ".join(str(batch.ids[i]) if batch.ids else f"item {i}" for i in bad[:5])
            raise TrainingError(
                f"the loss of step {self.global_step} is not finite for {len(bad)} of {len(finite)} items: {names}. "
                "Look at their values, lower the learning rate or clip gradients harder; the last state is kept"
            )
        return losses.mean()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the averaged weights: here, because a state saved after the batch must hold both."""
        super().optimizer_step(*args, **kwargs)
        self.averaged.update_parameters(self.denoiser)

    def configure_optimizers(self) -> Any:
        """AdamW with the configured schedule."""
        parameters = [p for p in self.denoiser.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": self.config.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        fused = self.config.precision == "32-true"  # Lightning clips no gradients for a fused optimiser in mixed ones
        optimizer = torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=(0.9, 0.99), fused=fused)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.config.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _seed_global(seed: int) -> None:
    """Seed what dropout draws from. `torch.manual_seed` would do, but costs milliseconds where CUDA is not in use."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def fit(
    module: DiffusionModule,
    source: BatchSource,
    folder: str | os.PathLike[str] | None = None,
    *,
    accelerator: str = "cpu",
    devices: int | str | list[int] = 1,
    strategy: str = "auto",
    resume: bool = True,
    progress: bool = True,
    description: str = "training",
    callbacks: Sequence[Callback] = (),
    logger: Any = False,
) -> None:
    """Train `module` on `source` until its config's max_steps.

    The process keeps the memory that training took, for the next steps; see `shared.memory`.

    Args:
        module: left on the CPU with its trained weights.
        source: of batches.
        folder: where the training state is kept (`last.ckpt`, written atomically); None keeps none.
        accelerator, devices, strategy: Lightning's.
        resume: go on from the state in `folder` if there is one.
        progress: show a progress bar.
        description: what the bar says.
        callbacks, logger: Lightning's, besides.

    Raises:
        TrainingError: the loss is not finite.
        CheckpointError: the state in `folder` cannot be read or does not fit the module.
        KeyboardInterrupt: the user stopped it, with Ctrl-C: the running step is finished and the state saved, and the
            same call goes on from there. A second Ctrl-C does not wait, and what was saved last is kept.
    """
    keep_large_blocks()
    config = module.config
    state = None if folder is None else Path(folder) / LAST_STATE
    used: list[Callback] = [*callbacks]
    stopper = _Stopper(state)
    used.append(stopper)
    if state is not None:
        used.append(_state_keeper(state, config))
    if progress:
        used.append(_Progress(description))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(does not have many workers|isinstance.treespec|LeafSpec).*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists.*")
        # Of a state that was saved under another interval, which is nothing to restore.
        warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=devices,
            strategy=strategy,
            precision=config.precision,
            max_steps=config.max_steps,
            max_epochs=-1,
            gradient_clip_val=config.gradient_clip or None,
            callbacks=used,
            plugins=[_AtomicIO()],
            logger=logger,
            enable_checkpointing=state is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=max(1, min(50, config.max_steps)),
        )
        data = _Data(source, config)
        path = str(state) if state is not None and resume and state.is_file() else None
        if path is not None:
            _check_state(Path(path), module)
        on_interrupt = signal.getsignal(signal.SIGINT)
        network = module.network
        if config.compile:
            network.compile()
        try:
            stopper.listen()
            trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True if path else None)
        except SystemExit:
            if not trainer.interrupted:
                raise
            # Lightning turns Ctrl-C into exit(1) and goes on ignoring it; a caller, or a notebook, expects its own.
            raise KeyboardInterrupt from None
        finally:
            network._compiled_call_impl = None  # what is used or saved afterwards is the plain network
            if in_main_thread():
                signal.signal(signal.SIGINT, on_interrupt)
    module.cpu()


def in_main_thread() -> bool:
    """Whether signals may be handled here."""
    return threading.current_thread() is threading.main_thread()


class _Stopper(Callback):
    """Saves the state when training ends; the first Ctrl-C ends it after the running step, when weights, averages
    and step count belong together."""

    def __init__(self, state: Path | None):
        self.state = state
        self.asked = False
        self.saved = -1

    def listen(self) -> None:
        """From now on Ctrl-C comes here."""
        if in_main_thread():
            signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self.asked:
            self._save(trainer)
            raise KeyboardInterrupt

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if self.state is not None and trainer.global_step != self.saved:
            self.saved = trainer.global_step
            trainer.save_checkpoint(self.state)


def _check_state(path: Path, module: DiffusionModule) -> None:
    """Refuse a damaged or foreign training state with a message that tells the remedy."""
    remedy = "remove it (or ask for a new training) to start afresh"
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # unpickling damaged bytes raises many kinds
        raise CheckpointError(f"the training state {path} cannot be read ({type(error).__name__}); {remedy}") from error
    own = module.state_dict()
    wrong = sorted(set(saved) ^ set(own)) or [k for k in own if saved[k].shape != own[k].shape]
    if wrong:
        raise CheckpointError(
            f"the training state {path} is of another model (first difference: {wrong[0]!r}); {remedy}"
        )


def _state_keeper(state: Path, config: TrainingConfig) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=state.parent,
        filename=state.stem,
        train_time_interval=timedelta(seconds=config.save_every_seconds),
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=False,
    )


class _AtomicIO(TorchCheckpointIO):
    """Writes beside the target and renames; Lightning's own goes by way of the system's temporary folder, and where
    that is another file system a stop during the move leaves half a file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)


class _Data(L.LightningDataModule):
    """Hands out a loader that starts at the trainer's step."""

    def __init__(self, source: BatchSource, config: TrainingConfig):
        super().__init__()
        self.source, self.config = source, config

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        stream = _Stream(self.source, self.config.seed, trainer.global_step, self.config.max_steps, trainer.global_rank)
        return DataLoader(stream, batch_size=None, num_workers=self.config.num_workers)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device)


class _Stream(IterableDataset):
    """Batches start, start + 1, … up to stop; batch n is drawn by a generator seeded with (seed, n, rank)."""

    def __init__(self, source: BatchSource, seed: int, start: int, stop: int, rank: int):
        self.source, self.seed, self.start, self.stop, self.rank = source, seed, start, stop, rank

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        offset, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for n in range(self.start + offset, self.stop, stride):
            yield self.source.batch(np.random.default_rng(derive_seed(self.seed, "batch", n, self.rank)))


class _Progress(Callback):
    """A bar over steps with the smoothed loss."""

    def __init__(self, description: str):
        self.description = description
        self.bar: tqdm | None = None
        self.loss: float | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self.bar = tqdm(
                total=trainer.max_steps,
                initial=trainer.global_step,
                desc=self.description,
                unit="step",
                mininterval=0.5,
            )

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        if self.bar is None:
            return
        self.bar.update(1)
        if trainer.global_step % 20 == 0:
            loss = float(outputs["loss"])
            self.loss = loss if self.loss is None else 0.9 * self.loss + 0.1 * loss
            self.bar.set_postfix(loss=f"{self.loss:.4f}", refresh=False)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._close()


def quiet_lightning() -> Callable[[], None]:
    """Silence Lightning's start-up lines; returns a function that restores them."""
    import logging

    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)

    def restore() -> None:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)

    return restore
