"""Files that FFmpeg writes (the extra "media"): the sound encoded anew, and of a source that FFmpeg reads its texts,
chapters and cover art; into a container that takes pictures its video, subtitles and other sound tracks too, packet by
packet as they are.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import DataError, counted
from speech.audio.coding import CONTAINERS, AudioInfo, coded_rate, told_rate
from speech.audio.edit_lists import skip_beginning
from speech.audio.errors import unwritable
from speech.audio.measured import holds_for_old_sound
from speech.audio.media import LAYOUTS, av, opened, survey

_ENCODERS = {"AAC": "aac", "ALAC": "alac", "OPUS": "libopus", "FLAC": "flac", "WAVPACK": "wavpack"}
_BITS_A_CHANNEL = {"AAC": (96_000, 32_000), "OPUS": (64_000, 8_000)}
"""What a channel usually gets, and at least, of lossy codings."""

_EDITED = ("MP4", "MOV", "3GP")
"""Containers that tell by an edit list when a track begins."""
_COPIED = ("video", "subtitle", "audio")
_NAMES = {"tracknumber": "track"}
_OF_SOUND = ("language", "title")
"""Texts of a stream by which players and editors tell it from others."""
_BRANDS = {".m4a": "M4A ", ".m4r": "M4A ", ".m4b": "M4B "}
"""What tells players that an MP4 file is sound alone."""


class MediaFile:
    """A file that FFmpeg writes, with soundfile's `write` and `close`. Made by `create_media`, which closes it.

    Attributes:
        dropped: what the file does not keep of the recording itself, by name.
        track: the number from 1 of the sound track that is written.
        early: samples, at the rate of the coding, that come before the sound: the encoder's delay.
    """

    def __init__(self, path: Path, container: Any, stream: Any, info: AudioInfo, start: float, copied: _Copied | None):
        self.track = container.streams.audio.index(stream) + 1
        self._path, self._container, self._stream, self._copied = path, container, stream, copied
        self._rate, self._layout = info.sample_rate, LAYOUTS[info.channels]
        self._start, self._written, self._begun, self._closed = start, 0, False, False
        self.dropped, self.early = tuple[str, ...](), 0

    def write(self, block: np.ndarray) -> None:
        """Append samples (n, channels); what is beyond ±1 is clipped."""
        flat = np.ascontiguousarray(block.clip(-1, 1), np.float32).reshape(1, -1)
        frame = av().AudioFrame.from_ndarray(flat, format="flt", layout=self._layout)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = round(self._start * self._rate) + self._written
        self._written += len(block)
        self._mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left, once."""
        if self._closed:
            return
        self._closed = True
        self._mux(self._stream.encode(None))
        if self._copied is not None:
            self._copied.up_to(None, self._container)

    def _mux(self, packets: list[Any]) -> None:
        if packets and not self._begun and packets[0].pts is not None:
            first = packets[0].pts * packets[0].time_base
            self._begun, self.early = True, max(0, round((self._start - first) * self._stream.rate))
        self._container.mux(packets)
        if self._copied is not None:  # side by side, or the muxer would hold the longer one in memory
            self._copied.up_to(self._start + self._written / self._rate, self._container)


class _Copied:
    """Packets of streams that go over as they are, in the order in which they are in their file.

    Args:
        source: the open file.
        streams: those of the new file by the index of each in the old.
    """

    def __init__(self, source: Any, streams: dict[int, Any]):
        chosen = [source.streams[index] for index in streams]
        self._packets = (packet for packet in source.demux(chosen) if packet.size)
        self._streams = streams
        self._next = next(self._packets, None)

    def up_to(self, seconds: float | None, container: Any) -> None:
        """Write those that are due before this time; None: all."""
        while (packet := self._next) is not None and (seconds is None or _due(packet) <= seconds):
            packet.stream = self._streams[packet.stream_index]
            container.mux_one(packet)
            self._next = next(self._packets, None)


def _due(packet: Any) -> float:
    """The second at which a packet is decoded; of one that does not tell, at once."""
    stamp = packet.dts if packet.dts is not None else packet.pts
    return float("-inf") if stamp is None else float(stamp * packet.time_base)


