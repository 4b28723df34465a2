"""Windows of series as the model sees them: cut, scaled by their context, missing values marked and bridged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from shared.errors import DataError
from tsdiff.calendar import calendar_features, shifted
from tsdiff.config import Scaling, TSDiffConfig
from tsdiff.covariance import WindowCovariance
from tsdiff.entries import ROUNDING, Entry, Series, read_series

_FLAT = 1e-6
"""A context whose spread is below this share of its level tells no scale of what jumps after it."""
_FARTHEST = 10.0
"""How many scales from the level of such a context its window may reach."""
_UNRESOLVED = 0.05
"""A window whose spread is below this share of the training windows' is lost to a network that sees its level too."""


@dataclass(frozen=True)
class Statistics:
    """What training windows look like after scaling by their context.

    Attributes:
        center, spread: mean and standard deviation; the network sees (scaled − center)/spread.
        top_variance: largest eigenvalue of the covariance of the network's context, which bounds how far an observed
            value can move a noisy window (see `tsdiff.guidance`).
        feature_center, feature_spread: of the static, then of the dynamic features.
        covariance: of the network's windows; None where it was not measured, as of imported models.
    """

    center: float = 0.0
    spread: float = 1.0
    top_variance: float = 1.0
    feature_center: tuple[float, ...] = ()
    feature_spread: tuple[float, ...] = ()
    covariance: WindowCovariance | None = field(default=None, compare=False)

    @property
    def measured(self) -> bool:
        """Whether center and spread are of windows; imported models do without."""
        return (self.center, self.spread) != (0.0, 1.0)


def cut(target: np.ndarray, first: int, length: int) -> np.ndarray:
    """`length` rows of (n, channels) from position `first`: NaN where the series has nothing."""
    window = np.full((length, *target.shape[1:]), np.nan, dtype=np.result_type(target, np.float32))
    low, high = max(first, 0), min(first + length, len(target))
    if high > low:
        window[low - first : high - first] = target[low:high]
    return window


def cut_with_lags(target: np.ndarray, first: int, config: TSDiffConfig) -> np.ndarray:
    """A window (length, network_channels) from position `first`: the series, then its lagged copies."""
    return with_lags(lambda start: cut(target, start, config.length), first, config)


def with_lags(window: Callable[[int], np.ndarray], first: int, config: TSDiffConfig) -> np.ndarray:
    """What `window` gives from position `first`, (length, channels), and from each lag before it, side by side."""
    if not config.lags:
        return window(first)
    return np.concatenate([window(first - lag) for lag in (0, *config.lags)], axis=1)


def context_scale(
    context: np.ndarray, scaling: Scaling, fallback: np.ndarray, minimum: float = TSDiffConfig.minimum_scale
) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of each row, (rows, 1), float64, from its observed values.

    Args:
        context: (rows, context_length), NaN where missing.
        scaling: see `TSDiffConfig`.
        fallback: (rows, n): what to use for a row whose context tells no scale: it holds no value, nothing but zeros
            or, where the scale is a spread, one value alone. Where the fallback tells none, it is the size of the
            values, or 1.
        minimum: no scale is smaller.
    """
    if scaling == "none":
        return np.zeros((len(context), 1)), np.ones((len(context), 1))
    loc, scale = _measured(context.astype(np.float64), scaling)
    silent = scale == 0
    if silent.any():
        own, older = context[silent].astype(np.float64), fallback[silent].astype(np.float64)
        older_loc, older_scale = _measured(older, scaling)
        loc[silent] = np.where(np.isnan(own).all(axis=1), older_loc, loc[silent])
        for values in (own, older):
            size = np.fmax.reduce(np.abs(values), axis=1, initial=0.0)
            older_scale = np.where(older_scale > 0, older_scale, size)
        scale[silent] = np.where(older_scale > 0, older_scale, 1.0)
    return loc[:, None], np.maximum(scale, minimum)[:, None]


def _measured(values: np.ndarray, scaling: Scaling) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of each row of float64 values, (rows,) each; a scale of 0 where they tell none."""
    loc, scale = np.zeros(len(values)), np.zeros(len(values))
    rows = ~np.isnan(values).all(axis=1)
    seen = values[rows]
    if not len(seen):
        return loc, scale
    if scaling == "mean":
        spread = np.nanmean(np.abs(seen), axis=1)
    elif scaling == "last":
        loc[rows], spread = _last_and_change(seen)
    else:
        loc[rows], spread = np.nanmean(seen, axis=1), np.nanstd(seen, axis=1)
    scale[rows] = np.where(spread > ROUNDING * np.nanmax(np.abs(seen), axis=1), spread, 0.0)
    return loc, scale


