"""The eight sets that the TSDiff paper forecasts, and the settings its published configurations give them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from gluonts.dataset.split import TestData

from shared.errors import ConfigError, DataError
from tsdiff.data.folders import FolderData
from tsdiff.data.load import load_named
from tsdiff.data.series import SeriesSet
from tsdiff.data.windows import pairs_of


@dataclass(frozen=True)
class PaperSet:
    """One of the paper's sets (Kollovieh et al. 2023, appendix; the published train_tsdiff configurations).

    Attributes:
        name: In GluonTS's repository.
        freq: Frequency as `pd.Period` spells it.
        prediction_length: Steps to forecast.
        windows: Rolling test windows of each series.
        context_length: Steps of history that the published model sees.
        lags: Whether it sees lagged copies too (`PUBLISHED_LAGS`).
        input_skip: Whether its network adds its input to its output.
        guidance_scale: Of quantile self-guidance, as tuned by the authors.
    """

    name: str
    freq: Literal["h", "B", "D"]
    prediction_length: int
    windows: int
    context_length: int
    lags: bool
    input_skip: bool
    guidance_scale: float


PAPER_SETS: dict[str, PaperSet] = {
    found.name: found
    for found in (
        PaperSet("solar_nips", "h", 24, 7, 336, True, False, 8),
        PaperSet("electricity_nips", "h", 24, 7, 336, True, False, 4),
        PaperSet("traffic_nips", "h", 24, 7, 336, True, True, 4),
        PaperSet("exchange_rate_nips", "B", 30, 5, 360, True, True, 8),
        PaperSet("m4_hourly", "h", 48, 1, 312, False, False, 2),
        PaperSet("uber_tlc_hourly", "h", 24, 1, 336, True, False, 2),
        PaperSet("kdd_cup_2018_without_missing", "h", 48, 1, 312, True, True, 1),
        PaperSet("wiki2000_nips", "D", 30, 5, 360, False, False, 2),
    )
}

PUBLISHED_LAGS = {"h": tuple(24 * days for days in (1, 2, 3, 4, 5, 6, 7, 14, 21, 28))}
PUBLISHED_LAGS |= {freq: tuple(range(30, 361, 30)) for freq in ("D", "B")}
"""Lagged copies that the published models see, by frequency, in steps."""


@dataclass(frozen=True)
class PaperData:
    """One of the paper's sets, read and split as the paper does.

    Attributes:
        train: Training series.
        test: The last `prediction_length` steps of every test series, one entry a rolling window, as pairs.
    """

    train: SeriesSet
    test: TestData


def paper_set(name: str) -> PaperSet:
    """The settings of one set.

    Raises:
        ConfigError: The paper has no set of that name.
    """
    if name not in PAPER_SETS:
        raise ConfigError(f"the paper has no set {name!r}; there are {', '.join(PAPER_SETS)}")
    return PAPER_SETS[name]


def load_paper_set(name: str, folder: str | os.PathLike[str] | None = None) -> PaperData:
    """Read one of the paper's sets from a folder, or download it where there is a network (`load_named`).

    Raises:
        ConfigError: The paper has no set of that name.
        DataError: It cannot be had, or is not the set that the table describes.
    """
    found = paper_set(name)
    data = load_named(name, folder)
    return PaperData(data.train, _windows(data, found))


def _windows(data: FolderData[SeriesSet], found: PaperSet) -> TestData:
    if data.test is None:
        raise DataError(f"{found.name} has no test part; download it again")
    if data.freq != found.freq or data.prediction_length != found.prediction_length:
        raise DataError(
            f"{found.name} forecasts {data.prediction_length} steps of {data.freq!r}, the paper's set"
            f" {found.prediction_length} of {found.freq!r}; this is another version of it"
        )
    return pairs_of(data.test, found.prediction_length, found.prediction_length)
