"""What an audio file is apart from its samples, and what a file that is written becomes: its container and coding."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import soundfile
from annotated_types import Ge, Le

from shared.checks import checked
from shared.errors import ConfigError, DataError
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
    ".awb .ape .tta .tak .mpc .mp+ .dts .dsf .dff .mp2 .ra .rm .ts .mts .m2ts .mpg .mpeg .vob .avi .flv .ogv .spx"
)
FOREIGN_SUFFIXES = frozenset(_FOREIGN.split())
"""Suffixes of recordings that libsndfile neither reads nor writes; FFmpeg reads them (`speech.audio.media`)."""


@dataclass(frozen=True)
class Container:
    """A kind of file that FFmpeg writes.

    Attributes:
        muxer: its name there.
        codings: that are kept; a recording in another gets the first.
        video: whether it takes the pictures of a source that has any.
    """

    muxer: str
    codings: tuple[str, ...]
    video: bool = False


_M4A, _MP4 = Container("mp4", ("AAC", "ALAC")), Container("mp4", ("AAC", "ALAC", "OPUS", "FLAC"), video=True)
_WEBM, _MATROSKA = ("OPUS",), ("OPUS", "AAC", "FLAC", "ALAC", "PCM")
CONTAINERS = {
    ".m4a": _M4A,
    ".m4b": _M4A,
    ".m4r": _M4A,
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container("mov", ("AAC", "ALAC", "PCM"), video=True),
    ".3gp": Container("3gp", ("AAC",), video=True),
    ".aac": Container("adts", ("AAC",)),
    ".weba": Container("webm", _WEBM),
    ".webm": Container("webm", _WEBM, video=True),
    ".mka": Container("matroska", _MATROSKA),
    ".mkv": Container("matroska", _MATROSKA, video=True),
    ".wv": Container("wv", ("WAVPACK",)),
}
"""What FFmpeg writes, by suffix (`speech.audio.muxing`)."""

_WAV_KINDS = ("WAV", "WAVEX", "RF64")
_FINE = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32")
_WHOLE = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32")
_BEYOND_FULL_SCALE = ("FLOAT", "DOUBLE", "MPEG_LAYER_III", "VORBIS", "OPUS")
_UNWRITTEN = ("MPEG_LAYER_III", "DWVW_12")
"""Codings that libsndfile names among those of WAV and AIFF, and does not write there."""
_FULL_BAND = ("PCM_16", *_FINE, "ALAC_16", "DWVW_16", "DWVW_24", *_BEYOND_FULL_SCALE)
"""Codings whose noise does not grow into a band that a recording gets; that of all others (µ-law, ADPCM, 8 bits, …)
spreads over it."""
_LINEAR = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
RATES = (1000, 1_000_000)
"""Hz between which the rate of a recording lies that is read, or written."""

_CODED_RATES = {
    "OPUS": (8000, 12000, 16000, 24000, 48000),
    "MPEG_LAYER_III": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
"""Hz, of codings that have few rates."""

_MOST_RAISED = 128_000
"""Bits a second of a channel that a bit rate is raised to, at the most."""

_MOST_CHANNELS = 1024  # of libsndfile

_MP3_HEADER = 156
"""Bytes of LAME's header, which lies in the first frame of an MP3 file, behind what a frame begins with."""

WAV_LIMIT = 4_000_000_000
"""Bytes of samples beyond which a WAV file is written as RF64, whose sizes have 64 bits."""

Endian = Literal["FILE", "LITTLE", "BIG", "CPU"]


@dataclass(frozen=True)
class RawFormat:
    """What a file of bare samples (.raw) cannot say of itself.

    Attributes:
        sample_rate: Hz.
        channels: interleaved channels.
        subtype: "FLOAT", "DOUBLE", "PCM_16", "PCM_24", "PCM_32", … as libsndfile names them.
        endian: byte order.

    Raises:
        ConfigError: a rate or number of channels that no file has, or a subtype that bare samples do not.
    """

    sample_rate: int
    channels: int = 1
    subtype: str = "FLOAT"
    endian: Endian = "FILE"

    def __post_init__(self) -> None:
        checked(Annotated[int, Ge(RATES[0]), Le(RATES[1]), "Hz of .raw files"], sample_rate=self.sample_rate)
        checked(Annotated[int, Ge(1), Le(_MOST_CHANNELS), "channels of .raw files"], channels=self.channels)
        if not soundfile.check_format("RAW", self.subtype, self.endian):
            known = ", ".join(soundfile.available_subtypes("RAW"))
            raise ConfigError(f"subtype={self.subtype!r} (endian {self.endian!r}): .raw files hold {known}")


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
        notes: what else there is to say of it.
        media: whether it is FFmpeg that reads it; format and subtype are then FFmpeg's names ("MOV", "AAC").
        ratio: its rate by that of the file that the rest is of.
        track: the number from 1 of the sound track that it is, where one was asked for.
    """

    sample_rate: int
    channels: int
    samples: int
    format: str = "WAV"
    subtype: str = "PCM_16"
    metadata: Mapping[str, str] = field(default_factory=dict)
    endian: Endian = "FILE"
    missing: int = 0
    notes: tuple[str, ...] = ()
    media: bool = False
    ratio: float = 1.0
    track: int | None = None

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate

    def at(self, rate: int) -> AudioInfo:
        """Of the same recording at another rate, in Hz."""
        ratio = rate / self.sample_rate
        samples, missing = (round(count * ratio) for count in (self.samples, self.missing))
        return replace(self, sample_rate=rate, samples=samples, missing=missing, ratio=self.ratio * ratio)


def notes_on(info: AudioInfo, dropped: Sequence[str], target: Path | None = None) -> tuple[str, ...]:
    """What there is to say about a copy of a file at `target`: what is odd about the file, samples that it lacks, what
    the copy does not have, and a format or coding that the target's name does not tell."""
    notes = list(info.notes)
    if info.missing:
        missing = info.missing / info.sample_rate
        stated = info.seconds + missing
        notes.append(f"cut short: {missing:.3g} s of the {stated:.3g} s that its header states are missing")
    if dropped:
        notes.append(f"not kept: {', '.join(dropped)}")
    if target is None:
        return tuple(notes)
    format, subtype = target_coding(target, info)
    if format == "RF64" != info.format and target.suffix.lower() != ".rf64":
        notes.append("written as RF64, since a plain WAV file ends at 4 GB")
    if subtype != info.subtype and format in (info.format, "RF64") and _drowns(info):
        notes.append(f"written as {subtype}: {info.subtype} has noise in all of the band that a higher rate has")
    return tuple(notes)


