"""The tables that `speech enhance` writes of what it did: metrics.json, per_file.csv and metrics.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.console.command import note
from shared.console.tables import markdown
from shared.errors import ConfigError
from shared.files.documents import read_json
from shared.files.io import write_csv, write_json, write_text
from shared.files.settings import plain
from speech.audio.arrays import told_replaced
from speech.enhancer import Enhancer
from speech.inference.files import FileResult
from speech.inference.folders import FolderReport

Row = dict[str, Any]
"""Of a file, as `_numbers` makes it."""


def write_tables(output: Path, report: FolderReport, enhancer: Enhancer, model: str, target: Path | None) -> None:
    """Write what was done, with the rows that files which are skipped have in the tables that are there.

    Args:
        output: folder for the tables.
        report: of this run.
        enhancer, model: what enhanced, and what it is called.
        target: file or folder of the results; None for standard output.
    """
    import pandas as pd

    told = {file.name: _numbers(file, "-" if target is None else str(file.target)) for file in report.files}
    notes = {file.name: list(file.notes) for file in report.files}
    if target is not None:
        for row, noted in _rows_before(output, target, report.skipped):
            told[row["file"]], notes[row["file"]] = row, noted
    per_file = [told[name] for name in sorted(told)]
    metrics: Row = {
        "files": len(report.files),
        "seconds": {"audio": report.audio_seconds, "enhance": report.seconds},
        "rtf": report.real_time_factor,
        "nfe": report.nfe,
        "failed": [{"file": name, "reason": why} for name, why in report.failed.items()],
        "skipped": report.skipped,
        "notes": [{"file": row["file"], "note": text} for row in per_file for text in notes[row["file"]]],
        "per_file": per_file,
        "model": model,
        "sampler": plain(enhancer.sampling)["sampler"],
        "steps": enhancer.sampling.steps,
        "suppression": enhancer.sampling.suppression,
        "attenuation_limit": enhancer.sampling.attenuation_limit,
        "clean_share": enhancer.sampling.clean_share,
        "least_level": enhancer.sampling.least_level,
        "seed": enhancer.seed,
        "draws": enhancer.draws,
        "mix": enhancer.mix,
        "upper_band": enhancer.upper_band,
        "rate": enhancer.rate,
        "keep_music": enhancer.keep_music,
        "quality": enhancer.quality,
    }
    write_json(output / "metrics.json", metrics)
    if per_file:
        frame = pd.DataFrame(per_file)
        frame["notes"] = ["; ".join(notes[row["file"]]) for row in per_file]
        write_csv(output / "per_file.csv", frame)
    else:
        (output / "per_file.csv").unlink(missing_ok=True)  # an earlier run's
    rows = [_row(told[file.name], notes[file.name]) for file in report.files]
    for name in report.skipped:
        said = [*notes.get(name, []), "skipped: the target exists"]
        rows.append(_row(told[name], said) if name in told else [name, *[""] * 8, *said])
    rows += [[name, *[""] * 8, f"failed: {why}"] for name, why in report.failed.items()]
    head = ["file", "seconds", "channels", "rate, Hz", "network calls"]
    head += ["removed, dB", "in pauses, dB", "spread, dB", "loudness, LUFS", ""]
    write_text(output / "metrics.md", markdown(head, rows, left=len(head)))


def _rows_before(output: Path, target: Path, skipped: Sequence[str]) -> list[tuple[Row, list[str]]]:
    """The rows of files that are skipped in the tables that are there already, and the notes on each: of their results
    they hold still."""
    path, held = output / "metrics.json", set(skipped)
    if not held or not path.is_file():
        return []
    try:
        report = read_json(path)
        notes: dict[str, list[str]] = defaultdict(list)
        for one in report["notes"]:
            notes[one["file"]].append(one["note"])
        rows = [row for row in report["per_file"] if row["file"] in held and Path(row["output"]).is_relative_to(target)]
        for row in rows:
            _row(row, notes[row["file"]])  # before it is relied on
        return [(row, notes[row["file"]]) for row in rows]
    except (ConfigError, LookupError, TypeError, ValueError):
        note(f"{path} is no report of `speech enhance`; it is written anew, without rows of it")
        return []


def _numbers(file: FileResult, where: str) -> Row:
    """A file's row in the report, with where its result is; None where there is no such number."""
    removed = file.removed
    return {
        "file": file.name,
        "output": where,
        "seconds": file.seconds,
        "channels": file.channels,
        "sample_rate": file.sample_rate,
        "nfe": file.nfe,
        "not_finite": file.replaced,
        "removed_db": None if removed is None else removed.overall,
        "removed_in_pauses_db": None if removed is None else removed.in_pauses,
        "pauses": None if removed is None else removed.pauses,
        "spread_db": file.spread,
        "loudness_lufs": file.loudness,
        "peaks_limited_db": file.peaks_limited,
    }


def _row(numbers: Mapping[str, Any], notes: Sequence[str]) -> list[str]:
    """A file's row of Markdown, of what `_numbers` has."""
    said = [told_replaced(numbers["not_finite"])] if numbers["not_finite"] else []
    sizes = [f"{numbers['seconds']:.2f}", *(str(numbers[name]) for name in ("channels", "sample_rate", "nfe"))]
    levels = (numbers[name] for name in ("removed_db", "removed_in_pauses_db", "spread_db", "loudness_lufs"))
    decibels = ["" if value is None else f"{value:.1f}" for value in levels]
    return [numbers["file"], *sizes, *decibels, "; ".join([*said, *notes])]
