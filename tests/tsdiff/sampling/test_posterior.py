"""Every way to sample, through a trained predictor."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from shared.samplers import Method
from tests.tsdiff.conftest import HORIZON, sines
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.sampling.settings import Sampling


def error(predictor: TSDiffPredictor) -> float:
    """Of the mean, relative to the spread of what is to be forecast."""
    past = [{**entry, "target": entry["target"][:-HORIZON]} for entry in sines()]
    errors = []
    for forecast, entry in zip(predictor.predict(past, 16), sines(), strict=True):
        truth = entry["target"][-HORIZON:]
        errors.append(np.abs(forecast.mean - truth).mean() / truth.std())
    return float(np.mean(errors))


def without_covariance(predictor: TSDiffPredictor) -> TSDiffPredictor:
    """The same model, as one whose training windows are unknown."""
    model = TSDiff(predictor.model.config)
    model.load_state_dict(predictor.model.state_dict())
    model.statistics = dataclasses.replace(predictor.model.statistics, covariance=None)
    return TSDiffPredictor(model, predictor.sampling)


@pytest.mark.parametrize("guidance", ["mse", "quantile"])
@pytest.mark.parametrize("covariance", ["window", "tweedie", "trace", "scalar"])
def test_every_guidance_forecasts_sines(trained, guidance, covariance):
    assert error(trained.with_sampling(guidance=guidance, covariance=covariance)) < 0.6  # the mean's is 0.9


CORE = [name for name in get_args(Method) if name != "map"]


@pytest.mark.parametrize(
    ("method", "covariance"),
    [
        *((method, "window") for method in CORE),
        # What a method makes of it is seen with the other one.
        *(
            pytest.param(method, "scalar", marks=() if method in ("ode2", "sde2") else pytest.mark.slow)
            for method in CORE
        ),
    ],
)
def test_every_core_sampler_takes_the_guidance(trained, method, covariance):
    steps = 100 if method in ("euler", "pc") else 12
    assert error(trained.with_sampling(method=method, covariance=covariance, steps=steps)) < 0.8


@pytest.mark.parametrize("guidance", ["mse", "quantile"])
def test_the_published_samplers_forecast_sines_and_count_their_calls(trained, guidance):
    plain = error(trained.with_sampling(scale=0.0))
    ddpm = trained.with_sampling(method="ddpm", guidance=guidance, scale=2.0)
    assert error(ddpm) < plain
    assert ddpm.nfe == 199  # the last step's variance is 0
    ddim = trained.with_sampling(method="ddim", guidance=guidance, skip=5, eta=0.5, scale=0.2)
    assert error(ddim) < plain
    assert ddim.nfe == 20


def test_the_window_covariance_is_the_default_where_it_is_known(trained):
    past = sines(1)
    named = next(iter(trained.with_sampling(covariance="window").predict(past, 4)))
    np.testing.assert_array_equal(next(iter(trained.predict(past, 4))).samples, named.samples)
    unknown = without_covariance(trained)
    scalar = next(iter(unknown.with_sampling(covariance="scalar").predict(past, 4)))
    np.testing.assert_array_equal(next(iter(unknown.predict(past, 4))).samples, scalar.samples)
    with pytest.raises(ConfigError, match=r"measure_covariance\(dataset\)"):
        next(iter(unknown.with_sampling(covariance="window").predict(past, 4)))


def test_the_covariance_can_be_measured_later(trained):
    later = without_covariance(trained).measure_covariance(sines())
    found, wanted = later.model.statistics.covariance, trained.model.statistics.covariance
    assert found is not None
    assert wanted is not None
    dense = [c.directions.double() @ torch.diag(c.variances) @ c.directions.double().T for c in (found, wanted)]
    assert float((dense[0] - dense[1]).norm() / dense[1].norm()) < 0.1  # of other windows
    assert error(later) < 0.6


def test_the_covariance_is_saved_with_the_model(trained, tmp_path):
    trained.serialize(tmp_path)
    found = TSDiffPredictor.deserialize(tmp_path).model.statistics.covariance
    assert found is not None
    torch.testing.assert_close(found.directions, trained.model.statistics.covariance.directions, rtol=0, atol=0)
    assert found.rest == trained.model.statistics.covariance.rest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"covariance": "full"}, "covariance='full'"),
        ({"method": "ddpm2"}, "method: 'ddpm2'"),
        ({"skip_type": "cubic"}, "skip_type='cubic'"),
        ({"skip": 0}, "skip=0"),
        ({"eta": -0.5}, "eta=-0.5"),
        ({"observation_std": -1.0}, "observation_std=-1.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        Sampling(**changes)