def _drowns(info: AudioInfo) -> bool:
    """Whether a recording is brought to a higher rate, and its coding has noise in all of the band that it gets."""
    return info.ratio > 1 and info.subtype not in _FULL_BAND and not info.media


def written_name(name: Path) -> Path:
    """The name of the copy of a file of this name: its own, with .wav behind a suffix that is read and not written."""
    suffix = name.suffix.lower()
    return name.with_name(f"{name.name}.wav") if suffix in FOREIGN_SUFFIXES - CONTAINERS.keys() else name


def refuse_suffix(path: Path, source: Path | None = None) -> None:
    """Refuse a name whose suffix promises a format that is not written; that of the source is no promise.

    Raises:
        DataError: it does.
    """
    suffix = path.suffix.lower()
    if suffix in CONTAINERS or not suffix or suffix in _FORMATS:
        return
    own = source is not None and source.suffix.lower() == suffix
    if suffix in FOREIGN_SUFFIXES or not own:
        raise DataError(
            f"{path}: {suffix} files cannot be written; choose a name that ends in one of "
            f"{', '.join(AUDIO_SUFFIXES)}, {', '.join(CONTAINERS)}"
        )


def target_coding(path: str | os.PathLike[str], info: AudioInfo, wav_limit: int | None = None) -> tuple[str, str]:
    """Format and subtype that `path` gets: the format that its suffix names, with the subtype of `info` or the nearest
    that the format has.

    Args:
        path: the file to write.
        info: of the recording.
        wav_limit: bytes of samples beyond which WAV becomes RF64 [`WAV_LIMIT`].

    Raises:
        DataError: a format that libsndfile does not write, or that cannot hold as much.
    """
    suffix = Path(path).suffix.lower()
    if suffix in CONTAINERS:
        container, coding = CONTAINERS[suffix], info.subtype.split("_")[0]
        is_kept = coding in container.codings and (info.media or coding != "PCM")  # WAV to a video's is to be small
        return container.muxer.upper(), info.subtype if is_kept else container.codings[0]
    format = _FORMATS.get(suffix, "WAV" if info.media else info.format)
    if format == "SD2":
        raise DataError(f"{path}: SD2 has its rate in a second file and is not written; choose a name ending in .wav")
    if format == "WAV" and info.format in _WAV_KINDS:
        format = info.format
    subtype = info.subtype
    if suffix == ".opus":
        subtype = "OPUS"
    elif format == "MP3":
        subtype = "MPEG_LAYER_III"
    elif (
        info.media
        or subtype in _UNWRITTEN
        or (_drowns(info) and format != "RAW")  # bare samples cannot tell that they are others
        or not soundfile.check_format(format, subtype)
        or (format != info.format and subtype not in _LINEAR)
    ):
        subtype = "PCM_24" if is_fine(info) else "PCM_16"
        if not soundfile.check_format(format, subtype):
            subtype = soundfile.default_subtype(format) or ""
        if not soundfile.check_format(format, subtype):
            raise DataError(f"{path}: libsndfile does not write {format}; choose a name that ends in .wav or .flac")
    return _within_limits(Path(path), format, subtype, info, WAV_LIMIT if wav_limit is None else wav_limit), subtype


