"""Windows of series as the model sees them: cut, scaled by their context, missing values marked and bridged."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from shared.errors import DataError
from shared.training import Batch
from tsdiff.calendar import calendar_features, shifted
from tsdiff.config import Scaling, TSDiffConfig

Entry = Mapping[str, Any]

_SMALLEST_SCALE = 1e-10


@dataclass(frozen=True)
class Statistics:
    """What training windows look like after scaling by their context.

    Attributes:
        center, spread: mean and standard deviation; the network sees (scaled − center)/spread.
        top_variance: largest eigenvalue of the covariance of the network's context, which bounds how far an observed
            value can move a noisy window (see `tsdiff.guidance`).
    """

    center: float = 0.0
    spread: float = 1.0
    top_variance: float = 1.0


def observed_target(entry: Entry, config: TSDiffConfig, name: str) -> np.ndarray:
    """The target (length,), float32, NaN where missing; infinities count as missing, with a warning.

    Raises:
        DataError: not one-dimensional, not numeric or beyond single precision, or of another frequency than the model.
    """
    start = entry.get("start")
    if not isinstance(start, pd.Period) or start.freqstr != config.freq:
        found = f"has frequency {start.freqstr}" if isinstance(start, pd.Period) else f"starts at {start!r}"
        raise DataError(f"series {name!r} {found}; this model needs a pd.Period of frequency {config.freq!r}")
    try:
        values = np.asarray(entry.get("target"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"series {name!r}: its target is not numeric ({error})") from error
    if values.ndim != 1:
        raise DataError(f"series {name!r} has a target of shape {values.shape}; it must be (length,)")
    infinite = np.isinf(values)
    if infinite.any():
        warnings.warn(f"series {name!r}: {infinite.sum()} infinite values count as missing", stacklevel=3)
    finite = np.where(infinite, np.nan, values)
    largest = np.nanmax(np.abs(finite), initial=0.0)
    if largest > np.finfo(np.float32).max:
        raise DataError(f"series {name!r}: the value {largest:g} is too large for single precision; rescale it")
    return finite.astype(np.float32)


def cut(target: np.ndarray, first: int, length: int) -> np.ndarray:
    """`length` values from position `first`, which may lie before the start: NaN where the series has nothing."""
    window = np.full(length, np.nan, dtype=np.float32)
    low, high = max(first, 0), min(first + length, len(target))
    if high > low:
        window[low - first : high - first] = target[low:high]
    return window


def context_scale(context: np.ndarray, scaling: Scaling, fallback: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of each row, (rows, 1), float64, from its observed values.

    Args:
        context: (rows, context_length), NaN where missing.
        scaling: see `TSDiffConfig`.
        fallback: (rows, n): what to use for a row whose context holds no value, or nothing but zeros, which tell
            no scale either.
    """
    empty = ~(np.abs(context) > 0).any(axis=1)
    loc, scale = np.zeros(len(context)), np.ones(len(context))
    for values, rows in ((context, ~empty), (fallback, empty & (np.abs(fallback) > 0).any(axis=1))):
        if not rows.any():
            continue
        chosen = values[rows].astype(np.float64)
        if scaling == "mean":
            scale[rows] = np.nanmean(np.abs(chosen), axis=1)
        elif scaling == "last":
            loc[rows], scale[rows] = _last_and_change(chosen)
        else:
            loc[rows] = np.nanmean(chosen, axis=1)
            # A constant context has no deviation; its own size is the only scale there is.
            deviation, size = np.nanstd(chosen, axis=1), np.abs(loc[rows])
            scale[rows] = np.where(deviation > 1e-6 * size, deviation, np.where(size > 0, size, 1.0))
    return loc[:, None], np.maximum(scale, _SMALLEST_SCALE)[:, None]


