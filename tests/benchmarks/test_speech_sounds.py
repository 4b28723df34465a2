"""Which recordings benchmarks of speech take."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speech_sounds import evenly, mono
from speech.audio.files import Audio


@pytest.mark.parametrize(("most", "taken"), [(0, []), (1, [0]), (3, [0, 3, 6]), (10, list(range(10)))])
def test_some_are_taken_from_all_over_and_never_more_than_asked_for(most, taken):
    assert evenly(range(10), most) == taken


def test_channels_are_averaged_and_the_rate_is_the_one_asked_for():
    both = Audio(np.stack([np.ones(400), np.zeros(400)]).astype(np.float32), 8000)
    assert mono(both, 8000).tolist() == [0.5] * 400
    assert mono(both, 16000).shape == (800,)