def _last_and_change(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Last observed value and mean absolute change from one observed value to the next, (rows,) each."""
    last, change = np.empty(len(values)), np.empty(len(values))
    for row, line in enumerate(values):
        seen = line[~np.isnan(line)]
        last[row] = seen[-1]
        change[row] = np.abs(np.diff(seen)).mean() if len(seen) > 1 else 0.0
    return last, change


def default_scale(contexts: np.ndarray, config: TSDiffConfig) -> np.ndarray | None:
    """What a context that holds no value but zeros is scaled by, (channels,); None where the whole series tells it.

    Args:
        contexts: (rows, context_length, channels) of all windows that are drawn or trained on together, NaN where
            missing: the mean absolute value of what is observed of them is the scale if `config.default_scale` is 0.
        config: of the model.
    """
    if config.default_scale is None:
        return None
    if config.default_scale > 0:
        return np.full(config.channels, config.default_scale)
    observed = np.maximum((~np.isnan(contexts)).sum(axis=(0, 1)), 1)
    return np.asarray(np.nansum(np.abs(contexts), axis=(0, 1), dtype=np.float64) / observed)


def window_scale(
    windows: np.ndarray, fallback: np.ndarray, config: TSDiffConfig, default: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of each channel of each window, (rows, channels), float64, from its context.

    Args:
        windows: (rows, length, network_channels), NaN where missing.
        fallback: (rows, n, channels): see `context_scale`.
        config: of the model.
        default: of more windows than these; None takes the `default_scale` of these.
    """
    rows, channels = len(windows), config.channels

    def lines(values: np.ndarray) -> np.ndarray:
        return values.transpose(0, 2, 1).reshape(rows * channels, -1)

    context, beyond = windows[:, : config.context_length, :channels], windows[:, config.context_length :, :channels]
    loc, scale = context_scale(lines(context), config.scaling, lines(fallback), config.minimum_scale)
    reach = np.fmax.reduce(np.abs(lines(beyond) - loc), axis=1, initial=0.0)[:, None]
    scale = np.where(scale < _FLAT * np.abs(loc), np.maximum(scale, reach / _FARTHEST), scale)
    loc, scale = loc.reshape(rows, channels), scale.reshape(rows, channels)
    if default is None:
        default = default_scale(context, config)
    if default is not None:
        told = (np.abs(context) > 0).any(axis=1)
        scale = np.where(told, scale, np.maximum(default, config.minimum_scale))
    return loc, scale


def without_level(
    windows: np.ndarray, loc: np.ndarray, scale: np.ndarray, statistics: Statistics, config: TSDiffConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale as `window_scale` found them, but for windows that "mean" scaling would flatten.

    Divided by its mean, a small noise on a high level is the number 1 to the network, which then forecasts with the
    spread that it has seen in training. Such a window is brought to the mean and the deviation of those of training
    instead, which only models know that have measured them.

    Args:
        windows, config: see `window_scale`.
        loc, scale: (rows, channels).
        statistics: of the training windows.
    """
    if config.scaling != "mean" or not statistics.measured:
        return loc, scale
    lines = windows[..., : config.channels].swapaxes(1, 2).reshape(scale.size, -1)
    level, spread = (part.reshape(scale.shape) for part in _measured(lines, "standard"))
    unit = spread / statistics.spread
    small = (spread > 0) & (unit < _UNRESOLVED * scale)
    return np.where(small, level - unit * statistics.center, loc), np.where(small, unit, scale)


def relative(
    windows: np.ndarray, loc: np.ndarray, scale: np.ndarray, statistics: Statistics, config: TSDiffConfig
) -> np.ndarray:
    """Windows (rows, length, network_channels) in the network's units, float64; lags are scaled as their channel."""
    copies = 1 + len(config.lags)
    units = (windows - np.tile(loc, copies)[:, None]) / np.tile(scale, copies)[:, None]
    return np.asarray((units - statistics.center) / statistics.spread)


def scaled(
    windows: np.ndarray, loc: np.ndarray, scale: np.ndarray, statistics: Statistics, config: TSDiffConfig
) -> np.ndarray:
    """`relative` in single precision, as the network takes them."""
    with np.errstate(over="ignore"):  # becomes infinite, which stops training with the window's name
        return relative(windows, loc, scale, statistics, config).astype(np.float32)


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


def known_width(config: TSDiffConfig) -> int:
    """How many numbers a step TSDiff-Cond's network is told: lagged values, observed values, and which they are."""
    return config.channels * len(config.known_lags) + 2 * config.network_channels


def known_features(values: Tensor, observed: Tensor, lagged: Tensor | None = None) -> Tensor:
    """What TSDiff-Cond's network is told: (…, `known_width`), in the published order."""
    parts = [] if lagged is None else [lagged]
    return torch.cat([*parts, values * observed, observed], dim=-1)


def static_part(scale: np.ndarray, static: np.ndarray, statistics: Statistics, config: TSDiffConfig) -> np.ndarray:
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


def dynamic_part(window: np.ndarray, statistics: Statistics, config: TSDiffConfig) -> np.ndarray:
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
    entry: Entry, config: TSDiffConfig, statistics: Statistics, name: str, first: int | None = None
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
    config: TSDiffConfig,
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
    places: Sequence[tuple[Series, int]], config: TSDiffConfig, statistics: Statistics
) -> list[Conditioning]:
    """The windows of series, each from a step on, that are used together; see `conditioning`."""
    default = None
    if config.default_scale is not None and places:
        contexts = [cut(series.target, first, config.context_length) for series, first in places]
        default = default_scale(np.stack(contexts), config)
    return [window_of(series, config, statistics, first, default) for series, first in places]


def window_of(
    series: Series, config: TSDiffConfig, statistics: Statistics, first: int, default: np.ndarray | None = None
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


def lagged_of(series: Series, config: TSDiffConfig, first: int, loc: np.ndarray, scale: np.ndarray) -> Tensor | None:
    """What a conditional network is told of the series before the window from step `first`; see `Conditioning`."""
    if not config.known_lags:
        return None
    before = [(cut(series.target, first - lag, config.length) - loc) / scale for lag in config.known_lags]
    return torch.from_numpy(np.nan_to_num(np.concatenate(before, axis=1)).astype(np.float32))


def features_of(
    series: Series, config: TSDiffConfig, statistics: Statistics, first: int, scale: np.ndarray
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
        config: TSDiffConfig,
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
