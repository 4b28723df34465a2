"""`speech evaluate`: scores of enhanced files, or of what a model makes of noisy ones, beside those of the noisy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from rich.table import Table

from shared.errors import ConfigError
from speech.commands.common import (
    DeviceOption,
    SeedOption,
    ThreadsOption,
    claim_output,
    fail,
    pick_device,
    prepare,
    shared_speech,
    show,
)
from speech.metrics import DEFAULT_METRICS, METRICS, evaluate, write_report
from speech.metrics.evaluation import name_of
from speech.metrics.measures import chosen_metrics
from speech.metrics.report import as_rows

if TYPE_CHECKING:
    from speech.inference.folders import FolderReport

_SHOWN_FAILURES = 20


def main(
    clean: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of clean files (with --no-reference, of the recordings to score); left out, clean/ of "
            "$SHARED_DATA/speech/test_pairs, and its noisy/."
        ),
    ] = None,
    enhanced: Annotated[
        Path | None, typer.Argument(help="Folder of enhanced files; left out, those of --noisy are enhanced first.")
    ] = None,
    noisy: Annotated[Path | None, typer.Option("--noisy", help="Folder of the noisy files.")] = None,
    no_reference: Annotated[
        bool, typer.Option("--no-reference", help="There are no clean files: score each recording alone, by DNSMOS.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Model that enhances: folder, bundled name, or a published .ckpt [default]."),
    ] = None,
    sampler: Annotated[str | None, typer.Option("--sampler", help="In place of the model's own.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="In place of the model's own.", min=1)] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help=f"Give it once for each of: {', '.join(METRICS)}; or all. Left out: {', '.join(DEFAULT_METRICS)}; "
            "with --no-reference the four of DNSMOS.",
        ),
    ] = None,
    align: Annotated[bool, typer.Option("--align", help="Take out a constant delay of each file first.")] = False,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes that score [one a core].", min=1)] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder for the results.")] = Path("runs/evaluate_speech"),
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
) -> None:
    """Score enhanced speech against the clean, or by itself: metrics.json, metrics.md, per_file.csv, summary.csv,
    metrics.png.

    Files are paired by name. Files that cannot be scored are listed with the reason and left out of the means; the exit
    status is then 1.
    """
    if no_reference:
        clean, enhanced = None, _alone(clean, enhanced, align)
    elif clean is None:
        pairs = shared_speech() / "test_pairs"
        clean, noisy = pairs / "clean", noisy or pairs / "noisy"
    if enhanced is not None:
        unused = {"--model": model, "--sampler": sampler, "--steps": steps}
        for option, value in unused.items():
            if value is not None:
                raise ConfigError(f"{option} {value} enhances --noisy; leave it out, or the folder {enhanced}")
    elif noisy is None:
        raise ConfigError(
            "there is nothing to score: name the folder of enhanced files, or --noisy to enhance it first"
        )
    chosen = chosen_metrics(metrics or None, noise=noisy is not None, reference=not no_reference)
    prepare(threads)
    claim_output(output)
    report = None
    if enhanced is None and noisy is not None:
        enhanced = output / "enhanced"
        report = _enhance(noisy, enhanced, model or "default", sampler, steps, device, seed)
    assert enhanced is not None
    frame = evaluate(clean, enhanced, noisy, metrics=chosen, workers=workers, align=align)
    if report is not None:
        _explain(frame, report)
    rtf = report.seconds / report.audio_seconds if report is not None and report.audio_seconds else None
    found = write_report(output, frame, title="Speech enhancement", rtf=rtf, nfe=report.nfe if report else None)
    _show(frame)
    for failure in found["failed"][:_SHOWN_FAILURES]:
        fail(f"not scored in full: {failure['file']}: {failure['reason']}")
    if rtf is not None:
        show(f"real-time factor {rtf:.3g}, {found['nfe']} network calls")
    show(f"results in {output}")
    if found["failed"]:
        raise typer.Exit(1)


def _alone(recordings: Path | None, more: Path | None, align: bool) -> Path | None:
    """The recordings that are scored without clean ones."""
    if more is not None:
        raise ConfigError(f"--no-reference scores the recordings of one folder, {recordings}; leave {more} out")
    if align:
        raise ConfigError("--align looks for a delay against clean recordings; leave it out with --no-reference")
    return recordings


def _enhance(
    noisy: Path, target: Path, model: str, sampler: str | None, steps: int | None, device: str, seed: int
) -> FolderReport:
    from speech.enhancer import Enhancer, load_model

    enhancer = Enhancer(load_model(model), sampler, steps, device=pick_device(device), seed=seed)  # type: ignore[arg-type]
    report = enhancer.enhance_dir(noisy, target, existing="overwrite")
    for name in report.failed:
        (target / name).unlink(missing_ok=True)
    return report


def _explain(frame: pd.DataFrame, report: FolderReport) -> None:
    """Give the files that could not be enhanced that reason, in place of the missing file."""
    for name, why in report.failed.items():
        frame.loc[frame["file"] == name_of(Path(name)), "reason"] = f"not enhanced: {why}"


def _show(frame: pd.DataFrame) -> None:
    head, *rows = as_rows(frame)
    shown = Table(*head, caption="mean ± standard deviation [95 % interval of the mean]")
    for row in rows:
        shown.add_row(*row)
    show(shown)
