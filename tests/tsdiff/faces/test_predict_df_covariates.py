"""predict_df with covariates that are known ahead: what they help, and what is told of them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import HORIZON, tiny_estimator
from tests.tsdiff.faces.test_predict_df import DAYS, long, said, silent


def promoted(ids: Any = ("a", "b"), steps: int = 10) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Sales with promotions: past, future, and what happens, (ids, steps)."""
    stamps = pd.date_range("2024-01-01", periods=120 + steps, freq="D")
    rng = np.random.default_rng(3)
    whole = long(ids, stamps)
    whole["promotion"] = (rng.random(len(whole)) < 0.3).astype(int)
    whole["target"] += 20 + 8 * whole["promotion"]
    past = whole["timestamp"] < stamps[120]
    return (
        whole[past],
        whole[~past].drop(columns="target"),
        whole.loc[~past, "target"].to_numpy().reshape(len(ids), steps),
    )


@pytest.mark.parametrize("ids", [("a", "b"), (1, 2)])
def test_known_covariates_help_and_the_result_says_so(real, ids):
    past, future, actual = promoted(ids)
    with pytest.warns(Note, match="'promotion' are not used"):
        without = real.predict_df(past, prediction_length=10, num_samples=9)["0.5"]
    made = silent(real.predict_df, past, future.sample(frac=1, random_state=0), prediction_length=10)
    errors = [np.abs(column.to_numpy().reshape(actual.shape) - actual).mean() for column in (without, made["0.5"])]
    assert errors[1] < 0.5 * errors[0]
    assert min(made.attrs["covariates"].values()) > 0.3
    refused = silent(real.predict_df, past, future, prediction_length=10, covariates=False)
    assert max(refused.attrs["covariates"].values()) == 0


def test_covariates_in_another_unit_ahead_are_told(default):
    flag = np.arange(87) % 5 == 0
    df = pd.DataFrame(
        {"timestamp": pd.date_range("2024-01-01", periods=87), "target": 5.0 + flag, "promotion": 1.0 * flag}
    )
    past, future = df[:80], df[80:].drop(columns="target")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        default.predict_df(past, future, prediction_length=7, num_samples=2)
    with pytest.warns(Note, match=r"'promotion' of id 'target' leaves its past range in future_df by more than half"):
        default.predict_df(past, future.assign(promotion=100 * future["promotion"]), prediction_length=7, num_samples=2)


def test_a_covariate_called_y_is_not_silently_what_is_not_forecast(default):
    frame = pd.DataFrame({"ds": DAYS, "y": np.arange(60.0), "x": np.sin(np.arange(60.0))})
    options: dict[str, Any] = {"prediction_length": 3, "past_covariates": ["y"]}
    assert said(default.predict_df, frame, **options) == [
        "'y' is a covariate, and forecast is what columns 'x' hold; see target"
    ]
    assert said(default.predict_df, frame.assign(item_id="a"), **options) == [
        "'y' is a covariate, and forecast is what column 'x' holds; see target"
    ]
    assert not said(default.predict_df, frame.assign(item_id="a"), target="x", **options)
    with pytest.raises(ConfigError, match="target='y' is one of the covariates, too"):
        default.predict_df(frame, target="y", **options)
    with pytest.raises(ConfigError, match="target='y' is one of the covariates, too"):  # all of its future was known
        default.cross_validation_df(frame, target="y", covariates=["y"], prediction_length=3)


def test_covariates_that_tell_nothing_are_told(default):
    past, future, _ = promoted()
    flags = past["promotion"].astype(float)
    missing = past.assign(promotion=flags.where(past["item_id"] == "a"))
    assert said(default.predict_df, missing, future, prediction_length=10) == [
        "covariate 'promotion' has no value in the past of id 'b'; nothing is learnt of it there"
    ]
    (told,) = said(default.predict_df, past.assign(promotion=np.nan), future, prediction_length=10)
    assert "in the past of id 'a' and of 1 more ids" in told
    infinite = past.assign(promotion=flags.where(np.arange(len(past)) != 5, np.inf))
    assert said(default.predict_df, infinite, future, prediction_length=10) == [
        "covariate 'promotion': 1 infinity treated as missing"
    ]
    for nothing in (np.nan, np.inf):
        with pytest.raises(DataError, match="covariates 'promotion' have no value at all; leave them out"):
            default.predict_df(past.assign(promotion=nothing), past_covariates="promotion", prediction_length=10)
    assert not said(default.predict_df, past, past_covariates=["promotion", "promotion"], prediction_length=10)


