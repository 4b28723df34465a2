"""predict_df and its kin: any usual frame in, the caller's names, ids and zones out; nothing is lost in silence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import HORIZON, sines, tiny_estimator
from tsdiff import TSDiffPredictor
from tsdiff.data import load_dataset
from tsdiff.ensemble import EnsemblePredictor

DAYS = pd.date_range("2024-01-01", periods=60, freq="D")


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    """Quick: no kernels are compared. It was not adapted."""
    return TSDiffPredictor.from_pretrained("default").with_sampling(steps=1, method="ode1", covariance="scalar")


@pytest.fixture(scope="module")
def real() -> TSDiffPredictor:
    """As it ships."""
    return TSDiffPredictor.from_pretrained("default")


def long(ids: Any = ("a", "b"), stamps: pd.DatetimeIndex = DAYS, **columns: Any) -> pd.DataFrame:
    """A frame of weekly waves with noise."""
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(len(stamps)) / 7) + 0.1 * rng.normal(size=(len(ids), len(stamps)))
    parts = [
        pd.DataFrame({"item_id": one, "timestamp": stamps, "target": row}) for one, row in zip(ids, wave, strict=True)
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def silent(call: Any, *arguments: Any, **options: Any) -> pd.DataFrame:
    """The result of a call that says nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return call(*arguments, num_samples=3, **options)


# --- frames ------------------------------------------------------------------------------------------------


def test_ids_are_found_where_one_column_of_texts_tells_series_apart(default: TSDiffPredictor):
    frame = long().rename(columns={"item_id": "shop"})
    named = default.predict_df(frame, prediction_length=7, num_samples=3, id_column="shop")
    with pytest.warns(Note, match="told apart by the column 'shop'; id_column names another"):
        found = default.predict_df(frame, prediction_length=7, num_samples=3)
    pd.testing.assert_frame_equal(found, named)
    future = pd.concat(
        [frame.groupby("shop").tail(7).assign(timestamp=DAYS[-1] + pd.to_timedelta([*range(1, 8)] * 2, "D"))]
    )
    with pytest.warns(Note, match="told apart by the column 'shop'") as said:
        default.predict_df(
            frame.assign(price=1.0),
            future_df=future.drop(columns="target").assign(price=1.0),
            prediction_length=7,
            num_samples=3,
        )
    assert sum("told apart" in str(one.message) for one in said) == 1


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ({}, {}),
        ({"item_id": "unique_id", "timestamp": "ds", "target": "y"}, {}),
        ({"item_id": "unique_id", "timestamp": "ds", "target": "sold"}, {}),
        (
            {"item_id": "shop", "timestamp": "when", "target": "sold"},
            {"id_column": "shop", "timestamp_column": "when", "target": "sold"},
        ),
    ],
)
@pytest.mark.parametrize("ids", [("a", "b"), (7, 3), (2.5, 1.0)])
def test_names_and_ids_come_back(default, names, options, ids):
    given = long(ids).rename(columns=names)
    made = silent(default.predict_df, given, prediction_length=4, quantile_levels=(0.1, 0.9), **options)
    item, time = (names.get(name, name) for name in ("item_id", "timestamp"))
    assert list(made.columns) == [item, time, "mean", "0.1", "0.9"]
    assert made[item].dtype == given[item].dtype
    assert list(made[item]) == [one for one in sorted(ids) for _ in range(4)]
    assert list(made[time]) == 2 * list(pd.date_range("2024-03-01", periods=4, freq="D"))


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("ids", [("a", "y"), (10, 20)])
def test_a_wide_frame_is_forecast_like_the_long_one(default, index, ids):
    given = long(ids)
    wide = given.pivot(index="timestamp", columns="item_id", values="target")
    made = silent(default.predict_df, wide if index else wide.reset_index(), prediction_length=3)
    pd.testing.assert_frame_equal(made, silent(default.predict_df, given, prediction_length=3), check_dtype=False)
    assert list(made["item_id"].unique()) == list(ids)


