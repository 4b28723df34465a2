"""What is chosen from the data, what is left alone, and the stop on held-out windows."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.core import serde

from shared.errors import ConfigError
from shared.training.config import TrainingConfig
from shared.training.module import LAST_STATE
from tests.tsdiff.conftest import sines, tiny_estimator
from tsdiff import TSDiffEstimator
from tsdiff.data import held_back
from tsdiff.data.windows import hold_back
from tsdiff.fitting.held_out import HeldOut
from tsdiff.model.backbones import S4DConfig

TINY = S4DConfig(patch=4, width=16, blocks=1, state=4)


def entries(values: np.ndarray, freq: str = "D") -> list[dict[str, object]]:
    return [
        {"item_id": str(n), "start": pd.Period("2020-01-01", freq), "target": row}
        for n, row in enumerate(np.atleast_2d(values))
    ]


def settled(values: np.ndarray, freq: str = "D", horizon: int = 7, **settings: object) -> TSDiffEstimator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TSDiffEstimator(freq, horizon, **settings).settled(entries(values, freq))  # type: ignore[arg-type]


RNG = np.random.default_rng(0)
WEEK = np.sin(2 * np.pi * np.arange(2000) / 7)


@pytest.mark.parametrize(
    ("values", "scaling"),
    [
        (100 + 40 * np.cumsum(RNG.normal(size=(4, 2000)), axis=1), "last"),
        (RNG.poisson(0.5, size=(4, 2000)).astype(float), "mean"),
        (10 + 4 * WEEK + RNG.normal(size=(4, 2000)), "mean"),
        (1e6 + WEEK + RNG.normal(size=(4, 2000)), "standard"),
        (WEEK + RNG.normal(size=(4, 2000)), "standard"),
        (np.array([[1.0], [30.0]]) * WEEK + 100 + RNG.normal(size=(2, 2000)), "standard"),
        (np.full((2, 2000), 3.0), "mean"),
    ],
)
def test_scaling_suits_the_series(values, scaling):
    assert settled(values).config.scaling == scaling


def test_windows_and_steps_grow_with_the_data():
    few, many = settled(WEEK[:40]), settled(np.tile(WEEK, (100, 1)))
    assert (few.config.length, few.training.max_steps, few.config.backbone.dropout) == (21, 500, 0.2)
    assert (many.config.length, many.training.max_steps, many.config.backbone.dropout) == (91, 7000, 0.0)
    assert (few.training.ema_decay, many.training.ema_decay) == (
        pytest.approx(1 - 7 / 507),
        pytest.approx(0.999, abs=1e-5),
    )
    assert settled(WEEK[:150], "M", 12).config.length == 60  # patches of a year
    assert settled(WEEK[:3]).config.length >= 14  # too short for anything, and yet no error


def test_what_the_caller_gives_stays():
    training = TrainingConfig(max_steps=9)
    given = settled(WEEK[:40], context_length=35, scaling="none", backbone=TINY, training=training)
    assert (given.config.scaling, given.config.backbone, given.training) == ("none", TINY, training)
    assert given.config.context_length == 37  # whole patches
    for estimator, steps in (
        (TSDiffEstimator("D", 7, trainer_kwargs={"max_steps": 8}), 8),
        (TSDiffEstimator("D", 7).with_training(max_steps=6), 6),
        (TSDiffEstimator("D", 7, from_data=()), 7000),
        (TSDiffEstimator("D", 7, from_data=["scaling"]), 7000),
        (TSDiffEstimator("D", 7, from_data="scaling"), 7000),
    ):
        assert estimator.settled(entries(WEEK)).training.max_steps == steps
    assert TSDiffEstimator("D", 7, lr=1e-4).with_training(seed=3).from_data[-1] == "max_steps"
    assert settled(WEEK, from_data=()).config == TSDiffEstimator("D", 7).config
    with pytest.raises(ConfigError, match="scaling, context_length, backbone, max_steps"):
        TSDiffEstimator("D", 7, from_data=["steps"])


def test_what_is_open_stays_open_when_written():
    for estimator in (TSDiffEstimator("D", 7).with_training(seed=2), TSDiffEstimator("D", 7, 28)):
        read = serde.decode(serde.encode(estimator))
        assert (read, read.from_data) == (estimator, estimator.from_data)


def test_few_values_are_said_with_what_does_without_training():
    with pytest.warns(UserWarning, match="40 values are few to train on.*from_pretrained.*tsdiff.auto"):
        TSDiffEstimator("D", 7).settled(entries(WEEK[:40]))
    with pytest.warns(UserWarning, match="^1 value is little to train on"):
        TSDiffEstimator("D", 7).settled(entries(WEEK[:1]))


def test_held_out_values_are_never_trained_on():
    rows = sines(2, 200)
    held = held_back(rows, 8, 4, np.random.default_rng(0))
    assert held is not None
    assert (held.places, held.steps, len(held.windows)) == ((0, 1), 16, 4)
    estimator = tiny_estimator()
    for row in rows:
        row["target"][-16:] = 1e6
    from tsdiff.windows.source import training_series

    source = estimator._source(training_series(rows, estimator.config), held)
    assert np.nanmax(source._draw(np.random.default_rng(0), 500)[0]) < 1e6


def test_what_is_held_back_is_cut_off_the_series():
    rows = sines(3, 200)
    kept, windows = hold_back(rows, 8, 4, np.random.default_rng(0))
    held = held_back(rows, 8, 4, np.random.default_rng(0))
    assert windows is not None
    assert held is not None
    for place, (row, left) in enumerate(zip(rows, kept, strict=True)):
        end = len(row["target"]) - (held.steps if place in held.places else 0)
        np.testing.assert_array_equal(left["target"], row["target"][:end])
    assert 0 < len(held.places) < 3


def test_the_weights_are_those_that_forecast_held_out_windows_best(monkeypatch, tmp_path):
    looks: list[HeldOut] = []
    init = HeldOut.__init__

    def seen(self, *args):  # type: ignore[no-untyped-def]
        init(self, *args)
        looks.append(self)

    monkeypatch.setattr(HeldOut, "__init__", seen)
    made = tiny_estimator(16).train(sines(2, 120), progress=False, folder=tmp_path, hold_out=True)
    (look,) = looks
    assert [row["step"] for row in look.rows] == [2, 4, 6, 8, 10, 12, 14, 16][: len(look.rows)]
    assert look.weights is not None
    for name, value in made.model.denoiser.state_dict().items():
        torch.testing.assert_close(value, look.weights[name])
    again = tiny_estimator(16).train(
        sines(2, 120), progress=False, folder=tmp_path, hold_out=True
    )  # which goes on from its end
    for name, value in again.model.denoiser.state_dict().items():
        torch.testing.assert_close(value, look.weights[name])


def test_a_training_that_stopped_early_is_not_gone_on_with(tmp_path):
    rows = sines(3, 120)
    for row in rows:  # what is held out contradicts what is learnt
        row["target"][-48:] = np.where(np.arange(48) // 8 % 2, 0.1, 3 * row["target"].mean())
    made, steps = [], []
    for _ in range(2):
        predictor = tiny_estimator(160).train(rows, progress=False, folder=tmp_path, hold_out=True)
        made.append(predictor.model.state_dict())
        steps.append(torch.load(tmp_path / LAST_STATE, weights_only=True)["global_step"])
    assert steps == [100, 100]
    for name, value in made[0].items():
        torch.testing.assert_close(value, made[1][name], rtol=0, atol=0)


def test_it_stops_when_nothing_gets_better():
    look = object.__new__(HeldOut)
    look.monitor, look.rows = "score", [{"step": n, "score": -float(n)} for n in range(1, 5)]
    assert not look._over()
    look.rows.append({"step": 5.0, "score": -5.0})
    assert look._over()
