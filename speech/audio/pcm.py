"""Sound as bytes that come and go: bare PCM, or WAV read as it comes, whose header may not know the length.

Sources: Microsoft and IBM, Multimedia Programming Interface 1.0; RFC 2361 (formats of WAV); ITU-T G.711 (A-law, µ-law).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import soundfile

from shared.errors import DataError
from speech.audio.arrays import finite

Read = Callable[[int], bytes]
"""The next bytes, at least one and at most so many; none at the end."""

Coding = Literal["u8", "s16le", "s24le", "s32le", "f32le", "alaw", "mulaw"]

_CODINGS: dict[tuple[int, int], Coding] = {
    (1, 8): "u8",
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
"""By a WAV header's format and bits."""
_FORMATS = {coding: format for format, coding in _CODINGS.items()}
_LAWS = {"alaw": "ALAW", "mulaw": "ULAW"}
_ALAW_ZERO = 8 / 32768
_MIDDLE = 128
"""What stands for 0 in 8 bits, which have no sign."""

_EXTENSIBLE = 0xFFFE
_WITHOUT_LENGTH = 0x7FFFF000
"""From this size on a header says that it does not know it, as what writes into a pipe does."""
_ELSEWHERE = 0xFFFFFFFF
"""This size of the samples has no room in a header, or is not known; of RF64 a chunk before tells it."""

_AT_ONCE = 1 << 16
_LONGEST_FORMAT = 1 << 10
_PLAIN, _EXTENDED = 16, 40
"""Bytes of a format chunk, and of one that tells loudspeakers and valid bits besides."""


