"""Training a speech model: validation on whole files, the best weights kept."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from shared.devices import first_process
from shared.errors import ConfigError, SamplingError
from shared.experiment import HardwareSettings
from shared.files.checkpoint import WEIGHTS
from shared.flow_maps.start import apart, as_map, check_map, frozen_copy, start_map
from shared.optional import install, is_there
from shared.random import derive_seed
from shared.training.batches import BatchSource
from shared.training.module import DiffusionModule, check_hardware, fit
from shared.training.monitoring import Checkup, LossHistory, Row, time_limit
from speech import metrics
from speech.enhancer import Enhancer
from speech.loading import load_model
from speech.model.backbones.light import LightBackbone
from speech.model.config import SamplingConfig
from speech.model.model import SpeechModel
from speech.training.recordings import Recording, SameFiles, Waveform
from speech.training.settings import Experiment, Score
from speech.training.terms import SpeechObjective

SCORES: Mapping[Score, Callable[[Waveform, Waveform, float], float]] = {
    "si_sdr": metrics.si_sdr,
    "estoi": metrics.estoi,
    "pesq_wb": metrics.pesq_wb,
}

MODEL_FOLDER, LAST_FOLDER, STATE_FOLDER, LOG_FOLDER = "model", "last", "state", "tensorboard"


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        model: with the best weights by the monitored score, or the last where nothing was measured.
        best: scores of these, with their step; empty where nothing was measured.
        losses: the loss over the steps.
        checks: the scores over the steps.
        steps: optimiser steps taken.
    """

    model: SpeechModel
    best: Row
    losses: Sequence[Row]
    checks: Sequence[Row]
    steps: int


def enhance_recording(
    model: SpeechModel, noisy: Waveform, sampling: SamplingConfig | None = None, seed: int = 0
) -> tuple[Waveform, int]:
    """One recording (samples,) at the model's rate as users get it, and the number of network calls."""
    enhancer = Enhancer(model, sampling=sampling)
    enhancer.seed = seed
    return enhancer.enhance(noisy, enhancer.sample_rate), enhancer.nfe


def score_recordings(
    recordings: Sequence[Recording], estimates: Sequence[Waveform], rate: int, scores: Sequence[Score]
) -> Row:
    """Mean of each score over the recordings that have one; NaN where none has."""
    row: Row = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", metrics.UnscorableWarning)
        for name in scores:
            values = []
            for (_, clean, _), estimate in zip(recordings, estimates, strict=True):
                try:
                    values.append(SCORES[name](clean, estimate, rate))
                except metrics.UnscorableError:
                    continue
            known = [value for value in values if math.isfinite(value)]
            row[name] = float(np.mean(known)) if known else math.nan
    return row


def _board(output: Path) -> Any:
    """Lightning's logger for TensorBoard; none where that is not installed."""
    from lightning.pytorch.loggers import TensorBoardLogger

    if is_there("tensorboard"):
        return TensorBoardLogger(output, name="", version=LOG_FOLDER)
    warnings.warn(f"nothing is logged for TensorBoard, which is not installed: {install('tensorboard')}", stacklevel=3)
    return False


class Validation:
    """Scores of a model on fixed recordings.

    Args:
        recordings: (name, clean, noisy) at the model's rate.
        experiment: tells scores, sampling and seed.

    Attributes:
        kind: a text that changes with the recordings, by name, length and levels, and with how they are scored.
        nfe: network calls of the last recording.
        refused: why the network of the last call has no scores; empty where it has.
    """

    def __init__(self, recordings: Sequence[Recording], experiment: Experiment):
        self.recordings, self.settings = recordings, experiment.validation
        self.refused = ""
        told = [f"{name} {len(noisy)} {_power(clean):.4g} {_power(noisy):.4g}" for name, clean, noisy in recordings]
        self.kind = f"{derive_seed(repr(replace(self.settings, every=1)), *told):016x}"
        self.rate = experiment.model.frontend.sample_rate
        self.nfe = 0
        if recordings:
            metrics.chosen_metrics(self.settings.scores, noise=False)  # before the training, for what it refuses

    def noisy(self) -> Row:
        """Scores of the noisy recordings themselves."""
        noisy = [noisy for _, _, noisy in self.recordings]
        return score_recordings(self.recordings, noisy, self.rate, self.settings.scores)

    def __call__(self, network: nn.Module, step: int) -> Row:
        """Scores of the enhanced recordings; NaN for a network whose result for one of them cannot be right."""
        assert isinstance(network, SpeechModel)
        self.refused = ""
        estimates = []
        for place, (name, _, noisy) in enumerate(self.recordings):
            seed = derive_seed(self.settings.seed, place)
            try:
                estimate, self.nfe = enhance_recording(network, noisy, self.settings.sampling, seed)
            except SamplingError as error:
                self.refused = f"{name}: {error}"
                return dict.fromkeys(self.settings.scores, math.nan)
            estimates.append(estimate)
        return score_recordings(self.recordings, estimates, self.rate, self.settings.scores)


def _power(waveform: Waveform) -> float:
    return float(np.square(waveform, dtype=np.float64).mean()) if waveform.size else 0.0


