"""Short series and long lags are padded, and it is said once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator
from tsdiff import TSDiffPredictor

SHORT = [{**entry, "target": entry["target"][:5]} for entry in sines(7)]


def test_short_histories_are_said_once_for_all(trained: TSDiffPredictor):
    quick = trained.with_sampling(steps=2, batch_rows=2)
    with pytest.warns(UserWarning, match="series") as said:
        forecasts = list(quick.predict([*SHORT, *sines(1)], 2))
    (message,) = {str(w.message) for w in said}
    assert message.startswith(
        f"7 series ('s0', 's1', 's2', 's3', 's4' and 2 more) are shorter than a window's {CONTEXT}"
    )
    assert all(np.isfinite(forecast.samples).all() for forecast in forecasts)
    with pytest.warns(UserWarning, match="series 's0' is shorter"):
        list(quick.impute([{**SHORT[0], "target": np.array([1.0, np.nan, 2.0])}], 2))
    with pytest.warns(UserWarning, match="series 's0' is shorter"):
        list(trained.refine(trained.with_sampling(steps=2).predict(SHORT[:1], 2), SHORT[:1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(quick.predict(sines(1), 2))


def test_a_lag_longer_than_the_history_counts_as_missing_and_is_said():
    with pytest.warns(UserWarning, match=r"3 series .* are shorter than the longest lag's 300 steps"):
        predictor = tiny_estimator(steps=2, lags=(24, 300)).train(sines(), progress=False)
    with pytest.warns(UserWarning, match="the longest lag's 300"):
        (forecast,) = predictor.with_sampling(steps=2).predict(sines(1), 2)
    assert forecast.samples.shape == (2, HORIZON)
    assert np.isfinite(forecast.samples).all()
