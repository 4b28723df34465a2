"""Tables of sources: what is to be taken, and SOURCES.tsv, of what each thing that was made is made."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import ConfigError
from shared.files.io import atomic_path

S = TypeVar("S")
T = TypeVar("T")


def read_listing(path: Path, source: type[S], item: type[T]) -> tuple[dict[str, S], list[T]]:
    """The sources by name, from the lines that start with '#source', and the items; other lines with '#' say nothing.

    Args:
        source, item: dataclasses of the fields of such lines; the first of a source is its name.

    Raises:
        ConfigError: a line has too few or too many fields, or a split that is neither train nor valid.
    """
    sources: dict[str, S] = {}
    items: list[T] = []
    with open(path, encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if row and row[0] == "#source":
                sources[row[1]] = _made(source, row[1:], f"{path}, line {number}")
            elif row and not row[0].startswith("#"):
                items.append(_made(item, row, f"{path}, line {number}"))
    return sources, items


def _made(cls: type[T], row: list[str], where: str) -> T:
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    named: dict[str, Any] = dict(zip(names, row, strict=False))
    if len(row) != len(names) or named.get("split", "train") not in ("train", "valid"):
        needed = f"{len(names)} fields are needed ({', '.join(names)}; a split is train or valid)"
        raise ConfigError(f"{where}: {row}, where {needed}")
    return cls(**named)


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