def test_covariates_of_a_wide_frame_are_those_of_all_series(default):
    past, future, _ = promoted(["a"])
    wide = past.set_index("timestamp")[["target", "promotion"]].rename(columns={"target": "a"})
    wide["b"] = wide["a"] * 2
    ahead = future.set_index("timestamp")[["promotion"]]
    made = silent(default.predict_df, wide, ahead, prediction_length=10)
    assert set(made["item_id"]) == {"a", "b"} == set(made.attrs["covariates"])
    assert min(made.attrs["covariates"].values()) > 0.3


def test_covariates_of_a_wide_frame_may_have_names_of_several_levels(default):
    days = pd.date_range("2024-01-01", periods=40, name="day")
    names = pd.MultiIndex.from_tuples([("sold", "a"), ("sold", "b"), ("shown", "price")])
    past = pd.DataFrame(np.random.default_rng(0).normal(10, 1, size=(40, 3)), days, names)
    future = pd.DataFrame({("shown", "price"): [10.0, 11.0]}, days[-2:] + pd.Timedelta(days=2))
    table = default.predict_df(past, future, prediction_length=2, num_samples=2)
    assert table["item_id"].tolist() == [("sold", "a")] * 2 + [("sold", "b")] * 2


def test_covariates_that_are_missing_ahead_are_named_with_ids_and_times(default):
    past, future, _ = promoted()
    lacking = future.drop(index=future.index[[3, 12]])
    with pytest.raises(DataError) as told:
        default.predict_df(past, lacking, prediction_length=10)
    assert "'promotion' of id 'a' at 2024-05-03 00:00:00; of id 'b' at 2024-05-02 00:00:00" in str(told.value)
    with pytest.raises(DataError, match=r"of id 'b' at 2024-04-30 00:00:00, .* and 7 more"):
        default.predict_df(past, future[future["item_id"] == "a"], prediction_length=10)
    with pytest.raises(DataError, match="'promotion' of id 'a' at 2024-05-10"):
        default.predict_df(past, future, prediction_length=11)


def test_a_future_of_strangers_or_of_another_kind_is_told(default):
    past, future, _ = promoted()
    stranger = pd.concat([future, future[future["item_id"] == "a"].assign(item_id="z")])
    with pytest.warns(Note, match="ids that df does not have.*'z'"):
        default.predict_df(past, stranger, prediction_length=10, num_samples=2)
    options = {"prediction_length": 10}
    zoned = future.assign(timestamp=future["timestamp"].dt.tz_localize("UTC"))
    cases = [
        (future.rename(columns={"promotion": "sale"}), "df has no column 'sale'"),
        (future.drop(columns="promotion"), "no column besides"),
        (future.drop(columns="item_id"), "no column 'item_id'"),
        (future.assign(item_id=1), "the ids are object in df"),
        (zoned, "the times are"),
        (future.assign(promotion="yes"), "not numeric"),
        (pd.concat([future, future.assign(promotion=7)]), "different covariates for 2024-04-30 00:00:00 of id a"),
        ("future.csv", "is a str"),
    ]
    for given, message in cases:
        with pytest.raises(DataError, match=message):
            default.predict_df(past, given, **options)


@pytest.mark.parametrize("codes", [{"a": 1, "b": 10}, {"a": "one", "b": "two"}])
def test_ids_may_be_categories_in_one_frame_alone(default, codes):
    past, future, _ = promoted()
    past, future = (frame.assign(item_id=frame["item_id"].map(codes)) for frame in (past, future))
    wanted = silent(default.predict_df, past, future, prediction_length=10)
    one = silent(default.predict_df, past, future.astype({"item_id": "category"}), prediction_length=10)
    pd.testing.assert_frame_equal(one, wanted)
    two = silent(default.predict_df, past.astype({"item_id": "category"}), future, prediction_length=10)
    pd.testing.assert_frame_equal(two.assign(item_id=two["item_id"].astype(wanted["item_id"].dtype)), wanted)


