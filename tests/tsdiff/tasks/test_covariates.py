"""A regression on covariates finds a known effect, is not fooled by trends, seasons and walks, and else stays away."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import SampleForecast

from shared.errors import DataError
from tsdiff import TSDiffPredictor
from tsdiff.tasks.covariates import effect_of, effect_on, known_lags, predicted_around
from tsdiff.tasks.suited import SUITED

LENGTH, HORIZON = 200, 14


def generated(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A series with trend and week, its covariates (2, length + horizon), and what the first of them does."""
    rng = np.random.default_rng(seed)
    t = np.arange(LENGTH + HORIZON)
    base = 10 * np.sin(2 * np.pi * t / 7) + 0.05 * t + rng.normal(size=len(t))
    features = rng.normal(size=(2, len(t)))
    if kind == "promotion":
        features[0] = rng.random(len(t)) < 0.2
    if kind == "walk":
        base += np.cumsum(rng.normal(size=len(t)))
    if kind == "walks":
        base, features = np.cumsum(rng.normal(size=len(t))), np.cumsum(rng.normal(size=(2, len(t))), axis=1)
    if kind == "calendar":
        features = np.stack([t, np.sin(2 * np.pi * t / 7)]).astype(float)
    effect = 5 * features[0] if kind in ("promotion", "driver", "walk") else np.zeros(len(t))
    return base + effect, features, effect


@pytest.mark.parametrize("kind", ["promotion", "driver", "walk"])
def test_a_known_effect_is_found(kind):
    for seed in range(5):
        series, features, effect = generated(kind, seed)
        series[20:25] = np.nan
        series[100] = 500  # an outlier
        found = effect_of(series[:LENGTH], features, 7, HORIZON)
        wanted = effect - effect[:LENGTH].mean()
        assert found.gain > 0.1
        assert np.abs(found.values - wanted)[-HORIZON:].mean() < 0.3 * np.abs(wanted[-HORIZON:]).mean()


