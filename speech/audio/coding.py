"""What an audio file is apart from its samples, and what a file that is written becomes: its container and coding."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from shared.errors import DataError
from speech.audio.tags import Rate, vorbis_rate

_SUFFIXES_OF = {
    "WAV": (".wav", ".wave"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3",),
    "AIFF": (".aif", ".aiff", ".aifc"),
    "AU": (".au", ".snd"),
    "CAF": (".caf",),
    "W64": (".w64",),
    "RF64": (".rf64",),
    "RAW": (".raw",),
    "VOC": (".voc",),
    "NIST": (".sph", ".nist"),
}
_FORMATS = {suffix: format for format, suffixes in _SUFFIXES_OF.items() for suffix in suffixes}

AUDIO_SUFFIXES = tuple(_FORMATS)
"""Suffixes of the files that are taken from a folder (any suffix does when a file is named)."""

_FOREIGN = (
    ".m4a .m4b .m4r .mp4 .m4v .mov .3gp .3g2 .aac .adts .ac3 .eac3 .alac .webm .weba .mkv .mka .wma .asf .wmv .wv .amr "
    ".awb .ape .tta .tak .mpc .mp+ .dts .dsf .dff .ra .rm .avi .flv .ogv .spx"
)
FOREIGN_SUFFIXES = frozenset(_FOREIGN.split())
"""Suffixes of recordings that libsndfile neither reads nor writes."""

_WAV_KINDS = ("WAV", "WAVEX", "RF64")
_FINE = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32")
_LINEAR = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
_WAV_LIMIT = 4_000_000_000


@dataclass(frozen=True)
class RawFormat:
    """What a file of bare samples (.raw) cannot say of itself.

    Attributes:
        sample_rate: Hz.
        channels: interleaved channels.
        subtype: "FLOAT", "DOUBLE", "PCM_16", "PCM_24", "PCM_32", … as libsndfile names them.
        endian: byte order.
    """

    sample_rate: int
    channels: int = 1
    subtype: str = "FLOAT"
    endian: Literal["FILE", "LITTLE", "BIG", "CPU"] = "FILE"


@dataclass(frozen=True)
class AudioInfo:
    """What a file is, apart from its samples.

    Attributes:
        sample_rate: Hz.
        channels, samples: shape of the whole recording.
        format, subtype: container and coding, as libsndfile names them ("WAV", "PCM_16").
        metadata: title, artist, album, date, tracknumber, genre, comment, copyright, license, software: those present.
        endian: byte order.
        missing: samples that the header states, and that the file is too short for.
    """

    sample_rate: int
    channels: int
    samples: int
    format: str = "WAV"
    subtype: str = "PCM_16"
    metadata: Mapping[str, str] = field(default_factory=dict)
    endian: str = "FILE"
    missing: int = 0

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


def notes_on(info: AudioInfo, dropped: Sequence[str]) -> tuple[str, ...]:
    """What there is to say about a copy of a file: samples that the file lacks, and what the copy does not have."""
    notes = []
    if info.missing:
        missing = info.missing / info.sample_rate
        stated = info.seconds + missing
        notes.append(f"cut short: {missing:.3g} s of the {stated:.3g} s that its header states are missing")
    if dropped:
        notes.append(f"not kept: {', '.join(dropped)}")
    return tuple(notes)


def refuse_suffix(path: Path, source: Path | None = None) -> None:
    """Refuse a name whose suffix promises a format that is not written; that of the source is no promise.

    Raises:
        DataError: it does.
    """
    suffix = path.suffix.lower()
    own = source is not None and source.suffix.lower() == suffix
    if suffix in FOREIGN_SUFFIXES or (suffix and suffix not in _FORMATS and not own):
        raise DataError(
            f"{path}: {suffix} files cannot be written; choose a name that ends in one of {', '.join(AUDIO_SUFFIXES)}"
        )


def target_coding(path: str | os.PathLike[str], info: AudioInfo) -> tuple[str, str]:
    """Format and subtype that `path` gets: the format that its suffix names, with the subtype of `info` or the nearest
    that the format has."""
    suffix = Path(path).suffix.lower()
    format = _FORMATS.get(suffix, info.format)
    if format == "WAV" and info.format in _WAV_KINDS:
        format = info.format
    subtype = info.subtype
    if suffix == ".opus":
        subtype = "OPUS"
    elif format == "MP3":
        subtype = "MPEG_LAYER_III"
    elif not soundfile.check_format(format, subtype) or (format != info.format and subtype not in _LINEAR):
        subtype = "PCM_24" if subtype in _FINE else "PCM_16"
        if not soundfile.check_format(format, subtype):
            subtype = soundfile.default_subtype(format) or ""
        if not soundfile.check_format(format, subtype):
            raise DataError(f"{path}: libsndfile does not write {format}; choose a name that ends in .wav or .flac")
    size = info.samples * info.channels * {"PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}.get(subtype, 2)
    if format in ("WAV", "WAVEX") and size > _WAV_LIMIT and soundfile.check_format("RF64", subtype):
        format = "RF64"
    return format, subtype


def encoder(subtype: str, info: AudioInfo, rate: Rate | None) -> dict[str, str | float]:
    """What soundfile's encoder is told, so that a lossy file gets this bit rate."""
    if rate is None:
        return {}
    if subtype == "MPEG_LAYER_III":
        level = _level(rate.bits, *_mp3_range(info.sample_rate))
        return {"compression_level": min(level, 0.99), "bitrate_mode": "CONSTANT" if rate.constant else "AVERAGE"}
    if subtype == "OPUS":
        return {"compression_level": _level(rate.bits, 6000 * info.channels, 256_000 * info.channels)}
    return {"compression_level": _vorbis_level(info.sample_rate, info.channels, rate.bits)}


def _level(rate: int, low: int, high: int) -> float:
    """The compression level of a bit rate between those of the levels 1 and 0."""
    return min(max((high - rate) / (high - low), 0.0), 1.0)


def _mp3_range(sample_rate: int) -> tuple[int, int]:
    """Bits a second between which libsndfile's compression levels go, from 1 to 0."""
    if sample_rate >= 32_000:
        return 32_000, 320_000
    return (8_000, 160_000) if sample_rate >= 16_000 else (8_000, 64_000)


@lru_cache(maxsize=256)
def _vorbis_level(sample_rate: int, channels: int, rate: int) -> float:
    """The compression level of this nominal bit rate, found by trying: libvorbis alone knows its table."""
    low, high = 0.0, 1.0
    for _ in range(7):
        level = (low + high) / 2
        made = io.BytesIO()
        with soundfile.SoundFile(
            made, "w", sample_rate, channels, "VORBIS", format="OGG", compression_level=level
        ) as file:
            file.write(np.zeros((1, channels), np.float32))
        low, high = (level, high) if vorbis_rate(made) > rate else (low, level)
    return (low + high) / 2
