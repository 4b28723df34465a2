"""Series: from tables, GluonTS data sets, folders and the package itself to clean GluonTS entries."""

from tsdiff.data.covariates import Layout
from tsdiff.data.embedded import EMBEDDED, EmbeddedInfo, embedded_series
from tsdiff.data.entries import Entry, entries_of
from tsdiff.data.folders import FolderData, FolderSeries, load_folder, stream_folder
from tsdiff.data.frames import load_table, long_from_wide, series_from_frame
from tsdiff.data.frequency import candidate_seasons, infer_freq, normalise_freq
from tsdiff.data.load import load_dataset, load_named
from tsdiff.data.series import SeriesSet, checked_entries, series_from_gluonts
from tsdiff.data.store import SeriesStore
from tsdiff.data.timestamps import Stamp, to_timestamps
from tsdiff.data.windows import WindowSplit, split, split_windows

__all__ = [
    "EMBEDDED",
    "EmbeddedInfo",
    "Entry",
    "FolderData",
    "FolderSeries",
    "Layout",
    "SeriesSet",
    "SeriesStore",
    "Stamp",
    "WindowSplit",
    "candidate_seasons",
    "checked_entries",
    "embedded_series",
    "entries_of",
    "infer_freq",
    "load_dataset",
    "load_folder",
    "load_named",
    "load_table",
    "long_from_wide",
    "normalise_freq",
    "series_from_frame",
    "series_from_gluonts",
    "split",
    "split_windows",
    "stream_folder",
    "to_timestamps",
]