def test_the_past_may_be_repeated_in_the_future_frame(default):
    past, future, _ = promoted()
    whole = pd.concat([past.drop(columns="target"), future])
    one = silent(default.predict_df, past, whole, prediction_length=10)
    two = silent(default.predict_df, past, pd.concat([future, future]), prediction_length=10)  # alike, so no question
    for made in (one, two):
        pd.testing.assert_frame_equal(made, silent(default.predict_df, past, future, prediction_length=10))


def test_fewer_steps_than_the_predictors_need_no_more_covariates(default):
    past, future, _ = promoted()
    wide = default.adapted("D", 20)
    made = silent(wide.predict_df, past, future, prediction_length=10)
    assert len(made) == 20
    assert min(made.attrs["covariates"].values()) > 0.3
    options: dict[str, Any] = {"covariates": ["promotion"], "prediction_length": 10, "quantile_levels": []}
    one, two = (silent(who.cross_validation_df, past, **options).drop(columns="mean") for who in (wide, default))
    pd.testing.assert_frame_equal(one, two)


def test_a_model_trained_with_covariates_takes_those_of_frames():
    past, future, _ = promoted(steps=HORIZON)
    for frame in (past, future):
        frame["timestamp"] = DAYS[0] + (frame["timestamp"] - DAYS[0]) / 24  # hours
    estimator = tiny_estimator(steps=3, dynamic_features=1)
    with pytest.warns(Note, match="columns 'price' are not used"):
        predictor = estimator.fit(past.assign(price=1.0), covariates="promotion", target="target", progress=False)
    made = predictor.predict_df(past, future, num_samples=2)
    assert len(made) == 2 * HORIZON
    assert "covariates" not in made.attrs  # they are not 0, "not used"
    soon = future.groupby("item_id").head(3)
    assert len(predictor.predict_df(past, soon, prediction_length=3, num_samples=2)) == 2 * 3
    with pytest.raises(ConfigError, match=f"forecasts {HORIZON} steps at most"):
        predictor.cross_validation_df(past, covariates=["promotion"], prediction_length=HORIZON + 1)
    with pytest.raises(ConfigError, match="takes 1 covariates, and 0"):
        predictor.predict_df(past)
    with pytest.raises(ConfigError, match=r"trained with promotion; .*cross_validation_df takes .*covariates=\[…\]"):
        predictor.cross_validation_df(past)
    with pytest.raises(ConfigError, match="covariates for dynamic_features=1"):
        estimator.fit(past)


def test_gaps_of_covariates_are_named_once_where_a_model_was_trained_with_them():
    """Each series had a note of its own, by a row of feat_dynamic_real, which a frame does not have."""
    stamps = pd.date_range("2024-01-01", periods=60 + HORIZON, freq="h")
    frame = pd.concat([pd.DataFrame({"item_id": name, "timestamp": stamps}) for name in "abcdef"], ignore_index=True)
    frame["target"], frame["price"] = 5 + np.sin(frame.index.to_numpy()), (frame.index.to_numpy() % 7).astype(float)
    past, future = frame[frame["timestamp"] < stamps[60]], frame[frame["timestamp"] >= stamps[60]]
    predictor = tiny_estimator(steps=1, dynamic_features=1).fit(past, covariates="price", progress=False)
    holed = past.assign(price=past["price"].where(past["timestamp"].dt.hour != 5))
    with pytest.warns(Note) as told:
        made = predictor.predict_df(holed, future.drop(columns="target"), num_samples=2)
    (note,) = [str(one.message) for one in told if "straight lines" in str(one.message)]
    assert note.startswith("series 'a': covariate 'price' misses 3 of 68 values")
    assert "and 5 more alike" in note
    assert made["mean"].notna().all()
