"""GluonTS's folder layout: metadata.json, train/data.json.gz, test/data.json.gz."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from gluonts.dataset.common import FileDataset, MetaData
from gluonts.exceptions import GluonTSDataError

from shared.errors import DataError
from tsdiff.data.frequency import normalise_freq, quiet
from tsdiff.data.series import SeriesSet, series_from_gluonts


class FolderData(NamedTuple):
    """What a GluonTS folder holds.

    Attributes:
        freq: The frequency as `pd.Period` spells it.
        prediction_length: The horizon the folder states, in steps; None where it states none.
        train: The training series.
        test: The test series, each with the values to forecast at its end; rolling windows are entries of
            their own. None where the folder has no test part.
    """

    freq: str
    prediction_length: int | None
    train: SeriesSet
    test: SeriesSet | None


def load_folder(path: str | os.PathLike[str]) -> FolderData:
    """Read a data set in GluonTS's folder layout and check it.

    Args:
        path: The folder with metadata.json, train/ and, if there is one, test/.

    Returns:
        Frequency, horizon, training and test series.

    Raises:
        DataError: A part is missing or unreadable, or the series do not pass the checks of
            `series_from_gluonts`.
    """
    folder = Path(path)
    metadata = folder / "metadata.json"
    if not metadata.is_file():
        raise DataError(f"{folder}: no metadata.json; give a folder in GluonTS's layout (metadata.json, train/, test/)")
    try:
        meta = MetaData.parse_raw(metadata.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"{metadata}: cannot be read ({str(error).splitlines()[0]})") from error
    freq = normalise_freq(meta.freq)
    train = _load_part(folder / "train", freq)
    test = _load_part(folder / "test", freq) if (folder / "test").is_dir() else None
    return FolderData(freq, meta.prediction_length, train, test)


def _load_part(folder: Path, freq: str) -> SeriesSet:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; it should hold data.json or data.json.gz")
    try:
        with quiet():
            return series_from_gluonts(FileDataset(folder, freq=freq), freq)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    except (GluonTSDataError, AssertionError, OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: cannot be read ({str(error)[:200]})") from error
