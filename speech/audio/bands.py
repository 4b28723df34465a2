"""What becomes of what a recording has above the band of the model; and one way: a gain that follows the model's."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from shared.errors import ConfigError

UpperBand = Literal["enhance", "follow", "drop", "extend"]
"""What becomes of the band above half the model's rate: "enhance" gives each band of it a gain of its own
(`speech.model.upper_band`), "follow" keeps it with a gain that follows the model's, "drop" leaves it out, "extend"
keeps it and adds what is likely to be missing."""

MODEL_RATE = 16000
"""Hz; of the models whose upper band can be enhanced."""

_LISTENS_ABOVE = 0.625
"""Share of the band above which the model's gain is measured: from 5 kHz where it ends at 8 kHz."""

_SECONDS = 0.008
"""Time constant of the energies whose ratio is the gain."""

_RESIDUE = 1e-20
"""Energy below which there is nothing to keep, −200 dB of full scale."""


class Join(Protocol):
    """A way of joining the enhanced band and what the recording has above it, in blocks of any size."""

    @property
    def signals(self) -> int:
        """How many signals are stacked for each channel."""

    @property
    def delay(self) -> int:
        """Samples at the recording's rate that must follow a sample before it comes out."""

    def stack(self, noisy: np.ndarray, enhanced: np.ndarray) -> np.ndarray:
        """What goes to the recording's rate together, (signals·channels, n), enhanced and noisy first, of next pieces
        (channels, n) at the model's."""

    def join(self, stacked: np.ndarray, recording: np.ndarray, last: bool = False) -> np.ndarray:
        """What is ready (channels, n) after these next pieces at the recording's rate; all when it is the `last`."""


def choose_upper_band(value: UpperBand | None, sample_rate: int) -> UpperBand:
    """The choice, or what is done where none is made.

    Args:
        value: the choice.
        sample_rate: of the model, in Hz.

    Raises:
        ConfigError: an unknown one, or one that is not for models of this rate.
    """
    if value not in (None, "enhance", "follow", "drop", "extend"):
        raise ConfigError(
            f"upper_band={value!r}: choose enhance (gains of its own), follow (a gain like the model's), drop (leave "
            "it out) or extend (add what is missing)"
        )
    if value in ("enhance", "extend") and sample_rate != MODEL_RATE:
        raise ConfigError(
            f"upper_band={value!r} goes on from models at {MODEL_RATE} Hz, this one is at {sample_rate} Hz: choose "
            "follow or drop"
        )
    return value or "follow"


class UpperBandGain:
    """The gain for what lies above the model's band: of the amplitudes in the upper part of that band, enhanced against
    noisy, at most 1.

    It is causal and smooth, and the same in whatever blocks the signals come.

    Args:
        sample_rate: the model's, in Hz.
        channels: of the signals.
        band: Hz at which what both have of the recording ends; None: half the rate.
    """

    def __init__(self, sample_rate: int, channels: int, band: float | None = None):
        from scipy import signal  # a third of a second, and most recordings have no upper band

        edge = _LISTENS_ABOVE * (band or sample_rate / 2)
        self._band = signal.butter(4, edge, "highpass", fs=sample_rate, output="sos")
        self._states = np.zeros((2, len(self._band), channels, 2))
        self._forget = float(np.exp(-1 / (_SECONDS * sample_rate)))
        self._energies = np.zeros((2, channels, 1))

    def push(self, noisy: np.ndarray, enhanced: np.ndarray) -> np.ndarray:
        """The gain (channels, n) at every sample of these next pieces (channels, n) of both."""
        levels = [self._energy(place, piece) for place, piece in enumerate((noisy, enhanced))]
        return np.sqrt(np.minimum(levels[1] / (levels[0] + _RESIDUE), 1.0)).astype(np.float32)

    def _energy(self, place: int, piece: np.ndarray) -> np.ndarray:
        if piece.shape[1] == 0:
            return np.zeros(piece.shape)
        from scipy import signal

        band, self._states[place] = signal.sosfilt(self._band, piece.astype(np.float64), zi=self._states[place])
        share = [1 - self._forget]
        energy, self._energies[place] = signal.lfilter(
            share, [1, -self._forget], np.square(band), zi=self._energies[place]
        )
        return np.maximum(energy, 0.0)


class BandJoin:
    """Joins the enhanced band and what the recording has above it.

    The upper band is the recording without what its way to the model's rate and back leaves of it. So a gain of 1 on
    both gives the recording itself, whatever the filters.

    Args:
        sample_rate: the model's, in Hz.
        channels: of the recording.
        band: see `UpperBandGain`.
    """

    signals, delay = 3, 0

    def __init__(self, sample_rate: int, channels: int, band: float | None = None):
        self._gain = UpperBandGain(sample_rate, channels, band)

    def stack(self, noisy: np.ndarray, enhanced: np.ndarray) -> np.ndarray:
        """What goes to the recording's rate together, (3·channels, n): enhanced, noisy, gain, of next pieces
        (channels, n) at the model's rate."""
        return np.concatenate([enhanced, noisy, self._gain.push(noisy, enhanced)])

    def join(self, stacked: np.ndarray, recording: np.ndarray, last: bool = False) -> np.ndarray:
        """The enhanced recording (channels, n) of all this at its rate."""
        enhanced, low, gain = np.split(stacked, self.signals)
        return enhanced + gain.clip(0.0, 1.0) * (recording - low)
