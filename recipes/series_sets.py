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

import csv
import gzip
import io
import json
import lzma
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Annotated
from zlib import crc32

import numpy as np
import pandas as pd
import typer

from shared.console.command import prepare, run, show
from shared.errors import ConfigError, DataError
from shared.files.io import atomic_path
from tsdiff.data.frequency import normalise_freq, quiet
from tsdiff.tasks.synthesis import save_series

TABLE = Path(__file__).with_suffix(".tsv")
MOST, MOST_YEARLY = 300, 60
"""Series of a family; of more, so many are drawn."""
LAST, LAST_FINE = 3000, 20000
"""Values of a series that are kept, and of one that is hourly or finer."""
FEWEST, HORIZONS = 20, 3
"""Values and horizons that a series has to have."""
STRAIGHT = 1 / 3
"""Share of steps that go on exactly as the one before, from which a series is taken for interpolated or projected."""
STILL = 3 / 4
"""Share of steps without a change, from which a series is taken for held."""
_OPTIONS = {"sep", "skip", "names", "decimal", "melt", "how", "where", "diff", "fill", "from", "until", "joined"}


@dataclass(frozen=True)
class Source:
    """A repository: how it is got, at which commit, and the day of that commit, after which nothing was observed."""

    name: str
    how: str
    commit: str
    day: str


@dataclass(frozen=True)
class Family:
    """A line of the table, whose first lines say how a layout is written."""

    name: str
    source: str
    paths: str
    licence: str
    stated: str
    author: str
    freq: str
    horizon: str
    split: str
    time: str
    ids: str
    values: str
    options: str

    @property
    def option(self) -> Mapping[str, str]:
        """Options by name.

        Raises:
            ConfigError: one is unknown.
        """
        pairs = [part.strip().partition("=")[::2] for part in self.options.split(";") if part.strip()]
        if unknown := [key for key, _ in pairs if key not in _OPTIONS]:
            raise ConfigError(f"{self.name}: unknown option {unknown[0]!r}; there are {', '.join(sorted(_OPTIONS))}")
        return dict(pairs)


