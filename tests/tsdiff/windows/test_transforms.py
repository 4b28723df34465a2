"""Positive series: the transform, the density that goes with it, forecasts, saved and loaded."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from shared.errors import ConfigError, DataError
from shared.random import make_generator
from shared.samplers import sample
from shared.sde import VESDE
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator, windows_of
from tests.tsdiff.gaussian_model import gaussian_model
from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.model.config import TSDiffConfig
from tsdiff.windows.scales import Statistics
from tsdiff.windows.source import WindowSource
from tsdiff.windows.transforms import InverseSoftplus, Log, Transform

TRANSFORMS = [Log(), Log(0.5), InverseSoftplus(), InverseSoftplus(3.0, 0.1)]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_it_can_be_undone_and_knows_its_slope(transform: Transform) -> None:
    values = np.array([[1e-3, 0.2, 1.0, np.nan, 7.0, 300.0]])
    z = transform.forward(values)
    np.testing.assert_allclose(transform.inverse(z), values, rtol=1e-9)
    slope = (transform.forward(values + 1e-6) - transform.forward(values - 1e-6)) / 2e-6
    np.testing.assert_allclose(np.exp(transform.log_slope(values)), slope, rtol=1e-5)


def test_inverse_softplus_is_the_identity_for_large_values_and_a_logarithm_for_small_ones() -> None:
    at = InverseSoftplus(2.0)
    np.testing.assert_allclose(at.forward(np.array([100.0, 1e30])), [100.0, 1e30])
    np.testing.assert_allclose(at.forward(np.array([1e-9])), 2 * np.log(0.5e-9), rtol=1e-9)


@pytest.mark.parametrize(("low", "offset"), [(0.0, 0.0), (-3.0, 2.0)])
def test_values_that_have_no_logarithm_are_named_with_the_remedy(low: float, offset: float) -> None:
    entry = sines(1)[0]
    entry["target"] = entry["target"].copy()
    entry["target"][37] = low
    estimator = tiny_estimator(transform=Log(offset), scaling="standard")
    with pytest.raises(DataError, match=rf"'s0'.* is {low:g} at step 37.*offset above {0 - low:g}.*missing"):
        estimator.train([entry], progress=False)
    entry["target"][37] = np.nan
    WindowSource([entry], estimator.config)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="scaling='standard'"):
        TSDiffConfig("h", HORIZON, CONTEXT, transform=Log())
    with pytest.raises(ConfigError, match="log, inverse_softplus"):
        TSDiffConfig("h", HORIZON, CONTEXT, transform="sqrt", scaling="standard")
    with pytest.raises(ConfigError, match="offset=-1"):
        Log(-1.0)
    with pytest.raises(ConfigError, match="unit=0"):
        InverseSoftplus(0.0)


def test_windows_are_those_of_the_logarithms() -> None:
    config = TSDiffConfig("h", HORIZON, CONTEXT, transform="log", scaling="standard", calendar="none")
    plain = TSDiffConfig("h", HORIZON, CONTEXT, scaling="standard", calendar="none")
    logs = [{**entry, "target": np.log(entry["target"].astype(np.float64))} for entry in sines()]
    found, expected = windows_of(sines(), config, Statistics()), windows_of(logs, plain, Statistics())
    torch.testing.assert_close(found.values, expected.values, rtol=1e-5, atol=1e-5)
    back = found.to_series(found.values.double().numpy())[:, :CONTEXT, 0]
    np.testing.assert_allclose(back, [entry["target"][-CONTEXT:] for entry in sines()], rtol=1e-5)
    np.testing.assert_allclose(found.to_network(back[..., None])[..., 0], found.values[:, :CONTEXT, 0], atol=1e-5)
    np.testing.assert_allclose(found.least, [entry["target"][-CONTEXT:].min() for entry in sines()], rtol=1e-5)
    batches = [
        WindowSource(data, c, 8).batch(np.random.default_rng(0)) for data, c in ((sines(), config), (logs, plain))
    ]
    torch.testing.assert_close(batches[0].x0, batches[1].x0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["ode", "elbo"])
def test_the_likelihood_loses_the_sum_of_the_logarithms(method: str) -> None:
    own, _ = gaussian_model(scaling="standard", transform=Log())
    plain, _ = gaussian_model(scaling="standard")
    entry = {"start": sines()[0]["start"], "target": np.exp(np.random.default_rng(0).normal(size=own.config.length))}
    logs = {**entry, "target": np.log(entry["target"])}
    settings = {"method": method, "trace": "exact", "levels": 4} if method == "ode" else {"method": method, "levels": 4}
    (found,), (expected,) = (
        TSDiffPredictor(model).log_likelihood([data], **settings) for model, data in ((own, entry), (plain, logs))
    )
    np.testing.assert_allclose(found.network_log_likelihood, expected.network_log_likelihood, rtol=1e-5)
    np.testing.assert_allclose(
        found.log_likelihood, expected.log_likelihood - logs["target"].sum(), rtol=1e-5, atol=1e-4
    )


def test_forecasts_are_positive_and_the_model_is_saved_with_its_transform(tmp_path) -> None:
    rng = np.random.default_rng(0)
    data = [{**entry, "target": np.exp(rng.normal(size=200).cumsum() / 3)} for entry in sines()]
    estimator = tiny_estimator(steps=30, transform={"kind": "log"}, scaling="last", sde=VESDE(0.01, 10.0))
    assert estimator.config.transform == Log()
    predictor = estimator.train(data, progress=False)
    found = next(predictor.predict(data, 20)).samples
    assert (found > 0).all()
    predictor.serialize(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["transform"] == {"offset": 0.0, "kind": "log"}
    again = TSDiffPredictor.deserialize(tmp_path)
    np.testing.assert_array_equal(next(again.predict(data, 20)).samples, found)
    assert (predictor.model.sample(3) > 0).all()
    holed = {**data[0], "target": np.where(np.arange(200) % 50 == 49, np.nan, data[0]["target"])}
    filled = next(predictor.impute([holed], 4))
    assert (filled.paths > 0).all()


def test_the_estimator_is_written_by_gluonts() -> None:
    from gluonts.core import serde

    noise = {"kind": "gaussian_process", "kernel": {"kind": "sum", "kernels": [{"kind": "ou", "length_scale": 3.0}]}}
    estimator = TSDiffEstimator("h", 4, 8, transform="log", scaling="standard", sde={"kind": "ve", "noise": noise})
    assert serde.load_json(serde.dump_json(estimator)) == estimator


def mixture_cdf(z: np.ndarray) -> np.ndarray:
    """Of log X, with density ½ N(−1, .3²) + ½ N(1, .5²)."""
    return 0.5 * scipy.stats.norm.cdf(z, -1, 0.3) + 0.5 * scipy.stats.norm.cdf(z, 1, 0.5)


@pytest.mark.slow
def test_the_published_backward_steps_of_the_geometric_process_lead_to_the_same_law() -> None:
    """dX = s X dW from a lognormal mixture, backward by X·exp(k(3/2 s² + s² h) + s√k z), h = X ∂ log p = ∂ log p_l − 1
    (arXiv 2510.02730): the reverse of VE on log X, whose mean drifts by −s²/2, in Euler's steps."""
    distances = [_backward(steps) for steps in (25, 100, 400)]
    assert distances[0] > 2 * distances[1]
    assert distances[2] < 0.015


