"""Which weights a fine-tuning ends with."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from shared.samplers import Exponential
from tests.tsdiff.conftest import HORIZON, sines
from tests.tsdiff.universal import UNIVERSAL
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.data import split_windows
from tsdiff.model.backbones import S4DConfig
from tsdiff.pretraining.finetuning import FineTuning, _Contest, _told, _with_guidance, fine_tune
from tsdiff.sampling.settings import Sampling


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


@pytest.mark.parametrize(("looks", "taken"), [((0.9, 1.05, 1.04), True), ((0.9, 1.1, 1.2), False), ((1.0, 1.0), False)])
def test_trained_weights_have_to_be_better_in_the_mean_of_all_looks(trained, monkeypatch, looks, taken):
    """The best of several is better by chance. Here forecasts score as told, half-way as well as the best."""
    contest = _Contest(copy.deepcopy(trained), split_windows(sines(4), HORIZON, 1).test)
    first = {name: weights.clone() for name, weights in contest.predictor.model.denoiser.state_dict().items()}
    other = copy.deepcopy(trained.model.denoiser)
    with torch.no_grad():
        for weights in other.parameters():
            weights.mul_(1.001)
    scores, sizes, usual = iter([*looks, min(looks)]), np.ones(4), np.full(4, contest.first.crps)
    monkeypatch.setattr("tsdiff.pretraining.finetuning.window_losses", lambda *_: (usual * next(scores), sizes))
    for step, _ in enumerate(looks, 1):
        contest.look(other, step)
    contest.settle()
    assert (contest.best.change, contest.best.steps) == (("half-way", 1) if taken else ("as it was", 0))
    for name, weights in contest.predictor.model.denoiser.state_dict().items():
        wanted = (first[name] + other.state_dict()[name]) / 2 if taken else first[name]
        torch.testing.assert_close(weights, wanted, rtol=0, atol=0)


def small_universal() -> TSDiffPredictor:
    small = S4DConfig(patch=4, width=8, blocks=1, state=4)
    config = dataclasses.replace(UNIVERSAL, prediction_length=8, context_length=24, backbone=small)
    torch.manual_seed(0)
    return TSDiffPredictor(TSDiff(config), Sampling(steps=2)).adapted("h", 8)


@pytest.mark.parametrize(("settings", "most"), [({"cpu_minutes": 0.01}, 1000), ({"cpu_minutes": 1e-9, "steps": 3}, 3)])
def test_training_ends_when_the_time_is_over_unless_steps_are_given(monkeypatch, settings, most):
    """Here steps are thought to take no time."""
    monkeypatch.setattr("tsdiff.pretraining.finetuning._steps_in", lambda *_, **__: 10**6)
    made = fine_tune(small_universal(), sines(2, 80), FineTuning(held_back=2, checks=1, **settings))
    trained = max(trial.steps for trial in made.trials)
    assert 1 <= trained <= most
    assert "steps" not in settings or trained == most


@pytest.mark.parametrize("window_wins", [False, True])
def test_what_is_chosen_draws_as_it_did_in_its_trial(monkeypatch, window_wins):
    """A covariance of windows that was measured for a trial is forgotten where another way to draw was better."""
    predictor = small_universal()
    contest, seen, usual = _Contest(predictor, split_windows(sines(2, 80), 8, 2).test), {}, _Contest.trial

    def trial(self, steps, change, predictor):
        seen[change] = np.stack([made.samples for made in predictor.predict(self.windows.input, 5)])
        made = usual(self, steps, change, predictor)
        return dataclasses.replace(made, crps=0.0 if (change == "covariance window") == window_wins else 9.0)

    monkeypatch.setattr(_Contest, "trial", trial)
    chosen = _with_guidance(contest, sines(2, 64), FineTuning())
    samples = np.stack([made.samples for made in chosen.predict(contest.windows.input, 5)])
    np.testing.assert_array_equal(samples, seen["covariance window" if window_wins else "kernel_share 0.25"])
    assert (chosen.model.statistics.covariance is not None) == window_wins


def test_what_was_changed_does_not_name_what_stayed(trained):
    predictor = trained.with_sampling(method=Exponential(1))
    contest = _Contest(predictor, split_windows(sines(2), HORIZON, 1).test)
    assert _told(contest, predictor.sampling, predictor.sampling) == "as it was"
    assert _told(contest, predictor.sampling, predictor.with_sampling(kernel_share=0.5).sampling) == "kernel_share 0.5"
