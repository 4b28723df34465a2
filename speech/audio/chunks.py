"""Containers that are made of chunks: RIFF and RF64 (WAV), FORM (AIFF), W64. What they state of their length, and the
chunks beside the samples (bext, cue, LIST, …), which a copy takes over.

Sources: Microsoft and IBM, Multimedia Programming Interface 1.0 (RIFF); EBU Tech 3306 (RF64); Apple, AIFF-C; Sonic
Foundry, Wave 64.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from speech.audio.measured import MEASURED, unmeasured
from speech.audio.positions import MOVED, UNMOVED, moved

CHUNKED = ("WAV", "WAVEX", "RF64", "W64", "AIFF")
"""libsndfile's names of these containers."""

BLOCK_CODED = {"MS_ADPCM", "IMA_ADPCM", "GSM610", "G721_32", "G723_24", "G723_40"} | {
    f"NMS_ADPCM_{bits}" for bits in (16, 24, 32)
}
"""Codings that libsndfile reads in whole blocks, and so beyond the end of the recording."""

_PARTS = set("fmt data fact ds64 PEAK JUNK junk FLLR PAD LIST-wavl COMM SSND FVER CHAN".split())  # noqa: SIM905
_FOLLOWING = _PARTS | set("LIST list cue bext iXML axml smpl inst id3 ID3 _PMX umid".split())  # noqa: SIM905
_OF_SAMPLES = {"MD5", "levl"}  # true of the source's samples alone
_TEXTS = {
    "title": ("INAM", "NAME"),
    "artist": ("IART", "AUTH"),
    "album": ("IPRD",),
    "date": ("ICRD",),
    "tracknumber": ("ITRK", "IPRT"),
    "genre": ("IGNR",),
    "comment": ("ICMT", "ANNO"),
    "copyright": ("ICOP", "(c)"),
    "software": ("ISFT", "APPL"),
}
_INFO = {letters: name for name, all_letters in _TEXTS.items() for letters in all_letters}
_EXTENSIBLE = b"\xfe\xff"
_MOST = 4096
_LONGEST_BLOCK = 8192
_LONGEST_CHANGED = 1 << 24
"""Bytes of a chunk that is changed; a longer one, which nothing has, stays as it is."""


@dataclass(frozen=True)
class _Container:
    """How a kind of container writes its chunks: header and sizes in bytes."""

    first: int
    name: int
    size: str
    counts_header: bool
    align: int
    total: int

    @property
    def header(self) -> int:
        return self.name + struct.calcsize(self.size)

    def headed(self, header: bytes, length: int) -> bytes:
        """The header of a chunk with another length of its content."""
        made = bytearray(header)
        struct.pack_into(self.size, made, self.name, length + (self.header if self.counts_header else 0))
        return bytes(made)


_RIFF = _Container(first=12, name=4, size="<I", counts_header=False, align=2, total=4)
_FORM = _Container(first=12, name=4, size=">I", counts_header=False, align=2, total=4)
_W64 = _Container(first=40, name=16, size="<Q", counts_header=True, align=8, total=16)


@dataclass(frozen=True)
class Chunk:
    """A chunk of a file.

    Attributes:
        name: its four letters without blanks; of a list with its kind: "LIST-adtl".
        start, body, end: where its header, its content, and the content's end are in the file, as it states.
    """

    name: str
    start: int
    body: int
    end: int


def container_of(file: BinaryIO) -> _Container | None:
    """How the open file writes its chunks; None where it has none."""
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        return _RIFF
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _FORM
    return _W64 if head[:4] == b"riff" else None


