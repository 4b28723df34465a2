"""Log-likelihoods of windows, against the closed form of a model of Gaussian windows."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.elbo import elbo
from shared.errors import ConfigError, DataError
from shared.sde import DiscreteVPSDE, linear_betas
from tests.shared.gaussian import GaussianData
from tests.tsdiff.conftest import sines
from tests.tsdiff.gaussian_model import CONTEXT, HORIZON, LENGTH, GaussianNetwork, gaussian_model
from tsdiff import TSDiffPredictor
from tsdiff.tasks.likelihood import LikelihoodSettings, WindowLikelihoods, window_log_likelihoods, window_places

START = pd.Period("2024-01-01", freq="h")


def entry(values: Any, **fields: Any) -> dict[str, Any]:
    return {"item_id": "a", "start": START, "target": np.asarray(values, dtype=np.float32), **fields}


def walk(length: int = 40, seed: int = 0) -> np.ndarray:
    return 50 + 10 * np.random.default_rng(seed).standard_normal(length)


def one(model: Any, item: dict[str, Any], **changes: Any) -> WindowLikelihoods:
    (found,) = window_log_likelihoods(model, [item], LikelihoodSettings(**changes))
    return found


def closed_form(target: np.ndarray, first: int, cov: torch.Tensor) -> tuple[float, float]:
    """log density of a window of one channel, in network units and in the series', under mean scaling."""
    window = np.asarray(target, dtype=np.float32)[first : first + LENGTH].astype(np.float64)
    scale = np.abs(window[:CONTEXT]).mean()
    network = torch.from_numpy((window / scale - 0.4) / 0.7)
    normal = torch.distributions.MultivariateNormal(torch.zeros(LENGTH, dtype=torch.float64), cov)
    inside = float(normal.log_prob(network))
    whole = torch.distributions.MultivariateNormal(
        torch.full((LENGTH,), 0.4 * scale, dtype=torch.float64), (0.7 * scale) ** 2 * cov
    )
    return inside, float(whole.log_prob(torch.from_numpy(window)))


# --- the density ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1.0, 1e6, -1.0])
def test_the_density_of_gaussian_windows_is_theirs_in_both_units(level: float) -> None:
    model, cov = gaussian_model()
    target = level * walk()
    found = one(model, entry(target), stride=5, steps=20)
    assert found.first.tolist() == [0, 5, 10, 15, 20, 24]
    expected = [closed_form(target, int(first), cov) for first in found.first]
    np.testing.assert_allclose(found.network_log_likelihood, [inside for inside, _ in expected], atol=0.05)
    np.testing.assert_allclose(found.log_likelihood, [whole for _, whole in expected], atol=0.05)
    np.testing.assert_array_equal(np.asarray(found), found.log_likelihood)
    assert not found.standard_error.any()
    assert not found.missing.any()


def test_standard_scaling_and_its_location() -> None:
    model, cov = gaussian_model(scaling="standard")
    target = walk().astype(np.float32)
    found = one(model, entry(target), stride=100, steps=20)
    window = target[:LENGTH].astype(np.float64)
    loc, scale = window[:CONTEXT].mean(), window[:CONTEXT].std()
    whole = torch.distributions.MultivariateNormal(
        torch.full((LENGTH,), loc + 0.4 * scale, dtype=torch.float64), (0.7 * scale) ** 2 * cov
    )
    assert found.log_likelihood[0] == pytest.approx(float(whole.log_prob(torch.from_numpy(window))), abs=0.05)


def test_the_density_of_the_table_s_model_is_its_prior_carried_through_the_flow() -> None:
    # The published table ends at α = 0.075, so that the model's density is not quite that of its data.
    sde = DiscreteVPSDE(linear_betas(100, 1e-4, 0.1))
    model, cov = gaussian_model(sde)
    found = one(model, entry(walk()), stride=100)
    data = GaussianData(sde, torch.zeros(LENGTH, dtype=torch.float64), cov)
    window = walk().astype(np.float32)[:LENGTH].astype(np.float64)
    network = torch.from_numpy((window / np.abs(window[:CONTEXT]).mean() - 0.4) / 0.7)[None]
    alpha = float(sde.alpha(sde.t_min))
    end = data.flow(alpha * network, sde.t_min, 1.0)
    eigenvalues = torch.linalg.eigvalsh(cov)
    (a0, s0), (a1, s1) = ((float(sde.alpha(t)), float(sde.sigma(t))) for t in (sde.t_min, 1.0))
    stretch = 0.5 * ((a1**2 * eigenvalues + s1**2) / (a0**2 * eigenvalues + s0**2)).log().sum() + LENGTH * math.log(a0)
    assert found.network_log_likelihood[0] == pytest.approx(float(sde.prior_log_prob(end)[0] + stretch), abs=0.05)


