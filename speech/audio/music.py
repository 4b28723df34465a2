"""Where a recording is music: steady partials, which speech and noise have not.

What the enhancers know is voices and noise, and music they take for noise. From six seconds of sound, every two, this
tells how likely they are music, by how much of the energy lies in spectral peaks that keep their frequency for a fifth
of a second (as partials of notes do; voices glide), how much of the time is quiet, and how bands rise and fall
(Scheirer & Slaney 1997, "Construction and evaluation of a robust multifeature speech/music discriminator").
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from speech.audio.bands import MODEL_RATE

Values = NDArray[np.float64]

_SIZE, _HOP = 1024, 256
_WINDOW, _EVERY = 375, 125
"""Frames that are judged together, six seconds, and from one judgement to the next, two."""

_PARTIALS_HZ, _BANDS_HZ = (400.0, 5000.0), (200.0, 6000.0)
_BANDS = 16
_STEADY = 12
"""Frames for which a peak stays where it is, about, to count as a partial: a fifth of a second."""

_ABOVE_DB, _AROUND = 9.0, 25
"""A peak's height over the median of so many bins around it."""

_QUIET_DB = 25.0
_HEARD_HZ = {"syllables": (2.5, 7.0), "all": (0.3, 25.0)}

MEANS = (0.3063, 0.1895, 0.2593, 0.1703, 0.271, 8.808, 2.644)
SPREADS = (0.3448, 0.2755, 0.3395, 0.2157, 0.1022, 5.67, 1.091)
WEIGHTS = (-1.834, 3.513, 3.65, -1.674, -0.006411, 0.8419, -0.2697)
OFFSET = -2.463
"""Of a logistic regression on the features, fitted by `recipes/fit_music.py` to 120 recordings of LibriSpeech, 82
noises, and 40 scores of music21's corpus in the sounds of a General MIDI soundfont, a third of them with drums."""

_FROM, _TO = 0.25, 0.55
"""Likelihood from which on a little, and all, of the recording is kept."""


def partials(power: Values) -> NDArray[np.bool_]:
    """Bins of a power spectrogram (frames, bins) that belong to peaks which stay where they are: whole runs that
    last, and two bins around them."""
    from scipy.ndimage import maximum_filter1d, median_filter  # a third of a second

    level = 10 * np.log10(power + 1e-10)
    peaks = level == maximum_filter1d(level, 5, axis=1)
    peaks &= level > median_filter(level, (1, _AROUND)) + _ABOVE_DB
    runs, lasting = np.zeros(peaks.shape, np.int32), np.zeros(peaks.shape, bool)
    before, after = np.zeros(peaks.shape[1], np.int32), np.zeros(peaks.shape[1], bool)
    for frame, row in enumerate(peaks):
        runs[frame] = before = np.where(row, _widest(before) + 1, 0)
    for frame in range(len(peaks) - 1, -1, -1):
        lasting[frame] = after = peaks[frame] & ((runs[frame] >= _STEADY) | _widest(after))
    return maximum_filter1d(lasting, 5, axis=1)


def _widest(row: NDArray[np.generic]) -> NDArray[np.generic]:
    """The largest of each value (n,) and its neighbours."""
    wide = row.copy()
    wide[1:] = np.maximum(wide[1:], row[:-1])
    wide[:-1] = np.maximum(wide[:-1], row[1:])
    return wide


def features(waveform: NDArray[np.floating]) -> Values:
    """What six seconds of sound are judged by, every two seconds: (judgements, features).

    Args:
        waveform: (samples,) or (channels, samples) at 16 kHz, whose channels are judged together, by their mean power;
            shorter ones give one row, of fewer than two frames none.
    """
    if waveform.shape[-1] < _SIZE + _HOP:
        return np.zeros((0, len(WEIGHTS)))
    channels = np.atleast_2d(waveform)
    power = _power(channels[0])
    for channel in channels[1:]:
        power += _power(channel)
    power /= len(channels)
    hz = np.fft.rfftfreq(_SIZE, 1 / MODEL_RATE)
    inside = (hz > _PARTIALS_HZ[0]) & (hz < _PARTIALS_HZ[1])
    energy, steady = power[:, inside], partials(power)[:, inside]
    edges = np.geomspace(*_BANDS_HZ, _BANDS + 1)
    bands = [power[:, (hz >= low) & (hz < high)].sum(1) for low, high in itertools.pairwise(edges)]
    level = 10 * np.log10(np.stack(bands, axis=1) + 1e-9)
    starts = range(0, max(1, len(power) - _WINDOW + 1), _EVERY)
    return np.array([_judged(energy[s : s + _WINDOW], steady[s : s + _WINDOW], level[s : s + _WINDOW]) for s in starts])


