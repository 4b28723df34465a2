"""Series: from tables, GluonTS data sets, folders and the package itself to clean GluonTS entries."""

from tsdiff.data.covariates import Layout
from tsdiff.data.embedded import EMBEDDED, EmbeddedInfo, embedded_series
from tsdiff.data.entries import Entry, entries_of
from tsdiff.data.folders import FolderData, FolderSeries, load_folder, stream_folder
from tsdiff.data.frames import load_table, series_from_frame
from tsdiff.data.frequency import candidate_seasons, infer_freq, normalise_freq
from tsdiff.data.layouts import long_from_wide
from tsdiff.data.load import load_dataset, load_named
from tsdiff.data.series import SeriesSet, checked_entries, series_from_gluonts
from tsdiff.data.store import SeriesStore
from tsdiff.data.timestamps import Stamp, to_timestamps
from tsdiff.data.windows import HeldBack, WindowSplit, held_back, hold_back, split, split_windows, unsplit
