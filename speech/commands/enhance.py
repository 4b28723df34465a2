"""`speech enhance`: a noisy file, or a folder of them, and what becomes of it."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from shared.console.command import given, note, prepare, show, stopped_in_order
from shared.console.progress import track
from shared.devices import compute_device
from shared.errors import ConfigError, DiffusionError
from speech.audio.coding import RawFormat, target_coding
from speech.audio.files import audio_info
from speech.audio.search import find_audio
from speech.commands.job import Job, job_of
from speech.commands.options import Enhance
from speech.commands.rehearsal import rehearse
from speech.commands.tables import write_tables
from speech.commands.telling import tell_failures, tell_newer, tell_report
from speech.enhancer import Enhancer
from speech.inference.files import FileResult
from speech.inference.folders import FolderReport
from speech.inference.plan import like_results
from speech.inference.segments import frame_grid
from speech.loading import load_model
from speech.model.model import SpeechModel


def main(options: Enhance) -> None:
    """Enhance a file, or all files of a folder."""
    prepare(options.threads)
    with stopped_in_order(), job_of(options) as job:
        _run(options, job)


def _run(options: Enhance, job: Job) -> None:
    model = options.model or "default"
    enhancer = _enhancer(options, model)
    if job.source.is_dir():
        _tell_results(job)
    if options.dry_run:
        plan = job.plan()
        rehearse(enhancer, plan)
        tell_newer(plan.skipped, job)
        tell_failures(plan.failed)
        if plan.failed:
            raise typer.Exit(1)
        return
    if options.engine is not None or options.address is not None:
        report = _scaled(options, job, model, enhancer)
    elif job.is_many:
        report = _many(options, job, model, enhancer)
    else:
        report = _one(enhancer, job)
    tell_report(report, job, enhancer)
    if job.output is not None:
        write_tables(job.output, report, enhancer, model, None if job.piped else job.target)
    undrawn = _draw(report, job) if options.picture else 0
    if job.output is not None:
        (note if job.piped else show)(f"results in {job.output}")
    if report.failed or undrawn:
        raise typer.Exit(1)


def _tell_results(job: Job) -> None:
    """Which folders among the recordings may be results of an earlier run."""
    paths, _ = find_audio(job.source, job.target)
    for folder, count in like_results([path.relative_to(job.source).as_posix() for path in paths]).items():
        files = "recording has the name of one" if count == 1 else f"{count} recordings have the names of those"
        note(
            f"{job.source / folder}: its {files} beside it, as results of an earlier run have; it is taken like all "
            "else: move it away if that is what it holds"
        )


def _enhancer(options: Enhance, model: str) -> Enhancer:
    loaded = load_model(model)
    sampling = replace(loaded.config.sampling, **_sampling(options))
    return Enhancer(loaded, device=compute_device(options.device), sampling=sampling, **_settings(options, loaded))


def _sampling(options: Enhance) -> dict[str, Any]:
    """The model's own settings of sampling that are changed."""
    return given(
        reverse_starting_point=options.start,
        precision=options.precision,
        suppression=options.suppression,
        attenuation_limit=options.attenuation_limit,
    )


def _settings(options: Enhance, model: SpeechModel) -> dict[str, Any]:
    """What an `Enhancer` takes of the options besides.

    Raises:
        ConfigError: windows that leave no room for an overlap on the grid of the model.
    """
    frontend = model.config.frontend
    least_overlap = frontend.hop_length * frame_grid(model) / frontend.sample_rate
    if not 2 * least_overlap <= options.window < math.inf:
        least = math.ceil(2000 * least_overlap) / 1000
        raise ConfigError(f"--window {options.window:g}: this model enhances {least:g} s or more at once")
    return {
        "sampler": options.sampler,
        "steps": options.steps,
        "seed": options.seed,
        "draws": options.draws,
        "mix": options.mix,
        "window_seconds": options.window,
        "overlap_seconds": min(2.0, max(options.window / 4, least_overlap)),
        "batch_size": options.batch_size,
        "upper_band": options.upper_band,
        "rate": options.rate,
        "keep_music": options.keep_music,
        "quality": options.quality,
    }


