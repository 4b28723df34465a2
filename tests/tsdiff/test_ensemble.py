"""Ensembles: whose samples they are, what they refuse, and that they survive the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gluonts.model.predictor import Predictor

from shared.errors import CheckpointError, ConfigError
from tests.tsdiff.conftest import HORIZON, sines, tiny_estimator
from tsdiff import TSDiffPredictor
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


def test_what_cannot_be_an_ensemble_is_refused(pair: EnsemblePredictor):
    with pytest.raises(ConfigError, match="at least one member"):
        EnsemblePredictor([])
    with pytest.raises(ConfigError, match="num_samples=1"):
        pair.predict(sines(), 1)
    other = tiny_estimator(steps=1, channels=2)
    model = other.train([{**sines()[0], "target": np.ones((2, 60))}], progress=False)
    with pytest.raises(ConfigError, match="channels"):
        EnsemblePredictor([pair.members[0], model])


def test_it_survives_the_disk(pair: EnsemblePredictor, tmp_path: Path):
    pair.serialize(tmp_path / "e")
    again = Predictor.deserialize(tmp_path / "e")
    assert isinstance(again, EnsemblePredictor)
    (one,), (two,) = (list(p.predict(sines(1), 4)) for p in (pair, again))
    assert np.array_equal(one.samples, two.samples)
    with pytest.raises(CheckpointError, match="no ensemble"):
        EnsemblePredictor.from_pretrained(tmp_path / "e" / "0")
