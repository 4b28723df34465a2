"""Writes the models, settings and training states of `saved/`, as a user of this version has them on disk."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.files.settings import write_yaml
from shared.sde import OUVESDE, SBVESDE, VPSDE
from shared.training.batches import Batch
from shared.training.module import TrainingConfig, quiet_lightning
from speech import FrontEndConfig, Parameterisation, SamplingConfig, SpeechConfig
from speech.model.backbones import LightConfig
from speech.model.corrector import PublishedPC
from speech.training.fit import train
from speech.training.settings import Experiment, ValidationSettings
from speech.training.terms import ObjectiveConfig
from tests.golden.product.case import SAVED
from tests.golden.product.signals import noisy_sound, rich_series, series
from tsdiff import Sampling, TSDiff, TSDiffConfig, TSDiffEstimator, TSDiffPredictor
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.experiment.experiment import read_experiment, write_experiment
from tsdiff.model.backbones import S4Config, S4DConfig

LIGHT = {"width": 8, "edge_width": 4, "blocks": 2, "dilations": (1, 2), "mixed": 2, "mixing_width": 8, "embedding": 8}
STEPS, MORE = 200, 2
"""Of a training, and of its continuation from the saved state."""


class Sounds:
    """Batches of pieces of one noisy sound, and of its voice alone."""

    def batch(self, rng: np.random.Generator) -> Batch:
        """Four pieces of 62 ms."""
        noisy, clean = noisy_sound(16000, 1.0), noisy_sound(16000, 1.0, noise=0.0)
        places = rng.integers(0, len(noisy) - 992, 4)
        pieces = (np.stack([wave[place : place + 992] for place in places]) for wave in (clean, noisy))
        return Batch(*map(torch.from_numpy, pieces), ids=[f"piece {place}" for place in places])


def without_places(path: Path, folder: str) -> None:
    """Take the name of the folder that it was made in out of a training state."""

    def bare(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(folder, "run")
        if isinstance(value, dict):
            return type(value)((bare(name), bare(each)) for name, each in value.items())
        return [bare(each) for each in value] if type(value) is list else value

    torch.save(bare(torch.load(path, weights_only=False)), path)


def speech_experiment(kind: str) -> Experiment:
    """Of a "bridge", a "score" or a "causal" model: a light network of a few thousand weights."""
    score = kind == "score"
    config = SpeechConfig(
        LightConfig(**LIGHT, causal=kind == "causal"),  # type: ignore[arg-type]
        FrontEndConfig(n_fft=126, hop_length=32, normalize="not" if kind == "causal" else "noisy"),
        OUVESDE() if score else SBVESDE(),
        Parameterisation("score", network_scaling="1/sigma", sign=-1) if score else Parameterisation("data"),
        SamplingConfig(PublishedPC(snr=0.1), steps=6) if score else SamplingConfig("sb_sde", steps=3),
    )
    objective = ObjectiveConfig(loss="score_matching" if score else "data_prediction")
    training = TrainingConfig(max_steps=STEPS, learning_rate=5e-3, ema_decay=0.95, decay="constant", warmup=0.0)
    return replace(
        Experiment(),
        model=config,
        objective=objective,
        training=training,
        validation=ValidationSettings(every=20, files=0),
    )


def write_speech() -> None:
    """The speech models, and the training state of one, with its settings."""
    for kind in ("bridge", "score", "causal"):
        made = speech_experiment(kind)
        with tempfile.TemporaryDirectory() as folder:
            train(made, Sounds(), [], folder, progress=False, tensorboard=False)
            shutil.copytree(Path(folder) / "model", SAVED / f"speech_{kind}")
            if kind == "bridge":
                shutil.copytree(Path(folder) / "state", SAVED / "speech_training" / "state")
                without_places(SAVED / "speech_training" / "state" / "last.ckpt", folder)
        (SAVED / f"speech_{kind}.yaml").write_text(write_yaml(made), encoding="utf-8")


SERIES = series("h", 3, 120, 8)
BACKBONE = S4DConfig(patch=4, width=8, blocks=1, state=4)
TSDIFF: dict[str, dict[str, Any]] = {
    "plain": {"sampling": Sampling("mse", steps=4, scale=0.7, seed=5)},
    "rich": {"channels": 2, "lags": (3,), "dynamic_features": 2, "static_features": 1, "categories": (2,)},
    "conditional": {"conditional": True, "lags": (3,), "calendar": "gluonts", "scaling": "standard"},
    "last": {"scaling": "last", "calendar": "none", "output": "data", "sde": VPSDE()},
    "s4": {"backbone": S4Config(width=8, blocks=1, state=4), "output": "noise", "scale_feature": True},
}
"""Settings of a model of each kind, for series of hours."""


def tsdiff_estimator(**settings: Any) -> TSDiffEstimator:
    """Trains in a second."""
    training = TrainingConfig(max_steps=60, learning_rate=1e-2, ema_decay=0.95)
    few = {"backbone": BACKBONE, "training": training, "batch_size": 16, "sampling": Sampling(steps=3)}
    return TSDiffEstimator("h", 4, 12, **{**few, **settings})


def write_tsdiff() -> None:
    """The forecasters, and the training state of one."""
    for name, settings in TSDIFF.items():
        entries = rich_series(3, 120, 0) if name == "rich" else SERIES
        estimator = tsdiff_estimator(**settings)
        with tempfile.TemporaryDirectory() as folder:
            predictor = estimator.train(entries, folder=folder, progress=False)
            if name == "plain":
                shutil.copytree(folder, SAVED / "tsdiff_training")
                without_places(SAVED / "tsdiff_training" / "last.ckpt", folder)
                predictor.model.save_pretrained(SAVED / "tsdiff_model")
                EnsemblePredictor([predictor, predictor.with_sampling(seed=9, guidance="quantile")]).serialize(
                    SAVED / "tsdiff_ensemble"
                )
        predictor.serialize(SAVED / f"tsdiff_{name}")
    config = TSDiffConfig("any", 8, 16, scaling="standard", calendar="season", backbone=BACKBONE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        TSDiffPredictor(TSDiff(config), Sampling(steps=3)).serialize(SAVED / "tsdiff_any")
    small = ["model.backbone={kind: s4d, patch: 4, width: 8, blocks: 1, state: 4}", "model.context_length=24"]
    (SAVED / "tsdiff.yaml").write_text(write_experiment(read_experiment(None, small)), encoding="utf-8")


def write_all() -> None:
    """Everything."""
    quiet_lightning()
    for path in SAVED.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.stem.endswith("_written"):
            path.unlink()
    write_tsdiff()
    write_speech()
