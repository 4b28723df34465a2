"""A stop of the training: the weights that forecast windows best which it has not seen."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from gluonts.dataset.split import TestData
from torch import Tensor, nn

from shared.training.monitoring import Checkup
from tsdiff.evaluation.metrics import evaluate
from tsdiff.model.model import TSDiff
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling

CHECKS = 8
"""How often the windows are forecast."""
SAMPLES = 25
"""Of each forecast."""
_CALLS, _PATIENCE = 8, 4


def few_calls(sampling: Sampling) -> Sampling:
    """As windows are forecast, for only how good they are beside each other counts."""
    return sampling if sampling.schedule is not None else replace(sampling, steps=min(_CALLS, sampling.steps))


class HeldOut(Checkup):
    """Forecasts held-out windows from time to time, and keeps the averaged weights that did best.

    Training ends when four looks in succession were no better. All is part of the saved training state.

    Args:
        model: whose settings and statistics are used; it is left as it is.
        windows: to forecast.
        sampling: how; with at most 8 network calls.
        max_steps: of the training.

    Attributes:
        weights: the best ones, by name; None before the first look.
    """

    def __init__(self, model: TSDiff, windows: TestData, sampling: Sampling, max_steps: int):
        super().__init__(self._look_at, -(-max_steps // CHECKS), "score")
        self._windows = windows
        self._predictor = TSDiffPredictor(copy.deepcopy(model), few_calls(sampling))
        self.weights: dict[str, Tensor] | None = None

    def _look_at(self, network: nn.Module, step: int) -> Mapping[str, float]:
        self._predictor.model.denoiser.load_state_dict(network.state_dict())
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            crps = evaluate(self._predictor.predict(self._windows.input, SAMPLES), self._windows).crps
        best = max((self._rank(row) for row in self.rows), default=-float("inf"))
        if self.weights is None or self._rank({"score": -crps}) > best:
            self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return {"score": -crps}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End at once a training that was over when its state was saved."""
        if trainer.strategy.broadcast(self._over()):
            trainer.should_stop = True

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        """Look when it is time, and end the training if it is over."""
        super().on_train_batch_end(trainer, pl_module, *rest)
        over = self._over()
        if trainer.global_step % self.every == 0:  # of several processes only the first has looked
            over = trainer.strategy.broadcast(over)
        if over:
            trainer.should_stop = True

    def _over(self) -> bool:
        best = self.best
        return best is not None and len(self.rows) - 1 - self.rows.index(best) >= _PATIENCE

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.weights = state_dict["weights"]
