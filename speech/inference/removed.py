"""What an enhancement took away, in dB: of the whole recording, and of the pauses between words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FRAME_SECONDS = 0.02
_PAUSE_DB = 30.0
"""Frames of the result this far below its speech are pauses."""

_FLOOR = 1e-12
"""Power below which a level counts as of this, −120 dB of full scale."""


@dataclass(frozen=True)
class Removed:
    """Levels of a recording less those of its result, before any change of loudness.

    Attributes:
        overall: dB, of all samples; below 0 where the result is louder.
        in_pauses: dB, of the frames of 20 ms in which the result is more than 30 dB below its speech, whose level is
            the one above and below which half of the result's energy lies; None where there are no such frames. What is
            a pause is told by the result itself, since nobody else knows.
        pauses: share of the frames that are pauses.
    """

    overall: float
    in_pauses: float | None
    pauses: float


class Levels:
    """Hears a recording and its result, in blocks of any length, and remembers the powers of their frames: 16 bytes for
    20 ms.

    Args:
        sample_rate: of both, in Hz.
        channels: of both.
    """

    def __init__(self, sample_rate: int, channels: int):
        self._frame = max(1, round(_FRAME_SECONDS * sample_rate))
        self._left = np.zeros((2, channels, 0), np.float32)
        self._powers = [np.zeros((2, 0))]

    def push(self, noisy: np.ndarray, enhanced: np.ndarray) -> None:
        """Hear the next block (channels, n) of both."""
        both = np.concatenate([self._left, np.stack([noisy, enhanced])], axis=2)
        count = both.shape[2] // self._frame
        whole, self._left = np.split(both, [count * self._frame], axis=2)
        frames = whole.reshape(2, whole.shape[1], count, self._frame)
        self._powers.append(np.einsum("scfn,scfn->sf", frames, frames, dtype=np.float64) / self._frame)

    def removed(self) -> Removed:
        """What was taken away so far, of whole frames; of less than one, of what there is."""
        noisy, enhanced = np.concatenate(self._powers, axis=1)
        if noisy.size == 0:
            noisy, enhanced = np.square(self._left, dtype=np.float64).sum(axis=(1, 2))[:, None]
        pauses = enhanced < _speech_power(enhanced) * 10 ** (-_PAUSE_DB / 10)
        return Removed(
            _difference(noisy, enhanced),
            _difference(noisy[pauses], enhanced[pauses]) if pauses.any() else None,
            float(pauses.mean()),
        )


def _speech_power(powers: np.ndarray) -> float:
    """The power of frames above which half of the energy lies: not that of a click, however loud."""
    ordered = np.sort(powers)[::-1]
    energy = np.cumsum(ordered)
    return float(ordered[np.searchsorted(energy, energy[-1] / 2)])


def _difference(noisy: np.ndarray, enhanced: np.ndarray) -> float:
    before, after = (max(float(powers.mean()), _FLOOR) for powers in (noisy, enhanced))
    return float(10 * np.log10(before / after))