def _last_and_change(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Last observed value and mean absolute change from one observed value to the next, (rows,) each."""
    last, change = np.empty(len(values)), np.empty(len(values))
    for row, line in enumerate(values):
        seen = line[~np.isnan(line)]
        last[row] = seen[-1]
        size = np.abs(seen).max()
        moves = np.abs(np.diff(seen)).mean() if len(seen) > 1 else 0.0
        # A constant context does not move; its own size is the only scale there is.
        change[row] = moves if moves > 1e-6 * size else size
    return last, change


def bridge(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill NaN by straight lines (flat at the ends, 0 where a row holds nothing) and tell what was observed.

    Args:
        windows: (rows, length).

    Returns:
        filled (rows, length) and observed (rows, length) of 0 and 1, float32.
    """
    observed = ~np.isnan(windows)
    filled = windows
    if not observed.all():
        filled = windows.copy()
        places = np.arange(windows.shape[1])
        for row in np.flatnonzero(~observed.all(axis=1)):
            seen = observed[row]
            filled[row] = np.interp(places, places[seen], windows[row, seen]) if seen.any() else 0.0
    return filled, observed.astype(np.float32)


class WindowSource:
    """Draws training windows: a series with equal chance, then a place in it. A `shared.training.BatchSource`.

    Series shorter than a window are padded in front with missing values; windows whose context holds no value are
    drawn again, a few times.

    Args:
        entries: GluonTS entries.
        config: of the model.
        batch_size: windows in a batch.
        statistics: of the scaled windows; `measure` finds them.

    Raises:
        DataError: no series has an observed value, or one cannot be used (`observed_target`).
    """

    def __init__(self, entries: Iterable[Entry], config: TSDiffConfig, batch_size: int = 64, scale_power: float = 0.0):
        self.config, self.batch_size = config, batch_size
        self.statistics = Statistics()
        self._targets: list[np.ndarray] = []
        self._names: list[str] = []
        self._starts: list[Any] = []
        for place, entry in enumerate(entries):
            name = str(entry.get("item_id", place))
            target = observed_target(entry, config, name)
            if not np.isnan(target).all():
                self._targets.append(target)
                self._names.append(name)
                self._starts.append(entry["start"])
        if not self._targets:
            raise DataError("no series holds an observed value to train on; check the target column")
        self._calendars: dict[tuple[Any, int], np.ndarray] = {}
        self._shares = _cumulative_shares(self._targets, scale_power)

    def __len__(self) -> int:
        return len(self._targets)

    def batch(self, rng: np.random.Generator) -> Batch:
        """One batch: x0 and mask (batch, length, 1), features (batch, length, k)."""
        windows, places = self._draw(rng, self.batch_size)
        scaled, observed, _, _ = self._scaled(windows)
        x0 = (scaled - self.statistics.center) / self.statistics.spread
        condition = {}
        if self.config.calendar:
            condition["features"] = torch.from_numpy(np.stack([self._features(*place) for place in places]))
        ids = [f"{self._names[series]} from step {first}" for series, first in places]
        return Batch(
            torch.from_numpy(x0.astype(np.float32))[..., None],
            mask=torch.from_numpy(observed)[..., None],
            condition=condition,
            ids=ids,
        )

    def measure(self, rng: np.random.Generator, windows: int = 2048) -> Statistics:
        """Find the statistics of scaled windows, and use them from now on."""
        drawn, _ = self._draw(rng, windows)
        filled, observed, _, _ = self._scaled(drawn)
        # Windows that overflow say nothing of the others; training on one stops with its name.
        usable = np.isfinite(filled).all(axis=1)
        filled, observed = filled[usable], observed[usable]
        seen = filled[observed > 0].astype(np.float64)
        if not seen.size:
            return self.statistics
        # A few windows whose context is nearly zero would otherwise set the scale of all.
        low, high = np.quantile(seen, [0.001, 0.999])
        inside = np.clip(seen, low, high)
        center, spread = float(inside.mean()), float(inside.std())
        spread = spread if spread > 1e-8 else 1.0
        context = (np.clip(filled, low, high)[:, : self.config.context_length] - center) / spread
        top = float(torch.linalg.matrix_norm(torch.from_numpy(context).double(), ord=2)) ** 2 / len(context)
        self.statistics = Statistics(center, spread, max(top, 1.0))
        return self.statistics

    def _draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
        places: list[tuple[int, int]] = []
        rows: list[np.ndarray] = []
        for _ in range(count):
            for _ in range(10):
                series = int(np.searchsorted(self._shares, rng.random(), side="right"))
                free = len(self._targets[series]) - self.config.length
                first = int(rng.integers(free + 1)) if free >= 0 else free
                row = cut(self._targets[series], first, self.config.length)
                if not np.isnan(row[: self.config.context_length]).all():
                    break
            places.append((series, first))
            rows.append(row)
        return np.stack(rows), places

    def _scaled(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        loc, scale = context_scale(windows[:, : self.config.context_length], self.config.scaling, windows)
        with np.errstate(over="ignore"):  # becomes infinite, which stops training with the window's name
            scaled = ((windows - loc) / scale).astype(np.float32)
        filled, observed = bridge(scaled)
        return filled, observed, loc, scale

    def _features(self, series: int, first: int) -> np.ndarray:
        start, length = self._starts[series], len(self._targets[series])
        key = (start, length)
        if key not in self._calendars:
            padding = max(0, self.config.length - length)
            self._calendars[key] = calendar_features(shifted(start, -padding), length + padding)
        padding = len(self._calendars[key]) - length
        return self._calendars[key][first + padding : first + padding + self.config.length]


def _cumulative_shares(targets: list[np.ndarray], power: float) -> np.ndarray:
    """Cumulative chance of each series to be drawn, proportional to a power of its mean absolute value: (series,)."""
    sizes = np.array([np.nanmean(np.abs(target.astype(np.float64))) for target in targets])
    largest = sizes.max()
    weights = np.maximum(sizes / largest if largest > 0 else np.ones_like(sizes), 1e-6) ** power
    shares = np.cumsum(weights) / weights.sum()
    shares[-1] = 1.0
    return shares


@dataclass(frozen=True)
class Conditioning:
    """One forecast's input: what is observed of its window, in the network's units, and the way back.

    Attributes:
        values: (length,) float32, 0 where nothing is observed.
        observed: (length,) of 0 and 1.
        features: (length, k) float32, or None.
        loc, scale: network units times `scale` plus `loc` are the series' own.
    """

    values: Tensor
    observed: Tensor
    features: Tensor | None
    loc: float
    scale: float


def conditioning(entry: Entry, config: TSDiffConfig, statistics: Statistics, name: str) -> Conditioning:
    """The window that ends `prediction_length` steps after the series does, with its horizon unobserved.

    Raises:
        DataError: the series holds no observed value, or cannot be used (`observed_target`).
    """
    target = observed_target(entry, config, name)
    if np.isnan(target).all():
        raise DataError(f"series {name!r} holds no observed value; leave it out, or give some history")
    first = len(target) - config.context_length
    window = cut(target, first, config.length)[None]
    loc, scale = context_scale(window[:, : config.context_length], config.scaling, target[None])
    scaled = ((window - loc) / scale - statistics.center) / statistics.spread
    observed = ~np.isnan(scaled[0])
    features = None
    if config.calendar:
        features = torch.from_numpy(calendar_features(shifted(entry["start"], first), config.length))
    return Conditioning(
        torch.from_numpy(np.where(observed, scaled[0], 0.0).astype(np.float32)),
        torch.from_numpy(observed.astype(np.float32)),
        features,
        float(loc[0, 0] + scale[0, 0] * statistics.center),
        float(scale[0, 0] * statistics.spread),
    )