@pytest.mark.slow
def test_probes_are_unbiased_and_their_error_is_known() -> None:
    model, _ = gaussian_model()
    exact = one(model, entry(walk(80)), stride=8, steps=16)
    found = one(model, entry(walk(80)), stride=8, steps=16, trace="hutchinson", probes=64)
    assert (found.standard_error > 0).all()
    assert np.abs(found.network_log_likelihood - exact.network_log_likelihood).max() < 4 * found.standard_error.max()
    # Windows share the probes: what chance adds to one, it adds to all, here where the Jacobian is the same.
    few = one(model, entry(walk(80)), stride=8, steps=16, trace="hutchinson", probes=2)
    gap = few.network_log_likelihood - exact.network_log_likelihood
    assert gap.std() < 1e-3 * np.abs(gap).max()


@pytest.mark.parametrize("method", ["ode", "elbo"])
def test_the_result_does_not_depend_on_the_batch(method: str) -> None:
    model, _ = gaussian_model()
    settings = {"stride": 12, "method": method, "steps": 16}
    whole, small = (one(model, entry(walk()), batch_rows=rows, **settings) for rows in (64, 1))
    np.testing.assert_allclose(whole.log_likelihood, small.log_likelihood, rtol=0, atol=2e-3)
    if method == "elbo":
        np.testing.assert_allclose(whole.steps, small.steps, rtol=0, atol=2e-3)


# --- the bound -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bound_is_below_the_density_and_near_it() -> None:
    model, _ = gaussian_model()
    target = walk(400)
    exact = one(model, entry(target), stride=4, steps=24)
    # VPSDE counts σ = 1e-3 as clean; there a bound needs more noise draws than at the noise of TSDiff's table.
    bound = one(model, entry(target), stride=4, method="elbo", levels=32, draws=24, log_snr_end=4.6)
    gap = exact.network_log_likelihood - bound.network_log_likelihood
    assert gap.mean() > -3 * bound.standard_error.mean()
    assert abs(gap.mean()) < 3 * bound.standard_error.mean() + 0.05 * LENGTH
    # Shared antithetic noise: the order of windows is that of the density.
    assert np.corrcoef(exact.network_log_likelihood, bound.network_log_likelihood)[0, 1] > 0.999
    np.testing.assert_allclose(bound.steps.sum(1), bound.network_log_likelihood, rtol=1e-9)


def test_an_inexact_network_s_bound_is_below_its_data_s_density_on_average() -> None:
    model, cov = gaussian_model()
    model.denoiser.network = GaussianNetwork(model.sde, 2.0 * torch.eye(LENGTH, dtype=torch.float64))
    normal = torch.distributions.MultivariateNormal(torch.zeros(LENGTH, dtype=torch.float64), cov)
    torch.manual_seed(0)
    windows = normal.sample((300,))
    noise = torch.randn(2, 24, 300, LENGTH, 1)
    bound = elbo(model, model.sde, windows.float()[..., None], noise, t_end=0.01).value
    assert float(bound.mean()) < float(normal.log_prob(windows).mean()) - 1


def test_the_step_that_is_wrong_contributes_most() -> None:
    model, _ = gaussian_model()
    target = walk(64)
    target[37] += 100.0
    found = one(model, entry(target), stride=1, method="elbo", log_snr_end=3.0)
    for row, first in enumerate(found.first):
        if first <= 37 < first + LENGTH and 37 - first >= CONTEXT:  # in the horizon, so that the scale is not its own
            assert int(found.steps[row].argmin()) == 37 - first


# --- places, channels, lags ------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 60), st.integers(1, 80))
@settings(max_examples=60, deadline=None)
def test_windows_cover_every_step_and_end_with_the_series(total: int, length: int, stride: int) -> None:
    places = window_places(total, length, stride)
    assert places[-1] == total - length
    assert (np.diff(places) > 0).all()
    if total >= length:
        assert places[0] == 0
        assert (np.diff(places) <= stride).all()
    covered = np.zeros(total, dtype=bool)
    for first in places:
        covered[max(first, 0) : first + length] = True
    assert covered.all() or stride > length


