"""VoiceBank-DEMAND (Valentini-Botinhao 2017) at the model's sample rate, with a validation part.

The set is on the University of Edinburgh's DataShare (10283/2791), CC BY 4.0, at 48 kHz, in four files:
`clean_trainset_28spk_wav.zip`, `noisy_trainset_28spk_wav.zip`, `clean_testset_wav.zip`, `noisy_testset_wav.zip`.
Speakers p226 and p287 validate, as is common.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import soundfile
import soxr

from shared.checks import checked
from shared.errors import DataError
from speech.data.clips import Waveform
from speech.data.pairs import VOICEBANK_VALIDATION_SPEAKERS

from .common import Prepared, Row, claim_pairs, finish, for_each, is_done, sound, write_pair


class _Part:
    """The WAV files of one folder, or of the zip file of the same name."""

    def __init__(self, source: Path, name: str, stack: ExitStack):
        self.name = name
        folder, archive = source / name, source / f"{name}.zip"
        self.zip: zipfile.ZipFile | None = None
        if folder.is_dir():
            self.files = {path.name: str(path) for path in sorted(folder.rglob("*.wav"))}
        elif archive.is_file():
            try:
                self.zip = stack.enter_context(zipfile.ZipFile(archive))
            except zipfile.BadZipFile as error:
                raise DataError(f"{archive} is not a whole zip file; download it again") from error
            names = sorted(self.zip.namelist())
            self.files = {PurePosixPath(n).name: n for n in names if n.lower().endswith(".wav") and "__MACOSX" not in n}
        else:
            raise DataError(
                f"{source} has neither a folder {name} nor {name}.zip; download it from DataShare 10283/2791"
            )
        if not self.files:
            raise DataError(f"{name} of {source} holds no WAV files; download it again")

    def read(self, name: str, sample_rate: int) -> Waveform:
        """One file, mono, at `sample_rate`."""
        place = self.files[name]
        try:
            stream = place if self.zip is None else io.BytesIO(self.zip.read(place))
            samples, rate = soundfile.read(stream, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"{name} of {self.name} cannot be read ({error}); download it again") from error
        mono = sound(samples.mean(axis=1), f"{name} of {self.name}")
        return np.asarray(mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate), np.float32)


@dataclass(frozen=True)
class _Item:
    split: str
    name: str
    clean: _Part
    noisy: _Part


def prepare_voicebank(
    source: str | Path,
    output: str | Path,
    *,
    sample_rate: int = 16000,
    speakers: int = 28,
    workers: int | None = None,
    progress: bool = True,
) -> Prepared:
    """Resample the set into `output/{train,valid,test}/{clean,noisy}`.

    Args:
        source: folder with the four zip files, or with what they unpack to.
        output: folder of the pairs.
        sample_rate: Hz.
        speakers: of the training part, 28 or 56.
        workers: threads; as many as there are cores if left out.
        progress: show a bar.

    Raises:
        DataError: a part is missing, or nothing could be read.
        ConfigError: `output` holds other pairs; or there is no such part.
    """
    checked(Literal[28, 56], speakers=speakers)
    source, output = Path(source), Path(output)
    settings = {"set": "voicebank", "sample_rate": sample_rate, "speakers": speakers}
    with ExitStack() as stack:
        items: list[_Item] = []
        for part in (f"trainset_{speakers}spk", "testset"):
            clean, noisy = (_Part(source, f"{kind}_{part}_wav", stack) for kind in ("clean", "noisy"))
            if odd := sorted(set(clean.files) ^ set(noisy.files)):
                raise DataError(f"{odd[0]} is in only one of {clean.name} and {noisy.name}; download them again")
            items += [_Item(_split(part, name), name, clean, noisy) for name in clean.files]

        claim_pairs(output, settings)

        def make(item: _Item) -> Iterator[Row]:
            stem = Path(item.name).stem
            if not is_done(output, item.split, stem):
                clean, noisy = item.clean.read(item.name, sample_rate), item.noisy.read(item.name, sample_rate)
                if len(clean) != len(noisy):
                    raise DataError(f"{item.name}: {len(clean)} clean and {len(noisy)} noisy samples; leave it out")
                write_pair(output, item.split, stem, clean, noisy, sample_rate)
            yield {"split": item.split, "id": stem, "speaker": stem.split("_")[0]}

        prepared = for_each(items, lambda item: item.name, make, "VoiceBank-DEMAND", workers, progress)
    return finish(prepared, output, settings)


def _split(part: str, name: str) -> str:
    if part == "testset":
        return "test"
    return "valid" if name.startswith(VOICEBANK_VALIDATION_SPEAKERS) else "train"