def new_model(experiment: Experiment) -> SpeechModel:
    """The experiment's model with the weights that training starts from.

    Raises:
        ConfigError: `start_from` names a model of other settings.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(experiment.training.seed, "weights"))
        model = SpeechModel(experiment.model).train()
    if experiment.start_from is not None:
        _start_from(model, load_model(experiment.start_from, _kinds(experiment)), experiment.start_from)
    return model


def check_device(hardware: HardwareSettings) -> None:
    """See that there is a GPU where one is asked for.

    Raises:
        ConfigError: there is none.
    """
    if hardware.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError('hardware.device="cuda": torch finds no GPU here; take "cpu" (--hardware cpu)')


def check_training(experiment: Experiment) -> None:
    """See that this machine can train as the experiment's hardware says.

    Raises:
        ConfigError: it cannot.
    """
    check_device(experiment.hardware)
    check_hardware(experiment.training, **_of_lightning(experiment.hardware))


def _of_lightning(hardware: HardwareSettings) -> dict[str, Any]:
    """What Lightning's trainer is told of it."""
    cuda = hardware.device == "cuda" or (hardware.device == "auto" and torch.cuda.is_available())
    return {
        "accelerator": "gpu" if cuda else "cpu",
        "devices": hardware.devices,
        "strategy": hardware.strategy,
        "num_nodes": hardware.nodes,
    }


def objective_of(experiment: Experiment, model: SpeechModel) -> SpeechObjective:
    """The experiment's objective; the teacher of a map that is distilled is a copy of the model that it starts from.

    Raises:
        ConfigError: a map's objective for a network that takes no second time, or the other way round.
    """
    flow_map = experiment.objective.flow_map
    if experiment.objective.rollout is None:
        check_map(model.denoiser, flow_map)
    distilled = flow_map is not None and flow_map.needs_teacher and experiment.start_from is not None
    return SpeechObjective(experiment.objective, frozen_copy(model.denoiser) if distilled else None)


def _kinds(experiment: Experiment) -> tuple[type, type]:
    """The classes of the model's parts, which may be a user's own."""
    return type(experiment.model.backbone), type(experiment.model.sde)


def _start_from(model: SpeechModel, other: SpeechModel, name: str) -> None:
    """Take over another model's weights; a causal network may start from one that looks ahead, a flow map from a model
    that is none."""
    loses_look_ahead = (
        isinstance(model.backbone, LightBackbone)
        and isinstance(other.backbone, LightBackbone)
        and model.backbone.config.causal > other.backbone.config.causal
    )
    same: dict[str, Any] = {"frontend": replace(other.config.frontend, normalize=model.config.frontend.normalize)}
    becomes_map = model.denoiser.is_map and not other.denoiser.is_map
    if becomes_map:
        same["backbone"] = as_map(other.config.backbone)
    for part in ("backbone", "frontend", "sde", "parameterisation"):
        found, wanted = same.get(part, getattr(other.config, part)), getattr(model.config, part)
        if found != wanted and not (part == "backbone" and loses_look_ahead):
            raise ConfigError(
                f"start_from={name!r} has {part} {apart(found, wanted)}, the settings say {apart(wanted, found)}; "
                f"set model.{part} as it has it, such as by the settings that it was trained with (--config)"
            )
    if loses_look_ahead:
        assert isinstance(model.backbone, LightBackbone)
        assert isinstance(other.backbone, LightBackbone)
        model.backbone.load_without_look_ahead(other.backbone)
    else:
        start_map(model, other.state_dict()) if becomes_map else model.load_state_dict(other.state_dict())


def train(
    experiment: Experiment,
    source: BatchSource,
    recordings: Sequence[Recording],
    output: str | os.PathLike[str],
    *,
    model: SpeechModel | None = None,
    progress: bool = True,
    tensorboard: bool = True,
    callbacks: Sequence[Any] = (),
) -> Trained:
    """Train the experiment's model, or go on where a stopped training in `output` was.

    Leaves in `output` the best model (`model/`), the last one (`last/`), the training state (`state/`) and what
    TensorBoard shows (`tensorboard/`).

    Args:
        experiment: the settings.
        source: of batches; see `training_source`.
        recordings: to validate on; see `validation_set`. Without any the last weights are kept.
        output: folder.
        model: train this one instead of a new one.
        progress: show a bar.
        tensorboard: log losses and scores.
        callbacks: Lightning's, besides.

    Raises:
        ConfigError: there is no GPU where one is asked for.
        TrainingError, CheckpointError, KeyboardInterrupt: see `shared.training.module.fit`.
    """
    output = Path(output)
    hardware, settings = experiment.hardware, experiment.validation
    check_device(hardware)
    trained = model or new_model(experiment)
    module = DiffusionModule(trained, objective_of(experiment, trained), experiment.training)
    losses = LossHistory(max(1, min(20, experiment.training.max_steps // 5)))
    validation = Validation(recordings, experiment)
    checkup = Checkup(
        validation,
        settings.every,
        settings.monitor,
        lambda net, _: _save(net, output / MODEL_FOLDER),
        kind=validation.kind,
        kept=lambda: SpeechModel.from_pretrained(output / MODEL_FOLDER, _kinds(experiment)),
    )
    used = [losses, SameFiles(source), *([checkup] if recordings else []), *callbacks]
    if experiment.max_minutes is not None:
        used.append(time_limit(experiment.max_minutes))
    logger = _board(output) if tensorboard else False
    fit(
        module,
        source,
        output / STATE_FOLDER,
        **_of_lightning(hardware),
        progress=progress,
        callbacks=used,
        logger=logger,
    )
    last = module.ema_denoiser.eval()
    steps = int(losses.rows[-1]["step"]) if losses.rows else 0
    if not first_process():
        return Trained(last, {}, losses.rows, checkup.rows, steps)
    last.save_pretrained(output / LAST_FOLDER)
    if checkup.best is None:
        last.save_pretrained(output / MODEL_FOLDER)
        return Trained(last, {}, losses.rows, checkup.rows, steps)
    last.load_state_dict(load_file(output / MODEL_FOLDER / WEIGHTS))
    return Trained(last, checkup.best, losses.rows, checkup.rows, steps)


def _save(network: nn.Module, folder: Path) -> None:
    assert isinstance(network, SpeechModel)
    network.save_pretrained(folder)
