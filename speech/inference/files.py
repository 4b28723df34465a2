"""One recording from disk to disk, whatever its length."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.console.progress import bar
from speech.audio.arrays import finite
from speech.audio.coding import AudioInfo, RawFormat, notes_on, target_coding
from speech.audio.files import audio_info, create_audio, open_audio, refuse_same
from speech.inference.engine import Engine
from speech.inference.plausible import doubts
from speech.inference.segments import Advance, Tally, bounded


@dataclass(frozen=True)
class FileResult:
    """What enhancing one file came to.

    Attributes:
        name: of the file.
        seconds, channels, sample_rate: of the audio.
        nfe: network calls that every sample went through.
        replaced: samples that were not finite, and were taken for 0.
        notes: what else there is to say: what is missing at the file's end, which tags the copy does not have, samples
            that were cut off, energy that the recording does not have.
    """

    name: str
    seconds: float
    channels: int
    sample_rate: int
    nfe: int
    replaced: int = 0
    notes: tuple[str, ...] = ()


def enhance_file(
    engine: Engine, source: Path, target: Path, name: str | None, raw: RawFormat | None, progress: bool | Advance
) -> FileResult:
    """Enhance a file; see `speech.enhancer.Enhancer.enhance_file`."""
    target = target / source.name if os.path.isdir(target) else target
    refuse_same(source, target)
    info = audio_info(source, raw)
    name = source.name if name is None else name
    engine.warn_upper_band(info.sample_rate)
    tally = Tally()

    def read() -> Iterator[np.ndarray]:
        tally.replaced = 0
        with open_audio(source, raw) as reader:
            for block in reader.blocks():
                good, replaced = finite(block)
                tally.replaced += replaced
                yield good

    total = info.seconds * info.channels
    with (
        create_audio(target, info, source) as writer,
        bar(total, source.name, "s", show=progress is True, leave=False) as shown,
    ):
        shape, seed = (info.channels, info.samples), engine.seed_of(name)
        advance = progress if callable(progress) else bounded(shown)
        for block in engine.blocks(read, info.sample_rate, shape, seed, tally, advance):
            tally.limited += clipped(block, target, info)
            writer.write(block)
    return file_result(name, info, tally, notes_on(info, writer.dropped))


def file_result(name: str, info: AudioInfo, tally: Tally, notes: tuple[str, ...]) -> FileResult:
    """What enhancing a file came to."""
    said = doubts(tally.limited, tally.louder)
    notes = notes if said is None else (*notes, said)
    return FileResult(name, info.seconds, info.channels, info.sample_rate, tally.nfe, tally.replaced, notes)


def clipped(waveform: np.ndarray, target: Path, info: AudioInfo) -> int:
    """How many samples lie beyond full scale, where the coding of `target` cuts them off there."""
    if target_coding(target, info)[1] in ("FLOAT", "DOUBLE"):
        return 0
    return int(np.count_nonzero(np.abs(waveform) > 1))
