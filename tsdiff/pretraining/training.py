"""Trains a model of all frequencies on windows of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.callbacks import Callback

from shared.devices import compute_device, hardware
from shared.flow_maps import LagrangianMap, MapLoss
from shared.objectives import DiffusionLoss, TimeSampler
from shared.training.batches import BatchSource
from shared.training.config import TrainingConfig
from shared.training.module import DiffusionModule, fit
from tsdiff.model.model import TSDiff

LOSS = DiffusionLoss(times=TimeSampler("log_normal", mean=-0.7, std=1.4))
MAP = LagrangianMap(diagonal=0.5, times=TimeSampler("log_normal", mean=0.0, std=1.6), start_share=0.4)
"""What a flow map's jumps are trained by."""


def train(
    model: TSDiff,
    source: BatchSource,
    training: TrainingConfig,
    folder: Path | None = None,
    *,
    loss: DiffusionLoss = LOSS,
    device: str = "cpu",
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
) -> TSDiff:
    """Train a model in place; it gets the averaged weights, on the CPU.

    Args:
        model: of all frequencies.
        source: of windows.
        training: how long and how fast.
        folder: where the training state is kept; a stopped training goes on from there.
        loss: the objective; of a flow map, jumps are trained besides.
        device: where to train; "auto" takes a GPU where there is one.
        progress: show a bar.
        callbacks: Lightning's, besides.

    Raises:
        ConfigError: there is no such device.
        TrainingError, CheckpointError: see `shared.training.module.fit`.
    """
    objective = MapLoss(loss, MAP) if model.denoiser.is_map else loss
    module = DiffusionModule(model.denoiser, objective, training)
    place = hardware(str(compute_device(device)))
    fit(module, source, folder, progress=progress, description="training", callbacks=callbacks, **place)
    model.denoiser.load_state_dict(module.ema_denoiser.state_dict())
    return model.eval()
