"""What docs/speech.md says of the settings of the models that ship is what these have."""

from __future__ import annotations

import pytest

from speech import SpeechModel
from speech.model.config import SamplingConfig
from tests.docs.blocks import ROOT

PASSAGE = " ".join((ROOT / "docs/speech.md").read_text(encoding="utf-8").split())


def settings(name: str) -> SamplingConfig:
    return SpeechModel.from_pretrained(name).config.sampling


def told(value: float) -> str:
    """A number as the text has it."""
    return f"{value:g}".replace("-", "−").replace("0.", ".")


@pytest.mark.parametrize(
    ("passage", "name", "setting"),
    [
        ('the bundled "causal" with {} dB', "causal", "least_level"),
        ('the bundled "default" with {} dB', "default", "least_level"),
        ('and "dereverb" with {}.', "dereverb", "least_level"),
        ('the bundled "causal" has {} dB', "causal", "makeup"),
        ('"dereverb" {},', "dereverb", "makeup"),
        ('"default" {} and', "default", "makeup"),
        ('"bandwidth" {} ', "bandwidth", "makeup"),
        ('The bundled "default" has {}.', "default", "clean_share"),
        ('"dereverb" has {};', "dereverb", "attenuation_limit"),
    ],
)
def test_settings_of_bundled_models_are_as_they_are_told(passage: str, name: str, setting: str) -> None:
    assert passage.format(told(getattr(settings(name), setting))) in PASSAGE