@contextlib.contextmanager
def create_media(
    path: Path, temporary: Path, coding: tuple[str, str], info: AudioInfo, source: Path | None, rate: int | None
) -> Iterator[MediaFile]:
    """Open a file for writing.

    Args:
        path: what it will be called.
        temporary: where it is written.
        coding: its format and subtype (`speech.audio.coding.target_coding`).
        info: of the recording.
        source: what the recording is made from.
        rate: bits a second of a lossy coding; None: what is usual for it.

    Raises:
        DataError: the coding or the container cannot hold this.
        MissingPackageError: PyAV is not installed.
    """
    library, (format, subtype) = av(), coding
    suffix = path.suffix.lower()
    wants_video = CONTAINERS[suffix].video
    with contextlib.ExitStack() as stack:
        old = sound = None
        if source is not None and info.media:
            old, sound = stack.enter_context(opened(source, info.track))
        try:
            options = {"movie_timescale": str(info.sample_rate)} if format in _EDITED else {}
            options |= {"brand": _BRANDS[suffix]} if suffix in _BRANDS else {}
            options |= {"fflags": "+bitexact"} if format in ("MATROSKA", "WEBM") else {}  # no numbers of chance
            new = library.open(os.fsdecode(temporary), "w", format=format.lower(), options=options)
            stack.callback(_close_quietly, new)
            before, after = _others(old, sound, new, wants_video, format == "MP4") if old is not None else ([], [])
            streams = _added(before, new)
            stream = _sound_stream(new, subtype, info, rate)
            if sound is not None:
                stream.metadata.update({name: sound.metadata[name] for name in _OF_SOUND if name in sound.metadata})
            if sound is not None and any(each.type == "audio" for each in (*before, *after)):
                stream.disposition = sound.disposition
            streams |= _added(after, new)
            copied = _Copied(old, streams) if streams else None
            _keep(new, info, old)
            new.start_encoding()
        except (library.error.FFmpegError, ValueError, KeyError) as error:
            raise _cannot_hold(path, coding, info, old if wants_video else None, error) from error
        start = survey(source, info.track).start if source is not None and wants_video and copied is not None else 0.0
        file = MediaFile(path, new, stream, info, start, copied)
        if old is not None and sound is not None and wants_video:
            file.dropped += tuple(_left_out(old, {sound.index, *streams}))
        file.dropped += told_rate(subtype, info.sample_rate)
        try:
            yield file
            file.close()
            new.close()
            if file.early and start > 0 and format in _EDITED:
                skip_beginning(temporary, file.track, file.early)
        except library.error.FFmpegError as error:
            why = getattr(error, "strerror", None) or error
            raise unwritable(path, str(why)) from error


def _close_quietly(container: Any) -> None:
    """Close a file that is thrown away, or closed already."""
    with contextlib.suppress(av().error.FFmpegError):
        container.close()


def _cannot_hold(path: Path, coding: tuple[str, str], info: AudioInfo, old: Any, error: Exception) -> DataError:
    streams = [] if old is None else old.streams.video
    video = [stream.codec_context.name for stream in streams if stream.codec_context is not None]
    pictures = f" beside video ({', '.join(video)})" if video else ""
    remedy = ".mkv or .mov, or .wav for the sound alone" if video else ".wav or .flac"
    return DataError(
        f"{path}: {coding[0]} ({coding[1]}) cannot hold {counted(info.channels, 'channel')} at {info.sample_rate} Hz"
        f"{pictures} ({getattr(error, 'strerror', None) or error}); choose a name that ends in {remedy}"
    )


def _sound_stream(container: Any, subtype: str, info: AudioInfo, rate: int | None) -> Any:
    name, _, bits = subtype.partition("_")
    deep = any(mark in bits for mark in ("24", "32", "64"))
    hertz = coded_rate(name, info.sample_rate)
    encoder = _ENCODERS.get(name, f"pcm_s{24 if deep else 16}le")
    stream = container.add_stream(encoder, rate=hertz, layout=LAYOUTS[info.channels])
    if name in _BITS_A_CHANNEL:
        usual, least = (info.channels * bits for bits in _BITS_A_CHANNEL[name])
        stream.bit_rate = max(rate or usual, least)
    elif name in _ENCODERS:
        stream.format = ("s32" if deep else "s16") + ("" if name == "FLAC" else "p")
    return stream


def _others(old: Any, sound: Any, new: Any, wants_video: bool, takes_art: bool) -> tuple[list[Any], list[Any]]:
    """The streams of the source beside the sound that the new file may take: sound tracks before it, so that each has
    the number that it had, and all else."""
    attached, found = av().stream.Disposition.attached_pic, []
    for stream in old.streams:
        art = stream.type == "video" and bool(stream.disposition & attached)
        if stream.type not in _COPIED or stream.index == sound.index or not (takes_art if art else wants_video):
            continue
        if art and not (stream.codec_context and stream.codec_context.width):
            continue  # damaged: a picture without a size, with which no file can begin
        if stream.type == "audio" and not _is_taken(stream, new):
            continue
        found.append(stream)
    before = [each for each in found if each.type == "audio" and each.index < sound.index]
    return before, [each for each in found if each not in before]


def _is_taken(track: Any, new: Any) -> bool:
    """Whether the new file has room for the coding of a sound track."""
    return bool(track.codec_context and track.codec_context.codec.canonical_name in new.supported_codecs)


def _added(others: list[Any], new: Any) -> dict[int, Any]:
    """Streams of a source added to the new file, by the index of each in the source."""
    attached, streams = av().stream.Disposition.attached_pic, dict[int, Any]()
    for stream in others:
        try:
            added = new.add_stream_from_template(stream)
        except ValueError:
            if stream.type == "video" and not stream.disposition & attached:
                raise
            continue
        added.metadata.update(stream.metadata)
        added.disposition = stream.disposition
        streams[stream.index] = added
    return streams


def _left_out(old: Any, taken: set[int]) -> Iterator[str]:
    """The sound tracks that are not in the new file, by name, unless all others are."""
    tracks = list(enumerate(old.streams.audio, 1))
    left = [number for number, track in tracks if track.index not in taken]
    if len(left) < len(tracks) - 1:
        yield from (f"sound track {number}" for number in left)


def _keep(new: Any, info: AudioInfo, old: Any) -> None:
    """Texts, and chapters."""
    new.metadata.update({_NAMES.get(name, name): text for name, text in info.metadata.items()})
    if old is not None:
        stamps = {"major_brand", "minor_version", "compatible_brands", "encoder"}
        kept = {name: text for name, text in old.metadata.items() if name.lower() not in stamps}
        new.metadata.update({name: text for name, text in kept.items() if not holds_for_old_sound(name)})
        new.set_chapters(old.chapters())
