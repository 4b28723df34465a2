"""A schedule and a spectrum for one model of speech."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import ConfigError, DataError
from shared.random import make_generator
from shared.samplers import Exponential, GaussianExponential
from shared.samplers.laws import Spectrum
from speech.enhancer import Enhancer
from speech.inference.sampling import sample_spectrogram
from speech.inference.schedule import residual_spectrum, search_schedule
from speech.model.config import SamplingConfig
from speech.model.model import SpeechModel
from tests.speech.models import noise, tiny_model

RATE = 16_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler",
    ["ode2", Exponential(2, eta=1.0, noise="path")],
    ids=["ode2", "sde2"],
)
def test_it_is_found_used_and_kept(tmp_path: Path, sampler: object) -> None:
    model = tiny_model(sampler="ode2")
    given = SamplingConfig(sampler)
    waves = [noise(3000, seed=i) for i in range(2)]
    found, search = search_schedule(model, waves, 4, given, seconds=0.1, fine=40, most_runs=12)
    assert search.error <= search.before
    assert (found.steps, len(search.times), found.schedule) == (4, 5, search.times)
    model.config = replace(model.config, sampling=found)
    model.save_pretrained(tmp_path)
    again = SpeechModel.from_pretrained(tmp_path)
    assert again.config.sampling == found
    wave = noise(RATE // 4)
    np.testing.assert_array_equal(Enhancer(again).enhance(wave, RATE), Enhancer(model).enhance(wave, RATE))


def test_what_does_not_fit_is_refused() -> None:
    model = tiny_model()
    for sampler in ("pc", "sb_sde", "ode"):
        with pytest.raises(ConfigError, match="give sampling with one such as ode2"):
            search_schedule(model, [noise(2000)], 4, SamplingConfig(sampler))
    with pytest.raises(ConfigError, match="fresh noise"):
        search_schedule(model, [noise(2000)], 4, SamplingConfig("sde2"), seconds=0.1)
    with pytest.raises(DataError, match="silent"):
        search_schedule(model, [np.zeros(2000, np.float32)], 4, SamplingConfig("ode2"))


def test_the_spectrum_is_that_of_the_residual_and_serves_a_sampler() -> None:
    model = tiny_model(sampler="pc")
    clean = [noise(4000, seed=i) for i in range(3)]
    pairs = [(wave, wave + np.float32(0.1) * noise(4000, seed=9 + i)) for i, wave in enumerate(clean)]
    law = residual_spectrum(model, pairs)
    x0, y = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
    scale = model.frontend.scale(y, x0)
    left = (model.frontend(x0 / scale) - model.frontend(y / scale))[:, 0]
    np.testing.assert_allclose(law.variances, left.abs().square().mean((0, 2)), rtol=1e-4)
    spectrum = model.frontend(y[:1] / scale[:1])
    for teleport in (None, 0.0):
        sampling = SamplingConfig(GaussianExponential(law, teleport), steps=3, schedule="log_snr")
        found = sample_spectrogram(model, spectrum, sampling, make_generator(0))
        assert found.nfe == 3
        assert bool(torch.isfinite(found.x.abs()).all())
    enhancer = Enhancer(model, sampling=SamplingConfig(GaussianExponential(law, 0.0), steps=2))
    assert np.isfinite(enhancer.enhance(pairs[0][1], RATE)).all()
    with pytest.raises(DataError, match="no pairs"):
        residual_spectrum(model, [])
    with pytest.raises(DataError, match="cut them alike"):
        residual_spectrum(model, [(clean[0], clean[1][:100])])
    with pytest.raises(ConfigError, match="a spectrum of 2 frequencies"):
        sample_spectrogram(model, spectrum, replace(sampling, sampler=GaussianExponential(Spectrum((1.0, 1.0)))))
