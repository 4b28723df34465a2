"""Drawing on a GPU: a result follows from its seed, whatever the batch, and is the CPU's but for rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from speech import Enhancer
from tests.gpu.ways import apart
from tests.speech.models import noise, tiny_model
from tests.tsdiff.conftest import sines, tiny_estimator
from tsdiff import TSDiffPredictor

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:the enhanced signal")]  # of random weights
BATCHES = (1, 7, 64)
EQUAL = 1e-4
"""Rounding in float32, which steps may amplify."""
SAMPLERS = {"pc": 15, "sb_sde": 5, "sde2": 5, "ode1": 1, "ode2": 5, "heun": 5}
"""And steps."""


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_recordings_are_enhanced_as_on_the_cpu_whatever_the_batch(sampler: str, device: str) -> None:
    sounds = noise(max(BATCHES), 1, 1200)
    model = tiny_model(sampler=sampler, steps=SAMPLERS[sampler])
    seeds = list(range(len(sounds)))
    wanted = Enhancer(model, batch_size=1).enhance(sounds, 16000, seed=seeds)
    for batch in BATCHES:
        found = Enhancer(model, batch_size=batch, device=device).enhance(sounds, 16000, seed=seeds)
        assert apart(found, wanted) < EQUAL


def predictors() -> dict[str, TSDiffPredictor]:
    """One that draws by self-guidance, and the one that ships."""
    guided = tiny_estimator(steps=2).train(sines(), progress=False)
    return {"guided": guided, "default": TSDiffPredictor.from_pretrained("default").adapted("h", 8)}


@pytest.mark.parametrize("name", ["guided", "default"])
@pytest.mark.parametrize("method", ["ode2", "sde2"])
def test_series_are_forecast_and_filled_as_on_the_cpu_whatever_the_batch(name: str, method: str, device: str) -> None:
    made = predictors()[name].with_sampling(method=method, steps=4)
    series, gaps = sines(), sines()
    for entry in gaps:
        entry["target"][50:60] = np.nan
    forecasts = [one.samples for one in made.predict(series, num_samples=22)]
    filled = [one.paths for one in made.impute(gaps, num_samples=4)]
    for batch in BATCHES:
        there = made.to(device).with_sampling(batch_rows=batch)
        for found, wanted in zip(there.predict(series, num_samples=22), forecasts, strict=True):
            assert apart(found.samples, wanted) < EQUAL
        for one, wanted in zip(there.impute(gaps, num_samples=4), filled, strict=True):
            assert apart(one.paths, wanted) < EQUAL


def test_the_model_that_ships_enhances_as_on_the_cpu(device: str) -> None:
    """In float32 and, less exactly, in bfloat16."""
    sounds = noise(2, 1, 16000)
    enhancer = Enhancer.from_pretrained("default", device="cpu")
    wanted = enhancer.enhance(sounds, 16000)
    there = Enhancer.from_pretrained("default", device=device)
    assert apart(there.enhance(sounds, 16000), wanted) < EQUAL
    half = Enhancer(there.model, sampling=replace(there.sampling, precision="bfloat16"))
    assert apart(half.enhance(sounds, 16000), wanted) < 0.1


def test_a_waveform_on_the_gpu_comes_back_there(device: str) -> None:
    waveform = torch.from_numpy(noise(1, 4000)).to(device)
    found = Enhancer.from_pretrained("default", device=device).enhance(waveform, 16000)
    assert found.device == waveform.device
    assert found.dtype == waveform.dtype
