"""A schedule for one forecaster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import sines, tiny_estimator
from tsdiff import Sampling, TSDiffPredictor
from tsdiff.evaluation.schedule import search_schedule


@pytest.fixture(scope="module")
def predictor() -> TSDiffPredictor:
    return tiny_estimator().train(sines(), progress=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        "ode2",
        "sde2",
        {"kind": "gaussian", "teleport": -1.0},
    ],
    ids=str,
)
def test_it_is_found_used_and_kept(predictor: TSDiffPredictor, tmp_path: Path, method: object) -> None:
    base = predictor.with_sampling(method=method)
    found, search = search_schedule(base, sines(2), 5, draws=2, fine=40, most_runs=15)
    assert search.error <= search.before
    assert found.sampling.schedule == search.times
    assert found.sampling.method == base.sampling.method
    assert (search.times[0], search.times[-1], len(search.times)) == (1.0, 0.0, 6)
    drawn = next(iter(found.predict(sines(1), 3))).samples
    assert found.nfe == 5
    found.serialize(tmp_path)
    again = TSDiffPredictor.deserialize(tmp_path)
    assert again.sampling == found.sampling
    np.testing.assert_array_equal(next(iter(again.predict(sines(1), 3))).samples, drawn)
    assert found.model.sample(2, method="ode2", steps=5, schedule=search.times).shape[0] == 2


def test_as_many_calls_as_the_predictor_makes_unless_told(predictor: TSDiffPredictor) -> None:
    base = predictor.with_sampling(method="ode1", steps=3)
    for steps, calls in ((None, 3), (2, 2)):
        found, search = search_schedule(base, sines(1), steps, draws=1, fine=4, most_runs=2)
        assert found.sampling.steps == calls
        assert len(search.times) == calls + 1


def test_what_does_not_fit_is_refused(predictor: TSDiffPredictor) -> None:
    with pytest.raises(DataError, match="no series"):
        search_schedule(predictor, [], 4)
    with pytest.raises(ConfigError, match="steps=0: need a whole number, at least 1"):
        search_schedule(predictor, sines(1), 0)
    with pytest.raises(ConfigError, match="take sde1 or ode1"):
        search_schedule(predictor.with_sampling(method="ddim"), sines(1), 4)
    with pytest.raises(ConfigError, match="give steps=2 with it"):
        Sampling(schedule=(1.0, 0.5, 0.0))
    for wrong in ("uniform", (1.0, None), ((1.0, 0.5), (0.0,)), 5):
        with pytest.raises(ConfigError, match=r"schedule=.*: need falling times, such as \(1.0, 0.5, 0.0\)"):
            Sampling(steps=1, schedule=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="steps through a table"):
        Sampling(method="ddpm", steps=2, schedule=(1.0, 0.5, 0.0))