@pytest.mark.parametrize("value", ["target", "y", "sold"])
def test_one_series_needs_no_ids(default, value):
    given = long(["a"]).drop(columns="item_id").rename(columns={"target": value})
    assert len(silent(default.predict_df, given, prediction_length=3)) == 3


def test_the_zone_comes_back_over_a_change_of_clocks(default):
    stamps = pd.date_range("2024-03-25", periods=130, freq="h", tz="Europe/Berlin")
    with pytest.warns(Note, match="clocks of Europe/Berlin change at 2024-03-31 03:00"):
        made = default.predict_df(long(["a"], stamps), prediction_length=40, num_samples=3)
    assert list(made["timestamp"]) == list(pd.date_range(stamps[-1], periods=41, freq="h")[1:])
    cut = silent(default.cross_validation_df, long(["a"], stamps), prediction_length=10)
    assert cut["cutoff"].unique().tolist() == [stamps[-11]]


ZONED = pd.date_range("2024-03-31 03:00", periods=1, freq="h", tz="Europe/Berlin")[0]
"""The first hour of summer time."""


@pytest.mark.parametrize(
    ("end", "steps", "freq", "told"),
    [
        (ZONED - pd.Timedelta("48h"), 47, "h", False),  # the last step is the hour before
        (ZONED - pd.Timedelta("48h"), 48, "h", True),
        (ZONED + pd.Timedelta("6D"), 2, "h", True),
        (ZONED + pd.Timedelta("6D"), 2, "15min", True),
        (ZONED + pd.Timedelta("8D"), 2, "h", False),
        (ZONED.tz_convert("UTC"), 4, "h", False),
        (ZONED.tz_localize(None), 4, "h", False),
        (ZONED.normalize(), 4, "D", False),
    ],
)
def test_a_change_of_clocks_near_a_forecast_of_hours_is_told(default, end, steps, freq, told):
    """What keeps to the local clock would be an hour off; with local times, as the warning says, it is not."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        default.predict_df(long(["a"], pd.date_range(end=end, periods=60, freq=freq)), prediction_length=steps)
    assert any("df['timestamp'].dt.tz_localize(None)" in str(one.message) for one in said) is told


@pytest.mark.parametrize("name", ["item", "time", "time of day"])
def test_a_covariate_may_have_any_name(default, name):
    """Ids and times are kept by the names that the frame has for them."""
    given = long(**{name: np.tile(np.sin(np.arange(60.0) ** 2), 2)})
    future = long(stamps=pd.date_range("2024-03-01", periods=3), **{name: 0.5}).drop(columns="target")
    made = default.predict_df(given, future, prediction_length=3, num_samples=2)
    assert set(made.attrs["covariates"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda future: pd.concat([future, future.assign(price=2.0)]), "different covariates for 2024-03-01.* of id a"),
        (
            lambda future: future.assign(timestamp=future["timestamp"] + pd.Timedelta("1h")),
            r"key='timestamp', freq='D'",
        ),
    ],
    ids=["a step twice", "off the grid"],
)
def test_covariates_that_cannot_be_are_told_in_the_frames_own_names(default, change, message):
    future = long(stamps=pd.date_range("2024-03-01", periods=3), price=1.0).drop(columns="target")
    given = long(price=np.tile(np.sin(np.arange(60.0)), 2))
    with pytest.raises(DataError, match=message):
        default.predict_df(given, change(future), prediction_length=3)
    repeated = default.predict_df(given, pd.concat([future, future]), prediction_length=3, num_samples=2)
    assert len(repeated) == 6


def test_a_season_longer_than_the_memory_is_followed_by_a_covariate(real):
    """A Monday after a weekend of which the model, which sees three days of half minutes, cannot know that it ends."""
    times = pd.date_range("2024-01-01", periods=2880 * 14 + 24, freq="30s")
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"time": times, "weekend": 1.0 * (times.dayofweek >= 5)})
    df["load"] = (
        100 + 30 * np.sin(2 * np.pi * np.arange(len(df)) / 2880) + 20 * df["weekend"] + 3 * rng.normal(size=len(df))
    )
    past, ahead = df[:-24], df[-24:]
    made = real.predict_df(past, ahead[["time", "weekend"]], prediction_length=24, num_samples=20)
    error = (made["0.5"].to_numpy() - ahead["load"].to_numpy()).mean()
    plain = silent(real.predict_df, past[["time", "load"]], prediction_length=24)
    assert abs(error) < 4 < 10 < (plain["0.5"].to_numpy() - ahead["load"].to_numpy()).mean()


def test_covariates_without_a_past_are_told_of_a_wide_frame_too(default):
    wide = long().pivot(index="timestamp", columns="item_id", values="target")
    future = pd.DataFrame({"price": 1.0}, index=pd.date_range("2024-03-01", periods=3, name="timestamp"))
    with pytest.raises(DataError, match="df has no column 'price' of covariates"):
        default.predict_df(wide, future, prediction_length=3)


def changes_told(call: Callable[[], object]) -> int:
    """How many warnings a call gives of clocks that change."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    return sum("the clocks of Europe/Berlin change at 2024-03-31 03:00" in str(one.message) for one in said)