def ceiling(path: str | os.PathLike[str], subtype: str) -> float:
    """The amplitude, of a full scale of 1, at which samples of a target of this coding have to be cut off; infinite
    where they need not be.

    libsndfile does so for linear codings alone; in µ-law, A-law and ADPCM what is beyond full scale wraps around, in
    some at full scale itself, and in G.72x, whose decoders overshoot, from some tenth below it on.
    """
    if Path(path).suffix.lower() in CONTAINERS or subtype in _WHOLE:
        return 1.0
    if subtype in _BEYOND_FULL_SCALE:
        return math.inf
    return 0.9 if subtype.startswith("G72") else 1 - 2**-15


def is_fine(info: AudioInfo) -> bool:
    """Whether the coding has more than 16 bits, and none of them is lost."""
    return info.subtype in _FINE or (info.media and any(bits in info.subtype for bits in ("24", "32", "64")))


def _within_limits(path: Path, format: str, subtype: str, info: AudioInfo, limit: int) -> str:
    """The format, or RF64 in its place where a WAV file would be too long."""
    size = info.samples * info.channels * {"PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}.get(subtype, 2)
    if format in ("WAV", "WAVEX") and size > limit and soundfile.check_format("RF64", subtype):
        return "RF64"
    if format == "AIFF" and size > limit and subtype in _LINEAR:
        raise DataError(
            f"{path} would have {size / 1e9:.1f} GB, and AIFF ends at 4 GB; choose a name that ends in .wav"
        )
    return format


def coded_rate(subtype: str, sample_rate: int) -> int:
    """The rate, in Hz, at which a coding has a recording at this one: its own, or of codings that have few the next."""
    rates = _CODED_RATES.get(subtype, (sample_rate,))
    return next((rate for rate in rates if rate >= sample_rate), rates[-1])


def told_rate(subtype: str, sample_rate: int) -> tuple[str, ...]:
    """What a copy in this coding does not keep of a recording's rate, in words."""
    rate, name = coded_rate(subtype, sample_rate), {"MPEG_LAYER_III": "MP3"}.get(subtype, subtype.capitalize())
    return () if rate == sample_rate else (f"the rate of {sample_rate} Hz ({rate} Hz in {name})",)


def room_for(rate: Rate, info: AudioInfo) -> Rate:
    """The bit rate of a lossy file, as much higher as its rate in Hz is above its source's: MP3 would leave out all
    above 8 kHz at the bit rate of a call, and at its quality."""
    if info.ratio <= 1:
        return rate
    most = _MOST_RAISED * info.channels
    return replace(rate, bits=max(rate.bits, min(round(rate.bits * info.ratio), most)), quality=None)


def encoder(subtype: str, info: AudioInfo, rate: Rate | None) -> dict[str, str | float]:
    """What soundfile's encoder is told, so that a lossy file gets this bit rate, or this quality at a variable one."""
    if rate is None:
        return {}
    if subtype == "MPEG_LAYER_III" and rate.quality is not None:
        return {"compression_level": min(rate.quality / 10, 0.99), "bitrate_mode": "VARIABLE"}
    if subtype == "MPEG_LAYER_III":
        level = _level(rate.bits, *_mp3_range(info.sample_rate))
        constant = rate.constant and _tells_its_delay(rate.bits, info)
        return {"compression_level": min(level, 0.99), "bitrate_mode": "CONSTANT" if constant else "AVERAGE"}
    if subtype == "OPUS":
        return {"compression_level": _level(rate.bits, 6000 * info.channels, 256_000 * info.channels)}
    return {"compression_level": _vorbis_level(info.sample_rate, info.channels, rate.bits)}


def encoder_gain(info: AudioInfo, settings: Mapping[str, str | float]) -> float:
    """What samples are multiplied by so that a file of these settings of soundfile's encoder has their level: at most
    constant and average bit rates of MP3 LAME lowers it by up to half a decibel."""
    if settings.get("bitrate_mode", "VARIABLE") == "VARIABLE":
        return 1.0
    return _mp3_gain(info.sample_rate, info.channels, *sorted(settings.items()))


@lru_cache(maxsize=256)
def _mp3_gain(sample_rate: int, channels: int, *settings: tuple[str, str | float]) -> float:
    """`encoder_gain`, found by trying on a tone: LAME alone knows its table."""
    tone = np.sin(np.arange(sample_rate) * (2000 * np.pi / sample_rate), dtype=np.float32)[:, None] / 4
    made = io.BytesIO()
    with soundfile.SoundFile(
        made, "w", sample_rate, channels, "MPEG_LAYER_III", format="MP3", **dict(settings)
    ) as file:
        file.write(np.repeat(tone, channels, axis=1))
    made.seek(0)
    middle = np.s_[len(tone) // 4 : 3 * len(tone) // 4]
    found = soundfile.read(made, dtype="float32", always_2d=True)[0][middle]
    return float(np.sqrt(np.square(tone[middle]).mean() / np.square(found).mean()))


def _tells_its_delay(bits: int, info: AudioInfo) -> bool:
    """Whether an MP3 frame of this constant rate has room for LAME's header, from which a reader knows how long the
    sound is, and how much later it begins."""
    slots, beside = (144, (21, 36)) if info.sample_rate >= 32_000 else (72, (13, 21))  # of one channel, and of two
    return slots * bits / info.sample_rate >= _MP3_HEADER + beside[info.channels > 1]


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
