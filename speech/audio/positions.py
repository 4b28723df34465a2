"""Places in a recording that its file counts in samples (markers, loops, the time of day at which it began), moved to
where they are at another rate.

Sources: Microsoft and IBM, Multimedia Programming Interface 1.0 (cue, adtl); Microsoft, New Multimedia Data Types
(smpl); EBU Tech 3285 (bext); iXML 3.0; Apple, AIFF-C (MARK); RFC 9639 (cue sheets of FLAC).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from speech.audio.wide_text import changed

MOVED = {"cue", "smpl", "bext", "iXML", "LIST-adtl", "MARK"}
"""Chunks whose places `moved` knows."""

UNMOVED = {"plst"}
"""Chunks that count samples too, and are left out at another rate."""

_TIME_REFERENCE = 338
_NUMBER = re.compile(rb"<(BWF_TIME_REFERENCE_(?:LOW|HIGH)|(?:FILE|DIGITIZER)_SAMPLE_RATE)>\s*(\d{1,12})\s*</\1>")
"""Of iXML: the time of day as in bext, in two halves, and rates. Its time stamp has a rate of its own, and stays."""
_SYNC_POINT = re.compile(rb"<SYNC_POINT>.*?</SYNC_POINT>", re.DOTALL)
_COUNT = re.compile(rb"<(SYNC_POINT_(?:LOW|HIGH|EVENT_DURATION))>\s*(\d{1,12})\s*</\1>")
"""Of a point: samples from the file's start, or from midnight, in two halves; and how many it lasts."""


def moved(name: str, content: bytes, ratio: float) -> bytes:
    """The content of a chunk with its places at a rate that is this many times as high."""
    if name not in MOVED or ratio == 1:
        return content
    if name == "iXML":
        return changed(content, lambda text: _moved_text(text, ratio))
    made = bytearray(content)
    for form, place in _counts(name, content):
        if place + struct.calcsize(form) <= len(content):
            (count,) = struct.unpack_from(form, content, place)
            most = (1 << 8 * struct.calcsize(form)) - 1
            struct.pack_into(form, made, place, count if count == most else min(round(count * ratio), most))
    if name == "smpl" and len(content) >= 12:
        (period,) = struct.unpack_from("<I", content, 8)  # of a sample, in nanoseconds
        struct.pack_into("<I", made, 8, round(period / ratio))
    return bytes(made)


def _moved_text(content: bytes, ratio: float) -> bytes:
    """`moved` of iXML."""
    content = _scaled(content, _NUMBER, b"BWF_TIME_REFERENCE_", ratio)
    return _SYNC_POINT.sub(lambda point: _scaled(point[0], _COUNT, b"SYNC_POINT_", ratio), content)


def _scaled(content: bytes, number: re.Pattern[bytes], halves: bytes, ratio: float) -> bytes:
    """A text with its numbers at a rate that is so many times as high, one of them in halves that are called so."""
    low, high = halves + b"LOW", halves + b"HIGH"
    found = {name: int(digits) for name, digits in number.findall(content)}
    time = round(ratio * ((found.get(high, 0) << 32) + found.get(low, 0)))
    made = {name: round(ratio * value) for name, value in found.items()} | {low: time % (1 << 32), high: time >> 32}
    return number.sub(lambda match: b"<%b>%d</%b>" % (match[1], made[match[1]], match[1]), content)


def _counts(name: str, content: bytes) -> Iterator[tuple[str, int]]:
    """Where numbers of samples are in a chunk, and how they are written."""
    if name == "bext":
        yield "<Q", _TIME_REFERENCE
    elif name == "cue":
        for start in range(4, len(content), 24):
            yield from (("<I", start + 4), ("<I", start + 20))
    elif name == "smpl":
        for start in range(36, len(content) - 23, 24):
            yield from (("<I", start + 8), ("<I", start + 12))
    elif name == "LIST-adtl":
        place = 4
        while place + 8 <= len(content):
            if content[place : place + 4] == b"ltxt":
                yield "<I", place + 12
            (size,) = struct.unpack_from("<I", content, place + 4)
            place += 8 + size + size % 2
    elif name == "MARK":
        place = 2
        while place + 7 <= len(content):
            yield ">I", place + 2
            place += 6 + (content[place + 6] | 1) + 1  # a text and its length are of an even number of bytes


def move_tracks(cues: Any, ratio: float) -> None:
    """Move the tracks of a cue sheet, mutagen's, to where they are at a rate that is this many times as high."""
    cues.lead_in_samples = round(cues.lead_in_samples * ratio)
    cues.compact_disc = cues.compact_disc and ratio == 1
    for track in cues.tracks:
        track.start_offset = round(track.start_offset * ratio)
        track.indexes = [type(index)(index.index_number, round(index.index_offset * ratio)) for index in track.indexes]
