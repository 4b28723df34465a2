"""The time that `speech enhance --dry-run` expects."""

import time

import numpy as np

from speech.audio.arrays import Waveform
from speech.commands.rehearsal import cpu_seconds
from speech.enhancer import Enhancer
from tests.speech.models import tiny_model


class Loading(Enhancer):
    """Loads libraries for 2.1 s of CPU time when it is called first, as the bundled ones do on a slow machine."""

    loaded = False

    def enhance(self, waveform: Waveform, sample_rate: int, **options: object) -> Waveform:
        until = time.process_time() + (0.0 if self.loaded else 2.1)
        while time.process_time() < until:
            np.ones(1000).sum()
        self.loaded = True
        return super().enhance(waveform, sample_rate)


def test_what_the_first_call_loads_is_not_counted() -> None:
    assert cpu_seconds(Loading(tiny_model())) < 1
