"""One call for every source: tables long and wide, files, folders, named sets, GluonTS data sets; covariates kept."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from gluonts.dataset.pandas import PandasDataset
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from shared.errors import ConfigError, DataError
from tests.tsdiff.data.test_store import assert_equal
from tsdiff.data import load_dataset, series_from_gluonts
from tsdiff.data.covariates import Layout

DAYS = pd.date_range("2024-01-01", periods=8, freq="D")


def long_table() -> pd.DataFrame:
    """Two shops, six days of sales and prices, two more of prices alone."""
    rows = []
    for shop, city, size in (("b", "Oslo", 2.5), ("a", "Rome", 4.0)):
        for day, stamp in enumerate(DAYS):
            sold = float(day + (10 if shop == "a" else 0)) if day < 6 else np.nan
            rows.append((shop, stamp, sold, 2 * sold, 100.0 + day, city, size, shop == "a"))
    names = ["item_id", "timestamp", "sales", "returns", "price", "city", "size", "open"]
    return pd.DataFrame(rows, columns=names)


def assert_same(left: Any, right: Any) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert_equal(one, other)


# --- tables ------------------------------------------------------------------------------------------------


def test_a_long_table_keeps_its_covariates():
    series = load_dataset(long_table(), target="sales", dynamic=["price"], static=["city", "size", "open"])
    assert [entry["item_id"] for entry in series] == ["a", "b"]
    assert series.vocabulary == {"city": ("Oslo", "Rome"), "open": ("False", "True")}
    assert series.cardinalities == (2, 2)
    assert series.layout == Layout(channels=0, dynamic=1, categories=2, reals=1)
    a, b = series
    np.testing.assert_array_equal(a["target"], np.arange(6) + 10)
    np.testing.assert_array_equal(a["feat_dynamic_real"], [np.arange(8) + 100])  # known two days further
    assert a["feat_static_cat"].tolist() == [1, 1]
    assert b["feat_static_cat"].tolist() == [0, 0]
    assert a["feat_static_real"].tolist() == [4.0]


def test_columns_of_targets_make_channels():
    both = load_dataset(long_table(), target=["sales", "returns"], dynamic=["price"])
    np.testing.assert_array_equal(both[1]["target"], [np.arange(6), 2 * np.arange(6)])
    one = load_dataset(long_table(), target=["sales"])
    assert one[0]["target"].shape == (1, 8)
    assert np.isnan(one[0]["target"][0, 6:]).all()  # without features to tell the future, they are missing


def test_gaps_and_missing_features_are_repaired_and_noted():
    table = long_table().drop(index=[3])  # a day of shop b
    table.loc[(table["item_id"] == "a") & table["timestamp"].isin(DAYS[[0, 2]]), "price"] = np.nan
    series = load_dataset(table, target="sales", dynamic=["price"])
    assert np.flatnonzero(np.isnan(series[1]["target"])).tolist() == [3]
    assert series[1]["feat_dynamic_real"][0].tolist() == [100, 101, 102, 103, 104, 105, 106, 107]
    assert series[0]["feat_dynamic_real"][0].tolist() == [101, 101, 102, 103, 104, 105, 106, 107]
    told = [note for note in series.notes if "straight lines" in note]
    assert told == [
        f"series {name!r}: covariate 'price' misses {count} of 8 values, which are put on straight lines"
        for name, count in (("a", 2), ("b", 1))
    ]


def test_a_series_without_its_covariate_is_told_by_its_column():
    table = long_table()
    table.loc[table["item_id"] == "b", "price"] = np.nan
    with pytest.raises(DataError, match="series 'b': covariate 'price' holds no value; fill it, or leave it or"):
        load_dataset(table, target="sales", dynamic=["price"])


def test_a_vocabulary_codes_another_table_alike():
    first = load_dataset(long_table(), target="sales", static=["city"])
    rome = long_table().query("city == 'Rome'")
    assert load_dataset(rome, target="sales", static=["city"])[0]["feat_static_cat"].tolist() == [0]
    again = load_dataset(rome, target="sales", static=["city"], vocabulary=first.vocabulary)
    assert again[0]["feat_static_cat"].tolist() == [1]
    assert again.vocabulary == first.vocabulary
    with pytest.raises(DataError, match="'city' holds 'Bern', which is not among the known Oslo, Rome"):
        load_dataset(rome.assign(city="Bern"), target="sales", static=["city"], vocabulary=first.vocabulary)
    codes = load_dataset(long_table(), target="sales", static=["size"], vocabulary={"size": ["2.5", "4.0"]})
    assert codes.cardinalities == (2,)  # numbers that the vocabulary names are categories


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"static": ["town"]}, "no column 'town'"),
        ({"city": [None] + ["x"] * 15}, {"static": ["city"]}, "'city' is missing in row 0"),
        ({"city": ["x", "y"] * 8}, {"static": ["city"]}, "'city' changes within series 'a', from 'x' to 'y'"),
        ({"city": [1.5, 2] * 8}, {"static": ["city"]}, "'city' changes within series 'a', from 1.5 to 2.0;"),
        ({"city": ["y", "x"] * 8}, {"static": ["city"]}, "'city' changes within series 'a', from 'y' to 'x'"),
        ({"size": np.inf}, {"static": ["size"]}, "'size' holds infinities"),
        ({"price": np.nan}, {"dynamic": ["price"]}, "'a': covariate 'price' holds no value"),
        ({"price": "dear"}, {"dynamic": ["price"]}, "'price' is not numeric"),
    ],
)
def test_covariates_that_cannot_be_used_are_named(change, options, message):
    with pytest.raises(DataError, match=message):
        load_dataset(long_table().assign(**change), target="sales", **options)


@settings(max_examples=15, deadline=None)
@given(
    columns=st.integers(1, 4),
    length=st.integers(3, 12),
    as_index=st.booleans(),
    periods=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_wide_and_long_tables_are_the_same_series(columns, length, as_index, periods, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(length, columns))
    values[1:][rng.random((length - 1, columns)) < 0.2] = np.nan
    index = pd.period_range("2024-01", periods=length, freq="M")
    stamps = index if periods else index.to_timestamp()
    wide = pd.DataFrame(values, index=stamps, columns=[f"c{i}" for i in range(columns)])
    long = pd.DataFrame(
        {"item_id": np.repeat(wide.columns, length), "timestamp": np.tile(stamps, columns), "target": values.T.ravel()}
    )
    shown = wide if as_index else wide.rename_axis("when").reset_index()
    options = {} if as_index else {"timestamp": "when"}
    for layout in ("auto", "wide"):
        assert_same(load_dataset(shown, freq="M", layout=layout, **options), load_dataset(long, freq="M"))


def test_series_of_a_wide_table_are_named_by_its_columns():
    wide = pd.DataFrame({10: np.arange(8.0), 2: np.ones(8)}, index=DAYS)
    series = load_dataset(wide)
    assert [entry["item_id"] for entry in series] == ["2", "10"]
    assert series.origin.labels.tolist() == [2, 10]
    dated = wide.set_axis([pd.Timestamp("2024-01-02"), pd.Timestamp("2023-01-02")], axis=1)
    assert load_dataset(dated).origin.labels.tolist() == ["2023-01-02 00:00:00", "2024-01-02 00:00:00"]
    levels = wide.set_axis(pd.MultiIndex.from_tuples([("north", 2), ("north", 1)]), axis=1)
    assert load_dataset(levels).origin.labels.tolist() == [("north", 1), ("north", 2)]


def test_a_target_that_a_wide_table_has_not_is_told():
    """All its columns were taken, whatever was asked for."""
    wide = pd.DataFrame({"day": DAYS, "load": np.arange(8.0), "price": np.ones(8)})
    with pytest.raises(DataError, match="no column 'Load'; the table has 'day', 'load', 'price'"):
        load_dataset(wide, target="Load")
    assert len(load_dataset(wide)) == 2
    assert load_dataset(wide, target="load")[0]["target"].tolist() == wide["load"].tolist()


def test_a_series_of_a_wide_table_begins_with_its_first_value():
    wide = pd.DataFrame({"date": DAYS, "old": np.arange(8.0), "new": [np.nan] * 3 + [5.0, np.nan, 6.0, 7.0, np.nan]})
    old, new = sorted(load_dataset(wide), key=lambda entry: -len(entry["target"]))
    assert len(old["target"]) == 8
    assert new["start"] == pd.Period(DAYS[3], "D")
    np.testing.assert_array_equal(new["target"], np.array([5, np.nan, 6, 7, np.nan], dtype=np.float32))


def test_where_times_repeat_the_only_column_of_texts_tells_series_apart():
    shops = pd.DataFrame({"day": [*DAYS, *DAYS], "shop": ["x"] * 8 + ["y"] * 8, "sold": np.arange(16.0)})
    found = load_dataset(shops)
    assert [entry["item_id"] for entry in found] == ["x", "y"]
    np.testing.assert_array_equal([entry["target"] for entry in found], np.arange(16.0).reshape(2, 8))
    assert found.origin is not None
    assert found.origin.item_id == "shop"
    assert any("told apart by the column 'shop'" in note for note in found.notes)
    alone = load_dataset(shops[:8])  # nothing repeats: texts are of one series
    assert len(alone) == 1
    assert not alone.notes


@pytest.mark.parametrize(
    "changes",
    [{"town": ["a", "b"] * 8}, {"shop": ["x"] * 16}, {"shop": [None] * 8 + ["y"] * 8}],
    ids=["two columns of texts", "times repeat within a name", "names are missing"],
)
def test_texts_that_do_not_tell_series_apart_are_not_taken_for_ids(changes: dict[str, list[str | None]]):
    shops = pd.DataFrame({"day": [*DAYS, *DAYS], "shop": ["x"] * 8 + ["y"] * 8, "sold": np.arange(16.0)})
    with pytest.raises(DataError, match=r"more than once.*tells them apart"):
        load_dataset(shops.assign(**changes))


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (pd.DataFrame({"date": DAYS}), {"layout": "wide"}, "no column besides 'date'"),
        (pd.DataFrame({"date": DAYS, "x": "a"}), {"layout": "wide"}, "'x' is not numeric"),
        (pd.DataFrame({"date": DAYS, "x": "a"}), {}, "no column 'target'"),
        (
            pd.DataFrame({"day": [*DAYS] * 2, "shop": ["a"] * 8 + ["b"] * 8, "x": 1.0}),
            {"layout": "wide"},
            r"its column 'shop'; turn it: df\.pivot\(index='day', columns='shop'",
        ),
        (pd.DataFrame({"date": DAYS, "item_id": 1, "x": 2.0}), {"layout": "wide"}, "its column 'item_id'; turn it"),
        (pd.DataFrame({"x": np.arange(8.0)}), {"layout": "wide"}, "no column of timestamps"),
        (pd.DataFrame([[1, 2]] * 8, columns=["x", "x"], index=DAYS), {}, "more than one column 'x'"),
        (pd.DataFrame({"date": [*DAYS[:4]] * 2, "shop": 1.0, "x": 2.0}), {}, "more than once.*tells them apart"),
    ],
)
def test_wide_tables_that_cannot_be_used_are_refused(table, options, message):
    with pytest.raises(DataError, match=message):
        load_dataset(table, **options)


def test_columns_of_one_name_are_refused_wherever_they_are_looked_for():
    table = pd.DataFrame([[1, 2]] * 8, columns=["x", "x"], index=DAYS).assign(item_id="a")
    for options in ({}, {"target": "x"}, {"target": "item_id", "static": ["x"]}):
        with pytest.raises(DataError, match="more than one column 'x'"):
            load_dataset(table.assign(item_id=1), **options)


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="layout='tall'"):
        load_dataset(long_table(), layout="tall")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="need layout='long'"):
        load_dataset(long_table(), layout="wide", static=["city"])
    with pytest.raises(ConfigError, match="names no column"):
        load_dataset(long_table(), target=[])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".feather", ".arrow"])
def test_every_kind_of_file_gives_the_same_series(tmp_path: Path, suffix: str):
    table, path = long_table(), tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".feather":
        table.to_feather(path)
    elif suffix == ".arrow":  # the streaming format; Feather is the file format
        arrow = pa.Table.from_pandas(table)
        with ipc.new_stream(path, arrow.schema) as writer:
            writer.write_table(arrow)
    else:
        table.to_csv(path, index=False)
    options: dict[str, Any] = {"target": "sales", "dynamic": ["price"], "static": ["city", "size"]}
    assert_same(load_dataset(path, **options), load_dataset(table, **options))
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(DataError, match=r"cannot be read as a table|no rows|no column"):
        load_dataset(path, **options)


# --- GluonTS -----------------------------------------------------------------------------------------------


def test_a_pandas_dataset_comes_with_its_features():
    table = long_table().query("timestamp < '2024-01-07'")
    static = table.groupby("item_id")[["city", "size"]].first().astype({"city": "category"})
    made = PandasDataset.from_long_dataframe(
        table[["item_id", "timestamp", "sales", "price"]], target="sales", item_id="item_id", timestamp="timestamp",
        freq="D", feat_dynamic_real=["price"], static_features=static,
    )  # fmt: skip
    ours = load_dataset(table, target="sales", dynamic=["price"], static=["city", "size"])
    assert_same(load_dataset(made), ours)


def test_multivariate_targets_and_their_notes():
    start = pd.Period("2024-01-01", "h")
    target = np.array([[1.0, np.inf, 3.0], [5.0, 5.0, 5.0], [np.nan] * 3])
    series = load_dataset([{"item_id": "m", "start": start, "target": target}])
    assert series[0]["target"].shape == (3, 3)
    assert np.isnan(series[0]["target"][0, 1])
    text = " ".join(series.notes)
    assert "1 infinity" in text
    assert "channel 1 of series 'm' is constant (5)" in text
    assert "channel 2 of series 'm' holds no observed value" in text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"feat_dynamic_real": np.zeros(5)}, r"shape \(5,\); it must be \(features, steps\)"),
        ({"feat_dynamic_real": np.zeros((2, 4))}, r"shape \(2, 4\), which is not .* 5 steps or more$"),
        ({"feat_dynamic_real": np.zeros((5, 2))}, "it looks transposed"),
        ({"feat_dynamic_real": [["x"] * 5]}, "feat_dynamic_real is not numeric"),
        ({"feat_static_cat": [1.5]}, "give whole numbers from 0"),
        ({"feat_static_cat": [-1]}, "give whole numbers from 0"),
        ({"feat_static_real": [np.nan]}, "give finite numbers"),
        ({"feat_static_real": [1e300]}, "too large for single precision"),
    ],
)
def test_covariates_of_entries_are_checked(fields, message):
    entry = {"item_id": "x", "start": pd.Period("2024-01-01", "h"), "target": np.ones(5), **fields}
    with pytest.raises(DataError, match=f"'x'.*{message}"):
        series_from_gluonts([entry])


def test_a_first_column_that_numbers_the_rows_is_no_series(tmp_path: Path):
    """As of `frame.to_csv` with its index; it was forecast, too."""
    frame = pd.DataFrame({"date": DAYS, "sold": np.arange(len(DAYS)) % 7 + 0.5})
    frame.to_csv(tmp_path / "a.csv")
    found = load_dataset(tmp_path / "a.csv")
    assert [entry["item_id"] for entry in found] == ["sold"]
    assert any("'Unnamed: 0', numbers the rows" in note for note in found.notes)
    frame.assign(date=DAYS[::-1].astype(str)).set_axis(frame.index[::-1] * 3).to_csv(tmp_path / "b.csv")
    assert {entry["item_id"] for entry in load_dataset(tmp_path / "b.csv")} == {"Unnamed: 0", "sold"}, "it may be one"


@pytest.mark.parametrize("several", [False, True])
def test_decimals_as_databases_give_them_are_numbers(tmp_path: Path, several: bool):
    values = np.arange(len(DAYS)) % 7 + 0.25
    frame = pd.DataFrame({"day": DAYS, "sold": [Decimal(str(value)) for value in values]})
    frame.loc[3, "sold"] = None
    if several:
        frame["lost"] = frame["sold"]
    frame.to_parquet(tmp_path / "a.parquet")
    values[3] = np.nan
    for source in (frame, tmp_path / "a.parquet"):
        found = load_dataset(source)
        assert sorted(entry["item_id"] for entry in found) == ["lost", "sold"][1 - several :]
        for entry in found:
            np.testing.assert_array_equal(entry["target"], values)


@pytest.mark.parametrize("more", [{}, {"Total": 7.0}])
@pytest.mark.parametrize("form", ["%b", "%B"])
def test_years_whose_columns_are_months_are_told_how_they_are_turned(form, more):
    """They were forecast as twelve series of years."""
    months = pd.date_range("2019-01-01", periods=60, freq="MS")
    names = [month.strftime(form) for month in months[:12]]
    df = pd.DataFrame(np.arange(60.0).reshape(5, 12), columns=names).assign(**more)
    df.insert(0, "Year", range(2019, 2024))
    with pytest.raises(DataError, match="are years, and its columns their months") as told:
        load_dataset(df)
    space = {"df": df, "pd": pd}
    exec(str(told.value).split("turn it, ")[1], space)  # what it advises works
    (entry,) = load_dataset(space["long"])  # type: ignore[arg-type]
    assert entry["start"] == pd.Period("2019-01", "M")
    np.testing.assert_array_equal(entry["target"], np.arange(60.0))
    assert load_dataset(df.iloc[:, :12]).freq == "Y-DEC"  # eleven series
