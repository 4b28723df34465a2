"""Resampling a stream with a delay that is short and known: linear-phase filters of a few milliseconds.

Libraries' streaming resamplers hold back 20 to 120 ms, for they filter in long blocks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from shared.errors import ConfigError

_REJECTION = 80.0
"""dB by which what the lower rate has no room for is turned down."""

_PASSED = 0.875
"""Share of the lower rate's band that passes as it is; above it the filter falls, to `_REJECTION` at the band's end."""

_AT_ONCE = 4096


class ShortResampler:
    """Band-limited resampling of a signal that comes in blocks, with output n at the time of n / to_rate.

    The filter is a windowed sinc (Kaiser): 0 dB up to 7/8 of the lower rate's band, −80 dB from its end on, so that
    nothing is folded down. Whatever the blocks, the results joined are the same.

    Args:
        from_rate, to_rate: Hz.
        channels: of the signal.

    Attributes:
        delay: seconds of signal that must follow a sample before what is made of it comes out; 0 at equal rates.

    Raises:
        ConfigError: a rate that is not positive.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int):
        if from_rate <= 0 or to_rate <= 0:
            raise ConfigError(f"rates {from_rate} and {to_rate} Hz: need > 0")
        shared = math.gcd(from_rate, to_rate)
        self._up, self._down = to_rate // shared, from_rate // shared
        self._half = 0
        if from_rate != to_rate:
            band = min(from_rate, to_rate) / 2
            self._half, self._taps = _taps(from_rate, self._up, band)
        self.delay = self._half / from_rate
        self._buffer = np.zeros((channels, max(0, self._half - 1)), np.float32)  # before the start there is silence
        self._arrived = self._made = 0

    def push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """What is ready after this block (channels, n); all that is left when it is the `last`."""
        if self._half == 0:
            return block
        self._arrived += block.shape[1]
        ready = max(self._made, self._ready(self._arrived - self._half))
        pieces = [self._buffer, block.astype(np.float32)]
        if last:
            ready = max(ready, round(self._arrived * self._up / self._down))
            pieces.append(np.zeros((len(block), self._half), np.float32))
        held = np.concatenate(pieces, axis=1)
        result = self._resampled(held, ready)
        self._buffer = held[:, (ready * self._down) // self._up - (self._made * self._down) // self._up :]
        self._made = ready
        return result

    def _ready(self, samples: int) -> int:
        """How many outputs lie at the first `samples` inputs."""
        return -(-samples * self._up // self._down) if samples > 0 else 0

    def _resampled(self, held: np.ndarray, ready: int) -> np.ndarray:
        """The outputs from those that were made to `ready`; `held` begins where the next one's filter does."""
        if ready == self._made:
            return np.zeros((len(held), 0), np.float32)
        first = (self._made * self._down) // self._up
        windows = sliding_window_view(held, 2 * self._half, axis=1)
        result = np.empty((len(held), ready - self._made), np.float32)
        for start in range(self._made, ready, _AT_ONCE):
            places = np.arange(start, min(start + _AT_ONCE, ready), dtype=np.int64) * self._down
            inputs, phases = places // self._up - first, places % self._up
            part = np.einsum("cnk,nk->cn", windows[:, inputs], self._taps[phases])
            result[:, start - self._made : start - self._made + len(places)] = part
        return result


def _taps(from_rate: int, phases: int, band: float) -> tuple[int, np.ndarray]:
    """Half the filter's length in inputs, and the filter (phases, 2·half) of an output p/phases behind an input, for
    the inputs from half − 1 before it to half after."""
    from scipy.signal import kaiser_beta
    from scipy.special import i0

    fall = (1 - _PASSED) * band
    seconds = (_REJECTION - 7.95) / (2.285 * 2 * math.pi * fall)  # Kaiser's length for this fall, from its middle
    half = max(1, math.ceil(seconds / 2 * from_rate))
    cutoff, beta = band - fall / 2, kaiser_beta(_REJECTION)
    table = np.empty((phases, 2 * half), np.float32)
    for start in range(0, phases, _AT_ONCE):
        behind = np.arange(start, min(start + _AT_ONCE, phases))[:, None] / phases
        at = behind - np.arange(1 - half, half + 1)
        taps = np.sinc(2 * cutoff / from_rate * at) * i0(beta * np.sqrt(np.clip(1 - np.square(at / half), 0, None)))
        table[start : start + _AT_ONCE] = taps / taps.sum(axis=1, keepdims=True)
    return half, table
