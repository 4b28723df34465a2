"""What the settings of an experiment are where nothing is said."""

from __future__ import annotations

from speech.enhancer import Enhancer
from speech.model.model import SpeechModel
from speech.training.settings import Experiment, read_experiment
from tests.speech.models import noise


def test_the_model_that_is_trained_by_default_enhances_in_one_call() -> None:
    enhancer = Enhancer(SpeechModel(Experiment().model).eval())
    enhancer.enhance(noise(1, 2000), enhancer.sample_rate)
    assert enhancer.nfe == 1


def test_on_a_gpu_the_same_model_is_trained_by_the_same_loss_on_the_same_mixtures() -> None:
    usual, there = read_experiment("default"), read_experiment("default_gpu")
    assert there.model == usual.model
    assert there.objective == usual.objective
    assert there.data.mix == usual.data.mix
    assert there.hardware.device == "cuda"
