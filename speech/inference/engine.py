"""Recordings through a model: short ones in common batches, long ones in windows; there and back at any rate."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from shared.errors import ConfigError
from shared.random import derive_seed
from speech.audio.bands import MODEL_RATE, BandJoin, Join, UpperBand, choose_upper_band
from speech.audio.edges import said_of_band, with_band_kept
from speech.audio.files import BLOCK_SECONDS
from speech.audio.music import MusicKeeper
from speech.audio.resampling import Resampler, resample
from speech.inference import advice
from speech.inference.blend import Blend
from speech.inference.clean import CleanKeeper
from speech.inference.held_level import LevelAround
from speech.inference.listening import Listening
from speech.inference.longform import Window, Windows, of_length
from speech.inference.members import Members, Piece
from speech.inference.removed import Levels
from speech.inference.segments import Advance, SegmentRunner, Tally
from speech.inference.upper_band import ExtensionJoin, UpperBandJoin
from speech.model.config import Companion, SamplingConfig
from speech.model.model import SpeechModel
from speech.model.upper_band import bundled_upper_band

Blocks = Callable[[], Iterator[np.ndarray]]
"""Reads a recording from its start, in blocks (channels, n); may be asked more than once."""


def _runner(model: SpeechModel, sampling: SamplingConfig, draws: int, samples: int) -> SegmentRunner:
    """What runs a model: of draws that would all be the same, one."""
    if draws > 1 and advice.is_deterministic(model.sde, sampling):
        draws = 1
    return SegmentRunner(model, sampling, draws, samples)


class Engine:
    """Enhances finite recordings, float32 (channels, samples), of any rate and length.

    Args:
        model, sampling: what enhances, and how.
        seed: of the noise.
        draws: results to average; where all would be the same, one is drawn.
        mix: share of the enhanced signal in the result, of which the attenuation limit leaves a part to the recording.
        windows: how long recordings are cut.
        batch_size: windows at a time.
        upper_band: what becomes of what is above the model's band; None: as the model's settings say, or "follow", and
            it is said.
        rate: of results, in Hz; None: that of the recording.
        keep_music: leave a recording as it is where it is music.
        companion: a model that is averaged with this one, how it is sampled, and its shares; None: this one alone.

    Raises:
        ConfigError: an unknown choice of the upper band, or one that is not for this model; a companion that does not
            suit it.
    """

    def __init__(
        self,
        model: SpeechModel,
        sampling: SamplingConfig,
        *,
        seed: int,
        draws: int,
        mix: float,
        windows: Windows,
        batch_size: int,
        upper_band: UpperBand | None,
        rate: int | None = None,
        keep_music: bool = False,
        companion: tuple[SpeechModel, SamplingConfig, Companion] | None = None,
    ):
        self.model, self.sampling, self.seed, self.mix = model, sampling, seed, mix * (1 - sampling.kept)
        self._given_mix = mix
        upper_band = upper_band or sampling.upper_band
        self.upper_band = choose_upper_band(upper_band, model.config.frontend.sample_rate)
        self.rate, self.keep_music = rate, keep_music
        if keep_music and model.config.frontend.sample_rate != MODEL_RATE:
            raise ConfigError(f"keep_music=True listens at {MODEL_RATE} Hz, where this model does not; leave it out")
        samples = batch_size * windows.length
        self.runner = _runner(model, sampling, draws, samples)
        self.members = Members(self.runner)
        if companion is not None:
            beside, its_sampling, shares = companion
            self.members = Members(self.runner, _runner(beside, its_sampling, draws, samples), shares)
        self.sample_rate = model.config.frontend.sample_rate
        self.normalises = self.runner.normalises
        self._windows, self._batch_size = windows, batch_size
        self._tells_upper_band = upper_band is None and mix > 0

    @functools.cached_property
    def is_deterministic(self) -> bool:
        """Whether results do not depend on the seed, so that one draw is as good as many."""
        return all(advice.is_deterministic(runner.model.sde, runner.sampling) for runner in self.members.runners)

    def seed_of(self, name: str) -> int:
        """The seed of the recording of this name in a folder, or of a file of this name."""
        return derive_seed(self.seed, name)

    def warn_without_effect(self, given: Mapping[str, bool], stacklevel: int = 4) -> None:
        """Tell of those of the arguments ("steps", "seed", "draws", "peak") that were given, and of the settings of
        sampling, that change nothing."""
        names = [name for name, is_given in given.items() if is_given]
        deterministic = bool({"seed", "draws"} & set(names)) and self.is_deterministic
        advice.warn(advice.without_effect(self.model, self.sampling, names, deterministic), stacklevel)

    def warn_upper_band(self, sample_rate: int, stacklevel: int = 3) -> None:
        """Tell once what becomes of what lies above the model's band, where nobody chose it."""
        if self._tells_upper_band and sample_rate > self.sample_rate:
            self._tells_upper_band = False
            advice.warn(
                f"the model's band ends at {self.sample_rate / 2000:g} kHz; what a recording has above is kept, with a "
                "gain that follows the model's (upper_band: follow; drop leaves it out)",
                stacklevel,
            )

    def _extends(self, sample_rate: int) -> bool:
        return self.upper_band == "extend" and sample_rate > self.sample_rate

    def rate_of(self, sample_rate: int) -> int:
        """The rate of the result of a recording at this rate, in Hz."""
        return self.rate or sample_rate

    def warn_no_room(self, sample_rate: int) -> None:
        """Tell where a model that adds a band has no room for it in results."""
        if self.sampling.keep_band and self.rate_of(sample_rate) < self.sample_rate and self.mix > 0:
            rate = self.rate_of(sample_rate)
            advice.warn(
                f"results are at {rate} Hz, which ends at {rate / 2000:g} kHz; this model adds what is missing up to "
                f"{self.sample_rate / 2000:g} kHz and above: ask for rate={self.sample_rate} or 48000 (--rate)"
            )

    def is_short(self, samples: int, sample_rate: int) -> bool:
        """Whether a recording fits into one window."""
        return math.ceil(samples * self.sample_rate / sample_rate) <= self._windows.length

    def blend(
        self,
        sample_rate: int,
        channels: int,
        *,
        streamed: bool = False,
        levels: Levels | None = None,
        edges: Sequence[float] = (),
        scales: Sequence[float] | None = None,
        offsets: np.ndarray | None = None,
        music: MusicKeeper | None = None,
    ) -> Blend:
        """What leads from the enhanced signal of a recording at this rate to its result; `edges` are where the bands of
        its channels end, in Hz, `scales` the levels that their peaks reach, `offsets` what lies on them all along, and
        `music` what keeps theirs. Those of a stream are not known: its bands count as that of the model, its levels as
        they are, as those of files do for a model that has streams."""
        join: Join | None = None
        peaks = scales if self.normalises else None
        if self.upper_band == "enhance" and sample_rate > self.sample_rate:
            join = UpperBandJoin(bundled_upper_band(), sample_rate, channels, peaks)
        elif self._extends(sample_rate):
            known = edges or [self.sample_rate / 2] * channels
            join = ExtensionJoin(bundled_upper_band("extension"), sample_rate, channels, known, peaks)
        elif self.upper_band != "drop" and sample_rate > self.sample_rate:
            join = BandJoin(self.sample_rate, channels)
        elif streamed and sample_rate < self.sample_rate:  # what the short filters take of the band's end
            join = BandJoin(self.sample_rate, channels, sample_rate / 2)
        clean = None
        if self.sampling.clean_share and (join is not None or sample_rate <= self.sample_rate):
            clean = CleanKeeper(self.sampling.clean_share, sample_rate, channels)
        if join is None and sample_rate > self.sample_rate:  # of a band that is left out the limit keeps nothing
            return Blend(None, self._given_mix, channels, levels, clean, self.sampling.kept, offsets, music)
        return Blend(join, self.mix, channels, levels, clean, offsets=offsets, music=music)

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
        if self.mix == 0:
            return [recording.copy() for recording in recordings]
        noisy, listened = list(recordings), []
        pieces: list[Piece] = []

        def hear(heard: Listening, place: int) -> None:
            noisy[place] = resample(heard.hear(recordings[place]), rates[place], self.sample_rate)
            heard.hear_low(noisy[place])

        for place, (rate, seed, tally) in enumerate(zip(rates, seeds, tallies, strict=True)):
            heard = self._heard(functools.partial(hear, place=place), rate, len(noisy[place]))
            listened.append(heard)
            courses = self.members.courses(heard, peak, tally)
            pieces += self.members.pieces(Window(0, noisy[place], last=True), courses, heard, seed, tally, 0)
        outputs = self._outputs(pieces, advance)
        results = []
        for recording, at_rate, rate, heard, tally in zip(recordings, noisy, rates, listened, tallies, strict=True):
            if len(recording) == 0:
                results.append(recording)
                continue
            blend = self._blend_of(heard, rate, len(recording), peak, tally)
            blend.hear(recording)
            blend.hear_low(at_rate)
            wet = blend.stacked(np.stack([next(outputs) for _ in at_rate]))
            back = resample(wet, self.sample_rate, rate, length=recording.shape[1])
            results.append(blend.result(back, last=True))
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
        levels: Levels | None = None,
    ) -> Iterator[np.ndarray]:
        """Enhance a recording of any length, in blocks (channels, n), in memory that does not grow with it.

        The recording is read twice: for its level, then for the rest; where a constant lies on it, once more
        before that.

        Args:
            read: reads it.
            sample_rate: Hz.
            shape: (channels, samples) of the whole.
            seed: of its noise.
            tally: of the recording; counts on.
            advance: told of progress.
            peak: in place of each channel's level.
            levels: hears the recording and its result.

        Raises:
            SamplingError: the result cannot be right.
        """
        if self.mix == 0:
            for block in read():
                if levels is not None:
                    levels.push(block, block)
                yield block
            return
        channels, samples = shape

        def hear(heard: Listening) -> None:
            for block in Resampler(sample_rate, self.sample_rate, channels).stream(map(heard.hear, read())):
                heard.hear_low(block)

        heard = self._heard(hear, sample_rate, channels)
        blend = self._blend_of(heard, sample_rate, channels, peak, tally, levels)
        at_rate = Resampler(sample_rate, self.sample_rate, channels).stream(map(blend.hear, read()))
        windows = self._windows.cut(map(blend.hear_low, at_rate))
        wet = map(blend.stacked, self._windows.join(self._enhanced(windows, heard, peak, seed, tally, advance)))
        back = Resampler(self.sample_rate, sample_rate, blend.signals).stream(wet)
        yield from blend.results(of_length(back, blend.signals, samples))

    def _enhanced(
        self,
        windows: Iterable[Window],
        heard: Listening,
        peak: float | None,
        seed: int,
        tally: Tally,
        advance: Advance | None,
    ) -> Iterator[Window]:
        waiting: list[Window] = []
        channels = len(heard.peaks)
        together = max(1, self._batch_size // channels)
        courses = self.members.courses(heard, peak, tally)
        for window in windows:
            waiting.append(window)
            if len(waiting) == together or window.last:
                step = self._windows.step
                each = [self.members.pieces(item, courses, heard, seed, tally, step) for item in waiting]
                outputs = self._outputs([piece for pieces in each for piece in pieces], advance)
                for item in waiting:
                    yield Window(item.start, np.stack([next(outputs) for _ in range(channels)]), item.last)
                waiting = []

    def _outputs(self, pieces: Sequence[Piece], advance: Advance | None) -> Iterator[np.ndarray]:
        """The pieces' results (samples,), one by one."""
        for made, piece in zip(self.members.run(pieces, advance), pieces, strict=True):
            segment = piece.first
            if segment.edge is None:
                yield made
            else:
                yield with_band_kept(made, segment.waveform, segment.edge, self.sample_rate)

    def _heard(self, hear: Callable[[Listening], None], sample_rate: int, channels: int) -> Listening:
        """What `hear` makes of a recording that it hears to its end: once more without the constant that lies on it, by
        which levels and bands would be wrong."""
        heard = self._listening(sample_rate, channels)
        hear(heard)
        if heard.offsets.any():
            heard = self._listening(sample_rate, channels, heard.offsets)
            hear(heard)
        return heard

    def _blend_of(
        self,
        heard: Listening,
        sample_rate: int,
        channels: int,
        peak: float | None,
        tally: Tally,
        levels: Levels | None = None,
    ) -> Blend:
        """The blend of a recording that was heard to its end; the tally then tells of its band, and of the constant and
        the music in it."""
        tally.band, offsets, music = self._said_of_band(heard, sample_rate), None, None
        if heard.offsets.any():
            offsets, tally.offset = heard.offsets, float(np.abs(heard.offsets).max())
        if (shares := heard.music) is not None:
            music, tally.music = MusicKeeper(shares, sample_rate), float(shares.mean())
        scales = self.runner.scales(heard.levels, peak)
        edges = heard.upper_edges
        return self.blend(
            sample_rate, channels, levels=levels, edges=edges, scales=scales, offsets=offsets, music=music
        )

    def _listening(self, sample_rate: int, channels: int, offsets: np.ndarray | None = None) -> Listening:
        least = self.sampling.least_level if self.normalises else None
        return Listening(
            sample_rate,
            self.sample_rate,
            channels,
            band=self.sampling.keep_band,
            upper=self._extends(sample_rate),
            music=self.keep_music,
            constant=self.normalises,
            offsets=offsets,
            around=None if least is None else LevelAround(self.model.config.frontend, least, channels),
        )

    def _said_of_band(self, heard: Listening, sample_rate: int) -> str | None:
        """What there is to say of the band of a recording at this rate, of a model that adds what lies above: of the
        channel that lacks most. Of other models nothing, nor where `warn_no_room` tells."""
        edges = [edge for edge in heard.edges if edge is not None]
        if not edges or sample_rate < self.sample_rate:
            return None
        if min(edges) >= self.sample_rate / 2 and heard.upper_edges:
            return said_of_band(min(heard.upper_edges), sample_rate / 2)
        return said_of_band(min(edges), self.sample_rate / 2)
