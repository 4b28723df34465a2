"""Presets: they make estimators that train and forecast, and say what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.sets import BENCHMARK_SETS, ZERO_SHOT_SETS
from shared.errors import ConfigError
from tests.tsdiff.conftest import sines
from tsdiff.experiment.presets import PRESETS, Preset, preset_for
from tsdiff.model.backbones import S4DConfig
from tsdiff.predictor import TSDiffPredictor
from tsdiff.sampling.settings import Sampling

FREQUENCIES = {"exchange_rate_nips": "B", "electricity_weekly": "W", "tourism_quarterly": "Q", "fred_md": "M"}


@pytest.mark.parametrize("name", [name for name in BENCHMARK_SETS if name not in ZERO_SHOT_SETS])
def test_every_benchmark_set_has_a_preset_that_fits_its_frequency_and_horizon(name):
    horizon = BENCHMARK_SETS[name].prediction_length
    for energy in ("mse", "quantile"):
        estimator = PRESETS[name].estimator(
            FREQUENCIES.get(name, "W-TUE" if "ill" in name else "h"), horizon, guidance=energy
        )
        assert estimator.config.prediction_length == horizon
        assert estimator.config.scaling == PRESETS[name].scaling
        assert estimator.scale_power == PRESETS[name].scale_power
        assert estimator.training == PRESETS[name].training
        assert estimator.sampling.guidance == energy


def test_unknown_data_gets_a_preset_by_frequency():
    assert preset_for("pjm_hourly", "h") is PRESETS["pjm_hourly"]
    assert preset_for("somebody's", "B").scaling == "last"
    assert preset_for(None, "H") == Preset()


def test_a_preset_whose_sampling_uses_another_energy_is_refused():
    with pytest.raises(ConfigError, match="quantile"):
        Preset(mse=Sampling("quantile"))


def test_a_preset_without_a_model_of_its_own_is_the_bundled_one_fine_tuned():
    preset = Preset(members=0, tuned_steps=2, quantile=Sampling("quantile", minimum=0.5))
    made = preset.train(sines(2), "h", 8, progress=False)
    assert isinstance(made, TSDiffPredictor)
    own = TSDiffPredictor.from_pretrained("default").sampling
    assert made.sampling == replace(own, seed=preset.sampling().seed, minimum=0.5)
    (forecast,) = made.predict(sines(1), num_samples=5)
    assert forecast.samples.shape == (5, 8)
    assert forecast.samples.min() >= 0.5


def test_a_preset_of_no_model_is_refused():
    with pytest.raises(ConfigError, match="members=0: need a model to train, or tuned_steps"):
        Preset(members=0)


def test_a_preset_trains_and_forecasts():
    small = S4DConfig(patch=4, width=8, blocks=1, state=2)
    preset = replace(PRESETS["exchange_rate_nips"], context_length=16, backbone=small).with_training(
        max_steps=20, seed=3
    )
    assert PRESETS["exchange_rate_nips"].training.max_steps > 20
    forecasts = list(preset.estimator("h", 8).train(sines(2), progress=False).predict(sines(2), num_samples=3))
    assert [f.samples.shape for f in forecasts] == [(3, 8), (3, 8)]
    assert all(np.isfinite(f.samples).all() for f in forecasts)


def test_a_preset_with_the_bundled_model_draws_half_of_the_samples_from_it_fine_tuned():
    small = S4DConfig(patch=4, width=8, blocks=1, state=2)
    preset = Preset(
        context_length=16, backbone=small, tuned_steps=2, quantile=Sampling("quantile", steps=2, minimum=0.5)
    )
    preset = preset.with_training(max_steps=5)
    made = preset.train(sines(2), "h", 8, progress=False)
    trained, tuned = made.members
    assert trained.sampling == preset.sampling()
    own = TSDiffPredictor.from_pretrained("default").sampling
    assert tuned.sampling == replace(own, seed=tuned.sampling.seed, minimum=0.5)
    assert tuned.sampling.seed != trained.sampling.seed
    (forecast,) = made.predict(sines(1), num_samples=10)
    (first,), (second,) = (one.predict(sines(1), num_samples=5) for one in made.members)
    np.testing.assert_array_equal(forecast.samples, np.concatenate([first.samples, second.samples]))
    assert not np.array_equal(first.samples, second.samples)
    assert forecast.samples.min() >= 0.5
    assert isinstance(replace(preset, tuned_steps=0).train(sines(2), "h", 8, progress=False), TSDiffPredictor)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"max_step": 5}, r"max_step=5: no such setting of the training; did you mean max_steps\?"),
        ({"lr": 0.1}, r"did you mean learning_rate\?"),
        ({"qqqq": 1}, "qqqq=1: no such setting of the training; there are max_steps, "),
    ],
)
def test_settings_of_a_training_that_there_are_not_are_told_what_is_meant(change, remedy):
    for owner in (Preset(), Preset().estimator("h", 8)):
        with pytest.raises(ConfigError, match=remedy):
            owner.with_training(**change)


def test_settings_of_a_sampling_that_there_are_not_are_told_what_is_meant():
    with pytest.raises(ConfigError, match=r"stpes=5: no such setting of the sampling; did you mean steps\?"):
        Preset().with_sampling(stpes=5)
