"""Ensembles: whose samples they are, what they refuse, and that they survive the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.model.predictor import Predictor

from shared.errors import CheckpointError, ConfigError
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.ensemble import EnsemblePredictor


@pytest.fixture(scope="module")
def pair(trained: TSDiffPredictor) -> EnsemblePredictor:
    other = tiny_estimator(steps=20, seed=1).train(sines(), progress=False)
    return EnsemblePredictor([trained, other]).with_sampling(steps=4)


def test_samples_are_the_members_samples(pair: EnsemblePredictor):
    found = list(pair.predict(iter(sines()), num_samples=5))
    parts = [list(m.predict(sines(), n)) for m, n in zip(pair.members, (3, 2), strict=True)]
    for forecast, one, two in zip(found, *parts, strict=True):
        assert np.array_equal(forecast.samples, np.concatenate([one.samples, two.samples]))
        assert (forecast.item_id, forecast.start_date) == (one.item_id, one.start_date)
        assert forecast.samples.shape == (5, HORIZON)
    assert pair.nfe == 4


def test_members_of_one_seed_draw_independently(trained: TSDiffPredictor, tmp_path: Path):
    twice = EnsemblePredictor([trained, trained]).with_sampling(steps=4)
    assert twice.members[0].sampling.seed == trained.sampling.seed
    twice.serialize(tmp_path)
    for one in (twice, EnsemblePredictor.from_pretrained(tmp_path), twice.with_sampling(seed=3)):
        (forecast, *_) = one.predict(sines(), 100)
        first, second = np.split(forecast.samples, 2)
        assert len(np.unique(forecast.samples, axis=0)) == 100
        away = first - first.mean(0), second - second.mean(0)
        assert abs((away[0] * away[1]).mean()) < 0.3 * first.var(axis=0).mean()


def test_what_cannot_be_an_ensemble_is_refused(pair: EnsemblePredictor):
    with pytest.raises(ConfigError, match="at least one member"):
        EnsemblePredictor([])
    with pytest.raises(ConfigError, match="num_samples=1"):
        pair.predict(sines(), 1)
    other = tiny_estimator(steps=1, channels=2)
    model = other.train([{**sines()[0], "target": np.ones((2, 60))}], progress=False)
    with pytest.raises(ConfigError, match="channels"):
        EnsemblePredictor([pair.members[0], model])


def test_what_it_is_is_what_the_first_member_is(trained: TSDiffPredictor):
    longer = TSDiffPredictor(TSDiff(replace(trained.config, context_length=2 * CONTEXT)))
    assert EnsemblePredictor([trained, longer]).config == trained.config != longer.config
    assert EnsemblePredictor([longer, trained]).config == longer.config


@pytest.mark.parametrize("count", ["0", "-1", "1000000", "1.5", "null", "true"])
def test_a_damaged_number_of_members_is_told_with_its_file(count: str, tmp_path: Path):
    (tmp_path / "ensemble.json").write_text(f'{{"members": {count}}}')
    with pytest.raises(CheckpointError, match=r"ensemble\.json states .* members, and not 1 to .*; serialize it"):
        EnsemblePredictor.from_pretrained(tmp_path)


def test_gaps_are_filled_by_the_members_draws(pair: EnsemblePredictor):
    holed = [entry | {"target": np.where(np.arange(200) % 40 > 3, entry["target"], np.nan)} for entry in sines()]
    found = list(pair.impute(iter(holed), 5))
    parts = [list(one.impute(holed, n)) for one, n in zip(pair.members, (3, 2), strict=True)]
    for made, one, two in zip(found, *parts, strict=True):
        assert np.array_equal(made.samples, np.concatenate([one.samples, two.samples]))
    with pytest.raises(ConfigError, match="num_samples=1"):
        pair.impute(holed, 1)
    frame = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=200, freq="h"), "load": holed[0]["target"]})
    table = pair.impute_df(frame, target="load", num_samples=6, steps=2)
    assert list(table.columns[:4]) == ["item_id", "when", "load", "imputed"]
    assert table["imputed"].sum() == 20
    assert table["mean"].notna().all()


def test_it_survives_the_disk(pair: EnsemblePredictor, tmp_path: Path):
    pair.save_pretrained(tmp_path / "e")
    again = Predictor.deserialize(tmp_path / "e")
    assert isinstance(again, EnsemblePredictor)
    (one,), (two,) = (list(p.predict(sines(1), 4)) for p in (pair, again))
    assert np.array_equal(one.samples, two.samples)
    with pytest.raises(CheckpointError, match="no ensemble"):
        EnsemblePredictor.from_pretrained(tmp_path / "e" / "0")