@pytest.mark.parametrize(("windows", "told"), [(2, 0), (3, 1), (20, 1)])
def test_a_change_of_clocks_near_any_window_of_a_cross_validation_is_told(default, windows, told):
    """The last window begins eight days after the change, each other one a day before the next."""
    given = long(["a"], pd.date_range(end=ZONED + pd.Timedelta("8D23h"), periods=800, freq="h"))
    call = partial(default.cross_validation_df, given, windows, 24, prediction_length=24, num_samples=2)
    assert changes_told(call) == told


@pytest.mark.parametrize(("hours", "told"), [(-169, 0), (-168, 1), (0, 1), (167, 1), (168, 0)])
def test_a_change_of_clocks_near_a_gap_is_told(default, hours, told):
    """Within the gap of an hour, or in the week before or after it."""
    given = long(["a", "b"], pd.date_range(ZONED - pd.Timedelta("14D"), periods=24 * 28, freq="h"))
    gap = (given["timestamp"] - ZONED - pd.Timedelta(hours=hours)) // pd.Timedelta("1h") == 0
    given.loc[gap & (given["item_id"] == "b"), "target"] = np.nan
    assert changes_told(partial(default.impute_df, given, num_samples=2)) == told


def test_local_times_keep_to_the_local_clock_over_a_change(real):
    times = pd.date_range(end=ZONED, periods=500, freq="h")
    df = pd.DataFrame({"time": times, "load": 100.0 + 50 * ((times.hour >= 8) & (times.hour < 18))})
    df["load"] += np.random.default_rng(0).normal(size=500)
    clock = df.assign(time=df["time"].dt.tz_localize(None)).groupby("time", as_index=False)["load"].mean()
    with pytest.warns(Note, match="1 gap"):
        made = real.predict_df(clock, prediction_length=24, num_samples=20)
    hours = made["time"].dt.hour
    assert (made["0.5"] - 100 - 50 * ((hours >= 8) & (hours < 18))).abs().max() < 20
    with pytest.warns(Note, match="clocks"):
        zoned = real.predict_df(df, prediction_length=24, num_samples=20)
    assert (zoned["0.5"].to_numpy() - made["0.5"].to_numpy()).max() > 20


def test_a_frequency_may_be_given_and_a_horizon_beyond_the_models_reach(default):
    gappy = long(["a"]).iloc[::2]
    assert len(default.predict_df(gappy, prediction_length=3, freq="D", num_samples=2)) == 3
    made = default.predict_df(long(["a"]), prediction_length=140, num_samples=2)
    assert len(made) == 140
    with pytest.raises(ConfigError, match="forecasts 'D'"):
        default.adapted("D", 3).predict_df(long(), freq="h")


def test_every_id_that_is_dropped_is_named(default):
    given = long(["a", "b", "c"])
    given.loc[given["item_id"] == "b", "target"] = np.nan
    with pytest.warns(Note, match="series 'b' left out: no observed value"):
        made = default.predict_df(given, prediction_length=3, num_samples=2)
    assert set(made["item_id"]) == {"a", "c"}
    with pytest.raises(DataError, match="b: no observed value"):
        default.predict_df(given[given["item_id"] == "b"], prediction_length=3)


