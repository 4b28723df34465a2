"""What the help of the verbs says is what they take."""

from __future__ import annotations

import re
from typing import get_args, get_type_hints

from speech.commands.options import Enhance
from speech.model.config import Sampler


def test_help_names_every_sampler():
    _, option = get_args(get_type_hints(Enhance, include_extras=True)["sampler"])
    assert set(get_args(Sampler)) <= set(re.findall(r"\w+", option.help))