def promoted(days: int, promotions: int, effect: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is sold with a week and noise of 15 %, and flags (1, days + horizon) of rare days, three of them ahead, that
    add this share of it."""
    rng = np.random.default_rng(seed)
    flag = np.zeros(days + HORIZON)
    flag[rng.choice(np.arange(3, days - 1), promotions, replace=False)] = 1
    flag[days + rng.choice(HORIZON, 3, replace=False)] = 1
    t = np.arange(len(flag))
    mean = 100 * (1 + 0.3 * np.sin(2 * np.pi * t / 7)) * (1 + effect * flag)
    return mean * np.exp(0.15 * rng.normal(size=len(flag))), flag[None]


@pytest.mark.parametrize(("days", "promotions", "wanted"), [(365, 10, 20), (90, 4, 14)])
def test_rare_days_are_found_where_they_do_something(days, promotions, wanted):
    used = fooled = 0
    for seed in range(20):
        series, flags = promoted(days, promotions, 1.0, seed)
        found = effect_of(series[:days], flags, 7, HORIZON)
        used += found.gain > 0
        assert not found.gain or 50 < np.ptp(found.joined(np.full((1, HORIZON), 100.0))) < 150
        fooled += effect_of(promoted(days, promotions, 0.0, seed)[0][:days], flags, 7, HORIZON).gain > 0
    assert used >= wanted
    assert fooled <= 1


def multiplied(seed: int, zeros: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a growing shop, closed on Sundays if `zeros`, sells, promotions (1, length + horizon) that treble it, and
    the means."""
    rng, t = np.random.default_rng(seed), np.arange(LENGTH + HORIZON)
    flag = (t // 5 % 6 == 5) | (t >= LENGTH + 7)
    mean = 50 * np.exp(0.005 * t) * np.array([0.6, 0.8, 1, 1, 1.2, 1.6, 0.0 if zeros else 0.4])[t % 7] * (1 + 2 * flag)
    return rng.poisson(mean).astype(float), flag[None].astype(float), mean


@pytest.mark.parametrize("zeros", [False, True])
def test_what_multiplies_a_series_is_found_as_that(zeros, predictor):
    for seed in range(5):
        series, flag, mean = multiplied(seed, zeros)
        found = effect_of(series[:LENGTH], flag, 7, HORIZON)
        assert found.ratio
        assert np.exp(np.ptp(found.values)) == pytest.approx(3, rel=0.15)
    entry = {"start": pd.Period("2024-01-01", "D"), "target": series[:LENGTH], "feat_dynamic_real": flag}
    (made,) = predictor.with_sampling(covariates=True).predict([entry], 50)
    ahead = mean[LENGTH:]
    assert np.abs(made.quantile(0.5) - ahead).mean() < 0.15 * ahead.mean()
    low, high = made.quantile(0.05), made.quantile(0.95)
    assert ((ahead >= low) & (ahead <= high)).mean() > 0.9
    assert (high - low)[7:12].mean() > 1.3 * (high - low)[:5].mean()  # as noise grows with what is sold


def test_what_adds_to_a_series_is_found_as_that():
    for seed in range(5):
        series, features, effect = generated("promotion", seed)
        base = 100 + 8 * (series - effect)
        found = effect_of((base + 40 * features[0])[:LENGTH], features, 7, HORIZON)
        assert not found.ratio
        assert np.ptp(found.values) == pytest.approx(40, rel=0.5)


def test_missing_values_of_a_covariate_lie_between_those_around_them():
    rng = np.random.default_rng(0)
    t = np.arange(LENGTH + HORIZON)
    price = 0.1 * t + rng.normal(size=len(t))
    series = 5 * price + rng.normal(size=len(t))
    holed = np.where((t % 9 == 0) & (t < LENGTH), np.nan, price)
    found = effect_of(series[:LENGTH], holed[None], 7, HORIZON)
    missing = np.isnan(holed)
    away = found.values - 5 * price
    assert np.abs(away[missing] - away[~missing].mean()).mean() < 10  # 5 times the noise of both; the mean is off by 25
    flag = np.zeros(len(t))
    flag[10:LENGTH:20] = flag[LENGTH + 3] = 1
    holed = np.where((t % 20 == 5) & (t < LENGTH), np.nan, flag)
    found = effect_of(rng.normal(size=LENGTH) + 10 * flag[:LENGTH], holed[None], 7, HORIZON)
    np.testing.assert_allclose(found.values[np.isnan(holed)], found.values[0])  # between two days without is one


def test_nothing_is_done_where_no_two_steps_in_turn_are_known():
    series, features, _ = generated("driver", 0)
    series[::2] = np.nan
    assert effect_of(series[:LENGTH], features, 24, HORIZON).gain == 0


@pytest.mark.parametrize(("known", "wanted"), [(50, 6), (LENGTH, 10)])
def test_an_effect_is_found_where_its_covariate_is_known_of_the_end_alone(known, wanted):
    """As of promotions that are recorded since a few weeks; what was never recorded is no covariate's mean."""
    used = fooled = 0
    for seed in range(10):
        series, features, effect = generated("promotion", seed)
        features = np.where(np.arange(LENGTH + HORIZON) < LENGTH - known, np.nan, features[:1])
        found = effect_of(series[:LENGTH], features, 7, HORIZON)
        used += found.gain > 0
        assert not found.gain or np.abs(np.ptp(found.values[LENGTH:]) - np.ptp(effect[LENGTH:])) < 2
        fooled += effect_of((series - effect)[:LENGTH], features, 7, HORIZON).gain > 0
    assert used >= wanted
    assert fooled <= 1


def test_a_flag_that_seldom_changes_is_used_in_a_long_series():
    """Its changes over a season are few among so many steps, of which the error of all tells next to nothing."""
    steps, rng = np.arange(20_000), np.random.default_rng(0)
    flag = (steps // 2500 % 4 == 3).astype(float)
    series = 10 * np.sin(2 * np.pi * steps / 24) + 4 * flag + rng.normal(size=len(steps))
    found = effect_of(series[:-100], flag[None], 24, 100)
    assert 0 < found.gain < 0.01
    assert np.ptp(found.values) == pytest.approx(4, abs=0.4)
    assert effect_of((series - 4 * flag)[:-100], flag[None], 24, 100).gain == 0


@pytest.mark.parametrize("kind", ["noise", "walks", "calendar"])
def test_what_has_no_effect_is_hardly_ever_used(kind):
    found = [effect_of(generated(kind, seed)[0][:LENGTH], generated(kind, seed)[1], 7, HORIZON) for seed in range(40)]
    assert sum(one.gain > 0 for one in found) <= 2
    for one in found:
        assert one.gain > 0 or not one.values.any()


@pytest.mark.parametrize("case", ["short", "constant", "constant covariate", "covariate missing"])
def test_where_nothing_can_be_told_nothing_is_done(case):
    series, features, _ = generated("driver", 0)
    if case == "constant":
        series = np.full_like(series, 3.0)
    if case == "constant covariate":
        features = np.ones_like(features)
    if case == "covariate missing":
        features = np.where(np.arange(features.shape[1]) < LENGTH, np.nan, features)
    length = 15 if case == "short" else LENGTH
    found = effect_of(series[:length], features[:, : length + HORIZON], 7, HORIZON)
    assert found.gain == 0
    assert not found.values.any()


def test_a_covariate_far_from_its_past_counts_as_within_reach():
    series, features, _ = generated("driver", 0)
    features[:, LENGTH:] = 1e6
    found = effect_of(series[:LENGTH], features, 7, HORIZON)
    assert found.gain > 0
    assert np.abs(found.values[LENGTH:]).max() < 10 * np.abs(found.values[:LENGTH]).max()


def entries(kind: str) -> list[dict[str, Any]]:
    made = []
    for seed in range(4):
        series, features, _ = generated(kind, seed)
        start = pd.Period("2024-01-01", "D")
        made.append(
            {
                "item_id": f"s{seed}",
                "start": start,
                "target": series[:LENGTH],
                "feat_dynamic_real": features,
                "info": {},
            }
        )
    return made


@pytest.fixture(scope="module")
def predictor() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("D", HORIZON)


def test_entries_covariates_enter_where_it_is_asked_for(predictor):
    data = entries("driver")
    asked = predictor.with_sampling(covariates=True)
    errors = []
    for one in (predictor, asked):
        medians = [made.quantile(0.5) for made in one.predict(data, 20)]
        errors.append(np.mean([np.abs(m - generated("driver", s)[0][LENGTH:]).mean() for s, m in enumerate(medians)]))
    assert errors[1] < 0.5 * errors[0]
    assert asked.nfe == predictor.nfe > 0
    for made in asked.predict(data, 2):
        assert made.info[SUITED].gain > 0.1


def test_noise_leaves_forecasts_as_they_are(predictor):
    data = entries("noise")
    asked = predictor.with_sampling(covariates=True)
    for plain, made in zip(predictor.predict(data, 5), asked.predict(data, 5), strict=True):
        if not made.info[SUITED].gain:
            np.testing.assert_allclose(made.samples, plain.samples, rtol=1e-5)


def test_series_with_and_without_an_effect_are_forecast_as_alone(predictor):
    asked = predictor.with_sampling(covariates=True)
    noise, driven = entries("noise"), entries("driver")
    data = [dict(one, item_id=f"{one['item_id']} {n}") for n, one in enumerate([*noise[:2], *driven[:2], *noise[2:]])]
    made = list(asked.predict(data, 5))
    assert [one.item_id for one in made] == [entry["item_id"] for entry in data]
    assert [one.info[SUITED].gain > 0.1 for one in made] == [False, False, True, True, False, False]
    for entry, one in zip(data, made, strict=True):
        (alone,) = asked.predict([entry], 5)
        np.testing.assert_allclose(one.samples, alone.samples, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[:, :-1], "covers 213 steps, and 214 are needed"),
        (lambda f: np.where(np.arange(f.shape[1]) == f.shape[1] - 2, np.nan, f), "misses values"),
        (lambda f: f[0], "shape"),
    ],
)
def test_covariates_that_do_not_reach_are_refused_by_name(predictor, change, message):
    (entry, *_) = entries("driver")
    entry["feat_dynamic_real"] = change(entry["feat_dynamic_real"])
    with pytest.raises(DataError, match=f"'s0'.*{message}"):
        list(predictor.with_sampling(covariates=True).predict([entry], 2))


def test_counts_with_an_effect_stay_counts(predictor):
    rng = np.random.default_rng(0)
    promoted = (rng.random((1, LENGTH + HORIZON)) < 0.3).astype(float)
    sold = rng.poisson(1 + 8 * promoted[0]).astype(float)
    entry = {"start": pd.Period("2024-01-01", "D"), "target": sold[:LENGTH], "feat_dynamic_real": promoted}
    (made,) = predictor.with_sampling(covariates=True, counts=True, nonnegative=True).predict([entry], 50)
    assert made.info[SUITED].gain > 0.2
    assert made.info[SUITED].counts
    assert (made.samples == np.rint(made.samples)).all()
    assert made.samples.min() >= 0
    ahead = promoted[0, LENGTH:] > 0
    assert made.mean[ahead].mean() > made.mean[~ahead].mean() + 4


# --- covariates of which only the past is known ----------------------------------------------------------------


def test_lags_are_those_that_are_known_for_every_step():
    past = np.arange(20.0)[None]
    rows = known_lags(past, 20, season=7, horizon=3)
    assert rows.shape == (2, 23)
    for row, lag in zip(rows, (3, 7), strict=True):
        np.testing.assert_array_equal(row[lag:20], past[0, : 20 - lag])
        assert np.isnan(row[:lag]).all()
    np.testing.assert_array_equal(rows[:, 20:], [[17, 18, 19], [13, 14, 15]])
    assert known_lags(past, 20, season=1, horizon=3).shape == (1, 23)
    short = known_lags(past[:, :2], 2, season=24, horizon=3)  # a day before lies before it for every step
    assert np.isnan(short[1]).all()
    np.testing.assert_array_equal(short[0], [np.nan] * 3 + past[0, :2].tolist())
    longer = known_lags(np.arange(40.0)[None], 20, season=7, horizon=3)
    np.testing.assert_array_equal(longer, rows)  # what comes after the series' end is not looked at


def test_a_covariate_that_leads_by_a_horizon_helps_and_noise_does_not():
    rng = np.random.default_rng(0)
    horizon, length = 4, 200
    leads = rng.normal(size=length + horizon)
    target = 50 + 5 * np.concatenate([np.zeros(horizon), leads])[: length + horizon] + rng.normal(size=length + horizon)
    for past, helped in ((leads, True), (rng.normal(size=length), False)):
        entry = {
            "item_id": "a",
            "start": pd.Period("2024-01-01", "D"),
            "target": target[:length],
            "past_feat_dynamic_real": past[None, :length],
        }

        def flat(dataset, count):  # type: ignore[no-untyped-def]
            for one in dataset:
                yield SampleForecast(np.full((count, horizon), np.mean(one["target"])), one["start"] + length)

        ((_, made, effect),) = predicted_around(flat, [entry], 3, partial(effect_on, season=1, horizon=horizon))
        assert (effect is not None and effect.gain > 0.2) is helped
        if helped:
            assert np.abs(made.mean - target[length:]).mean() < 3


def test_past_covariates_of_a_frame_enter():
    rng = np.random.default_rng(0)
    leads = rng.normal(size=200)
    days = pd.date_range("2024-01-01", periods=200, freq="D")
    df = pd.DataFrame({"ds": days, "y": 50 + 5 * np.roll(leads, 7) + rng.normal(size=200), "leads": leads})
    predictor = TSDiffPredictor.from_pretrained("default").with_sampling(steps=2)
    table = predictor.predict_df(df, prediction_length=7, past_covariates=["leads"], num_samples=4)
    assert next(iter(table.attrs["covariates"].values())) > 0.2
    scored = predictor.cross_validation_df(df, prediction_length=7, past_covariates=["leads"], num_samples=4)
    assert len(scored) == 7
