"""Make families of real series to train and to validate forecasters with, out of tables that are free to use.

    python recipes/series_sets.py --list
    python recipes/series_sets.py --sources sources --output data/series

`recipes/series_sets.tsv` names each family: where its tables lie and at which commit, their licence (CC0, PDDL, CC-BY,
MIT and alike, government works; never NC, ND, SA or GPL), who published them, how the tables are laid out, and whether
the family trains or validates. `--list` says how each source is got: clone GitHub's datasets/euribor into
sources/datasets+euribor; what is not there is left out and said. Each family becomes a folder in GluonTS's layout,
`train/<name>` or `valid/<name>`; series that teach nothing (`reason_against`) are left out. `SOURCES.tsv` says what was
made of what. The same clones and seed give the same series. Nothing of it is committed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from free_sources.families import entries_of, write
from free_sources.listing import read_listing, write_sources
from free_sources.tables import TABLE, Checkout, Family, Source

from shared.console.command import prepare, run, show
from shared.errors import ConfigError

HEAD = ("folder", "frequency", "horizon", "series", "values", "got", "paths", "licence", "said in", "by")
"""Fields of SOURCES.tsv."""


def main(
    sources: Annotated[Path | None, typer.Option(help="Folder that has one folder a source.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for train/ and valid/.")] = Path("runs/series_sets"),
    table: Annotated[Path, typer.Option(help="What is taken.", exists=True, dir_okay=False)] = TABLE,
    only: Annotated[list[str] | None, typer.Option(help="Families to make; left out, all.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Say how each source is got, and stop.")] = False,
    seed: Annotated[int, typer.Option(help="Of what is drawn where there are too many.", min=0)] = 0,
) -> None:
    """Make families of series to train and to validate with out of tables that are free to use."""
    prepare(1)
    known, families = read_listing(table, Source, Family)
    if listed:
        for source in known.values():
            show(f"{source.name}: {source.how} at {source.commit}")
        return
    if unknown := [name for name in only or () if name not in {one.name for one in families}]:
        raise ConfigError(f"--only {unknown[0]}: {table} has no such family")
    if sources is None or not sources.is_dir():
        raise ConfigError(f"--sources {sources} is no folder; --list says what belongs into it")
    lines: list[tuple[str, ...]] = []
    absent: list[str] = []
    seen: set[bytes] = set()
    for family in families:
        if only and family.name not in only:
            continue
        source = known[family.source]
        if not (sources / source.name).is_dir():
            absent.append(family.name)
            continue
        checkout = Checkout(sources / source.name, source.commit)
        entries, left_out = entries_of(family, checkout, source.day, seen, seed)
        said = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        if not entries:
            absent.append(family.name)
            show(f"{family.name}: no series ({said or 'no such file'})")
            continue
        name = f"{family.split}/{family.name}"
        write(entries, int(family.horizon), output / name)
        count = sum(len(entry["target"]) for entry in entries)  # type: ignore[arg-type]
        got = f"{source.how} at {source.commit}"
        about = (family.freq, family.horizon, str(len(entries)), str(count), got, family.paths)
        lines.append((name, *about, family.licence, family.stated, family.author))
        show(f"{name}: {len(entries)} series, {count} values" + (f"; left out: {said}" if said else ""))
    if not lines:
        raise ConfigError(f"--sources {sources}: none of the tables is there; --list says what belongs into it")
    write_sources(output, HEAD, lines)
    if absent:
        show(f"{len(absent)} families are not there, the first: {absent[0]}")
    show(f"{len(lines)} families, {sum(int(line[3]) for line in lines)} series: {output}")


if __name__ == "__main__":
    run(main, __doc__)
