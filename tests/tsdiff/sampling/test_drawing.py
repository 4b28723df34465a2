"""What draws are checked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DataError
from tsdiff import TSDiffPredictor
from tsdiff.sampling.drawing import refuse_unfinite, with_width


def test_draws_that_are_not_finite_are_refused_by_name() -> None:
    good, bad = np.ones((3, 4)), np.ones((3, 4))
    refuse_unfinite([good, good], ["forecast of series 'a'", "forecast of series 'b'"])
    for value in (np.nan, np.inf):
        bad[1, 2] = value
        with pytest.raises(DataError, match="the forecast of series 'b' is not finite: its values leave"):
            refuse_unfinite([good, bad], ["forecast of series 'a'", "forecast of series 'b'"])


@given(st.integers(8, 60), st.floats(0.2, 3), st.integers(0, 2**32 - 1))
def test_a_width_moves_draws_off_their_median_and_leaves_that_and_their_ranks(count: int, width: float, seed: int):
    draws = np.random.default_rng(seed).normal(3.0, 2.0, (count, 4))
    made = with_width(draws, width)
    middle = np.median(draws, axis=0)
    np.testing.assert_allclose(np.median(made, axis=0), middle, atol=1e-12)
    np.testing.assert_allclose(made - middle, width * (draws - middle), atol=1e-12)
    assert with_width(draws[:7], width).base is draws
    assert with_width(draws, 1.0) is draws


def test_forecasts_and_gaps_are_as_wide_as_the_setting_says() -> None:
    values = 50 + np.random.default_rng(0).normal(size=120)
    daily = TSDiffPredictor.from_pretrained("default").adapted("D", 14)
    entry = {"start": pd.Period("2024-01-01", "D"), "target": values}
    gapped = entry | {"target": np.where(np.arange(120) % 20 == 7, np.nan, values)}
    for width in (0.5, 1.5):
        other = daily.with_sampling(width=width)
        for plain, made in (
            (next(iter(daily.predict([entry], 50))).samples, next(iter(other.predict([entry], 50))).samples),
            (next(iter(daily.impute([gapped], 50))).samples, next(iter(other.impute([gapped], 50))).samples),
        ):
            apart = [np.subtract(*np.quantile(one, [0.75, 0.25], axis=0)).mean() for one in (made, plain)]
            np.testing.assert_allclose(apart[0] / apart[1], width, rtol=0.1)  # an anchor's units bend
