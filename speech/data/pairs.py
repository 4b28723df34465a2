"""Folders of clean and noisy recordings in pairs: the layouts of the public sets, read whole or in random crops."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import soundfile
import torch

from shared.console.notes import tell
from shared.errors import ConfigError, DataError
from shared.training.batches import Batch
from speech.audio.coding import AudioInfo
from speech.audio.files import audio_info, open_audio
from speech.audio.paths import sound_path, without_snr
from speech.data.clips import Waveform, audio_files, read_mono, tell_narrow

Split = Literal["train", "valid", "test", "all"]
FolderLayout = Literal["auto", "voicebank", "split", "reverb", "ears", "flat"]

VOICEBANK_VALIDATION_SPEAKERS = ("p226", "p287")

_AT_ONCE = 4096
"""Samples that are looked at for sound at a time; the first few mostly have some."""


@dataclass(frozen=True)
class Pair:
    """Two files of the same length: a clean recording and what became of it."""

    id: str
    clean: Path
    noisy: Path


def find_pairs(folder: str | os.PathLike[str], split: Split = "test", layout: FolderLayout = "auto") -> list[Pair]:
    """The pairs of a split, by name.

    Args:
        folder: of the set.
        split: "train", "valid" or "test"; "all" for the flat layout, which has no parts.
        layout: "voicebank": `clean_trainset_28spk_wav` and its like, of whose speakers p226 and p287 validate; "split":
            `train/clean`, `train/noisy` and so on; "reverb": `train/anechoic`, `train/reverb`, below `audio` or not;
            "ears": as "split", where a noisy file has its SNR in its name (EARS-WHAM); "flat": `clean` and `noisy`;
            "auto" looks which of them is there.

    Raises:
        DataError: the folder has no such layout or split, or a file has no partner, or two; the message names it.
        ConfigError: the split or the layout is not one that exists.
    """
    root = Path(folder)
    if split not in get_args(Split) or layout not in get_args(FolderLayout):
        raise ConfigError(
            f"split {split!r}, layout {layout!r}: choose from {get_args(Split)} and from {get_args(FolderLayout)}"
        )
    if not root.is_dir():
        raise DataError(f"{root} is not a folder: give one that holds pairs of clean and noisy files")
    clean, noisy, found = _folders(root, split, layout)
    pairs = _match(clean, noisy)
    if found != "voicebank" or split == "test":
        return pairs
    wanted = split == "valid"
    chosen = [pair for pair in pairs if pair.clean.stem.startswith(VOICEBANK_VALIDATION_SPEAKERS) == wanted]
    if not chosen:
        raise DataError(f"{clean} has no files for {split!r}: speakers {VOICEBANK_VALIDATION_SPEAKERS} validate")
    return chosen


def _folders(root: Path, split: Split, layout: FolderLayout) -> tuple[Path, Path, FolderLayout]:
    part = "trainset_28spk" if split in ("train", "valid") else "testset"
    candidates: dict[FolderLayout, list[tuple[Path, Path]]] = {
        "voicebank": [
            (root / f"clean_{name}_wav", root / f"noisy_{name}_wav")
            for name in ([part, "trainset_56spk"] if part.startswith("train") else [part])
        ],
        "split": [(root / split / "clean", root / split / "noisy")],
        "reverb": [(base / split / "anechoic", base / split / "reverb") for base in (root, root / "audio")],
        "ears": [(root / split / "clean", root / split / "noisy")],
        "flat": [(root / "clean", root / "noisy")] if split in ("all", "test") else [],
    }
    for name, places in candidates.items():
        if layout in (name, "auto"):
            for clean, noisy in places:
                if clean.is_dir() and noisy.is_dir():
                    return clean, noisy, name
    wanted = [
        str(clean.relative_to(root))
        for name, places in candidates.items()
        if layout in (name, "auto")
        for clean, _ in places
    ]
    raise DataError(
        f"{root} has no {split!r} pairs in a layout that is known: none of {', '.join(wanted) or 'its folders'} has a "
        "partner; name the right folder, or prepare the set with recipes/prepare_speech.py"
    )


def _match(clean: Path, noisy: Path) -> list[Pair]:
    originals = _by_name(clean)
    pairs, used = [], set()
    for name, path in _by_name(noisy).items():
        key = name
        if key not in originals:
            key = without_snr(key)
        if key not in originals:
            raise DataError(f"{path} has no clean partner of the same name in {clean}; add it, or remove the file")
        used.add(key)
        pairs.append(Pair(name, originals[key], path))
    if lonely := sorted(set(originals) - used):
        raise DataError(f"{originals[lonely[0]]} has no noisy partner of the same name in {noisy}; add or remove one")
    return pairs


def _by_name(folder: Path) -> dict[str, Path]:
    """The audio files below a folder, by what pairs them."""
    found: dict[str, Path] = {}
    for path in audio_files(folder, once=False):
        other = found.setdefault(_key(path, folder), path)
        if other != path:
            raise DataError(f"{other} and {path} have one name, and either would be the partner; remove one")
    return found


def _key(path: Path, root: Path) -> str:
    return unicodedata.normalize("NFC", path.relative_to(root).with_suffix("").as_posix())


def pairs(
    folder: str | os.PathLike[str], split: Split = "test", sample_rate: int = 16000, layout: FolderLayout = "auto"
) -> Iterator[tuple[str, Waveform, Waveform]]:
    """Whole files (id, clean, noisy), float32 (samples,) at `sample_rate` Hz, in the order of their names.

    Raises:
        DataError: as `find_pairs`; a file cannot be read, or two of a pair differ in length.
    """
    for pair in find_pairs(folder, split, layout):
        yield read_pair(pair, sample_rate)


def read_pair(pair: Pair, sample_rate: int) -> tuple[str, Waveform, Waveform]:
    """A pair's whole files, (id, clean, noisy), float32 (samples,) at `sample_rate` Hz.

    Raises:
        DataError: a file cannot be read, or the two differ in length.
    """
    clean, noisy = read_mono(pair.clean, sample_rate), read_mono(pair.noisy, sample_rate)
    if len(clean) != len(noisy):
        raise DataError(
            f"{pair.noisy} has {len(noisy)} samples at {sample_rate} Hz, its clean partner {len(clean)}; "
            "cut them to the same part of the recording"
        )
    return pair.id, clean, noisy


class PairSource:
    """Batches of random crops from pairs; a `shared.training.batches.BatchSource`.

    Crops are read from disk: quick where the files have the sample rate asked for; others are decoded and resampled
    whole each time (`recipes/prepare_speech.py` resamples a set once). Files shorter than a crop are followed by
    silence, in input and target alike. Pairs whose noisy file is silent throughout are left out, which is said.

    Args:
        folder, split, layout: as for `find_pairs`.
        sample_rate: Hz.
        seconds: length of a crop.
        batch_size: items in a batch.
        weight: "length" draws files in proportion to their length, "file" evenly, as an epoch over files does.

    Attributes:
        contents: the pairs, with their lengths.

    Raises:
        DataError: as `find_pairs`; a file cannot be read, or two of a pair differ in length; or all are silent.
        ConfigError: a length or size is not positive.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        split: Split = "train",
        layout: FolderLayout = "auto",
        *,
        sample_rate: int = 16000,
        seconds: float = 2.04,
        batch_size: int = 16,
        weight: Literal["length", "file"] = "length",
    ):
        if batch_size < 1 or round(seconds * sample_rate) < 1:
            raise ConfigError(f"batch_size={batch_size}, seconds={seconds}: need a batch and a crop that are not empty")
        if weight not in ("length", "file"):
            raise ConfigError(f"weight={weight!r}: choose 'length' or 'file'")
        self.pairs = _with_sound(find_pairs(folder, split, layout))
        self.sample_rate, self.samples, self.batch_size = sample_rate, round(seconds * sample_rate), batch_size
        infos = [_checked(pair) for pair in self.pairs]
        tell_narrow([(pair.id, info.sample_rate) for pair, info in zip(self.pairs, infos, strict=True)], sample_rate)
        self.contents = [f"{pair.id} {info.samples}" for pair, info in zip(self.pairs, infos, strict=True)]
        durations = np.array([info.seconds for info in infos])
        share = durations if weight == "length" else np.ones(len(durations))
        self._share = np.cumsum(share / share.sum())

    def batch(self, rng: np.random.Generator) -> Batch:
        """Targets `x0` and inputs `y`, float32 (batch, samples)."""
        items = [self._item(np.random.default_rng(seed)) for seed in rng.integers(2**63, size=self.batch_size)]
        clean = torch.from_numpy(np.stack([clean for _, clean, _ in items]))
        noisy = torch.from_numpy(np.stack([noisy for _, _, noisy in items]))
        return Batch(clean, noisy, ids=[name for name, _, _ in items])

    def _item(self, rng: np.random.Generator) -> tuple[str, Waveform, Waveform]:
        pair = self.pairs[min(int(np.searchsorted(self._share, rng.random())), len(self.pairs) - 1)]
        place = float(rng.random())
        clean, noisy = (_crop(path, self.sample_rate, self.samples, place) for path in (pair.clean, pair.noisy))
        return pair.id, clean, noisy