def _power(waveform: NDArray[np.floating]) -> Values:
    """(frames, bins) of a channel (samples,)."""
    frames = sliding_window_view(np.asarray(waveform, np.float32), _SIZE)[::_HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(_SIZE).astype(np.float32))).astype(np.float64) ** 2


def _judged(energy: Values, steady: NDArray[np.bool_], level: Values) -> list[float]:
    total, amplitude = energy.sum(1) + 1e-9, np.sqrt(energy)
    loudness = 10 * np.log10(total)
    moves = level - level.mean(0)
    rhythm = np.abs(np.fft.rfft(moves * np.hanning(len(moves))[:, None], axis=0)) ** 2
    hz = np.fft.rfftfreq(len(moves), _HOP / MODEL_RATE)
    heard = {name: float(rhythm[(hz > low) & (hz < high)].sum()) for name, (low, high) in _HEARD_HZ.items()}
    return [
        float((energy * steady).sum() / total.sum()),
        float((amplitude * steady).sum() / (amplitude.sum() + 1e-9)),
        float(((energy * steady).sum(1) / total).mean()),
        float((loudness < loudness.max() - _QUIET_DB).mean()),
        heard["syllables"] / (heard["all"] + 1e-9),
        float(np.median(moves.std(0))),
        float(np.abs(np.diff(level, axis=0)).mean()) if len(level) > 1 else 0.0,
    ]


def likelihoods(found: Values) -> Values:
    """How likely music is, (judgements,), of `features`."""
    scaled = (found - np.array(MEANS)) / np.array(SPREADS)
    return 1 / (1 + np.exp(-np.clip(scaled @ np.array(WEIGHTS) + OFFSET, -50, 50)))


class MusicShare:
    """How much of a recording is to stay as it is, over time, because it is music.

    Args:
        channels: of the recording.
    """

    def __init__(self, channels: int):
        self._held = np.zeros((channels, 0), np.float32)
        self._found: list[Values] = []

    def push(self, block: np.ndarray) -> np.ndarray:
        """Hear the next block (channels, n) at 16 kHz, and return it."""
        self._held = np.concatenate([self._held, block], axis=1)
        least = (_WINDOW - 1) * _HOP + _SIZE
        ready = (self._held.shape[1] - least) // (_EVERY * _HOP) + 1
        if ready > 0:
            self._judge(self._held[:, : (ready - 1) * _EVERY * _HOP + least])
            self._held = self._held[:, ready * _EVERY * _HOP :]
        return block

    def _judge(self, piece: np.ndarray) -> None:
        self._found.append(likelihoods(features(piece)))

    def shares(self) -> Values:
        """Of the judgements, from 0 to 1, each the mean of three; of a recording of less than six seconds one."""
        if not self._found:
            self._judge(self._held)
        found = np.concatenate([*self._found, np.zeros(0)])
        if len(found) == 0:
            return np.zeros(1)
        around = np.pad(found, 1, mode="edge")
        smooth = (around[:-2] + around[1:-1] + around[2:]) / 3
        return np.clip((smooth - _FROM) / (_TO - _FROM), 0.0, 1.0)


class MusicKeeper:
    """Puts the recording in place of the enhanced signal where it is music, piece by piece.

    Args:
        shares: of `MusicShare`.
        sample_rate: Hz of the recording.
    """

    def __init__(self, shares: Values, sample_rate: int):
        self._shares = shares
        self._middles = (np.arange(len(shares)) * _EVERY + _WINDOW / 2) * _HOP * sample_rate / MODEL_RATE
        self._place = 0

    def mixed(self, enhanced: np.ndarray, recording: np.ndarray) -> np.ndarray:
        """The next piece (channels, n), of both."""
        places = np.arange(self._place, self._place + enhanced.shape[1])
        self._place += enhanced.shape[1]
        share = np.interp(places, self._middles, self._shares).astype(np.float32)
        return (1 - share) * enhanced + share * recording
