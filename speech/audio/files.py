"""Audio files, whatever libsndfile or FFmpeg reads, whole or in blocks."""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import soundfile

from shared.errors import ConfigError, DataError
from speech.audio.arrays import told_left
from speech.audio.chunks import CHUNKED, Lengths, Spliced, beyond_its_header, filled_up, lengths, unclosed
from speech.audio.coding import RATES, AudioInfo, Endian, RawFormat
from speech.audio.errors import NoSamplesError
from speech.audio.flac import unstated
from speech.audio.media import is_media, open_media
from speech.audio.mp3 import frames_of, recounted
from speech.audio.ogg import is_chained, is_damaged
from speech.audio.paths import sound_path
from speech.audio.pcm import zeroed
from speech.audio.tracks import refuse_track

BLOCK_SECONDS = 10.0
"""How much of a long recording is read or written at once."""

_READ_AT_ONCE = 1 << 24
_BEYOND = 0.1
"""Seconds behind the end that a header states from which on it is said."""
_WIDTHS = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "ULAW": 1,
    "ALAW": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
}
"""Bytes of a bare sample."""
_WITHOUT_LENGTH = 1 << 62
_NO_FRAMES = 7
"""What libsndfile says, in words that would have the file be absent, of MP3 in which it finds no frame."""


@dataclass(frozen=True)
class Audio:
    """A recording in memory.

    Attributes:
        waveform: float32 (channels, samples); full scale is ±1.
        sample_rate: Hz.
        format, subtype, metadata, endian, media, ratio, track: as in `AudioInfo`.
    """

    waveform: np.ndarray
    sample_rate: int
    format: str = "WAV"
    subtype: str = "PCM_16"
    metadata: Mapping[str, str] = field(default_factory=dict)
    endian: Endian = "FILE"
    media: bool = False
    ratio: float = 1.0
    track: int | None = None

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
            ratio=self.ratio,
            track=self.track,
        )


Sound = Callable[[int], np.ndarray]
"""Reads the next so many samples (n, channels) of float32, fewer at the end."""


_ESTIMATED = dict.fromkeys(("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"), 2304)
"""Samples by which the length of a coding may be off, which is reckoned from its size: two frames."""


class AudioReader:
    """A file that is open for reading, from its start to its end. Made by `open_audio`.

    Args:
        path, sound, info: the file, what reads it, and what it says of itself.
        place: tells how many samples were read when reading failed within a block; less where that is not known.
    """

    def __init__(self, path: Path, sound: Sound, info: AudioInfo, place: Callable[[], int] = lambda: 0):
        self._path, self._sound, self._read, self._place = path, sound, 0, place
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
        missing = wanted - len(block)
        if 0 < missing <= _ESTIMATED.get(self.info.subtype, 0):
            block = np.pad(block, ((0, missing), (0, 0)))
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
        read, rate = max(self._read, self._place()), self.info.sample_rate
        return DataError(
            f"{self._path} is damaged or cut short: it states {self.info.samples} samples, and reading stops after "
            f"{read} ({read / rate:.1f} of {self.info.samples / rate:.1f} s); copy or record it again, or save what "
            "there is (ffmpeg -i FILE rest.wav)"
        )


def _no_file(path: Path) -> DataError:
    """What to say of a path at which no regular file is."""
    if os.path.exists(path):
        return DataError(f"{path} is {'a folder' if os.path.isdir(path) else 'no regular file'}; name an audio file")
    if os.path.islink(path):
        said = f"{path} links to {os.readlink(path)}, and there is no such file"
        return DataError(f"{said}; bring it there, or remove the link")
    return DataError(f"{path}: no such file; name an audio file")