def _crop(path: Path, sample_rate: int, length: int, place: float) -> Waveform:
    """`length` samples that start at the share `place`, below 1, of where they can."""
    with contextlib.suppress(RuntimeError), soundfile.SoundFile(sound_path(path)) as stream:  # else whole, or refused
        if stream.samplerate == sample_rate and stream.frames > length:
            stream.seek(int(place * (stream.frames - length + 1)))
            samples = stream.read(length, dtype="float32", always_2d=True)
            if len(samples) == length and np.isfinite(samples).all():
                return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    whole = read_mono(path, sample_rate)
    if len(whole) <= length:
        return np.pad(whole, (0, length - len(whole)))
    start = int(place * (len(whole) - length + 1))
    return whole[start : start + length]


def _with_sound(found: list[Pair]) -> list[Pair]:
    """The pairs without those of a noisy file that is silent, from which there is nothing to learn."""
    heard = [pair for pair in found if _has_sound(pair.noisy)]
    if not heard:
        raise DataError(f"{found[0].noisy} is silent, and so is every other noisy file: copy or record them again")
    if len(heard) < len(found):
        one, left = next(pair.noisy for pair in found if pair not in heard), len(found) - len(heard)
        tell(f"{left} of {len(found)} pairs are left out, {one} for one: their noisy files are silent")
    return heard


def _has_sound(path: Path) -> bool:
    """Whether a sample is not 0; read no further than to the first."""
    with open_audio(path) as reader:
        return any(block.any() for block in reader.blocks(_AT_ONCE))


def _checked(pair: Pair) -> AudioInfo:
    """What the clean file says of itself, and the noisy one too."""
    clean, noisy = audio_info(pair.clean), audio_info(pair.noisy)
    if (clean.sample_rate, clean.samples) != (noisy.sample_rate, noisy.samples):
        raise DataError(
            f"{pair.noisy} has {noisy.samples} samples at {noisy.sample_rate} Hz, its clean partner {clean.samples} at "
            f"{clean.sample_rate} Hz; cut them to the same part of the recording, at the same rate"
        )
    return clean
