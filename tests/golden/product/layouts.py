"""Published checkpoints, imported: the network, the model's call, and the samplers through the enhancer.

`tests/speech/importing/test_speech_importing.py` and `tests/tsdiff/importing/test_parity.py` hold the same imports to
what the published codes give; here is what these tests leave out.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import speech
import tsdiff
from speech import SpeechModel
from speech.inference.sampling import sample_spectrogram
from speech.model.corrector import PublishedPC
from tests.golden import tsdiff_cases
from tests.golden.product.case import Results, case
from tests.golden.recipe import RecipeNoise, draw
from tests.golden.sgmse_cases import CHECKPOINT_CASES, FILE, key, spectrograms
from tests.golden.store import Golden
from tests.speech.published import COMMON, OUVE, SMALL, random_weights, rebuilt, save_published, small_layout
from tests.tsdiff.published import published_state, save_lightning
from tsdiff import TSDiffPredictor

OF_PC = {
    "low": PublishedPC(snr=0.1),
    "langevin": PublishedPC(snr=0.1, corrector="langevin"),
    "no corrector": PublishedPC(corrector="none"),
    "flow": PublishedPC(snr=0.1, probability_flow=True),
}
"""Settings of the predictor–corrector by the names of their results."""


def answers(model: SpeechModel, bins: int) -> Results:
    """Of the network, the model's call, its data prediction, and samples: as imported, and with other samplers.

    Samples are of spectrograms: the enhancer refuses what weights that were never trained make of a recording.
    """
    x, y, t = spectrograms(bins, 16)
    with torch.no_grad():
        found: Results = {"network": model.backbone(x, y, t), "call": model(x, y, t), "data": model.denoise(x, y, t)}
    few = replace(model.config.sampling, steps=2)
    if few.sampler == "sb_ode":
        ways = {"sb_ode": few, "sb_sde": replace(few, sampler="sb_sde")}
    else:
        ways = {"pc": few} | {name: replace(few, sampler=method) for name, method in OF_PC.items()}
    ways |= {name: replace(few, sampler=name) for name in ("ode1", "ode2", "sde1")}  # type: ignore[arg-type]
    for name, sampling in ways.items():
        generators = [RecipeNoise(0), RecipeNoise(1)]
        found[f"sample, {name}"] = sample_spectrogram(model, y, sampling, generator=generators).x
    return found


def enter(backbone: str, process: str) -> None:
    """The case of one published network and process."""

    @case(f"layouts/{backbone}, {process}", tolerance=5e-5)
    def imported(folder: Path) -> Results:
        path = rebuilt(folder / "last.ckpt", Golden(FILE), key("checkpoint", backbone, process))
        return answers(speech.import_checkpoint(path), 33 if backbone == "dcunet" else 32)


for each in CHECKPOINT_CASES:
    enter(*each)


@case("layouts/ncsnpp, saved in this toolkit's format", tolerance=5e-5)
def saved_again(folder: Path) -> Results:
    state, average = random_weights(small_layout(), 0), random_weights(small_layout(), 1)
    settings = {**COMMON, **OUVE, **SMALL, "backbone": "ncsnpp"}
    path = save_published(folder / "epoch=3.ckpt", state, list(average.values()), settings)
    speech.import_checkpoint(path).save_pretrained(folder / "model")
    return answers(SpeechModel.from_pretrained(folder / "model"), 32)


def enter_series(name: str) -> None:
    """The case of one small published forecaster."""

    @case(f"layouts/tsdiff, {name}", tolerance=5e-5)
    def imported(folder: Path) -> Results:
        golden = Golden(tsdiff_cases.PATH)
        layout: dict[str, Any] = json.loads(golden.lines(f"{name}/layout")[0])
        shape = {label: value for label, (value, _) in layout["state_dict"].items()}
        state = published_state(
            width=tsdiff_cases.BACKBONE["hidden_dim"],
            blocks=tsdiff_cases.BACKBONE["num_residual_blocks"],
            state=128,
            channels=shape["backbone.input_init.0.weight"][1],
            features=shape["backbone.residual_blocks.0.feature_encoder.weight"][1],
            horizon=tsdiff_cases.CONTEXT + tsdiff_cases.PREDICTION,
            normalization=tsdiff_cases.MODELS[name]["normalization"],
        )
        path = save_lightning(folder / "last.ckpt", state, layout["hyper_parameters"])
        model = tsdiff.import_checkpoint(path, {"conjugates": False})
        still = {"feat_static_cat": [0], "feat_static_real": [0.0]}
        entries = [
            {"item_id": str(i), "start": tsdiff_cases.start(), "target": target, **still}
            for i, target in enumerate(tsdiff_cases.series())
        ]
        predictor, found = TSDiffPredictor(model), dict[str, Any]()
        changes: dict[str, dict[str, Any]] = {
            "ddpm": {"method": "ddpm", "scale": 0.5},
            "ddim": {"method": "ddim", "skip": 2, "eta": 0.3, "scale": 0.1},
            "sde2": {"method": "sde2", "steps": 3},
            "ode2, mse": {"method": "ode2", "steps": 3, "guidance": "mse"},
        }
        for label, changed in changes.items():
            made = predictor.with_sampling(seed=1, **changed).predict(entries, 2)
            found[label] = np.stack([forecast.samples for forecast in made])
        if name != "conditional" and not model.config.categories:
            x = draw("x", 2, model.config.length, model.config.network_channels).float()
            with torch.no_grad():
                found["noise"] = model.predict_noise(x, torch.tensor([2, 7]))
            found["sample"] = model.sample(2, steps=3)
        return found


for published in tsdiff_cases.MODELS:
    enter_series(published)
