"""Guidance, likelihood and settings of models whose noise has a colour, on Gaussian windows of known posterior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.noise import GaussianProcess, OrnsteinUhlenbeck, SquaredExponential, StudentT
from shared.sde import FlowSDE
from tests.tsdiff.conftest import HORIZON, sines, tiny_estimator
from tsdiff import TSDiff, TSDiffConfig, TSDiffPredictor
from tsdiff.model.backbones import S4DConfig
from tsdiff.sampling.guidance import TweedieGuidance
from tsdiff.sampling.known_covariance import WindowGuidance
from tsdiff.sampling.settings import Sampling
from tsdiff.tasks.refinement import Refiner
from tsdiff.windows.covariance import WindowCovariance

LENGTH, CHANNELS, TRUST = 9, 2, 0.1
NOISE = GaussianProcess(SquaredExponential(2.0), white=0.2)
SDE = FlowSDE(noise=NOISE)


def spread() -> Tensor:
    """S over flattened (steps, channels)."""
    return torch.kron(NOISE.covariance(LENGTH), torch.eye(CHANNELS, dtype=torch.float64))


def windows_covariance() -> WindowCovariance:
    directions = torch.linalg.qr(torch.randn(LENGTH * CHANNELS, 4, dtype=torch.float64))[0]
    return WindowCovariance(directions, torch.tensor([5.0, 2.0, 1.0, 0.5], dtype=torch.float64), 0.1)


def dense(of: WindowCovariance) -> Tensor:
    eye = torch.eye(of.n, dtype=torch.float64)
    return (of.directions * (of.variances - of.rest)) @ of.directions.T + of.rest * eye


@pytest.mark.parametrize("kind", ["window", "tweedie"])
def test_the_guided_prediction_is_the_mean_given_state_and_observations(kind: str) -> None:
    of, level = windows_covariance(), torch.full((3,), 0.6, dtype=torch.float64)
    prior, (alpha, sigma) = dense(of), (0.4, 0.6)
    gain = alpha * prior @ torch.linalg.inv(alpha**2 * prior + sigma**2 * spread())
    shape = (3, LENGTH, CHANNELS)
    x, values = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    observed = (torch.arange(LENGTH) < 4).double()[None, :, None].expand(shape)
    common = {"values": values, "observed": observed, "observation_std": TRUST}
    guide = (
        WindowGuidance(**common, covariance=of, noise=NOISE)
        if kind == "window"
        else TweedieGuidance(**common, products=8, noise=NOISE)
    )
    found = guide.predict(lambda s, t: (s.flatten(1) @ gain.T).view(shape), x, level, SDE)
    # Of x_0 given the state and the observed values, from the joint Gaussian.
    see = torch.diag(observed[0].flatten())[observed[0].flatten() > 0]
    rows = torch.cat([alpha * torch.eye(of.n, dtype=torch.float64), see])
    noise = torch.block_diag(sigma**2 * spread(), TRUST**2 * torch.eye(len(see), dtype=torch.float64))
    told = torch.cat([x.flatten(1), values.flatten(1) @ see.T], dim=1)
    mean = told @ torch.linalg.solve(rows @ prior @ rows.T + noise, rows @ prior)
    torch.testing.assert_close(found.flatten(1), mean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("covariance", ["tweedie", "scalar"])
def test_at_the_start_of_a_flow_the_network_tells_nothing_and_is_followed(covariance: str) -> None:
    white = TSDiffPredictor(model(sde=FlowSDE())).with_sampling(covariance=covariance, steps=3, method="ode2")
    assert np.isfinite(next(white.predict([sines()[0]], 2)).samples).all()


def test_white_noise_changes_no_covariance() -> None:
    of = windows_covariance()
    assert of.seen_through(None, LENGTH) is of
    white = of.seen_through(GaussianProcess(OrnsteinUhlenbeck(1.0), white=1.0), LENGTH)
    leading, rest = of.given_noisy(0.5, 0.3)
    expected = (of.directions * (leading - rest)) @ of.directions.T + rest * torch.eye(of.n, dtype=torch.float64)
    found, _ = white.given_noisy(0.5, 0.3)
    torch.testing.assert_close((white.directions * found) @ white.directions.T, expected)


def model(**settings) -> TSDiff:
    settings = {"sde": SDE, "calendar": "none", "backbone": S4DConfig(patch=4, width=8, blocks=1), **settings}
    return TSDiff(TSDiffConfig("h", HORIZON, HORIZON, **settings))


def test_what_knows_white_noise_alone_says_what_to_take() -> None:
    past = [sines()[0]]
    for changes in ({"covariance": "scalar"}, {"covariance": "kernels"}, {"method": "ddim"}):
        with pytest.raises(ConfigError, match="'window' or 'tweedie'"):
            next(TSDiffPredictor(model()).with_sampling(**changes).predict(past, 2))
    heavy = replace(SDE, noise=StudentT(4.0))
    with pytest.raises(ConfigError, match="conditional=True"):
        next(TSDiffPredictor(model(sde=heavy), Sampling(method="ode2")).predict(past, 2))
    with pytest.raises(ConfigError, match="eta=0"):
        next(TSDiffPredictor(model(sde=heavy, conditional=True), Sampling(method="sde2")).predict(past, 2))
    forecast = next(TSDiffPredictor(model(sde=heavy, conditional=True), Sampling(method="ode2")).predict(past, 2))
    assert np.isfinite(forecast.samples).all()
    with pytest.raises(ConfigError, match="white noise"):
        Refiner(model())


def test_a_forecaster_with_coloured_noise_is_trained_saved_and_loaded(tmp_path) -> None:
    noise = {"kind": "gaussian_process", "kernel": {"kind": "ou", "length_scale": 12}, "white": 0.1}
    sde = {"kind": "flow", "noise": noise}
    predictor = tiny_estimator(steps=20, sde=sde).train(sines(), progress=False)
    assert predictor.model.sde == FlowSDE(noise=GaussianProcess(OrnsteinUhlenbeck(12.0)))
    predictor.serialize(tmp_path)
    again = TSDiffPredictor.deserialize(tmp_path)
    assert again.model.sde == predictor.model.sde
    drawn = [next(one.predict(sines(), 3)).samples for one in (predictor, again, again.with_sampling(batch_rows=1))]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_allclose(drawn[2], drawn[1], rtol=1e-4)
    scores = predictor.log_likelihood(sines()[:1], method="elbo", levels=2)
    assert np.isfinite(scores[0].log_likelihood).all()
