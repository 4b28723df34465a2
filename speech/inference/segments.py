"""Running a model on pieces of recordings, in batches in which no piece depends on the others."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from tqdm.std import tqdm

from shared.random import PlacedGenerator
from shared.samplers import StepInfo
from speech.audio.silences import GoingOn, bridged, silences
from speech.inference.held_level import HeldLevel, LevelAround
from speech.inference.longform import Window
from speech.inference.plausible import Plausible
from speech.inference.sampling import sample_spectrogram, sounding
from speech.model.config import SamplingConfig
from speech.model.frontend import mirrored
from speech.model.model import SpeechModel

Advance = Callable[[float], None]
"""Told of every bit of progress, in seconds of audio of one channel."""

_SAME = 1e-10
"""Share of energy, −100 dB, below which draws are told apart by rounding alone."""

_BUCKET = 32
"""Segments are continued to a multiple of this many frames, so that pieces of like lengths share a batch."""

_BEYOND = 100.0
"""By how much, 40 dB, a click may exceed the level that a recording is normalised by, for the network: of more, such as
a damaged file has, it makes more still."""


@dataclass(frozen=True)
class Segment:
    """One channel of a recording, or of a window of it, at the model's rate.

    Attributes:
        waveform: float32 (samples,), as it was recorded.
        start: place of its first sample in the recording, a multiple of the front end's hop.
        seed: of the recording's noise.
        peak: what the whole channel is divided by for the network; 0 where the channel is silent.
        loudest: the whole channel's own peak.
        tally: of the recording; counts on.
        edge: Hz at which the channel's band ends; None: not known.
        heard: frames of the channel that sound came before its first; more than fade in are not counted.
        gains: with which the network sees its frames, (frames,), as many as `SegmentRunner.bucket` says; None: 1.
        bridged: what the network hears of it, where that is something else in digital silence; None: the waveform.
        silent: where its result is silence for that, (samples,); None: nowhere.
    """

    waveform: np.ndarray
    start: int
    seed: int
    peak: float
    loudest: float
    tally: Tally
    edge: float | None = None
    heard: int = 0
    gains: np.ndarray | None = None
    bridged: np.ndarray | None = None
    silent: np.ndarray | None = None


@dataclass
class Tally:
    """What was counted while a recording was enhanced.

    Attributes:
        nfe: network calls that every sample went through, all draws together.
        replaced: samples that were not finite.
        limited, louder: what there is to say of the result; see `speech.inference.plausible`.
        cut: samples beyond what the coding of a file has room for, which were cut off.
        spread: how far its draws are apart.
        music: share of the recording that was left as it is, being music.
        band: what there is to say of where the recording's band ends.
        offset: the largest constant that was taken out of a channel, of full scale 1.
    """

    nfe: int = 0
    replaced: int = 0
    limited: int = 0
    louder: float = 0.0
    cut: int = 0
    spread: Spread = field(default_factory=lambda: Spread())
    music: float = 0.0
    band: str | None = None
    offset: float = 0.0


@dataclass
class Spread:
    """How far the draws of a recording are from their mean, which is the result; of several networks, their results.

    Attributes:
        draws: how many there are; of results with unequal shares, as many as would be as far apart with equal ones.
        of_draws, of_means: energies so far; the former is the mean over draws.
    """

    draws: float = 1
    of_draws: float = 0.0
    of_means: float = 0.0

    @property
    def decibels(self) -> float | None:
        """Energy of a draw's distance from the mean of endlessly many, against that of the result: the lower, the more
        the draws agree. It does not tell whether they are right. None of a single draw, and of silence."""
        if self.draws <= 1 or self.of_means <= 0:
            return None
        variance = max(self.of_draws - self.of_means, 0.0) * self.draws / (self.draws - 1)
        return 10 * math.log10(max(variance / self.of_means, _SAME))


def frame_grid(model: SpeechModel) -> int:
    """Segments are continued to a multiple of this many frames; windows begin at one, so that all that end with the
    recording are continued by the same."""
    return math.lcm(_BUCKET, model.frame_multiple)


class Course:
    """What windows of a recording, which come in order, have to know of the rest of it.

    Args:
        runner: what runs them.
        scales: what the channels are divided by for the network; 0 where they are silent.
        tally: counts on.
        around: the levels of the whole recording, where they are known and count.
    """

    def __init__(self, runner: SegmentRunner, scales: Sequence[float], tally: Tally, around: LevelAround | None = None):
        self.scales, self.tally, self._around = scales, tally, around
        self._runner, self._hop = runner, runner.model.config.frontend.hop_length
        self._heard = np.zeros(len(scales), np.int64)
        self._rate = runner.model.config.frontend.sample_rate
        self._going_on = GoingOn(self._rate, len(scales)) if runner.is_causal else None
        self._gone_on = np.zeros((len(scales), 0), np.float32), np.zeros((len(scales), 0), bool)
        self._first = 0
        least = runner.sampling.least_level
        self._held = None
        if least is not None and not runner.normalises:
            self._held = HeldLevel(runner.model.config.frontend, least, len(scales))

    def heard(self, window: Window, step: int) -> list[int]:
        """`Segment.heard` of the window's channels; the next one begins `step` samples later."""
        before: list[int] = self._heard.tolist()
        if not window.last and min(before) < self._runner.sampling.fade_in:
            self._heard = self._heard + self._runner.sounding(window.waveform, step // self._hop)
        return before

    def bridged(
        self, window: Window, peaks: Sequence[float]
    ) -> Iterator[tuple[np.ndarray, np.ndarray] | tuple[None, None]]:
        """`Segment.bridged` and `Segment.silent` of the window's channels, whose own peaks in the whole are these."""
        if not self._runner.bridges:
            yield from [(None, None)] * len(peaks)
        elif self._going_on is not None:
            new = self._going_on.push(window.waveform[:, self._going_on.samples - window.start :])
            known = (old[:, window.start - self._first :] for old in self._gone_on)
            made, silent = (np.concatenate(pair, axis=1) for pair in zip(known, new, strict=True))
            self._gone_on, self._first = (made, silent), window.start
            yield from zip(made, silent, strict=True)
        else:
            for wave, scale, peak in zip(window.waveform, self.scales, peaks, strict=True):
                gaps = silences(wave, min(scale, peak), self._rate)  # a scale that was asked for may be anything
                silent = np.zeros(len(wave), bool)
                for gap in gaps:
                    silent[gap] = True
                yield bridged(wave, gaps, self._rate), silent

    def gains(self, window: Window) -> list[np.ndarray] | list[None]:
        """`Segment.gains` of the window's channels."""
        first, frames = window.start // self._hop, self._runner.bucket(window.waveform.shape[1])
        if self._around is not None:
            return list(self._around.gains(first, frames, self.scales))
        if self._held is None:
            return [None] * len(self.scales)
        scales = np.array([scale or 1.0 for scale in self.scales])[:, None]
        new = window.waveform[:, self._held.samples - window.start :]
        self._held.push(np.divide(new, scales, dtype=np.float32))
        return list(self._held.gains(first, frames))


class SegmentRunner:
    """A model, how it is sampled, and how much of it at once.

    Args:
        model: in evaluation, where it is to run.
        sampling: how to sample.
        draws: results to average.
        batch_samples: samples at the model's rate that a batch may hold, at least one segment.
    """

    def __init__(self, model: SpeechModel, sampling: SamplingConfig, draws: int, batch_samples: int):
        self.model, self.sampling, self.draws = model, sampling, draws
        self._batch_frames = self.bucket(batch_samples)
        self.is_causal = bool(getattr(model.config.backbone, "causal", False))
        self.bridges = model.frame_multiple == 1  # others, of published code, get what it would give them
        self.normalises = model.config.frontend.normalize != "not"

    def scales(self, levels: Sequence[float], peak: float | None) -> list[float]:
        """What channels of these levels are divided by for the network, which sees `peak`, if given, as 1; 0 where they
        are silent."""
        if not self.normalises:
            peak = 1.0
        return [own if peak is None or own == 0 else peak for own in levels]

    def bucket(self, samples: int) -> int:
        """The frames that a segment of this many samples is continued to; where the number is free, with those beyond
        its end that reach back into it."""
        multiple, frontend = frame_grid(self.model), self.model.frontend.config
        frames = frontend.frames(samples) + (frontend.frames_beyond if self.model.frame_multiple == 1 else 0)
        return -(-frames // multiple) * multiple

    def batch_of(self, frames: int) -> int:
        """How many segments of this many frames are run at once."""
        if self.sampling.sampler == "ode":
            return 1  # its steps would depend on all that is in the batch
        return max(1, self._batch_frames // frames)

    def run(self, segments: Sequence[Segment], advance: Advance | None = None) -> list[np.ndarray]:
        """Enhance segments; their waveforms (samples,).

        Raises:
            SamplingError: a result cannot be right.
        """
        outputs = [np.zeros_like(segment.waveform) for segment in segments]
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for place, segment in enumerate(segments):
            if segment.peak > 0:
                groups[self.bucket(len(segment.waveform))].append(place)
        for frames, places in groups.items():
            todo = [(place, draw) for place in places for draw in range(self.draws)]
            size = self.batch_of(frames)
            for first in range(0, len(todo), size):
                batch = todo[first : first + size]
                waves, calls = self._sample([segments[p] for p, _ in batch], [d for _, d in batch], frames, advance)
                for (place, _), wave in zip(batch, waves, strict=True):
                    wave = self._plausible(segments[place], wave)
                    outputs[place] += wave / self.draws
                    tally = segments[place].tally
                    tally.nfe = max(tally.nfe, calls * self.draws)
                    tally.spread.of_draws += energy(wave) / self.draws
        for segment, output in zip(segments, outputs, strict=True):
            segment.tally.spread.draws = self.draws
            segment.tally.spread.of_means += energy(output)
        return outputs

    def _plausible(self, segment: Segment, enhanced: np.ndarray) -> np.ndarray:
        check = Plausible(self.sampling, self.model.config.frontend.sample_rate, segment.loudest)
        enhanced = check.checked(segment.waveform, enhanced)
        segment.tally.limited += check.limited
        segment.tally.louder = max(segment.tally.louder, check.louder)
        return enhanced

    @torch.no_grad()
    def _sample(
        self, segments: Sequence[Segment], draws: Sequence[int], frames: int, advance: Advance | None
    ) -> tuple[list[np.ndarray], int]:
        """One batch: the waveforms, and the network calls."""
        frontend, hop = self.model.frontend, self.model.config.frontend.hop_length
        generators = [
            PlacedGenerator("speech", segment.seed, draw, start=segment.start // hop)
            for segment, draw in zip(segments, draws, strict=True)
        ]
        seconds = sum(len(s.waveform) for s in segments) / self.model.config.frontend.sample_rate / self.draws

        def step(info: StepInfo) -> None:
            if advance is not None:
                advance(seconds / info.steps)

        noisy = torch.cat([self._spectrogram(segment, frames) for segment in segments])
        gains = _gains(segments, noisy)
        if gains is not None:
            noisy = frontend.amplified(noisy, gains)
        heard = [segment.heard for segment in segments]
        result = sample_spectrogram(self.model, noisy, self.sampling, generators, step, heard)
        estimate = result.x if gains is None else frontend.amplified(result.x, 1 / gains)
        waves = []
        for x, segment in zip(estimate, segments, strict=True):
            length = len(segment.waveform)
            known = x[None, ..., : frontend.config.frames(length) + frontend.config.frames_beyond]
            wave = frontend.inverse(known, length)[0] * (segment.peak * self.sampling.amplification)
            waves.append(wave.to("cpu", torch.float32).numpy())
            if segment.silent is not None:
                waves[-1][segment.silent] = 0
        return waves, result.nfe

    @torch.no_grad()
    def sounding(self, waveform: np.ndarray, frames: int) -> np.ndarray:
        """How many of the first frames of a waveform (channels, samples) are not digital silence: (channels,)."""
        spectrogram = self.model.frontend(torch.from_numpy(waveform).to(self.model.device))
        return sounding(spectrogram[..., :frames]).sum(dim=-1).cpu().numpy()

    def _spectrogram(self, segment: Segment, frames: int) -> Tensor:
        """The noisy spectrogram, continued to `frames`: the one place where frames are added to those of a recording.

        A backbone that needs a certain number of frames gets what its configuration says. One that takes any would take
        zeros for sudden silence, which no noisy recording ends in: it hears the recording backwards.
        """
        frontend = self.model.frontend
        waveform = segment.waveform if segment.bridged is None else segment.bridged
        normal = waveform / np.float32(segment.peak)
        if frontend.config.normalize != "not":
            normal = normal.clip(-_BEYOND, _BEYOND)
        wave = torch.from_numpy(normal).to(self.model.device)[None]
        if self.model.frame_multiple == 1:
            whole = mirrored(wave, frontend.config.samples(frames) + frontend.config.n_fft // 2)
            return frontend(whole)[..., :frames]
        return self.model.pad_frames(frontend(wave), self.sampling.frame_padding, frames)


def _gains(segments: Sequence[Segment], noisy: Tensor) -> Tensor | None:
    """Of the segments' frames, (batch, frames) like those of `noisy`; None where all are 1."""
    if all(segment.gains is None or (segment.gains == 1).all() for segment in segments):
        return None
    ones = np.ones(noisy.shape[-1], np.float32)
    gains = np.stack([ones if segment.gains is None else segment.gains for segment in segments])
    return torch.from_numpy(gains).to(noisy.device)


def energy(wave: np.ndarray) -> float:
    """Of a waveform: the sum of its squares."""
    return float(np.square(wave, dtype=np.float64).sum())


def bounded(bar: tqdm) -> Advance:
    """Moves a bar, never beyond its end: windows overlap."""

    def advance(seconds: float) -> None:
        bar.update(max(0.0, min(seconds, bar.total - bar.n)))

    return advance
