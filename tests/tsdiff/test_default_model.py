"""The bundled model of all frequencies: it forecasts what it is given, at once."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recipes.default_forecaster.default import CONFIG
from recipes.default_forecaster.generators import generate
from shared.errors import ConfigError
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.commands import forecast
from tsdiff.commands.options import Forecast
from tsdiff.data import embedded_series, split_windows
from tsdiff.evaluation.metrics import best_seasonal_naive, evaluate
from tsdiff.model.model import BUNDLED
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.config import ANY_FREQ

FOLDER = BUNDLED / "default"


@pytest.mark.parametrize("change", [{}, {"counts": True}, {"covariates": True}])
@pytest.mark.parametrize("horizon", [14, 150])
def test_samples_are_within_what_is_possible(change, horizon):
    """A share near its top, drawn at once, from own draws, and with what is met after the draws."""
    noise = np.random.default_rng(0).normal(size=200)
    entry = {"start": pd.Period("2024-01-01", freq="D"), "target": np.minimum(98 + 2 * noise, 100), "item_id": "a"}
    predictor = TSDiffPredictor.from_pretrained("default").adapted("D", horizon)
    (free,) = predictor.with_sampling(**change).predict([entry], 40)
    (made,) = predictor.with_sampling(maximum=99.5, minimum=95.0, **change).predict([entry], 40)
    assert free.samples.max() == 100  # which its values show, reached so often
    assert free.samples.min() < 95
    assert 95 == made.samples.min() < made.samples.max() == 99.5


def test_bounds_that_cross_are_refused():
    with pytest.raises(ConfigError, match=r"minimum=5.*maximum=3"):
        Sampling(minimum=5.0, maximum=3.0)


def test_it_loads_without_a_note() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TSDiffPredictor.from_pretrained("default")


def test_it_forecasts_alike_where_torch_makes_doubles_by_default(
    default: TSDiffPredictor, double_by_default: None
) -> None:
    values = 2 + np.sin(np.arange(300) * 2 * np.pi / 24)
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=300, freq="h"), "y": values})
    again = TSDiffPredictor.from_pretrained("default")
    pd.testing.assert_frame_equal(
        again.predict_df(frame, prediction_length=24), default.predict_df(frame, prediction_length=24)
    )


def test_it_is_bundled_small_and_has_a_card() -> None:
    model = TSDiff.from_pretrained("default")
    assert replace(model.config, sde=CONFIG.sde) == CONFIG
    assert model.config.freq == ANY_FREQ
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 8e6
    card = (FOLDER / "README.md").read_text(encoding="utf-8").lower()
    for word in ("licence", "recipes/train_default_forecaster.py", "limits", "crps", "cpu"):
        assert word in card


def test_it_forecasts_the_embedded_data_better_than_seasonal_naive(default: TSDiffPredictor) -> None:
    test = split_windows(list(embedded_series())[:4], 24, 1).test
    predictor = default.adapted("h", 24)
    scores = evaluate(list(predictor.predict(test.input, 30)), test)
    _, naive = best_seasonal_naive(test, (24, 168))
    assert scores.crps < naive.crps


@pytest.mark.parametrize(("freq", "horizon"), [("15min", 24), ("D", 14), ("B", 10), ("W", 8), ("M", 12), ("QE", 4)])
def test_it_forecasts_every_frequency_and_horizon(default: TSDiffPredictor, freq: str, horizon: int) -> None:
    series = generate(freq, 20, 150 + horizon, np.random.default_rng(5), {"product": 1.0})
    entries = [{"start": series.periods[0], "target": row} for row in series.values]
    test = split_windows(entries, horizon, 1).test
    scores = evaluate(list(default.adapted(freq, horizon).predict(test.input, 30)), test)
    _, naive = best_seasonal_naive(test, (1,))
    assert scores.crps < 0.9 * naive.crps
    assert scores.coverage_90 > 0.5


@pytest.mark.parametrize("steps", [3, 28, 150])
def test_an_adapted_model_takes_another_horizon_as_the_first_would(
    default: TSDiffPredictor, steps: int, tmp_path: Path
) -> None:
    """A forecaster of one step went on to 28 in 28 pieces, a half worse."""
    week = {"start": pd.Period("2024-01-01", freq="D"), "target": np.tile([1.0, 2, 3, 4, 5, 9, 9], 20)}
    (wanted,) = default.adapted("D", steps).predict([week], 8)
    other = default.adapted("D", 12).with_horizon(steps)
    other.serialize(tmp_path)
    for one in (other, default.adapted("D", 1).adapted("D", steps), TSDiffPredictor.from_pretrained(tmp_path)):
        (made,) = one.predict([week], 8)
        np.testing.assert_array_equal(made.samples, wanted.samples)
    assert other.config.reach == default.config.prediction_length


def test_a_horizon_beyond_its_reach_comes_in_pieces(default: TSDiffPredictor) -> None:
    steps = np.arange(400)
    target = 10 + np.sin(2 * np.pi * steps / 24) + 0.05 * np.random.default_rng(0).normal(size=400)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", freq="h"), "target": target[:250]}
    predictor = default.adapted("h", 150)
    (made,) = predictor.predict([entry], 10)
    assert made.samples.shape == (10, 150)
    assert made.start_date == pd.Period("2024-01-01", freq="h") + 250
    assert np.abs(np.median(made.samples, axis=0) - target[250:]).mean() < 0.5


@pytest.mark.parametrize("horizon", [129, 200])
def test_beyond_its_reach_it_knows_as_much_of_the_past(default: TSDiffPredictor, horizon: int) -> None:
    steps = np.arange(1500 + horizon)
    year, week = 30 * np.sin(2 * np.pi * steps / 365.25), 20 * np.sin(2 * np.pi * steps / 7)
    target = 100 + year + week + 3 * np.random.default_rng(1).normal(size=len(steps))
    entry = {"item_id": "a", "start": pd.Period("2018-01-01", freq="D"), "target": target[:1500]}
    (near,) = default.adapted("D", 128).predict([entry], 20)
    other, far = default.adapted("D", horizon).predict([{**entry, "item_id": "b", "target": -target[:900]}, entry], 20)
    np.testing.assert_allclose(far.samples[:, :128], near.samples, rtol=1e-5)
    assert other.samples.shape == far.samples.shape == (20, horizon)
    assert np.abs(np.median(far.samples, axis=0) - target[1500:])[128:].mean() < 8


def noisy_week(count: int) -> np.ndarray:
    return 1000 + 20 * np.sin(2 * np.pi * np.arange(count) / 7) + 2 * np.random.default_rng(5).normal(size=count)


@pytest.mark.parametrize("missing", [30, 600, 2600])
def test_a_series_that_ended_long_ago_goes_on(default: TSDiffPredictor, missing: int) -> None:
    target = np.r_[noisy_week(200), np.full(missing, np.nan)]
    for horizon in (14, 140):
        entry = {"item_id": "a", "start": pd.Period("2021-01-04", freq="D"), "target": target}
        (made,) = default.adapted("D", horizon).predict([entry], 20)
        truth = 1000 + 20 * np.sin(2 * np.pi * np.arange(200 + missing + horizon) / 7)[-horizon:]
        low, middle, high = np.quantile(made.samples, [0.05, 0.5, 0.95], axis=0)
        assert np.abs(middle - truth).mean() < 8
        assert ((low <= truth) & (truth <= high)).mean() > 0.8
        assert (high - low).mean() < 200


@pytest.mark.parametrize("after", [1, 3, 7])
def test_a_gap_before_the_last_values_is_not_taken_for_a_line(default: TSDiffPredictor, after: int) -> None:
    target = noisy_week(200)
    target[-30 - after : -after] = np.nan
    entry = {"item_id": "a", "start": pd.Period("2021-01-04", freq="D"), "target": target}
    (made,) = default.adapted("D", 14).predict([entry], 40)
    truth = 1000 + 20 * np.sin(2 * np.pi * np.arange(214) / 7)[-14:]
    assert np.abs(np.median(made.samples, axis=0) - truth).mean() < 4


def test_counts_stay_above_zero_and_others_do_not(default: TSDiffPredictor) -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, 200).astype(float)
    entries = [
        {"item_id": name, "start": pd.Period("2024-01-01", freq="D"), "target": target}
        for name, target in (("counts", counts), ("signed", counts - counts.mean()))
    ]
    lowest = [made.samples.min() for made in default.adapted("D", 7).predict(entries, 30)]
    assert lowest[0] >= 0
    assert lowest[1] < -0.1


def test_intermittent_demand_of_gluonts_entries_is_drawn_as_counts() -> None:
    """As `predict_df` draws it: 23 % of the samples were 0, where 74 % of the values are."""
    sold = np.random.default_rng(0).poisson(0.3, 400).astype(float)
    predictor = TSDiffPredictor.from_pretrained("default").adapted("D", 14)
    (made,) = predictor.predict([{"start": pd.Period("2024-01-01", "D"), "target": sold}], 100)
    assert set(np.unique(made.samples)) <= set(np.unique(sold))
    assert (made.samples == 0).mean() == pytest.approx((sold[-200:] == 0).mean(), abs=0.02)
    assert made.samples.mean() == pytest.approx(sold[-200:].mean(), rel=0.05)
    (plain,) = predictor.with_sampling(counts=False).predict([{"start": pd.Period("2024-01-01", "D"), "target": sold}])
    assert not set(np.unique(plain.samples)) <= set(np.unique(sold))


def test_it_has_to_be_told_what_to_forecast(default: TSDiffPredictor) -> None:
    entry = {"start": pd.Period("2024-01-01", freq="h"), "target": np.arange(50.0)}
    with pytest.raises(ConfigError, match="adapted"):
        list(default.predict([entry]))
    with pytest.raises(ConfigError, match="adapted"):
        default.model.sample(1)
    with pytest.raises(ConfigError, match="reaches"):
        default.model.adapted("h", 500)
    with pytest.raises(ConfigError, match="of 'h'"):
        default.adapted("h", 24).adapted("D", 24)
    assert default.model.adapted("D", 7).sample(2, steps=2).shape == (2, CONFIG.length, 1)


def test_an_adapted_model_is_saved_and_comes_back(default: TSDiffPredictor, tmp_path: Path) -> None:
    predictor = default.adapted("D", 7)
    predictor.serialize(tmp_path)
    back = TSDiffPredictor.deserialize(tmp_path)
    assert (back.freq, back.prediction_length, back.sampling) == ("D", 7, predictor.sampling)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", freq="D"), "target": np.sin(np.arange(60.0))}
    (one,), (two,) = predictor.predict([entry], 5), back.predict([entry], 5)
    np.testing.assert_allclose(one.samples, two.samples, rtol=1e-5)


@pytest.mark.slow
def test_no_train_forecasts_the_embedded_data_from_the_command(tmp_path: Path) -> None:
    forecast.main(Forecast(no_train=True, windows=2, samples=10, output=tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["seconds"]["train"] == 0
    assert metrics["model"]["crps"] < metrics["seasonal_naive"]["crps"]
    with pytest.raises(ConfigError, match="--retrain"):
        forecast.main(Forecast(no_train=True, retrain=True, output=tmp_path))
