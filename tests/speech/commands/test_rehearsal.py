"""The time that `speech enhance --dry-run` expects."""

import time

import numpy as np
import pytest

from speech.audio.arrays import Waveform
from speech.commands import rehearsal
from speech.commands.rehearsal import cpu_seconds
from speech.enhancer import Enhancer
from tests.speech.models import tiny_model


class Loading(Enhancer):
    """Loads libraries for .6 s of CPU time when it is called first."""

    loaded = False

    def enhance(self, waveform: Waveform, sample_rate: int, **options: object) -> Waveform:
        until = time.process_time() + (0.0 if self.loaded else 0.6)
        while time.process_time() < until:
            np.ones(1000).sum()
        self.loaded = True
        return super().enhance(waveform, sample_rate)


def test_what_the_first_call_loads_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_SLOW", 0.5)  # so that loading would be all that is measured
    assert cpu_seconds(Loading(tiny_model())) < 0.5
