"""The forecaster as a GluonTS predictor: what it returns, what that depends on, what it refuses."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.dataset.common import ListDataset
from gluonts.dataset.pandas import PandasDataset
from gluonts.dataset.split import split
from gluonts.ev.metrics import MeanWeightedSumQuantileLoss
from gluonts.evaluation import make_evaluation_predictions
from gluonts.model import evaluate_model
from gluonts.model.predictor import Predictor

from shared.console.notes import Note
from shared.errors import CheckpointError, ConfigError, DataError
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator
from tsdiff import Sampling, TSDiffEstimator, TSDiffPredictor
from tsdiff.data import SeriesStore, load_dataset


def forecasts(predictor: TSDiffPredictor, entries: Any, num_samples: int = 6) -> list[np.ndarray]:
    return [forecast.samples for forecast in predictor.predict(entries, num_samples)]


def assert_same(left: list[np.ndarray], right: list[np.ndarray], exact: bool = False) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        scale = np.abs(one).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=0 if exact else 1e-4 * scale)


# --- GluonTS -----------------------------------------------------------------------------------------------


def test_forecasts_carry_name_start_and_shape(trained):
    entries = sines()
    found = list(trained.predict(entries, num_samples=5))
    assert trained.prediction_length == HORIZON
    assert [forecast.item_id for forecast in found] == ["s0", "s1", "s2"]
    for forecast, entry in zip(found, entries, strict=True):
        assert forecast.start_date == entry["start"] + len(entry["target"])
        assert forecast.samples.shape == (5, HORIZON)
        assert np.isfinite(forecast.samples).all()
    assert trained.nfe == trained.sampling.steps


def test_gluonts_evaluates_it(trained):
    _, template = split(
        PandasDataset(
            {e["item_id"]: pd.Series(e["target"], pd.period_range(e["start"], periods=200, freq="h")) for e in sines()}
        ),
        offset=-HORIZON,
    )
    test = template.generate_instances(HORIZON)
    levels = [0.1, 0.5, 0.9]
    scores = evaluate_model(trained, test_data=test, metrics=[MeanWeightedSumQuantileLoss(levels)])
    truth = np.stack([label["target"] for label in test.label])
    made = list(trained.predict(test.input, num_samples=100))
    below = [truth - np.stack([forecast.quantile(level) for forecast in made]) for level in levels]
    losses = [2 * np.maximum(level * gap, (level - 1) * gap).sum() for level, gap in zip(levels, below, strict=True)]
    assert float(scores.iloc[0, 0]) == pytest.approx(np.mean(losses) / np.abs(truth).sum(), rel=1e-4)
    assert float(scores.iloc[0, 0]) < 0.1


def test_make_evaluation_predictions_takes_a_list_dataset(trained):
    dataset = ListDataset([{**e, "start": e["start"].to_timestamp()} for e in sines()], freq="h")
    made, truth = make_evaluation_predictions(dataset, trained, num_samples=4)
    for forecast, series in zip(made, truth, strict=True):
        assert forecast.start_date == series.index[-HORIZON]
        assert forecast.samples.shape == (4, HORIZON)


def test_hours_are_hours_in_whichever_spelling(trained):
    """A dataset of "60min" was refused by a predictor of "h"; its forecasts keep the spelling, as GluonTS needs it."""
    told = [{**e, "start": pd.Period(e["start"].to_timestamp(), freq="60min")} for e in sines()]
    assert_same(forecasts(trained, told), forecasts(trained, sines()), exact=True)
    assert next(iter(trained.predict(told, 2))).start_date.freqstr == "60min"
    assert TSDiffEstimator("60min", HORIZON).config.freq == "h"
    mixed = [sines()[0], *told[1:]]
    assert load_dataset(mixed).freq == "h"
    with SeriesStore.of(mixed) as store:
        assert [store.start(place) for place in range(len(mixed))] == [entry["start"] for entry in sines()]


def test_samples_below_the_minimum_are_raised_to_it_and_the_others_are_kept(trained):
    entries = sines()
    free, level = forecasts(trained, entries), float(np.median(forecasts(trained, entries)[0]))
    bounded = forecasts(trained.with_sampling(minimum=level), entries)
    for one, other in zip(free, bounded, strict=True):
        np.testing.assert_array_equal(other, np.maximum(one, level))
    with pytest.raises(ConfigError, match="minimum"):
        Sampling(minimum=float("nan"))


def test_sines_are_forecast_better_than_by_their_last_value(trained):
    entries = sines()
    histories = [{**e, "target": e["target"][:-HORIZON]} for e in entries]
    ours = forecasts(trained, histories, 20)
    error = naive = 0.0
    for samples, entry in zip(ours, entries, strict=True):
        actual = entry["target"][-HORIZON:]
        error += float(np.abs(np.median(samples, axis=0) - actual).sum() / entry["target"].mean())
        naive += float(np.abs(entry["target"][-HORIZON - 1] - actual).sum() / entry["target"].mean())
    assert error < 0.5 * naive


# --- what a forecast depends on ----------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", ["mse", pytest.param("quantile", marks=pytest.mark.slow)])
def test_forecasts_do_not_depend_on_batch_order_or_chunk(trained, guidance):
    predictor, entries, draws = trained.with_sampling(guidance=guidance), sines(3), 3
    whole = forecasts(predictor, entries, draws)
    assert_same(forecasts(predictor, entries, draws), whole, exact=True)
    for rows in (1, 2, 7):
        assert_same(forecasts(predictor.with_sampling(batch_rows=rows), entries, draws), whole)
    assert_same(forecasts(predictor, entries[::-1], draws)[::-1], whole)
    assert_same(forecasts(predictor, entries[:2], draws) + forecasts(predictor, entries[2:], draws), whole)
    assert_same(forecasts(predictor, iter(entries), draws), whole, exact=True)


def test_more_samples_begin_with_the_same_ones(trained):
    few, many = forecasts(trained, sines(2), 3), forecasts(trained, sines(2), 9)
    assert_same([samples[:3] for samples in many], few)


def test_seed_name_and_time_change_the_samples_but_the_global_state_does_not(trained):
    (base,) = forecasts(trained, sines(1))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (the legacy state is what must not matter)
    assert_same(forecasts(trained, sines(1)), [base], exact=True)
    (seeded,) = forecasts(trained.with_sampling(seed=1), sines(1))
    (named,) = forecasts(trained, [{**sines(1)[0], "item_id": "other"}])
    assert not np.allclose(seeded, base)
    assert not np.allclose(named, base)


def test_entries_are_read_as_they_are_needed_and_not_changed(trained):
    read = []

    def endless():
        place = 0
        while True:
            read.append(place)
            yield sines(1)[0]
            place += 1

    found = trained.with_sampling(batch_rows=12).predict(endless(), num_samples=6)
    next(found)
    assert len(read) == 2
    entry = sines(1)[0]
    before = entry["target"].copy()
    forecasts(trained, [entry])
    np.testing.assert_array_equal(entry["target"], before)


@pytest.mark.parametrize("factor", [1e-6, 1e12])
def test_forecasts_scale_with_the_series(trained, factor):
    entry = sines(1)[0]
    scaled = {**entry, "target": entry["target"] * np.float32(factor)}
    assert_same([forecasts(trained, [scaled])[0] / factor], forecasts(trained, [entry]))


# --- missing values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["random", "block", "end", "whole context"])
def test_missing_history_still_gives_forecasts_of_the_right_size(trained, missing):
    entry = sines(1)[0]
    target = entry["target"]
    places = {
        "random": np.random.default_rng(0).random(len(target)) < 0.4,
        "block": (np.arange(len(target)) > 186) & (np.arange(len(target)) < 194),
        "end": np.arange(len(target)) >= 196,
        "whole context": np.arange(len(target)) >= 200 - CONTEXT,
    }[missing]
    level = target.mean()
    target[places] = np.nan
    (samples,) = forecasts(trained, [entry], 20)
    assert np.isfinite(samples).all()
    assert samples.mean() == pytest.approx(level, rel=0.3)
    truth = 10 * (1.5 + np.sin(2 * np.pi * np.arange(200, 200 + HORIZON) / 8))
    error = np.abs(np.median(samples, axis=0) - truth).mean()
    assert error < (0.8 if missing == "whole context" else 0.5) * np.abs(level - truth).mean()


@pytest.mark.parametrize("length", [1, 3, CONTEXT - 1, CONTEXT])
def test_short_series_are_forecast(trained, length):
    entry = sines(1)[0]
    (samples,) = forecasts(trained, [{**entry, "target": entry["target"][:length]}])
    assert samples.shape == (6, HORIZON)
    assert samples.mean() == pytest.approx(entry["target"][:length].mean(), rel=0.2)
    assert 0 < samples.min() < samples.max() < 40


def test_infinities_count_as_missing_and_it_is_said(trained):
    entry, holed = sines(1)[0], sines(1)[0]
    entry["target"][-3], holed["target"][-3] = np.inf, np.nan
    with pytest.warns(UserWarning, match="series 's0': 1 infinity treated as missing"):
        found = forecasts(trained, [entry])
    assert_same(found, forecasts(trained, [holed]), exact=True)


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.full(40, np.nan)}, "series 's0' holds no observed value; leave it out"),
        ({"target": np.array([])}, "series 's0' holds no observed value"),
        ({"target": np.ones((2, 40))}, r"series 's0' has a target of shape \(2, 40\)"),
        ({"start": pd.Period("2024-01-01", freq="D")}, "series 's0' has frequency D; .* 'h'"),
        ({"start": pd.Timestamp("2024-01-01")}, "series 's0' starts at Timestamp"),
    ],
)
def test_entries_that_cannot_be_forecast_are_refused_by_name(trained, change, message):
    with pytest.raises(DataError, match=message):
        forecasts(trained, [{**sines(1)[0], **change}])


def test_settings_that_cannot_be_are_refused_at_once(trained):
    with pytest.raises(ConfigError, match="num_samples=0"):
        trained.predict(sines(), num_samples=0)
    for keyword in ("nsamples", "parallel_predictors"):  # of which the second is no setting of the sampling either
        with pytest.raises(ConfigError, match=f"predict does not take {keyword}, only num_samples"):
            trained.predict(sines(), **{keyword: 4})
    for bad in (
        {"steps": 0},
        {"scale": -1.0},
        {"scale": np.nan},
        {"guidance": "l1"},
        {"method": "x"},
        {"batch_rows": 0},
    ):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            Sampling(**bad)
    with pytest.raises(ConfigError, match="device 'abacus' cannot be used here"):
        TSDiffPredictor(trained.model, device="abacus")


def test_a_guidance_that_diverges_names_the_series(trained):
    with pytest.raises(DataError, match=r"forecast of series s0 .* is not finite.*lower `scale`"):
        forecasts(trained.with_sampling(scale=1e9, steps=30), sines(1))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_callers_autograd_mode_does_not_matter(trained, mode):
    expected = forecasts(trained, sines(1))
    with mode():
        assert_same(forecasts(trained, sines(1)), expected, exact=True)
        trained.model.sample(1, steps=2)
    assert_same(forecasts(trained, sines(1)), expected, exact=True)


# --- on disk -----------------------------------------------------------------------------------------------


def test_a_serialised_predictor_forecasts_the_same(trained, tmp_path):
    predictor = trained.with_sampling(steps=5, seed=3)
    predictor.serialize(tmp_path / "p")
    expected = forecasts(predictor, sines())
    for loaded in (TSDiffPredictor.deserialize(tmp_path / "p"), Predictor.deserialize(tmp_path / "p")):
        assert loaded.sampling == predictor.sampling
        assert_same(forecasts(loaded, sines()), expected, exact=True)
    own = TSDiffPredictor.from_pretrained(tmp_path / "p", Sampling(steps=2))
    assert own.sampling.steps == 2


def test_a_shorter_horizon_is_the_first_part_and_is_saved(trained, tmp_path):
    dataset = sines()
    whole, first = (list(one.predict(dataset, 6)) for one in (trained, trained.with_horizon(3)))
    for one, other in zip(whole, first, strict=True):
        np.testing.assert_array_equal(one.samples[:, :3], other.samples)
        assert (one.start_date, one.item_id) == (other.start_date, other.item_id)
    trained.with_horizon(3).serialize(tmp_path)
    again = TSDiffPredictor.from_pretrained(tmp_path)
    assert again.prediction_length == 3
    assert again.adapted("h", 2).prediction_length == 2
    np.testing.assert_array_equal(next(again.predict(dataset, 6)).samples, first[0].samples)


def test_a_shorter_horizon_needs_covariates_of_its_own_steps_alone():
    entries = [{**entry, "feat_dynamic_real": entry["target"][None]} for entry in sines()]
    predictor = tiny_estimator(2, dynamic_features=1).train(entries, progress=False)
    known = [{**entry, "target": entry["target"][:197]} for entry in entries]
    assert [one.samples.shape for one in predictor.with_horizon(3).predict(known, 2)] == [(2, 3)] * 3
    with pytest.raises(DataError, match="covers 200 steps, 201 are needed"):
        next(predictor.with_horizon(4).predict(known, 2))


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"stepz": 3}), json.dumps({"steps": 0})])
def test_damaged_sampling_settings_are_refused(trained, tmp_path, text):
    trained.serialize(tmp_path)
    (tmp_path / "sampling.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"sampling\.json"):
        TSDiffPredictor.deserialize(tmp_path)


def test_guidance_of_a_model_that_takes_none_is_told(trained, default):
    with pytest.warns(Note, match="takes no guidance; left out: guidance, scale$"):
        default.with_sampling(guidance="quantile", scale=2.0, covariance=None, steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        default.with_sampling(guidance="mse", seed=1)
        trained.with_sampling(guidance="quantile", scale=2.0)


# --- frames ------------------------------------------------------------------------------------------------


def long_frame() -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "shop": e["item_id"],
                "day": pd.date_range(e["start"].to_timestamp(), periods=200, freq="h"),
                "sales": e["target"],
            }
        )
        for e in sines()
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_shuffled_frame_with_gaps_is_forecast_like_its_entries(trained):
    frame = long_frame()
    holed = frame.drop(index=[190, 191, 350])
    holes = sines()
    holes[0]["target"][190:192] = np.nan
    holes[1]["target"][150] = np.nan
    shuffled = holed.sample(frac=1.0, random_state=3)
    found = trained.forecast_df(shuffled, target="sales", item_id="shop", timestamp="day", num_samples=6)
    assert list(found.columns[:3]) == ["shop", "day", "mean"]
    assert len(found) == 3 * HORIZON
    nonnegative = trained.with_sampling(nonnegative=True)  # as a frame's forecasts are, where the data is
    for samples, entry in zip(forecasts(nonnegative, holes), holes, strict=True):
        rows = found[found["shop"] == entry["item_id"]]
        np.testing.assert_allclose(rows["mean"], samples.mean(0), rtol=1e-4)
        first = (entry["start"] + 200).to_timestamp()
        assert list(rows["day"]) == list(pd.date_range(first, periods=HORIZON, freq="h"))
        assert (rows["0.1"] <= rows["0.5"]).all()
        assert (rows["0.5"] <= rows["0.9"]).all()


def test_a_frame_with_a_missing_column_is_refused_by_name(trained):
    with pytest.raises(DataError, match="no column 'price'"):
        trained.forecast_df(long_frame(), target="price", item_id="shop", timestamp="day")


def test_a_frame_of_another_frequency_is_refused(trained):
    frame = long_frame().assign(day=lambda f: f.day + pd.to_timedelta(f.groupby("shop").cumcount() * 30, unit="min"))
    with pytest.raises(DataError, match="not on the grid of frequency 'h'"):
        trained.forecast_df(frame, target="sales", item_id="shop", timestamp="day")
