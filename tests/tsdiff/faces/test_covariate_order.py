"""A model that was trained with covariates takes them by the names of their columns, in whatever order they come."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from shared.console.notes import Note
from shared.errors import CheckpointError, ConfigError, DataError
from tests.tsdiff.conftest import HORIZON, tiny_estimator
from tests.tsdiff.faces.test_predict_df import long, silent
from tsdiff import TSDiffPredictor
from tsdiff.commands.job import load_job
from tsdiff.commands.matching import refuse_other_order
from tsdiff.commands.options import Forecast
from tsdiff.data import load_dataset, split
from tsdiff.ensemble import EnsemblePredictor

ONE, OTHER = ["price", "heat"], ["heat", "price"]


def known() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A past of two series with two covariates unlike each other, and their future."""
    stamps = pd.date_range("2024-01-01", periods=60 + HORIZON, freq="h")
    rng = np.random.default_rng(0)
    whole = long(("a", "b"), stamps)
    whole["price"], whole["heat"] = rng.random(len(whole)), 30 + 9 * rng.random(len(whole))
    past = whole["timestamp"] < stamps[60]
    return whole[past], whole[~past].drop(columns="target")


def trained(columns: list[str], steps: int = 5) -> TSDiffPredictor:
    estimator = tiny_estimator(steps=steps, dynamic_features=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        return estimator.fit(known()[0], covariates=columns, progress=False)


def ordered(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return frame[[name for name in frame.columns if name not in columns] + columns]


def test_columns_in_another_order_are_taken_by_their_names(tmp_path):
    past, future = known()
    predictor = trained(ONE)
    expected = silent(predictor.predict_df, past, ordered(future, ONE), prediction_length=HORIZON)
    predictor.save_pretrained(tmp_path / "model")
    reloaded = TSDiffPredictor.from_pretrained(tmp_path / "model")
    for one in (predictor, reloaded.with_horizon(HORIZON).with_sampling(seed=0), EnsemblePredictor([reloaded])):
        found = silent(one.predict_df, past, ordered(future, OTHER), prediction_length=HORIZON)
        pd.testing.assert_frame_equal(found, expected)
    checked = [silent(reloaded.cross_validation_df, past, covariates=names) for names in (ONE, OTHER)]
    pd.testing.assert_frame_equal(*checked)


def test_other_names_are_noted():
    past, future = (frame.rename(columns={"heat": "cold"}) for frame in known())
    with pytest.warns(Note, match="other covariates, and takes 'cold' for 'heat'; is that right"):
        trained(ONE).predict_df(past, future, num_samples=2)


def test_members_that_learnt_other_orders_do_not_forecast_frames_together():
    past, future = known()
    pool = EnsemblePredictor([trained(ONE), trained(OTHER)])
    with pytest.raises(ConfigError, match=r"trained with covariates \(heat, price\) and \(price, heat\)"):
        pool.predict_df(past, future, num_samples=4)


def test_a_table_for_the_command_line_in_another_order_is_refused():
    series = load_dataset(known()[0], dynamic=ONE)
    estimator = tiny_estimator(steps=1, dynamic_features=2)
    predictor = estimator.train(split(series, HORIZON).train, progress=False)
    refuse_other_order("m", predictor, series)
    with pytest.raises(ConfigError, match=r"m was trained .* in another order: give --dynamic price --dynamic heat"):
        refuse_other_order("m", predictor, load_dataset(known()[0], dynamic=OTHER))


def cities(names: list[str]) -> pd.DataFrame:
    """A series a city, each at a level of its own."""
    stamps = pd.date_range("2024-01-01", periods=60, freq="h")
    parts = [
        pd.DataFrame({"item_id": name, "timestamp": stamps, "target": 10.0 ** ord(name[0]) % 97, "city": name})
        for name in names
    ]
    return pd.concat(parts).assign(target=lambda all: all["target"] + np.arange(len(all)) % 5)


def test_categories_have_the_codes_that_the_model_was_trained_with(tmp_path):
    """Those of a later table were counted anew, so that each city was taken for another."""
    whole = load_dataset(cities(["a", "b", "c"]), static=["city"])
    predictor = tiny_estimator(steps=3, categories=whole.cardinalities).train(
        split(whole, HORIZON).train, progress=False
    )
    predictor.serialize(tmp_path / "model")
    cities(["c"]).to_csv(tmp_path / "later.csv", index=False)
    options = Forecast(
        data=tmp_path / "later.csv", static=["city"], target="target", model=str(tmp_path / "model"), windows=0
    )
    job = load_job(options, forecast_only=True)
    (found,), (expected,) = (
        list(TSDiffPredictor.from_pretrained(tmp_path / "model").predict(entries, 4))
        for entries in (job.series, [whole[2]])
    )
    np.testing.assert_allclose(found.samples, expected.samples)
    with pytest.raises(ConfigError, match=r"'city' have other codes .*vocabulary=predictor.vocabulary"):
        predictor.predict(load_dataset(cities(["c"]), static=["city"]))
    assert len(list(predictor.predict(load_dataset(cities(["a", "b"]), static=["city"]), 2))) == 2  # of the same codes
    again = load_dataset(cities(["c"]), static=["city"], vocabulary=predictor.vocabulary)
    assert len(list(predictor.predict(again, 2))) == 1
    cities(["d"]).to_csv(tmp_path / "later.csv", index=False)
    with pytest.raises(DataError, match="'city' holds 'd', which is not among the known a, b, c; train a model"):
        load_job(options, forecast_only=True)


def test_members_refuse_series_with_other_codes_as_one_model_does():
    whole = load_dataset(cities(["a", "b", "c"]), static=["city"])
    estimator = tiny_estimator(steps=1, categories=(3,))
    pool = EnsemblePredictor([estimator.train(whole, progress=False) for _ in range(2)])
    assert pool.vocabulary == whole.vocabulary
    assert len(list(pool.predict(whole, 2))) == 3
    with pytest.raises(ConfigError, match=r"'city' have other codes"):
        pool.predict(load_dataset(cities(["c"]), static=["city"]), 2)


@pytest.mark.parametrize(("column", "room"), [("city", 10), (1, 3)])
def test_room_for_more_categories_and_columns_that_are_called_by_numbers(tmp_path, column, room):
    """Such models were saved and could not be loaded; series of such columns were refused after a reload."""
    frame = cities(["a", "b", "c"]).rename(columns={"city": column})
    whole = load_dataset(frame, static=[column])
    tiny_estimator(steps=1, categories=(room,)).train(whole, progress=False).save_pretrained(tmp_path)
    predictor = TSDiffPredictor.from_pretrained(tmp_path)
    assert predictor.vocabulary == {str(column): ("a", "b", "c")}
    later = load_dataset(frame[frame["item_id"] == "c"], static=[column], vocabulary=predictor.vocabulary)
    assert later[0]["feat_static_cat"].tolist() == [2]
    assert len(list(predictor.predict(later, 2))) == 1


def test_a_model_of_more_covariates_than_its_table_had_is_loaded_without_their_names(tmp_path):
    series = load_dataset(known()[0], dynamic=ONE)
    more = [entry | {"feat_dynamic_real": np.tile(entry["feat_dynamic_real"], (2, 1))} for entry in series]
    estimator = tiny_estimator(steps=1, dynamic_features=4)
    estimator.train(replace(series, entries=more), progress=False).save_pretrained(tmp_path)
    assert TSDiffPredictor.from_pretrained(tmp_path).covariate_names == ()


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"covariates": ["price"]}, r"covariates=\['price'\] are not the names of the 2"),
        ({"covariates": "ab"}, "covariates='ab' are not the names"),
        (
            {"categories": {"city": ["a"]}},
            r"categories={'city': \['a'\]} are not the values of categories of sizes \[\]",
        ),
        ({"categories": ["a"]}, "are not the values"),
        ({"categories": {"city": "ab"}}, "are not the values"),
    ],
)
def test_damaged_names_are_refused(tmp_path, about, said):
    trained(ONE, steps=1).save_pretrained(tmp_path)
    (tmp_path / "predictor.json").write_text(json.dumps({"prediction_length": HORIZON, **about}))
    with pytest.raises(CheckpointError, match=said):
        TSDiffPredictor.from_pretrained(tmp_path)


def test_gaps_of_a_frame_by_a_model_with_covariates_name_the_call_that_fills_them():
    past, _ = known()
    predictor = trained(ONE, steps=1)
    with pytest.raises(ConfigError, match=r"2 covariates, which impute_df does not; call `impute` .*dynamic="):
        predictor.impute_df(past)
    holed = past.assign(target=past["target"].where(past.index % 7 > 0))
    assert len(list(predictor.impute(load_dataset(holed, dynamic=ONE), 2))) == 2
