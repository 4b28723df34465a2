"""The calls: enhance and score folders of any size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from shared.checks import Count, checked
from shared.errors import ConfigError
from shared.scale import Outcome, Unit, digest_of, run
from shared.scale.run import Where
from shared.scale.units import named_for_workers
from speech.audio.coding import RawFormat
from speech.audio.loudness import LoudnessGoal, checked_goal
from speech.audio.search import find_audio
from speech.enhancer import Enhancer
from speech.inference.folders import FolderReport
from speech.inference.plan import Existing, meeting, refuse_unnamed
from speech.metrics.evaluation import Place, Scoring, rows_to_frame, scorings
from speech.model.model import BUNDLED
from speech.scale.work import Enhancing, Evaluating, retold, rows_of


def enhance_dir(
    source: Place,
    target: Place,
    *,
    model: Place = "default",
    device: str = "cpu",
    sampling: Mapping[str, Any] | None = None,
    existing: Existing = "skip",
    raw: RawFormat | None = None,
    loudness: LoudnessGoal | None = None,
    track: int | None = None,
    size: int = 1,
    enhancer: Mapping[str, Any] | None = None,
    **where: Unpack[Where],
) -> FolderReport:
    """Enhance the audio files of a folder, and of the folders in it, into the same tree elsewhere.

    What is finished stays: a job that was stopped, by whatever, goes on by the same call. The results are those of
    `Enhancer.enhance_file` with the file's name in the folder, on one thread, and the same bits for any number of
    workers, on Ray or in this process, whatever dies meanwhile.

    Args:
        source: the folder (`speech.audio.search.find_audio`), which all workers have to see under this name.
        target: the folder for the results, as well.
        model: folder, bundled name, hub id or published .ckpt, which each worker loads.
        device: of each worker: "cpu", or "cuda", of which each takes one.
        sampling: fields of `SamplingConfig` to change.
        existing: what to do about targets that are there already and not of this job, or of a file as it was before.
        raw, loudness, track: see `Enhancer.enhance_dir`.
        size: files of a unit, of which each has a record in `target`.
        enhancer: arguments of `Enhancer`: sampler, steps, seed, draws, mix, ….
        where: engine, workers, address, progress: see `shared.scale.run.run`.

    Returns:
        What became of each file.

    Raises:
        ConfigError: a setting that cannot be, other settings than those of the results in `target`, a cluster that
            cannot be reached.
        DataError: `source` is no folder, holds no audio, or is `target`.
        CheckpointError: no such model.
        MissingPackageError: without the extra "scale".
    """
    if isinstance(model, Enhancer):
        raise ConfigError("model: each worker loads it; save it (model.save_pretrained) and give the folder")
    refuse_unnamed(target)
    source, target = Path(os.path.abspath(source)), Path(os.path.abspath(target))
    work = Enhancing(
        source=source,
        model=named_for_workers(model, BUNDLED),
        device=device,
        enhancer=dict(enhancer or {}),
        sampling=dict(sampling or {}),
        existing=checked(Existing, existing=existing),
        raw=raw,
        loudness=checked_goal(loudness),
        track=checked(Count | None, track=track),
    )
    paths, passed = find_audio(source, target)
    report, names = FolderReport(), [path.relative_to(source).as_posix() for path in paths]
    met = meeting(names)
    names, passed = [name for name in names if name not in met], {**passed, **met}

    def keep(unit: Unit, outcome: Outcome, before: bool) -> None:
        for values in outcome.results:
            found = retold(values, target)
            if found is None:
                report.skipped.append(values["name"])
            else:
                report.files.append(found)
                report.before += before

    groups = _groups(names, checked(Count, size=size))
    units = (_unit(number, group, source, passed) for number, group in enumerate(groups))
    done = run(
        work,
        units,
        target,
        gpus=1.0 if device.startswith("cuda") else 0.0,
        again=True,
        total=len(groups),
        description=source.name,
        each=keep,
        **where,
    )
    report.files.sort(key=lambda file: file.name)
    report.skipped.sort()
    report.failed, report.seconds = done.failed, done.seconds
    return report


def _groups(names: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(names[first : first + size]) for first in range(0, len(names), size)]


def _unit(number: int, names: tuple[str, ...], source: Path, passed: Mapping[str, str]) -> Unit:
    """Files, known by what the file system tells of them; the first has those that are passed over."""
    stamps = [[name, *_stamp(source / name)] for name in names]
    return Unit(digest_of(names), names, digest_of(stamps), names, {} if number else passed)


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat() if path.exists() else path.lstat()  # a link that leads nowhere fails where it is read
    return about.st_size, about.st_mtime_ns


def evaluate(
    clean_dir: Place | None,
    enhanced_dir: Place,
    noisy_dir: Place | None = None,
    *,
    output: Place,
    metrics: Iterable[str] | None = None,
    align: bool = False,
    size: int = 8,
    files: Iterable[Place] | None = None,
    **where: Unpack[Where],
) -> pd.DataFrame:
    """Score every enhanced file: `speech.metrics.evaluate`, which tells the other arguments, the result and the errors.

    Args:
        output: folder for the records, by which a job that was stopped goes on; all workers see it and the recordings.
        size: files of a unit.
        where: engine, workers, address, progress: see `shared.scale.run.run`.
    """
    folders = [
        None if place is None else Path(os.path.abspath(place)) for place in (clean_dir, enhanced_dir, noisy_dir)
    ]
    clean, enhanced, noisy = folders
    assert enhanced is not None
    jobs = scorings(clean, enhanced, noisy, metrics, align, files)
    rows: dict[str, dict[str, Any]] = {}

    def keep(unit: Unit, outcome: Outcome, before: bool) -> None:
        rows.update(rows_of(unit, outcome))

    work = Evaluating(metrics=jobs[0].metrics, align=align)
    units = list(_scored_units(jobs, checked(Count, size=size)))
    run(work, units, Path(output), again=True, total=len(units), description="scoring", each=keep, **where)
    return rows_to_frame(jobs, (rows[job.file] for job in jobs))


def _scored_units(jobs: Sequence[Scoring], size: int) -> Iterator[Unit]:
    for first in range(0, len(jobs), size):
        group = tuple(jobs[first : first + size])
        paths = [path for job in group for each in job.paths.values() for path in each]
        stamps = [[str(path), *_stamp(path)] for path in paths]
        names = tuple(job.file for job in group)
        yield Unit(digest_of(names), group, digest_of(names, stamps), names)
