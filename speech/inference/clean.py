"""Recordings that are clean already: how much of them stays, so that little is taken from what is good."""

from __future__ import annotations

import numpy as np

_FRAMES = 1000
"""Of a second, of which the powers are taken."""
_SECONDS, _MOMENT = 3.0, 0.03
"""Time constants of the means of power: of a recording, and of a moment of it."""
_FROM_DB, _TO_DB = 19.0, 26.0
"""Estimate against what was taken away: below the first a recording counts as noisy, above the second as clean."""
_PAUSE_DB, _SPEECH_DB, _HIDDEN = 5.0, 25.0, 0.01
"""The same at a moment: below the first it is a pause, above the second speech; and the share of the recording's power,
−20 dB, that counts as there in pauses too, since what is far below the speech is not heard."""
_RUMBLE_HZ = 120.0
"""What is taken from below this is rumble more than voice, and says little of how clean a recording is above it."""
_TINY = 1e-30


class CleanKeeper:
    """Leaves a share of a recording in its result where it is clean.

    What is taken from clean speech is the network's own error, far below the speech: an estimate that far above what
    was taken away was hardly needed. Rumble does not count for that: a voice is judged by what is above it. In pauses
    what was taken stays away, since there it is noise, unless it is very faint. Powers are means over what came before,
    so that streams and recordings in windows come to the same.

    Args:
        share: of the recording, where it is clean.
        sample_rate: of what comes, in Hz.
        channels: of what comes.
    """

    def __init__(self, share: float, sample_rate: int, channels: int):
        self._share, self._frame = share, max(1, sample_rate // _FRAMES)
        seconds = self._frame / sample_rate
        self._recording, self._moment = _Means(_SECONDS / seconds, channels), _Means(_MOMENT / seconds, channels)
        self._above = _High(min(_RUMBLE_HZ, sample_rate / 8), sample_rate, channels)
        self._left = np.zeros((2, channels, 0), np.float32)
        self._now = np.zeros((channels, 1), np.float32)

    def stays(self, enhanced: np.ndarray, recording: np.ndarray) -> np.ndarray:
        """What is to be added to the next block of the enhanced signal, given it and its recording, float32 (channels,
        n)."""
        taken = recording - enhanced
        begun = self._left.shape[2]
        heard = np.concatenate([self._left, np.stack([enhanced, taken])], axis=2)
        whole, self._left = np.split(heard, [heard.shape[2] // self._frame * self._frame], axis=2)
        shares = self._shares(self._powers(self._above.push(whole)), self._powers(whole))
        shares = np.concatenate([self._now, shares], axis=1)  # a frame goes by what came before it
        self._now = shares[:, -1:]
        return np.repeat(shares, self._frame, axis=1)[:, begun : begun + taken.shape[1]] * taken

    def _powers(self, signals: np.ndarray) -> np.ndarray:
        """Of the frames of whole frames (2, channels, n)."""
        frames = np.square(signals).reshape(*signals.shape[:2], -1, self._frame)
        return frames.mean(axis=3, dtype=np.float64)

    def _shares(self, above: np.ndarray, powers: np.ndarray) -> np.ndarray:
        """After each of the next frames, of whose powers the first are without rumble: (channels, frames)."""
        (left, away), (left_now, away_now) = self._recording.push(above), self._moment.push(powers)
        share = self._share * _between(left, away, _FROM_DB, _TO_DB)
        share *= _between(left_now + _HIDDEN * left, away_now, _PAUSE_DB, _SPEECH_DB)
        return share.astype(np.float32)


class _High:
    """What two signals hold above a frequency, in Hz."""

    def __init__(self, frequency: float, sample_rate: int, channels: int):
        from scipy.signal import butter  # takes a while to load

        self._sections = butter(2, frequency, "highpass", fs=sample_rate, output="sos")
        self._state = np.zeros((len(self._sections), 2, channels, 2))

    def push(self, signals: np.ndarray) -> np.ndarray:
        """Of the next samples (2, channels, n): as many."""
        if signals.shape[2] == 0:
            return signals  # of which the filter would make no state
        from scipy.signal import sosfilt

        high, self._state = sosfilt(self._sections, signals, zi=self._state)
        return high.astype(np.float32)


class _Means:
    """Running means of two powers over so many frames."""

    def __init__(self, frames: float, channels: int):
        self._now = 1 / frames
        self._state = np.zeros((2, channels, 1))

    def push(self, powers: np.ndarray) -> np.ndarray:
        """After each of the next powers, (2, channels, frames)."""
        if powers.shape[2] == 0:
            return powers  # of which the filter would make no state
        from scipy.signal import lfilter  # takes a while to load

        means, self._state = lfilter([self._now], [1.0, self._now - 1.0], powers, zi=self._state)
        return means


def _between(power: np.ndarray, other: np.ndarray, low: float, high: float) -> np.ndarray:
    """Of a power above another: 0 up to `low` dB, 1 from `high` on, a line between them."""
    above = 10 * np.log10((power + _TINY) / (other + _TINY))
    return np.clip((above - low) / (high - low), 0.0, 1.0)
