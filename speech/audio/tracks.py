"""The sound tracks of a video or another container: which there are, and which one is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.errors import DataError


def chosen(path: Path, container: Any, track: int | None) -> Any:
    """A sound track of an open file of FFmpeg's, by its number from 1; None: the first.

    Raises:
        DataError: there is none of this number, or none at all.
    """
    tracks = container.streams.audio
    if not tracks:
        kinds = sorted({stream.type for stream in container.streams}) or ["none"]
        raise DataError(f"{path} holds no sound (streams: {', '.join(kinds)}); name a recording")
    if track is not None and not 1 <= track <= len(tracks):
        raise DataError(f"{path} has no sound track {track}, but {told(container)}; choose one of these")
    return tracks[(track or 1) - 1]


def refuse_track(path: Path, track: int | None) -> None:
    """Refuse another track than the first, of a file that has one.

    Raises:
        DataError: it is another.
    """
    if track not in (None, 1):
        raise DataError(f"{path} has no sound track {track}, but one alone; leave the track out")


def told(container: Any) -> str:
    """The sound tracks of an open file, in words: number, language, title, channels, rate and coding of each."""
    return "; ".join(f"{number}: {_told(stream)}" for number, stream in enumerate(container.streams.audio, 1))


def _told(stream: Any) -> str:
    said = [stream.metadata[name] for name in ("language", "title") if stream.metadata.get(name, "und") != "und"]
    if stream.codec_context is None:
        return ", ".join([*said, "in a coding that FFmpeg does not know"])
    name = stream.codec_context.codec.canonical_name.upper()
    return ", ".join([*said, stream.layout.name, f"{stream.rate} Hz", name])