def chunks_of(file: BinaryIO) -> list[Chunk]:
    """The chunks of an open file, up to the first that cannot be one."""
    layout, found = container_of(file), list[Chunk]()
    if layout is None:
        return found
    total, place, long_data = os.fstat(file.fileno()).st_size, layout.first, None
    while place + layout.header <= total and len(found) < _MOST:
        file.seek(place)
        header = file.read(layout.header + 16)
        letters = header[:4]
        if not all(32 <= letter < 127 for letter in letters):
            break
        (size,) = struct.unpack_from(layout.size, header, layout.name)
        size -= layout.header if layout.counts_header else 0
        if size < 0:
            break
        name, body = letters.decode().strip(), place + layout.header
        if name == "ds64" and len(header) >= 24:
            (long_data,) = struct.unpack_from("<Q", header, layout.header + 8)
        if name == "data" and size == 0xFFFFFFFF and long_data is not None:
            size = long_data
        if name in ("LIST", "list"):
            name += "-" + "".join(chr(letter) for letter in header[layout.header :][:4] if 32 < letter < 127)
        found.append(Chunk(name, place, body, body + size))
        place = body + size + _filling(file, body + size, -size % layout.align)
    return found


def _filling(file: BinaryIO, end: int, wanted: int) -> int:
    """How many bytes fill up the chunk that ends here: as many as are wanted, or none where a writer forgot them and
    the name of the next chunk follows at once."""
    file.seek(end)
    return 0 if wanted == 1 and file.read(4).decode("latin-1").strip() in _FOLLOWING else wanted


@dataclass(frozen=True)
class Lengths:
    """What a container says of its recording.

    Attributes:
        samples: that belong to the recording.
        missing: that the header states, and that the file is too short for.
        beyond: that what lies behind the last sample would be, where that is no chunk and not empty.
    """

    samples: int
    missing: int = 0
    beyond: int = 0


def lengths(path: Path, subtype: str, read: int) -> Lengths:
    """The length of a file of which libsndfile reads `read` samples of each channel."""
    with open(path, "rb") as file:
        chunks = chunks_of(file)
        found = {chunk.name: chunk for chunk in reversed(chunks)}
        data = found.get("data") or found.get("SSND")
        if data is None:
            return Lengths(read)
        stated, there = _stated(file, found, subtype), os.fstat(file.fileno()).st_size - data.body
        beyond = _beyond(file, data) if chunks[-1] == data else 0
    size = data.end - data.body
    if size > there > 0 and not _is_placeholder(size):
        missing = stated - read if stated is not None else round(read * size / there) - read
        return Lengths(read, max(0, missing))
    if stated is not None and 0 < read - stated < _LONGEST_BLOCK and stated > 0:
        return Lengths(stated)
    return Lengths(read, beyond=round(read * beyond / size) if size > 0 else 0)


def _beyond(file: BinaryIO, last: Chunk) -> int:
    """Bytes behind a file's last chunk, unless they begin as what only fills a file up."""
    file.seek(last.end)
    return os.fstat(file.fileno()).st_size - last.end if any(file.read(_MOST)) else 0


def _is_placeholder(size: int) -> bool:
    """Whether a size only stands for one that was not known, as writers into pipes leave them."""
    return 0x7FFF0000 <= size <= 0x80010000 or 0xFFFF0000 <= size <= 0xFFFFFFFF


def _length_field(file: BinaryIO, found: dict[str, Chunk], subtype: str) -> tuple[int, str] | None:
    """Where the number of samples is written, and how; None where there is no such number."""
    if "COMM" in found and subtype != "IMA_ADPCM":  # which counts packets there
        return found["COMM"].body + 2, ">I"
    if "fact" in found and subtype in BLOCK_CODED:
        fact = found["fact"]
        return fact.body, "<Q" if fact.end - fact.body >= 8 and container_of(file) is _W64 else "<I"
    return None


def _stated(file: BinaryIO, found: dict[str, Chunk], subtype: str) -> int | None:
    field = _length_field(file, found, subtype)
    if field is None:
        return None
    file.seek(field[0])
    content = file.read(struct.calcsize(field[1]))
    return int(struct.unpack(field[1], content)[0]) if len(content) == struct.calcsize(field[1]) else None


