"""Audio files, whatever libsndfile reads: whole or in blocks, with what a copy has to keep; and resampling (soxr)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr

from shared.errors import ConfigError, DataError
from shared.io import atomic_path

BLOCK_SECONDS = 10.0
"""How much of a long recording is read or written at once."""

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

_WAV_KINDS = ("WAV", "WAVEX", "RF64")
_FINE = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32")
_LINEAR = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
_WRITTEN_AT_ONCE = 1 << 16
_WAV_LIMIT = 4_000_000_000

Quality = Literal["HQ", "VHQ"]


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
    """

    sample_rate: int
    channels: int
    samples: int
    format: str = "WAV"
    subtype: str = "PCM_16"
    metadata: Mapping[str, str] = field(default_factory=dict)
    endian: str = "FILE"

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


@dataclass(frozen=True)
class Audio:
    """A recording in memory.

    Attributes:
        waveform: float32 (channels, samples); full scale is ±1.
        sample_rate: Hz.
        format, subtype, metadata, endian: as in `AudioInfo`.
    """

    waveform: np.ndarray
    sample_rate: int
    format: str = "WAV"
    subtype: str = "PCM_16"
    metadata: Mapping[str, str] = field(default_factory=dict)
    endian: str = "FILE"

    @property
    def info(self) -> AudioInfo:
        """Everything but the samples."""
        channels, samples = self.waveform.shape
        return AudioInfo(
            self.sample_rate, channels, samples, self.format, self.subtype, self.metadata, endian=self.endian
        )


class AudioReader:
    """A file that is open for reading, from its start to its end. Made by `open_audio`."""

    def __init__(self, path: Path, file: soundfile.SoundFile):
        self._path, self._file, self._read = path, file, 0
        self.info = AudioInfo(
            file.samplerate,
            file.channels,
            file.frames,
            file.format,
            file.subtype,
            {name: value for name, value in file.copy_metadata().items() if value},
            file.endian,
        )

    def read(self, samples: int) -> np.ndarray:
        """The next samples, float32 (channels, n): fewer than asked for only at the end.

        Raises:
            DataError: the file is damaged or ends before the length that it states.
        """
        wanted = min(samples, self.info.samples - self._read)
        try:
            block = self._file.read(wanted, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise self._damaged() from error
        self._read += len(block)
        if len(block) < wanted:
            raise self._damaged()
        return np.ascontiguousarray(block.T)

    def blocks(self, samples: int | None = None) -> Iterator[np.ndarray]:
        """All that is left, in blocks of this many samples [10 s]."""
        samples = samples or max(1, int(BLOCK_SECONDS * self.info.sample_rate))
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
        path: any file that libsndfile reads; its content decides, not its suffix, save for .raw.
        raw: what a .raw file holds.

    Raises:
        DataError: no such file, not audio, without samples; or .raw without `raw`.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; name an audio file")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); record or copy it again")
    options: dict[str, int | str] = {}
    if path.suffix.lower() == ".raw":
        if raw is None:
            raise DataError(f"{path} holds bare samples and does not tell its rate; give it (RawFormat, --raw-rate)")
        options = {"samplerate": raw.sample_rate, "channels": raw.channels, "format": "RAW"}
        options |= {"subtype": raw.subtype, "endian": raw.endian}
    try:
        file = soundfile.SoundFile(path, **options)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error
    with file:
        if file.frames == 0:
            raise DataError(f"{path} holds no samples; record or copy it again")
        yield AudioReader(path, file)


def _unreadable(path: Path, error: Exception) -> DataError:
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
        waveform = reader.read(info.samples)
    return Audio(waveform, info.sample_rate, info.format, info.subtype, info.metadata, info.endian)


class AudioWriter:
    """A file that is open for writing. Made by `create_audio`."""

    def __init__(self, path: Path, file: soundfile.SoundFile):
        self._path, self._file = path, file

    def write(self, block: np.ndarray) -> None:
        """Append samples (channels, n); what is beyond ±1 is clipped where the coding has no room for it.

        Raises:
            DataError: the disk is full or cannot be written.
        """
        try:
            for start in range(0, block.shape[1], _WRITTEN_AT_ONCE):  # encoders may fail on very long blocks
                self._file.write(np.ascontiguousarray(block[:, start : start + _WRITTEN_AT_ONCE].T))
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise unwritable(self._path, "its disk is full, or the file may not grow") from error

    def close(self) -> None:
        try:
            self._file.close()
        except soundfile.LibsndfileError as error:
            raise unwritable(self._path, "its disk is full, or the file may not grow") from error


def unwritable(path: str | os.PathLike[str], why: str) -> DataError:
    """The error of a target that cannot be written."""
    return DataError(f"{path} cannot be written ({why}); free some space, or choose another folder")


def refuse_same(source: Path, target: Path) -> None:
    """Refuse to write a file onto the one that it is made from.

    Raises:
        DataError: they are the same file.
    """
    if target.exists() and source.exists() and os.path.samefile(source, target):
        raise DataError(f"{target} is the noisy file itself; choose another name or folder for the enhanced one")


@contextlib.contextmanager
def create_audio(path: str | os.PathLike[str], info: AudioInfo) -> Iterator[AudioWriter]:
    """Write a file in blocks; it appears at `path` when all is written, or not at all.

    Args:
        path: where; its suffix decides the format, and `info` where the suffix says nothing.
        info: rate, channels, coding and metadata to keep. Where the format lacks the coding, the nearest that it has
            is taken; metadata that it cannot hold is left out.

    Raises:
        DataError: the format cannot hold the rate or the channels, or the target cannot be written.
    """
    path = Path(path)
    format, subtype = target_coding(path, info)
    try:
        with atomic_path(path) as temporary:
            try:
                file = soundfile.SoundFile(
                    temporary, "w", info.sample_rate, info.channels, subtype, _endian(format, subtype, info), format
                )
            except (soundfile.LibsndfileError, ValueError) as error:
                raise DataError(
                    f"{path}: {format} ({subtype}) cannot hold {info.channels} channels at {info.sample_rate} Hz; "
                    "choose a name that ends in .wav or .flac"
                ) from error
            for name, value in info.metadata.items():
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
    except OSError as error:
        raise unwritable(path, error.strerror or str(error)) from error


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


def _endian(format: str, subtype: str, info: AudioInfo) -> str:
    return info.endian if soundfile.check_format(format, subtype, info.endian) else "FILE"


def write_audio(path: str | os.PathLike[str], audio: Audio) -> None:
    """Write a recording; raises as `create_audio`."""
    with create_audio(path, audio.info) as writer:
        writer.write(audio.waveform)


def resample(
    waveform: np.ndarray, from_rate: int, to_rate: int, *, length: int | None = None, quality: Quality = "VHQ"
) -> np.ndarray:
    """Band-limited resampling along the last axis, without delay (soxr).

    Args:
        waveform: (..., samples), float32 or float64.
        from_rate, to_rate: Hz.
        length: samples of the result, cut or continued by zeros; left out: what soxr returns, samples · to / from
            rounded.
        quality: of the filter: 20 or 28 bits.

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
        lines = [soxr.resample(line, from_rate, to_rate, quality=quality) for line in flat]
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
        quality: of the filter.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int, quality: Quality = "VHQ"):
        self._channels = channels
        self._stream = (
            None
            if from_rate == to_rate
            else soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality=quality)
        )

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
