"""Series of a table are taken by the names that a model's inputs had in training, at every call that takes entries."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.split import split as gluonts_split
from typer.testing import CliRunner

from shared.console.notes import Note
from shared.errors import CheckpointError, ConfigError, DataError
from shared.training.config import TrainingConfig
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator
from tests.tsdiff.faces.test_covariate_order import ONE, OTHER, cities, known
from tsdiff import TSDiff, TSDiffEstimator, TSDiffPredictor
from tsdiff.commands import application
from tsdiff.data import load_dataset, split
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.model.backbones import S4DConfig
from tsdiff.tasks.anomaly.scores import anomaly_scores

STATIC, TURNED = ["size", "age"], ["age", "size"]


def whole() -> pd.DataFrame:
    """Two series with two covariates and two static numbers, known beyond the last values."""
    past, future = known()
    return pd.concat([past, future]).assign(
        size=lambda all: all["item_id"].map({"a": 1.0, "b": 90.0}), age=lambda all: all["item_id"].map({"a": 7, "b": 3})
    )


def table(dynamic: list[str], static: list[str], ahead: bool = True) -> Any:
    frame = whole() if ahead else whole().dropna(subset="target")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        return load_dataset(frame, dynamic=dynamic, static=static)


@pytest.fixture(scope="module")
def learnt() -> TSDiffPredictor:
    estimator = tiny_estimator(steps=20, dynamic_features=2, static_features=2)
    return estimator.train(table(ONE, STATIC), progress=False)


def samples(predictor: Any, data: Any) -> list[np.ndarray]:
    return [one.samples for one in predictor.predict(data, 4)]


def test_entries_of_a_table_in_another_order_are_taken_by_their_names(learnt, tmp_path):
    """They were taken by their place in silence: a temperature for a price."""
    expected = samples(learnt, table(ONE, STATIC))
    learnt.save_pretrained(tmp_path)
    reloaded = TSDiffPredictor.from_pretrained(tmp_path)
    assert (reloaded.covariate_names, reloaded.static_names) == (tuple(ONE), tuple(STATIC))
    for predictor in (learnt, reloaded, EnsemblePredictor([reloaded])):
        for dynamic, static in ((OTHER, STATIC), (ONE, TURNED), (OTHER, TURNED)):
            np.testing.assert_array_equal(samples(predictor, table(dynamic, static)), expected)
    windows, others = (
        split(table(*names, ahead=False), HORIZON).test.input for names in ((ONE, STATIC), (OTHER, TURNED))
    )
    np.testing.assert_array_equal(samples(learnt, windows), samples(learnt, others))
    part = gluonts_split(table(OTHER, TURNED, ahead=False), offset=-HORIZON)[1]
    np.testing.assert_array_equal(samples(learnt, part.generate_instances(HORIZON).input), samples(learnt, others))


def test_what_was_split_twice_is_of_the_table_yet(learnt):
    """As where validation windows are cut from what a first split left for training."""
    parts = []
    for names in ((ONE, STATIC), (OTHER, TURNED)):
        kept = gluonts_split(table(*names, ahead=False), offset=-HORIZON)[0]
        training, template = gluonts_split(kept, offset=-HORIZON)
        parts.append((training, template.generate_instances(HORIZON).input))
    np.testing.assert_array_equal(*(samples(learnt, windows) for _, windows in parts))
    estimator = tiny_estimator(steps=1, dynamic_features=2, static_features=2)
    predictor = estimator.train(parts[0][0], progress=False)
    assert (predictor.covariate_names, predictor.static_names) == (tuple(ONE), tuple(STATIC))


def test_every_call_that_takes_entries_goes_by_names(learnt):
    one, other = table(ONE, STATIC), table(OTHER, TURNED)
    bounds = ([part.steps for part in learnt.log_likelihood(data, method="elbo")] for data in (one, other))
    np.testing.assert_array_equal(*bounds)
    np.testing.assert_array_equal(*([part.score for part in anomaly_scores(learnt, data)] for data in (one, other)))
    base = list(learnt.predict(one, 4))
    np.testing.assert_array_equal(*([part.samples for part in learnt.refine(base, data)] for data in (one, other)))
    holed = [load_dataset(_holed(), dynamic=names, static=static) for names, static in ((ONE, STATIC), (OTHER, TURNED))]
    np.testing.assert_array_equal(*([part.samples for part in learnt.impute(data, 2)] for data in holed))


def _holed() -> pd.DataFrame:
    frame = whole().dropna(subset="target").reset_index(drop=True)
    return frame.assign(target=frame["target"].where(frame.index % 9 > 0))


def test_other_names_of_entries_are_noted_and_rows_that_were_added_are_left(learnt):
    other = load_dataset(whole().rename(columns={"age": "floors"}), dynamic=ONE, static=["size", "floors"])
    with pytest.warns(Note, match="other covariates, and takes 'floors' for 'age'; is that right"):
        learnt.predict(other, 2)
    estimator = tiny_estimator(steps=1, dynamic_features=2, static_features=2)
    pool = EnsemblePredictor([learnt, estimator.train(table(OTHER, STATIC), progress=False)])
    with pytest.raises(ConfigError, match=r"\(heat, price\) and \(price, heat\)"):
        pool.predict(other, 2)
    more = table(OTHER, STATIC)
    twice = [entry | {"feat_dynamic_real": np.tile(entry["feat_dynamic_real"], (2, 1))} for entry in more]
    with pytest.raises(DataError, match="this model needs 2 of them"):
        samples(learnt, replace(more, entries=twice))


def test_damaged_names_of_numbers_are_refused(learnt, tmp_path):
    learnt.save_pretrained(tmp_path)
    about = tmp_path / "predictor.json"
    about.write_text(about.read_text().replace('"age"', "7"))
    with pytest.raises(CheckpointError, match=r"numbers=\['size', 7\] are not the names of the 2"):
        TSDiffPredictor.from_pretrained(tmp_path)


def test_a_training_that_starts_from_a_model_goes_by_its_names(learnt, tmp_path):
    """It learnt on with the places of the new table, and with categories that were counted anew."""
    learnt.save_pretrained(tmp_path / "one")
    made = [
        tiny_estimator(steps=2, dynamic_features=2, static_features=2, start_from=tmp_path / "one").train(
            table(*names), progress=False
        )
        for names in ((ONE, STATIC), (OTHER, TURNED))
    ]
    assert made[1].covariate_names == tuple(ONE)
    assert made[1].static_names == tuple(STATIC)
    np.testing.assert_array_equal(*(samples(one, table(ONE, STATIC)) for one in made))


def test_a_training_that_starts_from_a_model_may_choose_its_settings_by_the_series(tmp_path):
    """The settings that were not chosen yet were compared with the model's."""

    chosen = {"backbone": S4DConfig(patch=4, width=8, blocks=1, state=4), "training": TrainingConfig(max_steps=1)}
    estimator = TSDiffEstimator("h", HORIZON, from_data=("scaling", "context_length"), **chosen)
    first = estimator.train(sines(), progress=False)
    assert first.config.context_length != estimator.config.context_length
    first.save_pretrained(tmp_path)
    later = TSDiffEstimator("h", HORIZON, from_data=estimator.from_data, start_from=tmp_path, **chosen)
    assert later.train(sines(), progress=False).config == first.config