def test_columns_without_use_are_named(default):
    with pytest.warns(Note, match="columns 'price' are not used"):
        default.predict_df(long(price=1.0), prediction_length=3, num_samples=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (long().rename(columns={"target": "sold"}).assign(price=1.0), "no column of values.*target=…"),
        (long().drop(columns="timestamp"), "no column of timestamps"),
    ],
)
def test_a_frame_that_cannot_be_read_is_told_what_to_name(default, given, message):
    with pytest.raises(DataError, match=message):
        default.predict_df(given, prediction_length=3)


def test_columns_may_be_numbered_as_those_of_a_file_without_a_header(default):
    named = long().assign(price=np.sin(np.arange(120.0)))
    df = named.set_axis(range(4), axis=1)
    options = {"id_column": 0, "timestamp_column": 1, "target": 2}
    table = default.predict_df(df, prediction_length=2, num_samples=3, **options)
    usual = default.predict_df(named, prediction_length=2, num_samples=3)
    pd.testing.assert_frame_equal(table, usual.rename(columns={"item_id": 0, "timestamp": 1}))
    with_price = default.predict_df(df, prediction_length=2, num_samples=3, past_covariates=[3], **options)
    assert len(with_price) == len(table)
    assert default.impute_df(df, num_samples=3, **options).columns[:3].tolist() == [0, 1, 2]
    assert default.predict_df(df[[1, 2]][:60], prediction_length=2, num_samples=3)["item_id"].unique().tolist() == [2]
    irregular = df.copy()
    irregular[1] = irregular[1] + pd.to_timedelta(np.arange(120) % 7, unit="h")
    with pytest.raises(DataError, match=r"resample.*\[2\]\.mean\(\)"):
        default.predict_df(irregular, prediction_length=2, **options)


@pytest.mark.parametrize(
    ("option", "names", "told"),
    [
        ("id_column", ["unique_id", "shop"], r"join them: df\.assign\(item_id=df\[\['unique_id', 'shop'\]\]"),
        ("timestamp_column", ["ds"], "give 'ds'"),
        ("target", ["y", "z"], r"tsdiff\.data\.load_dataset"),
    ],
)
def test_lists_of_columns_are_told_what_to_do(default, option, names, told):
    df = pd.DataFrame({"unique_id": "a", "shop": "x", "ds": pd.date_range("2024", periods=20), "y": 1.0, "z": 2.0})
    for call in (partial(default.predict_df, prediction_length=2), default.impute_df):
        with pytest.raises(DataError, match=told):
            call(df, **{option: names})
    if option != "target":
        with pytest.raises(DataError, match=told):
            load_dataset(df, target="y", **{{"id_column": "item_id", "timestamp_column": "timestamp"}[option]: names})


def test_series_of_two_columns_of_ids_are_told_to_join_them(default):
    rows = pd.DataFrame({"ds": [*pd.date_range("2024", periods=20)] * 2, "y": 1.0, "shop": ["x"] * 20 + ["y"] * 20})
    with pytest.raises(DataError, match="join it to the ids"):
        default.predict_df(rows.assign(unique_id="a"), prediction_length=2)
    joined = rows.assign(unique_id="a").pipe(
        lambda df: df.assign(item_id=df[["unique_id", "shop"]].astype(str).agg(" ".join, axis=1))
    )
    table = default.predict_df(joined, prediction_length=2, target="y", id_column="item_id", num_samples=5)
    assert table["item_id"].unique().tolist() == ["a x", "a y"]


def test_an_old_name_is_the_same_call(default):
    given = long().rename(columns={"item_id": "shop", "timestamp": "when"})
    one = silent(default.forecast_df, given, item_id="shop", timestamp="when", prediction_length=3)
    two = silent(default.predict_df, given, id_column="shop", timestamp_column="when", prediction_length=3)
    pd.testing.assert_frame_equal(one, two)


