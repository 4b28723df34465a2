"""Scenarios of missing values in the context, and how a conditional model is trained on them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator, windows_of
from tsdiff.windows.inputs import known_features
from tsdiff.windows.missing import MissingContext
from tsdiff.windows.source import WindowSource

SCENARIOS = ("RM", "BM-B", "BM-E")


@settings(max_examples=50, deadline=None)
@given(
    scenario=st.sampled_from(SCENARIOS), rate=st.floats(0, 0.99), context=st.integers(1, 60), seed=st.integers(0, 99)
)
def test_a_share_of_the_context_is_hidden_and_nothing_else(scenario, rate, context, seed):
    target = np.arange(1.0, 41.0)
    masked = MissingContext(scenario, rate).applied(target, context, np.random.default_rng(seed))
    hidden = np.isnan(masked)
    reach = min(context, 40)
    assert not hidden[: 40 - reach].any()
    np.testing.assert_array_equal(masked[~hidden], target[~hidden])
    if context <= 40:
        assert hidden.sum() == round(rate * context)
    np.testing.assert_array_equal(target, np.arange(1.0, 41.0))


def test_blackouts_lie_at_the_ends_of_the_context_and_chance_lies_anywhere():
    rng = np.random.default_rng(0)
    target = np.ones(30)
    begin, end = (np.isnan(MissingContext(s, 0.25).applied(target, 20, rng)) for s in ("BM-B", "BM-E"))
    np.testing.assert_array_equal(np.flatnonzero(begin), np.arange(10, 15))
    np.testing.assert_array_equal(np.flatnonzero(end), np.arange(25, 30))
    often = np.mean([MissingContext("RM", 0.25).hidden(20, rng) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(often, 0.25, atol=0.04)


def test_an_empty_target_stays_empty():
    assert MissingContext("RM", 0.5).applied(np.ones((2, 0)), 20, np.random.default_rng(0)).shape == (2, 0)


def test_all_channels_miss_the_same_steps():
    masked = MissingContext("RM", 0.5).applied(np.ones((3, 30)), 20, np.random.default_rng(0))
    assert (np.isnan(masked).sum(axis=0) % 3 == 0).all()


@pytest.mark.parametrize("scaling", ["mean", "standard"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_training_shows_a_conditional_network_what_it_sees_in_a_forecast(scenario, scaling):
    missing = MissingContext(scenario, 0.5)
    config = tiny_estimator(conditional=True, missing=missing, scaling=scaling, calendar="none").config
    rising = np.exp(np.arange(CONTEXT + HORIZON) / 5).astype(np.float32)
    entry = {"item_id": "r", "start": pd.Period("2024-01-01", "h"), "target": rising}
    source = WindowSource([entry], config, batch_size=1, missing=missing)
    known = source.batch(np.random.default_rng(3)).condition["known"][0]
    seen = known[:CONTEXT, 1].numpy() > 0
    assert seen.sum() == CONTEXT // 2
    past = {**entry, "target": np.where(seen, rising[:CONTEXT], np.nan)}
    there = windows_of(past, config, source.statistics)
    np.testing.assert_allclose(known.numpy(), known_features(there.values[0], there.observed[0]).numpy(), rtol=1e-5)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_unconditional_model_forecasts_whatever_is_missing(trained, scenario):
    rng = np.random.default_rng(0)
    whole = sines()
    gone = [{**e, "target": MissingContext(scenario, 0.5).applied(e["target"][:-HORIZON], CONTEXT, rng)} for e in whole]
    errors, spreads = [], []
    for forecast, entry in zip(trained.predict(gone, 20), whole, strict=True):
        truth = entry["target"][-HORIZON:]
        errors.append(np.abs(forecast.mean - truth).mean() / np.abs(entry["target"].mean() - truth).mean())
        spreads.append(np.std(forecast.samples, axis=0).mean())
    assert np.mean(errors) < 0.6  # 1 is the error of the series' mean
    assert min(spreads) > 0


def test_what_cannot_be_hidden_is_refused():
    with pytest.raises(ConfigError, match="scenario='BM'"):
        MissingContext("BM")  # type: ignore[arg-type]
    for rate in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="rate="):
            MissingContext("RM", rate)
