"""Trains a model of all frequencies on windows of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.callbacks import Callback

from shared.objectives import DiffusionLoss, TimeSampler
from shared.training.batches import BatchSource
from shared.training.config import TrainingConfig
from shared.training.module import DiffusionModule, fit
from tsdiff.model.model import TSDiff

LOSS = DiffusionLoss(times=TimeSampler("log_normal", mean=-0.7, std=1.4))


def train(
    model: TSDiff,
    source: BatchSource,
    training: TrainingConfig,
    folder: Path | None = None,
    *,
    loss: DiffusionLoss = LOSS,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
) -> TSDiff:
    """Train a model in place; it gets the averaged weights.

    Args:
        model: of all frequencies.
        source: of windows.
        training: how long and how fast.
        folder: where the training state is kept; a stopped training goes on from there.
        loss: the objective.
        progress: show a bar.
        callbacks: Lightning's, besides.

    Raises:
        TrainingError, CheckpointError: see `shared.training.module.fit`.
    """
    module = DiffusionModule(model.denoiser, loss, training)
    fit(module, source, folder, progress=progress, description="training", callbacks=callbacks)
    model.denoiser.load_state_dict(module.ema_denoiser.state_dict())
    return model.eval()
