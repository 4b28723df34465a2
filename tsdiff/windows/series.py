"""Series as a model takes them: read with what the model is told of them, and refused where they do not suit it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from shared.console.notes import tell
from shared.errors import ConfigError, DataError
from tsdiff.data.covariates import CATEGORIES, DYNAMIC, REALS
from tsdiff.data.entries import Series, named_entries, read_series
from tsdiff.data.frequency import freq_of
from tsdiff.windows.calendar import recent_steps
from tsdiff.windows.config import WindowConfig


def unadapted(freq: str) -> ConfigError:
    """What a model of all frequencies says to series of `freq` before it is adapted to them."""
    return ConfigError(
        "this model takes series of any frequency, and has to be told theirs and how many steps to forecast; for 24 "
        f"steps of these: predictor = predictor.adapted({freq!r}, 24)"
    )


def suited_series(entry: Mapping[str, Any], config: WindowConfig, name: str, horizon: int = 0) -> Series:
    """Read an entry for a model; what is repaired is said by warnings.

    Args:
        entry: "start", "target" ((length,), or (channels, length) for more than one channel) and, where the model
            takes them, "feat_dynamic_real" (k, length + horizon), "feat_static_real" and "feat_static_cat".
        config: of the model.
        name: for messages.
        horizon: steps after the end for which dynamic features are needed.

    Raises:
        ConfigError: a model of all frequencies, which was not given one.
        DataError: the frequency is another than the model's, a field is missing or of another shape, a value cannot be
            transformed; see also `read_series`.
    """
    start = entry.get("start")
    if config.awaits_freq:
        raise unadapted(getattr(start, "freqstr", "h"))
    if not isinstance(start, pd.Period) or freq_of(start) != config.freq:
        found = f"has frequency {start.freqstr}" if isinstance(start, pd.Period) else f"starts at {start!r}"
        # gluonts.zebras has periods of its own
        made = "start.to_pandas()" if hasattr(start, "to_pandas") else f"pd.Period(start, {config.freq!r})"
        wanted = f"a pd.Period of frequency {config.freq!r}: {made}"
        raise DataError(f"series {name!r} {found}; this model needs {wanted}")
    counts = {
        DYNAMIC: config.dynamic_features,
        REALS: config.static_features,
        CATEGORIES: len(config.categories),
    }
    series = read_series(entry, name, config.freq, [field for field, count in counts.items() if count])
    for note in series.notes:
        tell(note)
    _check_shapes(series, config, counts)
    if config.transform is not None:
        config.transform.check(series.values, name)
    steps = len(series) + horizon
    if config.dynamic_features and len(series.dynamic) < steps:
        raise DataError(
            f"series {name!r}: {DYNAMIC} covers {len(series.dynamic)} steps, {steps} are needed"
            + (f" ({len(series)} of the series and {horizon} to forecast)" if horizon else "")
        )
    for code, size in zip(series.categories, config.categories, strict=True):
        if code >= size:
            raise DataError(f"series {name!r}: category {code} is not one of 0 … {size - 1}, which the model knows")
    return series


def _check_shapes(series: Series, config: WindowConfig, counts: Mapping[str, int]) -> None:
    shape = series.target.shape
    if series.values.shape[1] != config.channels or (config.channels > 1 and len(shape) == 1):
        wanted = "(length,)" if config.channels == 1 else f"({config.channels}, length)"
        channels = len(shape) == 2 and shape[0]
        remedy = f", or the model is to be trained with channels={channels}" if channels else ""
        raise DataError(f"series {series.name!r} has a target of shape {shape}; it must be {wanted}{remedy}")
    for field, count in counts.items():
        found = series.covariates.get(field)
        if count and found is None and field != CATEGORIES:
            raise DataError(f"series {series.name!r} has no {field}; this model needs {count} of them")
        rows = (0,) if found is None else found.shape
        if count and rows[0] != count:
            raise DataError(f"series {series.name!r}: {field} has shape {rows}; this model needs {count} of them")


def observed_series(entry: Mapping[str, Any], config: WindowConfig, name: str, horizon: int = 0) -> Series:
    """`suited_series` of an entry that holds an observed value.

    Raises:
        DataError: it holds none; see also `suited_series`.
    """
    series = suited_series(entry, config, name, horizon)
    refuse_empty(series)
    return series


def refuse_empty(series: Series) -> None:
    """Raise DataError if no value is observed."""
    if series.empty:
        raise DataError(f"series {series.name!r} holds no observed value; leave it out, or give some history")


def trainable_series(dataset: Any, config: WindowConfig) -> Iterator[Series]:
    """The series of a dataset that hold an observed value, read for a model; the others are left out."""
    read: Iterable[Series] = (suited_series(entry, config, name) for name, entry in named_entries(dataset))
    return (series for series in read if not series.empty)


def recent_part(series: Series, config: WindowConfig) -> Series:
    """What of a series a model of all frequencies is told: the scale of long ago would blur what comes next, but for
    one that goes by its anchor."""
    if not config.universal or config.dynamic_features or config.scaling == "anchor":
        return series
    ahead = len(series) - recent_steps(config.freq, config.prediction_length)
    if ahead <= 0 or np.isnan(series.target[..., ahead:]).all():
        return series
    return series.since(ahead)