def _scaled(options: Enhance, job: Job, model: str, enhancer: Enhancer) -> FolderReport:
    """A folder file by file, with what is finished kept.

    Raises:
        ConfigError: a single file, or --address without --engine.
    """
    from speech.scale import enhance_dir

    where = options.where(options.workers)
    if job.several or not job.source.is_dir():
        raise ConfigError(f"--engine takes a folder, and {job.source} is none; leave it out for single files")
    return enhance_dir(
        job.source,
        job.target,
        model=model,
        device=str(compute_device(options.device)),
        sampling=_sampling(options),
        existing=job.existing,
        raw=job.raw,
        loudness=job.loudness,
        track=job.track,
        enhancer=_settings(options, enhancer.model),
        **where,
    )


def _many(options: Enhance, job: Job, model: str, enhancer: Enhancer) -> FolderReport:
    """A folder, or several files. Where the run is stopped, what was done till then is told and in the tables: the next
    run, which skips it, has no numbers of it but those."""
    report = FolderReport()
    try:
        return enhancer.enhance_dir(
            job.several or job.source,
            job.target,
            existing=job.existing,
            workers=options.workers,
            raw=job.raw,
            loudness=job.loudness,
            track=job.track,
            report=report,
        )
    except KeyboardInterrupt:
        if report.files:
            tell_report(report, job, enhancer)
            if job.output is not None:
                write_tables(job.output, report, enhancer, model, job.target)
            note(f"stopped before all was done; {'the same command' if job.existing == 'skip' else '--skip'} goes on")
        raise


def _one(enhancer: Enhancer, job: Job) -> FolderReport:
    """A single file as a folder of one."""
    report = FolderReport()
    started = time.perf_counter()
    called = job.name or job.source.name
    if job.target.exists() and job.existing == "skip":
        report.skipped.append(called)
        return report
    try:
        result = enhancer.enhance_file(
            job.source,
            job.target,
            name=called,
            raw=job.raw,
            progress=True,
            loudness=job.loudness,
            track=job.track,
        )
        report.files.append(replace(result, name=called))
    except (DiffusionError, OSError) as error:
        if isinstance(error, ConfigError):
            raise
        report.failed[called] = job.told(str(error))
    report.seconds = time.perf_counter() - started
    return report


def _draw(report: FolderReport, job: Job) -> int:
    """Draw what was enhanced; how many pictures could not be, as where the disk is full, which is told."""
    from speech.audio.plots import picture_files

    failed = dict[str, str]()
    for file in track(report.files, "pictures", "files", total=len(report.files), show=len(report.files) > 1):
        noisy, _ = job.ends(file.name)
        place = file.target if job.output is None else job.output / "pictures" / file.name
        try:
            written, tracks = _written(file, noisy, job.raw), (job.track, file.track)
            picture_files(_picture_beside(place), noisy, file.target, file.name, job.raw, written, tracks)
        except (DiffusionError, OSError) as error:
            failed[file.name] = f"enhanced, and no picture drawn: {job.told(str(error))}"
    if report.skipped:
        note(f"--picture: of what is skipped no picture is drawn ({len(report.skipped)})")
    tell_failures(failed)
    return len(failed)


def _written(file: FileResult, noisy: Path, raw: RawFormat | None) -> RawFormat | None:
    """What a result of bare samples holds; None for others, which tell it themselves."""
    if file.target.suffix.lower() != ".raw":
        return None
    info = audio_info(noisy, raw)
    return RawFormat(file.sample_rate, file.channels, target_coding(file.target, info)[1], info.endian)


def _picture_beside(file: Path) -> Path:
    """The file's name and .png, cut to what file systems take."""
    name = file.name
    while len(os.fsencode(name)) > 255 - len(".png"):
        name = name[:-1]
    return file.with_name(f"{name}.png")
