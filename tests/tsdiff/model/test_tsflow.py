"""TSFlow's two forecasters as configurations: what their path is, trained, saved and loaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from shared.noise import GaussianProcess, OrnsteinUhlenbeck, Periodic
from shared.sde import FlowSDE
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator, windows_of
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.experiment.experiment import read_experiment, write_experiment
from tsdiff.model.config import TSDiffConfig
from tsdiff.windows.inputs import known_features, regression_mean
from tsdiff.windows.scales import Statistics
from tsdiff.windows.source import WindowSource

PROCESS = GaussianProcess(OrnsteinUhlenbeck(5.0), white=0.1)
TRUST = 0.2
SDE = FlowSDE(noise=PROCESS)


def config(**changes) -> TSDiffConfig:
    settings = {"sde": SDE, "conditional": True, "regression": TRUST, "scaling": "standard", "calendar": "none"}
    return TSDiffConfig("h", HORIZON, CONTEXT, **{**settings, **changes})


def test_the_start_is_the_regression_on_the_context() -> None:
    made, length = config(), CONTEXT + HORIZON
    whole, known = PROCESS.covariance(length), torch.arange(length) < CONTEXT
    inner = whole[known][:, known] + TRUST**2 * torch.eye(CONTEXT, dtype=torch.float64)
    spread = whole - whole[:, known] @ torch.linalg.solve(inner, whole[known])
    torch.testing.assert_close(made.start.covariance(length), spread)
    values = torch.randn(3, length, 1, dtype=torch.float64)
    seen = known.double()[None, :, None].expand(3, -1, -1).clone()
    mean = (whole[:, known] @ torch.linalg.solve(inner, values[:, known, 0].T)).T[..., None]
    torch.testing.assert_close(regression_mean(made, known_features(values, seen)), mean)
    # Of a missing value nothing is known, and the horizon tells nothing.
    seen[1, 3] = 0
    seen[2, CONTEXT:] = 1
    found = regression_mean(made, known_features(values, seen))
    torch.testing.assert_close(found[[0, 2]], mean[[0, 2]])
    some = known & (torch.arange(length) != 3)
    inner = whole[some][:, some] + TRUST**2 * torch.eye(CONTEXT - 1, dtype=torch.float64)
    torch.testing.assert_close(found[1, :, 0], whole[:, some] @ torch.linalg.solve(inner, values[1, some, 0]))


def test_training_and_sampling_share_the_anchor() -> None:
    made = config()
    batch = WindowSource(sines(), made, 4).batch(np.random.default_rng(0))
    torch.testing.assert_close(batch.y, regression_mean(made, batch.condition["known"]))
    windows = windows_of(sines(), made, Statistics())
    model = TSDiff(made).eval().requires_grad_(False)
    anchor = model.anchor(windows.inputs)
    t = torch.full((3,), 0.5)
    torch.testing.assert_close(
        model(windows.values, t, **windows.inputs), model(windows.values, t, anchor, **windows.inputs)
    )
    # At t = 1 nothing but the anchor and the noise is left.
    start = model.sde.prior_sample(anchor.double(), None)
    assert model.sde.noise == PROCESS.given(CONTEXT, TRUST)
    assert (start - anchor)[:, :CONTEXT].std() < 2 * TRUST


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="only a conditional model"):
        config(conditional=False)
    with pytest.raises(ConfigError, match="GaussianProcess"):
        config(sde=FlowSDE())
    with pytest.raises(ConfigError, match="regression=-1"):
        config(regression=-1.0)


@pytest.mark.parametrize("name", ["tsflow", "tsflow_conditional"])
def test_the_configurations_are_what_they_say(name: str) -> None:
    experiment = read_experiment(
        name, ["model.context_length=16", "training.max_steps=30", "training.learning_rate=0.01"]
    )
    settings = experiment.model.settings("h")
    kernel = Periodic(24.0) if name == "tsflow" else OrnsteinUhlenbeck(7.64)
    assert settings["sde"].noise.kernel == kernel
    assert experiment.loss.coupling == ("minibatch" if name == "tsflow" else "independent")
    assert "regression: 0.3" in write_experiment(experiment) or name == "tsflow"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tsflow", "tsflow_conditional"])
def test_they_train_forecast_and_are_saved(name: str, tmp_path) -> None:
    experiment = read_experiment(name)
    settings = {**experiment.model.settings("h"), "loss": experiment.loss, "sampling": experiment.sampling}
    for given in ("context_length", "backbone"):
        settings.pop(given)
    estimator = tiny_estimator(steps=100, **settings)
    predictor = estimator.train(sines(), progress=False)
    past = [{**entry, "target": entry["target"][:-HORIZON]} for entry in sines()]
    found = list(predictor.predict(past, 16))
    for forecast, entry in zip(found, sines(), strict=True):
        truth = entry["target"][-HORIZON:]
        assert np.abs(forecast.mean - truth).mean() < 0.6 * truth.std()
    predictor.serialize(tmp_path)
    again = TSDiffPredictor.deserialize(tmp_path)
    assert again.model.config == predictor.model.config
    for one, other in zip(found, again.predict(past, 16), strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
    holed = replace(predictor.sampling, steps=4, schedule=None)
    target = np.where(np.arange(len(past[0]["target"])) % 7 == 6, np.nan, past[0]["target"])
    short = TSDiffPredictor(predictor.model, holed)
    assert np.isfinite(next(short.predict([{**past[0], "target": target}], 3)).samples).all()
