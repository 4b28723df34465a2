"""How wide forecasts are drawn, by windows that the model has not seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.data import split_windows
from tsdiff.fitting.widths import WIDTHS, chosen, with_fitted_width


@pytest.fixture(scope="module")
def noise() -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    start = pd.Period("2024-01-01", "D")
    return [{"start": start, "target": 50 + rng.normal(size=140), "item_id": str(place)} for place in range(16)]


@pytest.mark.parametrize(("wrong", "wanted"), [(0.4, (1.25, 1.6)), (1.0, (0.9, 1.1)), (2.5, (0.6, 0.7))])
def test_too_narrow_is_widened_and_too_wide_narrowed(
    noise: list[dict[str, object]], wrong: float, wanted: tuple[float, float]
) -> None:
    """By a model whose noise at the start is wrong."""
    base = TSDiffPredictor.from_pretrained("default").adapted("D", 14).with_sampling(anchor_share=0.0)
    narrow = base.with_sampling(temperature=wrong * base.sampling.temperature)
    found = with_fitted_width(narrow, split_windows(noise, 14, 2).test).sampling.width
    assert wanted[0] <= found <= wanted[1]


def test_a_width_that_was_given_stays(noise: list[dict[str, object]]) -> None:
    given = TSDiffPredictor.from_pretrained("default").adapted("D", 14).with_sampling(width=0.95)
    assert with_fitted_width(given, split_windows(noise, 14, 1).test) is given


def test_what_is_not_surely_better_is_not_taken() -> None:
    usual, rng = WIDTHS.index(1.0), np.random.default_rng(0)
    flat = np.tile(rng.normal(5, 1, 30), (len(WIDTHS), 1))
    flat[2] -= np.resize([1.0, -0.9], 30)  # better by chance
    assert chosen(flat) == usual
    sloping = flat + np.linspace(1, 0, len(WIDTHS))[:, None]
    assert chosen(sloping) == len(WIDTHS) - 1
    assert chosen(sloping[:, :1]) == usual  # one window tells nothing


def test_a_training_that_holds_windows_back_fits_its_width(noise: list[dict[str, object]]) -> None:
    """After a few steps a model draws far too widely."""
    estimator = TSDiffEstimator("D", 14, from_data=()).with_training(max_steps=8)
    assert estimator.train(noise, progress=False, hold_out=True).sampling.width < 1
    assert estimator.train(noise, progress=False, hold_out=False).sampling.width == 1
