"""Constants, small noise on high levels, and units: forecasts follow the level, and spread as the series does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.tsdiff.conftest import HORIZON, sines, windows_of
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.data import series_from_gluonts
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.windows.scales import Statistics, context_scale
from tsdiff.windows.source import WindowSource

NAN = np.nan
NOISE = np.random.default_rng(0).normal(size=200)
NORMAL_90 = 3.29
"""Width of the central 90 % of a normal variable, in deviations."""


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").adapted("h", HORIZON)


def entry(target: object) -> dict[str, Any]:
    return {"item_id": "a", "start": pd.Period("2024-01-01", freq="h"), "target": np.asarray(target, dtype=np.float64)}


def config(**more: Any) -> TSDiffConfig:
    return TSDiffConfig("h", 4, 8, backbone=S4DConfig(patch=4, width=4, blocks=1, state=2), **more)


def samples(predictor: TSDiffPredictor, target: object, number: int = 40) -> np.ndarray:
    (made,) = predictor.predict([entry(target)], number)
    return made.samples


def width_90(drawn: np.ndarray) -> float:
    """Of the central 90 %, averaged over the horizon."""
    return float(np.subtract(*np.quantile(drawn, [0.95, 0.05], axis=0)).mean())


# --- constants ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 42.0, -7.0, 1e8, 0.1])
@pytest.mark.parametrize("which", ["default", "trained"])
def test_a_constant_series_goes_on_as_it_was(which, value, request):
    predictor = request.getfixturevalue(which)
    target = np.full(60, value)
    target[[3, 50]] = NAN
    np.testing.assert_array_equal(samples(predictor, target, 5), value)
    (filled,) = predictor.impute([entry(target)], 5)
    np.testing.assert_array_equal(filled.samples, value)


def test_a_constant_series_goes_on_beyond_the_models_reach():
    far = TSDiffPredictor.from_pretrained("default").adapted("h", 150)
    np.testing.assert_array_equal(samples(far, np.full(60, 42.0), 3), 42.0)


def test_rounding_is_no_spread(default):
    target = np.where(np.arange(60) % 2, 0.1 + 0.2, 0.3)
    assert np.ptp(target) > 0
    np.testing.assert_allclose(samples(default, target, 5), 0.3, rtol=1e-14)


def test_one_value_tells_no_spread(default):
    assert width_90(samples(default, [42.0])) > 1.0


def test_a_series_that_has_changed_may_change_again(default):
    still = np.full(200, 42.0)
    still[:60] += NOISE[:60]
    assert 0 < width_90(samples(default, still)) < 10


def test_each_channel_is_constant_on_its_own():
    model = TSDiff(config(channels=2), Statistics(0.4, 2.0))
    window = windows_of(entry([np.full(20, 5.0), NOISE[:20]]), model.config, model.statistics)
    made = window.drawn(np.ones((1, 4, 2)), None, nonnegative=False)
    np.testing.assert_array_equal(made[..., 0], 5.0)
    np.testing.assert_allclose(made[..., 1], window.to_series(np.ones((1, 1, 2)))[0, 0, 1])
    assert window.drawn(np.ones((1, 1, 2)), 6.0, nonnegative=False)[0, 0, 0] == 6.0


# --- a level -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1e4, 1e8, -1e8, 1e12])
@pytest.mark.parametrize("which", ["default", "trained"])  # "standard" and "mean" scaling
def test_the_spread_is_that_of_the_noise_whatever_the_level(which, level, request):
    drawn = samples(request.getfixturevalue(which), level + 10 * NOISE)
    assert abs(np.median(drawn) - level) < 20
    # The trained model knows sines alone, and takes the noise for one.
    assert (0.5 if which == "default" else 0.1) < width_90(drawn) / (10 * NORMAL_90) < 2


def test_a_level_is_added_to_the_forecast(default):
    free = default.with_sampling(nonnegative=False)
    # How high the level is beside the spread is told the network, and of positive series ratios are looked at.
    made = [samples(free, level + 10 * NOISE) - level for level in (-3e5, -1e8)]
    np.testing.assert_allclose(made[1], made[0], atol=1e-2)
    filled = []
    for level in (-3e5, -1e8):
        target = level + 10 * NOISE
        target[100:110] = NAN
        (made,) = free.impute([entry(target)], 5)
        filled.append(made.samples - level)
    np.testing.assert_allclose(filled[1], filled[0], atol=1e-2)


@pytest.mark.parametrize("scaling", ["mean", "standard", "last"])
def test_training_sees_the_noise_on_a_level(scaling):
    source = WindowSource([entry(1e8 + 10 * NOISE)], config(scaling=scaling), batch_size=200)
    source.measure(np.random.default_rng(0))
    x0 = source.batch(np.random.default_rng(1)).x0
    assert 0.7 < float(x0.std()) < 1.4
    assert len(x0.unique()) > 500  # single precision would leave steps of 8


def test_data_sets_keep_double_precision():
    values = 1e8 + 10 * NOISE
    (kept,) = series_from_gluonts([entry(values)])
    np.testing.assert_array_equal(kept["target"], values)
    (single,) = series_from_gluonts([{**entry(values), "target": values.astype(np.float32)}])
    assert single["target"].dtype == np.float32  # what came so gains nothing


def test_a_jump_after_a_flat_context_stays_in_reach():
    flat = 1e8 + 1e-3 * NOISE[:20]
    source = WindowSource([entry(np.r_[flat, np.full(4, 2e8)])], config(scaling="standard"), batch_size=200)
    source.measure(np.random.default_rng(0))
    assert float(source.batch(np.random.default_rng(1)).x0.abs().max()) < 50


def test_ordinary_windows_keep_the_scale_of_training():
    for target in (sines()[0]["target"], 5 + NOISE, np.r_[np.zeros(60), 1.0, 2.0]):
        found = windows_of(entry(target), config(), Statistics(0.9, 0.5))
        assert found.scale == pytest.approx(0.5 * np.abs(target[-8:]).mean())
    # Nor is a model touched whose training windows are unknown.
    unknown = windows_of(entry(1e8 + NOISE), config(), Statistics())
    assert unknown.scale == pytest.approx(1e8)


# --- units -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "factor"),
    [
        *(("default", factor) for factor in (1e-30, 1e-8, 3.7, 1e8)),
        ("trained", 1e8),
        *(pytest.param("trained", factor, marks=pytest.mark.slow) for factor in (1e-30, 1e-8, 3.7)),
    ],
)
def test_forecasts_and_gaps_scale_with_the_series(which, factor, request):
    predictor, target = request.getfixturevalue(which), 3 + NOISE
    plain, scaled = (samples(predictor, f * target, 10) for f in (1.0, factor))
    np.testing.assert_allclose(scaled / factor, plain, atol=1e-5 * float(np.abs(plain).max()))
    holed = target.copy()
    holed[100:110] = NAN
    (one,), (other,) = (predictor.impute([entry(f * holed)], 5) for f in (1.0, factor))
    np.testing.assert_allclose(other.samples / factor, one.samples, atol=1e-5 * float(np.abs(one.samples).max()))


def test_the_smallest_value_decides_whether_draws_may_be_negative():
    target = 1e8 + NOISE
    below = windows_of(entry(np.r_[target, -1.0]), config(scaling="standard"), Statistics())
    above = windows_of(entry(np.r_[target, 0.0]), config(scaling="standard"), Statistics())
    deep = np.full((1, 1, 1), -1e3)
    assert below.drawn(deep, None, nonnegative=True) < 0
    assert above.drawn(deep, None, nonnegative=True) == 0
    assert above.drawn(deep, None, nonnegative=False) < 0
    assert below.drawn(deep, -5.0, nonnegative=True) == -5.0
    assert below.drawn(-deep, None, False, maximum=7.0) == 7.0
    assert above.drawn(deep, None, True, maximum=7.0) == 0


# --- scales ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scaling", "older", "scale"), [("standard", [1.0, 5.0, 1.0, 5.0], 2.0), ("last", [1.0, 4.0, NAN, 7.0, 4.0], 3.0)]
)
def test_a_context_of_one_value_takes_the_spread_of_the_older_ones(scaling, older, scale):
    loc, found = context_scale(np.array([[5.0, NAN, 5.0]]), scaling, np.array([older]))
    assert (float(loc[0, 0]), float(found[0, 0])) == (5.0, scale)