def test_settings_of_one_call(default):
    given, options = long(["a"]), {"prediction_length": 3}
    one = silent(default.predict_df, given, **options)
    pd.testing.assert_frame_equal(one, silent(default.predict_df, given, batch_rows=1, **options), rtol=1e-4)
    assert not one.equals(silent(default.predict_df, given, seed=1, **options))
    with pytest.raises(ConfigError, match="quantile_levels"):
        default.predict_df(given, quantile_levels=[50], **options)


def test_forecasts_beyond_what_timestamps_hold_are_refused_at_once(default):
    with pytest.raises(DataError, match="is not within 1677-09-21 to 2262-04-11"):
        default.predict_df(long(["a"]), prediction_length=10**7)


def test_a_trained_model_is_cut_or_goes_on(trained):
    frame = pd.concat(
        [
            pd.DataFrame(
                {"id": e["item_id"], "ds": pd.date_range("2024-01-01", periods=200, freq="h"), "y": e["target"]}
            )
            for e in sines()
        ]
    )
    options: dict[str, Any] = {"id_column": "id", "num_samples": 4}
    whole = trained.predict_df(frame, **options)
    assert len(whole) == 3 * HORIZON
    short = trained.predict_df(frame, prediction_length=3, **options)
    pd.testing.assert_frame_equal(
        short.reset_index(drop=True), whole.groupby("id").head(3).reset_index(drop=True), check_like=True
    )
    assert len(trained.predict_df(frame, prediction_length=20, **options)) == 60
    both = EnsemblePredictor([trained, trained]).predict_df(frame, **options)
    assert list(both.columns) == list(whole.columns)


# --- what is decided from the data ---------------------------------------------------------------------------


def test_counts_are_decided_said_and_may_be_refused(default):
    counts = np.random.default_rng(0).poisson(0.5, 60).astype(float)
    given = long(["signed"]).assign()
    given = pd.concat([given, long(["counts"]).assign(target=counts), long(["amounts"]).assign(target=counts + 0.5)])
    made = default.predict_df(given, prediction_length=5, num_samples=50).set_index("item_id")
    levels = made.filter(regex="^0")
    assert (levels.loc["counts"] == np.rint(levels.loc["counts"])).all(axis=None)
    assert levels.loc["amounts"].min(axis=None) >= 0
    assert levels.loc["signed"].min(axis=None) < 0
    assert (made.attrs["nonnegative"], made.attrs["counts"]) == (2, 1)
    plain = default.predict_df(given, prediction_length=5, num_samples=50, counts=False, nonnegative=False)
    assert plain.set_index("item_id").loc["counts", "0.5"].mod(1).any()


# --- covariates ----------------------------------------------------------------------------------------------


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


