"""What the help of the verbs says is what they take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from shared.diagnostics.files import settings_of
from shared.errors import ConfigError
from speech.commands.options import Diagnose, Enhance
from speech.model.config import Sampler


def test_help_names_every_sampler():
    _, option = get_args(get_type_hints(Enhance, include_extras=True)["sampler"])
    assert set(get_args(Sampler)) <= set(re.findall(r"\w+", option.help))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"start": 2.0}, "--reverse-starting-point=2.0: need"),
        ({"suppression": -1.0}, "--suppression=-1.0: need"),
        ({"attenuation_limit": 0.0}, "--attenuation-limit=0.0: need"),
        ({"draws": 0}, "--draws=0: need"),
        ({"mix": 1.5}, "--mix=1.5: need"),
        ({"batch_size": 0}, "--batch-size=0: need"),
        ({"steps": 0}, "--steps=0: need a whole number from 1 to 10000"),
        ({"raw_channels": 0}, "--raw-channels=0: need"),
    ],
)
def test_what_cannot_be_is_told_by_the_options_own_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        Enhance(source=Path("noisy.wav"), **values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"noise": [1.0, -1.0]}, "--noise=(1.0, -1.0): need one or more values, each a positive number"),
        ({"measures": ["none"]}, "--measure=('none',): need one or more values, each one of asymmetry"),
        ({"method": "psychic"}, "--method: 'psychic': choose one of ode1"),
        ({"length": -1.0}, "--length=-1.0: need a positive number"),
        ({"seconds": 0.0}, "--seconds=0.0: need a positive number"),
    ],
)
def test_a_diagnosis_that_cannot_be_is_told_by_its_options(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        settings_of(Diagnose(**values), seed=0)
