"""Edit lists of MP4 and MOV: when a track begins, and what of it is not played.

Source: ISO/IEC 14496-12 (boxes moov, trak, elst).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_EMPTY = -1
"""The place in the sound of an entry that stands for nothing."""


def skip_beginning(path: Path, track: int, samples: int) -> None:
    """Let a sound track of a file, by its number from 1, that begins late begin by so many samples later, without as
    many at its beginning, as an encoder's delay. Files whose list is another stay as they are."""
    with open(path, "r+b") as file:
        moov, start = _film(file)
        late = _late(moov, track)
        moved = 0 if late is None else round(samples * late.film / late.media)
        if late is None or late.begins or not moved < late.played:
            return
        struct.pack_into(late.form, moov, late.first, late.late + moved, _EMPTY)
        struct.pack_into(late.form, moov, late.second, late.played - moved, samples)
        file.seek(start)
        file.write(moov)


def played(path: Path, track: int) -> int | None:
    """How many samples a sound track that begins late plays of those that it has, in its own units, where it leaves out
    those at its beginning alone; None of other tracks, and of other files. FFmpeg counts all."""
    with open(path, "rb") as file:
        late = _late(_film(file)[0], track)
    if late is None or not late.begins:
        return None
    left = late.length - late.begins
    return left if abs(left * late.film / late.media - late.played) <= 1 else None


@dataclass(frozen=True)
class _Late:
    """The edit list of a track that begins late: nothing first, and then what it has.

    Attributes:
        form: how struct writes its entries.
        first, second: where they are.
        late, played: how long either lasts, in units of the film.
        begins: place in the sound at which it is played from, in its own units.
        film, media: units a second of the film, and of the track.
        length: of the sound.
    """

    form: str
    first: int
    second: int
    late: int
    played: int
    begins: int
    film: int
    media: int
    length: int


def _film(file: BinaryIO) -> tuple[bytearray, int]:
    """What the box that tells of all tracks holds in an open file, and where; nothing where there is none."""
    start, total = 0, file.seek(0, os.SEEK_END)
    while start + 8 <= total:
        file.seek(start)
        head = file.read(16)
        size, name = struct.unpack_from(">I4s", head)
        header = 8
        if size == 1 and len(head) == 16:
            (size,), header = struct.unpack_from(">Q", head, 8), 16
        if name == b"moov" or size < header:
            file.seek(start + header)
            is_whole = name == b"moov" and header <= size <= total - start
            return bytearray(file.read(size - header) if is_whole else b""), start + header
        start += size
    return bytearray(), 0


def _boxes(content: bytearray, start: int, end: int | None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes in a part of a content: name, and where what they hold begins and ends."""
    end = len(content) if end is None else end
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", content, start)
        if size < 8 or start + size > end:
            return
        yield name, start + 8, start + size
        start += size


def _inner(content: bytearray, place: tuple[int, int], *names: bytes) -> tuple[int, int] | None:
    """Where the first box of this name, in that of the name before it, has its content."""
    for name in names:
        found = next((box for box in _boxes(content, *place) if box[0] == name), None)
        if found is None:
            return None
        place = found[1:]
    return place


def _late(moov: bytearray, track: int) -> _Late | None:
    """The list of a sound track, if it is of this kind."""
    tracks = [(start, end) for name, start, end in _boxes(moov, 0, None) if name == b"trak"]
    sounds = [place for place in tracks if _is_sound(moov, place)]
    header = _inner(moov, (0, len(moov)), b"mvhd")
    if header is None or track > len(sounds):
        return None
    edits, media = (_inner(moov, sounds[track - 1], *names) for names in ((b"edts", b"elst"), (b"mdia", b"mdhd")))
    if edits is None or media is None:
        return None
    form = ">Qq" if moov[edits[0]] == 1 else ">Ii"
    first, step = edits[0] + 8, struct.calcsize(form) + 4  # and the rate
    if struct.unpack_from(">I", moov, edits[0] + 4) != (2,) or first + 2 * step > edits[1]:
        return None
    (late, nothing), (length, begins) = (struct.unpack_from(form, moov, place) for place in (first, first + step))
    if nothing != _EMPTY or begins < 0:
        return None
    (film, _), (own, whole) = (_scale(moov, place[0]) for place in (header, media))
    return _Late(form, first, first + step, late, length, begins, film, own, whole) if film and own else None


def _is_sound(moov: bytearray, place: tuple[int, int]) -> bool:
    handler = _inner(moov, place, b"mdia", b"hdlr")
    return handler is not None and moov[handler[0] + 8 : handler[0] + 12] == b"soun"


def _scale(moov: bytearray, start: int) -> tuple[int, int]:
    """Units a second, and the length in them, of a header of a film or of a track."""
    found: tuple[int, int] = struct.unpack_from(
        *((">IQ", moov, start + 20) if moov[start] == 1 else (">II", moov, start + 12))
    )
    return found
