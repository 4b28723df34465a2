"""`speech enhance`: a noisy file, or a folder of them, and what becomes of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.errors import ConfigError, DataError, DiffusionError
from shared.files.io import write_json, write_text
from speech.audio.files import RawFormat
from speech.commands.common import (
    DeviceOption,
    SeedOption,
    ThreadsOption,
    claim_output,
    fail,
    note,
    pick_device,
    prepare,
    show,
)
from speech.enhancer import Enhancer, load_model
from speech.inference.folders import FolderReport
from speech.model.config import SamplingConfig

_SHOWN = 20


def main(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Noisy file, or folder of noisy files; folders in it too.")
    ],
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="Enhanced file (its suffix decides the format), or folder for enhanced files; left out, "
            "enhanced/ in --output.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="Model: bundled name, folder (./NAME), hub id, or a published .ckpt.")
    ] = "default",
    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler",
            help="pc, ode (adaptive), sb_ode, sb_sde (bridges), ode1, ode2, ode3, sde1, sde2, euler, heun; left out, "
            "the model's own.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Steps of the sampler; left out, the model's own.")
    ] = None,
    start: Annotated[
        float | None,
        typer.Option("--reverse-starting-point", help="Time in (0, 1] where sampling starts; below 1 is faster."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="float32 or bfloat16, which is faster and coarser [the model's own]."),
    ] = None,
    suppression: Annotated[
        float | None,
        typer.Option("--suppression", help="Power of the gains: 1 as estimated, above 1 stronger [the model's own]."),
    ] = None,
    draws: Annotated[int, typer.Option("--draws", help="Results to average.")] = 1,
    mix: Annotated[float, typer.Option("--mix", help="Share of the enhanced signal; the rest is the noisy one.")] = 1.0,
    upper_band: Annotated[
        str | None,
        typer.Option(
            "--upper-band",
            help="Of recordings at higher rates than the model's, what lies above its band: follow (kept, with a gain "
            "like the model's) or drop [follow].",
        ),
    ] = None,
    overwrite: Annotated[
        bool | None,
        typer.Option(
            "--overwrite/--skip", help="What to do about targets that exist [skip in folders, else overwrite]."
        ),
    ] = None,
    picture: Annotated[
        bool, typer.Option("--picture", help="Draw spectrograms before and after; beside OUT, or in --output.")
    ] = False,
    window: Annotated[float, typer.Option("--window", help="Seconds of a recording that are enhanced at once.")] = 16.0,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Windows at a time [1 on a CPU, 4 on a GPU].")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Batches of a folder at a time [one per CPU thread; 2 on a GPU].")
    ] = None,
    raw_rate: Annotated[int | None, typer.Option("--raw-rate", help="Rate in Hz of .raw files (bare samples).")] = None,
    raw_channels: Annotated[int, typer.Option("--raw-channels", help="Channels of .raw files.")] = 1,
    raw_subtype: Annotated[str, typer.Option("--raw-subtype", help="FLOAT, PCM_16, … of .raw files.")] = "FLOAT",
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Folder for metrics.json, metrics.md and pictures [runs/enhance without OUT]."),
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
) -> None:
    """Enhance noisy speech: a file, or all files of a folder. Any rate, length and channels; the result keeps them.

    Files that cannot be enhanced are listed with the reason, the others are finished, and the exit status is then 1.
    """
    prepare(threads)
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
    raw = RawFormat(raw_rate, raw_channels, raw_subtype) if raw_rate is not None else None
    loaded = load_model(model)
    enhancer = Enhancer(
        loaded,
        sampler,  # type: ignore[arg-type]
        steps,
        device=pick_device(device),
        seed=seed,
        draws=draws,
        mix=mix,
        window_seconds=window,
        overlap_seconds=min(2.0, window / 4),
        batch_size=batch_size,
        sampling=_changed(loaded.config.sampling, start, precision, suppression),
        upper_band=upper_band,  # type: ignore[arg-type]
    )
    if source.is_dir():
        existing = "overwrite" if overwrite else "skip"
        report = enhancer.enhance_dir(source, target, existing=existing, workers=workers, raw=raw)  # type: ignore[arg-type]
    else:
        report = _one(enhancer, source, target, raw, overwrite is not False)
    if picture:
        _draw(report, source, target, output, raw)
    _tell(report, target)
    if output is not None:
        _write(output, report, enhancer, model)
        show(f"results in {output}")
    if report.failed:
        raise typer.Exit(1)


def _changed(
    sampling: SamplingConfig, start: float | None, precision: str | None, suppression: float | None
) -> SamplingConfig:
    """The model's own way to sample, with what the options say instead."""
    if start is not None:
        sampling = replace(sampling, reverse_starting_point=start)
    if precision is not None:
        sampling = replace(sampling, precision=precision)  # type: ignore[arg-type]
    if suppression is not None:
        sampling = replace(sampling, suppression=suppression)
    return sampling


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
        "sampler": enhancer.sampling.sampler,
        "steps": enhancer.sampling.steps,
        "suppression": enhancer.sampling.suppression,
        "seed": enhancer.seed,
        "draws": enhancer.draws,
        "mix": enhancer.mix,
        "upper_band": enhancer.upper_band,
    }
    write_json(output / "metrics.json", metrics)
    write_text(output / "metrics.md", "\n".join(_lines(report)) + "\n")


def _lines(report: FolderReport) -> Iterator[str]:
    yield "| file | seconds | channels | rate, Hz | network calls | |"
    yield "|---|---|---|---|---|---|"
    for file in report.files:
        notes = [f"{file.replaced} samples not finite"] if file.replaced else []
        note = "; ".join([*notes, *file.notes])
        yield f"| {file.name} | {file.seconds:.2f} | {file.channels} | {file.sample_rate} | {file.nfe} | {note} |"
    for name in report.skipped:
        yield f"| {name} | | | | | skipped: the target exists |"
    for name, why in report.failed.items():
        yield f"| {name} | | | | | failed: {why} |"