@contextlib.contextmanager
def open_audio(
    path: str | os.PathLike[str], raw: RawFormat | None = None, track: int | None = None
) -> Iterator[AudioReader]:
    """Open a file for reading in blocks.

    Args:
        path: any file that libsndfile reads, or FFmpeg (`speech.audio.media`); its content decides, not its suffix,
            save for .raw.
        raw: what a .raw file holds.
        track: the sound track, by its number from 1; None: the first, which is said where there are more.

    Raises:
        DataError: no such file or track, not audio, without samples, of an impossible rate; or .raw without `raw`.
        MissingPackageError: a file that only FFmpeg reads, without the extra "media".
    """
    path = Path(path)
    if not os.path.isfile(path):  # False for what no file system takes as a name
        raise _no_file(path)
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); record or copy it again")
    try:
        path.open("rb").close()
    except PermissionError as error:
        raise DataError(f"{path} may not be read; change its permissions") from error
    options: dict[str, Any] = {}
    if path.suffix.lower() == ".raw":
        if raw is None:
            raise DataError(f"{path} holds bare samples and does not tell its rate; give it (RawFormat, --raw-rate)")
        if not isinstance(raw, RawFormat):
            raise ConfigError(f"raw={raw!r}: give what {path} holds, such as RawFormat(16000, 1, 'PCM_16')")
        options = {"samplerate": raw.sample_rate, "channels": raw.channels, "format": "RAW"}
        options |= {"subtype": raw.subtype, "endian": raw.endian}
    with contextlib.ExitStack() as stack:
        try:
            file, notes = _sound_file(stack, path, options)
        except (soundfile.LibsndfileError, ValueError, TypeError) as error:
            if not is_media(path):
                sound_path(path)  # raises where the path is too long, which is then why
                raise unreadable(path, error) from error
            sound, info = stack.enter_context(open_media(path, track))
            yield AudioReader(path, sound.read, _with_possible_rate(path, info))
            return
        refuse_track(path, track)
        if (file.format, file.subtype) == ("AIFF", "DWVW_12"):
            raise DataError(
                f"{path} is coded as DWVW at 12 bits, which libsndfile does not read; convert it to WAV or FLAC"
            )
        if file.frames == 0:
            raise NoSamplesError(f"{path} holds no samples; record or copy it again")
        if file.frames >= _WITHOUT_LENGTH:
            raise DataError(
                f"{path} does not state its length, nor does it end as it should; it may be cut short: copy it again"
            )
        known = file.format in CHUNKED
        length = lengths(path, file.subtype, file.frames) if known else _to_the_end(path, file)
        read = functools.partial(file.read, dtype="float32", always_2d=True)
        heard: Sound = (lambda samples: zeroed(read(samples))) if file.subtype == "ALAW" else read
        yield AudioReader(path, heard, _with_possible_rate(path, _info(file, length, notes)), file.tell)


def _to_the_end(path: Path, file: soundfile.SoundFile) -> Lengths:
    """The length of a file that has no chunks. The last page of an Ogg file may tell of some more samples than can be
    read of its packets, as some encoders leave it."""
    if file.format != "OGG":
        return Lengths(file.frames)
    if is_damaged(path):
        raise DataError(
            f"{path} is damaged near its end: a page is missing or has a wrong checksum; copy or record it again, or "
            "save what there is (ffmpeg -i FILE rest.wav)"
        )
    last = min(file.frames, file.samplerate)
    with soundfile.SoundFile(sound_path(path)) as another:  # seeking changes what a decoder gives next
        another.seek(file.frames - last)
        missing = last - len(another.read(last, dtype="float32"))
    return Lengths(file.frames) if missing == last else Lengths(file.frames - missing, missing)


class _Forwards(soundfile.SoundFile):
    """A file that is read from its start to its end, without what soundfile does after every block: it seeks to where
    it is. In MP3 that throws away what the frames before hold of the next ones, so that these are damaged."""

    def seekable(self) -> bool:
        """Not by soundfile."""
        return False


