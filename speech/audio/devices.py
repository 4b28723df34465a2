"""Microphone and loudspeaker, by PortAudio (sounddevice)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.errors import DataError, MissingPackageError
from shared.optional import needed
from speech.audio.arrays import finite

_BLOCK_SECONDS = 0.016


def _sounddevice() -> Any:
    try:
        return needed("sounddevice", "live", "sound from a microphone")
    except OSError as error:  # the package is there, the library that it calls is not
        raise MissingPackageError(
            f"sound from a microphone needs PortAudio ({error}): install that library, such as by apt install "
            "libportaudio2 or brew install portaudio"
        ) from error


def device_list() -> str:
    """The sound devices, a line each, by number.

    Raises:
        DataError: there is none.
        MissingPackageError: sounddevice or PortAudio is not installed.
    """
    found = _sounddevice().query_devices()
    if not found:
        raise DataError("no sound device found; plug one in, or pipe sound in: speech stream < noisy.wav > clean.wav")
    return str(found)


@dataclass
class Duplex:
    """A microphone and a loudspeaker that are open; made by `open_duplex`.

    Attributes:
        rate: Hz.
        latency: seconds that the devices add.
        replaced: samples that were not finite, for which 0 was taken.
        dropped: how many times the devices lost sound, because nobody took or gave it in time.
    """

    device: Any
    rate: int
    latency: float
    replaced: int = 0
    dropped: int = 0

    def read(self) -> np.ndarray:
        """The next block, float32 (channels, n); waits for it."""
        block, late = self.device.read(round(_BLOCK_SECONDS * self.rate))
        self.dropped += bool(late)
        clean, replaced = finite(np.ascontiguousarray(block.T))
        self.replaced += replaced
        return clean

    def lead(self, channels: int, seconds: float) -> None:
        """Play silence while the first sound is on its way, and a block more: the loudspeaker must not starve."""
        silence = np.zeros((round((seconds + _BLOCK_SECONDS) * self.rate), channels), np.float32)
        self.device.write(silence)

    def write(self, block: np.ndarray) -> None:
        """Play a block (channels, n)."""
        if block.shape[1]:
            self.dropped += bool(self.device.write(np.ascontiguousarray(block.T, np.float32)))


@contextlib.contextmanager
def open_duplex(
    input_device: str | None, output_device: str | None, rate: int | None, channels: int
) -> Iterator[Duplex]:
    """Open a microphone and a loudspeaker.

    Args:
        input_device, output_device: number, or part of the name; None: the system's own.
        rate: Hz; None: the microphone's own.
        channels: of both.

    Raises:
        DataError: no such device, it refuses this rate or number of channels, or it goes away.
        MissingPackageError: sounddevice or PortAudio is not installed.
    """
    sound = _sounddevice()
    ends = [int(end) if end is not None and end.isdigit() else end for end in (input_device, output_device)]
    try:
        rate = rate or round(sound.query_devices(ends[0], "input")["default_samplerate"])
        device = sound.Stream(samplerate=rate, device=ends, channels=channels, dtype="float32", latency="low")
    except (sound.PortAudioError, ValueError) as error:
        raise _failing(error) from error
    try:
        with device:
            yield Duplex(device, rate, sum(device.latency))
    except sound.PortAudioError as error:  # unplugged, say
        raise _failing(error) from error


def _failing(error: Exception) -> DataError:
    return DataError(
        f"the sound device fails ({' '.join(str(error).split())}); see --list-devices, and choose by --input-device, "
        "--output-device, --rate and --channels"
    )
