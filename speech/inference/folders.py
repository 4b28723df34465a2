"""A folder of recordings: batches of files of like lengths, several at a time; bad files are told and left out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from shared.checks import Count, checked
from shared.console.progress import bar
from shared.errors import reason
from shared.files.io import remove_unfinished
from speech.audio.arrays import finite
from speech.audio.changes import Watched, watched
from speech.audio.coding import RawFormat, notes_on
from speech.audio.errors import UnwritableError
from speech.audio.files import Audio, read_audio
from speech.audio.levelled import levelled, measured
from speech.audio.loudness import Levelling, LoudnessGoal
from speech.audio.resampling import converted
from speech.audio.search import find_audio
from speech.audio.writing import create_audio, refuse_full
from speech.inference.engine import Engine
from speech.inference.files import FileResult, clipped, enhance_file, file_result
from speech.inference.plan import Existing, Plan, Planned, plan_files, plan_folder
from speech.inference.removed import Levels
from speech.inference.segments import Advance, Tally, bounded


@dataclass
class FolderReport:
    """What became of the files of a folder; names are relative to it, with forward slashes.

    Attributes:
        files: those that were enhanced, in the order of their names.
        skipped: those whose target existed.
        failed: those that could not be enhanced, and why; those passed over (`speech.audio.search.find_audio`)
            among them.
        seconds: that all of it took.
        before: of `files`, how many an earlier run of the same job on many computers had enhanced.
    """

    files: list[FileResult] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    before: int = 0

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work by seconds of sound, where all of it is this run's."""
        return self.seconds / self.audio_seconds if self.audio_seconds and not self.before else None

    @property
    def audio_seconds(self) -> float:
        """Length of the enhanced files together."""
        return sum(file.seconds for file in self.files)

    @property
    def nfe(self) -> int:
        """Network calls of a file: the most."""
        return max((file.nfe for file in self.files), default=0)


def enhance_dir(
    engine: Engine,
    source: Path | Sequence[Path],
    target: Path,
    existing: Existing,
    workers: int | None,
    raw: RawFormat | None,
    progress: bool,
    loudness: LoudnessGoal | None = None,
    track: int | None = None,
    report: FolderReport | None = None,
) -> FolderReport:
    """Enhance the files of a folder, or several; see `speech.enhancer.Enhancer.enhance_dir`."""
    checked(Existing, existing=existing)
    checked(Count | None, workers=workers)
    started = time.perf_counter()
    report = FolderReport() if report is None else report
    plan = _plan(source, target, existing, raw, track)
    files, report.skipped, report.failed = plan.files, plan.skipped, plan.failed
    for folder in {(target / name).parent for name in (*plan.skipped, *plan.failed, *(file.name for file in files))}:
        remove_unfinished(folder)
    rates = [file.info.sample_rate for file in files]
    engine.warn_no_room(min(rates, default=engine.sample_rate))
    engine.warn_upper_band(max((engine.rate_of(rate) for rate in rates), default=0))
    batches = _batches(engine, files)
    total = float(sum(file.info.seconds * file.info.channels for file in files))
    try:
        with bar(total, source.name if isinstance(source, Path) else target.name, "s", show=progress) as shown:
            job = _Job(engine, raw, loudness, track, report, bounded(shown))
            _run_all(job, batches, *_share(engine, workers, len(batches)))
    finally:  # of a run that is stopped, too
        report.files.sort(key=lambda file: file.name)
        report.failed = dict(sorted(report.failed.items()))
        report.seconds = time.perf_counter() - started
    return report


def _plan(
    source: Path | Sequence[Path], target: Path, existing: Existing, raw: RawFormat | None, track: int | None
) -> Plan:
    if not isinstance(source, Path):
        return plan_files(source, target, existing, raw, track)
    paths, passed = find_audio(source, target)
    plan = plan_folder(paths, source, target, existing, raw, track)
    plan.failed = {**passed, **plan.failed}
    return plan


def _batches(engine: Engine, files: Sequence[Planned]) -> list[list[Planned]]:
    """Files that fit into a window in groups of the same number of frames, the others alone; the longest first."""
    groups: dict[tuple[bool, int], list[list[Planned]]] = {}
    for file in sorted(files, key=lambda file: (-file.info.seconds, file.name)):
        samples = int(np.ceil(file.info.seconds * engine.sample_rate))
        short = engine.is_short(file.info.samples, file.info.sample_rate)
        if not short:
            groups.setdefault((short, len(groups)), []).append([file])
            continue
        runner = engine.runner
        frames = runner.bucket(samples)
        group = groups.setdefault((short, frames), [[]])
        if sum(f.info.channels for f in group[-1]) * engine.runner.draws >= engine.runner.batch_of(frames):
            group.append([])
        group[-1].append(file)
    return [batch for group in groups.values() for batch in group]


class _Stopped(BaseException):
    """Ends a batch in the middle when the user stops the run."""


