"""What `speech enhance` says of what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shared.console.command import fail, note, show
from shared.errors import first_few
from speech.audio.arrays import told_replaced
from speech.audio.changes import is_newer
from speech.commands.job import Job
from speech.enhancer import Enhancer
from speech.inference.files import FileResult
from speech.inference.folders import FolderReport

_SHOWN = 20


def tell_report(report: FolderReport, job: Job, enhancer: Enhancer) -> None:
    """What came of it, on the console; on standard error alone where standard output takes the sound."""
    tell: Callable[[str], None] = note if job.piped else show
    tell_failures(report.failed, job)
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
        note(f"… and {len(noted) - _SHOWN} more notes{_where_all_are(job)}")
    if report.skipped:
        note(f"{len(report.skipped)} skipped: the target exists (--overwrite makes it anew)")
        tell_newer(report.skipped, job)
    if report.files:
        where = "standard output" if job.piped else str(job.target)
        rtf = report.real_time_factor
        speed = f"{report.before} of them before" if rtf is None else f"real-time factor {rtf:.3g}"
        tell(
            f"{len(report.files)} enhanced ({report.audio_seconds:.1f} s of audio in {report.seconds:.1f} s, {speed}, "
            f"{report.nfe} network calls): {where}"
        )
    if len(report.files) == 1 and not job.is_many:
        tell(_taken(report.files[0], enhancer))


def tell_newer(skipped: Sequence[str], job: Job) -> None:
    """Which of the files that are skipped changed since: recorded anew, or while they were enhanced."""
    newer = [name for name in skipped if is_newer(*job.ends(name))]
    if newer:
        said = "1 recording that is skipped" if len(newer) == 1 else f"{len(newer)} recordings that are skipped"
        note(f"{said} changed after the result was made ({first_few(newer, 3)}): --overwrite makes it anew")


def tell_failures(failed: dict[str, str], job: Job | None = None) -> None:
    """Which files failed, and why; the first of many, and where the others are told of a job that was done."""
    for name, why in list(failed.items())[:_SHOWN]:
        fail(f"failed: {name}: {why}")
    if len(failed) > _SHOWN:
        fail(f"… and {len(failed) - _SHOWN} more{'' if job is None else _where_all_are(job)}")


def _where_all_are(job: Job) -> str:
    return f": all are in {job.output / 'metrics.md'}" if job.output is not None else ": --output FOLDER lists all"


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
