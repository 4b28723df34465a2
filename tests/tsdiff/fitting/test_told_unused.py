"""Covariates that a model is not made for are told of before it is trained, or forecasts, without them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from shared.console.notes import Note
from shared.console.progress import set_quiet
from tests.tsdiff.conftest import HORIZON, sines, tiny_estimator
from tsdiff import TSDiffEstimator
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.evaluation.tuning import TuningGrid, tune

PROMOTIONS = [{**entry, "feat_dynamic_real": np.ones((1, 200 + HORIZON))} for entry in sines()]


def notes(estimator: TSDiffEstimator, entries: list[dict[str, object]]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.train(iter(entries), progress=False)
    return [str(one.message) for one in caught if issubclass(one.category, Note)]


def test_covariates_that_the_model_is_not_made_for_are_told_once():
    said = notes(tiny_estimator(1), [*sines(1), *PROMOTIONS])
    assert len(said) == 1
    assert said[0].startswith("series 's0' has feat_dynamic_real, which this model is made without: it is left out")
    assert "TSDiffEstimator(…, dynamic_features=…)" in said[0]
    both = [{**entry, "feat_static_real": [1.0]} for entry in PROMOTIONS]
    said = notes(tiny_estimator(1), both)
    assert [one.split(", which")[0].split()[-1] for one in said] == ["feat_dynamic_real", "feat_static_real"]


def test_nothing_is_told_of_what_is_taken_empty_or_a_category():
    assert not notes(tiny_estimator(1, dynamic_features=1), PROMOTIONS)
    nothing = {"feat_dynamic_real": None, "feat_static_real": np.zeros(0), "feat_static_cat": [0]}
    assert not notes(tiny_estimator(1), [{**entry, **nothing} for entry in sines()])


def test_quiet_silences_it():
    set_quiet(True)
    try:
        assert not notes(tiny_estimator(1), PROMOTIONS)
    finally:
        set_quiet(False)


def test_forecasts_that_leave_covariates_out_say_so_once_and_how_they_enter(default):
    entries = [
        {**entry, "start": pd.Period("2024-01-01", "D"), "feat_dynamic_real": np.ones((1, 214))} for entry in sines(2)
    ]
    daily = default.adapted("D", 14)
    for predictor, said in (
        (daily, 1),
        (daily.with_sampling(counts=False), 1),
        (daily.with_sampling(covariates=True), 0),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert len(list(predictor.predict(entries, num_samples=5))) == 2
        told = [str(one.message) for one in caught if "feat_dynamic_real" in str(one.message)]
        assert len(told) == said
        assert all("with_sampling(covariates=True)" in one for one in told)


def test_members_and_trials_tell_it_once_for_all(default):
    daily = default.adapted("D", 7)
    entries = [
        {**entry, "start": pd.Period("2024-01-01", "D"), "feat_dynamic_real": np.ones((1, 207))} for entry in sines(1)
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(list(EnsemblePredictor([daily, daily]).predict(entries, num_samples=4))) == 1
        tune(daily, entries, grid=TuningGrid(guidance=("mse",), scales=(1.0, 2.0)), num_samples=2)
    assert ["with_sampling(covariates=True)" in str(one.message) for one in caught] == [True]


def test_covariates_of_the_past_are_told_of_too(default):
    past = {"start": pd.Period("2024-01-01", "D"), "past_feat_dynamic_real": np.ones((1, 200))}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(default.adapted("D", 7).predict([{**entry, **past} for entry in sines(2)], num_samples=2))
    assert ["has past_feat_dynamic_real" in str(one.message) for one in caught] == [True]
