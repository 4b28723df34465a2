"""Fine-tuning of the bundled model: what it keeps, what it undoes, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recipes.default_forecaster.generators import generate
from shared.errors import ConfigError
from tsdiff import TSDiffPredictor
from tsdiff.data.entries import Entry
from tsdiff.pretraining.finetuning import WEIGHED, FineTuning, fine_tune


def daily_entries(count: int, length: int) -> list[Entry]:
    series = generate("D", count, length, np.random.default_rng(1), {"product": 1.0})
    return [{"item_id": str(i), "start": series.periods[0], "target": row} for i, row in enumerate(series.values)]


def test_fine_tuning_keeps_what_forecasts_the_held_back_windows_best(default: TSDiffPredictor) -> None:
    predictor = default.adapted("D", 7)
    before = {name: value.clone() for name, value in predictor.model.state_dict().items()}
    made = fine_tune(predictor, daily_entries(4, 120), FineTuning(steps=3, held_back=8, batch_size=16))
    came, first, *rest = made.trials
    trained, others = rest[:3], rest[3:]
    assert (came.steps, came.change) == (0, "as it was")
    assert (first.steps, first.change) == (0, WEIGHED)
    assert [(trial.steps, trial.change) for trial in trained] == [(n, "as it was") for n in (1, 2, 3)]
    assert WEIGHED in made.change
    assert predictor.model.weighing is None is not made.predictor.model.weighing
    best = min(trained, key=lambda trial: trial.crps)
    scores = {trial.change: trial.crps for trial in others}
    assert list(scores) == ["half-way"]  # guidance there is none
    half = scores["half-way"] <= 1.02 * best.crps
    assert made.steps in (0, best.steps)
    if made.steps:
        assert (scores["half-way"] if half else best.crps) < first.crps
    assert ("half-way" in made.change) == (half and made.steps > 0)
    for name, value in predictor.model.state_dict().items():
        torch.testing.assert_close(value, before[name])
    taken, first_weights = made.predictor.model.denoiser.state_dict(), predictor.model.denoiser.state_dict()
    changed = any(not torch.equal(taken[name], value) for name, value in first_weights.items())
    assert changed == (made.steps > 0)


@pytest.mark.slow
def test_fine_tuning_that_harms_is_undone(default: TSDiffPredictor) -> None:
    predictor = default.adapted("D", 7)
    made = fine_tune(predictor, daily_entries(4, 120), FineTuning(steps=4, learning_rate=0.1, held_back=8, checks=2))
    assert made.steps == 0
    weights = made.predictor.model.denoiser.state_dict()
    for name, value in predictor.model.denoiser.state_dict().items():
        torch.testing.assert_close(value, weights[name])


@pytest.mark.slow
def test_fine_tuning_of_series_too_short_to_hold_back(default: TSDiffPredictor) -> None:
    predictor = default.adapted("D", 7)
    made = fine_tune(predictor, daily_entries(3, 25), FineTuning(steps=5))
    assert (made.steps, made.change, made.trials) == (5, "as it was", ())
    changed = made.predictor.model.denoiser.state_dict()
    assert any(not torch.equal(changed[n], w) for n, w in predictor.model.denoiser.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        *({"steps": 0}, {"cpu_minutes": 0.0}, {"held_back": -1}, {"checks": 0}),
        *({"cpu_minutes": float("inf")}, {"learning_rate": -1e-3}, {"batch_size": 0}),
    ],
)
def test_fine_tuning_that_cannot_be_is_named(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        FineTuning(**change)  # type: ignore[arg-type]
