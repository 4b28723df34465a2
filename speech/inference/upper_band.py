"""Enhancing, or extending, what a recording has above a 16 kHz model's band, as it comes: `speech.model.upper_band`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from speech.model.upper_band import FLOOR, Bands, RunningNetwork, UpperBandConfig, are_silent

KNOWN_PEAK = 0.2
"""As which the networks hear the peaks of recordings, where these are known: like those that they were trained on."""


class UpperBandJoin:
    """Joins the enhanced band and what the recording has above it, each band of that with a gain of its own.

    The upper band is the recording without what its way to the model's rate and back leaves of it. So a gain of 1
    everywhere gives the recording itself where the model leaves it alone, whatever the filters. Whatever the blocks,
    the results joined are the same, up to rounding.

    Args:
        network: what gives the gains.
        sample_rate: the recording's, in Hz.
        channels: of the recording.
        peaks: levels that the channels' peaks reach, which the network hears as `KNOWN_PEAK`; None: not known, as of a
            stream, and it hears them as they are.

    Attributes:
        signals: how many signals are stacked for each channel.
        delay: samples at the recording's rate that must follow a sample before it comes out.
    """

    signals = 2

    def __init__(self, network: RunningNetwork, sample_rate: int, channels: int, peaks: Sequence[float] | None = None):
        self._network, self._bands = network, Bands.of(UpperBandConfig(), sample_rate)
        scales = np.ones(channels) if peaks is None else np.array(peaks) / KNOWN_PEAK
        self._scale = np.where(scales > 0, scales, 1.0).astype(np.float32)[:, None]
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
        held = np.concatenate([self._held, np.stack([recording - low, low, enhanced]) / self._scale], axis=2)
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
        return ready * self._scale

    def _upper(self, signals: np.ndarray) -> np.ndarray:
        """The enhanced upper band (channels, n·hop) of signals (3, channels, (n + 1)·hop)."""
        hop, channels = self._bands.hop, signals.shape[1]
        spectra = self._bands.spectra(sliding_window_view(signals, 2 * hop, axis=-1)[:, :, ::hop])
        waves = self._bands.waves(self._result(spectra))
        ends = np.concatenate([self._begun, waves[..., hop:].reshape(channels, -1)], axis=1)
        self._begun = ends[:, -hop:]
        return waves[..., :hop].reshape(channels, -1) + ends[:, :-hop]

    def _result(self, spectra: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """The spectra of the result (channels, frames, bins), of those of the signals (3, channels, frames, bins)."""
        features = self._bands.features(*(spectra.real**2 + spectra.imag**2))
        # Training has no such silence: who was heard after it lost much of what lies above 8 kHz for a second.
        gains, self._memory = self._network(features, self._memory, are_silent(features))
        return spectra[0] * (gains @ self._bands.gains)


class ExtensionJoin(UpperBandJoin):
    """Joins the enhanced band, what the recording has above it, and what is likely to be missing there.

    The network gives levels for copies of what the model made at 3.5 to 7.5 kHz (spectral translation); of them as much
    is added in every band above the recording's edge as its own level falls short of.

    Args:
        network, sample_rate, channels, peaks: see `UpperBandJoin`.
        edges: Hz at which the bands of the channels end (`speech.audio.edges`).
    """

    def __init__(
        self,
        network: RunningNetwork,
        sample_rate: int,
        channels: int,
        edges: Sequence[float],
        peaks: Sequence[float] | None = None,
    ):
        super().__init__(network, sample_rate, channels, peaks)
        self._lost = (UpperBandConfig().centres > np.array(edges)[:, None]).astype(np.float32)[:, None]

    def _result(self, spectra: NDArray[np.complex64]) -> NDArray[np.complex64]:
        copies = self._bands.copied(spectra[2])
        own, low, enhanced, copied = (each.real**2 + each.imag**2 for each in (*spectra, copies))
        there, possible = own @ self._bands.upper, copied @ self._bands.copies
        features = self._bands.seen(possible, low @ self._bands.lower, enhanced @ self._bands.lower)
        gains, self._memory = self._network(features, self._memory)
        added = self._lost * np.sqrt(np.maximum(gains**2 - there / (possible + np.float32(FLOOR)), 0))
        return spectra[0] + copies[..., : spectra.shape[-1]] * (added @ self._bands.gains)
