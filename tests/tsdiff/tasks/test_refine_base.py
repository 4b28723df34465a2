"""Refinement: of the samples, quantiles or single paths of the base forecast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import Forecast, QuantileForecast

from shared.errors import DataError
from tests.tsdiff.conftest import HORIZON, sines
from tests.tsdiff.tasks.test_refine import forecast_of, naive, refined
from tsdiff import TSDiffPredictor
from tsdiff.data.entries import read_series
from tsdiff.tasks.refinement import RefineConfig
from tsdiff.tasks.refinement.base import BaseForecast, base_paths


def as_base(forecast: Forecast, entry: dict[str, Any]) -> BaseForecast:
    return BaseForecast(forecast, read_series(entry, entry["item_id"]))


def test_samples_in_ascending_order_are_the_levels_paths():
    entry = sines(1)[0]
    samples = np.random.default_rng(0).normal(size=(9, HORIZON))
    base = as_base(forecast_of(samples, entry), entry)
    np.testing.assert_allclose(base_paths(base, 9, by_quantile=True)[..., 0], np.sort(samples, axis=0))
    np.testing.assert_array_equal(base_paths(base, 9, by_quantile=False)[..., 0], samples)
    wider = base_paths(base, 19, by_quantile=True)[..., 0]
    np.testing.assert_allclose(wider[9], np.median(samples, axis=0))
    assert (np.diff(wider, axis=0) >= 0).all()
    np.testing.assert_array_equal(base_paths(base, 18, by_quantile=False)[::2, :, 0], samples)
    np.testing.assert_array_equal(base_paths(base, 3, by_quantile=False)[..., 0], samples[::3])


@pytest.mark.parametrize("by_quantile", [True, False])
def test_one_sample_is_repeated(by_quantile):
    entry = sines(1)[0]
    base = as_base(forecast_of(np.arange(HORIZON)[None], entry), entry)
    paths = base_paths(base, 5, by_quantile)
    np.testing.assert_allclose(paths[..., 0], np.repeat(np.arange(HORIZON)[None], 5, axis=0))


def test_quantile_forecasts_give_the_paths_of_the_samples_levels(trained):
    entry = sines(1)[0]
    levels = ["0.1", "0.5", "0.9"]
    values = np.stack([np.full(HORIZON, v) for v in (8.0, 10.0, 13.0)])
    forecast = QuantileForecast(values, entry["start"] + 200, levels, item_id="s0")
    paths = base_paths(as_base(forecast, entry), 9, by_quantile=True)[..., 0]
    np.testing.assert_allclose(paths[[0, 4, 8]], values)
    assert (np.diff(paths, axis=0) >= 0).all()
    (found,) = refined(trained, [forecast], [entry])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("keys", [["mean"], ["0.5"], ["mean", "0.5"]])
def test_a_mean_or_one_quantile_alone_is_a_path(keys):
    entry = sines(1)[0]
    values = np.arange(len(keys) * HORIZON).reshape(len(keys), HORIZON)
    forecast = QuantileForecast(values, entry["start"] + 200, keys, item_id="s0")
    for by_quantile in (True, False):
        paths = base_paths(as_base(forecast, entry), 3, by_quantile)[..., 0]
        np.testing.assert_array_equal(paths, np.repeat(values[-1:], 3, axis=0))


def test_refined_forecasts_of_counts_are_counts_unless_refused():
    """Of demand of .4 a day none of the samples was 0, and one in four was below it."""
    default, rng = TSDiffPredictor.from_pretrained("default").adapted("D", HORIZON), np.random.default_rng(0)
    start = pd.Period("2024-01-01", "D")
    entries = [{"item_id": f"s{i}", "start": start, "target": rng.poisson(0.4, 200).astype(float)} for i in range(2)]
    base = [forecast_of(rng.poisson(0.4, (50, HORIZON)), entry) for entry in entries]
    config = RefineConfig(num_samples=50)
    made = np.stack([one.samples for one in default.refine(base, entries, config)])
    assert made.shape == (2, 50, HORIZON)
    assert (made == np.rint(made)).all()
    assert made.min() == 0
    assert 0.55 < (made == 0).mean() < 0.8  # .67 of them are
    plain = np.stack([one.samples for one in default.with_sampling(counts=False).refine(base, entries, config)])
    np.testing.assert_array_equal(plain, np.stack(refined(default, base, entries, config)))
    assert plain.min() < 0
    with pytest.raises(DataError, match="there are 1 forecasts but more series"):
        list(default.refine(base[:1], entries, config))


def test_one_sample_is_refined_as_the_median(trained):
    entry = sines(1)[0]
    (found,) = refined(trained, naive([entry]), [entry], num_samples=1)
    assert found.shape == (1, HORIZON)
    (three,) = refined(trained, naive([entry]), [entry], num_samples=3)
    assert not np.allclose(three[0], three[2])
