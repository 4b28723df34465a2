"""One call for every source of series."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from gluonts.dataset.repository import dataset_names, get_dataset
from gluonts.dataset.repository.datasets import get_download_path

from shared.checks import checked
from shared.errors import ConfigError, DataError, first_line
from shared.files.io import temporary_path
from tsdiff.data.columns import time_name
from tsdiff.data.folders import FolderData, load_folder
from tsdiff.data.frames import SUFFIXES, load_table, series_from_frame
from tsdiff.data.frequency import normalise_freq, quiet
from tsdiff.data.layouts import Layout, long_from_wide, looks_wide, row_numbers, with_levels
from tsdiff.data.series import SeriesSet, series_from_gluonts

Source = str | os.PathLike[str] | pd.DataFrame | Iterable[Mapping[str, Any]]
Part = Literal["train", "test"]


def load_dataset(
    source: Source,
    *,
    freq: str | None = None,
    layout: Layout = "auto",
    target: str | Sequence[str] = "target",
    item_id: str | None = None,
    timestamp: str | None = None,
    dynamic: Sequence[str] = (),
    static: Sequence[str] = (),
    vocabulary: Mapping[str, Sequence[str]] | None = None,
    part: Part = "train",
    folder: str | os.PathLike[str] | None = None,
    min_length: int = 1,
) -> SeriesSet:
    """Read series from wherever they are, and check them.

    Args:
        source: One of

            - a table: a pandas frame, or a file that ends in .csv, .csv.gz, .parquet, .feather or .arrow; long (a row
              for each value) or wide (a row for each time, a column for each series);
            - a folder in GluonTS's layout (metadata.json, train/, test/);
            - the name of a set in GluonTS's repository, such as "m4_hourly";
            - any GluonTS dataset, `PandasDataset` among them: entries with "start" and "target". Targets of shape
              (channels, length), feat_dynamic_real, feat_static_cat and feat_static_real are kept.
        freq: The frequency, in any pandas spelling; None takes that of the source.
        layout: Of a table; "auto" takes it as wide if it has timestamps and numbers, but neither the column `target`
            nor one of item ids.
        target, item_id, timestamp, dynamic, static, vocabulary: Columns of a long table, see `series_from_frame`;
            a wide one knows `timestamp` alone.
        part: Of a folder or a named set.
        folder: Where named sets lie, each in a folder of its name; None, or a set that is not there, asks GluonTS,
            which downloads a set once and keeps it.
        min_length: Series with fewer steps are skipped.

    Returns:
        The series, with notes on what was repaired and skipped.

    Raises:
        DataError: The source is not there, cannot be read or does not pass the checks.
        ConfigError: Options that do not fit each other.
    """
    checked(Layout, layout=layout)
    checked(Part, part=part)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        is_folder, is_file = os.path.isdir(path), os.path.isfile(path)  # no errors for names that no file can have
        if is_folder or not (is_file or path.suffix):  # whatever looks like a file is read as a table
            data = load_folder(path) if is_folder else load_named(str(source), folder)
            found = data.train if part == "train" else data.test
            if found is None:
                raise DataError(f"{source} has no test part; take part='train' and split it (`tsdiff.data.split`)")
            return _checked_freq(found, freq, min_length, str(source))
        source = load_table(path, item_id)
    if not isinstance(source, pd.DataFrame):
        return series_from_gluonts(source, freq, min_length=min_length)
    source = with_levels(source, item_id, timestamp)
    wide = layout == "wide"
    if layout == "auto":
        wide = isinstance(target, str) and not (dynamic or static) and looks_wide(source, target, item_id, timestamp)
    if wide and (item_id is not None or dynamic or static or not isinstance(target, str)):
        raise ConfigError(
            "a wide table has series as columns: item_id, target lists, dynamic and static need layout='long'"
        )
    if wide:
        return _of_wide(source, timestamp, freq, min_length)
    return series_from_frame(
        source,
        target=target,
        item_id=item_id,
        timestamp=timestamp,
        freq=freq,
        min_length=min_length,
        dynamic=dynamic,
        static=static,
        vocabulary=vocabulary,
    )


def _of_wide(table: pd.DataFrame, timestamp: str | None, freq: str | None, min_length: int) -> SeriesSet:
    """The series of a wide table; a first column that numbers the rows is none, which is noted."""
    numbering = row_numbers(table)
    table = table.drop(columns=numbering)
    made = series_from_frame(long_from_wide(table, timestamp), item_id="item_id", freq=freq, min_length=min_length)
    said = [f"the first column, {name!r}, numbers the rows, and is no series; it is left out" for name in numbering]
    origin = replace(made.origin, timestamp=time_name(table, timestamp))
    return replace(made, notes=[*said, *made.notes], origin=origin)


def load_named(name: str, folder: str | os.PathLike[str] | None = None) -> FolderData[SeriesSet]:
    """Read a set of GluonTS's repository.

    Args:
        name: Of the set, such as "m4_hourly".
        folder: Where sets lie, each in a folder of its name. A set that is not there is taken from GluonTS's own
            folder (`gluonts.dataset.repository.datasets.get_download_path`), where it is downloaded to if need be.

    Returns:
        Frequency, horizon, training and test series.

    Raises:
        DataError: There is no such folder, no set, file or folder of that name, or it cannot be downloaded.
    """
    if folder is not None and not Path(folder).is_dir():
        raise DataError(f"folder={os.fspath(folder)!r} is no folder; give that which holds {name}/, or leave it out")
    if folder is not None and (Path(folder) / name).is_dir():
        return load_folder(Path(folder) / name)
    if name not in dataset_names:
        raise DataError(
            f"{name!r} is no file, no folder and no set that GluonTS knows; give a table ({', '.join(SUFFIXES)}), a"
            f" folder in GluonTS's layout, or one of {', '.join(sorted(dataset_names)[:60])}"
        )
    kept = get_download_path() / "datasets"
    if not (kept / name / "train").is_dir():
        _download(name, kept)
    return load_folder(kept / name)


def _download(name: str, kept: Path) -> None:
    """Bring a set beside where it will lie and rename it, so that one that was cut short is never taken for whole."""
    try:
        with temporary_path(kept, folder=True) as temporary, quiet():
            get_dataset(name, path=temporary)
            shutil.rmtree(kept / name, ignore_errors=True)
            os.replace(temporary / name, kept / name)
    except Exception as error:  # every set has a reader of its own, over several kinds of transport and archive
        raise DataError(
            f"{name} cannot be downloaded ({first_line(error)}); where there is no network, bring its folder in"
            " GluonTS's layout (metadata.json, train/, test/) and give that as the data, or in `tsdiff train` the"
            f" folder that holds {name}/ as --folder (folder=…)"
        ) from error


def _checked_freq(series: SeriesSet, freq: str | None, min_length: int, source: str) -> SeriesSet:
    if freq is not None and normalise_freq(freq) != series.freq:
        raise ConfigError(f"{source} has frequency {series.freq!r}, not {freq!r}; leave freq out")
    if min_length <= 1:
        return series
    short = series_from_gluonts(series, series.freq, min_length=min_length)
    return SeriesSet(short.entries, series.freq, series.notes, series.skipped | short.skipped)
