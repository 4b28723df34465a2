"""Settings of a training: averaged weights, learning rates, the time that it may take, what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from shared.errors import ConfigError
from shared.training.ema import ema_of
from shared.training.module import TrainingConfig, fit
from shared.training.monitoring import CPULimit
from shared.training.timing import Pace
from tests.shared.training.test_training import Points, make_module


def test_ema_follows_its_formula() -> None:
    model = nn.Linear(1, 1, bias=False)
    averaged = ema_of(model, 0.9)
    value = None
    for n, weight in enumerate([1.0, 2.0, 5.0, -1.0] + [3.0] * 120):
        with torch.no_grad():
            model.weight.fill_(weight)
        averaged.update_parameters(model)
        decay = min(0.9, (1 + n) / (10 + n))
        value = weight if value is None else decay * value + (1 - decay) * weight
    (weight,) = averaged.module.parameters()
    assert weight.item() == pytest.approx(value, rel=1e-5)
    assert not weight.requires_grad


def test_learning_rate_rises_then_falls() -> None:
    config = TrainingConfig(max_steps=100, warmup=0.1)
    rates = [config.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] or max(rates) == rates[9]
    assert rates[-1] < 1e-3
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert {TrainingConfig(max_steps=5, warmup=0, decay="constant").rate(step) for step in range(5)} == {1.0}


@pytest.mark.parametrize(
    "bad",
    [
        *({"max_steps": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}),
        *({"warmup": 1.0}, {"warmup": 1.5}, {"warmup": -0.1}),
        *({"gradient_clip": -1.0}, {"weight_decay": -0.1}, {"ema_decay": 1.0}),  # the first would turn gradients round
        *({"num_workers": -1}, {"save_every_seconds": -1.0}),
    ],
)
def test_settings_that_cannot_be(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        TrainingConfig(**bad)


def test_ema_decay_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="ema_decay"):
        ema_of(nn.Linear(1, 1), 1.0)


@pytest.mark.parametrize(("until", "steps"), [(0.0, 1), (float("inf"), 6)])
def test_a_training_ends_after_the_step_in_which_the_time_is_over(until, steps):
    module, counted = make_module(max_steps=6), []
    count = L.pytorch.callbacks.LambdaCallback(on_train_batch_end=lambda *_: counted.append(1))
    limit = CPULimit(until)
    fit(module, Points(), progress=False, callbacks=[limit, count])
    assert len(counted) == steps
    assert limit.ended == (steps if steps < 6 else None)


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 1), (2.0, 4), (100.0, 7)])
def test_steps_within_a_time_are_one_at_least_and_no_more_than_there_are(seconds, steps):
    assert Pace(0.5, 7).within(seconds) == steps
