"""Training TSDiff as a GluonTS estimator."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gluonts.model.estimator import Estimator

from shared.errors import ConfigError
from shared.objectives import DiffusionLoss, TimeSampler
from shared.predictions import NetworkOutput
from shared.random import derive_seed
from shared.sde import SDE, sde_to_config
from shared.training import DiffusionModule, TrainingConfig, fit
from tsdiff.backbones import S4Config, S4DConfig
from tsdiff.config import (
    Calendar,
    Sampling,
    Scaling,
    TSDiffConfig,
    compute_device,
    default_patch,
    fitting_context,
    paper_sde,
)
from tsdiff.data import normalise_freq
from tsdiff.data.store import SPOOL_ABOVE
from tsdiff.entries import Entry
from tsdiff.missing import MissingContext
from tsdiff.model import TSDiff
from tsdiff.predictor import TSDiffPredictor
from tsdiff.source import WindowSource
from tsdiff.tuning import TuningGrid, tune

DEFAULT_TRAINING = TrainingConfig(
    max_steps=7000, learning_rate=5e-3, weight_decay=1e-2, gradient_clip=1.0, ema_decay=0.999
)
DEFAULT_LOSS = DiffusionLoss(times=TimeSampler("log_normal", mean=-0.5, std=1.2))


class TSDiffEstimator(Estimator):
    """Trains an unconditional diffusion model on windows of a dataset, and gives a forecaster.

    Args:
        freq: frequency of the series, in any pandas spelling.
        prediction_length: steps to forecast.
        context_length: steps before them that the model sees; None chooses by frequency. It is lengthened to whole
            patches.
        scaling, calendar, output, channels, lags, dynamic_features, static_features, categories, scale_feature,
            conditional: see `TSDiffConfig`.
        missing: values of the context that a conditional model is trained to do without.
        backbone: sizes of the network; None takes the default with the frequency's season as patch.
        sde: the process; None takes TSDiff's 100-step table.
        loss: the objective; None takes regression of the network's output with log(σ/α) drawn from N(−0.5, 1.2²).
        training: how to train.
        batch_size: windows in a batch.
        scale_power, horizon_weight: see `WindowSource`.
        sampling: how the forecaster draws.
        device: "cpu", "cuda" or "auto", which takes a GPU where there is one.

    Raises:
        ConfigError, DataError: a setting that cannot be used, an unknown frequency.
    """

    def __init__(
        self,
        freq: str,
        prediction_length: int,
        context_length: int | None = None,
        *,
        scaling: Scaling = "mean",
        calendar: Calendar = "waves",
        output: NetworkOutput = "velocity",
        channels: int = 1,
        lags: Sequence[int] = (),
        dynamic_features: int = 0,
        static_features: int = 0,
        categories: Sequence[int] = (),
        scale_feature: bool = False,
        conditional: bool = False,
        missing: MissingContext | None = None,
        backbone: S4DConfig | S4Config | None = None,
        sde: SDE | None = None,
        loss: DiffusionLoss | None = None,
        training: TrainingConfig | None = None,
        batch_size: int = 32,
        scale_power: float = 0.0,
        horizon_weight: float = 1.0,
        sampling: Sampling | None = None,
        device: str = "cpu",
    ):
        super().__init__()
        if prediction_length < 1:
            raise ConfigError(f"prediction_length={prediction_length}: need at least one step to forecast")
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: need at least one window")
        freq = normalise_freq(freq)
        backbone = backbone or S4DConfig(patch=default_patch(freq))
        self.config = TSDiffConfig(
            freq=freq,
            prediction_length=prediction_length,
            context_length=fitting_context(freq, prediction_length, backbone.patch, context_length),
            scaling=scaling,
            calendar=calendar,
            backbone=backbone,
            sde=sde_to_config(sde or paper_sde()),
            output=output,
            channels=channels,
            lags=tuple(lags),
            dynamic_features=dynamic_features,
            static_features=static_features,
            categories=tuple(categories),
            scale_feature=scale_feature,
            conditional=conditional,
        )
        if missing is not None and not conditional:
            raise ConfigError("missing: only a conditional model (conditional=True) is trained to do without values")
        self.missing = missing
        self.loss = loss or DEFAULT_LOSS
        self.training = training or DEFAULT_TRAINING
        self.batch_size, self.scale_power, self.horizon_weight = batch_size, scale_power, horizon_weight
        self.sampling = sampling or Sampling()
        self.device = str(compute_device(device))

    def train(
        self,
        training_data: Iterable[Entry],
        validation_data: Iterable[Entry] | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        resume: bool = True,
        progress: bool = True,
        tuning: TuningGrid | None = None,
        spool_above: int | None = SPOOL_ABOVE,
        **fit_options: Any,
    ) -> TSDiffPredictor:
        """Train on a GluonTS dataset.

        Args:
            training_data: entries; NaN is missing. They are read once, one by one.
            validation_data: entries whose last prediction_length steps are not part of `training_data`; the guidance
                is tuned on these steps after the training (`tsdiff.tuning.tune`). None keeps the sampling as it is.
            folder: where the training state is kept, so that an interrupted training goes on; None keeps none.
            resume: go on from the state in `folder`.
            progress: show a progress bar.
            spool_above: bytes of values from which the series go to a file, in `folder` if there is one, instead of
                memory; None never, 0 always (`tsdiff.data.SeriesStore`).
            tuning: what to try on the validation data; None takes `TuningGrid()`.
            fit_options: `shared.training.fit`'s strategy, devices, callbacks, logger.

        Returns:
            A predictor with the averaged weights.

        Raises:
            DataError: no observed value.
            TrainingError: the loss is not finite.
            CheckpointError: the state in `folder` does not fit; pass resume=False.
        """
        seed = self.training.seed
        source = WindowSource(
            training_data,
            self.config,
            self.batch_size,
            self.missing,
            self.scale_power,
            self.horizon_weight,
            spool_above=spool_above,
            folder=folder,
        )
        statistics = source.measure(np.random.default_rng(derive_seed(seed, "statistics")))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "weights"))
            model = TSDiff(self.config, statistics)
        module = DiffusionModule(model.denoiser, self.loss, self.training)
        fit(
            module,
            source,
            folder,
            resume=resume,
            progress=progress,
            description="training TSDiff",
            **{**_hardware(self.device), **fit_options},
        )
        source.store.close()
        model.denoiser.load_state_dict(module.ema_denoiser.state_dict())
        predictor = TSDiffPredictor(model, self.sampling, self.device)
        if validation_data is None:
            return predictor
        return tune(predictor, validation_data, grid=tuning, seed=seed, progress=progress).predictor

    def with_training(self, **changes: Any) -> TSDiffEstimator:
        """Change fields of the `TrainingConfig`, in place; returns the estimator."""
        self.training = replace(self.training, **changes)
        return self


def _hardware(device: str) -> dict[str, Any]:
    """Lightning's accelerator and devices for a torch device: "cuda:1" is the second GPU, not any one."""
    found = torch.device(device)
    accelerator = "gpu" if found.type == "cuda" else found.type
    return {"accelerator": accelerator, "devices": 1 if found.index is None else [found.index]}
