"""Settings of a training, which need neither torch nor Lightning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from shared.checks import Checked, Count, Natural, NonNegative, Portion, Positive
from shared.errors import ConfigError


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """How to train.

    Args:
        max_steps: optimiser steps.
        learning_rate: its peak.
        weight_decay: on matrices only.
        warmup: share of the steps in which the rate rises to its peak.
        decay: "cosine" to zero at max_steps, or "constant".
        gradient_clip: norm at which gradients are clipped; 0 does not clip.
        ema_decay: of the averaged weights, which are those that are used afterwards.
        accumulate: batches whose mean gradient makes a step. Processes that train together share them evenly, so any
            number of processes that divides it takes the same batches and draws the same noise. With 1 each process
            takes a batch of its own.
        seed: of data order, times and noise.
        precision: Lightning's, "32-true", "bf16-mixed" or "16-mixed".
        num_workers: processes that prepare batches; 0 prepares them in the training process.
        save_every_seconds: how often the training state is saved; it is saved at the end and on Ctrl-C besides.
        compile: train through `torch.compile`, which takes a minute or more to start; weights and their names are the
            same as without, results agree to rounding.
        optimizer: "adamw", or "muon", which makes the steps of matrices orthogonal (`shared.training.optimisers`) and
            takes the learning rates of AdamW.
    """

    max_steps: Count = 1000
    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    warmup: Portion = 0.05
    decay: Literal["cosine", "constant"] = "cosine"
    gradient_clip: Annotated[float, Ge(0)] = 1.0
    ema_decay: Portion = 0.999
    accumulate: Count = 1
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    num_workers: Natural = 0
    save_every_seconds: NonNegative = 15.0
    compile: bool = False
    optimizer: Literal["adamw", "muon"] = "adamw"

    def share(self, processes: int) -> int:
        """Batches of a step that each of so many processes takes.

        Raises:
            ConfigError: they cannot be shared evenly.
        """
        if self.accumulate == 1:
            return 1
        if self.accumulate % processes:
            raise ConfigError(
                f"training.accumulate={self.accumulate}: {processes} processes cannot share so many batches evenly; "
                f"take a multiple of {processes}"
            )
        return self.accumulate // processes

    def rate(self, step: int) -> float:
        """Learning rate at `step` as a share of the peak."""
        rise = max(1, round(self.warmup * self.max_steps))
        if step < rise and self.warmup > 0:
            return (step + 1) / rise
        if self.decay == "constant":
            return 1.0
        progress = step / self.max_steps
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