def state_length(path: Path, subtype: str, samples: int) -> None:
    """Write the number of samples into a file's header, where libsndfile rounds it up to whole blocks."""
    with open(path, "r+b") as file:
        field = _length_field(file, {chunk.name: chunk for chunk in reversed(chunks_of(file))}, subtype)
        if field is not None:
            file.seek(field[0])
            file.write(struct.pack(field[1], samples))


def undate(path: Path) -> None:
    """Take out of a file when it was written, which libsndfile tells beside the peaks of samples that are real numbers:
    the same sound is the same bytes."""
    with open(path, "r+b") as file:
        for chunk in chunks_of(file):
            if chunk.name == "PEAK":
                file.seek(chunk.body + 4)  # behind its version
                file.write(bytes(4))


def unclosed(path: Path) -> dict[int, bytes]:
    """What to read in place of the sizes in the header of a WAV file whose recorder was stopped before it wrote them:
    bytes by their place; empty where the sizes are there."""
    with open(path, "rb") as file:
        found, total = chunks_of(file), os.fstat(file.fileno()).st_size
        if container_of(file) is not _RIFF or not found or found[-1].name != "data" or found[-1].body != found[-1].end:
            return {}
    data = found[-1]
    size = min(total - data.body, 0xFFFFFFFF)
    return {4: struct.pack("<I", min(total - 8, 0xFFFFFFFF)), data.start + 4: struct.pack("<I", size)} if size else {}


def filled_up(path: Path) -> tuple[bytes, int] | None:
    """Of a WAV file in which bytes that fill up chunks before the samples were forgotten: its beginning with them, and
    where the samples begin. None of other files."""
    with open(path, "rb") as file:
        found = chunks_of(file)
        places = [place for place, chunk in enumerate(found) if chunk.name == "data"]
        if container_of(file) is not _RIFF or not places:
            return None
        data = found[places[0]]
        head = _content(file, 0, _RIFF.first)
        for chunk in found[: places[0]]:
            head += _content(file, chunk.start, chunk.end)
            head += bytes(len(head) % 2)
        head += _content(file, data.start, data.body)
    (size,) = struct.unpack_from("<I", head, _RIFF.total)
    added = len(head) - data.body
    return (head[:4] + struct.pack("<I", min(size + added, 0xFFFFFFFF)) + head[8:], data.body) if added else None


