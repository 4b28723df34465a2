"""Ogg files of which libsndfile would give a part without a word (RFC 3533): such as are damaged near their end, whose
page that is not whole it passes over, and such as hold one recording behind another."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_TAIL = 1 << 18
"""Bytes at the end that are looked at: four of the longest pages."""
_NAME, _HEADER, _STREAM, _CHECKSUM = b"OggS", 27, 14, 22
_FIRST, _LAST = 2, 4
"""Of a page's flags: a stream begins, or ends."""
_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_damaged(path: Path) -> bool:
    """Whether a page near the end is not what was written, or lacks. One that the file ends within is no damage, nor is
    what lies behind a page that ends a stream, nor a gap behind a stream's header, as a recording of a radio has that
    was begun meanwhile."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        tail = file.read()
    expected: dict[bytes, int] = {}  # the number of the next page, by the stream that it is of
    before, flags = None, 0
    for place, end in _whole_pages(tail):
        stream, number = tail[place + _STREAM : place + _STREAM + 4], struct.unpack_from("<I", tail, place + 18)[0]
        flags = tail[place + 5]
        if before not in (None, place) or (expected.get(stream, number) != number and not flags & _FIRST):
            return True
        before = end
        if any(tail[place + 6 : place + 14]):
            expected[stream] = (number + 1) & 0xFFFFFFFF
        else:  # a header, of no time: any page may follow
            expected.pop(stream, None)
    if before is None:
        return True
    left = tail[before:]
    if left[:4] == _NAME:
        return _end(left, 0) is not None
    return not flags & _LAST and not _NAME.startswith(left[:4])


def is_chained(path: Path) -> bool:
    """Whether another recording follows behind the first one's end (RFC 3533, §4), as what is saved of a radio has,
    or files that were joined: libsndfile reads the first alone."""
    with open(path, "rb") as file:
        begun = False
        while len(header := file.read(_HEADER)) == _HEADER and header.startswith(_NAME):
            if begun and header[5] & _FIRST:
                return True
            begun = begun or not header[5] & _FIRST  # streams that sound at once all begin before others go on
            file.seek(sum(file.read(header[-1])), os.SEEK_CUR)
    return False


def number_by_content(path: Path) -> None:
    """Give the only stream of a file, which libsndfile numbers at random, the number that follows from what it holds:
    the same sound is the same bytes, and files that are joined differ in theirs, as they have to."""
    with open(path, "r+b") as file:
        number = 0
        for _, page in _pages_of(file):
            number = zlib.crc32(page[_HEADER:], number)
        for place, page in _pages_of(file):
            page[_STREAM : _STREAM + 4] = struct.pack("<I", number)
            page[_CHECKSUM : _CHECKSUM + 4] = _checksum(page)
            file.seek(place)
            file.write(page)


def _pages_of(file: BinaryIO) -> Iterator[tuple[int, bytearray]]:
    """The pages of a file that is whole, and where they begin."""
    place = 0
    while True:
        file.seek(place)
        page = bytearray(file.read(_HEADER))
        if len(page) < _HEADER or not page.startswith(_NAME):
            return
        sizes = file.read(page[-1])
        page += sizes + file.read(sum(sizes))
        yield place, page
        place += len(page)


def _whole_pages(content: bytes) -> Iterator[tuple[int, int]]:
    """Where the pages that are as they were written begin and end."""
    place = 0
    while (place := content.find(_NAME, place)) >= 0:
        end = _end(content, place)
        if end is not None and _is_whole(content[place:end]):
            yield place, end
            place = end
        else:
            place += 1


def _end(content: bytes, place: int) -> int | None:
    """Where the page that begins here ends by its header; None where that is beyond the end."""
    if place + _HEADER > len(content):
        return None
    body = place + _HEADER + content[place + _HEADER - 1]
    end = body + sum(content[place + _HEADER : body])
    return end if end <= len(content) else None


def _is_whole(page: bytes) -> bool:
    return page[_CHECKSUM : _CHECKSUM + 4] == _checksum(page)


def _checksum(page: bytes | bytearray) -> bytes:
    """That a page should have: zlib's of turned bits, without its inversions."""
    cleared = page[:_CHECKSUM] + bytes(4) + page[_CHECKSUM + 4 :]
    found = zlib.crc32(cleared.translate(_TURNED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return struct.pack("<I", int(f"{found:032b}"[::-1], 2))
