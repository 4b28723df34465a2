"""What is seen of a training while it runs: the loss, checks of the averaged weights, and a limit by the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Timer
from torch import Tensor, nn

from shared.console.notes import tell
from shared.training.loop import Clock, ends_step
from shared.training.module import DiffusionModule

Row = dict[str, float]
"""One line of a history; always with "step"."""


def time_limit(minutes: float) -> Callback:
    """Ends training after this long, what was spent before a resumption counted."""
    return Timer(duration=timedelta(minutes=minutes), interval="step", verbose=False)


class CPULimit(Callback):
    """Ends a training once this process has taken so many seconds of CPU time, as `time.process_time` counts them.

    Attributes:
        ended: after how many steps it did; None if it did not.
    """

    def __init__(self, until: float):
        self.until = until
        self.ended: int | None = None

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """End it if it is time."""
        if time.process_time() >= self.until and trainer.global_step < trainer.max_steps:
            trainer.should_stop = True
            self.ended = trainer.global_step


class LossHistory(Clock):
    """Keeps the mean loss of every `every` steps, over all processes, and hands it to the trainer's logger.

    It is part of the saved training state, and so goes on in a run that is resumed.

    Attributes:
        rows: {"step", "loss", "learning_rate", "seconds"} each; seconds are of training so far.
    """

    def __init__(self, every: int = 20):
        super().__init__()
        self.every = every
        self.rows: list[Row] = []
        self._losses: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)
        if ends_step(trainer, batch_idx) and trainer.global_step % self.every == 0:
            self._flush(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._flush(trainer)

    def _flush(self, trainer: L.Trainer) -> None:
        if not self._losses:
            return
        row = {
            "loss": float(trainer.strategy.reduce(torch.stack(self._losses).mean(), reduce_op="mean")),
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "seconds": self.seconds,
        }
        self._losses.clear()
        self.rows.append({"step": trainer.global_step, **row})
        if trainer.logger is not None:
            trainer.logger.log_metrics(row, step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, **super().state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.rows = list(state_dict["rows"])


class Checkup(Callback):
    """Looks at the network with averaged weights every so many steps and at the end, on the first process.

    Its history is part of the saved training state.

    Args:
        check: (network, step) → scores by name; called without gradients, in evaluation mode.
        every: steps between.
        monitor: the score by which networks are compared; higher is better, NaN is worst.
        on_best: called with the network and its scores when it is the best so far.
        kind: a text that changes with what `check` measures and how. A history of another kind is not gone on with, for
            its scores compare with none of this one.
        kept: the network that `on_best` got last, which is then checked anew.

    Attributes:
        rows: {"step", scores...} each.
    """

    def __init__(
        self,
        check: Callable[[nn.Module, int], Mapping[str, float]],
        every: int,
        monitor: str,
        on_best: Callable[[nn.Module, Row], None] | None = None,
        kind: str = "",
        kept: Callable[[], nn.Module] | None = None,
    ):
        self.check, self.every, self.monitor, self.on_best = check, max(1, every), monitor, on_best
        self.kind, self.kept = kind, kept
        self.rows: list[Row] = []
        self._looked = 0
        self._of_another_kind: int | None = None

    @property
    def best(self) -> Row | None:
        """The row of the best network so far."""
        return max(self.rows, key=self._rank, default=None)

    def _rank(self, row: Row) -> float:
        value = row.get(self.monitor, math.nan)
        return -math.inf if math.isnan(value) else value

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check anew what was best by checks of another kind."""
        step, self._of_another_kind = self._of_another_kind, None
        if step is None or not trainer.is_global_zero:
            return
        tell("the checks so far were of other recordings or scores and do not count; the best network is scored anew")
        if self.kept is not None:
            with torch.no_grad():
                self.rows = [{"step": step, **self.check(self.kept().eval(), step)}]

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self._look(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._look(trainer, pl_module)

    def _look(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        step = trainer.global_step
        if step == self._looked:
            return
        self._looked = step  # on every process, for all must come to the barrier; rows are the first one's
        if trainer.is_global_zero:
            assert isinstance(pl_module, DiffusionModule)
            network = pl_module.ema_denoiser
            training = network.training
            with torch.no_grad():
                row = {"step": step, **self.check(network.eval(), step)}
            network.train(training)
            better = self.best is None or self._rank(row) > self._rank(self.best)
            self.rows.append(row)
            if trainer.logger is not None:
                scores = {name: value for name, value in row.items() if name != "step" and not math.isnan(value)}
                trainer.logger.log_metrics(scores, step=step)
            if better and self.on_best is not None:
                self.on_best(network, row)
        trainer.strategy.barrier()

    def state_dict(self) -> dict[str, Any]:
        best = self.best
        return {"rows": self.rows, "kind": self.kind, "best_step": None if best is None else int(best["step"])}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        rows = list(state_dict["rows"])
        self._looked = max((int(row["step"]) for row in rows), default=0)
        if state_dict.get("kind", self.kind) == self.kind:  # states of before do not tell it
            self.rows = rows
        else:
            self.rows, self._of_another_kind = [], state_dict["best_step"]
