"""Waveforms in whatever array they come: float32 inside, and back in the shape and kind that came."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from shared.errors import ConfigError, DataError, counted
from shared.files.settings import number
from speech.audio.coding import RATES

Waveform = TypeVar("Waveform", np.ndarray, Tensor)

LARGEST = 1e15
"""Samples beyond this are as useless as infinite ones; of spectra of those below float32 has room for the power."""

_MANY_CHANNELS = 64
"""Beyond so many, and more than samples, an array is taken for one with the samples first, as soundfile has them."""

_INTEGERS = {
    torch.int8: (128.0, 0.0),
    torch.uint8: (128.0, 128.0),
    torch.int16: (32768.0, 0.0),
    torch.int32: (2147483648.0, 0.0),
}


def finite(waveform: np.ndarray) -> tuple[np.ndarray, int]:
    """The waveform with 0 in place of NaN, infinities and samples beyond `LARGEST`; and how many they were."""
    good = np.abs(waveform) <= LARGEST
    replaced = good.size - int(np.count_nonzero(good))
    return (waveform, 0) if replaced == 0 else (np.where(good, waveform, np.float32(0)), replaced)


def whole_rate(rate: Any, name: str = "sample_rate") -> int:
    """A rate in Hz that recordings can have, of whichever kind of number; errors call it by its name.

    Raises:
        ConfigError: it is none, not whole, or not within `RATES`, as one in kHz.
    """
    value = float(number(name, rate, 16000))
    if not value.is_integer():
        raise ConfigError(f"{name}={rate!r}: need a whole number of Hz, such as {name}=16000")
    if not RATES[0] <= value <= RATES[1]:
        raise ConfigError(f"{name}={rate!r}: need Hz between {RATES[0]} and {RATES[1]}, such as {name}=16000")
    return int(value)


class AudioWarning(UserWarning):
    """Something in a recording had to be put right."""


def told_left(left: int, frame: int) -> str:
    """That so many bytes behind the last sample, of `frame` bytes with all channels, were left out, in words."""
    return f"the end, {counted(left, 'byte')}, is no whole sample ({frame} bytes) and was left out"


def told_replaced(replaced: int) -> str:
    """What there is to say of so many samples that `finite` took for 0."""
    return f"{replaced} samples not finite or beyond {LARGEST:g}, taken for 0"


def warn_replaced(replaced: int, what: str) -> None:
    """Tell of samples that `finite` took for 0."""
    if replaced:
        warnings.warn(
            f"{replaced} samples of {what} are not finite or beyond {LARGEST:g}, and were taken for 0",
            AudioWarning,
            stacklevel=3,
        )


def told_offset(offset: float) -> str:
    """What there is to say of a constant that was taken away."""
    return f"a constant, {offset:.2g} of full scale, lay on it, and was taken away"


def warn_offset(offset: float) -> None:
    """Tell of a constant that was taken away from a waveform, where there was one."""
    if offset:
        warnings.warn(f"the waveform: {told_offset(offset)}", AudioWarning, stacklevel=3)


def warn_doubts(said: str | None) -> None:
    """Tell what there is to say of a result."""
    if said is not None:
        warnings.warn(f"the enhanced signal: {said}", AudioWarning, stacklevel=3)


@dataclass(frozen=True)
class Form:
    """The shape and kind of an array of audio.

    Attributes:
        shape: (samples,), (channels, samples) or (batch, channels, samples).
        dtype: of the array; floating point (full scale ±1), or 8-, 16- or 32-bit integers as PCM has them.
        device: of a tensor; None for a numpy array.
        swapped: whether the bytes of a numpy array are in the other order than this machine's.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device | None
    swapped: bool = False

    @classmethod
    def of(cls, waveform: np.ndarray | Tensor, channels: int | None = None) -> Form:
        """The form of an array.

        Args:
            waveform: the array.
            channels: how many it should have, where that is known: so many are no samples that come first, however few
                samples there are.

        Raises:
            DataError: not an array of one to three dimensions, of a kind that is no audio, masked, or with the samples
                first.
        """
        swapped = False
        if isinstance(waveform, np.ma.MaskedArray):
            raise DataError("a waveform of which some samples are masked: say what they hold, such as by x.filled(0)")
        if isinstance(waveform, np.ndarray):
            swapped = not waveform.dtype.isnative
            try:
                dtype = torch.from_numpy(np.empty(0, waveform.dtype.newbyteorder("="))).dtype
            except TypeError:
                raise _kind(waveform.dtype) from None
            device = None
        elif isinstance(waveform, Tensor):
            dtype, device = waveform.dtype, waveform.device
            if waveform.layout is not torch.strided or waveform.is_meta or waveform.is_nested:
                raise _no_samples(waveform)
        else:
            kind = type(waveform).__name__
            raise DataError(
                f"a waveform of type {kind}: give a numpy array or a torch tensor; files go to enhance_file"
            )
        if not dtype.is_floating_point and dtype not in _INTEGERS:
            raise _kind(waveform.dtype)
        if not 1 <= waveform.ndim <= 3:
            raise DataError(
                f"a waveform of shape {tuple(waveform.shape)}: need (samples,), (channels, samples) or "
                "(batch, channels, samples)"
            )
        known = waveform.ndim > 1 and waveform.shape[-2] == channels
        if waveform.ndim > 1 and not known and waveform.shape[-2] > max(_MANY_CHANNELS, waveform.shape[-1]):
            batch, turned = ("", "x.T") if waveform.ndim == 2 else ("batch, ", "x.swapaxes(1, 2)")
            raise DataError(
                f"a waveform of shape {tuple(waveform.shape)}: need ({batch}channels, samples); give {turned}"
            )
        return cls(tuple(waveform.shape), dtype, device, swapped)

    def of_samples(self, samples: int) -> Form:
        """The form of an array that differs in the number of its samples."""
        return replace(self, shape=(*self.shape[:-1], samples))

    def to_float(self, waveform: np.ndarray | Tensor) -> np.ndarray:
        """float32 (items, channels, samples) on the CPU, full scale ±1."""
        if isinstance(waveform, np.ndarray):
            waveform = torch.from_numpy(np.require(waveform, waveform.dtype.newbyteorder("="), ("C", "W")))
        tensor = waveform.detach().cpu().resolve_neg()  # numpy takes no tensor that is negated only when it is read
        if self.dtype in _INTEGERS:
            scale, zero = _INTEGERS[self.dtype]
            tensor = (tensor.double() - zero) / scale
        shape = (1,) * (3 - len(self.shape)) + self.shape
        return tensor.float().reshape(shape).numpy()

    def from_float(self, waveform: np.ndarray) -> np.ndarray | Tensor:
        """The way back; integers are rounded, and clipped at full scale."""
        tensor = torch.from_numpy(waveform).reshape(self.shape)
        if self.dtype in _INTEGERS:
            scale, zero = _INTEGERS[self.dtype]
            limits = torch.iinfo(self.dtype)
            tensor = (tensor.double() * scale + zero).round().clamp(limits.min, limits.max)
        tensor = tensor.to(self.dtype)
        if self.device is not None:
            return tensor.to(self.device)
        array: np.ndarray = tensor.numpy()
        return array.astype(array.dtype.newbyteorder()) if self.swapped else array


def _no_samples(waveform: Tensor) -> DataError:
    """What there is to say of a tensor that does not hold each sample."""
    if waveform.is_meta:
        return DataError("a waveform on torch's device meta, which holds no samples: give those of a recording")
    if waveform.is_nested:
        return DataError("a waveform that is a nested tensor: give its parts one by one, x.unbind()")
    return DataError(f"a waveform of torch's layout {waveform.layout}: give x.to_dense()")


def _kind(dtype: np.dtype | torch.dtype) -> DataError:
    """What there is to say of samples of a kind that tells no full scale."""
    needed = "give floating point within ±1, or int16, int32, int8 or uint8 as PCM"
    if dtype == np.int64:
        needed += "; samples of 16 bits become that by x.astype('int16')"
    elif dtype == torch.int64:
        needed += "; samples of 16 bits become that by x.to(torch.int16)"
    return DataError(f"a waveform of {dtype}: {needed}")
