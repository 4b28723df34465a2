"""Recordings that are clean already: how much of them stays, so that little is taken from what is good."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

_SECONDS, _MOMENT = 3.0, 0.03
"""Time constants of the means of power: of a recording, and of a moment of it."""
_FROM_DB, _TO_DB = 19.0, 26.0
"""Estimate against what was taken away: below the first a recording counts as noisy, above the second as clean."""
_PAUSE_DB, _SPEECH_DB = 5.0, 25.0
"""The same at a moment: below the first it is a pause, above the second speech."""
_TINY = 1e-30


class CleanKeeper:
    """Leaves a share of a recording in its result where it is clean.

    What is taken from clean speech is the network's own error, some 26 dB below the speech: an estimate that far above
    what was taken away was hardly needed. In pauses all that was taken stays away, since there it is noise. Powers are
    means over what came before, so that streams and recordings in windows come to the same.

    Args:
        share: of the recording, where it is clean.
        sample_rate: of what comes, in Hz.
        channels: of what comes.
    """

    def __init__(self, share: float, sample_rate: int, channels: int):
        self._share = share
        self._recording, self._moment = (_Above(seconds * sample_rate, channels) for seconds in (_SECONDS, _MOMENT))

    def mixed(self, enhanced: np.ndarray, recording: np.ndarray) -> np.ndarray:
        """The next block, float32 (channels, n), of the result."""
        taken = recording - enhanced
        powers = np.square(np.stack([enhanced, taken]), dtype=np.float64)
        clean = _between(self._recording.push(powers), _FROM_DB, _TO_DB)
        speech = _between(self._moment.push(powers), _PAUSE_DB, _SPEECH_DB)
        made: np.ndarray = enhanced + (self._share * clean * speech).astype(np.float32) * taken
        return made


class _Above:
    """How far the one of two powers is above the other, in dB, in running means over so many samples."""

    def __init__(self, samples: float, channels: int):
        self._now = 1 / samples
        self._state = np.zeros((2, channels, 1))

    def push(self, powers: np.ndarray) -> np.ndarray:
        """Of the next powers (2, channels, n): (channels, n)."""
        means, self._state = lfilter([self._now], [1.0, self._now - 1.0], powers, zi=self._state)
        above: np.ndarray = 10 * np.log10((means[0] + _TINY) / (means[1] + _TINY))
        return above


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to `low`, 1 from `high` on, a line between them."""
    found: np.ndarray = np.clip((values - low) / (high - low), 0.0, 1.0)
    return found
