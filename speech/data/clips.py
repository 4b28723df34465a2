"""Recordings held in memory as 16-bit samples, for random crops at the speed that training needs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import soxr
from numpy.typing import NDArray

from shared.console.notes import tell
from shared.errors import DataError
from shared.files.documents import read_json
from shared.files.io import atomic_path, write_json
from shared.random import derive_seed
from speech.audio.errors import NoSamplesError
from speech.audio.files import read_audio
from speech.audio.search import find_audio, tell_passed
from speech.data.levels import active_power

Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Waveform = NDArray[np.float32]

_SPEAKER_IN_NAME = (
    re.compile(r"^(\d+)-\d+-\d+"),  # LibriSpeech: speaker-chapter-utterance
    re.compile(r"^(p\d+)_\d+"),  # VoiceBank
)


_FULL_BAND = 44100
"""At this rate, or more, speech lacks nothing that is heard."""

_SHOWN = 5
"""So many files that cannot be used are named."""

_SHORTEST = 0.1
"""Seconds below which a file is left out."""


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        id: folder and stem, for messages.
        speaker: who or what is heard: the speaker that the name tells, or else the folder.
        samples: int16 (length,); a recording with peaks beyond full scale is scaled down to it.
        power: mean square while active (`active_power`), of full scale 1.
        rate: Hz of the file; None: not known.
    """

    id: str
    speaker: str
    samples: NDArray[np.int16]
    power: float
    rate: int | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, start: int = 0, length: int | None = None) -> Waveform:
        """Samples from `start`, float32 in [−1, 1]."""
        stop = None if length is None else start + length
        return self.samples[start:stop].astype(np.float32) * np.float32(1 / 32767)


def as_folders(folders: Folders) -> list[Path]:
    """One folder or several, as a list."""
    if isinstance(folders, (str, os.PathLike)):
        return [Path(folders)]
    return [Path(folder) for folder in folders]


def audio_files(folders: Folders, *, once: bool = True) -> list[Path]:
    """Audio files below `folders` and what links there lead to, in the order of their names, without bare samples,
    whose rate nothing tells.

    Args:
        folders: one or several.
        once: look into a folder that can be reached by several names under the first of them alone.

    Raises:
        DataError: a folder does not exist, or there is no audio in it.
    """
    found: list[Path] = []
    for folder in as_folders(folders):
        here, passed = find_audio(folder)
        tell_passed(folder, passed)
        if not (here := [path for path in here if path.suffix.lower() != ".raw"]):
            raise DataError(f"{folder} holds .raw files alone, which do not tell their rate; convert them to WAV")
        found += _once(here) if once else here
    return found


def _once(files: Sequence[Path]) -> list[Path]:
    """The files without those of a folder that others name otherwise."""
    first = dict[Path, Path]()
    return [path for path in files if first.setdefault(path.parent.resolve(), path.parent) == path.parent]


def read_mono(path: Path, sample_rate: int, channel: int | None = None) -> Waveform:
    """A whole file as float32 (samples,) at `sample_rate` Hz: one channel, or (None) all averaged; resampled where need
    be.

    Raises:
        DataError: the file cannot be decoded, is empty, or holds NaN or infinite samples.
    """
    return _read_mono(path, sample_rate, channel)[0]


def _read_mono(path: Path, sample_rate: int, channel: int | None = None) -> tuple[Waveform, int]:
    """See `read_mono`; and the file's own rate."""
    audio = read_audio(path)
    rate, taken = audio.sample_rate, 0 if len(audio.waveform) == 1 else channel
    mono = audio.waveform.mean(axis=0) if taken is None else audio.waveform[taken]
    if not np.isfinite(mono).all():
        raise DataError(f"{path} holds NaN or infinite samples; remove or repair it")
    return (mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate)), rate


def tell_narrow(rates: Sequence[tuple[str, int | None]], sample_rate: int) -> None:
    """Tell of recordings of clean speech, by name and rate, that lack a part of the band of a model at `sample_rate`
    Hz."""
    least = min(sample_rate, _FULL_BAND)
    narrow = [(name, rate) for name, rate in rates if rate is not None and rate < least]
    if narrow:
        name, rate = narrow[0]
        tell(
            f"{len(narrow)} of {len(rates)} recordings of clean speech have rates below {least} Hz, {name} for one "
            f"({rate} Hz): from them a model at {sample_rate} Hz learns to leave out what they lack"
        )


