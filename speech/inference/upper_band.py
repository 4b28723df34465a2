"""Enhancing what a recording has above a 16 kHz model's band, by `speech.model.upper_band`, as it comes."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from speech.model.upper_band import Bands, RunningNetwork, UpperBandConfig


class UpperBandJoin:
    """Joins the enhanced band and what the recording has above it, each band of that with a gain of its own.

    The upper band is the recording without what its way to the model's rate and back leaves of it. So a gain of 1
    everywhere gives the recording itself where the model leaves it alone, whatever the filters. Whatever the blocks,
    the results joined are the same, up to rounding.

    Args:
        network: what gives the gains.
        sample_rate: the recording's, in Hz.
        channels: of the recording.

    Attributes:
        signals: how many signals are stacked for each channel.
        delay: samples at the recording's rate that must follow a sample before it comes out.
    """

    signals = 2

    def __init__(self, network: RunningNetwork, sample_rate: int, channels: int):
        self._network, self._bands = network, Bands.of(UpperBandConfig(), sample_rate)
        hop = self._bands.hop
        self.delay = 2 * hop
        self._held = np.zeros((3, channels, hop), np.float32)  # before the start there is silence
        self._begun = np.zeros((channels, hop), np.float32)
        self._memory: np.ndarray | None = None
        self._before = hop

    @staticmethod
    def stack(noisy: np.ndarray, enhanced: np.ndarray) -> np.ndarray:
        """What goes to the recording's rate together, (2·channels, n): enhanced, noisy, of next pieces (channels, n) at
        the model's rate."""
        return np.concatenate([enhanced, noisy])

    def join(self, stacked: np.ndarray, recording: np.ndarray, last: bool = False) -> np.ndarray:
        """The samples (channels, n) of the enhanced recording that are ready after all this at its rate; all that are
        left when it is the `last`."""
        enhanced, low = np.split(stacked, self.signals)
        held = np.concatenate([self._held, np.stack([recording - low, low, enhanced])], axis=2)
        hop, samples = self._bands.hop, held.shape[2]
        if last:
            held = np.pad(held, ((0, 0), (0, 0), (0, hop + (hop - samples) % hop)))
        count = max(0, held.shape[2] // hop - 1)
        self._held = held[:, :, count * hop :]
        if count == 0:
            return held[0, :, :0]
        ready = held[2, :, : count * hop] + self._upper(held[:, :, : (count + 1) * hop])
        ready = ready[:, self._before : samples if last else None]
        self._before = max(0, self._before - count * hop)
        return ready

    def _upper(self, signals: np.ndarray) -> np.ndarray:
        """The enhanced upper band (channels, n·hop) of signals (3, channels, (n + 1)·hop)."""
        bands, hop, channels = self._bands, self._bands.hop, signals.shape[1]
        spectra = bands.spectra(sliding_window_view(signals, 2 * hop, axis=-1)[:, :, ::hop])
        gains, self._memory = self._network(bands.features(*(spectra.real**2 + spectra.imag**2)), self._memory)
        waves = bands.waves(spectra[0] * (gains @ bands.gains))
        ends = np.concatenate([self._begun, waves[..., hop:].reshape(channels, -1)], axis=1)
        self._begun = ends[:, -hop:]
        return waves[..., :hop].reshape(channels, -1) + ends[:, :-hop]
