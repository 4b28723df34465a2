"""From an enhanced signal at the model's rate to the result: the band above joined to it, the noisy signal mixed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from speech.audio.bands import Join
from speech.audio.music import MusicKeeper
from speech.inference.clean import CleanKeeper
from speech.inference.longform import Held
from speech.inference.removed import Levels


class Blend:
    """What an enhanced signal goes through on its way back, in blocks (channels, n) of any size.

    It keeps of the noisy recording what is needed, until what is made of it comes.

    Args:
        join: what becomes of the band above the model's; None where there is none, or it is left out.
        mix: share of the enhanced signal in the result.
        channels: of the recording.
        levels: hears the recording and its result, where given.
        clean: leaves a share of the recording in the result where it is clean, in the model's band, where given.
        kept: share of the recording in the enhanced signal, in the model's band alone, before `mix`.
        offsets: what lies on the channels all along (channels, 1), and is in no result; None: nothing.
        music: puts the recording in place of the result where it is music, whatever its band, where given.

    Attributes:
        signals: how many signals go to the recording's rate together.
        delay: samples at that rate that must follow a sample before it comes out.
    """

    def __init__(
        self,
        join: Join | None,
        mix: float,
        channels: int,
        levels: Levels | None = None,
        clean: CleanKeeper | None = None,
        kept: float = 0.0,
        offsets: np.ndarray | None = None,
        music: MusicKeeper | None = None,
    ):
        self._join, self._mix, self._levels, self._clean, self._kept = join, mix, levels, clean, kept
        self._music = music
        self._compares = mix < 1 or any((levels, music, clean is not None and join is None))
        self._joined, self._dry, self._low, self._stays = (Held(channels) for _ in range(4))
        self._channels, self._offsets = channels, offsets
        self.signals = channels if join is None else channels * join.signals
        self.delay = 0 if join is None else join.delay

    def hear(self, recording: np.ndarray) -> np.ndarray:
        """Remember the next block of the recording, and return it, without what lies on it all along."""
        if self._offsets is not None:
            recording = recording - self._offsets
        if self._join is not None:
            self._joined.add(recording)
        if self._compares:
            self._dry.add(recording)
        return recording

    def hear_low(self, noisy: np.ndarray) -> np.ndarray:
        """Remember the next block of what `hear` returned, at the model's rate, and return it."""
        if self._join is not None or self._kept:
            self._low.add(noisy)
        return noisy

    def stacked(self, wet: np.ndarray) -> np.ndarray:
        """The next block of the enhanced signal (channels, n) at the model's rate, as it goes to the recording's:
        (signals, n)."""
        if self._join is None and not self._kept:
            return wet
        low = self._low.take(wet.shape[1])
        if self._kept:
            wet = (1 - self._kept) * wet + self._kept * low
        return wet if self._join is None else self._join.stack(low, wet)

    def results(self, back: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """All blocks of the result (channels, n), from what came back at the recording's rate (signals, n)."""
        for block in back:
            ready = self.result(block)
            if ready.shape[1]:
                yield ready
        if self.delay:
            yield self.result(np.zeros((self.signals, 0), np.float32), last=True)

    def result(self, back: np.ndarray, last: bool = False) -> np.ndarray:
        """What is ready of the result (channels, n) after the next block of what came back at the recording's rate
        (signals, n); all that is left when it is the `last`."""
        result = back
        if self._join is not None:
            result = self._join.join(back, self._joined.take(back.shape[1]), last)
        dry = self._dry.take(result.shape[1]) if self._compares else None
        if self._clean is not None:  # of the model's band alone: what is above has gains of its own
            enhanced, low = (back, dry) if self._join is None else np.split(back[: 2 * self._channels], 2)
            assert low is not None
            self._stays.add(self._clean.stays(enhanced, low))
            result = result + self._stays.take(result.shape[1])
        if dry is None:
            return result
        if self._music is not None:
            result = self._music.mixed(result, dry)
        if self._mix != 1:
            result = self._mix * result + (1 - self._mix) * dry
        if self._levels is not None:
            self._levels.push(dry if self._offsets is None else dry + self._offsets, result)
        return result
