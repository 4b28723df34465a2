"""GluonTS entries, read and checked for a model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from shared.errors import ConfigError, DataError
from tsdiff.windows.calendar import recent_steps, shifted
from tsdiff.windows.config import ANY_FREQ, WindowConfig

Entry = Mapping[str, Any]
"""A GluonTS data entry."""

ROUNDING = 1e-14
"""Differences below this share of a value are taken for its rounding."""


@dataclass(frozen=True)
class Series:
    """A GluonTS entry, checked.

    Attributes:
        name: for messages.
        start: time of the first value.
        target: (length, channels) float64, NaN where missing.
        dynamic: (at least length, dynamic_features) float32.
        static: (static_features,) float32.
        categories: (len(categories),) int64.
    """

    name: str
    start: pd.Period
    target: np.ndarray
    dynamic: np.ndarray
    static: np.ndarray
    categories: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    def as_entry(self) -> dict[str, Any]:
        """A GluonTS entry with what the model takes, its target (channels, length)."""
        return {
            "item_id": self.name,
            "start": self.start,
            "target": self.target.T,
            "feat_dynamic_real": self.dynamic.T,
            "feat_static_real": self.static,
            "feat_static_cat": self.categories,
        }

    @property
    def empty(self) -> bool:
        """Whether no value is observed."""
        return bool(np.isnan(self.target).all())

    @cached_property
    def constant(self) -> np.ndarray:
        """The one value that a channel holds, (channels,); NaN where it changes, or was seen but once."""
        low, high = (f.reduce(self.target, axis=0, initial=np.nan) for f in (np.fmin, np.fmax))
        still = (high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high))) & ((~np.isnan(self.target)).sum(0) > 1)
        return np.where(still, (low + high) / 2, np.nan)


def unadapted(freq: str) -> ConfigError:
    """What a model of all frequencies says to series of `freq` before it is adapted to them."""
    return ConfigError(
        "this model takes series of any frequency, and has to be told theirs and how many steps to forecast; for 24 "
        f"steps of these: predictor = predictor.adapted({freq!r}, 24)"
    )


def read_series(entry: Entry, config: WindowConfig, name: str, horizon: int = 0) -> Series:
    """Check an entry; infinities count as missing, with a warning.

    Args:
        entry: "start", "target" ((length,), or (channels, length) for more than one channel) and, where the model
            takes them, "feat_dynamic_real" (k, length + horizon), "feat_static_real" and "feat_static_cat".
        config: of the model.
        name: for messages.
        horizon: steps after the end for which dynamic features are needed.

    Raises:
        ConfigError: a model of all frequencies, which was not given one.
        DataError: a field is missing, not numeric, beyond single precision or of another shape, or the frequency is
            another than the model's.
    """
    if config.freq == ANY_FREQ:
        raise unadapted(getattr(entry.get("start"), "freqstr", "h"))
    start = entry.get("start")
    if not isinstance(start, pd.Period) or start.freqstr != config.freq:
        found = f"has frequency {start.freqstr}" if isinstance(start, pd.Period) else f"starts at {start!r}"
        raise DataError(f"series {name!r} {found}; this model needs a pd.Period of frequency {config.freq!r}")
    target = _target(entry, config.channels, name)
    length = len(target) + horizon
    dynamic = _rows(entry, "feat_dynamic_real", config.dynamic_features, name)
    if config.dynamic_features and dynamic.shape[1] < length:
        raise DataError(
            f"series {name!r}: feat_dynamic_real covers {dynamic.shape[1]} steps, {length} are needed"
            + (f" ({len(target)} of the series and {horizon} to forecast)" if horizon else "")
        )
    static = _rows(entry, "feat_static_real", config.static_features, name, dimensions=1)
    return Series(name, start, target, dynamic.T, static, _categories(entry, config.categories, name))


def recent_part(entry: Entry, config: WindowConfig) -> Entry:
    """What of a series a model of all frequencies is told: the scale of long ago would blur what comes next."""
    if not config.universal or config.freq == ANY_FREQ or config.dynamic_features:
        return entry
    target = np.asarray(entry["target"])
    ahead = target.shape[-1] - recent_steps(config.freq, config.prediction_length)
    if ahead <= 0 or np.isnan(np.asarray(target[..., ahead:], dtype=np.float64)).all():
        return entry
    return {**entry, "start": shifted(entry["start"], ahead), "target": target[..., ahead:]}


def with_gap_ahead(entry: Entry, config: WindowConfig, name: str, steps: int) -> Series:
    """The last window of a series, and `steps` missing values after it.

    Raises:
        DataError: that window holds no observed value; see also `read_series`.
    """
    known = np.asarray(entry["target"], dtype=np.float64)[-config.length :]
    start = shifted(entry["start"], len(entry["target"]) - len(known))
    target = np.append(known, np.full(steps, np.nan))
    series = read_series({**entry, "start": start, "target": target}, config, name)
    if series.empty:
        raise DataError(f"series {name!r} holds no observed value; leave it out, or give some history")
    return series


def _numbers(entry: Entry, field: str, name: str) -> np.ndarray:
    try:
        return np.asarray(entry.get(field), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"series {name!r}: its {field} is not numeric ({error})") from error


def _target(entry: Entry, channels: int, name: str) -> np.ndarray:
    values = _numbers(entry, "target", name)
    if channels == 1 and values.ndim == 1:
        values = values[None]
    if values.ndim != 2 or len(values) != channels:
        wanted = "(length,)" if channels == 1 else f"({channels}, length)"
        raise DataError(f"series {name!r} has a target of shape {values.shape}; it must be {wanted}")
    infinite = np.isinf(values)
    if infinite.any():
        warnings.warn(f"series {name!r}: {infinite.sum()} infinite values count as missing", stacklevel=4)
    finite = np.where(infinite, np.nan, values)
    largest = np.nanmax(np.abs(finite), initial=0.0)
    if largest > np.finfo(np.float32).max:
        raise DataError(f"series {name!r}: the value {largest:g} is too large for single precision; rescale it")
    return np.ascontiguousarray(finite.T)


def _rows(entry: Entry, field: str, count: int, name: str, dimensions: int = 2) -> np.ndarray:
    """A field of real features with `count` rows; empty where the model takes none."""
    if not count:
        return np.zeros((0,) * dimensions, dtype=np.float32)
    if entry.get(field) is None:
        raise DataError(f"series {name!r} has no {field}; this model needs {count} of them")
    values = _numbers(entry, field, name)
    if values.ndim != dimensions or len(values) != count:
        wanted = f"({count}, steps)" if dimensions == 2 else f"({count},)"
        raise DataError(f"series {name!r}: {field} has shape {values.shape}; it must be {wanted}")
    if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > np.finfo(np.float32).max:
        raise DataError(f"series {name!r}: {field} holds values that are missing, infinite or too large; fill them in")
    return values.astype(np.float32)


def _categories(entry: Entry, sizes: tuple[int, ...], name: str) -> np.ndarray:
    if not sizes:
        return np.zeros(0, dtype=np.int64)
    values = np.asarray(() if entry.get("feat_static_cat") is None else entry["feat_static_cat"])
    if values.shape != (len(sizes),):
        raise DataError(f"series {name!r}: feat_static_cat has shape {values.shape}; this model needs ({len(sizes)},)")
    codes = values.astype(np.int64)
    for code, value, size in zip(codes, values, sizes, strict=True):
        if code != value or not 0 <= code < size:
            raise DataError(f"series {name!r}: category {value} is not one of 0 … {size - 1}, which the model knows")
    return codes
