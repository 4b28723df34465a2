"""Which weights a fine-tuning ends with."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.tsdiff.conftest import HORIZON, sines
from tsdiff.data import split_windows
from tsdiff.pretraining.finetuning import _Contest, _surely_less


@pytest.mark.parametrize("harmed", [True, False])
def test_the_weights_are_those_that_forecast_windows_best(trained, harmed):
    """Those it began with, or those that it came to; half-way between them is no forecaster."""
    good, bad = copy.deepcopy(trained.model.denoiser), copy.deepcopy(trained.model.denoiser)
    with torch.no_grad():
        for name, weights in bad.named_parameters():
            weights.copy_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(len(name))))
    predictor = copy.deepcopy(trained)
    predictor.model.denoiser.load_state_dict((good if harmed else bad).state_dict())
    contest = _Contest(predictor, split_windows(sines(4), HORIZON, 1).test)
    contest.look(bad if harmed else good, 5)
    contest.settle()
    assert contest.best.steps == (0 if harmed else 5)
    for name, weights in predictor.model.denoiser.state_dict().items():
        torch.testing.assert_close(weights, good.state_dict()[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("gained", "sure"),
    [
        ([0.1, 0.1, 0.1, 0.1], True),
        ([0.3, 0.2, 0.0, 0.1], True),
        ([0.9, -0.1, -0.1, 0.0], False),  # one window tells little
        ([-0.1, -0.1, -0.2, -0.1], False),
        ([0.0, 0.0, 0.0, 0.0], False),
        ([0.5], False),
    ],
)
def test_few_windows_are_believed_when_they_agree(gained, sure):
    usual = np.linspace(1.0, 2.0, len(gained))
    assert _surely_less(usual - np.array(gained), usual) == sure


def test_weights_that_are_better_on_one_window_alone_are_not_taken(trained, monkeypatch):
    """In the mean they are; but by the chance of that window."""
    contest = _Contest(copy.deepcopy(trained), split_windows(sines(4), HORIZON, 1).test)
    first = {name: weights.clone() for name, weights in contest.predictor.model.denoiser.state_dict().items()}
    other = copy.deepcopy(trained.model.denoiser)
    with torch.no_grad():
        for weights in other.parameters():
            weights.mul_(1.001)
    usual = contest._losses.copy()
    monkeypatch.setattr("tsdiff.pretraining.finetuning.window_losses", lambda *_: (usual * [0.1, 1.1, 1.1, 1.1], usual))
    contest.look(other, 5)
    contest.settle()
    assert contest.best is contest.first
    for name, weights in contest.predictor.model.denoiser.state_dict().items():
        torch.testing.assert_close(weights, first[name], rtol=0, atol=0)