def _sound_file(
    stack: contextlib.ExitStack, path: Path, options: Mapping[str, Any]
) -> tuple[soundfile.SoundFile, tuple[str, ...]]:
    """The file as libsndfile opens it, with the length that it does not state, where it can be told; and what there is
    to say of its end."""
    try:
        file = stack.enter_context(_Forwards(sound_path(path), **options))
    except soundfile.LibsndfileError:
        filled = filled_up(path)
        if filled is None:
            raise
        return _spliced(stack, path, *filled), ()
    if options:
        return file, _not_whole(path, file)
    longer = beyond_its_header(path) if file.format in ("WAV", "WAVEX") else None
    if longer is not None:
        return _spliced(stack, path, *longer), ()
    if file.format == "MP3":
        return _mp3(stack, path, file)
    if file.format == "OGG" and is_chained(path):
        return file, (
            f"holds another recording behind the first, which ends after {file.frames / file.samplerate:.1f} s; what "
            "follows was left out: take the parts apart, or make one recording of them (ffmpeg -i FILE whole.wav)",
        )
    if file.frames == 0 or file.frames >= _WITHOUT_LENGTH:
        patches = unclosed(path) or unstated(path)
        if patches:
            patched = stack.enter_context(_patched(path, patches))
            file = stack.enter_context(_Forwards(patched, **options))
    return file, ()


def _spliced(stack: contextlib.ExitStack, path: Path, head: bytes, start: int) -> soundfile.SoundFile:
    """The file with another beginning, in place of all before `start`."""
    return stack.enter_context(_Forwards(stack.enter_context(Spliced(head, path, start))))


def _not_whole(path: Path, file: soundfile.SoundFile) -> tuple[str, ...]:
    """What is left of bare samples after the last whole one."""
    width = _WIDTHS.get(file.subtype, 0) * file.channels
    left = path.stat().st_size % width if width else 0
    return (told_left(left, width),) if left else ()


def _mp3(
    stack: contextlib.ExitStack, path: Path, file: soundfile.SoundFile
) -> tuple[soundfile.SoundFile, tuple[str, ...]]:
    """An MP3 file with the length that its frames have, and whether it goes on at another rate."""
    found = frames_of(path)
    if found is None:
        return file, ()
    header = recounted(found, file.frames)
    if header is not None:
        with open(path, "rb") as content:
            head = content.read(found.start) + header
        start = found.start + (0 if found.header is None else len(found.first))
        file = _spliced(stack, path, head, start)
    if not found.left:
        return file, ()
    seconds = found.count * found.samples / found.rate
    return file, (
        f"goes on at another rate after {seconds:.1f} s; what follows was left out: bring its parts to one rate",
    )


def _info(file: soundfile.SoundFile, length: Lengths, notes: tuple[str, ...]) -> AudioInfo:
    metadata = {name: value for name, value in file.copy_metadata().items() if value}
    coding = (file.format, file.subtype, metadata, cast(Endian, file.endian))
    if (beyond := length.beyond / file.samplerate) >= _BEYOND:
        notes += (
            f"{beyond:.2f} s more lie behind the {length.samples / file.samplerate:.2f} s that its header states, and "
            "were left out; if they are sound, name a copy .raw and give --raw-rate (RawFormat)",
        )
    return AudioInfo(file.samplerate, file.channels, length.samples, *coding, length.missing, notes)


def _with_possible_rate(path: Path, info: AudioInfo) -> AudioInfo:
    if not RATES[0] <= info.sample_rate <= RATES[1]:
        raise DataError(
            f"{path} states a rate of {info.sample_rate} Hz, which is not between {RATES[0]} and {RATES[1]}; "
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
    why = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    if isinstance(error, soundfile.LibsndfileError) and error.code == _NO_FRAMES:
        why = "no sound was found in it"
    return DataError(
        f"{path} is not audio that libsndfile reads, or is damaged ({why.rstrip('.')}); convert it to WAV or FLAC"
    )


def audio_info(path: str | os.PathLike[str], raw: RawFormat | None = None, track: int | None = None) -> AudioInfo:
    """What the file says of itself; raises as `open_audio`."""
    with open_audio(path, raw, track) as reader:
        return reader.info


def read_audio(path: str | os.PathLike[str], raw: RawFormat | None = None, track: int | None = None) -> Audio:
    """Read a whole file; raises as `open_audio` and `AudioReader.read`."""
    with open_audio(path, raw, track) as reader:
        info = reader.info
        waveform = np.concatenate(list(reader.blocks()), axis=1)  # in blocks: a damaged header may state any length
    return Audio(
        waveform, info.sample_rate, info.format, info.subtype, info.metadata, info.endian, info.media, track=info.track
    )
