"""`speech evaluate`: scores of enhanced files, or of what a model makes of noisy ones, beside those of the noisy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import typer

from shared.console.command import claim_output, fail, prepare, show
from shared.console.tables import rich_table
from shared.devices import compute_device
from shared.errors import ConfigError
from speech.audio.coding import written_name
from speech.commands.common import shared_speech
from speech.commands.options import Evaluate
from speech.metrics import chosen_metrics, evaluate, write_report
from speech.metrics.evaluation import name_of, paired_files
from speech.metrics.report import as_rows

if TYPE_CHECKING:
    from shared.scale.run import Where
    from speech.inference.folders import FolderReport

_SHOWN_FAILURES = 20


def main(options: Evaluate) -> None:
    """Score enhanced speech against the clean, or by itself, and leave the scores in --output."""
    (clean, enhanced, noisy), output = _folders(options), options.output
    chosen = chosen_metrics(options.metrics or None, noise=noisy is not None, reference=not options.no_reference)
    scaled = options.engine is not None or options.address is not None
    where = options.where(options.workers) if scaled else None
    prepare(options.threads)
    if enhanced is None and noisy is not None:
        _refuse_inside(output, noisy, clean)
        paired_files({"noisy": noisy} if clean is None else {"clean": clean, "noisy": noisy})  # before the work
    claim_output(output)
    report = None
    if enhanced is None and noisy is not None:
        enhanced = output / "enhanced"
        if noisy.is_file():
            enhanced /= written_name(Path(noisy.name))
        report = _enhance(noisy, enhanced, options, where)
    assert enhanced is not None
    made = None if report is None else [file.target for file in report.files]  # not those of an earlier run
    how: dict[str, Any] = {"metrics": chosen, "align": options.align, "files": made}
    if where is not None:
        from speech import scale

        frame = scale.evaluate(clean, enhanced, noisy, output=output / "scored", **how, **where)
    else:
        frame = evaluate(clean, enhanced, noisy, workers=options.workers, **how)
    if report is not None:
        _explain(frame, report)
    rtf = None if report is None else report.real_time_factor
    found = write_report(output, frame, title="Speech enhancement", rtf=rtf, nfe=report.nfe if report else None)
    head, *rows = as_rows(frame)
    show(rich_table(head, rows, caption="mean ± standard deviation [95 % interval of the mean]"))
    for failure in found["failed"][:_SHOWN_FAILURES]:
        fail(f"not scored in full: {failure['file']}: {failure['reason']}")
    if (more := len(found["failed"]) - _SHOWN_FAILURES) > 0:
        fail(f"and {more} more, which {output / 'metrics.md'} lists")
    if rtf is not None:
        show(f"real-time factor {rtf:.3g}, {found['nfe']} network calls")
    show(f"results in {output}")
    if found["failed"]:
        raise typer.Exit(1)


def _folders(options: Evaluate) -> tuple[Path | None, Path | None, Path | None]:
    """Clean, enhanced and noisy recordings; the enhanced are None where the noisy are to be enhanced first.

    Raises:
        ConfigError: there is nothing to score, or options that nothing is made of.
    """
    clean, enhanced, noisy = options.clean, options.enhanced, options.noisy
    if options.no_reference:
        clean, enhanced = None, _alone(clean, enhanced, options.align)
    elif clean is None:
        pairs = shared_speech() / "test_pairs"
        clean, noisy = pairs / "clean", noisy or pairs / "noisy"
    if enhanced is None and noisy is None:
        raise ConfigError(
            "there is nothing to score: name the enhanced file or folder of them, or --noisy to enhance it first"
        )
    quality = None if options.quality == "standard" else options.quality
    unused = {"--model": options.model, "--quality": quality, "--sampler": options.sampler, "--steps": options.steps}
    for option, value in unused.items() if enhanced is not None else ():
        if value is not None:
            raise ConfigError(f"{option} {value} enhances --noisy; leave it out, or {enhanced}")
    return clean, enhanced, noisy


def _alone(recordings: Path | None, more: Path | None, align: bool) -> Path | None:
    """The recordings that are scored without clean ones."""
    if more is not None:
        raise ConfigError(f"--no-reference scores the recordings of one folder, {recordings}; leave {more} out")
    if align:
        raise ConfigError("--align looks for a delay against clean recordings; leave it out with --no-reference")
    return recordings


def _refuse_inside(output: Path, *folders: Path | None) -> None:
    """Refuse to put what is enhanced where it would be taken for a recording.

    Raises:
        ConfigError: the folder for the results lies in one of recordings.
    """
    for folder in folders:
        if folder is not None and output.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"--output {output} lies in {folder}, whose recordings are scored, and what is enhanced would be "
                "one of them; choose a folder outside"
            )


def _enhance(noisy: Path, target: Path, options: Evaluate, where: Where | None) -> FolderReport:
    """Enhance the noisy recordings; a single one that cannot be is the command's error.

    Raises:
        ConfigError: --engine for a single one.
    """
    from speech.enhancer import Enhancer
    from speech.inference.folders import FolderReport
    from speech.loading import load_model

    model, device = options.model or "default", compute_device(options.device)
    settings: dict[str, Any] = {"sampler": options.sampler, "steps": options.steps, "seed": options.seed}
    settings["quality"] = options.quality
    if where is not None:
        if noisy.is_file():
            raise ConfigError(f"--engine takes a folder, and {noisy} is none; leave it out for a single file")
        from speech import scale

        report = scale.enhance_dir(
            noisy, target, model=model, device=str(device), existing="overwrite", enhancer=settings, **where
        )
    else:
        enhancer = Enhancer(load_model(model), device=device, **settings)
        if noisy.is_file():
            started = time.perf_counter()
            file = enhancer.enhance_file(noisy, target, progress=True)
            return FolderReport([file], seconds=time.perf_counter() - started)
        report = enhancer.enhance_dir(noisy, target, existing="overwrite")
    for name in report.failed:
        (target / name).unlink(missing_ok=True)
    return report


def _explain(frame: pd.DataFrame, report: FolderReport) -> None:
    """Give the files that could not be enhanced that reason, in place of the missing file."""
    for name, why in report.failed.items():
        frame.loc[frame["file"] == name_of(Path(name)), "reason"] = f"not enhanced: {why}"
