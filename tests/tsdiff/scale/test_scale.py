"""Series in units, worked in this process: the same bits as the calls for one frame, and failures told one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet as pq

from shared.errors import CheckpointError, ConfigError, DataError, DiffusionError
from tests.tsdiff.scale.tables import DRAWS, TOGETHER, frame, results, write
from tsdiff import TSDiffPredictor, scale
from tsdiff.data import load_dataset
from tsdiff.evaluation.metrics import forecasts_to_frame
from tsdiff.tasks.anomaly.scores import DEFAULT_SCORING, anomalies_to_frame, anomaly_scores, fit_thresholds

HERE: dict[str, Any] = {"engine": "local", "progress": False}


def forecast(data: Any, output: Path, **changes: Any) -> scale.Report:
    return scale.forecast(data, output, **{**DRAWS, "sampling": TOGETHER, "size": 3, **HERE, **changes})


def test_forecasts_are_those_of_one_frame(default: TSDiffPredictor, tmp_path: Path):
    one, other = frame(7), frame(2, first=7)
    report = forecast(write(tmp_path / "data", {"a": one, "b": other}), tmp_path / "out")
    assert (report.units, report.items, report.failed) == (4, 9, {})
    found = pd.read_parquet(tmp_path / "out")
    wanted = pd.concat([default.predict_df(df, **DRAWS, **TOGETHER) for df in (one, other)], ignore_index=True)
    pd.testing.assert_frame_equal(found, wanted, check_exact=True)


def test_columns_ids_zones_and_folders_are_the_datas_own(default: TSDiffPredictor, tmp_path: Path):
    table = frame(3).rename(columns={"timestamp": "ds", "target": "y"})
    table["ds"] = table["ds"].dt.tz_localize("Europe/Berlin")
    for place, (_, part) in enumerate(table.groupby("item_id")):
        write(tmp_path / "data", {f"unique_id={40 + place}/x": part[["ds", "y"]]})
    names = scale.Names("unique_id", "ds", "y")
    address = f"local://{tmp_path / 'data'}"
    forecast(address, tmp_path / "out", columns=names)
    wanted = table.assign(unique_id=table.pop("item_id").str[1:].astype("int32") + 40)
    alone = [default.predict_df(part, **DRAWS, **TOGETHER) for _, part in wanted.groupby("unique_id")]
    found = pd.read_parquet(tmp_path / "out")
    pd.testing.assert_frame_equal(found, pd.concat(alone, ignore_index=True), check_exact=True)
    assert str(found["ds"].dt.tz) == "Europe/Berlin"


@pytest.mark.parametrize("first", ["zoned", "plain"])
def test_files_of_which_one_has_a_zone_and_one_has_none_are_told(tmp_path: Path, first: str):
    table = frame(2)
    zoned = table.assign(timestamp=table["timestamp"].dt.tz_localize("Europe/Berlin"))
    kinds = (zoned, table) if first == "zoned" else (table, zoned)
    one, other = (kind[kind["item_id"] == name] for kind, name in zip(kinds, ("s000", "s001"), strict=True))
    report = forecast(write(tmp_path / "data", {"a": one, "b": other}), tmp_path / "out")
    (reason,) = report.failed.values()
    assert list(report.failed) == ["b.parquet"]
    assert "time zone Europe/Berlin" in reason
    assert "no time zone" in reason
    found = pd.read_parquet(tmp_path / "out")
    assert set(found["item_id"]) == {"s000"}
    assert (found["timestamp"].dt.tz is None) == (first == "plain")


@pytest.mark.parametrize(
    ("first", "second"),
    [("int64", "float64"), ("int8", "int64"), ("float32", "float64"), (None, "float64")],
)
def test_each_file_is_read_by_its_own_types(default: TSDiffPredictor, tmp_path: Path, first: str | None, second: str):
    table = frame(4)
    ahead = table["item_id"] > "s001"
    whole = table["target"].round()
    table["target"] = table["target"].where(~ahead, table["target"] + 1e8 if second == "float64" else 50 * whole)
    parts = {"a": table[~ahead].assign(target=None if first is None else whole.astype(first)), "b": table[ahead]}
    parts["b"] = parts["b"].astype({"target": second})
    report = forecast(write(tmp_path / "data", parts), tmp_path / "out", freq="h")
    assert sorted(report.failed) == (["s000", "s001"] if first is None else [])
    found = pd.read_parquet(tmp_path / "out")
    wanted = default.predict_df(parts["b"], **DRAWS, **TOGETHER)
    pd.testing.assert_frame_equal(found[found["item_id"] > "s001"].reset_index(drop=True), wanted, check_exact=True)


def test_ids_may_be_categories_of_any_number(tmp_path: Path):
    tables = {"a": frame(3), "b": frame(3, first=300)}
    many = pd.CategoricalDtype([f"s{place:03d}" for place in range(400)])
    kinds = {"a": tables["a"].astype({"item_id": "category"}), "b": tables["b"].astype({"item_id": many})}
    forecast(write(tmp_path / "data", kinds), tmp_path / "out", freq="h")
    forecast(write(tmp_path / "texts", tables), tmp_path / "wanted", freq="h")
    found, wanted = (pd.read_parquet(tmp_path / place) for place in ("out", "wanted"))
    assert found["item_id"].dtype == pd.CategoricalDtype(sorted(wanted["item_id"].unique()))
    texts = {"item_id": str}  # the values are the same bits
    pd.testing.assert_frame_equal(found.astype(texts), wanted.astype(texts), check_exact=True)


@pytest.mark.parametrize("call", ["forecast", "impute", "anomaly"])
def test_categories_come_back_as_such_in_their_order(call: str, default: TSDiffPredictor, tmp_path: Path):
    kind = pd.CategoricalDtype(["s002", "none", "s000", "s003", "s001"], ordered=True)
    table = frame(4).astype({"item_id": kind})
    table.loc[[5, 70], "target"] = np.nan
    data, draws = write(tmp_path / "data", {"a": table}), {} if call == "anomaly" else {"num_samples": 4}
    getattr(scale, call)(data, tmp_path / "out", prediction_length=6, size=3, **draws, **HERE)
    found = pd.read_parquet(tmp_path / "out")
    assert found["item_id"].dtype == kind
    assert found["item_id"].drop_duplicates().tolist() == ["s000", "s001", "s002", "s003"]


def test_result_files_of_any_number_of_categories_are_read_as_one(tmp_path: Path):
    """Those of up to 127 were numbered in one byte, others in two, and pandas read no folder of both."""
    table = frame(131, length=12).astype({"item_id": "category"})
    forecast(write(tmp_path / "data", {"a": table}), tmp_path / "out", freq="h", size=130, num_samples=1)
    found = pd.read_parquet(tmp_path / "out")
    assert found["item_id"].dtype == table["item_id"].dtype
    assert len(found) == 131 * DRAWS["prediction_length"]


@pytest.mark.parametrize("first", [int, str])
def test_a_file_whose_ids_are_of_another_kind_is_told(tmp_path: Path, first: type):
    table = frame(2).assign(item_id=lambda table: table["item_id"].str[1:].astype(int))
    one, other = table[table["item_id"] == 0], table[table["item_id"] == 1]
    one, other = (one, other.astype({"item_id": str})) if first is int else (one.astype({"item_id": str}), other)
    report = forecast(write(tmp_path / "data", {"a": one, "b": other}), tmp_path / "out")
    assert list(report.failed) == ["b.parquet"]
    assert "its ids are of type" in report.failed["b.parquet"]


def test_a_first_file_without_rows_is_no_matter(tmp_path: Path):
    table = frame(1)
    report = forecast(write(tmp_path / "data", {"a": table[:0], "b": table}), tmp_path / "out")
    assert (report.items, report.failed) == (1, {})


def test_results_go_wherever_fsspec_writes(tmp_path: Path):
    fsspec = pytest.importorskip("fsspec")
    table = frame(7)
    table.loc[table["item_id"] == "s004", "target"] = np.nan
    data, there = write(tmp_path / "data", {"a": table}), "memory://bucket/out"
    report = forecast(data, there)
    forecast(data, tmp_path / "out")
    files = fsspec.filesystem("memory")
    try:
        made = {Path(path).name: files.cat_file(path) for path in files.glob("/bucket/out/*.parquet")}
        assert made == results(tmp_path / "out")
        assert (report.units, list(report.failed)) == (3, ["s004"])
        assert files.cat_file("/bucket/out/_failed.csv") == (tmp_path / "out" / "_failed.csv").read_bytes()
        pd.testing.assert_frame_equal(
            pd.read_parquet("/bucket/out", filesystem=files), pd.read_parquet(tmp_path / "out")
        )
        files.rm_file("/bucket/out/.scale/units/part-000001.json")
        again = forecast(data, f"{there}/")
        assert (again.units, again.before) == (1, 2)
        assert {Path(path).name: files.cat_file(path) for path in files.glob("/bucket/out/*.parquet")} == made
        with pytest.raises(ConfigError, match=r"memory://bucket/out holds results of other settings \(num_samples"):
            forecast(data, there, num_samples=5)
        entries = list(load_dataset(frame(5)))
        forecast(entries, "memory://bucket/entries")
        with pytest.raises(DataError, match=r"entries holds 1 results that the input has no items for, part-000001"):
            forecast(entries[:3], "memory://bucket/entries")
    finally:
        files.rm("/bucket", recursive=True)


def test_results_that_were_removed_are_made_again(tmp_path: Path):
    fsspec = pytest.importorskip("fsspec")
    table = frame(5)
    table.loc[table["item_id"] < "s003", "target"] = np.nan  # a unit that has no results
    data, files = write(tmp_path / "data", {"a": table}), fsspec.filesystem("memory")
    forecast(data, tmp_path / "out", freq="h")
    made = results(tmp_path / "out")
    assert list(made) == ["part-000001.parquet"]
    (tmp_path / "out" / "part-000001.parquet").unlink()
    again = forecast(data, tmp_path / "out", freq="h")
    assert (again.units, again.before, results(tmp_path / "out")) == (1, 1, made)
    try:
        forecast(data, "memory://bucket/out", freq="h")
        files.rm_file("/bucket/out/part-000001.parquet")
        again = forecast(data, "memory://bucket/out", freq="h")
        assert (again.units, again.before) == (1, 1)
        assert files.cat_file("/bucket/out/part-000001.parquet") == made["part-000001.parquet"]
    finally:
        files.rm("/bucket", recursive=True)


def test_where_the_first_series_tells_no_frequency_the_remedy_is_told(tmp_path: Path):
    data = write(tmp_path / "data", {"a": frame(2).assign(target=lambda whole: whole["target"].iloc[60:])})
    with pytest.raises(DataError, match=r"first series, unless freq \(--freq\) gives it: .*s000: no observed value"):
        forecast(data, tmp_path / "out")
    assert list(forecast(data, tmp_path / "out", freq="h").failed) == ["s000"]


def test_of_other_settings_the_one_that_differs_is_told(tmp_path: Path):
    data = write(tmp_path / "data", {"a": frame(1)})
    forecast(data, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"other settings \(sampling\.seed: 0 there, 3 now\); choose another folder"):
        forecast(data, tmp_path / "out", sampling={**TOGETHER, "seed": 3})


def test_an_address_of_this_machine_is_a_folder(tmp_path: Path):
    data = write(tmp_path / "data", {"a": frame(1)})
    forecast(data, f"file://{tmp_path / 'out'}")
    assert list(results(tmp_path / "out")) == ["part-000000.parquet"]
    with pytest.raises(ConfigError, match=r"spark://x/out.* cannot be written"):
        forecast(data, "spark://x/out")


def test_the_order_of_rows_is_of_no_matter(tmp_path: Path):
    table = frame(4)
    shuffled = table.sample(frac=1, random_state=0)
    first = list(pd.unique(shuffled["item_id"]))
    table = table.sort_values("item_id", key=lambda ids: ids.map(first.index), kind="stable")
    for name, df in (("sorted", table), ("shuffled", shuffled)):
        forecast(write(tmp_path / name, {"a": df}), tmp_path / f"{name}_out")
    assert results(tmp_path / "sorted_out") == results(tmp_path / "shuffled_out")


def test_gaps_are_filled_as_in_one_frame(default: TSDiffPredictor, tmp_path: Path):
    table = frame(4)
    table.loc[table.index % 60 == 43, "target"] = np.nan
    options: dict[str, Any] = {"num_samples": 4, "quantile_levels": (0.1, 0.9)}
    scale.impute(write(tmp_path / "data", {"a": table}), tmp_path / "out", sampling=TOGETHER, size=3, **options, **HERE)
    wanted = default.adapted("h", 24).with_sampling(**TOGETHER).impute_df(table, **options)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), wanted, check_exact=True)


@pytest.mark.parametrize("counts", [True, False])
def test_gaps_of_counts_are_filled_as_is_asked(counts: bool, tmp_path: Path):
    table = frame(1).assign(target=lambda whole: whole["target"].round().abs())
    table.loc[table.index % 60 == 43, "target"] = np.nan
    sampling = {**TOGETHER, "counts": counts}
    scale.impute(write(tmp_path / "data", {"a": table}), tmp_path / "out", sampling=sampling, num_samples=4, **HERE)
    made = pd.read_parquet(tmp_path / "out")
    drawn = made.loc[made["imputed"], "0.5"]
    assert len(drawn)
    assert (drawn == drawn.round()).all() == counts


def test_scores_are_those_of_one_frame(default: TSDiffPredictor, tmp_path: Path):
    table, short = frame(2, length=80), frame(1, first=5, length=3)
    data = write(tmp_path / "data", {"a": pd.concat([table, short])})
    scoring = replace(DEFAULT_SCORING, levels=2)
    report = scale.anomaly(data, tmp_path / "out", prediction_length=24, scoring=scoring, **HERE)
    scores = anomaly_scores(default.adapted("h", 24), table, scoring)
    wanted = anomalies_to_frame(scores, fit_thresholds(scores)).rename(columns={"value": "target"})
    found = pd.read_parquet(tmp_path / "out")
    pd.testing.assert_frame_equal(found[found["item_id"] != "s005"].reset_index(drop=True), wanted, check_exact=True)
    assert report.items + len(report.failed) == 3


def test_entries_are_taken_as_they_are_needed(default: TSDiffPredictor, tmp_path: Path):
    entries = list(load_dataset(frame(5)))
    taken: list[str] = []

    def told() -> Iterator[dict[str, Any]]:
        for entry in entries:
            assert len(taken) <= 3 * (len(results(tmp_path / "out")) + 1)
            taken.append(entry["item_id"])
            yield entry

    report = forecast(told(), tmp_path / "out")
    assert (report.units, report.items) == (2, 5)
    plain = default.adapted("h", 6).with_sampling(**TOGETHER)
    wanted = forecasts_to_frame(plain.predict(entries, num_samples=4))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), wanted, check_exact=True)
    assert forecast(iter(entries), tmp_path / "out").before == 2
    with pytest.raises(DataError, match="the input of part-000000 was another"):
        forecast([{**entry, "target": entry["target"] + 1} for entry in entries], tmp_path / "out")


def test_entries_of_one_name_are_all_forecast(default: TSDiffPredictor, tmp_path: Path):
    """As of a set of rolling windows, which GluonTS names by their series."""
    entries = [{**entry, "item_id": name} for entry, name in zip(load_dataset(frame(4)), "abaa", strict=True)]
    entries[2]["target"] = np.full(9, np.nan)
    report = forecast(entries, tmp_path / "out", size=4)
    assert (report.items, list(report.failed)) == (3, ["a (2)"])
    rest = [entry for place, entry in enumerate(entries) if place != 2]
    wanted = forecasts_to_frame(default.adapted("h", 6).with_sampling(**TOGETHER).predict(rest, num_samples=4))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), wanted, check_exact=True)


@pytest.mark.parametrize("freq", ["h", None])
def test_a_first_file_whose_values_are_damaged_fails_alone(tmp_path: Path, freq: str | None):
    data = write(tmp_path / "data", {"a": frame(1), "b": frame(1, first=1)}, rows=1000)
    path = data / "a.parquet"
    column = pq.read_metadata(path).row_group(0).column(2)
    content = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset or column.data_page_offset
    content[begin : begin + 40] = b"\xff" * 40
    path.write_bytes(content)
    report = forecast(data, tmp_path / "out", freq=freq)
    assert (report.items, list(report.failed)) == (1, ["s000"])


@pytest.mark.parametrize(
    ("output", "read", "future"),
    [
        ("data", "data", None),
        ("data/out", "data", None),
        (".", "data", None),
        ("data", "data/part-000000.parquet", None),
        ("out", "data", "out/ahead"),
    ],
)
def test_results_do_not_go_among_what_is_read(tmp_path: Path, output: str, read: str, future: str | None):
    data = write(tmp_path / "data", {"part-000000": frame(1)})
    whole = (data / "part-000000.parquet").read_bytes()
    for address in (tmp_path / output, f"file://{tmp_path / output}"):
        with pytest.raises(ConfigError, match="choose another folder for the results"):
            forecast(tmp_path / read, address, future=future and tmp_path / future)
    assert (data / "part-000000.parquet").read_bytes() == whole
    assert forecast(data, tmp_path / "data2").items == 1


def test_what_fails_is_listed_and_the_rest_is_done(tmp_path: Path):
    table = frame(7)
    table.loc[table["item_id"] == "s001", "target"] = np.nan
    table.loc[table["item_id"] == "s004", "target"] = 1e300
    twice = table["item_id"] == "s005"
    table.loc[twice, "timestamp"] = table.loc[twice, "timestamp"].iloc[0]
    table.loc[table.index[-2:], "item_id"] = None
    data = write(tmp_path / "data", {"a": table, "b": frame(2, first=7)})
    (data / "c.parquet").write_bytes(b"PAR1 no more")
    report = forecast(data, tmp_path / "out")
    assert sorted(report.failed) == ["a.parquet: rows without item_id", "c.parquet", "s001", "s004", "s005"]
    assert "no observed value" in report.failed["s001"]
    assert "too large" in report.failed["s004"]
    assert "cannot be read as Parquet" in report.failed["c.parquet"]
    found = pd.read_parquet(tmp_path / "out")
    assert sorted(pd.unique(found["item_id"])) == ["s000", "s002", "s003", "s006", "s007", "s008"]
    assert report.items == 6
    listed = pd.read_csv(tmp_path / "out" / "_failed.csv")
    assert dict(zip(listed["item"], listed["reason"], strict=True)) == report.failed


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"prediction_length": None}, ConfigError, "prediction_length=24"),
        ({"prediction_length": 0}, ConfigError, "prediction_length=0"),
        ({"num_samples": 0}, ConfigError, "num_samples=0"),
        ({"quantile_levels": (2.0,)}, ConfigError, "quantile_levels"),
        ({"sampling": {"scale": -1.0}}, ConfigError, "scale"),
        ({"model": "nothing"}, CheckpointError, "nothing"),
        ({"columns": scale.Names(target="sold")}, DataError, "sold"),
        ({"columns": {"target": "sold"}}, ConfigError, r"columns=\{'target': 'sold'\}: give tsdiff\.scale\.Names"),
        ({"size": 0}, ConfigError, "size=0"),
        ({"freq": "fortnight"}, DataError, "fortnight"),
        ({"seed": 3}, ConfigError, r'seed=3: .*sampling=\{"seed": 3\}'),
        ({"target": "sold"}, ConfigError, "target='sold': this call has no such option; there are .*columns"),
    ],
)
def test_settings_that_cannot_be_are_told(
    change: dict[str, Any], error: type[DiffusionError], said: str, tmp_path: Path
):
    data = write(tmp_path / "data", {"a": frame(1)})
    with pytest.raises(error, match=said):
        forecast(data, tmp_path / "out", **change)


@pytest.mark.parametrize(
    "change", [{"num_samples": 5}, {"sampling": {"seed": 3}}, {"seed": 3}], ids=lambda change: next(iter(change))
)
def test_anomaly_scores_take_no_settings_of_draws(change: dict[str, Any], tmp_path: Path):
    data = write(tmp_path / "data", {"a": frame(1)})
    with pytest.raises(ConfigError, match=f"{next(iter(change))}=.*: this call has no such option"):
        scale.anomaly(data, tmp_path / "out", prediction_length=24, **HERE, **change)


def test_data_that_cannot_be_is_told(default: TSDiffPredictor, tmp_path: Path):
    with pytest.raises(DataError, match="nothing is there"):
        forecast(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no Parquet"):
        forecast(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="cannot be read"):
        forecast("spark://cluster/x", tmp_path / "out")
    nameless = write(tmp_path / "nameless", {"a": frame(1).drop(columns="item_id")})
    with pytest.raises(DataError, match=r"no column that names the series.*id_column=…, on the command line --id"):
        forecast(nameless, tmp_path / "out")
    both = write(tmp_path / "both", {"a": frame(2), "b": frame(2, first=1)})
    with pytest.raises(DataError, match=r"'s001' is in a\.parquet and in b\.parquet"):
        forecast(both, tmp_path / "out")
    with pytest.raises(ConfigError, match="save_pretrained"):
        forecast(nameless, tmp_path / "out", model=default)
    with pytest.raises(DataError, match="predict_df"):
        forecast(frame(1), tmp_path / "out")


def test_numbers_that_hash_alike_are_different_series(tmp_path: Path):
    one, other = (frame(1).assign(item_id=number) for number in (-1, -2))
    assert hash(-1) == hash(-2)
    report = forecast(write(tmp_path / "data", {"a": one, "b": other}), tmp_path / "out")
    assert (report.items, report.failed) == (2, {})
