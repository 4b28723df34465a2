"""Resampling without delay (soxr), of whole signals and of such as come in blocks; and lengths that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import soxr

from shared.errors import ConfigError
from speech.audio.offset import constants_of


def resample(waveform: np.ndarray, from_rate: int, to_rate: int, *, length: int | None = None) -> np.ndarray:
    """Band-limited resampling along the last axis, without delay (soxr, at its highest quality).

    Args:
        waveform: (..., samples), float32 or float64.
        from_rate, to_rate: Hz.
        length: samples of the result, cut or continued by zeros; left out: what soxr returns, samples · to / from
            rounded.

    Raises:
        ConfigError: a rate that is not positive.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise ConfigError(f"rates {from_rate} and {to_rate} Hz: need > 0")
    result = waveform
    if from_rate != to_rate:
        if waveform.size == 0:
            return np.zeros((*waveform.shape[:-1], length or 0), waveform.dtype)
        flat = np.ascontiguousarray(waveform.reshape(-1, waveform.shape[-1]))
        lines = [soxr.resample(line, from_rate, to_rate, quality="VHQ") for line in flat]
        result = np.stack(lines).reshape(*waveform.shape[:-1], -1)
    return result if length is None else fit_length(result, length)


def converted(waveform: np.ndarray, from_rate: int, to_rate: int, *, length: int | None = None) -> np.ndarray:
    """`resample` of recordings (..., samples); a constant that lies on one goes around the filters, to which its ends
    are clicks."""
    if from_rate == to_rate or waveform.size == 0:
        return resample(waveform, from_rate, to_rate, length=length)
    flat = waveform.reshape(-1, waveform.shape[-1])
    constants = constants_of([flat], from_rate, len(flat)).reshape(*waveform.shape[:-1], 1)
    if not constants.any():
        return resample(waveform, from_rate, to_rate, length=length)
    return resample(waveform - constants, from_rate, to_rate, length=length) + constants


def converted_blocks(
    read: Callable[[], Iterable[np.ndarray]], from_rate: int, to_rate: int, channels: int
) -> Iterator[np.ndarray]:
    """`converted` for a recording that is read in blocks (channels, n), twice."""
    constants = constants_of(read(), from_rate, channels)
    blocks = (block - constants for block in read()) if constants.any() else iter(read())
    for block in Resampler(from_rate, to_rate, channels).stream(blocks):
        yield block + constants if constants.any() else block


def fit_length(waveform: np.ndarray, length: int) -> np.ndarray:
    """Cut (..., samples), or continue it by zeros, to this length."""
    missing = length - waveform.shape[-1]
    if missing <= 0:
        return waveform[..., :length]
    return np.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(0, missing)])


class Resampler:
    """`resample` for a signal that comes in blocks: the blocks' results joined are the result of the whole.

    Args:
        from_rate, to_rate: Hz.
        channels: of the signal.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int):
        self._channels = channels
        self._stream: soxr.ResampleStream | None = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="VHQ")

    def push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """What is ready after this block (channels, n); all that is left when it is the `last`."""
        if self._stream is None:
            return block
        ready = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return np.ascontiguousarray(ready.reshape(-1, self._channels).T)

    def stream(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The resampled blocks, to the end."""
        for block in blocks:
            yield self.push(block)
        if self._stream is not None:
            yield self.push(np.zeros((self._channels, 0), np.float32), last=True)