@dataclass(frozen=True)
class PCM:
    """How bytes hold samples.

    Attributes:
        rate: Hz.
        channels: interleaved.
        coding: of a sample.
        wav: whether a WAV header goes before them.
        size: bytes of samples that the header tells; None where it does not know.
        extension: what an extensible header tells besides: valid bits, loudspeakers, coding; empty of any other.
    """

    rate: int
    channels: int = 1
    coding: Coding = "s16le"
    wav: bool = False
    size: int | None = None
    extension: bytes = b""

    @property
    def frame(self) -> int:
        """Bytes of a sample of all channels."""
        return self.width * self.channels

    @property
    def width(self) -> int:
        """Bytes of a sample."""
        return _FORMATS[self.coding][1] // 8

    def decode(self, data: bytes) -> np.ndarray:
        """Whole frames as float32 (channels, samples), full scale ±1."""
        if self.coding == "f32le":
            flat = np.frombuffer(data, "<f4")
        elif self.coding in _LAWS:
            flat = _levels(self.coding)[np.frombuffer(data, np.uint8)]
        elif self.coding == "s24le":
            flat = np.zeros((len(data) // 3, 4), np.uint8)
            flat[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            flat = flat.view("<i4")[:, 0] / np.float32(1 << 31)
        elif self.coding == "u8":
            flat = np.frombuffer(data, np.uint8) / np.float32(_MIDDLE) - 1
        else:
            flat = np.frombuffer(data, f"<i{self.width}") / np.float32(1 << (8 * self.width - 1))
        return np.ascontiguousarray(flat.reshape(-1, self.channels).T, np.float32)

    def encode(self, block: np.ndarray) -> bytes:
        """Samples (channels, samples) as bytes; they are rounded to what the coding has, and clipped at full scale."""
        flat = block.T.reshape(-1)
        if self.coding == "f32le":
            return flat.astype("<f4").tobytes()
        if self.coding in _LAWS:
            levels = _levels(self.coding)
            order = np.argsort(levels, kind="stable")
            between = (levels[order[1:]] + levels[order[:-1]]) / 2
            return order.astype(np.uint8)[np.searchsorted(between, flat, side="right")].tobytes()
        full = 1 << (8 * self.width - 1)
        whole = np.clip(np.rint(flat.astype(np.float64) * full), -full, full - 1).astype("<i4")
        if self.coding == "u8":
            return (whole + _MIDDLE).astype(np.uint8).tobytes()
        if self.coding == "s24le":
            return whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        return whole.astype(f"<i{self.width}").tobytes()

    def header(self, size: int | None = None) -> bytes:
        """What goes before the samples; a WAV header of `size` bytes of them, or of a length that is not known."""
        if not self.wav:
            return b""
        kind, bits = _FORMATS[self.coding]
        kind = _EXTENSIBLE if self.extension else kind
        about = struct.pack("<HHIIHH", kind, self.channels, self.rate, self.rate * self.frame, self.frame, bits)
        about += self.extension or bytes(2 if self.coding in _LAWS else 0)  # no more is told of these
        known = size is not None and size < _WITHOUT_LENGTH
        of_data = size if known and size is not None else 0xFFFFFFFF
        of_all = 20 + len(about) + of_data + len(self.padding(of_data)) if known else 0xFFFFFFFF
        start = struct.pack("<4sI4s4sI", b"RIFF", of_all, b"WAVE", b"fmt ", len(about))
        return start + about + struct.pack("<4sI", b"data", of_data)

    def padding(self, size: int) -> bytes:
        """What goes behind so many bytes of samples whose header knows their length: a WAV is in pairs of bytes."""
        return bytes(size % 2) if self.wav else b""


def zeroed(sound: np.ndarray) -> np.ndarray:
    """Sound as libsndfile reads it of A-law, which has no code for 0, with digital silence as 0: encoders take the
    least level above it in its place."""
    return np.where(sound == _ALAW_ZERO, np.float32(0), sound)


@cache
def _levels(coding: Coding) -> np.ndarray:
    """What each of the 256 codes of a telephone coding stands for, as files are read."""
    codes, law = io.BytesIO(bytes(range(256))), _LAWS[coding]
    levels = soundfile.read(codes, samplerate=8000, channels=1, dtype="float32", format="RAW", subtype=law)[0]
    return zeroed(levels) if law == "ALAW" else levels


def wav_of(read: Read) -> PCM:
    """What the header of a WAV says, all of it up to the samples being read.

    Raises:
        DataError: nothing came, it is no WAV, its header is cut, or its coding is not read here.
    """
    start = _up_to(read, 12)
    if not start:
        raise DataError("standard input is empty; send a WAV, or raw PCM with --rate")
    if start[:4] not in (b"RIFF", b"RF64")[: len(start)] or (len(start) == 12 and start[8:] != b"WAVE"):
        raise DataError(
            f"standard input is no WAV: it begins with {start[:8]!r}; raw PCM needs --rate (and --channels, --coding)"
        )
    came, pcm, letter, long = len(start), None, b"", 0
    while True:
        head = letter + _up_to(read, 8 - len(letter))
        came += len(head) - len(letter)
        if len(head) < 8:
            raise _cut(came)
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            if pcm is None:
                raise DataError("the WAV header on standard input has samples before their format; write it again")
            if size == _ELSEWHERE:
                return replace(pcm, size=long or None)
            unknown = size == 0 or size >= _WITHOUT_LENGTH
            return replace(pcm, size=None if unknown else size)
        if name in (b"fmt ", b"ds64") and size <= _LONGEST_FORMAT:
            chunk = _up_to(read, size)
            came += len(chunk)
            if len(chunk) < size:
                raise _cut(came)
            left = 0
            if name == b"fmt ":
                pcm = _format(chunk)
            else:  # of RF64: sizes of all that follows, of the samples, …, in 64 bits
                long = int.from_bytes(chunk[8:16], "little")
        else:
            left = size
        while left:
            passed = read(min(left, _AT_ONCE))
            came, left = came + len(passed), left - len(passed)
            if not passed:
                raise _cut(came)
        filling = _up_to(read, size % 2)
        came, letter = came + len(filling), filling if filling.isalpha() else b""  # of the next name: it was forgotten


def _format(chunk: bytes) -> PCM:
    """What a format chunk says."""
    if len(chunk) < _PLAIN:
        raise DataError(f"the WAV header on standard input has a format of {len(chunk)} bytes, not 16; write it again")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:_PLAIN])
    extension = chunk[_PLAIN:_EXTENDED] if kind == _EXTENSIBLE and len(chunk) >= _EXTENDED else b""
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        kind = struct.unpack("<H", chunk[24:26])[0]
    if (kind, bits) not in _CODINGS:
        raise DataError(
            f"the WAV on standard input holds format {kind} of {bits} bits; a stream takes 8, 16, 24 or 32-bit PCM, "
            "32-bit floating point, A-law or µ-law: convert it, or enhance the file (speech enhance)"
        )
    if rate == 0 or channels == 0:
        raise DataError(f"the WAV header on standard input states {channels} channels at {rate} Hz; write it again")
    return PCM(rate, channels, _CODINGS[kind, bits], wav=True, extension=extension)


def _cut(came: int) -> DataError:
    return DataError(f"standard input ends after {came} bytes, within its WAV header; send the whole file")


def _up_to(read: Read, size: int) -> bytes:
    """So many bytes, or those that come before the end."""
    parts = bytearray()
    while len(parts) < size and (more := read(size - len(parts))):
        parts += more
    return bytes(parts)


class Source:
    """Samples out of bytes, as they come.

    Attributes:
        samples: that came so far.
        replaced: of them, those that were not finite, for which 0 was taken.
        left: bytes at the end that are no whole sample of all channels.
        missing: bytes that a header promised and that did not come.
        like_wav: whether raw PCM began as a WAV does.
    """

    def __init__(self, read: Read, pcm: PCM):
        self._read, self._pcm, self._wanted = read, pcm, pcm.size
        self.samples = self.replaced = self.left = self.missing = 0
        self.like_wav = False

    def blocks(self) -> Iterator[np.ndarray]:
        """float32 (channels, n), of whatever length came."""
        rest = b""
        while self._wanted is None or self._wanted > 0:
            data = self._read(_AT_ONCE if self._wanted is None else min(_AT_ONCE, self._wanted))
            if not data:
                break
            if self._wanted is not None:
                self._wanted -= len(data)
            rest += data
            if self.samples == 0 and not self._pcm.wav:
                self.like_wav = rest[:4] in (b"RIFF", b"RF64")
            whole = len(rest) - len(rest) % self._pcm.frame
            block, replaced = finite(self._pcm.decode(rest[:whole]))
            rest = rest[whole:]
            self.samples, self.replaced = self.samples + block.shape[1], self.replaced + replaced
            if block.shape[1]:
                yield block
        self.left, self.missing = len(rest), self._wanted or 0
