"""SOURCES.tsv: what each thing that was made is made of, whose it is, and its licence."""

from __future__ import annotations

import csv
from pathlib import Path

from shared.files.io import atomic_path


def write_sources(output: Path, head: tuple[str, ...], lines: list[tuple[str, ...]]) -> None:
    """Write SOURCES.tsv, with the lines of an earlier run of which what was made is still there.

    Args:
        output: folder of what was made.
        head: names of the fields.
        lines: of what was made now; the first field is its path in `output`.

    Raises:
        OSError: it cannot be written.
    """
    path, made = output / "SOURCES.tsv", {line[0] for line in lines}
    kept: list[tuple[str, ...]] = []
    if path.is_file():
        with open(path, encoding="utf-8", newline="") as stream:
            before = [tuple(row) for row in csv.reader(stream, delimiter="\t")][1:]
        kept = [row for row in before if row and row[0] not in made and (output / row[0]).exists()]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(head)
        writer.writerows(sorted([*kept, *lines]))
