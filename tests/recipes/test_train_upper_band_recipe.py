"""recipes/train_upper_band.py: a network is left, and a second run goes on from what there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.model.upper_band import UpperBandNetwork
from tests.recipes.harness import Recipes


@pytest.mark.slow
def test_it_leaves_a_network_and_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder, name, rate in (
        ("fullband/train/clean", "voice", 48000),
        ("fullband/train/noise/esc10", "rain-1", 44100),
        ("fullband/train/noise/esc10", "wind-1", 44100),
        ("train/noise", "hiss", 16000),
        ("further/train", "train", 44100),
        ("further/valid", "bell", 44100),
    ):
        (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        for place in range(2):
            path = tmp_path / "data" / folder / f"{name}{place}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(2 * rate), rate)
    recipes = Recipes(tmp_path)
    options = (
        "--data",
        "data",
        "--further",
        "data/further",
        "--output",
        "out",
        "--parts",
        "1",
        "--count",
        "2",
        "--choose",
        "wind",
    )
    for steps in ("2", "3"):
        ran = recipes.run("train_upper_band", *options, "--steps", steps)
        assert ran.code == 0, ran.said
    told = json.loads((tmp_path / "out/model.json").read_text())
    assert told["steps"] == 3
    assert set(told["enhanced"]) == set(told["noisy"]) == {"error", "levels"}
    assert UpperBandNetwork.from_pretrained(tmp_path / "out/model").config.upper == 24
