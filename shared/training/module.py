"""Training a denoiser with Lightning: EMA, exact resume, and a stop that names the batch when the loss is not finite.

A batch and its noise are functions of the seed, the step n and the batch's place in the step alone, whichever process
takes it. So a run that was stopped and started again sees the same batches and draws as one that was not, with nothing
but the step count to remember, on another number of processes too.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NoReturn, Protocol, TypeVar

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from shared.console.notes import tell
from shared.devices import check_processes
from shared.errors import CheckpointError, ConfigError, TrainingError, first_line
from shared.random import derive_seed
from shared.signals import ending
from shared.training.alone import alone
from shared.training.batches import Batch, BatchSource
from shared.training.config import TrainingConfig as TrainingConfig
from shared.training.ema import ema_of
from shared.training.loop import AtomicIO, BatchData, Clock, Progress, SameStart, Stopper, in_main_thread, state_keeper
from shared.training.memory import keep_large_blocks
from shared.training.optimisers import optimiser_of

LAST_STATE = "last.ckpt"
"""Name of the file from which a stopped training goes on."""
_TOGETHER = "batches_a_step"
"""What a state calls the number of batches of all processes in a step."""
_OPTIMIZER = "optimizer"


N = TypeVar("N", bound=nn.Module)
N_contra = TypeVar("N_contra", bound=nn.Module, contravariant=True)


class Objective(Protocol[N_contra]):
    """The loss of each item, (batch,), of (network, x0, y, mask=…, condition=…, generator=…); see `Batch`."""

    def __call__(self, denoiser: N_contra, /, *args: Any, **kwargs: Any) -> Tensor: ...


class DiffusionModule(L.LightningModule, Generic[N]):
    """Trains a network with an objective, such as a `Denoiser` with a `DiffusionLoss`.

    The averaged weights are `ema_denoiser`. A loss or gradient that is not finite raises TrainingError with the
    ids of the items.

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
        self._names: Sequence[str] = ()
        self.share = 1
        """Batches of a step that this process takes; `fit` sets it."""

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
        """The mean loss of one batch; also seeds what the network draws (dropout) by the step and the batch's place."""
        place = self.global_rank * self.share + batch_idx % self.share
        seed = derive_seed(self.config.seed, "step", self.global_step, place)
        _seed_global(seed)
        generator = torch.Generator(device="cpu").manual_seed(seed)
        given = {"mask": batch.mask, "condition": batch.condition, "generator": generator}
        losses = self.loss(self.denoiser, batch.x0, batch.y, **given)
        finite = torch.isfinite(losses)
        names = [str(batch.ids[i]) if batch.ids else f"item {i}" for i in range(len(losses))]
        if not bool(finite.all()):
            bad = [name for name, ok in zip(names, finite.tolist(), strict=True) if not ok]
            self._refuse(f"the loss of step {self.global_step} is not finite for {len(bad)} of {len(names)} items", bad)
        self._names = names
        return losses.mean()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm of all gradients; one that is not finite stops before it gets into the weights."""
        parameters = [p for p in self.denoiser.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, gradient_clip_val or math.inf)
        scaled = self.config.precision == "16-mixed"  # there the gradient scaler skips such steps
        if not scaled and not bool(torch.isfinite(norm)):
            self._refuse(f"the gradient of step {self.global_step} is not finite, its loss is", self._names)

    @staticmethod
    def _refuse(what: str, names: Sequence[str]) -> NoReturn:
        raise TrainingError(
            f"{what}: {', '.join(names[:5])}. Look at their values, lower the learning rate or clip gradients harder; "
            "the last state is kept"
        )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the averaged weights: here, because a state saved after the batch must hold both."""
        super().optimizer_step(*args, **kwargs)
        self.averaged.update_parameters(self.denoiser)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep how many batches a step takes, and which optimiser makes it."""
        checkpoint[_TOGETHER] = self.share * self.trainer.world_size
        checkpoint[_OPTIMIZER] = self.config.optimizer

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Begin with the first batch of the next step, whatever number of processes took those before; say where a
        step is of another number of batches now.

        Raises:
            CheckpointError: the state is of another optimiser.
        """
        optimizer = checkpoint.get(_OPTIMIZER, "adamw")
        if optimizer != self.config.optimizer:
            raise CheckpointError(
                f"training.optimizer={self.config.optimizer}: the training was begun with {optimizer!r}, whose state "
                "another cannot take; go on with it, or train in another folder"
            )
        before, now = checkpoint.get(_TOGETHER), self.share * self.trainer.world_size
        if before not in (None, now) and self.global_rank == 0:
            tell(
                f"the training goes on with {now} batches a step, where it had {before}; training.accumulate={before} "
                "keeps to them"
            )
        if "loops" in checkpoint and (self.share > 1 or before not in (None, now)):
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            taken = self.share * checkpoint["global_step"]
            for counts in (progress["total"], progress["current"]):
                counts.update(dict.fromkeys(counts, taken))

    def configure_optimizers(self) -> Any:
        """The configured optimiser and schedule."""
        optimizer = optimiser_of(self.denoiser, self.config)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.config.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _seed_global(seed: int) -> None:
    """Seed what dropout draws from. `torch.manual_seed` would do, but costs milliseconds where CUDA is not in use."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def _unsent(error: BaseException | None) -> str | None:
    """Why an object cannot be sent to another process, where that is what broke off; Lightning's own ends hide it."""
    while error is not None:
        if isinstance(error, pickle.PicklingError) or (
            isinstance(error, (AttributeError, TypeError)) and "pickle" in str(error)
        ):
            return first_line(error)
        error = error.__cause__ or error.__context__
    return None