def said(call: Any, *arguments: Any, **options: Any) -> list[str]:
    """The warnings of a call."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        call(*arguments, num_samples=2, **options)
    return [str(one.message) for one in told]


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
    with pytest.raises(ConfigError, match="covariates for dynamic_features=1"):
        estimator.fit(past)


# --- cross-validation ------------------------------------------------------------------------------------------


def test_windows_roll_over_the_end_of_each_series(default):
    given = pd.concat([long(), long(["short"], DAYS[:8])])
    with pytest.warns(Note, match="series 'short' left out: 8 values"):
        made = default.cross_validation_df(given, 3, 2, prediction_length=5, num_samples=3, quantile_levels=[0.5])
    assert list(made.columns) == ["item_id", "timestamp", "cutoff", "actual", "mean", "0.5"]
    assert made["cutoff"].unique().tolist() == [DAYS[-10], DAYS[-8], DAYS[-6]]
    merged = made.merge(given, on=["item_id", "timestamp"])
    assert len(merged) == len(made) == 2 * 3 * 5
    np.testing.assert_array_equal(merged["actual"], merged["target"])
    assert ((made["timestamp"] - made["cutoff"]).dt.days.groupby(made["cutoff"]).min() == 1).all()
    before = given[(given["timestamp"] <= DAYS[-6]) & (given["item_id"] != "short")]
    window = default.predict_df(before, prediction_length=5, num_samples=3, quantile_levels=[0.5])
    last = made[made["cutoff"] == DAYS[-6]]
    np.testing.assert_allclose(last["0.5"], window["0.5"], rtol=1e-4)
    with pytest.raises(ConfigError, match="step=0"):
        default.cross_validation_df(given, 3, 0, prediction_length=5)


def test_windows_know_covariates(real):
    past, _, _ = promoted()
    options: dict[str, Any] = {"prediction_length": 10, "num_samples": 9}
    known = real.cross_validation_df(past, covariates=["promotion"], **options)
    pd.testing.assert_frame_equal(real.cross_validation_df(past, covariates="promotion", **options), known)
    with pytest.warns(Note, match="not used"):
        plain = real.cross_validation_df(past, **options)
    errors = [(made["0.5"] - made["actual"]).abs().mean() for made in (plain, known)]
    assert errors[1] < 0.5 * errors[0]


def test_windows_whose_covariates_miss_values_are_told_by_column_and_id(default):
    """Errors named feat_dynamic_real, which no frame has."""
    past = promoted()[0].reset_index(drop=True)
    options = {"covariates": ["promotion"], "prediction_length": 10}
    holed = past.assign(promotion=past["promotion"].where((past.index != len(past) - 3) & (past.index != 5)))
    told = said(default.cross_validation_df, holed, **options)
    lines = "covariate 'promotion' misses 1 of 120 values, which are put on straight lines"
    assert told == [f"series {name!r}: {lines}" for name in "ab"]
    none = past.assign(promotion=past["promotion"].where(past["item_id"] != "b"))
    call = partial(tiny_estimator(steps=1, dynamic_features=1).fit, none, covariates="promotion")
    for lacking in (partial(default.cross_validation_df, none, **options), call):
        with pytest.raises(
            DataError, match="series 'b': covariate 'promotion' holds no value; fill it, or leave it or"
        ):
            lacking()


# --- pictures --------------------------------------------------------------------------------------------------


def test_plot_gives_a_figure_and_writes_a_picture(default, tmp_path: Path):
    given = long([1, 2, 3])
    figure = default.plot(given, prediction_length=7, num_samples=5, path=tmp_path / "x.png", ids=[3, 1], title="Sales")
    assert (tmp_path / "x.png").stat().st_size > 5000
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["3", "1"]
    shown = default.plot(given, prediction_length=7, num_samples=5, max_panels=2)
    assert len(shown.axes) == 2
    assert shown._repr_png_().startswith(b"\x89PNG")  # what a notebook asks for
    past = default.plot(given.assign(x=1.0), prediction_length=7, num_samples=5, past_covariates=["x"], max_panels=1)
    assert len(past.axes) == 1
    with pytest.raises(ConfigError, match=r"quantile_levels=\[0.1\]: this call has no such option"):
        default.plot(given, prediction_length=7, quantile_levels=[0.1])
    with pytest.raises(DataError, match=r"ids \[9\]"):
        default.plot(given, prediction_length=7, ids=[9])
    with pytest.raises(ConfigError, match="ids is empty; name the series to draw"):
        default.plot(given, prediction_length=7, ids=[])
    one = default.plot(long(["ab", "a"]), prediction_length=7, num_samples=5, ids="ab")
    assert [axes.get_title(loc="left") for axes in one.axes] == ["ab"]
    day = pd.Timestamp("2020-01-01")
    for known, wanted in (([1, 2], 2), ([1.0, 2.0], [1]), ([day, DAYS[0]], day), ([("x", 1), ("y", 2)], ("x", 1))):
        found = long(["a", "b"])
        found["item_id"] = pd.Series(np.repeat(pd.Series(known), len(DAYS)).tolist())
        assert len(default.plot(found, prediction_length=7, num_samples=5, ids=wanted).axes) == 1
    with pytest.raises(ConfigError, match="picture"):
        default.plot(given, prediction_length=7, path="x.bmp")
