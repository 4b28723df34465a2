"""What a file tells beside its sound: titles, comments, cover art, and RIFF's chunks; taken over into a copy, or named
where they are not. And the bit rate of lossy files.

Tags of MP3, FLAC and Ogg and bit rates need mutagen, the extra "tags", which is under the GPL. Without it the ten texts
that libsndfile knows are copied, bit rates are libsndfile's, and the rest is said to be dropped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

from shared.errors import DataError
from speech.audio.chunks import copy_chunks, names_beside
from speech.audio.measured import HAS_MUTAGEN, holds_for_old_sound
from speech.audio.mp3 import frames_of
from speech.audio.paths import sound_path
from speech.audio.positions import move_tracks

if HAS_MUTAGEN:
    from mutagen import FileType, MutagenError
    from mutagen.apev2 import APENoHeaderError, APEv2
    from mutagen.flac import FLAC, CueSheet, MetadataBlock
    from mutagen.id3 import ID3, ID3NoHeaderError
    from mutagen.mp3 import MP3, BitrateMode
    from mutagen.oggflac import OggFLAC
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis

_CHUNKED = ("RIFF", "FORM", "W64")
_UNKNOWN = 'tags and pictures that only the extra "tags" can copy'
_FRAMES = {
    "TIT2": "title",
    "TPE1": "artist",
    "TALB": "album",
    "TDRC": "date",
    "TRCK": "tracknumber",
    "TCON": "genre",
    "COMM": "comment",
    "TCOP": "copyright",
    "TSSE": "encoder",
    "TENC": "encoder",
    "APIC": "cover art",
}
_COMMENTS = {"description": "comment", "metadata_block_picture": "cover art", "coverart": "cover art"}
_STAMPS = {"software", "encoder", "vendor"}
"""What an encoder writes about itself: nobody misses it."""
_APPLICATION = 2
_LONGEST_NAME = 40
_MOST_NAMES = 12


@dataclass(frozen=True)
class Rate:
    """Bits a second, and whether all frames have that rate or their mean; of a variable one LAME's quality (-V, from 0
    to below 10), where the header tells."""

    bits: int
    constant: bool = False
    quality: float | None = None


def bit_rate(path: Path, subtype: str) -> Rate | None:
    """The bit rate of an MP3, Vorbis or Opus file; None of other codings, and where it cannot be told."""
    try:
        if subtype == "MPEG_LAYER_III":
            info: Any = MP3(path).info
            told = re.match(r"-V ([\d.]+)", info.encoder_settings)
            constant = info.bitrate_mode in (BitrateMode.CBR, BitrateMode.UNKNOWN)
            found = frames_of(path)
            if found is not None:  # its header tells less than its frames, if it has one
                return Rate(found.bits, found.constant, float(told[1]) if told else None)
            return Rate(info.bitrate, constant, float(told[1]) if told else None)
        if subtype == "VORBIS":
            with open(path, "rb") as file:
                return Rate(vorbis_rate(file))
        if subtype == "OPUS":
            opened: Any = OggOpus(path)
            tags = sum(len(key) + len(value) for key, value in opened.tags or ())
            return Rate(int(8 * (os.path.getsize(path) - tags) / opened.info.length))
    except Exception:  # of files that others wrote; mutagen raises more than its own errors
        return None
    return None


def vorbis_rate(file: BinaryIO) -> int:
    """The nominal bit rate of an open Ogg Vorbis file."""
    file.seek(0)
    info: Any = OggVorbis(file).info
    return int(info.bitrate)


def same_tags(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether files of these formats and subtypes hold tags in the same way, so that all of them can be copied."""
    kinds = [_kind(*coding) for coding in (one, other)]
    return kinds[0] == kinds[1] and kinds[0] != "" and (HAS_MUTAGEN or kinds[0] in _CHUNKED)


def _kind(format: str, subtype: str) -> str:
    if format == "OGG":
        return f"OGG {subtype}" if subtype in ("VORBIS", "OPUS", "FLAC") else ""
    kinds = {"WAV": "RIFF", "WAVEX": "RIFF", "RF64": "RIFF", "AIFF": "FORM", "W64": "W64", "FLAC": "FLAC", "MP3": "MP3"}
    return kinds.get(format, "")


def carry_tags(
    source: Path, written: Path, of: tuple[str, str], to: tuple[str, str], ratio: float = 1.0
) -> tuple[str, ...]:
    """Copy the tags of `source` into the file `written`, where both hold them in the same way.

    Args:
        source, written: the files.
        of, to: format and subtype of each.
        ratio: the rate of `written` by that of `source`: what tells places in samples tells them at its own.

    Returns:
        What `source` has and `written` has not, by name ("bext", "cover art"); gains measured on the old sound are not
        copied.

    Raises:
        DataError: `written` was damaged on the way.
        OSError: it cannot be written.
    """
    is_copied = same_tags(of, to)
    frames = soundfile.info(sound_path(written)).frames if is_copied else 0
    try:
        wanted = _names(source, *of)
        if is_copied:
            _copy(source, written, _kind(*of), ratio)
        dropped = wanted - _names(written, *to)
        dropped |= _unknown(*of)
    except Exception as error:  # tags are written by everyone, and mutagen raises more than its own errors
        _raise_what_is_of_the_disk(error)
        dropped = {"its tags, which cannot be read"}
    if is_copied and soundfile.info(sound_path(written)).frames != frames:
        raise DataError(f"{source}: its tags cannot be copied without damage; remove them from the file")
    return missing_names(dropped, frozenset())


