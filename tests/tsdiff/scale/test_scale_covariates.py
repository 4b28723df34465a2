"""Series in units with covariates that are known ahead: those of one frame, and failures told one by one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.scale.tables import DRAWS, TOGETHER, frame, write
from tests.tsdiff.scale.test_scale import forecast
from tsdiff import TSDiffPredictor, scale
from tsdiff.data import load_dataset


def known(count: int, first: int = 0, steps: int = 60 + DRAWS["prediction_length"]) -> pd.DataFrame:
    """Series that follow a covariate, which goes on after their ends."""
    table, rng = frame(count, first, steps), np.random.default_rng(7 + first)
    table["price"] = np.repeat(rng.normal(size=(count, steps)).cumsum(axis=1), 1)
    table["visits"] = rng.normal(size=len(table))
    table["target"] += 3 * table["price"]
    return table


def cut(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The past of a table of series, and the prices of the last steps."""
    ahead = table.groupby("item_id").cumcount(ascending=False) < DRAWS["prediction_length"]
    return table[~ahead].reset_index(drop=True), table.loc[ahead, ["item_id", "timestamp", "price"]]


def test_covariates_help_as_in_one_frame(default: TSDiffPredictor, tmp_path: Path):
    past, future = cut(known(5))
    data = write(tmp_path / "data", {"region=north/a": past})
    mixed = future.sample(frac=1, random_state=0)
    ahead = write(tmp_path / "future", {"day=1/a": mixed[:13], "day=2/b": mixed[13:]}, rows=4)
    options: dict[str, Any] = {"past_covariates": ("visits",)}
    report = forecast(data, tmp_path / "out", future=ahead, **options)
    assert (report.units, report.items, report.failed) == (2, 5, {})
    wanted = default.predict_df(past, future, **options, **DRAWS, **TOGETHER)
    assert any(wanted.attrs["covariates"].values())
    wanted.attrs.clear()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), wanted, check_exact=True)
    assert forecast(data, tmp_path / "out", future=ahead, **options).before == 2
    write(tmp_path / "future", {"day=2/b": mixed[13:].assign(price=0.0)})
    with pytest.raises(DataError, match="the input of part-000000 was another"):
        forecast(data, tmp_path / "out", future=ahead, **options)


@pytest.mark.parametrize("target", ["target", "sold"])
def test_the_future_may_have_the_column_of_values(default: TSDiffPredictor, tmp_path: Path, target: str):
    past, future = (table.drop(columns="visits", errors="ignore") for table in cut(known(2)))
    past, future = past.rename(columns={"target": target}), future.assign(**{target: np.nan})
    names = scale.Names(target=None if target == "target" else target)
    address = write(tmp_path / "future", {"a": future})
    forecast(write(tmp_path / "data", {"a": past}), tmp_path / "out", future=address, columns=names)
    wanted = default.predict_df(past, future, target=names.target, **DRAWS, **TOGETHER)
    wanted.attrs.clear()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), wanted, check_exact=True)


def test_values_are_told_from_covariates_by_the_future(tmp_path: Path):
    past, future = (table.drop(columns="visits", errors="ignore") for table in cut(known(1)))
    data = write(tmp_path / "data", {"a": past.rename(columns={"target": "sold"})})
    report = forecast(data, tmp_path / "out", future=write(tmp_path / "future", {"a": future}))
    assert (report.items, report.failed) == (1, {})


def test_a_series_without_its_covariates_fails_alone(tmp_path: Path):
    past, future = cut(known(4))
    there = future[future["item_id"] != "s001"]
    late = there[there["timestamp"] < there["timestamp"].max()]
    ahead = write(tmp_path / "future", {"a": pd.concat([there[there["item_id"] != "s002"], late])})
    report = forecast(write(tmp_path / "data", {"a": past}), tmp_path / "out", future=ahead)
    assert sorted(report.failed) == ["s001", "s002"]
    for why in report.failed.values():
        assert "price" in why
    assert report.items == 2


def test_covariates_that_cannot_be_are_told(tmp_path: Path):
    past, future = cut(known(1))
    data = write(tmp_path / "data", {"a": past})
    for name, table, said in (
        ("nameless", future.drop(columns="item_id"), r"nameless has no column 'item_id' of ids"),
        ("bare", future.drop(columns="price"), r"bare has no column besides ids and times"),
        ("other", future.rename(columns={"price": "rain"}), r"data has no column 'rain'"),
    ):
        with pytest.raises(DataError, match=said):
            forecast(data, tmp_path / "out", future=write(tmp_path / name, {"a": table}))
    with pytest.raises(DataError, match="data has no column 'rain'"):
        forecast(data, tmp_path / "out", past_covariates=("rain",))
    with pytest.raises(DataError, match="nothing is there"):
        forecast(data, tmp_path / "out", future=tmp_path / "nowhere")
    (tmp_path / "other" / "b.parquet").write_bytes(b"PAR1 no more")
    (tmp_path / "sales.csv").write_text("item_id,timestamp,target\na,2024-01-01,1\n")
    with pytest.raises(DataError, match=r"sales\.csv cannot be read as Parquet .*read_csv\(…\)\.to_parquet"):
        forecast(tmp_path / "sales.csv", tmp_path / "out")
    with pytest.raises(DataError, match=r"b\.parquet cannot be read as Parquet"):
        forecast(data, tmp_path / "out", future=tmp_path / "other")
    with pytest.raises(ConfigError, match="feat_dynamic_real"):
        forecast(load_dataset(past[["item_id", "timestamp", "target"]]), tmp_path / "out", future=data)


def test_columns_that_nothing_is_made_of_are_told_and_one_covariate_needs_no_list(tmp_path: Path):
    past, _ = cut(known(2))
    data = write(tmp_path / "data", {"region=north/a": past})
    with pytest.warns(Note, match=r"columns 'price', 'visits' are not used; .* future .*past_covariates"):
        forecast(data, tmp_path / "without")
    with pytest.warns(Note, match="columns 'price' are not used"):
        forecast(data, tmp_path / "one", past_covariates="visits")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        forecast(data, tmp_path / "list", past_covariates=["visits", "price"])
        scale.anomaly(data, tmp_path / "scored", engine="local", prediction_length=3)
