"""MP3 files whose length libsndfile does not tell, since it reckons it from the first frame or believes a header: those
of a variable bit rate without a header, and those that were put one behind another, of which the first's header counts
its own frames alone (ISO/IEC 11172-3 and 13818-3; the header is Xing's).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

_KILOBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Of a frame of layer III, by whether its version is 1 and by the index in its header."""

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Hz, by version and index in a header."""

_LAYER_III, _MONO, _ROOMY = 1, 3, 9
_COUNTS, _SIZES = 1, 2
"""Flags of Xing's header: that it tells frames, and bytes."""
_RESYNC = 1024
"""Bytes that are no frame and that decoders pass over."""
_TOLERANCE = 3
"""Frames by which libsndfile's length may be off: fewer are not told anew."""


@dataclass(frozen=True)
class _Frame:
    """A frame: its bytes, Hz, bits a second, samples of a channel, and where Xing's header is, if it has one."""

    size: int
    rate: int
    bits: int
    samples: int
    header: int


def _frame(start: bytes) -> _Frame | None:
    """The frame that begins with these bytes; None where none of layer III does, or one that tells no bit rate."""
    if len(start) < 4 or start[0] != 0xFF or start[1] & 0xE0 != 0xE0:
        return None
    version, index, rate = start[1] >> 3 & 3, start[2] >> 4, start[2] >> 2 & 3
    if version not in _RATES or start[1] >> 1 & 3 != _LAYER_III or not 0 < index < 15 or rate == 3:
        return None
    is_first, is_mono = version == 3, start[3] >> 6 == _MONO
    bits, hertz = 1000 * _KILOBITS[is_first][index], _RATES[version][rate]
    size = (144 if is_first else 72) * bits // hertz + (start[2] >> 1 & 1)
    beside = (17, 32) if is_first else (9, 17)
    return _Frame(size, hertz, bits, 1152 if is_first else 576, 4 + beside[not is_mono])


@dataclass(frozen=True)
class Frames:
    """What a file holds, counted frame by frame.

    Attributes:
        start: where the first frame is.
        first: its bytes, a header's if it is one.
        header: where in it Xing's header is; None where it is a frame of sound.
        count, size: frames of sound, and their bytes.
        samples: of a channel in each.
        rate: Hz.
        constant: whether all have one bit rate.
        left: whether frames of another rate follow, which no decoder takes for more of the same sound.
    """

    start: int
    first: bytes
    header: int | None
    count: int
    size: int
    samples: int
    rate: int
    constant: bool
    left: bool

    @property
    def bits(self) -> int:
        """A second, in the mean."""
        return round(8 * self.size * self.rate / (self.samples * max(1, self.count)))


def frames_of(path: Path) -> Frames | None:
    """Count the frames of an MP3 file; None where it begins with none, and where a header tells the size of all that
    follows, so that it has counted them."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = _after_tags(content, 0)
        one = _frame(content[start : start + 4])
        if one is None:
            return None
        first = content[start : start + one.size]
        header = _header(first, one)
        if header is not None and _is_whole(content, start, first, header):
            return None
        place = start if header is None else start + one.size
        count, size, bits, left = 0, 0, set[int](), False
        while (found := _next(content, place)) is not None:
            place, frame = found
            left = frame.rate != one.rate
            if left or place + frame.size > len(content):
                break
            count, size, place = count + 1, size + frame.size, place + frame.size
            bits.add(frame.bits)
    return Frames(start, first, header, count, size, one.samples, one.rate, len(bits) == 1, left)


def _header(first: bytes, frame: _Frame) -> int | None:
    """Where the header in a first frame is, Xing's or Fraunhofer's."""
    if first[frame.header : frame.header + 4] in (b"Xing", b"Info"):
        return frame.header
    return 36 if first[36:40] == b"VBRI" else None


def _is_whole(content: mmap.mmap, start: int, first: bytes, header: int) -> bool:
    """Whether Xing's header states about as many bytes as there are, and no frame follows them; tags may."""
    kind, flags, _, size = struct.unpack(">4sIII", first[header : header + 16].ljust(16, b"\0"))
    if kind == b"VBRI" or flags & 3 != _COUNTS | _SIZES or size < 0.98 * (len(content) - start):
        return False
    return _next(content, start + size) is None


def _next(content: mmap.mmap, place: int) -> tuple[int, _Frame] | None:
    """The next frame and where it begins, at `place` or behind tags or a few bytes that are none."""
    frame = _frame(content[place : place + 4])
    if frame is not None:
        return place, frame
    place = _after_tags(content, place)
    for at in range(place, min(place + _RESYNC, len(content) - 4)):
        frame = _frame(content[at : at + 4])
        if frame is not None and _frame(content[at + frame.size : at + frame.size + 4]) is not None:
            return at, frame
    return None


def _after_tags(content: mmap.mmap, place: int) -> int:
    """Where ID3 tags end that begin at `place`."""
    while content[place : place + 3] == b"ID3" and place + 10 <= len(content):
        size = 0
        for byte in content[place + 6 : place + 10]:
            size = size << 7 | byte & 0x7F
        place += 10 + size
    return place


def recounted(found: Frames | None, samples: int) -> bytes | None:
    """A header that counts all frames of a file, to read in place of its own or before the first; None where
    libsndfile's `samples` are right, or more than there are and stated so by the file."""
    if found is None:
        return None
    most = _TOLERANCE * found.samples
    if found.header is not None and found.first[found.header : found.header + 4] != b"VBRI":
        flags, stated = struct.unpack_from(">II", found.first, found.header + 4)
        if flags & _COUNTS:
            return _patched(found, flags) if found.count - stated > _TOLERANCE else None
    return _made(found) if abs(found.count * found.samples - samples) > most else None


def _patched(found: Frames, flags: int) -> bytes:
    """A file's own header with the counts that are found; what it tells of its delay stays."""
    header, place = bytearray(found.first), (found.header or 0) + 8
    struct.pack_into(">I", header, place, found.count)
    if flags & _SIZES:
        struct.pack_into(">I", header, place + 4, len(header) + found.size)
    return bytes(header)


def _made(found: Frames) -> bytes:
    """A frame like the first, without a checksum and with room for a header."""
    start = found.first[:4]
    start = bytes([start[0], start[1] | 1, _ROOMY << 4 | start[2] & 0x0C, start[3]])
    frame = _frame(start)
    assert frame is not None
    header = struct.pack(">4sIII", b"Xing", _COUNTS | _SIZES, found.count, frame.size + found.size)
    return (start.ljust(frame.header, b"\0") + header).ljust(frame.size, b"\0")
