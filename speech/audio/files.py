"""Audio files, whatever libsndfile or FFmpeg reads: whole or in blocks, what copies keep; and resampling (soxr)."""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from shared.errors import ConfigError, DataError
from shared.files.io import atomic_path
from speech.audio.chunks import Lengths, Spliced, beyond_its_header, lengths, state_length, unclosed
from speech.audio.coding import CONTAINERS, AudioInfo, RawFormat, encoder, refuse_suffix, target_coding
from speech.audio.flac import unstated
from speech.audio.media import is_media, names_in, open_media, survey
from speech.audio.muxing import MediaFile, create_media
from speech.audio.paths import sound_path
from speech.audio.tags import bit_rate, carry_tags, missing_names, names_beside_sound, same_tags

BLOCK_SECONDS = 10.0
"""How much of a long recording is read or written at once."""

_WRITTEN_AT_ONCE = 1 << 16
_READ_AT_ONCE = 1 << 24
_RATES = (1000, 1_000_000)
_WITHOUT_LENGTH = 1 << 62
_CHUNKED = ("WAV", "WAVEX", "RF64", "W64", "AIFF")


@dataclass(frozen=True)
class Audio:
    """A recording in memory.

    Attributes:
        waveform: float32 (channels, samples); full scale is ±1.
        sample_rate: Hz.
        format, subtype, metadata, endian, media: as in `AudioInfo`.
    """

    waveform: np.ndarray
    sample_rate: int
    format: str = "WAV"
    subtype: str = "PCM_16"
    metadata: Mapping[str, str] = field(default_factory=dict)
    endian: str = "FILE"
    media: bool = False

    @property
    def info(self) -> AudioInfo:
        """Everything but the samples."""
        channels, samples = self.waveform.shape
        return AudioInfo(
            self.sample_rate,
            channels,
            samples,
            self.format,
            self.subtype,
            self.metadata,
            endian=self.endian,
            media=self.media,
        )


Sound = Callable[[int], np.ndarray]
"""Reads the next so many samples (n, channels) of float32, fewer at the end."""


class AudioReader:
    """A file that is open for reading, from its start to its end. Made by `open_audio`."""

    def __init__(self, path: Path, sound: Sound, info: AudioInfo):
        self._path, self._sound, self._read = path, sound, 0
        self.info = info

    def read(self, samples: int) -> np.ndarray:
        """The next samples, float32 (channels, n): fewer than asked for only at the end.

        Raises:
            DataError: the file is damaged or ends before the length that it states.
        """
        wanted = min(samples, self.info.samples - self._read)
        try:
            block = self._sound(wanted)
        except soundfile.LibsndfileError as error:
            raise self._damaged() from error
        self._read += len(block)
        if len(block) < wanted:
            raise self._damaged()
        return np.ascontiguousarray(block.T)

    def blocks(self, samples: int | None = None) -> Iterator[np.ndarray]:
        """All that is left, in blocks of this many samples [10 s]."""
        most = max(1, _READ_AT_ONCE // self.info.channels)
        samples = samples or min(most, int(BLOCK_SECONDS * self.info.sample_rate))
        while self._read < self.info.samples:
            yield self.read(samples)

    def _damaged(self) -> DataError:
        return DataError(
            f"{self._path} is damaged or cut short: it states {self.info.samples} samples, and reading stops after "
            f"{self._read}; copy or record it again"
        )


@contextlib.contextmanager
def open_audio(path: str | os.PathLike[str], raw: RawFormat | None = None) -> Iterator[AudioReader]:
    """Open a file for reading in blocks.

    Args:
        path: any file that libsndfile reads, or FFmpeg (`speech.audio.media`); its content decides, not its suffix,
            save for .raw.
        raw: what a .raw file holds.

    Raises:
        DataError: no such file, not audio, without samples, of an impossible rate; or .raw without `raw`.
        MissingPackageError: a file that only FFmpeg reads, without the extra "media".
    """
    path = Path(path)
    if not os.path.isfile(path):  # False for what no file system takes as a name
        there = os.path.exists(path)
        what = "is a folder" if os.path.isdir(path) else "is no regular file" if there else "no such file"
        raise DataError(f"{path}: {what}; name an audio file")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); record or copy it again")
    options: dict[str, Any] = {}
    if path.suffix.lower() == ".raw":
        if raw is None:
            raise DataError(f"{path} holds bare samples and does not tell its rate; give it (RawFormat, --raw-rate)")
        options = {"samplerate": raw.sample_rate, "channels": raw.channels, "format": "RAW"}
        options |= {"subtype": raw.subtype, "endian": raw.endian}
    with contextlib.ExitStack() as stack:
        try:
            file = _sound_file(stack, path, options)
        except (soundfile.LibsndfileError, ValueError, TypeError) as error:
            if not is_media(path):
                raise unreadable(path, error) from error
            sound, info = stack.enter_context(open_media(path))
            yield AudioReader(path, sound.read, _with_possible_rate(path, info))
            return
        if file.frames == 0:
            raise DataError(f"{path} holds no samples; record or copy it again")
        if file.frames >= _WITHOUT_LENGTH:
            raise DataError(
                f"{path} does not state its length, nor does it end as it should; it may be cut short: copy it again"
            )
        known = file.format in _CHUNKED
        length = lengths(path, file.subtype, file.frames) if known else Lengths(file.frames)
        read = functools.partial(file.read, dtype="float32", always_2d=True)
        yield AudioReader(path, read, _with_possible_rate(path, _info(file, length)))


