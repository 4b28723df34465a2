"""Sound that libsndfile does not read, decoded by FFmpeg as PyAV brings it (the extra "media"): M4A, AAC, WebM, WMA, …,
and the sound of videos.

What such a file holds is known only when it was decoded, so that it is decoded once more than others, in blocks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from shared.errors import DataError
from shared.optional import needed
from speech.audio.chunks import chunks_of
from speech.audio.coding import FOREIGN_SUFFIXES, AudioInfo
from speech.audio.edit_lists import played
from speech.audio.errors import NoSamplesError
from speech.audio.pcm import zeroed
from speech.audio.tracks import chosen, told

_MAGIC = (b"\x1aE\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"#!AMR", b"FLV\1", b"MAC ", b"wvpk", b"TTA1", b"caff")
"""What Matroska, ASF, AMR, FLV, APE, WavPack, TTA and CAF files begin with."""

_WAV_CODINGS = {0x1, 0x2, 0x3, 0x6, 0x7, 0x11, 0x14, 0x31, 0x38, 0x40, 0x55, 0x64, 0xFFFE}
"""Numbers that WAV gives the codings that libsndfile reads."""

_GAP_SECONDS = 0.1
"""A recording whose next piece is stamped later than this goes on after silence, so that it stays with its picture."""

_FRAME = 4096
"""Samples, at most, by which decoders exceed a recording: the last frame is whole."""

_TEXTS = {"track": "tracknumber"}
_KNOWN = ("title", "artist", "album", "date", "tracknumber", "genre", "comment", "copyright", "license")
_STAMPS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time", "vendor_id"}
OTHER_TRACKS = "other sound tracks"
_LOSSLESS = {"alac", "wavpack", "flac", "tta", "ape", "tak", "mlp", "truehd", "wmalossless", "shorten"}


LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""FFmpeg's names of the usual arrangements of so many channels."""


def av(what: str = "sound in M4A, MP4, WebM, AAC, WMA, AMR and others that libsndfile does not read") -> Any:
    """PyAV, loaded now.

    Raises:
        MissingPackageError: it is not installed; the message tells `what` needs it.
    """
    return needed("av", "media", what)


def is_media(path: Path) -> bool:
    """Whether a file that libsndfile refuses may be one of these, by its suffix, by how it begins, or by its coding."""
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(16)
            return head.startswith(_MAGIC) or head[4:8] == b"ftyp" or head[8:12] == b"AVI " or _is_foreign_wav(file)
    except OSError:
        return False


def _is_foreign_wav(file: BinaryIO) -> bool:
    """Whether the open file is WAV in a coding that libsndfile does not know, such as G.722."""
    for chunk in chunks_of(file):
        if chunk.name == "fmt":
            file.seek(chunk.body)
            return int.from_bytes(file.read(2), "little") not in _WAV_CODINGS
    return False


@dataclass(frozen=True)
class Survey:
    """What was found when a file was decoded from its start to its end.

    Attributes:
        info: as any file's.
        bits: a second, of the coded sound.
        start: seconds after the file's beginning at which the sound begins; below 0 before it.
        beside: what there is beside this sound, by name.
        others: kinds of the streams that are not this sound ("video", "audio", …).
    """

    info: AudioInfo
    bits: int
    start: float
    beside: frozenset[str]
    others: tuple[str, ...] = field(default=())


def survey(path: Path, track: int | None = None) -> Survey:
    """What a file holds in a sound track, by its number from 1; None: in the first, which is said where there are more.

    Raises:
        DataError: it cannot be read, holds no sound, or none of this number, is encrypted or damaged.
        MissingPackageError: PyAV is not installed.
    """
    state = path.stat()
    return _survey(path, state.st_mtime_ns, state.st_size, track)


@lru_cache(maxsize=4096)
def _survey(path: Path, _changed: int, _size: int, track: int | None) -> Survey:
    samples, bits = 0, [0]
    with opened(path, track) as (container, stream):
        pieces = _Pieces(path, container, stream, bits)
        for piece in pieces:
            samples += len(piece)
        if samples == 0:
            raise NoSamplesError(f"{path} holds no samples; record or copy it again")
        stated, exact = _stated(path, track, container, stream, pieces.rate)
        missing = 0
        if exact and 0 < samples - stated < _FRAME:
            samples = stated
        elif stated - samples > pieces.rate // 10:
            missing = stated - samples
        info = AudioInfo(
            pieces.rate,
            pieces.channels,
            samples,
            container.format.name.split(",")[0].upper(),
            _coding(stream),
            _texts(container, stream),
            missing=missing,
            notes=tuple(_notes(container, track, pieces)),
            media=True,
            track=track,
        )
        others = tuple(_kind(other) for other in container.streams if other.index != stream.index)
        return Survey(
            info, round(8 * bits[0] * pieces.rate / samples), pieces.start, _beside(container, stream), others
        )


