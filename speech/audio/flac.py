"""FLAC files whose header does not state their length, as encoders leave them that write into a pipe (RFC 9639)."""

from __future__ import annotations

import os
import struct
from functools import cache
from pathlib import Path

_TAIL = 4 << 20
_STREAMINFO = 8
"""Where the content of the first block, STREAMINFO, begins."""


def unstated(path: Path) -> dict[int, bytes]:
    """What to read in place of the length of 0 in the header: bytes by their place. Empty where a length is stated, or
    where the file does not end with a whole frame."""
    with open(path, "rb") as file:
        head = file.read(_STREAMINFO + 34)
        if len(head) < _STREAMINFO + 34 or head[:4] != b"fLaC" or head[4] & 0x7F or _total(head):
            return {}
        size = os.fstat(file.fileno()).st_size
        file.seek(max(len(head), size - _TAIL))
        samples = _end_of_last_frame(file.read(), struct.unpack_from(">H", head, _STREAMINFO)[0])
    if samples is None or samples >= 1 << 36:
        return {}
    return {
        _STREAMINFO + 13: bytes([head[_STREAMINFO + 13] & 0xF0 | samples >> 32])
        + struct.pack(">I", samples & 0xFFFFFFFF)
    }


def _total(head: bytes) -> int:
    return (head[_STREAMINFO + 13] & 0x0F) << 32 | int(struct.unpack_from(">I", head, _STREAMINFO + 14)[0])


def _end_of_last_frame(tail: bytes, block: int) -> int | None:
    """How many samples of a channel there are up to the end of the frame that `tail` ends with; None if it does not."""
    checksum = int.from_bytes(tail[-2:], "big")
    place = len(tail)
    while (place := max(tail.rfind(b"\xff\xf8", 0, place), tail.rfind(b"\xff\xf9", 0, place))) >= 0:
        samples = _end_of_frame(tail[place : place + 16], block)
        if samples is not None and _crc(tail[place:-2], 16, 0x8005) == checksum:
            return samples
    return None


def _end_of_frame(header: bytes, block: int) -> int | None:
    """The number of the sample after a frame, from its header; None where it is no header."""
    if len(header) < 16:
        header += bytes(16 - len(header))
    number, at = _coded_number(header)
    if number is None or header[3] & 1:
        return None
    code = header[2] >> 4
    if code == 0:
        return None
    if code in (6, 7):
        length = int.from_bytes(header[at : at + code - 5], "big") + 1
        at += code - 5
    else:
        length = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    at += {12: 1, 13: 2, 14: 2}.get(header[2] & 0x0F, 0)
    if _crc(header[:at], 8, 0x07) != header[at]:
        return None
    return (number if header[1] & 1 else number * block) + length


def _coded_number(header: bytes) -> tuple[int | None, int]:
    """The number of the frame or sample, written as UTF-8 writes letters, and the place after it."""
    first = header[4]
    if first < 0x80:
        return first, 5
    more = 8 - (first ^ 0xFF).bit_length() - 1
    if not 1 <= more <= 6:
        return None, 5
    number = first & (0x3F >> more)
    for byte in header[5 : 5 + more]:
        if byte >> 6 != 2:
            return None, 5
        number = number << 6 | byte & 0x3F
    return number, 5 + more


def _crc(content: bytes, bits: int, polynomial: int) -> int:
    table, value, mask = _crc_table(bits, polynomial), 0, (1 << bits) - 1
    for byte in content:
        value = (value << 8 ^ table[value >> bits - 8 ^ byte]) & mask
    return value


@cache
def _crc_table(bits: int, polynomial: int) -> list[int]:
    """The checksum of each byte."""
    values = [byte << bits - 8 for byte in range(256)]
    for _ in range(8):
        values = [(value << 1 ^ (polynomial if value >> bits - 1 else 0)) & (1 << bits) - 1 for value in values]
    return values
