"""Audio files as libsndfile or FFmpeg writes them, whole or in blocks, with what a copy keeps of its source."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from shared.errors import DataError, counted
from shared.files.io import atomic_path, temporary_path
from speech.audio.chunks import CHUNKED, state_length, undate
from speech.audio.coding import (
    CONTAINERS,
    AudioInfo,
    ceiling,
    encoder,
    encoder_gain,
    refuse_suffix,
    room_for,
    target_coding,
)
from speech.audio.errors import full, unwritable
from speech.audio.files import Audio
from speech.audio.media import names_in, survey
from speech.audio.muxing import MediaFile, create_media
from speech.audio.ogg import number_by_content
from speech.audio.paths import sound_path
from speech.audio.tags import Rate, bit_rate, carry_tags, missing_names, names_beside_sound, same_tags

_WRITTEN_AT_ONCE = 1 << 16

_HALF_A_STEP = 2**-8
"""Of 8 bits: libsndfile cuts samples off down to whole steps, in all formats but FLAC, so that what is nearly silent
would swing by one, beside a constant of half of one. In finer codings that is not heard."""


class AudioWriter:
    """A file that is open for writing. Made by `create_audio`.

    Attributes:
        dropped: names of what the source has beside its sound and the file has not, once it is written.
        track: the number from 1 of the sound track that is written.
    """

    def __init__(
        self,
        path: Path,
        file: soundfile.SoundFile | MediaFile,
        gain: float = 1.0,
        most: float = 1.0,
        half_step: float = 0.0,
    ):
        self._path, self._file, self._gain, self._most, self._half_step = path, file, gain, most, half_step
        self.written, self.dropped, self.track = 0, tuple[str, ...](), 1

    def write(self, block: np.ndarray) -> None:
        """Append samples (channels, n); what the coding has no room for is cut off; see `ceiling`.

        Raises:
            DataError: the disk is full or cannot be written.
        """
        try:
            if np.abs(block).max(initial=0) > self._most:
                block = block.clip(-self._most, self._most)
            for start in range(0, block.shape[1], _WRITTEN_AT_ONCE):  # encoders may fail on very long blocks
                piece = np.ascontiguousarray(block[:, start : start + _WRITTEN_AT_ONCE].T)
                piece = piece if self._gain == 1 else piece * np.float32(self._gain)
                self._file.write(piece + np.float32(self._half_step) if self._half_step else piece)
            self.written += block.shape[1]
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise full(self._path) from error

    def close(self) -> None:
        """Write what the file ends with.

        Raises:
            DataError: its disk is full, or it may not grow.
        """
        try:
            self._file.close()
        except soundfile.LibsndfileError as error:
            raise full(self._path) from error


def refuse_full(target: Path, size: int) -> None:
    """Refuse a target whose folder takes no file, or whose disk has less room than this many bytes.

    Raises:
        UnwritableError: it does.
    """
    try:
        with temporary_path(target.parent):
            room = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise unwritable(target, error.strerror or str(error)) from error
    if room < size:
        raise unwritable(target, f"its disk has room for {room} bytes, and the recording has {size}")


def refuse_same(source: Path, target: Path) -> None:
    """Refuse to write a file onto the one that it is made from.

    Raises:
        DataError: they are the same file.
    """
    is_same = os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target)
    if is_same or os.path.realpath(source) == os.path.realpath(target):  # by way of folders that are yet to be made
        raise DataError(f"{target} is the noisy file itself; choose another name or folder for the enhanced one")


@contextlib.contextmanager
def create_audio(
    path: str | os.PathLike[str],
    info: AudioInfo,
    source: str | os.PathLike[str] | None = None,
    wav_limit: int | None = None,
) -> Iterator[AudioWriter]:
    """Write a file in blocks; it appears at `path` when all is written, or not at all.

    Args:
        path: where; its suffix decides the format, and `info` where the suffix says nothing.
        info: rate, channels, coding and metadata to keep. Where the format lacks the coding, the nearest that it has
            is taken; metadata that it cannot hold is left out.
        source: the file that the samples come from. Its bit rate is kept where the coding stays, and its tags where
            both formats hold them in the same way, cover art and RIFF's chunks among them, and its video, subtitles and
            other sound tracks where the format takes video; what is left out is in the writer's `dropped`.
        wav_limit: see `target_coding`.

    Raises:
        DataError: a suffix of a format that is not written, a format that cannot hold the rate or the channels, or a
            target that cannot be written.
        MissingPackageError: a format that only FFmpeg writes, without the extra "media".
    """
    path, source = Path(path), None if source is None else Path(source)
    refuse_suffix(path, source)
    coding = target_coding(path, info, wav_limit)
    create = _created_media if path.suffix.lower() in CONTAINERS else _created
    try:
        with atomic_path(path) as temporary, create(path, temporary, coding, info, source) as writer:
            yield writer
    except OSError as error:
        raise unwritable(path, error.strerror or str(error)) from error


@contextlib.contextmanager
def _created(
    path: Path, temporary: Path, coding: tuple[str, str], info: AudioInfo, source: Path | None
) -> Iterator[AudioWriter]:
    """A file that libsndfile writes."""
    (format, subtype), of = coding, (info.format, info.subtype)
    rate = bit_rate(source, subtype) if source is not None and subtype == info.subtype else None
    copied = source is not None and not info.media and same_tags(of, coding)
    name = sound_path(temporary)
    try:
        settings = encoder(subtype, info, rate and room_for(rate, info))
        gain = encoder_gain(info, settings)
        endian = info.endian if soundfile.check_format(format, subtype, info.endian) else "FILE"
        file = soundfile.SoundFile(name, "w", info.sample_rate, info.channels, subtype, endian, format, **settings)
    except (soundfile.LibsndfileError, ValueError) as error:
        other = ", or another rate of the result (--rate 48000)" if info.channels <= 2 else ""
        raise DataError(
            f"{path}: {format} ({subtype}) cannot hold {counted(info.channels, 'channel')} at {info.sample_rate} Hz; "
            f"choose a name that ends in .wav or .flac{other}"
        ) from error
    for tag, value in () if copied else info.metadata.items():
        with contextlib.suppress(soundfile.LibsndfileError):
            setattr(file, tag, value)
    is_cut = subtype in ("PCM_U8", "PCM_S8") and format != "FLAC"
    writer = AudioWriter(path, file, gain, ceiling(path, subtype), _HALF_A_STEP if is_cut else 0.0)
    try:
        yield writer
    except BaseException:
        with contextlib.suppress(soundfile.LibsndfileError):
            file.close()
        raise
    writer.close()
    if format in CHUNKED:
        state_length(temporary, subtype, writer.written)
        undate(temporary)
    if format == "OGG":
        number_by_content(temporary)
    if source is not None and info.media:
        writer.dropped = missing_names(survey(source, info.track).beside, names_beside_sound(temporary, coding))
    elif source is not None and info.format != "RAW":
        writer.dropped = carry_tags(source, temporary, of, coding, info.ratio)


@contextlib.contextmanager
def _created_media(
    path: Path, temporary: Path, coding: tuple[str, str], info: AudioInfo, source: Path | None
) -> Iterator[AudioWriter]:
    """A file that FFmpeg writes."""
    rate = None
    if source is not None and coding[1] == info.subtype:
        bits = survey(source, info.track).bits if info.media else None
        known = bit_rate(source, info.subtype) if not info.media else None if bits is None else Rate(bits)
        rate = None if known is None else room_for(known, info).bits
    with create_media(path, temporary, coding, info, source, rate) as file:
        writer = AudioWriter(path, file)
        writer.track = file.track
        yield writer
    if source is not None and (info.media or info.format != "RAW"):
        own = info.format, info.subtype
        wanted = survey(source, info.track).beside if info.media else names_beside_sound(source, own)
        writer.dropped = (*file.dropped, *missing_names(wanted, names_in(temporary, file.track)))


def write_audio(
    path: str | os.PathLike[str], audio: Audio, source: str | os.PathLike[str] | None = None
) -> tuple[str, ...]:
    """Write a recording, and return what of `source` it does not keep; see `create_audio`."""
    with create_audio(path, audio.info, source) as writer:
        writer.write(audio.waveform)
    return writer.dropped
