"""recipes/train_default_forecaster.py with the settings for a GPU, on the CPU: a second run goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shared.training.module import LAST_STATE
from tests.recipes.harness import Recipes
from tests.tsdiff.conftest import sines
from tsdiff import TSDiffPredictor


@pytest.mark.slow
def test_it_leaves_a_model_and_goes_on(tmp_path: Path, shared_data: Path) -> None:
    options = ("--hardware", "gpu", "--device", "cpu", "--data", shared_data, "--output", "out")
    small = ("--batch-size", "4", "--workers", "1", "--synthetic", "30")
    for steps in (2, 3):
        ran = Recipes(tmp_path).run("train_default_forecaster", *options, *small, "--steps", steps)
        assert ran.code == 0, ran.said
        state = torch.load(tmp_path / "out" / "training" / LAST_STATE, weights_only=True)
        assert state["global_step"] == steps
    predictor = TSDiffPredictor.from_pretrained(tmp_path / "out" / "model").adapted("h", 4)
    assert np.isfinite(next(iter(predictor.predict(sines(1), 3))).samples).all()