def names_beside_sound(path: Path, coding: tuple[str, str]) -> frozenset[str]:
    """What a file of this format and subtype tells beside its samples, by name; what cannot be read as one name."""
    try:
        return frozenset(_names(path, *coding) | _unknown(*coding))
    except Exception as error:
        _raise_what_is_of_the_disk(error)
        return frozenset({"its tags, which cannot be read"})


def missing_names(wanted: Iterable[str], there: Iterable[str]) -> tuple[str, ...]:
    """Names of what a copy lacks, in order, and not too many of them."""
    shown = sorted(set(wanted) - set(there) - _STAMPS)
    return tuple(shown[:_MOST_NAMES]) + ((f"{len(shown) - _MOST_NAMES} more",) if len(shown) > _MOST_NAMES else ())


def _unknown(format: str, subtype: str) -> set[str]:
    """What nothing here can read of a file of this format and subtype."""
    return set() if HAS_MUTAGEN or _kind(format, subtype) in ("", *_CHUNKED) else {_UNKNOWN}


def _raise_what_is_of_the_disk(error: Exception) -> None:
    inner = error.args[0] if HAS_MUTAGEN and isinstance(error, MutagenError) and error.args else error
    if isinstance(inner, OSError):
        raise inner


def _copy(source: Path, written: Path, kind: str, ratio: float) -> None:
    if kind in _CHUNKED:
        copy_chunks(source, written, ratio)
    elif kind == "MP3":
        _copy_id3(source, written)
    elif kind == "FLAC":
        _copy_flac(FLAC(source), FLAC(written), ratio)
    else:
        _copy_comments(_ogg(source, kind), _ogg(written, kind))


def _ogg(path: Path, kind: str) -> FileType:
    return {"VORBIS": OggVorbis, "OPUS": OggOpus}.get(kind.removeprefix("OGG "), OggFLAC)(path)


def _copy_id3(source: Path, written: Path) -> None:
    with suppress(ID3NoHeaderError):
        _without_gains(ID3(source)).save(written)
    with suppress(APENoHeaderError):
        _without_gains(APEv2(source)).save(written)


def _without_gains(tags: Any) -> Any:
    for key in filter(holds_for_old_sound, list(tags)):
        del tags[key]
    return tags


def _copy_comments(source: Any, written: Any) -> None:
    if source.tags:
        if written.tags is None:
            written.add_tags()
        written.tags[:] = [(name, text) for name, text in source.tags if not holds_for_old_sound(name)]
        written.save()


def _copy_flac(source: Any, written: Any, ratio: float) -> None:
    _copy_comments(source, written)
    for picture in source.pictures:
        written.add_picture(picture)
    blocks = [block for block in source.metadata_blocks if _is_of_use(block)]
    for block in blocks:
        if isinstance(block, CueSheet):
            move_tracks(block, ratio)
    written.metadata_blocks += blocks
    written.save()


def _is_of_use(block: MetadataBlock) -> bool:
    """A cue sheet, or what an application keeps for itself; seek tables and padding belong to their file."""
    return isinstance(block, CueSheet) or getattr(block, "code", None) == _APPLICATION


def _names(path: Path, format: str, subtype: str) -> set[str]:
    """What a file tells beside its samples, by name."""
    if format == "RAW":
        return set()
    kind, names = _kind(format, subtype), set[str]()
    refused: tuple[type[Exception], ...] = (soundfile.LibsndfileError,) if kind in _CHUNKED else ()
    with suppress(*refused), soundfile.SoundFile(sound_path(path)) as file:  # chunks may not be filled up
        names |= {name for name, value in file.copy_metadata().items() if value}
    if kind in _CHUNKED:
        names |= names_beside(path)
    elif not HAS_MUTAGEN:
        pass
    elif kind == "MP3":
        names |= _mp3_names(path)
    elif kind == "FLAC":
        names |= _flac_names(FLAC(path))
    elif kind:
        names |= _comment_names(_ogg(path, kind).tags)
    return {name[:_LONGEST_NAME] for name in names}


def _flac_names(flac: Any) -> set[str]:
    blocks = [block for block in flac.metadata_blocks if _is_of_use(block)]
    names = {"cue sheet" if isinstance(block, CueSheet) else "application data" for block in blocks}
    return names | _comment_names(flac.tags) | ({"cover art"} if flac.pictures else set())


def _comment_names(tags: Any) -> set[str]:
    return {_COMMENTS.get(key.lower(), key.lower()) for key, _ in tags or ()}


def _frame_name(frame: Any) -> str:
    is_old = holds_for_old_sound(frame.HashKey)
    return str(frame.HashKey if is_old else _FRAMES.get(frame.FrameID, frame.HashKey))


def _mp3_names(path: Path) -> set[str]:
    names = set()
    with suppress(ID3NoHeaderError):
        names |= {_frame_name(frame) for frame in ID3(path).values()}
    with suppress(APENoHeaderError):
        names |= {_COMMENTS.get(key.lower(), key.lower()) for key in APEv2(path)}
    return names