def test_several_channels_have_a_scale_each() -> None:
    model, cov = gaussian_model(channels=2)
    target = np.stack([walk(seed=1), 1000 * walk(seed=2)]).astype(np.float32)
    found = one(model, entry(target), stride=100, steps=20, trace="exact")
    window = target[:, :LENGTH].T.astype(np.float64)
    scale = np.abs(window[:CONTEXT]).mean(axis=0)
    normal = torch.distributions.MultivariateNormal(torch.zeros(2 * LENGTH, dtype=torch.float64), cov)
    inside = float(normal.log_prob(torch.from_numpy(((window / scale - 0.4) / 0.7).ravel())))
    assert found.network_log_likelihood[0] == pytest.approx(inside, abs=0.05)
    assert found.log_likelihood[0] == pytest.approx(inside - LENGTH * np.log(0.7 * scale).sum(), abs=0.05)


def test_a_model_with_an_anchor_scores_the_last_steps_of_a_window_alone() -> None:
    model, _ = gaussian_model(conditional=True, scaling="anchor", calendar="season")
    found = one(model, entry(walk()), method="elbo")
    assert found.steps.shape[1] == LENGTH
    assert np.isnan(found.steps[:, :CONTEXT]).all()
    assert np.isfinite(found.steps[:, CONTEXT:]).all()
    np.testing.assert_allclose(found.steps[:, CONTEXT:].sum(1), found.network_log_likelihood)
    np.testing.assert_array_equal(found.first_scored, found.first + CONTEXT)
    assert found.first_scored[0] == 8  # the first few values are known before
    assert found.frame()["start"][0] == START + 8


def test_windows_that_are_scored_as_wholes_begin_where_they_do() -> None:
    found = one(gaussian_model()[0], entry(walk()), method="elbo")
    np.testing.assert_array_equal(found.first_scored, found.first)


def test_with_lags_the_first_windows_lack_values_and_steps_are_the_series_own() -> None:
    model, _ = gaussian_model(lags=(20,))
    with pytest.warns(UserWarning, match="1 of 2 windows of 16 steps miss more than 25%"):
        found = one(model, entry(walk(40)), stride=24, method="elbo")
    assert found.skipped.tolist() == [0]
    assert found.first.tolist() == [24]
    assert found.steps.shape == (1, LENGTH)


@pytest.mark.slow
def test_a_trained_model_finds_its_own_data_likelier_than_noise(trained: TSDiffPredictor) -> None:
    item = sines()[0]
    noise = {**item, "target": np.random.default_rng(0).permutation(item["target"])}
    for method in ("ode", "elbo"):
        own, other = trained.log_likelihood([item, noise], method=method, stride=50, steps=8, probes=2)
        assert own.network_log_likelihood.min() > other.network_log_likelihood.max() + 20
    assert list(own.frame().columns) == [
        "item_id",
        "start",
        "log_likelihood",
        "network_log_likelihood",
        "standard_error",
        "missing",
    ]
    assert own.frame()["start"].tolist()[1] == item["start"] + 50
    assert len(own) == len(own.frame())


# --- bad input -------------------------------------------------------------------------------------------------


def test_missing_values_are_bridged_and_counted_and_too_many_leave_a_window_out() -> None:
    model, _ = gaussian_model()
    target = walk(64)
    gappy = target.copy()
    gappy[5:8] = np.nan
    gappy[40:56] = np.nan
    with pytest.warns(UserWarning, match="not scored"):
        found = one(model, entry(gappy), stride=4, method="elbo")
    assert found.missing[found.first == 0] == pytest.approx(3 / LENGTH)
    assert 40 in found.skipped
    assert np.isnan(found.steps[0, 5:8]).all()
    assert np.isfinite(found.steps[0, 8:]).all()
    assert found.steps[0, :5].sum() + found.steps[0, 8:].sum() == pytest.approx(found.network_log_likelihood[0])
    straight = target.copy()
    straight[5:8] = np.interp(np.arange(5, 8), [4, 8], target[[4, 8]])
    whole = one(model, entry(straight), stride=100, method="ode")
    gap = one(model, entry(np.where(np.arange(64) < 12, gappy, target)), stride=100, method="ode")
    assert gap.missing[0] == pytest.approx(3 / LENGTH)
    # The scale leaves missing values out, so that only the shape is that of the bridged window.
    assert np.isfinite(gap.log_likelihood).all()
    assert whole.first.tolist() == gap.first.tolist()


