"""The loop of live enhancement: from whatever samples come from, to wherever they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from shared.checks import Chance, checked
from speech.inference.longform import Held
from speech.inference.streaming import Stream

_TURN_SECONDS = 0.02


class DryWet:
    """How much of the enhanced signal is heard, which may change on the way; the rest is the noisy one, as late.

    Args:
        stream: what enhances, itself without a mix.
        wet: share of the enhanced signal, 0 to 1, while it is on.

    Attributes:
        on: whether it is; a change takes a fiftieth of a second, without a click.
    """

    def __init__(self, stream: Stream, wet: float = 1.0):
        self._wet = checked(Chance, wet=wet)
        self.on = True
        self._share = self._wet
        self._dry = Held(stream.channels)
        self._change = 1 / (_TURN_SECONDS * stream.sample_rate)

    def hear(self, noisy: np.ndarray) -> None:
        """Remember the next samples (channels, n) that came in."""
        self._dry.add(noisy)

    def mixed(self, enhanced: np.ndarray) -> np.ndarray:
        """The next samples (channels, n) that go out, from those of the stream."""
        dry = self._dry.take(enhanced.shape[1])
        aim = self._wet if self.on else 0.0
        way = self._change * np.arange(1, enhanced.shape[1] + 1, dtype=np.float32)
        share = self._share + np.clip(aim - self._share, -way, way)
        if len(share):
            self._share = float(share[-1])
        return dry + share.astype(np.float32) * (enhanced - dry)


def pump(
    stream: Stream,
    blocks: Iterable[np.ndarray],
    write: Callable[[np.ndarray], None],
    dry_wet: DryWet,
    told: Callable[[np.ndarray, np.ndarray], None] = lambda noisy, enhanced: None,
) -> int:
    """Enhance blocks as they come until they end; then what is left.

    Args:
        stream: fresh.
        blocks: of the noisy signal, float32 (channels, n), finite.
        write: takes blocks of the result, as many samples as came, all in all.
        dry_wet: of this stream.
        told: what came and what went, after each block.

    Returns:
        How many samples were written.
    """
    written = 0
    for noisy in blocks:
        dry_wet.hear(noisy)
        ready = dry_wet.mixed(stream.push(noisy))
        write(ready)
        written += ready.shape[1]
        told(noisy, ready)
    rest = stream.flush()
    if rest.shape[-1]:
        last = dry_wet.mixed(np.asarray(rest).reshape(stream.channels, -1))
        write(last)
        written += last.shape[1]
    return written