def test_a_training_that_starts_from_a_model_keeps_its_categories(tmp_path):
    first = load_dataset(cities(["a", "b", "c"]), static=["city"])
    tiny_estimator(steps=1, categories=(4,)).train(first, progress=False).save_pretrained(tmp_path)
    later = tiny_estimator(steps=1, categories=(4,), start_from=tmp_path)
    with pytest.raises(ConfigError, match=r"'city' have other codes .*vocabulary=predictor.vocabulary"):
        later.train(load_dataset(cities(["b", "c"]), static=["city"]), progress=False)
    of_start = TSDiffPredictor.from_pretrained(tmp_path).vocabulary
    for names, words, expected in (
        (["b", "c"], of_start, ("a", "b", "c")),
        (["a", "b"], None, ("a", "b", "c")),
        (["b", "d"], {"city": [*of_start["city"], "d"]}, ("a", "b", "c", "d")),
    ):
        series = load_dataset(cities(names), static=["city"], vocabulary=words)
        predictor = later.train(series, progress=False)
        assert predictor.vocabulary == {"city": expected}
    assert len(list(predictor.predict(series, 2))) == 2  # of a value that it has learnt since
    town = load_dataset(cities(["a", "b"]).rename(columns={"city": "town"}), static=["town"])
    with pytest.warns(Note, match="takes 'town' for 'city'"):
        assert later.train(town, progress=False).vocabulary == of_start


