"""Networks that hear the same recording, and whose results are averaged: one, or a model and its companion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from speech.inference.listening import Listening
from speech.inference.longform import Window
from speech.inference.segments import Advance, Course, Segment, SegmentRunner, Tally, energy
from speech.model.config import Companion


@dataclass(frozen=True)
class Piece:
    """One channel of a recording, or of a window of it.

    Attributes:
        segments: what each member makes its result of.
        tally: of the recording.
    """

    segments: tuple[Segment, ...]
    tally: Tally

    @property
    def first(self) -> Segment:
        """That of the model itself."""
        return self.segments[0]


class Members:
    """A model, and its companion where it has one.

    The errors of networks that were trained apart differ, and some of them go where the results are averaged.

    Args:
        own: runs the model.
        beside: runs the companion, whose front end has the same rate and hop.
        shares: the companion's.
    """

    def __init__(self, own: SegmentRunner, beside: SegmentRunner | None = None, shares: Companion | None = None):
        self.runners = (own,) if beside is None else (own, beside)
        self._shares = shares

    @property
    def beside(self) -> Path | None:
        """Where the companion was loaded from, if there is one."""
        return self.runners[-1].model.folder if len(self.runners) > 1 else None

    def courses(self, heard: Listening, peak: float | None, tally: Tally) -> list[Course]:
        """A recording's, of each member; `peak` as for `Enhancer.enhance`."""
        courses = []
        for runner in self.runners:
            own = tally if len(self.runners) == 1 else Tally()
            around = heard.around if runner.normalises else None
            courses.append(Course(runner, runner.scales(heard.levels, peak), own, around))
        return courses

    def pieces(
        self, window: Window, courses: Sequence[Course], heard: Listening, seed: int, tally: Tally, step: int
    ) -> list[Piece]:
        """The channels of a recording, or of a window of it; the next window begins `step` samples later."""
        each = (self._segments(window, course, heard, seed, step) for course in courses)
        return [Piece(segments, tally) for segments in zip(*each, strict=True)]

    @staticmethod
    def _segments(window: Window, course: Course, heard: Listening, seed: int, step: int) -> list[Segment]:
        peaks = heard.peaks.tolist()
        each = zip(
            window.waveform,
            course.scales,
            peaks,
            heard.edges,
            course.heard(window, step),
            course.gains(window),
            course.bridged(window, peaks),
            strict=True,
        )
        return [
            Segment(wave, window.start, seed, scale, loudest, course.tally, edge, before, gains, *bridged)
            for wave, scale, loudest, edge, before, gains, bridged in each
        ]

    def run(self, pieces: Sequence[Piece], advance: Advance | None) -> list[np.ndarray]:
        """The pieces' results, (samples,) each.

        Raises:
            SamplingError: a result cannot be right.
        """

        def part(seconds: float) -> None:
            if advance is not None:
                advance(seconds / len(self.runners))

        made = [
            runner.run([piece.segments[place] for piece in pieces], part) for place, runner in enumerate(self.runners)
        ]
        if self._shares is None:
            return made[0]
        own, beside = made
        shares = self._shares
        return [self._averaged(*each, shares) for each in zip(pieces, own, beside, strict=True)]

    def _averaged(self, piece: Piece, own: np.ndarray, beside: np.ndarray, shares: Companion) -> np.ndarray:
        mean = self._mean(piece.first, own, beside, shares) if piece.first.peak > 0 else own
        tally, each = piece.tally, [segment.tally for segment in piece.segments]
        tally.nfe = sum(one.nfe for one in each)
        tally.limited = sum(one.limited for one in each)
        tally.louder = max(one.louder for one in each)
        share = shares.share
        tally.spread.draws = 1 / (share**2 + (1 - share) ** 2)
        tally.spread.of_draws += (1 - share) * energy(own) + share * energy(beside)
        tally.spread.of_means += energy((1 - share) * own + share * beside)
        return mean

    @torch.no_grad()
    def _mean(self, segment: Segment, own: np.ndarray, beside: np.ndarray, shares: Companion) -> np.ndarray:
        """The mean of both results (samples,), of spectrograms as the model's front end compresses them: what one
        network lets through alone counts less than in a mean of waveforms."""
        model = self.runners[0].model
        frontend, length = model.frontend, len(segment.waveform)
        each = torch.from_numpy(np.stack([own, beside]) / np.float32(segment.peak)).to(model.device)
        mine, other = frontend(nn.functional.pad(each, (0, frontend.config.n_fft)))  # and the frames beyond its end
        share = torch.where(other.abs() < mine.abs(), shares.share, shares.beyond)
        mean = frontend.inverse(((1 - share) * mine + share * other)[None], length)[0] * segment.peak
        wave: np.ndarray = mean.to("cpu", torch.float32).numpy()
        if segment.silent is not None:
            wave[segment.silent] = 0
        return wave