def read_table(path: Path) -> tuple[dict[str, Source], list[Family]]:
    """The sources, from the lines that start with '#source', and the families.

    Raises:
        ConfigError: a line has too few or too many fields, or a split that is neither train nor valid.
    """
    sources: dict[str, Source] = {}
    families = []
    names = [field.name for field in fields(Family)]
    with open(path, encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if row and row[0] == "#source":
                if len(row) != 5:
                    raise ConfigError(f"{path}, line {number}: {row}, where a source has name, how, commit and day")
                sources[row[1]] = Source(*row[1:])
            elif row and not row[0].startswith("#"):
                if len(row) != len(names) or row[8] not in ("train", "valid"):
                    raise ConfigError(
                        f"{path}, line {number}: {row}, where {len(names)} fields are needed: {', '.join(names)}"
                    )
                families.append(Family(*row))
    return sources, families


class Checkout:
    """Files of a source: of a clone at its commit, also of a bare one or one below it, or else of a plain folder."""

    def __init__(self, folder: Path, commit: str) -> None:
        self.folder = folder
        found = (one for one in (folder / ".git", folder / "repo" / ".git", folder / "repo", folder))
        self.git = next((one for one in found if (one / "HEAD").is_file()), None)
        self.commit = commit
        if self.git is None:
            listed = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
            self.paths = sorted(listed)
        else:
            names = self._git("ls-tree", "-r", "-z", "--name-only", commit).decode("utf-8", "replace")
            self.paths = sorted(names.split("\0")[:-1])

    def _git(self, *arguments: str) -> bytes:
        done = subprocess.run(["git", f"--git-dir={self.git}", *arguments], capture_output=True, check=False)
        if done.returncode:
            raise DataError(f"{self.folder}: git {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def matching(self, patterns: str) -> list[str]:
        """Paths that match one of the patterns, which "|" is between."""
        wanted = patterns.split("|")
        return [path for path in self.paths if any(fnmatch(path, pattern) for pattern in wanted)]

    def read(self, path: str) -> bytes:
        """A file's content, unpacked if it ends in .gz or .xz."""
        content = (self.folder / path).read_bytes() if self.git is None else self._git("show", f"{self.commit}:{path}")
        if path.endswith(".gz"):
            return gzip.decompress(content)
        return lzma.decompress(content) if path.endswith(".xz") else content


def read_frame(content: bytes, path: str, option: Mapping[str, str]) -> pd.DataFrame:
    """A table as text, a row a row; names of columns are stripped.

    Raises:
        DataError: it is no table.
    """
    kind = PurePosixPath(path.removesuffix(".gz").removesuffix(".xz")).suffix.lower()
    names = option["names"].split(",") if "names" in option else None
    separator = option.get("sep", "tab" if kind == ".tsv" else ",")
    try:
        if kind == ".json":
            return pd.DataFrame(json.loads(content)).astype(str)
        if kind == ".parquet":
            return pd.read_parquet(io.BytesIO(content)).reset_index().astype(str)
        with quiet(pd.errors.ParserWarning):
            frame = pd.read_csv(
                io.BytesIO(content),
                sep={"tab": "\t", "space": r"\s+", "semicolon": ";"}.get(separator, separator),
                skiprows=int(option.get("skip", 0)),
                names=names,
                usecols=None if names is None else range(len(names)),
                compression="zip" if kind == ".zip" else None,
                encoding="utf-8-sig",
                encoding_errors="replace",
                dtype=str,
                index_col=False,  # rows longer than the header do not shift the columns
                skipinitialspace=True,
            )
    except ValueError as error:  # pandas' and json's own are of that kind
        raise DataError(f"{path}: cannot be read as a table ({str(error)[:200]})") from error
    return frame.rename(columns=lambda name: str(name).strip())


def periods_of(times: pd.Series, style: str, freq: str) -> pd.PeriodIndex:
    """Text as periods: of a strptime format, of ISO weeks ("%G-%V"), of quarters ("Q"), or ISO 8601 where it is empty.

    What cannot be read is NaT.
    """
    text = times.str.strip()
    with quiet(UserWarning):
        if style == "Q":
            parts = text.str.extract(r"^(\d{4})\D*([1-4])(?:\.0)?$").astype(float)
            text = (parts[0] * 100 + parts[1] * 3).astype("Int64").astype(str)
            style = "%Y%m"
        if style == "%Y":
            text = text.str.extract(r"^(\d{4})", expand=False)
        elif "%V" in style:
            text, style = text + "-1", style + "-%u"
        if style:
            stamps = pd.to_datetime(text, format=style, errors="coerce")
        else:
            stamps = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
        index = pd.DatetimeIndex(stamps)
        return (index.floor(freq) if freq.endswith("min") else index).to_period(freq)  # to_period begins anywhere


def _columns(names: str, frame: pd.DataFrame, family: Family) -> list[str]:
    """Names of columns, or their places as in "#0"."""
    places = {f"#{place}": str(name) for place, name in enumerate(frame.columns)}
    found = [places.get(name, name) for name in names.split("+")]
    if absent := [name for name in found if name not in frame.columns]:
        raise DataError(f"{family.name}: there is no column {absent[0]!r}, only {', '.join(map(str, frame.columns))}")
    return found


def _numbers(text: pd.Series, decimal: str) -> pd.Series:
    if decimal == ",":
        text = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return pd.to_numeric(text.str.replace(r"[, %$]", "", regex=True), errors="coerce").astype(np.float64)


def _values(frame: pd.DataFrame, family: Family, taken: list[str]) -> list[str]:
    """The columns of values: those named, or "*" for all others, or "*-" and those that are none of them."""
    if not family.values.startswith("*"):
        return _columns(family.values, frame, family)
    without = {*taken, *(_columns(family.values[2:], frame, family) if family.values[2:] else ())}
    return [str(name) for name in frame.columns if name not in without]


def tables_of(family: Family, frame: pd.DataFrame, freq: str) -> pd.DataFrame:
    """A table's series: periods × series, missing where there is none; ends that are not whole periods are missing."""
    option = family.option
    if "melt" in option:
        moved = [str(name) for name in frame.columns if re.fullmatch(option["melt"], str(name))]
        frame = frame.melt([name for name in frame.columns if name not in moved], moved, "melted", "value")
    if "where" in option:
        for condition in option["where"].split("&"):
            column, _, allowed = condition.partition(":")
            frame = frame[frame[_columns(column, frame, family)[0]].isin(allowed.split("|"))]
    named, _, style = family.time.partition(":")
    times = [] if named == "rows" else _columns(named, frame, family)
    ids = _columns(family.ids, frame, family) if family.ids else []
    if times:
        periods = periods_of(frame[times].astype(str).agg("-".join, axis=1), style, freq)
    else:
        periods = pd.period_range(style, periods=len(frame), freq=freq)
    key = pd.Series("", index=frame.index)
    for name in ids:
        key = key + "/" + frame[name].astype(str).str.strip()
    how = option.get("how", "mean")
    if how == "count":
        columns = {"count": pd.Series(1.0, index=frame.index)}
        how = "sum"
    else:
        decimal = option.get("decimal", ".")
        columns = {name: _numbers(frame[name], decimal) for name in _values(frame, family, [*times, *ids])}
    good = ~periods.isna()
    numbers = pd.DataFrame(columns)[good]
    groups = numbers.groupby([periods[good], key[good].to_numpy()], sort=True)
    made = (groups.sum(min_count=1) if how == "sum" else groups.agg(how)).unstack()
    counts = groups.count().unstack()
    made.columns = counts.columns = [f"{one}/{name}".strip("/") for name, one in made.columns]
    with quiet():
        whole = pd.period_range(made.index.min(), made.index.max(), freq=freq) if len(made) else made.index
    made, counts = made.reindex(whole), counts.reindex(whole)
    return made if family.option.get("how") == "count" else without_partial_ends(made, counts)


def without_partial_ends(made: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """Series whose first and last periods hold fewer values than most of theirs do, without these periods."""
    made = made.copy()
    for name in made.columns:
        known = np.flatnonzero(counts[name].to_numpy() > 0)
        if len(known):
            usual = np.median(counts[name].to_numpy()[known])
            for end in (known[0], known[-1]):
                if counts[name].iloc[end] < 0.9 * usual:
                    made.iloc[end, made.columns.get_loc(name)] = np.nan
    return made


def finished(table: pd.DataFrame, family: Family, day: str) -> pd.DataFrame:
    """Series as they are kept: filled, differenced, and without what was not yet observed on the day of the source."""
    option = family.option
    with quiet():
        table = table[table.index.end_time <= pd.Timestamp(option.get("until", day)) + pd.Timedelta("1D")]
        if "from" in option:
            table = table[table.index.start_time >= pd.Timestamp(option["from"])]
    if option.get("how") == "count":
        table = table.fillna(0.0).iloc[1:-1]  # the first and the last period are hardly whole
    elif "fill" in option:
        table = table.fillna(float(option["fill"]))
    if "diff" in option:
        steps = table.diff()
        table = steps.where(steps >= 0)  # a total that falls was corrected
    return table


def series_of(family: Family, checkout: Checkout, day: str) -> Iterator[tuple[str, pd.Series]]:
    """The series of a family by name, from the first to the last value that is known."""
    paths = checkout.matching(family.paths)
    freq = normalise_freq(family.freq)
    frames = ((PurePosixPath(path).stem, read_frame(checkout.read(path), path, family.option)) for path in paths)
    if "joined" in family.option and paths:
        frames = iter([("", pd.concat([frame for _, frame in frames], ignore_index=True))])
    for stem, frame in frames:
        table = finished(tables_of(family, frame, freq), family, day)
        for name in table.columns:
            values = table[name].replace([np.inf, -np.inf], np.nan)
            first, last = values.first_valid_index(), values.last_valid_index()
            if first is not None:
                yield (f"{stem}/{name}" if len(paths) > 1 else name).strip("/"), values.loc[first:last]


def reason_against(values: np.ndarray, horizon: int) -> str | None:
    """Why a series, NaN where missing, is left out, or None."""
    known = values[~np.isnan(values)]
    if len(values) < max(FEWEST, HORIZONS * horizon):
        return "short"
    if len(known) < len(values) / 2:
        return "missing"
    if np.ptp(known) == 0:
        return "constant"
    steps = np.diff(values)
    steps = steps[~np.isnan(steps)]
    if len(steps) and np.mean(steps == 0) > STILL:
        return "held"
    if straight(values) > STRAIGHT:
        return "interpolated"
    return None


def straight(values: np.ndarray) -> float:
    """Share of steps that are the step before, or the same growth, and not nothing."""
    steps, size = np.diff(values), np.nanmax(np.abs(values))
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = values[1:] / values[:-1]
    known = ~np.isnan(steps[1:]) & ~np.isnan(steps[:-1])
    moves = np.abs(steps[1:]) > 1e-9 * size
    same = np.abs(np.diff(steps)) <= 1e-6 * np.abs(steps[1:])
    grown = np.abs(np.diff(growth)) <= 1e-6 * np.abs(growth[1:] - 1)
    return float(np.sum(known & moves & (same | grown)) / max(int(known.sum()), 1))


def fingerprint(values: np.ndarray) -> bytes:
    """The same for series that differ by unit and level alone."""
    scaled = (values - np.nanmean(values)) / np.nanstd(values)
    return np.round(scaled, 3).astype(np.float32).tobytes()


def entries_of(
    family: Family, checkout: Checkout, day: str, seen: set[bytes], seed: int
) -> tuple[list[dict[str, object]], Counter[str]]:
    """GluonTS entries of a family, at most `MOST`, and how many series were left out for which reason."""
    left_out: Counter[str] = Counter()
    entries: list[dict[str, object]] = []
    fine = normalise_freq(family.freq).lstrip("0123456789") in ("h", "min", "s")
    for name, series in series_of(family, checkout, day):
        values = series.to_numpy(np.float64)[-(LAST_FINE if fine else LAST) :]
        reason = reason_against(values, int(family.horizon))
        if reason is None and (mark := fingerprint(values)) in seen:
            reason = "duplicate"
        if reason is not None:
            left_out[reason] += 1
            continue
        seen.add(mark)
        start = series.index[len(series) - len(values)]
        entries.append({"item_id": name or family.name, "start": start, "target": values.astype(np.float32)})
    most = MOST_YEARLY if normalise_freq(family.freq).startswith("Y") else MOST
    if len(entries) > most:
        rng = np.random.default_rng([seed, crc32(family.name.encode())])
        left_out["drawn from more"] = len(entries) - most
        entries = [entries[place] for place in sorted(rng.choice(len(entries), most, replace=False))]
    return entries, left_out


def write(entries: list[dict[str, object]], horizon: int, folder: Path) -> None:
    """Write a family in GluonTS's layout: the test part whole, the training part without its last horizon."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    shorter = [{**entry, "target": entry["target"][:-horizon]} for entry in entries]  # type: ignore[index]
    save_series(shorter, gluonts_folder=folder, prediction_length=horizon)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        save_series(entries, gluonts_folder=Path(beside) / "whole", prediction_length=horizon)
        (Path(beside) / "whole" / "train").rename(folder / "test")


def write_sources(output: Path, lines: list[tuple[str, ...]]) -> None:
    """Write SOURCES.tsv, with the lines of an earlier run's families that are still there."""
    path, made = output / "SOURCES.tsv", {line[0] for line in lines}
    kept: list[tuple[str, ...]] = []
    if path.is_file():
        with open(path, encoding="utf-8", newline="") as stream:
            before = [tuple(row) for row in csv.reader(stream, delimiter="\t")][1:]
        kept = [row for row in before if row and row[0] not in made and (output / row[0]).is_dir()]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(
            ("folder", "frequency", "horizon", "series", "values", "got", "paths", "licence", "said in", "by")
        )
        writer.writerows(sorted([*kept, *lines]))


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
    known, families = read_table(table)
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
    write_sources(output, lines)
    if absent:
        show(f"{len(absent)} families are not there, the first: {absent[0]}")
    show(f"{len(lines)} families, {sum(int(line[3]) for line in lines)} series: {output}")


if __name__ == "__main__":
    run(main, __doc__)
