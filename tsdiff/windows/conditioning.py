"""Windows of series as the model sees them: cut, scaled, missing values marked and bridged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shared.errors import DataError
from tsdiff.windows.calendar import calendar_features, shifted
from tsdiff.windows.config import WindowConfig
from tsdiff.windows.entries import Entry, Series, read_series
from tsdiff.windows.scales import Statistics, default_scale, scaled, window_scale, without_level


def cut(target: np.ndarray, first: int, length: int) -> np.ndarray:
    """`length` rows of (n, channels) from position `first`: NaN where the series has nothing."""
    window = np.full((length, *target.shape[1:]), np.nan, dtype=np.result_type(target, np.float32))
    low, high = max(first, 0), min(first + length, len(target))
    if high > low:
        window[low - first : high - first] = target[low:high]
    return window


def cut_with_lags(target: np.ndarray, first: int, config: WindowConfig) -> np.ndarray:
    """A window (length, network_channels) from position `first`: the series, then its lagged copies."""
    return with_lags(lambda start: cut(target, start, config.length), first, config)


def with_lags(window: Callable[[int], np.ndarray], first: int, config: WindowConfig) -> np.ndarray:
    """What `window` gives from position `first`, (length, channels), and from each lag before it, side by side."""
    if not config.lags:
        return window(first)
    return np.concatenate([window(first - lag) for lag in (0, *config.lags)], axis=1)


def bridge(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill NaN by straight lines (flat at the ends, 0 where a channel holds nothing) and tell what was observed.

    Args:
        windows: (rows, length, channels).

    Returns:
        filled, and observed (0 and 1, float32), of the same shape.
    """
    observed = ~np.isnan(windows)
    filled = windows
    if not observed.all():
        filled = windows.copy()
        places = np.arange(windows.shape[1])
        for row, channel in np.argwhere(~observed.all(axis=1)):
            seen = observed[row, :, channel]
            line = np.interp(places, places[seen], windows[row, seen, channel]) if seen.any() else 0.0
            filled[row, :, channel] = line
    return filled, observed.astype(np.float32)


def known_width(config: WindowConfig) -> int:
    """How many numbers a step TSDiff-Cond's network is told: lagged values, observed values, and which they are."""
    return config.channels * len(config.known_lags) + 2 * config.network_channels


def known_features(values: Tensor, observed: Tensor, lagged: Tensor | None = None) -> Tensor:
    """What TSDiff-Cond's network is told: (…, `known_width`), in the published order."""
    parts = [] if lagged is None else [lagged]
    return torch.cat([*parts, values * observed, observed], dim=-1)


def static_part(scale: np.ndarray, static: np.ndarray, statistics: Statistics, config: WindowConfig) -> np.ndarray:
    """Features that do not change within a window, (rows, k): the logarithm of the scale, and the static ones.

    Args:
        scale: (rows, channels), in the series' units.
        static: (rows, static_features).
        statistics: of the training windows.
        config: of the model.
    """
    n = config.static_features
    center, spread = np.array(statistics.feature_center[:n]), np.array(statistics.feature_spread[:n])
    parts = [np.log(scale)] if config.scale_feature else []
    return np.concatenate([*parts, (static - center) / spread], axis=1).astype(np.float32)


def dynamic_part(window: np.ndarray, statistics: Statistics, config: WindowConfig) -> np.ndarray:
    """Known features (length, dynamic_features) in units of their deviation; 0, which is their mean, where NaN."""
    n = config.static_features
    center, spread = np.array(statistics.feature_center[n:]), np.array(statistics.feature_spread[n:])
    return np.nan_to_num((window - center) / spread).astype(np.float32)


@dataclass(frozen=True)
class Conditioning:
    """One window of a series for the network, and the way back.

    Attributes:
        values: (length, network_channels) float32 in the network's units, 0 where nothing is observed.
        observed: of 0 and 1, shaped like `values`.
        features: known at every step, (length, k) float32, or None where the model takes none.
        categories: (n,) int64, or None where the model takes none.
        lagged: the series `known_lags` steps before each step, (length, lags·channels) float32 in the network's units,
            0 where it is not known; None where the model is not told.
        loc, scale: (channels,): the network's units times `scale` plus `loc` are the series' own.
        least: the smallest observed value of the window, in the series' units.
        constant: (channels,): the one value that a channel of the series holds; NaN where it changes.
    """

    values: Tensor
    observed: Tensor
    features: Tensor | None
    categories: Tensor | None
    loc: np.ndarray
    scale: np.ndarray
    least: float
    constant: np.ndarray
    lagged: Tensor | None = None

    def to_series(self, windows: np.ndarray) -> np.ndarray:
        """(…, channels) in the network's units → the series', float64."""
        return np.asarray(windows, dtype=np.float64) * self.scale + self.loc

    def drawn(self, windows: np.ndarray, minimum: float | None, nonnegative: bool) -> np.ndarray:
        """`to_series` of draws (…, channels), within what is known of the series' values.

        A channel that has never changed goes on as it was: how far it might jump, nothing tells. What is below
        `minimum` is raised to it, and what is below 0 if that is asked for and no observed value is below it.
        """
        values = np.where(np.isnan(self.constant), self.to_series(windows), self.constant)
        if nonnegative and not self.least < 0:
            minimum = max(0.0, minimum or 0.0)
        return values if minimum is None else np.maximum(values, minimum)

    def to_network(self, values: np.ndarray) -> np.ndarray:
        """(…, channels) in the series' units → the network's units, float64."""
        return (np.asarray(values, dtype=np.float64) - self.loc) / self.scale


