"""Steps of a path hang together as errors of the past did; what is said of each step stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from shared.errors import ConfigError
from tests.tsdiff.gaussian_model import gaussian_model
from tsdiff import TSDiffPredictor
from tsdiff.sampling.dependence import error_correlation, with_past_share
from tsdiff.sampling.settings import Sampling

STEPS = 14
Rng = np.random.Generator


def coherent(rng: Rng, count: int = 100, steps: int = STEPS) -> np.ndarray:
    """Draws whose steps have half of their variance in common."""
    return rng.normal(size=(count, steps)) + rng.normal(size=(count, 1))


def autoregressive(rate: float, count: int, rng: Rng, steps: int = STEPS) -> np.ndarray:
    """Errors of an autoregression that is forecast from its last value."""
    return lfilter([1.0], [1.0, -rate], rng.normal(size=(count, steps)), axis=1)


def between(paths: np.ndarray) -> float:
    """Mean correlation of two steps."""
    found = np.corrcoef(paths.T)
    return float(found[np.triu_indices(len(found), 1)].mean())


@given(st.integers(0, 1000), st.sampled_from([8, 30, 100]), st.sampled_from([2, 14, 40]), st.floats(0, 1))
def test_draws_of_each_step_stay(seed: int, count: int, steps: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    draws = coherent(rng, count, steps).astype(np.float32)
    made = with_past_share(draws, rng.normal(size=(5, steps)), share)
    np.testing.assert_array_equal(np.sort(made, axis=0), np.sort(draws, axis=0))
    np.testing.assert_array_equal(made[:, 0], draws[:, 0])
    assert made.dtype == draws.dtype


@pytest.mark.parametrize(("rate", "tolerance"), [(0.0, 0.06), (0.5, 0.1), (0.9, 0.15), (1.0, 0.15)])
def test_many_errors_tell_their_correlation(rate: float, tolerance: float) -> None:
    errors = autoregressive(rate, 500, np.random.default_rng(0))
    steps = autoregressive(rate, 200_000, np.random.default_rng(1))
    np.testing.assert_allclose(error_correlation(errors, STEPS), np.corrcoef(steps.T), atol=tolerance)


def test_errors_that_come_and_go_leave_steps_apart_and_those_of_a_walk_together() -> None:
    rng = np.random.default_rng(0)
    draws = coherent(rng)
    assert between(draws) > 0.4
    apart = with_past_share(draws, rng.normal(size=(12, STEPS)), 1.0)
    assert abs(between(apart)) < 0.1
    assert apart.sum(1).std() == pytest.approx(np.sqrt(2 * STEPS), rel=0.2)
    walk = with_past_share(draws, autoregressive(1.0, 12, rng), 1.0)
    assert between(walk) == pytest.approx(between(autoregressive(1.0, 10_000, rng)), abs=0.2)
    assert np.corrcoef(walk[:, -2], walk[:, -1])[0, 1] > 0.8


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_share_lies_between(share: float) -> None:
    rng = np.random.default_rng(1)
    draws, errors = coherent(rng), rng.normal(size=(12, STEPS))
    whole = between(with_past_share(draws, errors, 1.0))
    expected = share * whole + (1 - share) * between(draws)
    assert between(with_past_share(draws, errors, share)) == pytest.approx(expected, abs=0.06)


def test_neither_unit_nor_wild_times_matter() -> None:
    rng = np.random.default_rng(2)
    errors = autoregressive(0.5, 12, rng)
    sizes = 10.0 ** rng.uniform(-8, 8, (12, 1))
    np.testing.assert_allclose(error_correlation(errors, STEPS), error_correlation(errors * sizes, STEPS), rtol=1e-6)


def test_where_nothing_is_told_draws_stay() -> None:
    draws = coherent(np.random.default_rng(3))
    for missed in (np.zeros((0, STEPS)), np.zeros((0, 0)), np.zeros((5, STEPS)), np.ones((5, 1))):
        assert with_past_share(draws, missed, 1.0) is draws
    errors = np.ones((5, STEPS))
    assert with_past_share(draws, errors, 0.0) is draws
    assert with_past_share(draws[:7], errors, 1.0).base is draws
    single = draws[:, :1]
    assert with_past_share(single, errors, 1.0) is single


@pytest.mark.parametrize("seen", [5, 20])
def test_errors_of_fewer_or_more_steps_serve_too(seen: int) -> None:
    rng = np.random.default_rng(4)
    assert between(with_past_share(coherent(rng), autoregressive(0.0, 12, rng, seen), 1.0)) < 0.2
    found = error_correlation(autoregressive(1.0, 12, rng, seen), STEPS)
    assert found is not None
    np.testing.assert_allclose(np.diag(found), 1.0)
    assert np.linalg.eigvalsh(found).min() > 0


LAWS: dict[str, Callable[[Rng], np.ndarray]] = {
    "noise": lambda rng: 100 + rng.normal(size=300),
    "a walk": lambda rng: 100 + np.cumsum(rng.normal(size=300)),
}


def entry(law: str, seed: int = 0) -> dict[str, object]:
    values = LAWS[law](np.random.default_rng(seed))
    return {"start": pd.Period("2024-01-01", "D"), "target": values, "item_id": f"{law} {seed}"}


@pytest.fixture(scope="module")
def daily() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("D", STEPS)


@pytest.mark.parametrize(("law", "least", "most"), [("noise", -0.1, 0.2), ("a walk", 0.4, 0.9)])
def test_forecasts_of_noise_and_of_a_walk(daily: TSDiffPredictor, law: str, least: float, most: float) -> None:
    entries = [entry(law, seed) for seed in range(6)]
    plain, made = (
        [one.samples for one in daily.with_sampling(past_share=share).predict(entries)] for share in (0.0, 1.0)
    )
    for one, other in zip(plain, made, strict=True):
        np.testing.assert_array_equal(np.sort(one, axis=0), np.sort(other, axis=0))
    assert least < np.mean([between(one) for one in made]) < most


@pytest.mark.parametrize("rows", [7, 130])
def test_a_series_gets_the_same_whatever_it_is_drawn_with(daily: TSDiffPredictor, rows: int) -> None:
    entries = [entry(law, seed) for law in LAWS for seed in range(2)]
    together = [one.samples for one in daily.predict(entries, 40)]
    again = [one.samples for one in daily.predict(entries, 40)]
    apart = [one.samples for one in daily.with_sampling(batch_rows=rows).predict(entries[::-1], 40)][::-1]
    for one, same, other in zip(together, again, apart, strict=True):
        np.testing.assert_array_equal(one, same)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_gaps_are_filled_as_without(daily: TSDiffPredictor) -> None:
    gapped = entry("noise")
    values = np.asarray(gapped["target"]).copy()
    values[150:160] = values[-3:] = np.nan
    plain, made = (
        next(iter(daily.with_sampling(past_share=share).impute([gapped | {"target": values}], 20))).samples
        for share in (0.0, 1.0)
    )
    np.testing.assert_array_equal(plain, made)


def test_a_history_that_ends_in_a_gap_and_one_of_a_value(daily: TSDiffPredictor) -> None:
    gapped = entry("noise")
    values = np.asarray(gapped["target"]).copy()
    values[-5:] = np.nan
    [made] = daily.predict([gapped | {"target": values}], 100)
    assert abs(between(made.samples)) < 0.3
    [made] = daily.predict([gapped | {"target": values[:2]}], 100)
    assert np.isfinite(made.samples).all()


def test_a_model_without_an_anchor_refuses_and_says_so() -> None:
    predictor = TSDiffPredictor(gaussian_model()[0], Sampling(covariance="scalar"))
    hourly = {"start": pd.Period("2024-01-01", "h"), "target": np.arange(100.0)}
    with pytest.raises(ConfigError, match=r"past_share=0\.3.*no anchor"):
        list(predictor.with_sampling(past_share=0.3).predict([hourly], 10))


def test_it_is_saved_and_what_was_saved_before_draws_as_it_did(daily: TSDiffPredictor, tmp_path: Path) -> None:
    assert daily.sampling.past_share == 1.0
    daily.with_sampling(past_share=0.5).serialize(tmp_path)
    assert TSDiffPredictor.deserialize(tmp_path).sampling.past_share == 0.5
    settings = json.loads((tmp_path / "sampling.json").read_text())
    del settings["past_share"]
    (tmp_path / "sampling.json").write_text(json.dumps(settings))
    assert TSDiffPredictor.deserialize(tmp_path).sampling.past_share == 0.0
