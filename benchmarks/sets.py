"""The benchmark sets: which there are, and how each is read. Every benchmark that measures on them reads them here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from gluonts.dataset.split import TestData

from shared.errors import ConfigError, DataError
from tsdiff.data import Entry, SeriesSet, candidate_seasons, load_folder, split_windows
from tsdiff.evaluation.plots import spread

T = TypeVar("T")

DEFAULT_DATA = Path("../shared/data")
DataFolder = Annotated[Path, typer.Option(help="Folder that holds series/.")]
Samples = Annotated[int, typer.Option(help="Samples of a forecast.")]
"""Options that benchmarks share."""


@dataclass(frozen=True)
class BenchmarkSet:
    """One set of the data folder.

    Attributes:
        name: Its folder below `series/`.
        prediction_length: The horizon in steps.
        windows: Test windows of each series.
        series: Training series.
        default: Whether benchmarks run on it unless told otherwise.
    """

    name: str
    prediction_length: int
    windows: int
    series: int
    default: bool = True


BENCHMARK_SETS: dict[str, BenchmarkSet] = {
    found.name: found
    for found in (
        BenchmarkSet("m4_hourly", 48, 1, 414),
        BenchmarkSet("exchange_rate_nips", 30, 5, 8),
        BenchmarkSet("pjm_hourly", 24, 7, 10),
        BenchmarkSet("solar_al_tail_hourly", 24, 7, 137),
        BenchmarkSet("nyc_weather_hourly", 24, 7, 12),
        BenchmarkSet("nyc_departures_hourly", 24, 7, 20),
        BenchmarkSet("electricity_weekly", 8, 1, 321),
        BenchmarkSet("tourism_quarterly", 8, 1, 427),
        BenchmarkSet("ltsf_etth1", 96, 60, 7),
        BenchmarkSet("fred_md", 12, 1, 107, default=False),
        BenchmarkSet("ltsf_illness", 24, 12, 7, default=False),
        BenchmarkSet("ercot_hourly", 24, 7, 8, default=False),
        BenchmarkSet("bike_sharing_hourly", 24, 28, 1, default=False),
        BenchmarkSet("bdg2_sample_hourly", 24, 14, 2, default=False),
        BenchmarkSet("city_daily", 14, 7, 7, default=False),
    )
}
ZERO_SHOT_SETS = ("ercot_hourly", "bike_sharing_hourly", "bdg2_sample_hourly", "city_daily")
"""Which only the bundled forecaster is tested on, and which no preset is made for."""
DEFAULT_SETS: tuple[str, ...] = tuple(name for name, found in BENCHMARK_SETS.items() if found.default)


@dataclass(frozen=True)
class LoadedSet:
    """A set in memory.

    Attributes:
        name: As in `BENCHMARK_SETS`.
        freq: As `pd.Period` spells it.
        prediction_length: The horizon in steps.
        train: The training part, without any value of a test window. All that a model may learn from.
        test: GluonTS's pairs (input entry, label entry), one a window; also `.input`, `.label`, `len`.
        seasons: Lags of the seasonal-naive forecast, the primary season first.
    """

    name: str
    freq: str
    prediction_length: int
    train: SeriesSet
    test: TestData
    seasons: tuple[int, ...]


def load(name: str, folder: Path = DEFAULT_DATA) -> LoadedSet:
    """Read one set.

    A test entry that goes beyond the training part by one horizon, or by some horizons as rolling windows of the
    set's makers do, is one window: the last. Where a set has one long test part instead (the LTSF sets), adjacent
    windows are laid over what exceeds the training part, from its start; a rest shorter than the horizon is unused.

    Args:
        name: A key of `BENCHMARK_SETS`.
        folder: The data folder, which holds `series/`.

    Raises:
        ConfigError: An unknown name.
        DataError: The folder is missing, cannot be read, or is not the set that the table describes.
    """
    found = BENCHMARK_SETS.get(name)
    if found is None:
        raise ConfigError(f"unknown set {name!r}; take one of {', '.join(BENCHMARK_SETS)}")
    data = load_folder(folder / "series" / name)
    if data.test is None:
        raise DataError(f"{name}: the folder has no test part; give the data folder of the benchmarks")
    test = rolling_windows(data.train, data.test, found)
    wanted = found.windows * found.series
    if len(test) != wanted or len(data.train) != found.series:
        raise DataError(
            f"{name}: {len(data.train)} training series and {len(test)} test windows, not {found.series} and {wanted}; "
            "this is another version of the set"
        )
    return LoadedSet(name, data.freq, found.prediction_length, data.train, test, candidate_seasons(data.freq))


def rolling_windows(train: SeriesSet, test: SeriesSet, found: BenchmarkSet) -> TestData:
    """Lay test windows over what the test entries have beyond the training part (`load` says how)."""
    horizon = found.prediction_length
    if len(test) == found.windows * len(train):
        return split_windows(test, horizon).test
    lengths = {str(entry["item_id"]): len(entry["target"]) for entry in train}
    entries: list[Entry] = []
    for entry in test:
        item = str(entry["item_id"])
        end = lengths.get(item, 0) + found.windows * horizon
        if item not in lengths or len(entry["target"]) < end:
            raise DataError(
                f"{found.name}: test series {item!r} has {len(entry['target'])} values and its training part "
                f"{lengths.get(item, 'none')}; {found.windows} windows of {horizon} steps do not fit: another version?"
            )
        entries.append({**entry, "target": entry["target"][:end]})
    return split_windows(entries, horizon, found.windows).test


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly spread from the first to the last."""
    return [items[place] for place in spread(len(items), most)]
