"""`speech enhance`: a noisy file, or a folder of them, and what becomes of it."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from shared.console.command import claim_output, fail, given, note, prepare, show, stopped_in_order
from shared.console.progress import track
from shared.devices import compute_device
from shared.errors import ConfigError, DataError, DiffusionError, first_few
from speech.audio.arrays import told_replaced
from speech.audio.changes import is_newer
from speech.audio.coding import RawFormat, target_coding, written_name
from speech.audio.files import audio_info
from speech.audio.loudness import LoudnessGoal, checked_goal
from speech.audio.search import find_audio
from speech.commands.options import Enhance
from speech.commands.pipes import STANDARD, is_pipe, name_of, spooled, standard_output
from speech.commands.rehearsal import rehearse
from speech.commands.replacing import ask_to_replace
from speech.commands.tables import write_tables
from speech.enhancer import Enhancer
from speech.inference.files import FileResult
from speech.inference.folders import FolderReport
from speech.inference.plan import Existing, Plan, like_results, plan_folder, refuse_unnamed, target_of
from speech.inference.segments import frame_grid
from speech.loading import load_model
from speech.model.model import SpeechModel

_SHOWN = 20


@dataclass(frozen=True)
class _Job:
    """What is enhanced, and where to.

    Attributes:
        source, target: files, or folders.
        name: what the source is called; None: as it is.
        output: folder for the report, if any.
        piped: whether the result goes to standard output.
        raw: what .raw files hold.
        loudness: of the results.
        track: of videos, which is enhanced.
        existing: what to do about targets that exist.
    """

    source: Path
    target: Path
    name: str | None
    output: Path | None
    piped: bool
    raw: RawFormat | None
    loudness: LoudnessGoal | None
    track: int | None
    existing: Existing

    def plan(self) -> Plan:
        """What would be done."""
        if self.source.is_dir():
            paths, passed = find_audio(self.source, self.target)
            plan = plan_folder(paths, self.source, self.target, self.existing, self.raw, self.track)
            plan.failed = {**passed, **plan.failed}
            return plan
        plan = Plan()
        plan.add(self.name or self.source.name, self.source, self.target, self.existing, self.raw, self.track)
        plan.failed = {name: self.told(why) for name, why in plan.failed.items()}
        return plan

    def ends(self, name: str) -> tuple[Path, Path]:
        """A recording, by the name that reports have of it, and where its result lies."""
        if not self.source.is_dir():
            return self.source, self.target
        return self.source / name, self.target / written_name(Path(name))

    def told(self, text: str) -> str:
        """A message, with what the user calls the source in place of where it lies."""
        return text if self.name is None else text.replace(str(self.source), self.name)


def main(options: Enhance) -> None:
    """Enhance a file, or all files of a folder."""
    prepare(options.threads)
    with stopped_in_order(), _job(options) as job:
        _run(options, job)


def _run(options: Enhance, job: _Job) -> None:
    model = options.model or "default"
    if options.overwrite is None and not (options.dry_run or job.piped or job.source.is_dir()):
        ask_to_replace(job.source, job.target, job.raw, job.track)
    enhancer = _enhancer(options, model)
    if job.source.is_dir():
        _tell_results(job)
    if options.dry_run:
        plan = job.plan()
        rehearse(enhancer, plan)
        _tell_newer(plan.skipped, job)
        _tell_failures(plan.failed)
        if plan.failed:
            raise typer.Exit(1)
        return
    if options.engine is not None or options.address is not None:
        report = _scaled(options, job, model, enhancer)
    elif job.source.is_dir():
        report = enhancer.enhance_dir(
            job.source,
            job.target,
            existing=job.existing,
            workers=options.workers,
            raw=job.raw,
            loudness=job.loudness,
            track=job.track,
        )
    else:
        report = _one(enhancer, job)
    _tell(report, job, enhancer)
    if job.output is not None:
        write_tables(job.output, report, enhancer, model, None if job.piped else job.target)
    undrawn = _draw(report, job) if options.picture else 0
    if job.output is not None:
        (note if job.piped else show)(f"results in {job.output}")
    if report.failed or undrawn:
        raise typer.Exit(1)


def _tell_results(job: _Job) -> None:
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


def _scaled(options: Enhance, job: _Job, model: str, enhancer: Enhancer) -> FolderReport:
    """A folder file by file, with what is finished kept.

    Raises:
        ConfigError: a single file, or --address without --engine.
    """
    from speech.scale import enhance_dir

    where = options.where(options.workers)
    if not job.source.is_dir():
        raise ConfigError(f"--engine takes a folder, and {job.source} is none; leave it out for a single file")
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


@contextlib.contextmanager
def _job(options: Enhance) -> Iterator[_Job]:
    """What the options ask for. The folder for the report, if any, is made; what comes through a pipe is read."""
    loudness, raw = checked_goal(options.loudness), _raw(options)
    source, output = options.source, options.output
    if options.target is not None:
        refuse_unnamed(options.target)
    target = None if options.target is None else Path(options.target)
    if source != STANDARD and not source.exists():
        raise DataError(f"{source}: no such file or folder; name a recording, or a folder of them")
    piped = target == STANDARD
    if piped and source.is_dir():
        raise DataError(f"{source} is a folder, which standard output does not take; name a folder for the results")
    if piped and options.picture and output is None:
        raise ConfigError("--picture draws beside OUT, which is standard output; give --output FOLDER")
    if target is None and output is None:
        output = Path("runs/enhance")
    if output is not None and not options.dry_run:
        claim_output(output)
    with contextlib.ExitStack() as stack:
        name, called = None, written_name(Path(source.name))
        if is_pipe(source):
            name = name_of(source)
            called = Path("stdin.wav" if source == STANDARD else f"{source.name}.wav")
            source = stack.enter_context(spooled(source, raw is not None))
        if piped:
            target = Path("stdout.wav") if options.dry_run else stack.enter_context(standard_output())
        elif target is None:
            assert output is not None
            target = output / "enhanced" if source.is_dir() else output / "enhanced" / called
        elif source.is_dir() and target.is_file():
            raise DataError(f"{target} is a file, {source} a folder; name a folder for the enhanced files")
        elif source.is_file():
            target = target_of(called, options.target or target)
        overwrite = options.overwrite if options.overwrite is not None else not source.is_dir()
        existing: Existing = "overwrite" if overwrite else "skip"
        yield _Job(source, target, name, output, piped, raw, loudness, options.track, existing)


def _raw(options: Enhance) -> RawFormat | None:
    """What .raw files hold, where the options tell it.

    Raises:
        ConfigError: they tell no rate, or what cannot be.
    """
    if options.raw_rate is not None:
        if options.source.is_file() and options.source.suffix.lower() != ".raw":
            note(f"--raw-rate is of .raw files; {options.source} is read as it says itself")
        return RawFormat(options.raw_rate, options.raw_channels, options.raw_subtype)
    if (options.raw_channels, options.raw_subtype) != (Enhance.raw_channels, Enhance.raw_subtype):
        raise ConfigError("--raw-channels and --raw-subtype are of .raw files; give their --raw-rate too")
    return None


def _one(enhancer: Enhancer, job: _Job) -> FolderReport:
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


def _draw(report: FolderReport, job: _Job) -> int:
    """Draw what was enhanced; how many pictures could not be, as where the disk is full, which is told."""
    from speech.audio.plots import picture_files

    failed = dict[str, str]()
    for file in track(report.files, "pictures", "files", total=len(report.files), show=len(report.files) > 1):
        noisy = job.source / file.name if job.source.is_dir() else job.source
        place = file.target if job.output is None else job.output / "pictures" / file.name
        try:
            written, tracks = _written(file, noisy, job.raw), (job.track, file.track)
            picture_files(_picture_beside(place), noisy, file.target, file.name, job.raw, written, tracks)
        except (DiffusionError, OSError) as error:
            failed[file.name] = f"enhanced, and no picture drawn: {job.told(str(error))}"
    if report.skipped:
        note(f"--picture: of what is skipped no picture is drawn ({len(report.skipped)})")
    _tell_failures(failed)
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


def _tell(report: FolderReport, job: _Job, enhancer: Enhancer) -> None:
    """What came of it, on the console; on standard error alone where standard output takes the sound."""
    tell: Callable[[str], None] = note if job.piped else show
    _tell_failures(report.failed)
    for file in report.files:
        if file.replaced:
            said = told_replaced(file.replaced)
            if job.raw is not None and Path(file.name).suffix.lower() in (".raw", ""):  # none: what is piped in
                said += f"; bare samples of another kind than {job.raw.subtype} need --raw-subtype"
            note(f"{file.name}: {said}")
    noted = [(file.name, text) for file in report.files for text in file.notes]
    for name, text in noted[:_SHOWN]:
        note(f"{name}: {text}")
    if len(noted) > _SHOWN:
        note(f"… and {len(noted) - _SHOWN} more notes")
    if report.skipped:
        note(f"{len(report.skipped)} skipped: the target exists (--overwrite makes it anew)")
        _tell_newer(report.skipped, job)
    if report.files:
        where = "standard output" if job.piped else str(job.target)
        rtf = report.real_time_factor
        speed = f"{report.before} of them before" if rtf is None else f"real-time factor {rtf:.3g}"
        tell(
            f"{len(report.files)} enhanced ({report.audio_seconds:.1f} s of audio in {report.seconds:.1f} s, {speed}, "
            f"{report.nfe} network calls): {where}"
        )
    if len(report.files) == 1 and not job.source.is_dir():
        tell(_taken(report.files[0], enhancer))


def _tell_newer(skipped: Sequence[str], job: _Job) -> None:
    """Which of the files that are skipped changed since: recorded anew, or while they were enhanced."""
    newer = [name for name in skipped if is_newer(*job.ends(name))]
    if newer:
        said = "1 recording that is skipped" if len(newer) == 1 else f"{len(newer)} recordings that are skipped"
        note(f"{said} changed after the result was made ({first_few(newer, 3)}): --overwrite makes it anew")


def _tell_failures(failed: dict[str, str]) -> None:
    for name, why in list(failed.items())[:_SHOWN]:
        fail(f"failed: {name}: {why}")
    if len(failed) > _SHOWN:
        fail(f"… and {len(failed) - _SHOWN} more")


def _taken(file: FileResult, enhancer: Enhancer) -> str:
    """What was removed from a file, and how far the draws, or the networks, agree."""
    assert file.removed is not None
    said = [f"removed {file.removed.overall:z.1f} dB overall"]
    if file.removed.in_pauses is not None:
        said[0] += f", {file.removed.in_pauses:z.1f} dB in pauses ({100 * file.removed.pauses:.0f} % of the time)"
    if file.loudness is not None:
        said.append(f"loudness {file.loudness:.1f} LUFS")
    if file.spread is not None:
        whose = "draws" if enhancer.quality == "standard" else "results of its two networks"
        said.append(f"{whose} are {-file.spread:.1f} dB below the result apart from it")
    elif enhancer.quality == "best":
        said.append("two networks that hear nothing agree")
    elif enhancer.engine.is_deterministic:
        said.append("one deterministic result: nothing tells how sure it is")
    else:
        said.append("one draw: --draws 4 tells how far draws agree")
    return "; ".join(said)
