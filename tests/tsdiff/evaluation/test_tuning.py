"""Guidance and step count chosen on validation windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from shared.errors import ConfigError, DataError
from shared.guidance import Guidance
from shared.samplers import Exponential
from tests.tsdiff.conftest import HORIZON, sines, tiny_estimator
from tsdiff import Sampling
from tsdiff.data import SeriesStore, split
from tsdiff.evaluation.metrics import evaluate
from tsdiff.evaluation.tuning import TuningGrid, tune
from tsdiff.sampling.settings import Observation

GRID = TuningGrid(guidance=("mse",), scales=(0.0, 1.0), steps=(2, 6))


def test_the_grid_holds_each_effective_setting_once():
    assert TuningGrid((), (), ()).settings(Sampling(scale=2.5)) == [Sampling(scale=2.5)]
    found = GRID.settings(Sampling())
    assert [(s.scale, s.steps) for s in found] == [(0, 2), (0, 6), (1, 2), (1, 6)]
    published = TuningGrid(("mse", "quantile"), (1.0,), (8, 16), methods=("ddpm", "ddim", "sde2"), skips=(1, 5))
    made = published.settings(Sampling())
    assert len(made) == len(set(made)) == 2 * (1 + 2 + 2)  # energies × (ddpm + ddim by skip + sde2 by steps)
    with pytest.raises(ConfigError, match="scale=-1"):
        TuningGrid(scales=(-1.0,)).settings(Sampling())


def test_a_schedule_keeps_its_calls(trained):
    timed = Sampling(steps=2, schedule=(1.0, 0.5, 0.0))
    assert [(s.scale, s.steps, s.schedule) for s in GRID.settings(timed)] == [
        (0, 2, timed.schedule),
        (1, 2, timed.schedule),
    ]
    found = tune(trained.with_sampling(**vars(timed)), sines(), grid=GRID, num_samples=4)
    assert {trial.nfe for trial in found.trials} == {2}


def test_the_best_setting_is_the_best_of_the_table_and_scores_as_told(trained):
    before = trained.sampling
    found = tune(trained, sines(), windows=2, grid=GRID, num_samples=20)
    assert trained.sampling == before
    assert found.windows == 6
    assert len(found.trials) == 4
    assert found.best.crps == min(trial.crps for trial in found.trials)
    assert found.best.sampling == found.predictor.sampling
    assert found.best.sampling.scale == 1.0  # a forecast that ignores the history cannot win on sines
    test = split(sines(), HORIZON, 2).test
    assert evaluate(found.predictor.predict(test.input, 20), test).crps == found.best.crps
    frame = found.to_frame()
    assert frame["crps"].is_monotonic_increasing
    assert frame["nfe"].tolist()[0] == found.best.nfe
    assert found.to_markdown().count("\n") == 2 + 2 + 4


def test_the_same_call_gives_the_same_result_from_any_source(trained):
    many = sines(6)
    first = tune(trained, many, grid=GRID, num_samples=5, max_series=2, seed=3)
    scores = [repr(trial.metrics) for trial in first.trials]  # a NaN equals itself as text alone
    with SeriesStore.of(many, spool_above=0) as store:
        for other in (many, iter(many), store):
            again = tune(trained, other, grid=GRID, num_samples=5, max_series=2, seed=3)
            assert [repr(trial.metrics) for trial in again.trials] == scores
    assert first.windows == 2
    other = tune(trained, many, grid=GRID, num_samples=5, max_series=2, seed=4)
    assert repr(other.trials[0].metrics) != scores[0]


def test_a_setting_that_diverges_loses_and_is_told(trained):
    grid = TuningGrid(("mse",), (1.0, 1e30), (6,))
    scalar = trained.with_sampling(covariance="scalar")
    found = tune(scalar, sines(), grid=grid, num_samples=5)
    assert found.best.sampling.scale == 1.0
    lost = found.trials[1]
    assert lost.metrics is None
    assert math.isinf(lost.crps)
    assert "not finite" in lost.error
    assert "not finite" in found.to_markdown()
    with pytest.raises(DataError, match=r"none of 1 settings gives a finite score .*not finite"):
        tune(scalar, sines(), grid=TuningGrid(("mse",), (1e30,), (6,)), num_samples=5)


@dataclass(frozen=True)
class Unguided:
    """Settings of a user's own guidance."""

    kind: str = "unguided"

    def build(self, observation: Observation) -> Guidance:
        return Guidance()


def test_settings_of_a_users_own_stay_while_others_are_tuned(trained):
    own = trained.with_sampling(guidance=Unguided(), method=Exponential(1))
    found = tune(own, sines(), grid=TuningGrid((), (), (2, 6)), num_samples=5)
    used = found.predictor.sampling
    assert (used.guidance, used.method) == (Unguided(), Exponential(1))
    assert used.steps in (2, 6)
    assert {repr(trial.sampling.guidance) for trial in found.trials} == {repr(Unguided())}


def test_nothing_of_guidance_is_tried_of_a_model_that_takes_none():
    told = tiny_estimator(2, conditional=True).train(sines(), progress=False)
    found = tune(told, sines(), grid=TuningGrid(steps=(2, 3), observation_stds=(0.1, 0.2)), num_samples=5)
    assert [trial.sampling.steps for trial in found.trials] == [2, 3]
    assert {trial.sampling.guidance for trial in found.trials} == {told.sampling.guidance}


def test_series_without_a_validation_window_are_left_out(trained):
    hidden = {**sines(1)[0], "item_id": "hidden"}
    hidden["target"] = hidden["target"].copy()
    hidden["target"][-HORIZON:] = np.nan
    short = {"item_id": "short", "start": pd.Period("2024-01-01", "h"), "target": np.ones(HORIZON, np.float32)}
    assert tune(trained, [hidden, short, *sines(1)], grid=GRID, num_samples=3).windows == 1
    with pytest.raises(DataError, match="no series has observed values before and in its last 1 × 8 steps"):
        tune(trained, [hidden, short], grid=GRID)
    for options in ({"windows": 0}, {"num_samples": 0}, {"max_series": 0}):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}=0"):
            tune(trained, sines(), grid=GRID, **options)