def _sound_file(stack: contextlib.ExitStack, path: Path, options: Mapping[str, Any]) -> soundfile.SoundFile:
    """The file as libsndfile opens it, with the length that it does not state, where it can be told."""
    file = stack.enter_context(soundfile.SoundFile(sound_path(path), **options))
    longer = beyond_its_header(path) if file.format in ("WAV", "WAVEX") else None
    if longer is not None:
        head, start = longer
        return stack.enter_context(soundfile.SoundFile(stack.enter_context(Spliced(head, path, start))))
    if file.frames == 0 or file.frames >= _WITHOUT_LENGTH:
        patches = unclosed(path) or unstated(path)
        if patches:
            patched = stack.enter_context(_patched(path, patches))
            file = stack.enter_context(soundfile.SoundFile(patched, **options))
    return file


def _info(file: soundfile.SoundFile, length: Lengths) -> AudioInfo:
    metadata = {name: value for name, value in file.copy_metadata().items() if value}
    return AudioInfo(
        file.samplerate, file.channels, length.samples, file.format, file.subtype, metadata, file.endian, length.missing
    )


def _with_possible_rate(path: Path, info: AudioInfo) -> AudioInfo:
    if not _RATES[0] <= info.sample_rate <= _RATES[1]:
        raise DataError(
            f"{path} states a rate of {info.sample_rate} Hz, which is not between {_RATES[0]} and {_RATES[1]}; "
            "its header may be damaged: copy or convert it again"
        )
    return info


def _patched(path: Path, patches: Mapping[int, bytes]) -> mmap.mmap:
    """The file in memory that is its own, with other bytes in these places; the one on disk stays as it is."""
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    for place, patch in patches.items():
        content[place : place + len(patch)] = patch
    return content


def unreadable(path: Path, error: Exception) -> DataError:
    """The error of a file that libsndfile refuses."""
    if not os.access(path, os.R_OK):
        return DataError(f"{path} may not be read; change its permissions")
    why = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return DataError(
        f"{path} is not audio that libsndfile reads, or is damaged ({why.rstrip('.')}); convert it to WAV or FLAC"
    )


def audio_info(path: str | os.PathLike[str], raw: RawFormat | None = None) -> AudioInfo:
    """What the file says of itself; raises as `open_audio`."""
    with open_audio(path, raw) as reader:
        return reader.info


def read_audio(path: str | os.PathLike[str], raw: RawFormat | None = None) -> Audio:
    """Read a whole file; raises as `open_audio` and `AudioReader.read`."""
    with open_audio(path, raw) as reader:
        info = reader.info
        waveform = np.concatenate(list(reader.blocks()), axis=1)  # in blocks: a damaged header may state any length
    return Audio(waveform, info.sample_rate, info.format, info.subtype, info.metadata, info.endian, info.media)


class AudioWriter:
    """A file that is open for writing. Made by `create_audio`.

    Attributes:
        dropped: names of what the source has beside its sound and the file has not, once it is written.
    """

    def __init__(self, path: Path, file: soundfile.SoundFile | MediaFile):
        self._path, self._file = path, file
        self.written, self.dropped = 0, tuple[str, ...]()

    def write(self, block: np.ndarray) -> None:
        """Append samples (channels, n); what is beyond ±1 is clipped where the coding has no room for it.

        Raises:
            DataError: the disk is full or cannot be written.
        """
        try:
            for start in range(0, block.shape[1], _WRITTEN_AT_ONCE):  # encoders may fail on very long blocks
                self._file.write(np.ascontiguousarray(block[:, start : start + _WRITTEN_AT_ONCE].T))
            self.written += block.shape[1]
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise unwritable(self._path, "its disk is full, or the file may not grow") from error

    def close(self) -> None:
        try:
            self._file.close()
        except soundfile.LibsndfileError as error:
            raise unwritable(self._path, "its disk is full, or the file may not grow") from error


def unwritable(path: str | os.PathLike[str], why: str) -> DataError:
    """The error of a target that cannot be written."""
    return DataError(f"{path} cannot be written ({why}); free some space, or choose another name or folder")