def speaker_of(path: Path) -> str:
    """The speaker that the name of a file tells (LibriSpeech, VoiceBank), or else its folder."""
    for pattern in _SPEAKER_IN_NAME:
        if match := pattern.match(path.stem):
            return f"{path.parent.name}/{match[1]}"
    return str(path.parent)


def read_clips(folders: Folders, sample_rate: int, *, cache: str | os.PathLike[str] | None = None) -> list[Clip]:
    """Decode every audio file below `folders`; 32 kB per second at 16 kHz. Files that are silent or shorter than 0.1 s
    are left out, which is said.

    Args:
        folders: one or several, searched with their subfolders.
        sample_rate: Hz; what has another rate is resampled.
        cache: folder that keeps what was decoded, to be mapped into memory, shared between processes, the next time.

    Raises:
        DataError: files cannot be read, or nothing is left.
    """
    files = audio_files(folders)
    store = None if cache is None else Path(cache) / f"clips-{_fingerprint(files, sample_rate):016x}.npy"
    clips = None if store is None else _from_store(store)
    if clips is None:
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            found = list(pool.map(partial(_clip_or_error, sample_rate=sample_rate), files))
        clips = [clip for clip in found if isinstance(clip, Clip)]
        if len(clips) < len(found):
            _refuse([error for error in found if isinstance(error, DataError)])
        if store is not None:
            _to_store(store, clips)
    kept = [clip for clip in clips if clip.power > 0 and len(clip) >= _SHORTEST * sample_rate]
    where = ", ".join(map(str, as_folders(folders)))
    if not kept:
        raise DataError(f"every file in {where} is silent or shorter than {_SHORTEST} s")
    if len(kept) < len(clips):
        one = next(clip.id for clip in clips if clip.power == 0 or len(clip) < _SHORTEST * sample_rate)
        tell(
            f"{len(clips) - len(kept)} of {len(clips)} files in {where} are left out, {one} for one: "
            f"they are silent or shorter than {_SHORTEST} s"
        )
    return kept


def _fingerprint(files: list[Path], sample_rate: int) -> int:
    facts = [(path.resolve(), path.stat()) for path in files]
    return derive_seed(sample_rate, *(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in facts))


def _to_store(store: Path, clips: list[Clip]) -> None:
    with atomic_path(store) as temporary:
        np.save(temporary, np.concatenate([clip.samples for clip in clips]))
    about = [{"id": c.id, "speaker": c.speaker, "length": len(c), "power": c.power, "rate": c.rate} for c in clips]
    write_json(store.with_suffix(".json"), about)


def _from_store(store: Path) -> list[Clip] | None:
    """What an earlier call kept, or None if there is nothing whole."""
    try:
        about = read_json(store.with_suffix(".json"))
        samples = np.load(store, mmap_mode="r")
        ends = np.cumsum([entry["length"] for entry in about])
        if samples.dtype != np.int16 or len(samples) != ends[-1]:
            return None
        parts = np.split(samples, ends[:-1])
        return [Clip(e["id"], e["speaker"], part, e["power"], e["rate"]) for e, part in zip(about, parts, strict=True)]
    except (OSError, ValueError, LookupError, TypeError, EOFError, SyntaxError):
        return None


def _refuse(errors: Sequence[DataError]) -> NoReturn:
    """Name all files that cannot be used at once, so that they need not be found one by one."""
    shown = "; ".join(map(str, errors[:_SHOWN]))
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    raise DataError(shown if len(errors) == 1 else f"{len(errors)} files cannot be used: {shown}{more}")


def _clip_or_error(path: Path, sample_rate: int) -> Clip | DataError:
    try:
        return _read_clip(path, sample_rate)
    except NoSamplesError:  # as short as can be
        return Clip(_id(path), speaker_of(path), np.zeros(0, np.int16), 0.0)
    except DataError as error:
        return error


def _read_clip(path: Path, sample_rate: int) -> Clip:
    waveform, rate = _read_mono(path, sample_rate)
    scale = 32767 / max(1.0, float(np.abs(waveform).max(initial=0)))
    samples = np.rint(waveform * np.float32(scale)).astype(np.int16)
    power = active_power(samples.astype(np.float32) * np.float32(1 / 32767), sample_rate)
    return Clip(_id(path), speaker_of(path), samples, power, rate)


def _id(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"
