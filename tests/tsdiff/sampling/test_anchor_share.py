"""Quantiles of draws averaged with those of the anchor's own law."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from shared.errors import ConfigError
from tests.tsdiff.gaussian_model import gaussian_model
from tsdiff import TSDiffPredictor
from tsdiff.data.entries import Entry
from tsdiff.sampling.anchor_share import anchor_quantiles, anchor_surprise, with_anchor_share
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.anchored import residuals

NUMBERS = st.floats(-50, 50, allow_nan=False)
DRAWS = st.integers(8, 40).flatmap(lambda n: arrays(np.float64, (n, 3), elements=NUMBERS))


def hourly(length: int = 300, gap: int = 0, seed: int = 0) -> Entry:
    rng = np.random.default_rng(seed)
    steps = np.arange(length)
    values = 20 + 5 * np.sin(2 * np.pi * steps / 24) + rng.normal(0, 1, length)
    if gap:
        values[length // 2 : length // 2 + gap] = np.nan
    return {"start": pd.Period("2024-01-01", "h"), "target": values, "item_id": "a"}


@given(DRAWS, st.floats(0, 1))
def test_quantiles_are_averaged_and_ranks_stay(draws: np.ndarray, share: float) -> None:
    made = with_anchor_share(draws, share)
    own = anchor_quantiles(len(draws))[:, None]
    expected = (1 - share) * np.sort(draws, axis=0) + share * own
    np.testing.assert_allclose(np.sort(made, axis=0), expected, atol=1e-9)
    for column, theirs in zip(made.T, draws.T, strict=True):
        assert (np.diff(column[np.lexsort((column, theirs))]) >= -1e-9).all()


def test_nothing_changes_without_a_share_or_where_draws_are_too_few_for_quantiles() -> None:
    draws = np.random.default_rng(0).normal(size=(20, 4))
    np.testing.assert_array_equal(with_anchor_share(draws, 0.0), draws)
    np.testing.assert_array_equal(with_anchor_share(draws[:7], 1.0), draws[:7])
    assert not np.array_equal(with_anchor_share(draws[:8], 1.0), draws[:8])


@pytest.mark.parametrize("count", [8, 99, 1000])
def test_the_anchors_law_is_a_students_t(count: int) -> None:
    found = anchor_quantiles(count)
    law = 0.9 * stats.t(4).ppf((np.arange(count) + 0.5) / count)
    inner = np.abs(law) <= 2.1
    assert inner.mean() > 0.9 - 2 / count  # the 90 % interval
    np.testing.assert_allclose(found[inner], law[inner], rtol=1e-6)
    np.testing.assert_allclose(found, -found[::-1], atol=1e-9)
    # Beyond, the anchor's own units grow with the law, and not exponentially.
    outer = law > 2.1
    slope = (residuals(found[outer]) - residuals(np.array(2.1))) / (law[outer] - 2.1)
    np.testing.assert_allclose(slope, np.cosh(1.05), rtol=1e-6)


def test_a_whole_share_is_a_forecast_of_the_anchor_alone() -> None:
    base = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    alone = [base.with_sampling(anchor_share=1.0, temperature=t) for t in (0.8, 1.3)]
    cold, hot = (np.sort(next(iter(one.predict([hourly()], 40))).samples, axis=0) for one in alone)
    np.testing.assert_allclose(cold, hot, rtol=1e-5)


def test_paths_keep_what_joins_their_steps() -> None:
    base = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    plain, shared = (
        next(iter(base.with_sampling(anchor_share=share).predict([hourly()], 50))).samples for share in (0.0, 0.5)
    )
    np.testing.assert_array_equal(plain.argsort(axis=0), shared.argsort(axis=0))
    assert np.abs(plain - shared).max() > 0.1


@pytest.mark.parametrize("rows", [7, 30, 64])
def test_samples_do_not_depend_on_how_many_go_through_the_network_together(rows: int) -> None:
    base = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    entries = [hourly(seed=seed) | {"item_id": str(seed)} for seed in range(3)]
    whole, parts = (list(base.with_sampling(batch_rows=some).predict(entries, 20)) for some in (6400, rows))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.samples, other.samples, rtol=1e-4, atol=1e-4)


def test_gaps_are_filled_likewise() -> None:
    base = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    entry = hourly(gap=12)
    plain, alone = (
        next(iter(base.with_sampling(anchor_share=share).impute([entry], 40))).samples for share in (0.0, 1.0)
    )
    assert plain.shape == alone.shape == (40, 12)
    np.testing.assert_array_equal(plain.argsort(axis=0), alone.argsort(axis=0))
    assert np.abs(plain - alone).max() > 0.1


def test_a_model_without_an_anchor_refuses_and_says_so() -> None:
    predictor = TSDiffPredictor(gaussian_model()[0], Sampling(covariance="scalar"))
    with pytest.raises(ConfigError, match=r"anchor_share=0\.3.*no anchor"):
        list(predictor.with_sampling(anchor_share=0.3).predict([hourly()], 10))
    with pytest.raises(ConfigError, match="anchor_share"):
        replace(Sampling(), anchor_share=1.5)


def test_it_is_saved_with_a_predictor(tmp_path: Path) -> None:
    predictor = TSDiffPredictor.from_pretrained("default").adapted("h", 24)
    assert predictor.sampling.anchor_share == 0.65
    predictor.with_sampling(anchor_share=0.2).serialize(tmp_path)
    assert TSDiffPredictor.deserialize(tmp_path).sampling.anchor_share == 0.2


def test_surprise_is_the_chance_that_the_law_s_quantiles_tell() -> None:
    count = 2001
    away, middle = np.abs(residuals(anchor_quantiles(count))), (np.arange(count) + 0.5) / count
    np.testing.assert_allclose(anchor_surprise(away), -np.log(2 * np.minimum(middle, 1 - middle)), atol=1e-9)
    far = anchor_surprise(np.array([0.0, 1e3, 1e4, 1e300, np.nan]))
    assert far[0] == pytest.approx(0, abs=1e-12)
    assert far[2] - far[1] == pytest.approx(4 * np.log(10), rel=1e-2)  # a tail of four degrees of freedom
    assert np.isfinite(far[3])
    assert np.isnan(far[4])
