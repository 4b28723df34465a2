"""Settings in YAML and training states of Lightning, as an earlier version wrote them: they are read, and go on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared.training.module import quiet_lightning
from speech import SpeechModel
from speech.training.fit import train as train_speech
from speech.training.settings import read_experiment as read_speech_experiment
from tests.golden.product.case import SAVED, Results, case
from tests.golden.product.forecasts import ENTRIES, forecast
from tests.golden.product.make_saved import MORE, SERIES, STEPS, TSDIFF, Sounds, tsdiff_estimator
from tests.golden.sgmse_cases import spectrograms
from tsdiff.experiment.experiment import load_experiment_data
from tsdiff.experiment.experiment import read_experiment as read_series_experiment

SPEECH = ("bridge", "score", "causal")


def trained_speech(kind: str, steps: int, folder: Path) -> Tensor:
    """What the last model of a training by a saved YAML answers."""
    made = read_speech_experiment(SAVED / f"speech_{kind}.yaml", [f"training.max_steps={steps}"])
    train_speech(made, Sounds(), [], folder, progress=False, tensorboard=False)
    with torch.no_grad():
        return SpeechModel.from_pretrained(folder / "last")(*spectrograms(64, 16))  # type: ignore[no-any-return]


@case("artefacts/speech training", tolerance=1e-4)
def speech_training(folder: Path) -> Results:
    """From a saved state on, and from settings alone."""
    quiet_lightning()
    shutil.copytree(SAVED / "speech_training" / "state", folder / "resumed" / "state")
    found: Results = {"resumed": trained_speech("bridge", STEPS + MORE, folder / "resumed")}
    found |= {kind: trained_speech(kind, MORE, folder / kind) for kind in SPEECH}
    return found


@case("artefacts/tsdiff training", tolerance=1e-4)
def series_training(folder: Path) -> Results:
    """From a saved state on, which ends at the saved model; and from settings alone."""
    quiet_lightning()
    estimator = tsdiff_estimator(**TSDIFF["plain"])
    found: Results = {}
    for more in (0, MORE):
        place = folder / f"{more}"
        shutil.copytree(SAVED / "tsdiff_training", place)
        estimator.with_training(max_steps=60 + more)
        predictor = estimator.train(SERIES, folder=place, progress=False)
        found[f"{more} steps more"] = forecast(predictor, ENTRIES)
    made = read_series_experiment(SAVED / "tsdiff.yaml", [f"training.max_steps={MORE}"])
    data = load_experiment_data(made.data)
    predictor = made.estimator(data, 3).train(data.split.train, progress=False, **made.fit_options())
    entry = {"item_id": "a", "start": ENTRIES[0]["start"], "target": np.tile(ENTRIES[0]["target"], 4)}
    found["settings"] = forecast(predictor.with_sampling(steps=2), [entry])
    return found


@case("artefacts/settings that a user wrote")
def written(folder: Path) -> Results:
    """Files that name only what they change."""
    series = read_series_experiment(SAVED / "tsdiff_written.yaml")
    speech = read_speech_experiment(SAVED / "speech_written.yaml")
    model = SpeechModel(replace(speech.model))
    counted: dict[str, list[Any]] = {
        "series": [series.training.max_steps, series.model.context_length, series.model.backbone.width],
        "sampling": [series.sampling.scale, series.sampling.steps, series.sampling.observation_std],
        "speech": [speech.training.max_steps, speech.data.seconds, speech.data.mix.reverb, speech.objective.l1_weight],
        "weights": [sum(weights.numel() for weights in model.parameters())],
        "path": [model.sde.alpha(0.4).item(), model.sde.sigma(0.4).item()],
    }
    return {name: np.array(values, dtype=float) for name, values in counted.items()}
