"""Series out of public tables, as `series_sets.tsv` says how each is laid out."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from shared.errors import ConfigError, DataError
from tsdiff.data.frequency import normalise_freq, quiet

TABLE = Path(__file__).parents[1] / "series_sets.tsv"
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
