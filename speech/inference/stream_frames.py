"""The front end of a stream, frame by frame; in NumPy, where one frame takes PyTorch's calls longer than its sums."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speech.model.frontend import FrontEnd, mirrored

Waves = NDArray[np.float32]


class Analysis:
    """`FrontEnd.forward`, frame by frame, on signals (channels, n), mirrored at their end for `frames_beyond` more.

    Args:
        frontend: the front end.
        channels: of the signal.

    Attributes:
        samples: that came so far.
    """

    def __init__(self, frontend: FrontEnd, channels: int):
        self._frontend, self._config, self._half = frontend, frontend.config, frontend.config.n_fft // 2
        self._window = frontend.window.cpu().numpy()
        self._waiting = np.zeros((channels, 0), np.float32)
        self._tail = np.zeros((channels, 0), np.float32)
        self.samples = 0

    def push(self, signal: Waves, last: bool) -> Tensor | None:
        """The frames (channels, 1, frequencies, n) that are complete, if any."""
        config, half = self._config, self._half
        before, self.samples = self.samples, self.samples + signal.shape[1]
        if last and self.samples == 0:
            return None
        padded = np.concatenate([self._waiting, signal], axis=1)
        if self.samples <= half:
            if not last:
                self._waiting = padded
                return None
            last_frame = config.frames(self.samples) + config.frames_beyond - 1
            padded = _mirrored(padded, last_frame * config.hop_length + config.n_fft - half)
        if before <= half:
            padded = np.concatenate([padded[:, half:0:-1], padded], axis=1)
        if last and self.samples > half:
            whole = np.concatenate([self._tail, padded], axis=1)
            beyond = half + config.frames_beyond * config.hop_length
            if whole.shape[1] > beyond:
                back = whole[:, -beyond - 1 : -1][:, ::-1]
            else:  # all that there was: on the way back the first sample is passed, and perhaps the last again
                back = _mirrored(whole[:, half:], self.samples + beyond)[:, self.samples :]
            padded = np.concatenate([padded, back], axis=1)
        frames = (padded.shape[1] - config.n_fft) // config.hop_length + 1
        if frames < 1:
            self._waiting = padded
            return None
        self._waiting = padded[:, frames * config.hop_length :]
        done = np.concatenate([self._tail, padded[:, : frames * config.hop_length]], axis=1)
        self._tail = done[:, -config.n_fft :]
        starts = range(0, frames * config.hop_length, config.hop_length)
        pieces = np.stack([padded[:, start : start + config.n_fft] for start in starts], axis=1)
        stft = np.fft.rfft(pieces * self._window).astype(np.complex64, copy=False)
        return self._frontend.compress(torch.from_numpy(stft)).transpose(1, 2)[:, None]


class Synthesis:
    """`FrontEnd.inverse`, frame by frame; draws are averaged.

    Args:
        frontend: the front end.
        channels: of the signal.
    """

    def __init__(self, frontend: FrontEnd, channels: int):
        self._frontend, self._config, self._window = frontend, frontend.config, frontend.window.cpu().numpy()
        self._squares = np.square(self._window)
        size = frontend.config.n_fft - frontend.config.hop_length
        self._sum = np.zeros((channels, size), np.float32)
        self._weight = np.zeros(size, np.float32)
        self._skip = frontend.config.n_fft // 2
        self._emitted = 0

    def push(self, spectrogram: Tensor | None, total: int | None) -> Waves:
        """The samples that no later frame changes; all that are left when the signal's `total` is known.

        Args:
            spectrogram: the next frames (draws · channels, 1, frequencies, n), if any.
            total: samples of the whole signal, after its last frame.
        """
        config, channels, frames = self._config, len(self._sum), 0
        summed, weight = self._sum, self._weight
        if spectrogram is not None:
            frames = spectrogram.shape[-1]
            stft = self._frontend.expand(spectrogram[:, 0]).transpose(1, 2)
            waves: Waves = np.fft.irfft(stft.cpu().numpy(), config.n_fft).astype(np.float32, copy=False) * self._window
            if len(waves) > channels:
                waves = waves.reshape(-1, channels, *waves.shape[1:]).mean(axis=0, dtype=np.float32)
            more = (frames - 1) * config.hop_length + config.n_fft - summed.shape[1]
            summed = np.concatenate([summed, np.zeros((channels, more), np.float32)], axis=1)
            weight = np.concatenate([weight, np.zeros(more, np.float32)])
            for place in range(frames):
                there = slice(place * config.hop_length, place * config.hop_length + config.n_fft)
                summed[:, there] += waves[:, place]
                weight[there] += self._squares
        done = summed.shape[-1] if total is not None else frames * config.hop_length
        self._sum, self._weight = summed[:, done:], weight[done:]
        wave: Waves = summed[:, :done] / weight[:done].clip(min=1e-11)
        cut = min(self._skip, wave.shape[1])
        self._skip -= cut
        wave = wave[:, cut:] if total is None else wave[:, cut : cut + total - self._emitted]
        self._emitted += wave.shape[1]
        return wave


def _mirrored(waveform: Waves, samples: int) -> Waves:
    return mirrored(torch.from_numpy(waveform), samples).numpy()
