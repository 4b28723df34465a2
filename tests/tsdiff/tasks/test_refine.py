"""Refinement of GluonTS forecasts: what it improves, what it depends on, what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.model.forecast import Forecast, SampleForecast
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import HORIZON, sines, tiny_estimator
from tests.tsdiff.gaussian_model import gaussian_model
from tsdiff import TSDiffPredictor
from tsdiff.tasks.refinement import RefineConfig, Refiner
from tsdiff.tasks.refinement.energy import with_lags

SMALL = RefineConfig(num_samples=8, steps=4)


METHODS: dict[str, dict[str, Any]] = {
    "most_likely": {},
    "langevin": {},
    "mala": {"energy": "denoising", "redraw": False},
    "hmc": {"energy": "denoising", "leapfrog_steps": 2},
    "underdamped": {},
    "critically_damped": {"energy": "denoising"},
}


def naive(entries: list[dict[str, Any]], season: int = 5) -> list[Forecast]:
    """A forecast of the wrong season: sines of period 8 tell it at once."""
    return list(SeasonalNaivePredictor(HORIZON, season).predict(entries))


def forecast_of(samples: np.ndarray, entry: dict[str, Any], **changes: Any) -> SampleForecast:
    settings = {"start_date": entry["start"] + len(entry["target"]), "item_id": entry["item_id"], **changes}
    return SampleForecast(np.asarray(samples, dtype=np.float64), **settings)


def refined(predictor, forecasts, entries, config: RefineConfig = SMALL, **changes: Any) -> list[np.ndarray]:
    found = Refiner(predictor.model, replace(config, **changes)).refine(forecasts, entries)
    return [forecast.samples for forecast in found]


# --- what it does ------------------------------------------------------------------------------------------


def test_the_default_keeps_more_of_right_intervals_than_a_weak_prior():
    """Of Gaussian windows and a base that draws from their true law, given the context."""
    model, cov = gaussian_model()
    whole, past, rng = cov.numpy(), model.config.context_length, np.random.default_rng(0)
    told = whole[past:, :past] @ np.linalg.inv(whole[:past, :past])
    left = whole[past:, past:] - told @ whole[:past, past:]
    values = np.linalg.cholesky(whole)[:past, :past] @ rng.normal(size=past)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": values}
    base = [forecast_of(rng.multivariate_normal(told @ values, left, 100), entry)]
    widths = []
    for config in (RefineConfig(), RefineConfig(prior_scale=0.03)):
        (made,) = Refiner(model, config).refine(base, [entry])
        widths.append(float((made.samples.std(axis=0) / np.sqrt(np.diag(left))).mean()))
    assert widths[0] > 1.2 * widths[1]


def test_samples_that_keep_their_noise_stay_where_the_data_are():
    """One noise, added to the score at every step, drives each sample on and on in a direction of its own."""
    model, cov = gaussian_model()
    whole = torch.linalg.cholesky(cov.double()).numpy()
    past = model.config.context_length
    values = (whole @ np.random.default_rng(0).normal(size=len(whole)))[:past]
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": values}
    base = [forecast_of(np.full((1, model.config.prediction_length), values[-1]), entry)]
    kept, anew = (
        next(Refiner(model, RefineConfig(steps=100, redraw=redraw)).refine(base, [entry])).samples.std()
        for redraw in (False, True)
    )
    assert kept < 1.5 * anew


@pytest.mark.parametrize(
    ("method", "prior"),
    [
        *((method, "mse") for method in METHODS),
        # The methods do not know the prior, which each energy reads.
        *(
            pytest.param(method, "quantile", marks=() if method in ("langevin", "hmc") else pytest.mark.slow)
            for method in METHODS
        ),
    ],
)
def test_every_method_brings_a_wrong_forecast_nearer_to_the_truth(trained, method, prior):
    entries = sines()
    histories = [{**e, "target": e["target"][:-HORIZON]} for e in entries]
    base = naive(histories)
    config = RefineConfig(
        method=method, prior=prior, num_samples=6, steps=15, temperature=0.02, prior_scale=0.05, **METHODS[method]
    )
    refiner = Refiner(trained.model, config)
    ours = list(refiner.refine(base, histories))
    before = after = 0.0
    for forecast, start, entry in zip(ours, base, entries, strict=True):
        actual, scale = entry["target"][-HORIZON:], entry["target"].mean()
        after += float(np.abs(np.median(forecast.samples, axis=0) - actual).sum() / scale)
        before += float(np.abs(start.mean - actual).sum() / scale)
    assert after < 0.8 * before
    assert 0.3 < refiner.acceptance <= 1
    assert (refiner.acceptance < 1) <= (method in ("mala", "hmc"))
    assert refiner.nfe >= config.steps


@pytest.mark.parametrize("method", ["mala", "hmc"])
def test_a_method_that_accepts_no_step_says_that_it_leaves_the_forecasts_as_they_are(trained, method):
    entries = sines()
    config = replace(SMALL, method=method, step_size=1000.0)
    with pytest.warns(Note, match=f"method='{method}' has accepted hardly any of its steps"):
        found = list(Refiner(trained.model, config).refine(naive(entries), entries))
    for forecast, base in zip(found, naive(entries), strict=True):
        np.testing.assert_allclose(forecast.samples, np.repeat(base.samples, 8, axis=0), rtol=1e-4)


def test_forecasts_carry_name_start_and_shape(trained):
    entries = sines()
    found = list(trained.refine(naive(entries), entries, SMALL))
    assert [forecast.item_id for forecast in found] == ["s0", "s1", "s2"]
    for forecast, entry in zip(found, entries, strict=True):
        assert forecast.start_date == entry["start"] + len(entry["target"])
        assert forecast.samples.shape == (8, HORIZON)
        assert np.isfinite(forecast.samples).all()


def test_a_prior_that_outweighs_everything_gives_the_base_forecast_back(trained):
    entries = sines()
    base = naive(entries)
    config = replace(SMALL, method="most_likely", prior="mse", prior_scale=1e5, steps=30)
    for found, start in zip(refined(trained, base, entries, config), base, strict=True):
        np.testing.assert_allclose(found, np.repeat(start.samples, 8, axis=0), rtol=2e-3)


@pytest.mark.parametrize("method", ["most_likely", "langevin"])
@pytest.mark.parametrize("energy", ["score", "denoising"])
def test_a_quantile_prior_that_outweighs_everything_gives_the_base_forecast_back(trained, method, energy):
    entries = sines()
    base = naive(entries)
    config = replace(SMALL, method=method, energy=energy, prior_scale=1e5, steps=30, temperature=1e-5)
    for found, start in zip(refined(trained, base, entries, config), base, strict=True):
        np.testing.assert_allclose(found, np.repeat(start.samples, 8, axis=0), atol=0.02 * np.ptp(start.samples))


@pytest.mark.parametrize("method", ["most_likely", "langevin", "underdamped", "critically_damped"])
def test_a_stronger_quantile_prior_changes_a_forecast_less(trained, method):
    entries = sines()
    base = naive(entries)

    def change(scale: float) -> float:
        config = replace(SMALL, method=method, prior_scale=scale, steps=30)
        found = refined(trained, base, entries, config)
        return float(np.mean([np.abs(one - start.samples).mean() for one, start in zip(found, base, strict=True)]))

    weak, usual, strong, stronger = map(change, (0.0, 0.3, 10.0, 1000.0))
    assert weak > usual > strong > 0.95 * stronger


# --- what a refined sample depends on ----------------------------------------------------------------------


def assert_same(left: list[np.ndarray], right: list[np.ndarray], exact: bool = False) -> None:
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=0 if exact else 1e-4 * np.abs(one).max())


@pytest.mark.parametrize("method", METHODS)
def test_results_do_not_depend_on_batch_or_order(trained, method):
    entries, config = sines(3), replace(SMALL, method=method, temperature=0.1, **METHODS[method])
    base = naive(entries)
    whole = refined(trained, base, entries, config)
    assert_same(refined(trained, iter(base), iter(entries), config), whole, exact=True)
    assert_same(refined(trained, base, entries, config, batch_rows=5), whole)
    assert_same(refined(trained, base[::-1], entries[::-1], config)[::-1], whole)
    other = refined(trained, base, entries, config, seed=1)
    assert not np.allclose(other[0], whole[0], rtol=1e-4)


def test_forecasts_and_series_are_read_as_they_are_needed(trained):
    read = []

    def endless():
        while True:
            read.append(0)
            yield sines(1)[0]

    def forecasts():
        while True:
            yield naive(sines(1))[0]

    next(trained.refine(forecasts(), endless(), replace(SMALL, batch_rows=16)))
    assert len(read) == 2


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_callers_autograd_mode_does_not_matter(trained, mode):
    entries, config = sines(1), replace(SMALL, energy="denoising")
    expected = refined(trained, naive(entries), entries, config)
    with mode():
        assert_same(refined(trained, naive(entries), entries, config), expected, exact=True)


@pytest.mark.parametrize("factor", [1e-6, 1e12])
def test_results_scale_with_the_series(trained, factor):
    entry = sines(1)[0]
    scaled = {**entry, "target": entry["target"] * np.float32(factor)}
    expected = refined(trained, naive([entry]), [entry])
    assert_same([refined(trained, naive([scaled]), [scaled])[0] / factor], expected)


# --- the window --------------------------------------------------------------------------------------------


def test_observed_values_are_held_and_missing_ones_move(trained):
    entry = sines(1)[0]
    entry["target"][-3:] = np.nan
    refiner = Refiner(trained.model, SMALL)
    seen = []
    run = refiner._run

    def watch(known, starts, draws, generators):
        windows = run(known, starts, draws, generators)
        seen.append((known, starts, windows))
        return windows

    refiner._run = watch
    (found,) = refiner.refine(naive(sines(1)), [entry])
    (known, starts, windows), observed = seen[0], seen[0][0].observed[..., :1] > 0
    torch.testing.assert_close(windows[observed], known.values[..., :1][observed], atol=0, rtol=0)
    moved = (windows - starts).abs() > 0
    assert moved[~observed].float().mean() > 0.95
    assert int((~observed[0]).sum()) == HORIZON + 3
    assert np.isfinite(found.samples).all()


@pytest.mark.parametrize("length", [1, 3, 15, 16])
def test_short_series_are_refined(trained, length):
    entry = {**sines(1)[0], "target": sines(1)[0]["target"][:length]}
    (found,) = refined(trained, naive([entry], season=1), [entry])
    assert found.shape == (8, HORIZON)
    assert found.mean() == pytest.approx(entry["target"].mean(), rel=0.25)
    assert 0 < found.min() < found.max() < 40


@pytest.mark.parametrize(("value", "away"), [(0.0, 2.5), (5.0, 4.0), (-5.0, 16.0)])
def test_constant_and_negative_series_stay_near_their_value(trained, value, away):
    entry = {**sines(1)[0], "target": np.full(50, value, dtype=np.float32)}
    (found,) = refined(trained, naive([entry]), [entry])
    assert np.abs(found - value).max() <= away


def test_lagged_copies_show_the_values_that_move():
    x = torch.arange(10.0).reshape(1, 5, 2)
    lagged = -torch.arange(1.0, 21.0).reshape(1, 5, 4)
    shown = with_lags(x, lagged, (2, 7))
    torch.testing.assert_close(shown[..., :2], x)
    torch.testing.assert_close(shown[:, 2:, 2:4], x[:, :-2])
    torch.testing.assert_close(shown[:, :2, 2:4], lagged[:, :2, :2])
    torch.testing.assert_close(shown[..., 4:], lagged[..., 2:])


@pytest.mark.parametrize("energy", ["score", "denoising"])
def test_models_with_channels_lags_and_covariates_refine(energy):
    def entry(name: str) -> dict[str, Any]:
        t = np.arange(120)
        target = np.stack([2 + np.sin(2 * np.pi * t / 8), 5 + np.cos(2 * np.pi * t / 8)]).astype(np.float32)
        extra = np.sin(np.arange(120 + HORIZON))[None].astype(np.float32)
        start = pd.Period("2024-01-01", freq="h")
        return {"item_id": name, "start": start, "target": target, "feat_dynamic_real": extra}

    entries = [entry("a"), entry("b")]
    estimator = tiny_estimator(steps=5, channels=2, lags=(3, 30), dynamic_features=1)
    predictor = estimator.train(entries, progress=False)
    base = [
        SampleForecast(np.ones((4, HORIZON, 2)), start_date=e["start"] + 120, item_id=e["item_id"]) for e in entries
    ]
    found = refined(predictor, base, entries, energy=energy)
    assert found[0].shape == (8, HORIZON, 2)
    assert np.isfinite(found).all()
    changed = [{**e, "feat_dynamic_real": e["feat_dynamic_real"] + 5} for e in entries]
    assert not np.allclose(refined(predictor, base, changed, energy=energy)[0], found[0])
    with pytest.raises(DataError, match="channels: 1 in the base forecast of series 'a', 2 in the model"):
        refined(predictor, [replace_samples(base[0])], entries[:1])


def replace_samples(forecast: SampleForecast) -> SampleForecast:
    return SampleForecast(forecast.samples[..., 0], start_date=forecast.start_date, item_id=forecast.item_id)


# --- what is refused ---------------------------------------------------------------------------------------


def test_forecasts_of_other_series_are_refused_by_name(trained):
    entries = sines(2)
    first, second = naive(entries)
    for forecasts, message in (
        ([second, first], "base forecast 0 is of series 's1', but series 0 is 's0'"),
        ([first], "there are 1 forecasts but more series"),
        ([first, second, second], "there are 2 series but more forecasts"),
        (pd.DataFrame({"mean": [1.0], "0.5": [1.0]}), "base forecast 0 is a str; give GluonTS forecasts"),
        ([first.samples, second.samples], "base forecast 0 is a ndarray; give GluonTS forecasts"),
        (first, "a SampleForecast is no list of forecasts; give one base forecast for each series"),
        (None, "a NoneType is no list of forecasts"),
    ):
        with pytest.raises(DataError, match=message):
            refined(trained, forecasts, entries)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda e: forecast_of(np.ones((3, HORIZON)), e, start_date=e["start"] + 190), "starts at 2024-01-08 22"),
        (lambda e: forecast_of(np.ones((3, HORIZON + 1)), e), "'s0' has 9 steps, the model refines 8"),
        (lambda e: forecast_of(np.full((3, HORIZON), np.nan), e), "'s0' holds nan at step 0"),
        (lambda e: forecast_of(np.ones((0, HORIZON)), e), "'s0' has no samples"),
        (lambda e: forecast_of(np.full((3, HORIZON), np.inf), e), "'s0' holds inf at step 0"),
        (lambda e: forecast_of(np.full((3, HORIZON), 1e300), e), "series 's0' is not finite"),
    ],
)
def test_forecasts_that_cannot_be_refined_are_refused_by_name(trained, make, message):
    entry = sines(1)[0]
    with pytest.raises(DataError, match=message), np.errstate(over="ignore"):
        refined(trained, [make(entry)], [entry])


def test_a_series_without_values_is_refused_by_name(trained):
    entry = {**sines(1)[0], "target": np.full(40, np.nan)}
    forecast = SampleForecast(np.ones((1, HORIZON)), start_date=entry["start"] + 40, item_id="s0")
    with pytest.raises(DataError, match="series 's0' holds no observed value"):
        refined(trained, [forecast], [entry])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "nuts"}, "method='nuts': choose one of most_likely"),
        ({"prior": "l1"}, "prior='l1'"),
        ({"energy": "x"}, "energy='x'"),
        ({"method": "hmc", "energy": "score"}, "method='hmc', energy='score': the method compares energies"),
        ({"energy": "score", "redraw": False}, "energy='score', redraw=False: one noise pushes the same way"),
        ({"prior_scale": -1.0}, "prior_scale=-1.0"),
        ({"step_size": 0.0}, "step_size=0.0"),
        ({"step_size": math.nan}, "step_size=nan"),
        ({"friction": 0.0}, "friction=0.0"),
        ({"temperature": 0.0}, "temperature=0.0.*most_likely"),
        ({"log_snrs": ()}, "log_snrs"),
        ({"log_snrs": (1.0, 0.0)}, "log_snrs"),
        ({"steps": 0}, "steps=0"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"batch_rows": 0}, "batch_rows=0"),
        ({"leapfrog_steps": 0}, "leapfrog_steps=0"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        RefineConfig(**change)


def test_settings_that_are_none_are_told_what_to_be(trained: TSDiffPredictor):
    with pytest.raises(ConfigError, match=r"config=\{'steps': 3\}: need a RefineConfig, such as RefineConfig\(steps"):
        trained.refine([], [], {"steps": 3})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"need a TSDiff, such as a predictor's \.model; or call predictor\.refine"):
        Refiner(trained)  # type: ignore[arg-type]