def test_categories_of_another_column_are_taken_where_they_are_coded_alike():
    first = cities(["a", "b"]).assign(zone=lambda all: all["item_id"].map({"a": "b", "b": "a"}))
    predictor = tiny_estimator(steps=1, categories=(2, 2)).train(
        load_dataset(first, static=["city", "zone"]), progress=False
    )
    renamed = load_dataset(first.rename(columns={"zone": "part"}), static=["city", "part"])
    with pytest.warns(Note, match="takes 'part' for 'zone'; is that right"):
        assert len(samples(predictor, renamed)) == 2
    with pytest.raises(ConfigError, match="call the columns as they were called then, in that order"):
        predictor.predict(load_dataset(first, static=["zone", "city"]))
    with pytest.raises(ConfigError, match="'part' have other codes"):
        predictor.predict(load_dataset(first.assign(part="c"), static=["city", "part"]))


def test_commands_that_score_or_go_on_with_a_model_code_categories_as_it_did(tmp_path):
    pd.concat([cities(["a", "b", "c"])]).to_csv(tmp_path / "first.csv", index=False)
    cities(["c"]).to_csv(tmp_path / "later.csv", index=False)
    tiny = [
        "training.max_steps=2", "samples=4", "sampling.steps=2", f"model.context_length={CONTEXT}",
        "model.backbone={kind: s4d, patch: 4, width: 8, blocks: 1, state: 4}", "data.static=[city]",
        f"data.prediction_length={HORIZON}",
    ]  # fmt: skip
    settings = [part for one in tiny for part in ("--set", one)]

    def invoke(verb: str, name: str, *more: str) -> Any:
        place = ["--set", f"data.name={tmp_path / name}.csv", "--output", str(tmp_path / f"{verb}-{name}")]
        return CliRunner().invoke(application(), [verb, *settings, *place, *more])

    assert invoke("train", "first").exit_code == 0
    model = str(tmp_path / "train-first" / "model")
    scored = invoke("evaluate", "later", "--model", model)
    assert scored.exit_code == 0, scored.output
    went_on = invoke("train", "later", "--set", f"start_from={model}")
    assert went_on.exit_code == 0, went_on.output
    found = TSDiffPredictor.from_pretrained(tmp_path / "train-later" / "model")
    assert found.vocabulary == {"city": ("a", "b", "c")}


def test_a_model_that_was_pickled_before_it_knew_names_is_used(learnt):
    """It ended in an AttributeError of torch."""
    old = pickle.loads(pickle.dumps(learnt.model))
    for name in ("covariate_names", "static_names", "vocabulary"):
        del old.__dict__[name]
    again = TSDiffPredictor(pickle.loads(pickle.dumps(old)))
    assert isinstance(again.model, TSDiff)
    assert (again.covariate_names, again.static_names, again.vocabulary) == ((), (), {})
    np.testing.assert_array_equal(samples(again, table(ONE, STATIC)), samples(learnt, table(ONE, STATIC)))