def _backward(steps: int, spread: float = 1.0, total: float = 2.0, count: int = 20_000) -> float:
    """The Kolmogorov–Smirnov distance after so many steps."""
    means, variances = np.array([-1.0, 1.0]), np.array([0.3, 0.5]) ** 2
    rng = np.random.default_rng(0)
    chosen = rng.integers(2, size=count)
    drifted = means[chosen] - spread**2 * total / 2
    x = np.exp(drifted + np.sqrt(variances[chosen] + spread**2 * total) * rng.normal(size=count))
    k = total / steps
    for step in range(steps):
        left = spread**2 * (total - step * k)
        away, wide = np.log(x)[:, None] - means + left / 2, variances + left
        parts = scipy.stats.norm.pdf(away, 0, np.sqrt(wide))
        h = -(parts * away / wide).sum(1) / parts.sum(1) - 1
        x = x * np.exp(k * (1.5 * spread**2 + spread**2 * h) + spread * math.sqrt(k) * rng.normal(size=count))
    return float(scipy.stats.kstest(np.log(x), mixture_cdf).statistic)


def test_variance_exploding_samples_of_logarithms_have_that_law() -> None:
    means, variances = torch.tensor([-1.0, 1.0]).double(), torch.tensor([0.3, 0.5]).double() ** 2

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        wide = variances + float(sde.sigma(t[0])) ** 2
        shares = torch.softmax(-0.5 * (x - means) ** 2 / wide - 0.5 * wide.log(), dim=1)
        return (shares * (means + variances / wide * (x - means))).sum(1, keepdim=True)

    sde = VESDE(0.01, 10.0)
    drawn = sample(
        denoiser, sde, (20_000, 1), method="sde2", steps=25, generator=make_generator(0), dtype=torch.float64
    )
    assert scipy.stats.kstest(np.log(Log().inverse(drawn.x[:, 0].numpy())), mixture_cdf).statistic < 0.025
