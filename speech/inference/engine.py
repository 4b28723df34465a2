"""Recordings through a model: short ones in common batches, long ones in windows; there and back at any rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from speech.audio.bands import BandJoin, UpperBand
from speech.audio.files import BLOCK_SECONDS, Resampler, resample
from speech.inference.longform import Held, Tail, Window, Windows
from speech.inference.segments import Advance, Segment, SegmentRunner, Tally
from speech.model.config import SamplingConfig
from speech.model.model import SpeechModel

Blocks = Callable[[], Iterator[np.ndarray]]
"""Reads a recording from its start, in blocks (channels, n); may be asked more than once."""


class Engine:
    """Enhances finite recordings, float32 (channels, samples), of any rate and length.

    Args:
        model, sampling, draws: what enhances, how, and how many results are averaged.
        mix: share of the enhanced signal in the result.
        windows: how long recordings are cut.
        batch_size: windows at a time.
        upper_band: what becomes of what is above the model's band.
    """

    def __init__(
        self,
        model: SpeechModel,
        sampling: SamplingConfig,
        *,
        draws: int,
        mix: float,
        windows: Windows,
        batch_size: int,
        upper_band: UpperBand,
    ):
        self.runner = SegmentRunner(model, sampling, draws, batch_size * windows.length)
        self.sample_rate = model.config.frontend.sample_rate
        self._normalises = model.config.frontend.normalize != "not"
        self._mix, self._windows, self._batch_size, self._upper_band = mix, windows, batch_size, upper_band

    def is_short(self, samples: int, sample_rate: int) -> bool:
        """Whether a recording fits into one window."""
        return math.ceil(samples * self.sample_rate / sample_rate) <= self._windows.length

    def has_upper_band(self, sample_rate: int) -> bool:
        """Whether something of a recording at this rate lies above the model's band."""
        return sample_rate > self.sample_rate

    def joins(self, sample_rate: int, channels: int) -> BandJoin | None:
        """What keeps the upper band of a recording at this rate; None where there is none, or it is left out."""
        if self._upper_band == "drop" or not self.has_upper_band(sample_rate):
            return None
        return BandJoin(self.sample_rate, channels)

    def short(
        self,
        recordings: Sequence[np.ndarray],
        rates: Sequence[int],
        seeds: Sequence[int],
        tallies: Sequence[Tally],
        advance: Advance | None = None,
        peak: float | None = None,
    ) -> list[np.ndarray]:
        """Enhance recordings that fit into a window each, in common batches; each has its rate, seed and tally.

        Raises:
            SamplingError: a result cannot be right.
        """
        if self._mix == 0:
            return [recording.copy() for recording in recordings]
        noisy = [resample(each, rate, self.sample_rate) for each, rate in zip(recordings, rates, strict=True)]
        segments: list[Segment] = []
        for at_rate, seed, tally in zip(noisy, seeds, tallies, strict=True):
            peaks = peaks_of(at_rate)
            segments += [
                Segment(wave, 0, seed, scale, loudest, tally)
                for wave, scale, loudest in zip(at_rate, self._scales(peaks, peak), peaks.tolist(), strict=True)
            ]
        outputs = iter(self.runner.run(segments, advance))
        results = []
        for recording, at_rate, rate in zip(recordings, noisy, rates, strict=True):
            if len(recording) == 0:
                results.append(recording)
                continue
            wet = np.stack([next(outputs) for _ in at_rate])
            results.append(self._mixed(self._back(recording, at_rate, wet, rate), recording))
        return results

    def whole(self, recording: np.ndarray, sample_rate: int, seed: int, tally: Tally, peak: float | None) -> np.ndarray:
        """Enhance one recording of any length; raises as `short`."""
        size = int(BLOCK_SECONDS * sample_rate)

        def read() -> Iterator[np.ndarray]:
            for start in range(0, recording.shape[1], size):
                yield recording[:, start : start + size]

        channels, samples = recording.shape
        blocks = self.blocks(read, sample_rate, (channels, samples), seed, tally, peak=peak)
        return np.concatenate(list(blocks), axis=1)

    def blocks(
        self,
        read: Blocks,
        sample_rate: int,
        shape: tuple[int, int],
        seed: int,
        tally: Tally,
        advance: Advance | None = None,
        peak: float | None = None,
    ) -> Iterator[np.ndarray]:
        """Enhance a recording of any length, in blocks (channels, n), in memory that does not grow with it.

        The recording is read twice: for its peak, then for the rest.

        Args:
            read: reads it.
            sample_rate: Hz.
            shape: (channels, samples) of the whole.
            seed: of its noise.
            tally: of the recording; counts on.
            advance: told of progress.
            peak: in place of each channel's.

        Raises:
            SamplingError: the result cannot be right.
        """
        if self._mix == 0:
            yield from read()
            return
        channels, samples = shape
        peaks = np.zeros(channels, np.float32)
        for block in Resampler(sample_rate, self.sample_rate, channels).stream(read()):
            peaks = np.maximum(peaks, peaks_of(block))
        dry, low, join = Held(channels), Held(channels), self.joins(sample_rate, channels)
        keeps = join is not None or self._mix < 1
        source = dry.keep(read()) if keeps else read()
        at_rate = Resampler(sample_rate, self.sample_rate, channels).stream(source)
        windows = self._windows.cut(at_rate if join is None else low.keep(at_rate))
        wet = self._windows.join(self._enhanced(windows, peaks, peak, seed, tally, advance))
        if join is not None:
            wet = (join.stack(low.take(block.shape[1]), block) for block in wet)
            channels *= BandJoin.SIGNALS
        wet = Resampler(self.sample_rate, sample_rate, channels).stream(wet)
        for block in Tail(channels, samples).of(wet):
            if not keeps:
                yield block
                continue
            recording = dry.take(block.shape[1])
            yield self._mixed(block if join is None else join.join(block, recording), recording)

    def _back(self, recording: np.ndarray, noisy: np.ndarray, wet: np.ndarray, rate: int) -> np.ndarray:
        """An enhanced signal at the recording's rate; `noisy` is the recording at the model's."""
        join = self.joins(rate, len(recording))
        stacked = wet if join is None else join.stack(noisy, wet)
        back = resample(stacked, self.sample_rate, rate, length=recording.shape[1])
        return back if join is None else join.join(back, recording)

    def _mixed(self, wet: np.ndarray, recording: np.ndarray) -> np.ndarray:
        return wet if self._mix == 1 else self._mix * wet + (1 - self._mix) * recording

    def _enhanced(
        self,
        windows: Iterable[Window],
        peaks: np.ndarray,
        peak: float | None,
        seed: int,
        tally: Tally,
        advance: Advance | None,
    ) -> Iterator[Window]:
        waiting: list[Window] = []
        levels = list(zip(self._scales(peaks, peak), peaks.tolist(), strict=True))
        together = max(1, self._batch_size // len(levels))
        for window in windows:
            waiting.append(window)
            if len(waiting) == together or window.last:
                segments = [
                    Segment(channel, item.start, seed, scale, loudest, tally)
                    for item in waiting
                    for channel, (scale, loudest) in zip(item.waveform, levels, strict=True)
                ]
                outputs = iter(self.runner.run(segments, advance))
                for item in waiting:
                    yield Window(item.start, np.stack([next(outputs) for _ in levels]), item.last)
                waiting = []

    def _scales(self, peaks: np.ndarray, peak: float | None) -> list[float]:
        """What channels with these peaks are divided by for the network; 0 where they are silent."""
        if not self._normalises:
            peak = 1.0
        return [float(own if peak is None or own == 0 else peak) for own in peaks]


def peaks_of(waveform: np.ndarray) -> np.ndarray:
    """The largest magnitude of each channel (channels, samples): (channels,)."""
    peaks: np.ndarray = np.abs(waveform).max(axis=-1, initial=0.0)
    return peaks
