"""Samplers that go by the Gaussian law of windows, of all and given what is observed, where windows are Gaussian."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator
from shared.samplers import DenoisingMCMC, Exponential, GaussianExponential
from shared.samplers.level import LevelShift
from tests.tsdiff.gaussian_model import CONTEXT, HORIZON, LENGTH, gaussian_model
from tsdiff import Sampling, TSDiff, TSDiffPredictor
from tsdiff.sampling.drawing import draw_windows
from tsdiff.windows.conditioning import Windows
from tsdiff.windows.covariance import WindowCovariance

ROWS, TRUST = 4000, 0.02


def measured(known: bool = True) -> tuple[TSDiff, Tensor]:
    """The model of Gaussian windows, which knows their covariance; and that."""
    model, covariance = gaussian_model()
    values, vectors = torch.linalg.eigh(covariance)
    found = WindowCovariance(vectors.flip(1), values.flip(0), 1e-8)
    model.statistics = dataclasses.replace(model.statistics, covariance=found if known else None)
    return model, covariance


def drawn(sampling: Sampling, observed: Tensor, values: Tensor, needs: int | None = None) -> Tensor:
    """Windows (rows, LENGTH) in the network's units."""
    model, _ = measured()
    rows, ones = len(values), np.ones((len(values), 1))
    windows = Windows(
        (values * observed)[..., None].float(),
        observed[..., None].float(),
        {},
        0 * ones[:, None],
        ones[:, None],
        -ones[:, 0],
        np.nan * ones,
    )
    generators = [make_generator("law", row) for row in range(rows)]
    levels = (np.arange(rows) + 1) / (rows + 1)
    found, calls = draw_windows(model, sampling, windows, levels, generators)
    assert calls == (needs or sampling.steps)
    return torch.from_numpy(windows.to_series(found)[..., 0])


def gaussian(teleport: float | None = 0.0, **settings: object) -> Sampling:
    method = GaussianExponential(teleport=teleport)
    return Sampling(**{"method": method, "steps": 1, "log_snr_end": 6.0, "covariance": "window", **settings})  # type: ignore[arg-type]


def test_windows_drawn_freely_are_exact_in_one_call() -> None:
    model, _ = measured()
    quick = model.sample(60, method=GaussianExponential(teleport=2.0), steps=1, log_snr_end=7.0)
    exact = model.sample(60, method="ode3", steps=400, log_snr_end=7.0)
    torch.testing.assert_close(quick, exact, rtol=0, atol=2e-3)