class _Job:
    """Takes batches through reading, network and writing; files that fail go into the report."""

    def __init__(
        self,
        engine: Engine,
        raw: RawFormat | None,
        loudness: LoudnessGoal | None,
        track: int | None,
        report: FolderReport,
        advance: Advance,
    ):
        self._engine, self._raw, self._loudness, self._track = engine, raw, loudness, track
        self._report, self._advance = report, advance
        self._lock = threading.Lock()
        self._full = False
        self.stopping = threading.Event()

    def run(self, batch: Sequence[Planned]) -> None:
        """Enhance the files of one batch; if that fails, each alone."""
        if not self._engine.is_short(batch[0].info.samples, batch[0].info.sample_rate):
            self._alone(batch[0])
            return
        read: list[_Read] = []
        for file in batch:
            with self._failures_of(file):
                self._refuse_full(file)
                with watched(file.source) as before:
                    audio = read_audio(file.source, self._raw, self._track)
                waveform, replaced = finite(audio.waveform)
                audio = self._at_rate(replace(audio, waveform=waveform))
                read.append(_Read(file, audio, replaced, before))
        tallies = [Tally(replaced=item.replaced) for item in read]
        try:
            results = self._engine.short(
                [item.audio.waveform for item in read],
                [item.audio.sample_rate for item in read],
                [self._engine.seed_of(item.file.name) for item in read],
                tallies,
                self._progress,
            )
        except Exception:
            for item in read:
                self._alone(item.file)
            return
        for item, waveform, tally in zip(read, results, tallies, strict=True):
            with self._failures_of(item.file):
                self._succeeded(self._written(item, waveform, tally))

    def _written(self, item: _Read, enhanced: np.ndarray, tally: Tally) -> FileResult:
        """Write a result, at the loudness that is wanted."""
        info, target, waveform = item.audio.info, item.file.target, enhanced
        levels, done = Levels(info.sample_rate, info.channels), Levelling()
        levels.push(item.audio.waveform, enhanced)
        if self._loudness is not None:
            noisy = measured(lambda: [item.audio.waveform], info) if self._loudness == "keep" else None
            found = levelled(self._loudness, lambda: [enhanced], info, measured(lambda: [enhanced], info), noisy)
            waveform, done = np.concatenate(list(found.blocks()), axis=1), found.done
        tally.cut += clipped(waveform, target, info)
        with create_audio(target, info, item.file.source) as writer:
            writer.write(waveform)
        notes = notes_on(item.file.info.at(info.sample_rate), writer.dropped, target)
        notes += item.before.notes(info.seconds)
        result = file_result(item.file.name, target, info, tally, levels.removed(), done, notes)
        return replace(result, track=writer.track)

    def _at_rate(self, audio: Audio) -> Audio:
        rate = self._engine.rate_of(audio.sample_rate)
        if rate == audio.sample_rate:
            return audio
        there = audio.info.at(rate)
        waveform = converted(audio.waveform, audio.sample_rate, rate, length=there.samples)
        return replace(audio, waveform=waveform, sample_rate=rate, ratio=there.ratio)

    def _alone(self, file: Planned) -> None:
        with self._failures_of(file):
            self._refuse_full(file)
            result = enhance_file(
                self._engine,
                file.source,
                file.target,
                file.name,
                self._raw,
                self._progress,
                self._loudness,
                self._track,
            )
            self._succeeded(result)

    def _refuse_full(self, file: Planned) -> None:
        """Once a target could not be written, see whether there is room for a file before it is worked on: of thousands
        of recordings, all that come after a disk is full would else be enhanced for nothing."""
        if self._full:
            refuse_full(file.target, file.source.stat().st_size)

    def _progress(self, seconds: float) -> None:
        if self.stopping.is_set():
            raise _Stopped
        with self._lock:
            self._advance(seconds)

    def _succeeded(self, result: FileResult) -> None:
        with self._lock:
            self._report.files.append(result)

    @contextmanager
    def _failures_of(self, file: Planned) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._full |= isinstance(error, UnwritableError)
            with self._lock:
                self._report.failed[file.name] = reason(error)


@dataclass(frozen=True)
class _Read:
    file: Planned
    audio: Audio
    replaced: int
    before: Watched


def _share(engine: Engine, workers: int | None, batches: int) -> tuple[int, int]:
    """Batches at a time, and CPU threads for each."""
    threads = torch.get_num_threads()
    on_cpu = engine.model.device.type == "cpu"
    wanted = workers or (threads if on_cpu else 2)
    wanted = max(1, min(wanted, batches))
    return wanted, max(1, threads // wanted) if on_cpu else threads


def _run_all(job: _Job, batches: Sequence[list[Planned]], workers: int, threads: int) -> None:
    """Run every batch, `workers` at a time, each on `threads` CPU threads; a stop ends all of them."""
    if workers == 1:
        for batch in batches:
            job.run(batch)
        return
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads,))
    try:
        for done in as_completed([pool.submit(job.run, batch) for batch in batches]):
            done.result()
    except BaseException:
        job.stopping.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)