def _stated(path: Path, track: int | None, container: Any, stream: Any, rate: int) -> tuple[int, bool]:
    """Samples that the file says it has, 0 where it says no such thing, and whether it knows them exactly."""
    if "mp4" in container.format.name and stream.duration:
        late = played(path, track or 1) if stream.start_time else None
        return round((late or stream.duration) * stream.time_base * rate), True
    if "matroska" in container.format.name and container.duration and len(container.streams) == 1:
        return round((container.duration - max(0, container.start_time or 0)) / 1e6 * rate), False  # it counts from 0
    return 0, False  # the length is an estimate, or the video's


def _notes(container: Any, track: int | None, pieces: _Pieces) -> Iterator[str]:
    count = len(container.streams.audio)
    if count > 1 and track is None:
        yield f"the file has {count} sound tracks ({told(container)}); the first was taken: --track 2 takes the second"
    if pieces.silent:
        yield f"{pieces.silent / pieces.rate:.3g} s for which the file has no sound are silence"
    if pieces.left_out:
        yield f"{pieces.left_out} of its packets are not whole, and were left out"


def _coding(stream: Any) -> str:
    """Its name, as "AAC"; with the bits of lossless ones that have more than 16, as "ALAC_24"."""
    name = str(stream.codec_context.codec.canonical_name)
    fine = name in _LOSSLESS and stream.codec_context.format is not None and stream.codec_context.format.bits > 16
    return name.upper() + ("_24" if fine else "")


def _kind(stream: Any) -> str:
    disposition = av().stream.Disposition
    if stream.type == "video" and stream.disposition & disposition.attached_pic:
        return "cover art"
    return str(stream.type)


def _tags(container: Any, stream: Any) -> dict[str, str]:
    """All texts of a file, by their names in small letters; those of the stream in Ogg's way too."""
    found = {**stream.metadata, **container.metadata}
    return {name.lower(): text for name, text in found.items() if text and name.lower() not in _STAMPS}


def _texts(container: Any, stream: Any) -> dict[str, str]:
    """Those that libsndfile knows, by its names."""
    named = {_TEXTS.get(name, name): text for name, text in _tags(container, stream).items()}
    return {name: named[name] for name in _KNOWN if name in named}


def names_in(path: Path, track: int | None = None) -> frozenset[str]:
    """What there is beside a sound track of a file, by name; raises as `survey`."""
    with opened(path, track) as (container, stream):
        return _beside(container, stream)


def _beside(container: Any, stream: Any) -> frozenset[str]:
    names = {_TEXTS.get(name, name) for name in _tags(container, stream)} - {"language", "handler_name"}
    names |= {_kind(other) for other in container.streams if other.type != "audio"}
    names |= {OTHER_TRACKS} if len(container.streams.audio) > 1 else set()
    if container.chapters():  # whose titles are a stream of data in MP4
        names = (names - {"data"}) | {"chapters"}
    return frozenset(names)


def _lenient(version: str) -> dict[str, str]:
    """What lets PyAV open files whose texts are not UTF-8; from its version 19 on it does without being told."""
    return {"metadata_errors": "replace"} if int(version.split(".")[0]) < 19 else {}


@contextlib.contextmanager
def opened(path: Path, track: int | None = None) -> Iterator[tuple[Any, Any]]:
    """The open file, and the stream of a sound track; raises as `survey`."""
    library = av()
    try:
        container = library.open(os.fsdecode(path), **_lenient(library.__version__))
    except (library.error.FFmpegError, ValueError) as error:
        raise _unreadable(path, error) from error
    with container:
        stream = chosen(path, container, track)
        if stream.codec_context is None:
            raise DataError(
                f"{path}: its sound is in a coding that FFmpeg does not know, or encrypted; convert it to WAV"
            )
        if _tag(stream) == "drms":
            raise _encrypted(path)
        yield container, stream


def _tag(stream: Any) -> str | None:
    """The four letters that MP4 gives a coding; None for the numbers of AVI, ASF and WAV, which PyAV takes for text."""
    try:
        return str(stream.codec_context.codec_tag)
    except UnicodeDecodeError:
        return None


