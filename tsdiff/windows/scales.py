"""What windows are divided by: their scale from their own context, and the numbers that the network then sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tsdiff.data.entries import ROUNDING
from tsdiff.windows.config import Scaling, WindowConfig
from tsdiff.windows.covariance import WindowCovariance
from tsdiff.windows.weighing import Weighing

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
            value can move a noisy window (see `tsdiff.sampling.guidance`).
        feature_center, feature_spread: of the static, then of the dynamic features.
        covariance: of the network's windows; None where it was not measured, as of imported models.
        weighing: of simple forecasts, of windows with an anchor; None for the bundled one.
    """

    center: float = 0.0
    spread: float = 1.0
    top_variance: float = 1.0
    feature_center: tuple[float, ...] = ()
    feature_spread: tuple[float, ...] = ()
    covariance: WindowCovariance | None = field(default=None, compare=False)
    weighing: Weighing | None = field(default=None, compare=False)

    @property
    def measured(self) -> bool:
        """Whether center and spread are of windows; imported models do without."""
        return (self.center, self.spread) != (0.0, 1.0)


def context_scale(
    context: np.ndarray, scaling: Scaling, fallback: np.ndarray, minimum: float = WindowConfig.minimum_scale
) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of each row, (rows, 1), float64, from its observed values.

    Args:
        context: (rows, context_length), NaN where missing.
        scaling: see `WindowConfig`.
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


def default_scale(contexts: np.ndarray, config: WindowConfig) -> np.ndarray | None:
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
    windows: np.ndarray, fallback: np.ndarray, config: WindowConfig, default: np.ndarray | None = None
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
    windows: np.ndarray, loc: np.ndarray, scale: np.ndarray, statistics: Statistics, config: WindowConfig
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
    windows: np.ndarray, loc: np.ndarray, scale: np.ndarray, statistics: Statistics, config: WindowConfig
) -> np.ndarray:
    """Windows (rows, length, network_channels) in the network's units, float64; lags are scaled as their channel."""
    copies = 1 + len(config.lags)
    units = (windows - np.tile(loc, copies)[:, None]) / np.tile(scale, copies)[:, None]
    return np.asarray((units - statistics.center) / statistics.spread)


def scaled(
    windows: np.ndarray, loc: np.ndarray, scale: np.ndarray, statistics: Statistics, config: WindowConfig
) -> np.ndarray:
    """`relative` in single precision, as the network takes them."""
    with np.errstate(over="ignore"):  # becomes infinite, which stops training with the window's name
        return relative(windows, loc, scale, statistics, config).astype(np.float32)
