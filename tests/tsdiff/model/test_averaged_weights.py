"""What a training gives are the averaged weights, not those of its last step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shared.training.module import LAST_STATE, TrainingConfig
from tests.tsdiff.conftest import sines, tiny_estimator
from tsdiff import TSDiff
from tsdiff.pretraining.training import train
from tsdiff.windows.source import WindowSource


@pytest.mark.parametrize("of", ["the estimator", "the pre-training"])
def test_a_trained_model_has_the_averaged_weights(tmp_path: Path, of: str) -> None:
    estimator = tiny_estimator(6)
    if of == "the estimator":
        model = estimator.train(sines(), folder=tmp_path, progress=False).model
    else:
        source = WindowSource(sines(), estimator.config, 4)
        source.measure(np.random.default_rng(0))
        model = TSDiff(estimator.config)
        train(model, source, TrainingConfig(max_steps=6, learning_rate=1e-2), tmp_path, progress=False)  # type: ignore[arg-type]
    saved = torch.load(tmp_path / LAST_STATE, weights_only=True)["state_dict"]
    for name, weight in model.denoiser.named_parameters():
        assert torch.equal(weight, saved[f"averaged.module.{name}"]), name
        assert not torch.equal(weight, saved[f"denoiser.{name}"]), name
