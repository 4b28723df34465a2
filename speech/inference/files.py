"""One recording from disk to disk, whatever its length."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from shared.console.progress import bar
from shared.files.io import temporary_path
from speech.audio.arrays import finite, told_offset
from speech.audio.changes import refuse_other, watched
from speech.audio.coding import (
    CONTAINERS,
    AudioInfo,
    RawFormat,
    ceiling,
    coded_rate,
    notes_on,
    target_coding,
    told_rate,
)
from speech.audio.errors import full
from speech.audio.files import audio_info, open_audio
from speech.audio.levelled import levelled, measured, remeasured
from speech.audio.loudness import Levelling, LoudnessGoal, LoudnessMeter
from speech.audio.paths import sound_path
from speech.audio.resampling import converted_blocks
from speech.audio.writing import create_audio, refuse_same
from speech.inference.engine import Engine
from speech.inference.longform import of_length
from speech.inference.plausible import doubts
from speech.inference.removed import Levels, Removed
from speech.inference.segments import Advance, Tally, bounded


@dataclass(frozen=True)
class FileResult:
    """What enhancing one file came to.

    Attributes:
        name: of the file.
        seconds, channels, sample_rate: of the audio.
        nfe: network calls that every sample went through.
        replaced: samples that were not finite, and were taken for 0.
        notes: what else there is to say: what is missing at the file's end, which tags the copy does not have, where
            the recording's band ends, samples that were cut off, energy that the recording does not have.
        target: where the result is.
        removed: what was taken away, before any change of loudness.
        spread: dB, how far draws are from their mean (`speech.inference.segments.Spread`); None where one is drawn.
        loudness: LUFS of the result, where a loudness was asked for and it has one.
        peaks_limited: dB by which its peaks were turned down for that, at most.
        track: the number from 1 of the sound track of `target` that is the result.
    """

    name: str
    seconds: float
    channels: int
    sample_rate: int
    nfe: int
    replaced: int = 0
    notes: tuple[str, ...] = ()
    target: Path = Path()
    removed: Removed | None = None
    spread: float | None = None
    loudness: float | None = None
    peaks_limited: float = 0.0
    track: int = 1


def enhance_file(
    engine: Engine,
    source: Path,
    target: Path,
    name: str | None,
    raw: RawFormat | None,
    progress: bool | Advance,
    loudness: LoudnessGoal | None = None,
    track: int | None = None,
) -> FileResult:
    """Enhance a file; see `speech.enhancer.Enhancer.enhance_file`."""
    refuse_same(source, target)
    found = audio_info(source, raw, track)
    wanted, coding = engine.rate_of(found.sample_rate), target_coding(target, found)[1]
    is_resampled = target.suffix.lower() not in CONTAINERS  # which FFmpeg brings to the rate that they take
    info = found.at(coded_rate(coding, wanted) if is_resampled else wanted)
    name = source.name if name is None else name
    engine.warn_no_room(found.sample_rate)
    engine.warn_upper_band(info.sample_rate)
    tally, levels = Tally(), Levels(info.sample_rate, info.channels)

    def recorded() -> Iterator[np.ndarray]:
        tally.replaced = 0
        with open_audio(source, raw, track) as reader:
            refuse_other(source, found, reader.info)
            for block in of_length(reader.blocks(), found.channels, found.samples):  # it may grow meanwhile
                good, replaced = finite(block)
                tally.replaced += replaced
                yield good

    def read() -> Iterator[np.ndarray]:
        if info.sample_rate == found.sample_rate:
            return recorded()
        there = converted_blocks(recorded, found.sample_rate, info.sample_rate, info.channels)
        return of_length(there, info.channels, info.samples)

    total = info.seconds * info.channels
    with (
        watched(source) as before,
        contextlib.ExitStack() as stack,
        create_audio(target, info, source) as writer,
        bar(total, source.name, "s", show=progress is True, leave=False) as shown,
    ):
        shape, seed = (info.channels, info.samples), engine.seed_of(name)
        advance = progress if callable(progress) else bounded(shown)
        blocks: Iterable[np.ndarray] = engine.blocks(read, info.sample_rate, shape, seed, tally, advance, levels=levels)
        done = Levelling()
        if loudness is not None:
            blocks, done = stack.enter_context(_levelled(blocks, read, info, loudness, target))
        for block in blocks:
            tally.cut += clipped(block, target, info)
            writer.write(block)
    dropped = (*told_rate(coding, wanted), *writer.dropped) if is_resampled else writer.dropped
    notes = (*notes_on(info, dropped, target), *before.notes(info.seconds))
    return replace(file_result(name, target, info, tally, levels.removed(), done, notes), track=writer.track)


@contextlib.contextmanager
def _levelled(
    blocks: Iterable[np.ndarray],
    read: Callable[[], Iterable[np.ndarray]],
    info: AudioInfo,
    goal: LoudnessGoal,
    target: Path,
) -> Iterator[tuple[Iterable[np.ndarray], Levelling]]:
    """The blocks at the loudness that is wanted, which is known once all are there: till then they lie on disk."""
    meter = LoudnessMeter(info.sample_rate, info.channels)
    folder = target.parent if target.is_file() or not target.exists() else Path(tempfile.gettempdir())
    with temporary_path(folder, ".w64") as held:
        try:
            with soundfile.SoundFile(
                sound_path(held), "w", info.sample_rate, info.channels, "FLOAT", format="W64"
            ) as file:
                for block in blocks:
                    meter.push(block)
                    file.write(np.ascontiguousarray(block.T))
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise full(target) from error

        def kept() -> Iterator[np.ndarray]:
            with open_audio(held) as reader:
                yield from reader.blocks()

        enhanced = remeasured(meter.close(), kept, info)
        found = levelled(goal, kept, info, enhanced, measured(read, info) if goal == "keep" else None)
        yield found.blocks(), found.done


def file_result(
    name: str,
    target: Path,
    info: AudioInfo,
    tally: Tally,
    removed: Removed,
    done: Levelling,
    notes: tuple[str, ...],
) -> FileResult:
    """What enhancing a file came to."""
    music = f"{100 * tally.music:.0f} % taken for music, and left as it is" if tally.music >= 0.005 else None
    constant = told_offset(tally.offset) if tally.offset else None
    said = (done.note, music, constant, tally.band, doubts(tally.limited, tally.louder, tally.cut))
    return FileResult(
        name,
        info.seconds,
        info.channels,
        info.sample_rate,
        tally.nfe,
        tally.replaced,
        (*notes, *(text for text in said if text is not None)),
        target,
        removed,
        tally.spread.decibels,
        done.loudness,
        done.limited,
    )


def clipped(waveform: np.ndarray, target: Path, info: AudioInfo) -> int:
    """How many samples lie beyond what the coding of `target` has room for, and are cut off there."""
    return int(np.count_nonzero(np.abs(waveform) > ceiling(target, target_coding(target, info)[1])))
