"""What a file tells of the level of its sound, which holds for no other sound: gains and measured loudness.

Sources: EBU Tech 3285, version 2 (bext); iXML 3.0; ITU-R BS.2076 (axml); ReplayGain 2.0; RFC 7845 (R128_TRACK_GAIN).
"""

from __future__ import annotations

import io
import re
import struct
from typing import Any

from speech.audio.wide_text import changed

try:
    from mutagen.id3 import ID3
except ImportError:
    HAS_MUTAGEN = False
else:
    HAS_MUTAGEN = True

MEASURED = {"bext", "iXML", "axml", "id3", "ID3"}
"""Chunks that may hold such things, which `unmeasured` knows."""

_OLD = re.compile(r"(TXXX:)?(replaygain_|r128_|mp3gain_)|(COMM:)?iTun(NORM|SMPB)|RVA2|RVAD|RGAD", re.IGNORECASE)
"""Gains, by which players would set the new sound's level; and how much of the old coding's ends is no sound."""
_VERSION, _LOUDNESS = 346, 412
_UNKNOWN = struct.pack("<5H", *[0x7FFF] * 5)
"""Integrated loudness, its range, true peak, momentary and short-term maximum, none of which is told."""
_ELEMENT = re.compile(  # of XML: the same five of iXML, by themselves and as of bext, and all of ADM's; not empty ones
    rb"<((?:BWF_)?(?:LOUDNESS_VALUE|LOUDNESS_RANGE|MAX_TRUE_PEAK_LEVEL|MAX_(?:MOMENTARY|SHORT_TERM)_LOUDNESS)"
    rb"|(?:\w+:)?loudnessMetadata)\b[^>]*(?<!/)>(?!\s*</\1).*?</\1\s*>",
    re.DOTALL,
)


def holds_for_old_sound(name: str) -> bool:
    """Whether a tag of this name tells what was measured on the sound, so that no other one may have it."""
    return _OLD.match(name) is not None


def unmeasured(name: str, content: bytes) -> tuple[bytes, set[str]]:
    """The content of a chunk without what was measured on its sound, and the names of that."""
    if name == "bext":
        return _bext(content)
    if name in ("iXML", "axml"):
        kept = changed(content, lambda text: _ELEMENT.sub(b"", text))
        return kept, {f"loudness in {name}"} if kept != content else set()
    return _id3(content) if HAS_MUTAGEN and name in MEASURED else (content, set())


def _bext(content: bytes) -> tuple[bytes, set[str]]:
    end = _LOUDNESS + len(_UNKNOWN)
    is_told = len(content) >= end and content[_VERSION] >= 2 and content[_LOUDNESS:end] != _UNKNOWN
    return (content[:_LOUDNESS] + _UNKNOWN + content[end:], {"loudness in bext"}) if is_told else (content, set())


def _id3(content: bytes) -> tuple[bytes, set[str]]:
    try:
        tags: Any = ID3(io.BytesIO(content))
        old = set(filter(holds_for_old_sound, tags))
        for key in old:
            del tags[key]
        made = io.BytesIO()
        tags.save(made, padding=lambda _: 0)
    except Exception:  # tags are written by everyone, and mutagen raises more than its own errors
        return content, set()
    return (made.getvalue(), old) if old else (content, set())
