"""speech/inference/advice.py: what is deterministic, without effect or unstable is known before anything is sampled."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from shared.sde import BBEDSDE, OUVESDE, OUVPSDE, SBVESDE
from speech.enhancer import Enhancer
from speech.inference.advice import SettingWarning, error, growth, is_deterministic, of_stability
from speech.model.config import SamplingConfig
from tests.speech.models import noise, tiny_enhancer, tiny_model

LOG = {"schedule": "log_snr"}


@pytest.mark.parametrize(
    ("sde", "sampling", "expected"),
    [
        (SBVESDE(), SamplingConfig("ode1", steps=1, **LOG), True),
        (SBVESDE(), SamplingConfig("ode2", steps=5), False),
        (SBVESDE(), SamplingConfig("sb_ode", steps=3), True),
        (SBVESDE(), SamplingConfig("ode"), False),
        (SBVESDE(), SamplingConfig("heun", steps=10), False),
        (SBVESDE(), SamplingConfig("sde1", steps=1), True),
        (SBVESDE(), SamplingConfig("sde1", steps=2), False),
        (SBVESDE(), SamplingConfig("sb_sde", steps=3), False),
        (SBVESDE(), SamplingConfig("ode1", steps=1, reverse_starting_point=0.7), False),
        (SBVESDE(), SamplingConfig("pc", steps=3), False),
        (OUVESDE(), SamplingConfig("ode1", steps=1), False),
        (OUVESDE(), SamplingConfig("ode"), False),
    ],
)
def test_what_is_deterministic(sde, sampling, expected):
    assert is_deterministic(sde, sampling) is expected
    if type(sde) is SBVESDE and sampling.sampler != "ode":  # the same of a network
        model = tiny_model(sampler="sb_sde")
        one, other = (Enhancer(model, sampling=sampling) for _ in range(2))
        other.seed = 1
        equal = np.array_equal(one.enhance(noise(300), 16000), other.enhance(noise(300), 16000))
        assert equal is expected


@pytest.mark.parametrize("sde", [SBVESDE(), OUVESDE(), BBEDSDE(), OUVPSDE()], ids=["sbve", "ouve", "bbed", "ouvp"])
@pytest.mark.parametrize("sampler", ["ode1", "sde1"])
def test_first_order_integrators_are_stable_at_any_number_of_steps(sde, sampler):
    for steps in (1, 2, 3, 5, 30):
        assert growth(sde, SamplingConfig(sampler, steps=steps, **LOG)) < 1.5


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_one_step_is_exact_from_the_end_of_a_bridge_and_told_to_be_too_coarse_elsewhere(sampler):
    one = SamplingConfig(sampler, steps=1, schedule="uniform")
    assert error(SBVESDE(), one) == pytest.approx(0, abs=1e-5)
    assert of_stability(SBVESDE(), one) is None
    assert growth(OUVESDE(), one) < 4
    said = of_stability(OUVESDE(), one)
    assert said.startswith(f"sampler '{sampler}' at 1 step is too coarse on OUVESDE: take at least 2 steps, or ode1")
    with pytest.warns(UserWarning, match=f"'{sampler}' at 1 step is too coarse on OUVESDE"):
        Enhancer(tiny_model(sampler="pc"), sampling=one)
    errors = [error(OUVESDE(), replace(one, steps=steps)) for steps in (1, 2, 5, 20)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1


@pytest.mark.parametrize("sde", [SBVESDE(), OUVESDE(), BBEDSDE(), OUVPSDE()], ids=["sbve", "ouve", "bbed", "ouvp"])
@pytest.mark.parametrize("sampler", ["ode1", "ode2", "ode3", "sde1", "sde2"])
def test_exponential_integrators_end_at_a_prediction_that_never_changes(sde, sampler):
    for steps in (1, 2, 5):
        assert error(sde, SamplingConfig(sampler, steps=steps, **LOG)) < 1e-5


def test_instability_is_said_with_a_remedy_that_holds():
    said = of_stability(SBVESDE(), SamplingConfig("heun", steps=3, **LOG))
    steps = int(said.split("at least ")[1].split()[0])
    assert "'heun' at 3 steps is unstable on SBVESDE" in said
    assert 4 < steps < 20
    assert of_stability(SBVESDE(), SamplingConfig("heun", steps=steps, **LOG)) is None
    assert of_stability(OUVESDE(), SamplingConfig("pc", steps=30)) is None
    assert of_stability(OUVESDE(), SamplingConfig("pc", steps=1)) is not None
    assert of_stability(SBVESDE(), SamplingConfig("ode", steps=1)) is None


def test_draws_that_would_be_the_same_are_not_paid_for():
    model, signal = tiny_model(), noise(1, 900)
    one_call = SamplingConfig("ode1", steps=1)
    calls = [0]
    model.backbone.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    with pytest.warns(SettingWarning, match=r"seed, draws: without effect; .*deterministic"):
        enhancer = Enhancer(model, sampling=one_call, draws=5, seed=3)
    enhanced = enhancer.enhance(signal, 16000)
    assert (calls, enhancer.nfe) == ([1], 1)
    np.testing.assert_array_equal(enhanced, Enhancer(model, sampling=one_call).enhance(signal, 16000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Enhancer(model, draws=5, seed=3).engine.runner.draws == 5


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"sampler": "ode", "steps": 7}, "steps"),
        ({"sampling": SamplingConfig("sb_ode", steps=5, schedule="edm")}, "schedule"),
        ({"sampling": SamplingConfig("ode2", steps=5, frame_padding="reflect")}, "frame_padding"),
    ],
)
def test_settings_without_effect_are_said_in_one_line(options, idle):
    with pytest.warns(SettingWarning, match=f"^{idle}: without effect; ") as told:
        Enhancer(tiny_model(), **options)
    assert len(told) == 1
    assert "\n" not in str(told[0].message)


def test_what_one_recording_is_given_without_effect_is_said():
    enhancer = tiny_enhancer(sampler="ode1", steps=1, normalize="not")
    with pytest.warns(SettingWarning, match="^seed, peak: without effect; .*deterministic.*; .*not normalise"):
        enhancer.enhance(noise(100), 16000, seed=3, peak=0.5)
    causal = tiny_enhancer(sampler="ode1", steps=1, normalize="not", causal=True)
    with pytest.warns(SettingWarning, match="^seed, peak: without effect"):
        causal.stream(16000, seed=3, peak=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enhancer.enhance(noise(100), 16000)
        tiny_enhancer(steps=2).enhance(noise(100), 16000, seed=3, peak=0.5)