def _is_out_of_memory(error: Exception) -> bool:
    """Whether there was too little memory: NumPy's, a GPU's, or a CPU's, which torch tells by its words alone."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def fit(
    module: DiffusionModule,
    source: BatchSource,
    folder: str | os.PathLike[str] | None = None,
    *,
    accelerator: str = "cpu",
    devices: int | str | list[int] = 1,
    strategy: str = "auto",
    num_nodes: int = 1,
    resume: bool = True,
    progress: bool = True,
    description: str = "training",
    callbacks: Sequence[Callback] = (),
    logger: Any = False,
) -> None:
    """Train `module` on `source` until its config's max_steps.

    The process keeps the memory that training took, for the next steps; see `shared.training.memory`.

    Args:
        module: left on the CPU with its trained weights.
        source: of batches.
        folder: where the training state is kept (`last.ckpt`, written atomically); None keeps none.
        accelerator, devices, strategy, num_nodes: Lightning's.
        resume: go on from the state in `folder` if there is one.
        progress: show a progress bar.
        description: what the bar says.
        callbacks, logger: Lightning's, besides.

    Raises:
        ConfigError: there is no such hardware, other processes were started than are to train, `folder` is not the same
            one for all of them, another training uses it, or the source cannot be sent to the processes that prepare
            batches.
        TrainingError: the loss is not finite, or a step takes more memory than there is.
        CheckpointError: the state in `folder` cannot be read or does not fit the module.
        KeyboardInterrupt: it was stopped, with Ctrl-C, SIGTERM or SIGHUP (its argument): the running step is finished
            and the state saved, and the same call goes on from there. A second Ctrl-C does not wait, and what was saved
            last is kept; so it is where several processes train and get a SIGTERM.
    """
    check_processes(devices, num_nodes)
    keep_large_blocks()
    config = module.config
    state = None if folder is None else Path(folder) / LAST_STATE
    path = str(state) if state is not None and resume and state.is_file() else None
    stopper = Stopper(state)
    used: list[Callback] = [*callbacks, stopper, Clock(), SameStart(path)]
    if state is not None:
        used.append(state_keeper(state, config.save_every_seconds))
    if progress:
        used.append(Progress(description))
    with torch.random.fork_rng(devices=[]), _quiet_training():
        trainer = _trainer(
            accelerator=accelerator,
            devices=devices,
            strategy=strategy,
            num_nodes=num_nodes,
            precision=config.precision,
            max_steps=config.max_steps,
            max_epochs=-1,
            gradient_clip_val=config.gradient_clip or None,
            callbacks=used,
            plugins=[AtomicIO()],
            logger=logger,
            enable_checkpointing=state is not None,
            use_distributed_sampler=False,
            log_every_n_steps=max(1, min(50, config.max_steps)),
        )
        share = module.share = trainer.accumulate_grad_batches = config.share(trainer.num_devices * num_nodes)
        data = BatchData(source, config.seed, config.max_steps, config.num_workers, share)
        kept = Path(folder) if folder is not None and trainer.is_global_zero else None
        with _changed_meanwhile(module.network, config.compile), _failing_as_ours(trainer, stopper), alone(kept):
            if path is not None:
                _check_state(Path(path), module)
            stopper.listen()
            trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True if path else None)
    module.cpu()


@contextmanager
def _changed_meanwhile(network: nn.Module, compiled: bool) -> Iterator[None]:
    """Compile the network if wanted; at the end it is the plain one again, and signals do what they did before."""
    before = {number: signal.getsignal(number) for number in {signal.SIGINT, signal.SIGTERM, *ending()}}
    if compiled:
        network.compile()
    try:
        yield
    finally:
        network._compiled_call_impl = None  # what is used or saved afterwards is the plain network
        if in_main_thread():
            for number, handler in before.items():
                if handler is not None:  # one that is not Python's
                    signal.signal(number, handler)


@contextmanager
def _failing_as_ours(trainer: L.Trainer, stopper: Stopper) -> Iterator[None]:
    """Training that runs out of memory, cannot start its processes, or is stopped, ends as `fit` states."""
    try:
        yield
    except (MemoryError, RuntimeError, pickle.PicklingError, AttributeError, TypeError) as error:
        if (reason := _unsent(error)) is not None:
            raise ConfigError(
                "num_workers: processes that prepare batches are started afresh here, and the source cannot be sent "
                f"to them ({reason}); define its class at the top of a module, without open files and lambdas in it, "
                "or take num_workers=0"
            ) from error
        if not _is_out_of_memory(error):
            raise
        raise TrainingError(
            f"a step of this training takes more memory than there is ({first_line(error)}); make batches smaller, or "
            "the pieces in them shorter"
        ) from error
    except SystemExit:
        if not trainer.interrupted:
            raise
        # Lightning turns Ctrl-C into exit(1) and goes on ignoring it; a caller, or a notebook, expects its own.
        number = signal.SIGTERM if trainer.received_sigterm else stopper.asked
        raise KeyboardInterrupt(number or signal.SIGINT) from None


@contextmanager
def _quiet_training() -> Iterator[None]:
    """`quiet_lightning`, without the warnings of Lightning that do not concern these trainings."""
    with quiet_lightning(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(does not have many workers|isinstance.treespec|LeafSpec).*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists.*")
        warnings.filterwarnings("ignore", message=".*module.s. in eval mode.*")  # the averaged weights are
        # Of a state that was saved under another interval, which is nothing to restore.
        warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
        yield


def check_hardware(
    config: TrainingConfig, *, accelerator: str, devices: int | str | list[int], strategy: str, num_nodes: int
) -> None:
    """See that `fit` can train so on this machine, before what an earlier training left is removed.

    Raises:
        ConfigError: it cannot.
    """
    check_processes(devices, num_nodes)
    with quiet_lightning(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _trainer(
            accelerator=accelerator,
            devices=devices,
            strategy=strategy,
            num_nodes=num_nodes,
            precision=config.precision,
            logger=False,
            enable_checkpointing=False,
        )


def _trainer(**settings: Any) -> L.Trainer:
    """Lightning's trainer, which shows nothing of its own.

    Raises:
        ConfigError: it cannot train on such hardware.
    """
    try:
        return L.Trainer(**settings, enable_progress_bar=False, enable_model_summary=False)
    except (MisconfigurationException, TypeError, ValueError) as error:
        told = ", ".join(f"{name}={settings[name]!r}" for name in ("devices", "strategy"))
        reason = str(error).partition(". ")[0].rstrip(".")
        raise ConfigError(
            f"hardware: {told}: Lightning cannot train so on this machine ({reason}); take devices=1 and strategy=auto"
        ) from error


def seconds_of(folder: str | os.PathLike[str]) -> float:
    """Seconds of training that went into the state that `fit` keeps in this folder; 0 where there is none to read."""
    try:
        saved = torch.load(Path(folder) / LAST_STATE, map_location="cpu", weights_only=True)
        return float(saved["callbacks"][Clock.__name__]["seconds"])
    except Exception:  # `fit` tells of a damaged state
        return 0.0


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


@contextmanager
def quiet_lightning(*others: str) -> Iterator[None]:
    """Keep Lightning, and other loggers of these names, from telling of themselves."""
    names = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning", *others)
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