@pytest.mark.parametrize("method", ["ode", "elbo"])
def test_gaps_go_on_as_the_series_does_in_other_seasons(method: str) -> None:
    """As in training. A straight line over them cost what lay beside it most of its likelihood."""
    model, _ = gaussian_model()
    model.config = replace(model.config, freq="Q-DEC")
    season = np.tile([10.0, 60.0, 30.0, 90.0], LENGTH // 4)
    gappy = np.where(np.isin(np.arange(LENGTH), [13, 14]), np.nan, season)
    whole, gap = (one(model, entry(values, start=pd.Period("2020Q1")), method=method) for values in (season, gappy))
    if method == "ode":
        np.testing.assert_allclose(gap.log_likelihood, whole.log_likelihood, atol=1e-3)
    else:
        assert gap.steps is not None
        assert whole.steps is not None
        seen = ~np.isnan(gappy)
        np.testing.assert_allclose(gap.steps[:, seen], whole.steps[:, seen], atol=1e-3)
        assert np.isnan(gap.steps[:, ~seen]).all()


def test_infinities_are_missing_with_a_warning() -> None:
    model, _ = gaussian_model()
    target = walk(20)
    target[3] = np.inf
    with pytest.warns(UserWarning, match="infinity|infinities"):
        assert np.isfinite(one(model, entry(target), stride=20).log_likelihood).all()


def test_a_short_series_is_padded_in_front() -> None:
    model, _ = gaussian_model()
    found = one(model, entry(walk(13)), method="elbo")
    assert found.first.tolist() == [-3]
    assert found.missing[0] == pytest.approx(3 / LENGTH)
    with pytest.warns(UserWarning, match="1 of 1 windows"):
        assert len(one(model, entry(walk(5)))) == 0


@pytest.mark.parametrize("values", [np.zeros(40), np.full(40, 7.0), 1e12 * walk(), -1e12 * walk(), 1e-12 * walk()])
def test_values_of_any_size_give_finite_likelihoods(values: np.ndarray, trained: TSDiffPredictor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in ("ode", "elbo"):
            (found,) = trained.log_likelihood([entry(values)], method=method, steps=3, probes=2, levels=3)
            assert np.isfinite(found.log_likelihood).all()
            assert np.isfinite(found.network_log_likelihood).all()


def test_a_unit_adds_its_logarithm_at_each_step(trained: TSDiffPredictor) -> None:
    """log p(a·x) = log p(x) − n·log a, and the network, which sees relative values, says the same of both."""
    options = {"method": "ode", "steps": 3, "probes": 2}
    one, huge = trained.log_likelihood([entry(walk()), entry(1e12 * walk())], **options)
    steps = trained.model.config.length
    np.testing.assert_allclose(huge.network_log_likelihood, one.network_log_likelihood, rtol=1e-4)
    np.testing.assert_allclose(one.log_likelihood - huge.log_likelihood, steps * np.log(1e12), rtol=1e-4)


def test_what_cannot_be_scored_is_refused_by_name() -> None:
    model, _ = gaussian_model()
    with pytest.raises(DataError, match="'a' holds no observed value"):
        one(model, entry(np.full(40, np.nan)))
    with pytest.raises(DataError, match="frequency"):
        one(model, {**entry(walk()), "start": pd.Period("2024-01-01", freq="D")})
    overflow = walk()
    overflow[CONTEXT:] *= 1e30
    overflow[:CONTEXT] *= 1e-20
    with pytest.raises(DataError, match="window from step 0 is not finite"):
        one(model, entry(overflow))
    conditional, _ = gaussian_model(conditional=True)
    with pytest.raises(ConfigError, match="conditional"):
        one(conditional, entry(walk()))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "exact"},
        {"trace": "none"},
        {"stride": 0},
        {"probes": 1},
        {"draws": 1},
        {"steps": 0},
        {"levels": 0},
        {"batch_rows": 0},
        {"log_snr_end": math.nan},
        {"max_missing": 1.0},
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        LikelihoodSettings(**change)


def test_settings_of_another_name_or_kind_are_told_what_there_is(trained) -> None:
    with pytest.raises(ConfigError, match="strid=3: no such setting; there are method, stride, trace"):
        trained.log_likelihood([entry(walk())], strid=3)
    with pytest.raises(ConfigError, match="settings='elbo': need LikelihoodSettings"):
        trained.log_likelihood([entry(walk())], "elbo")


def test_windows_step_by_the_horizon_or_lie_side_by_side_by_default() -> None:
    model, _ = gaussian_model()
    assert one(model, entry(walk(48)), steps=2).first.tolist() == [0, LENGTH, 2 * LENGTH]
    assert np.diff(one(model, entry(walk(48)), method="elbo").first).tolist() == [HORIZON] * 8
