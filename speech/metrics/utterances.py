"""How many utterances PESQ will find in a reference: its public code holds 50 and overruns its memory at the 51st."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfilt

from shared.runs import runs
from speech.metrics.checks import Signal

FRAME_SECONDS = 0.004
_SHORTEST_BURST = 4
_LONGEST_GAP = 50
_SHORTEST_UTTERANCE = 50
_TELEPHONE_BAND = (200.0, 3400.0)

SAFE_SECONDS = 20.0
"""An utterance takes at least 0.2 s and 0.2 s part it from the next, so no shorter signal holds more than 50."""


def count_utterances(reference: Signal, sample_rate: int) -> int:
    """Utterances in the clean speech, by the voice-activity rule of ITU-T P.862 on frames of 4 ms.

    Its input filter is replaced by a plain one for the telephone band, so that the count can be off by a few.
    """
    length = round(FRAME_SECONDS * sample_rate)
    voice = sosfilt(butter(2, _TELEPHONE_BAND, "bandpass", fs=sample_rate, output="sos"), reference)
    power = np.mean(voice[: voice.size // length * length].reshape(-1, length) ** 2, axis=1)
    power = np.maximum(power, power.max() * 1e-4)
    threshold = float(power.mean())
    for _ in range(12):
        quiet = power[power <= threshold]
        if not quiet.size:
            break
        threshold = 1.001 * float(quiet.mean() + 2.0 * quiet.std())
    starts, ends = runs(power > threshold).T
    bursts = ends - starts > _SHORTEST_BURST
    starts, ends = starts[bursts], ends[bursts]
    if not starts.size:
        return 1
    parted = starts[1:] - ends[:-1] > _LONGEST_GAP
    starts, ends = starts[np.r_[True, parted]], ends[np.r_[parted, True]]
    return int(np.count_nonzero(ends - starts >= _SHORTEST_UTTERANCE))
