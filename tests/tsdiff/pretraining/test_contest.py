"""Which weights a fine-tuning ends with."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.tsdiff.conftest import HORIZON, sines
from tsdiff.data import split_windows
from tsdiff.pretraining.finetuning import _Contest


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
