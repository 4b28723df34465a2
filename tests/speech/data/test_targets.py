"""What a mixture's target is: the speech with as much of the room as the settings say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from speech.data import Mixer, Mixture, preset
from speech.data.rooms import ImpulseResponse, align
from tests.speech.trees import RATE, decaying_response, speech_like

ROOM = align(decaying_response(0.4), RATE)
DRY = speech_like(1.0)


def mixture(early_ms: float | None) -> Mixture:
    config = replace(preset("dereverb"), reverb=1.0, clean=0.0, filtered=0.0, early_ms=early_ms)
    return Mixer(config, rooms=[ROOM]).mix(DRY, np.random.default_rng(0))


def through(room: ImpulseResponse, milliseconds: float) -> np.ndarray:
    """The dry speech through what comes within so many milliseconds of the direct path."""
    samples = room.samples[: room.direct + round(milliseconds * 1e-3 * RATE) + 1]
    return np.convolve(DRY, samples)[room.direct : room.direct + len(DRY)]


def unlike(found: np.ndarray, wanted: np.ndarray) -> float:
    """Energy, as a share, of what is in `found` besides `wanted` at the best gain."""
    left = found - wanted * (found @ wanted) / (wanted @ wanted)
    return float(left @ left / (found @ found))


@pytest.mark.parametrize("early_ms", [10.0, 50.0, 150.0])
def test_the_target_is_the_early_part_that_the_settings_name(early_ms: float) -> None:
    made = mixture(early_ms)
    assert unlike(made.clean, through(ROOM, early_ms)) < 1e-9
    assert unlike(made.clean, through(ROOM, early_ms + 5)) > 1e-4
    assert unlike(made.clean, through(ROOM, early_ms - 5)) > 1e-4
    assert unlike(made.speech, through(ROOM, 1e4)) < 1e-9


def test_the_target_may_be_the_whole_room_and_the_dereverberation_preset_is_not() -> None:
    whole, asked = mixture(None), mixture(preset("dereverb").early_ms)
    np.testing.assert_array_equal(whole.clean, whole.speech)
    assert unlike(asked.clean, asked.speech) > 1e-3
