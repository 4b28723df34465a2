"""predict_df and its kin: any usual frame in, the caller's names, ids and zones out; nothing is lost in silence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import HORIZON, sines
from tsdiff import TSDiffPredictor
from tsdiff.data import load_dataset
from tsdiff.ensemble import EnsemblePredictor

DAYS = pd.date_range("2024-01-01", periods=60, freq="D")


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


def said(call: Any, *arguments: Any, **options: Any) -> list[str]:
    """The warnings of a call."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        call(*arguments, num_samples=2, **options)
    return [str(one.message) for one in told]


def test_rows_that_are_still_to_come_are_told(default: TSDiffPredictor) -> None:
    """What follows them was forecast without a word."""
    given = long()
    given.loc[(given["item_id"] == "b") & (given["timestamp"] > DAYS[-8]), "target"] = np.nan
    line = "series 'b': its last 7 values are missing, and what follows them is forecast"
    for call in (default.predict_df, default.plot):
        assert [line in one for one in said(call, given, prediction_length=7)] == [True]
    assert [line in one for one in said(default.predict_sums_df, given, {"all": ["a", "b"]}, prediction_length=7)] == [
        True
    ]
    assert not said(default.predict_df, given, prediction_length=8)


def test_ids_whose_feed_stopped_are_told(default: TSDiffPredictor) -> None:
    """They were forecast for days that are over, without a word."""
    given = pd.concat([long(), long().replace({"item_id": {"a": "c", "b": "d"}})])
    stopped = (given["item_id"] == "b") & (given["timestamp"] > DAYS[-8])
    line = "series 'b' ends 7 steps before most others"
    for call in (default.predict_df, default.plot):
        assert [line in one for one in said(call, given[~stopped], prediction_length=7)] == [True]
    assert not said(default.predict_df, given[~stopped], prediction_length=8)
    mixed = given[~stopped & ~((given["item_id"] == "c") & (given["timestamp"] > DAYS[-10]))]
    assert not said(default.predict_df, mixed, prediction_length=7)  # no end that most share


# --- frames ------------------------------------------------------------------------------------------------


def test_decimals_are_no_texts_that_may_tell_series_apart(default: TSDiffPredictor):
    """The ids were told as a column that is not used."""
    frame = long().rename(columns={"item_id": "shop", "target": "sold"})
    told = said(
        default.predict_df, frame.assign(sold=frame["sold"].round(2).astype(str).map(Decimal)), prediction_length=7
    )
    assert told == ["series are told apart by the column 'shop'; id_column names another"]


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


def test_ids_that_are_lists_tell_series_apart(default: TSDiffPredictor):
    """They cannot be compared as they are."""
    frame = long().rename(columns={"item_id": "shop"})
    ids = frame["shop"].map(lambda name: [name, 1])
    with pytest.warns(Note, match="told apart by the column 'shop'"):
        found = default.predict_df(frame.assign(shop=ids), prediction_length=7, num_samples=3)
    named = default.predict_df(frame, prediction_length=7, num_samples=3, id_column="shop")
    assert found["shop"].tolist() == [[name, 1] for name in named["shop"]]


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


@pytest.mark.parametrize("kind", [object, "category", "string"])
def test_covariates_of_words_are_told_how_they_become_numbers(default, kind):
    words = pd.Series(["none", "sale"] * 60, dtype=kind)
    given = long().reset_index(drop=True)
    future = long(stamps=pd.date_range("2024-03-01", periods=3)).drop(columns="target").reset_index(drop=True)
    with pytest.raises(DataError, match="is not numeric") as told:
        default.predict_df(given.assign(offer=words), future.assign(offer=words[:6]), prediction_length=3)
    assert "df['offer'].eq('none').astype(float), and of future_df alike" in str(told.value)
    given, future = (f.assign(sale=words[: len(f)].eq("sale").astype(float)) for f in (given, future))
    assert len(default.predict_df(given, future, prediction_length=3, num_samples=2)) == 6


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
