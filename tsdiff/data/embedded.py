"""Data that ships with the package, so that everything can be tried at once and without a network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet

from shared.errors import ConfigError
from tsdiff.data.entries import Entry
from tsdiff.data.series import SeriesSet


@dataclass(frozen=True)
class EmbeddedInfo:
    """How a shipped data set is meant to be tested.

    Attributes:
        prediction_length: Steps to forecast.
        windows: Rolling test windows at the end of each series.
    """

    prediction_length: int
    windows: int


EMBEDDED: dict[str, EmbeddedInfo] = {"pjm_hourly": EmbeddedInfo(prediction_length=24, windows=7)}
"""The series that come with the package, by name."""


def embedded_series(name: str = "pjm_hourly") -> SeriesSet:
    """Load a data set that ships with the package (see the card beside it, tsdiff/embedded/<name>.md).

    Args:
        name: "pjm_hourly": 10 series × 17,568 hours of electricity demand in MW.

    Returns:
        The series, test windows included; `split_windows` cuts those off.

    Raises:
        ConfigError: There is no such data set.
    """
    if name not in EMBEDDED:
        raise ConfigError(f"no embedded data set {name!r}; there is {', '.join(EMBEDDED)}")
    with (files("tsdiff") / "embedded" / f"{name}.parquet").open("rb") as stream:
        table = parquet.read_table(stream)
    about = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    start = pd.Period(about["start"], freq=about["freq"])
    scale = float(about["scale"])
    entries: list[Entry] = [
        {"item_id": item, "start": start, "target": (table[item].to_numpy() * scale).astype(np.float32)}
        for item in table.column_names
    ]
    return SeriesSet(entries, start.freqstr)