def _unreadable(path: Path, error: Exception) -> DataError:
    if not os.access(path, os.R_OK):
        return DataError(f"{path} may not be read; change its permissions")
    why = (getattr(error, "strerror", None) or str(error)).rstrip(".")
    return DataError(
        f"{path} is not audio that libsndfile or FFmpeg reads, or is damaged ({why}); convert it to WAV or FLAC"
    )


def _encrypted(path: Path) -> DataError:
    return DataError(f"{path} is encrypted; enhance a copy without protection")


class _Pieces:
    """The sound of a stream, in pieces (n, channels) of float32 as it is decoded; known of it once the first is there:

    Attributes:
        rate: Hz.
        channels: how many.
        start: seconds, of the first piece.
        silent: samples of silence that were put in so far.
        left_out: packets that are not whole.
    """

    def __init__(self, path: Path, container: Any, stream: Any, bits: list[int]):
        self._path, self._container, self._stream, self._bytes = path, container, stream, bits
        self.rate = self.channels = self.silent = self.left_out = 0
        self.start, self._made = 0.0, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        converter, is_a_law = None, self._stream.codec_context.name == "pcm_alaw"
        for frame in self._frames():
            if converter is None:
                self.rate, self.channels = frame.rate, frame.layout.nb_channels
                self.start = float(frame.time or 0)
                converter = av().AudioResampler(format="flt", layout=frame.layout, rate=frame.rate)
            yield from self._silence_before(frame)
            for converted in self._converted(converter, frame):
                piece = converted.to_ndarray().reshape(-1, self.channels)
                self._made += len(piece)
                yield zeroed(piece) if is_a_law else piece

    def _converted(self, converter: Any, frame: Any) -> list[Any]:
        try:
            frames: list[Any] = converter.resample(frame)
        except ValueError as error:
            raise DataError(
                f"{self._path} changes its rate or channels after {self._seconds():.1f} s; convert it to WAV"
            ) from error
        return frames

    def _frames(self) -> Iterator[Any]:
        """Decoded frames. A last packet that cannot be decoded is that of a file which was cut short."""
        failed: Exception | None = None
        for packet in self._packets():
            if failed is not None and packet.size:
                raise self._damaged(failed) from failed
            if packet.has_sidedata("encryption_info"):
                raise _encrypted(self._path)
            self._bytes[0] += packet.size
            if packet.is_corrupt:
                self.left_out += 1
                continue
            try:
                frames = packet.decode()
            except av().error.EOFError:
                continue
            except av().error.FFmpegError as error:
                failed = error
                continue
            yield from frames
        if failed is not None:
            if self._made == 0:
                raise self._damaged(failed) from failed
            self.left_out += 1

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._stream)
        except av().error.FFmpegError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DataError:
        return DataError(
            f"{self._path} is damaged: decoding stops after {self._seconds():.1f} s "
            f"({getattr(error, 'strerror', None) or error}); copy or record it again"
        )

    def _seconds(self) -> float:
        return self._made / self.rate if self.rate else 0.0

    def _silence_before(self, frame: Any) -> Iterator[np.ndarray]:
        """What is missing between the sound so far and a frame, by their times."""
        if frame.time is None:
            return
        late = frame.time - self.start - self._seconds()
        whole = self._container.duration
        if late <= _GAP_SECONDS or whole is None or frame.time > whole / 1e6 + 1:
            return
        missing = round(late * self.rate)
        self.silent += missing
        self._made += missing
        while missing > 0:
            count = min(missing, self.rate)
            yield np.zeros((count, self.channels), np.float32)
            missing -= count


class MediaSound:
    """The sound of an open file, read as soundfile reads."""

    def __init__(self, pieces: Iterator[np.ndarray], info: AudioInfo):
        self._pieces, self._left = pieces, np.zeros((0, info.channels), np.float32)

    def read(self, samples: int) -> np.ndarray:
        """The next samples (n, channels), fewer at the end."""
        parts, count = [self._left], len(self._left)
        while count < samples and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            count += len(piece)
        joined = np.concatenate(parts)
        self._left = joined[samples:]
        return joined[:samples]


@contextlib.contextmanager
def open_media(path: Path, track: int | None = None) -> Iterator[tuple[MediaSound, AudioInfo]]:
    """Open a sound track of a file for reading from its start; raises as `survey`."""
    info = survey(path, track).info
    with opened(path, track) as (container, stream):
        yield MediaSound(iter(_Pieces(path, container, stream, [0])), info), info