def _content(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def beyond_its_header(path: Path) -> tuple[bytes, int] | None:
    """Of a WAV file that goes on after the length in its header, which was not known when it was written: the header of
    an RF64 file in its place, and where the samples begin. None of other files."""
    with open(path, "rb") as file:
        found, total = chunks_of(file), os.fstat(file.fileno()).st_size
        places = [place for place, chunk in enumerate(found) if chunk.name == "data"]
        if container_of(file) is not _RIFF or not places:
            return None
        data = found[places[0]]
        size, there = data.end - data.body, total - data.body
        is_unknown = _is_placeholder(size) or (size == 0 and there > 0xFFFFFFFF)
        is_unknown |= there > 0xFFFFFFFF and (there - size) % (1 << 32) <= 1  # of a writer that counts in 32 bits
        is_followed = places[0] < len(found) - 1 and total - found[-1].end in (0, 1)
        if not is_unknown or there <= size or is_followed:
            return None
        file.seek(_RIFF.first)
        before = file.read(data.start - _RIFF.first)
    lengths = struct.pack("<4sIQQQI", b"ds64", 28, len(before) + 40 + there, there, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + lengths + before + b"data\xff\xff\xff\xff", data.body


class Spliced(io.RawIOBase):
    """A file with another beginning, to read: `head`, and then the content of `path` from the byte `start` on."""

    def __init__(self, head: bytes, path: Path, start: int):
        self._head, self._start, self._place = head, start, 0
        self._file = open(path, "rb")  # noqa: SIM115 it is closed with this
        self._length = len(head) + os.fstat(self._file.fileno()).st_size - start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._length}[whence])
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        content = self._head[self._place : self._place + wanted]
        if len(content) < wanted:
            self._file.seek(max(0, self._place - len(self._head)) + self._start)
            content += self._file.read(wanted - len(content))
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def copy_chunks(source: Path, written: Path, ratio: float = 1.0) -> None:
    """Append to `written` the chunks of `source` beside the samples, if both are of one kind of container. What only
    holds for the source's samples is left out, and so is what is not whole there or would make the file too long. Of an
    extensible WAV it tells which loudspeakers its channels are for, too. Gains and loudness of the old sound are left
    out; places are moved to where they are at a rate that is `ratio` times as high."""
    left_out = _PARTS | _OF_SAMPLES | (UNMOVED if ratio != 1 else set())
    with open(source, "rb") as file, open(written, "r+b") as target:
        layout = container_of(file)
        if layout is None or layout != container_of(target):
            return
        own, others = _loudspeakers(target), _loudspeakers(file)
        if own is not None and others is not None:
            target.seek(own)
            target.write(_content(file, others, others + 4))
        target.seek(0)
        is_long = target.read(4) == b"RF64"
        place, total = target.seek(0, os.SEEK_END), os.fstat(file.fileno()).st_size
        for chunk in chunks_of(file):
            length = chunk.end - chunk.start
            if chunk.name in left_out or chunk.end > total:
                continue
            if layout is not _W64 and not is_long and place + length + 2 > 0xFFFFFFFF:
                continue
            target.write(bytes(-place % layout.align))
            if chunk.name in MOVED | MEASURED and length < _LONGEST_CHANGED:
                content = moved(chunk.name, unmeasured(chunk.name, _content(file, chunk.body, chunk.end))[0], ratio)
                length = layout.header + len(content)
                target.write(layout.headed(_content(file, chunk.start, chunk.body), len(content)) + content)
            else:
                file.seek(chunk.start)
                _copy(file, target, length)
            target.write(bytes(-length % layout.align))
            place = target.tell()
        if layout is _W64:
            target.seek(layout.total)
            target.write(struct.pack("<Q", place))
        elif is_long:
            target.seek(layout.first + layout.header)
            target.write(struct.pack("<Q", place - 8))
        else:
            target.seek(layout.total)
            target.write(struct.pack(layout.size, place - 8))


def _loudspeakers(file: BinaryIO) -> int | None:
    """Where the header of an extensible WAV tells which loudspeakers its channels are for; None of other files."""
    formats = [chunk.body for chunk in chunks_of(file) if chunk.name == "fmt" and chunk.end - chunk.body >= 24]
    is_one = bool(formats) and _content(file, formats[0], formats[0] + 2) == _EXTENSIBLE
    return formats[0] + 20 if is_one else None


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length > 0 and (part := source.read(min(length, 1 << 20))):
        target.write(part)
        length -= len(part)


def names_beside(path: Path) -> set[str]:
    """What a file holds beside its samples, by name: "bext", "cue"; of the lists of texts what they tell ("title")."""
    names = set[str]()
    with open(path, "rb") as file:
        for chunk in chunks_of(file):
            if chunk.name == "LIST-INFO":
                names |= _info_names(file, chunk)
            elif chunk.name not in _PARTS:
                names.add(_INFO.get(chunk.name, chunk.name))
            if chunk.name in MEASURED and chunk.end - chunk.body < _LONGEST_CHANGED:
                names |= unmeasured(chunk.name, _content(file, chunk.body, chunk.end))[1]
    return names


def _info_names(file: BinaryIO, chunk: Chunk) -> set[str]:
    names, place = set[str](), chunk.body + 4
    while place + 8 <= chunk.end and len(names) < _MOST:
        file.seek(place)
        header = file.read(8)
        if len(header) < 8 or not all(32 <= letter < 127 for letter in header[:4]):
            break
        name = header[:4].decode().strip()
        names.add(_INFO.get(name, name))
        size = struct.unpack("<I", header[4:])[0]
        place += 8 + size + size % 2
    return names