def refuse_same(source: Path, target: Path) -> None:
    """Refuse to write a file onto the one that it is made from.

    Raises:
        DataError: they are the same file.
    """
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
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
            both formats hold them in the same way, cover art and RIFF's chunks among them, and its video where the
            format takes it; what is left out is in the writer's `dropped`.
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
    try:
        settings = encoder(subtype, info, rate)
        endian = _endian(format, subtype, info)
        file = soundfile.SoundFile(
            sound_path(temporary), "w", info.sample_rate, info.channels, subtype, endian, format, **settings
        )
    except (soundfile.LibsndfileError, ValueError) as error:
        raise DataError(
            f"{path}: {format} ({subtype}) cannot hold {info.channels} channels at {info.sample_rate} Hz; "
            "choose a name that ends in .wav or .flac"
        ) from error
    for name, value in () if copied else info.metadata.items():
        with contextlib.suppress(soundfile.LibsndfileError):
            setattr(file, name, value)
    writer = AudioWriter(path, file)
    try:
        yield writer
    except BaseException:
        with contextlib.suppress(soundfile.LibsndfileError):
            file.close()
        raise
    writer.close()
    if format in _CHUNKED:
        state_length(temporary, subtype, writer.written)
    if source is not None and info.media:
        writer.dropped = missing_names(survey(source).beside, names_beside_sound(temporary, coding))
    elif source is not None and info.format != "RAW":
        writer.dropped = carry_tags(source, temporary, of, coding)


@contextlib.contextmanager
def _created_media(
    path: Path, temporary: Path, coding: tuple[str, str], info: AudioInfo, source: Path | None
) -> Iterator[AudioWriter]:
    """A file that FFmpeg writes."""
    rate = None
    if source is not None and coding[1] == info.subtype:
        known = None if info.media else bit_rate(source, info.subtype)
        rate = survey(source).bits if info.media else None if known is None else known.bits
    with create_media(path, temporary, coding, info, source, rate) as file:
        writer = AudioWriter(path, file)
        yield writer
    if source is not None and (info.media or info.format != "RAW"):
        wanted = survey(source).beside if info.media else names_beside_sound(source, (info.format, info.subtype))
        writer.dropped = (*file.dropped, *missing_names(wanted, names_in(temporary)))


def _endian(format: str, subtype: str, info: AudioInfo) -> str:
    return info.endian if soundfile.check_format(format, subtype, info.endian) else "FILE"


def write_audio(
    path: str | os.PathLike[str], audio: Audio, source: str | os.PathLike[str] | None = None
) -> tuple[str, ...]:
    """Write a recording, and return what of `source` it does not keep; see `create_audio`."""
    with create_audio(path, audio.info, source) as writer:
        writer.write(audio.waveform)
    return writer.dropped


def resample(waveform: np.ndarray, from_rate: int, to_rate: int, *, length: int | None = None) -> np.ndarray:
    """Band-limited resampling along the last axis, without delay (soxr, at its highest quality).

    Args:
        waveform: (..., samples), float32 or float64.
        from_rate, to_rate: Hz.
        length: samples of the result, cut or continued by zeros; left out: what soxr returns, samples · to / from
            rounded.

    Raises:
        ConfigError: a rate that is not positive.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise ConfigError(f"rates {from_rate} and {to_rate} Hz: need > 0")
    result = waveform
    if from_rate != to_rate:
        if waveform.size == 0:
            return np.zeros((*waveform.shape[:-1], length or 0), waveform.dtype)
        flat = np.ascontiguousarray(waveform.reshape(-1, waveform.shape[-1]))
        lines = [soxr.resample(line, from_rate, to_rate, quality="VHQ") for line in flat]
        result = np.stack(lines).reshape(*waveform.shape[:-1], -1)
    return result if length is None else fit_length(result, length)


def fit_length(waveform: np.ndarray, length: int) -> np.ndarray:
    """Cut (..., samples), or continue it by zeros, to this length."""
    missing = length - waveform.shape[-1]
    if missing <= 0:
        return waveform[..., :length]
    return np.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(0, missing)])


class Resampler:
    """`resample` for a signal that comes in blocks: the blocks' results joined are the result of the whole.

    Args:
        from_rate, to_rate: Hz.
        channels: of the signal.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int):
        self._channels = channels
        self._stream: soxr.ResampleStream | None = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="VHQ")

    def push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """What is ready after this block (channels, n); all that is left when it is the `last`."""
        if self._stream is None:
            return block
        ready = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return np.ascontiguousarray(ready.reshape(-1, self._channels).T)

    def stream(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The resampled blocks, to the end."""
        for block in blocks:
            yield self.push(block)
        if self._stream is not None:
            yield self.push(np.zeros((self._channels, 0), np.float32), last=True)
