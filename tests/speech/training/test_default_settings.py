"""What the settings of an experiment are where nothing is said."""

from __future__ import annotations

from speech.enhancer import Enhancer
from speech.model.model import SpeechModel
from speech.training.settings import Experiment
from tests.speech.models import noise


def test_the_model_that_is_trained_by_default_enhances_in_one_call() -> None:
    enhancer = Enhancer(SpeechModel(Experiment().model).eval())
    enhancer.enhance(noise(1, 2000), enhancer.sample_rate)
    assert enhancer.nfe == 1