@pytest.mark.parametrize("teleport", [None, 0.0, 3.0])
def test_one_call_draws_the_law_given_what_is_observed(teleport: float | None) -> None:
    _, covariance = measured()
    seen = torch.arange(LENGTH) < CONTEXT
    values = torch.linspace(-1, 1, LENGTH, dtype=torch.float64)
    found = drawn(gaussian(teleport), seen.double().expand(ROWS, -1), values.expand(ROWS, -1))
    inner = covariance[seen][:, seen] + TRUST**2 * torch.eye(CONTEXT, dtype=torch.float64)
    gain = covariance[:, seen] @ torch.linalg.inv(inner)
    mean, left = gain @ values[seen], covariance - gain @ covariance[seen]
    torch.testing.assert_close(found.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(torch.cov(found.T), left, rtol=0, atol=0.06)


def test_rows_with_different_values_and_gaps_do_not_meet() -> None:
    masks = torch.ones(6, LENGTH)
    masks[:3, CONTEXT:] = 0
    masks[3:, 2:7] = 0
    values = torch.randn(6, LENGTH, generator=make_generator("values"), dtype=torch.float64)
    together = drawn(gaussian(), masks, values)
    model, _ = measured()
    del model
    for row in (0, 4):
        one = Sampling(method=GaussianExponential(teleport=0.0), steps=1, log_snr_end=6.0, covariance="window")
        rows = drawn(one, masks[: row + 1], values[: row + 1])
        torch.testing.assert_close(together[row], rows[row], rtol=0, atol=1e-5)


def test_the_quantile_energy_moves_the_law() -> None:
    masks = (torch.arange(LENGTH) < CONTEXT).double().expand(200, -1)
    values = torch.zeros(200, LENGTH, dtype=torch.float64)
    exact = drawn(gaussian(None, guidance="quantile", observation_std=0.3, steps=200), masks, values)
    quick = drawn(gaussian(0.0, guidance="quantile", observation_std=0.3), masks, values)
    torch.testing.assert_close(quick, exact, rtol=0, atol=5e-3)
    assert float(quick[-20:, :CONTEXT].mean()) > float(quick[:20, :CONTEXT].mean()) + 0.1


def series(count: int = 2) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    return [
        {"item_id": str(i), "start": pd.Period("2024-01-01", "h"), "target": 2 + rng.normal(size=40)}
        for i in range(count)
    ]


@pytest.mark.parametrize("covariance", ["window", "kernels"])
def test_forecasts_take_it(covariance: str) -> None:
    model, _ = measured()
    predictor = TSDiffPredictor(model, gaussian(covariance=covariance, steps=3))
    forecasts = list(predictor.predict(series(), 5))
    assert forecasts[0].samples.shape == (5, HORIZON)
    assert all(np.isfinite(forecast.samples).all() for forecast in forecasts)
    assert predictor.nfe == 3


def test_other_guidance_takes_the_integrator_but_no_teleport() -> None:
    model, _ = measured()
    for settings in ({"covariance": "scalar"}, {"covariance": "tweedie"}, {"covariance": "window", "scale": 0.5}):
        with pytest.raises(ConfigError, match=r"teleport=None"):
            list(TSDiffPredictor(model, gaussian(0.0, **settings)).predict(series(), 2))
        found = next(iter(TSDiffPredictor(model, gaussian(None, steps=8, **settings)).predict(series(1), 2)))
        assert np.isfinite(found.samples).all()


def test_a_model_that_does_not_know_its_windows_says_what_to_do() -> None:
    model, _ = measured(known=False)
    with pytest.raises(ConfigError, match="measure_covariance"):
        model.sample(2, method=GaussianExponential())
    with pytest.raises(ConfigError, match="raise log_snr_end"):
        measured()[0].sample(2, method=GaussianExponential(teleport=4.0), log_snr_end=3.0)


def test_a_level_shift_takes_the_models_own_law() -> None:
    model, _ = measured()
    plain = model.sample(4, method="ode2", steps=6)
    shifted = model.sample(4, method=Exponential(2, shift=LevelShift()), steps=6)
    # On an exact denoiser of Gaussian windows there is little to put right.
    torch.testing.assert_close(shifted, plain, rtol=0, atol=0.3)
    assert not torch.equal(shifted, plain)


@pytest.mark.slow
def test_a_chain_over_levels_takes_the_models_own_law() -> None:
    chain = DenoisingMCMC(levels=16, log_snr=(-1.0, 2.0), skip=20)
    model, covariance = measured()
    free, exact = (
        model.sample(500, method=method, steps=steps, log_snr_end=6.0)[..., 0].double()
        for method, steps in ((dataclasses.replace(chain, descent=10), 20), ("ode3", 60))
    )
    assert float(free.var(0).mean() / exact.var(0).mean()) == pytest.approx(1.0, abs=0.15)
    seen = torch.arange(LENGTH) < CONTEXT
    values = torch.linspace(-1, 1, LENGTH, dtype=torch.float64)
    guided = Sampling(method=chain, steps=12, log_snr_end=6.0, covariance="window")
    found = drawn(guided, seen.double().expand(500, -1), values.expand(500, -1), needs=12 + 20 + 4)
    gain = covariance[:, seen] @ torch.linalg.inv(covariance[seen][:, seen] + TRUST**2 * torch.eye(CONTEXT).double())
    torch.testing.assert_close(found.mean(0), gain @ values[seen], rtol=0, atol=0.15)
    left = (covariance - gain @ covariance[seen]).diagonal()[~seen]
    torch.testing.assert_close(found[:, ~seen].var(0), left, rtol=0.3, atol=0)
