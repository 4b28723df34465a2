"""`speech enhance`: a noisy file, or a folder of them, and what becomes of it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from shared.console.command import claim_output, fail, given, note, prepare, show
from shared.console.tables import markdown
from shared.devices import compute_device
from shared.errors import ConfigError, DataError, DiffusionError
from shared.files.io import write_json, write_text
from shared.files.settings import plain
from speech.audio.files import RawFormat
from speech.commands.options import Enhance
from speech.enhancer import Enhancer, load_model
from speech.inference.files import FileResult
from speech.inference.folders import FolderReport

_SHOWN = 20


def main(options: Enhance) -> None:
    """Enhance a file, or all files of a folder."""
    prepare(options.threads)
    source, target, output = _places(options)
    raw = (
        RawFormat(options.raw_rate, options.raw_channels, options.raw_subtype) if options.raw_rate is not None else None
    )
    model = options.model or "default"
    loaded = load_model(model)
    changed = given(reverse_starting_point=options.start, precision=options.precision, suppression=options.suppression)
    enhancer = Enhancer(
        loaded,
        options.sampler,
        options.steps,
        device=compute_device(options.device),
        seed=options.seed,
        draws=options.draws,
        mix=options.mix,
        window_seconds=options.window,
        overlap_seconds=min(2.0, options.window / 4),
        batch_size=options.batch_size,
        sampling=replace(loaded.config.sampling, **changed),
        upper_band=options.upper_band,  # type: ignore[arg-type]
    )
    if source.is_dir():
        existing = "overwrite" if options.overwrite else "skip"
        report = enhancer.enhance_dir(source, target, existing=existing, workers=options.workers, raw=raw)  # type: ignore[arg-type]
    else:
        report = _one(enhancer, source, target, raw, options.overwrite is not False)
    if options.picture:
        _draw(report, source, target, output, raw)
    _tell(report, target)
    if output is not None:
        _write(output, report, enhancer, model)
        show(f"results in {output}")
    if report.failed:
        raise typer.Exit(1)


def _places(options: Enhance) -> tuple[Path, Path, Path | None]:
    """What is enhanced, where to, and the folder for the report, if any, which is made."""
    source, target, output = options.source, options.target, options.output
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; name a recording, or a folder of them")
    if target is None and output is None:
        output = Path("runs/enhance")
    if output is not None:
        claim_output(output)
    if target is None:
        assert output is not None
        target = output / "enhanced" if source.is_dir() else output / "enhanced" / source.name
    elif source.is_dir() and target.is_file():
        raise DataError(f"{target} is a file, {source} a folder; name a folder for the enhanced files")
    elif source.is_file() and target.is_dir():
        target = target / source.name
    return source, target, output


def _one(enhancer: Enhancer, source: Path, target: Path, raw: RawFormat | None, overwrite: bool) -> FolderReport:
    """A single file as a folder of one."""
    report = FolderReport()
    started = time.perf_counter()
    if target.exists() and not overwrite:
        report.skipped.append(source.name)
        return report
    try:
        report.files.append(enhancer.enhance_file(source, target, raw=raw, progress=True))
    except (DiffusionError, OSError) as error:
        if isinstance(error, ConfigError):
            raise
        report.failed[source.name] = str(error)
    report.seconds = time.perf_counter() - started
    return report


def _draw(report: FolderReport, source: Path, target: Path, output: Path | None, raw: RawFormat | None) -> None:
    from speech.audio.plots import picture_files

    for file in report.files:
        noisy, enhanced = (source / file.name, target / file.name) if source.is_dir() else (source, target)
        place = enhanced if output is None else output / "pictures" / file.name
        picture_files(_picture_beside(place), noisy, enhanced, file.name, raw)


def _picture_beside(file: Path) -> Path:
    """The file's name and .png, cut to what file systems take."""
    name = file.name
    while len(os.fsencode(name)) > 255 - len(".png"):
        name = name[:-1]
    return file.with_name(f"{name}.png")


def _tell(report: FolderReport, target: Path) -> None:
    """What came of it, on the console."""
    for name, why in list(report.failed.items())[:_SHOWN]:
        fail(f"failed: {name}: {why}")
    if len(report.failed) > _SHOWN:
        fail(f"… and {len(report.failed) - _SHOWN} more")
    for file in report.files:
        if file.replaced:
            note(f"{file.name}: {file.replaced} samples not finite, taken for 0")
    noted = [(file.name, text) for file in report.files for text in file.notes]
    for name, text in noted[:_SHOWN]:
        note(f"{name}: {text}")
    if len(noted) > _SHOWN:
        note(f"… and {len(noted) - _SHOWN} more notes")
    if report.skipped:
        note(f"{len(report.skipped)} skipped: the target exists (--overwrite makes it anew)")
    if report.files:
        show(
            f"{len(report.files)} enhanced ({report.audio_seconds:.1f} s of audio in {report.seconds:.1f} s, real-time "
            f"factor {report.seconds / report.audio_seconds:.3g}, {report.nfe} network calls): {target}"
        )


def _write(output: Path, report: FolderReport, enhancer: Enhancer, model: str) -> None:
    audio = report.audio_seconds
    metrics: dict[str, Any] = {
        "files": len(report.files),
        "seconds": {"audio": audio, "enhance": report.seconds},
        "rtf": report.seconds / audio if audio else None,
        "nfe": report.nfe,
        "failed": [{"file": name, "reason": why} for name, why in report.failed.items()],
        "skipped": report.skipped,
        "notes": [{"file": file.name, "note": text} for file in report.files for text in file.notes],
        "model": model,
        "sampler": plain(enhancer.sampling)["sampler"],
        "steps": enhancer.sampling.steps,
        "suppression": enhancer.sampling.suppression,
        "seed": enhancer.seed,
        "draws": enhancer.draws,
        "mix": enhancer.mix,
        "upper_band": enhancer.upper_band,
    }
    write_json(output / "metrics.json", metrics)
    rows = [_row(file) for file in report.files]
    rows += [[name, "", "", "", "", "skipped: the target exists"] for name in report.skipped]
    rows += [[name, "", "", "", "", f"failed: {why}"] for name, why in report.failed.items()]
    head = ["file", "seconds", "channels", "rate, Hz", "network calls", ""]
    write_text(output / "metrics.md", markdown(head, rows, left=len(head)))


def _row(file: FileResult) -> list[str]:
    notes = [f"{file.replaced} samples not finite"] if file.replaced else []
    numbers = [f"{file.seconds:.2f}", str(file.channels), str(file.sample_rate), str(file.nfe)]
    return [file.name, *numbers, "; ".join([*notes, *file.notes])]