def conditioning(
    entry: Entry, config: WindowConfig, statistics: Statistics, name: str, first: int | None = None
) -> Conditioning:
    """A window of a series, its missing values and what lies after its end unobserved.

    Args:
        entry: see `read_series`.
        config: of the model.
        statistics: of the training windows.
        name: for messages.
        first: the window's first step, counted from the series' start, before which nothing is observed; None means
            the window to forecast, which ends prediction_length after the series does.

    Raises:
        DataError: the series holds no observed value, or cannot be used (`read_series`).
    """
    return conditionings([(name, entry)], config, statistics, [first])[0]


def conditionings(
    group: Sequence[tuple[str, Entry]],
    config: WindowConfig,
    statistics: Statistics,
    firsts: Sequence[int | None] | None = None,
) -> list[Conditioning]:
    """Windows of named series that are used together, from the steps `firsts`; see `conditioning`."""
    places = []
    for (name, entry), first in zip(group, firsts or [None] * len(group), strict=True):
        series = read_series(entry, config, name, config.prediction_length if first is None else 0)
        if series.empty:
            raise DataError(f"series {name!r} holds no observed value; leave it out, or give some history")
        places.append((series, len(series) - config.context_length if first is None else first))
    return windows_of(places, config, statistics)


def windows_of(
    places: Sequence[tuple[Series, int]], config: WindowConfig, statistics: Statistics
) -> list[Conditioning]:
    """The windows of series, each from a step on, that are used together; see `conditioning`."""
    default = None
    if config.default_scale is not None and places:
        contexts = [cut(series.target, first, config.context_length) for series, first in places]
        default = default_scale(np.stack(contexts), config)
    return [window_of(series, config, statistics, first, default) for series, first in places]


def window_of(
    series: Series, config: WindowConfig, statistics: Statistics, first: int, default: np.ndarray | None = None
) -> Conditioning:
    """The window of `series` from step `first`; see `conditioning`, and `window_scale` for `default`."""
    window = cut_with_lags(series.target, first, config)[None]
    own_loc, size = window_scale(window, series.target[None], config, default)
    loc, scale = without_level(window, own_loc, size, statistics, config)
    values = scaled(window, loc, scale, statistics, config)[0]
    observed = ~np.isnan(values)
    # Statistics of the network are one for all channels.
    back_loc, back_scale = loc[0] + scale[0] * statistics.center, scale[0] * statistics.spread
    return Conditioning(
        torch.from_numpy(np.where(observed, values, np.float32(0))),
        torch.from_numpy(observed.astype(np.float32)),
        features_of(series, config, statistics, first, size),
        torch.from_numpy(series.categories) if config.categories else None,
        back_loc,
        back_scale,
        float(np.fmin.reduce(window, axis=None, initial=np.inf)),
        series.constant,
        lagged_of(series, config, first, back_loc, back_scale),
    )


def lagged_of(series: Series, config: WindowConfig, first: int, loc: np.ndarray, scale: np.ndarray) -> Tensor | None:
    """What a conditional network is told of the series before the window from step `first`; see `Conditioning`."""
    if not config.known_lags:
        return None
    before = [(cut(series.target, first - lag, config.length) - loc) / scale for lag in config.known_lags]
    return torch.from_numpy(np.nan_to_num(np.concatenate(before, axis=1)).astype(np.float32))


def features_of(
    series: Series, config: WindowConfig, statistics: Statistics, first: int, scale: np.ndarray
) -> Tensor | None:
    """What is known of every step of the window from step `first`, (length, k), or None; scale is (1, channels)."""
    still = static_part(scale, series.static[None], statistics, config)
    calendar = calendar_features(shifted(series.start, first), config.length, config.calendar, first)
    dynamic = dynamic_part(cut(series.dynamic, first, config.length), statistics, config)
    parts = [np.repeat(still, config.length, axis=0), calendar, dynamic]
    joined = np.concatenate(parts, axis=1)
    return torch.from_numpy(joined) if joined.shape[1] else None


@dataclass(frozen=True)
class Conditions:
    """A batch of windows.

    Attributes:
        values, observed: (batch, length, network_channels); see `Conditioning`.
        inputs: keyword arguments of the network besides state and time.
    """

    values: Tensor
    observed: Tensor
    inputs: dict[str, Tensor]

    @classmethod
    def stack(
        cls,
        windows: Sequence[Conditioning],
        config: WindowConfig,
        rows: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> Conditions:
        """Windows as a batch.

        Args:
            windows: at least one.
            config: of the model.
            rows: (batch,): which window each row is; None takes each once.
            device: where the batch goes.
        """
        chosen = torch.arange(len(windows)) if rows is None else rows

        def batch(parts: Sequence[Tensor | None]) -> Tensor:
            return torch.stack([part for part in parts if part is not None])[chosen].to(device)

        inputs: dict[str, Tensor] = {}
        if windows[0].features is not None:
            inputs["features"] = batch([w.features for w in windows])
        if windows[0].categories is not None:
            inputs["categories"] = batch([w.categories for w in windows])
        values, observed = batch([w.values for w in windows]), batch([w.observed for w in windows])
        if config.conditional:
            lagged = batch([w.lagged for w in windows]) if config.known_lags else None
            inputs["known"] = known_features(values, observed, lagged)
        return cls(values, observed, inputs)

    def observing(self, values: Tensor, observed: Tensor) -> Conditions:
        """The same windows with other values observed, shaped like `values`; a conditional network sees those."""
        values, observed = values.to(self.values), observed.to(self.observed)
        inputs = dict(self.inputs)
        if "known" in inputs:
            lagged = inputs["known"][..., : -2 * values.shape[-1]]
            inputs["known"] = known_features(values, observed, lagged)
        return Conditions(values, observed, inputs)
