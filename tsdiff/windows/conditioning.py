"""Windows of series as the model sees them: cut, scaled, missing values marked and bridged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tsdiff.data.entries import Series
from tsdiff.data.frequency import shifted
from tsdiff.windows.anchored import (
    AnchoredWindow,
    Wanted,
    anchored_windows,
    residual_slope,
    residual_units,
    residuals,
)
from tsdiff.windows.anchors import seasons_of
from tsdiff.windows.calendar import calendar_features
from tsdiff.windows.changed import Changed
from tsdiff.windows.config import WindowConfig
from tsdiff.windows.gaps import patch_gaps
from tsdiff.windows.inputs import known_features, network_inputs
from tsdiff.windows.scales import Statistics, default_scale, scaled, window_scale, without_level
from tsdiff.windows.transforms import Transform

Place = tuple[Series, int]
"""A series, and the first step of a window of it, counted from the series' start, before which nothing is observed."""

_WITHOUT_SEASON = 1.15
"""How much larger the errors to come of series without a season, as of years, are than the bundled model expects: it
has learnt sizes from series with one, and what changes years is seldom in their own short past."""


def forecast_place(series: Series, config: WindowConfig) -> Place:
    """The window to forecast, which ends prediction_length after the series does."""
    return series, len(series) - config.context_length


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


@dataclass(frozen=True)
class Windows:
    """A batch of windows for the network, and the way back to the series' units.

    Attributes:
        values: (rows, length, network_channels) float32 in the network's units, 0 where nothing is observed.
        observed: of 0 and 1, shaped like `values`.
        inputs: keyword arguments of the network besides state and time: "features", "categories"
            (`tsdiff.windows.inputs.network_inputs`) and, for a conditional one, "known" (`known_features`). With an
            anchor "known" and "about" (`AnchoredWindow`), which are not repeated for rows of one window: "of_row"
            (rows,) tells which each is of.
        loc, scale: (rows, length, or 1 for all steps, channels) float64: the network's units times `scale` plus `loc`
            are the series' own, or those of the model's transform of them.
        least: (rows,): the smallest observed value of the window, in the series' units; of one that holds none the
            series' smallest.
        constant: (rows, channels): the one value that a channel of the series holds; NaN where it changes.
        transform: that of the model, if it has one.
        around_anchor: whether the network's units are `residual_units` of those, as of windows with an anchor, whose
            residuals have heavy tails.
        missed, changed: of each window with an anchor, as in `AnchoredWindow`; none of others. The latter is of a
            batch as it was read, and not of its `rows`.
    """

    values: Tensor
    observed: Tensor
    inputs: dict[str, Tensor]
    loc: np.ndarray
    scale: np.ndarray
    least: np.ndarray
    constant: np.ndarray
    transform: Transform | None = None
    around_anchor: bool = False
    missed: tuple[np.ndarray, ...] = ()
    changed: tuple[Changed, ...] = ()

    @classmethod
    def of(
        cls,
        places: Sequence[Place],
        config: WindowConfig,
        statistics: Statistics,
        hidden: int = 0,
        ahead: bool = False,
    ) -> Windows:
        """Windows that are used together, their missing values and what lies after a series' end unobserved.

        Args:
            places: of the windows, at least one.
            config: of the model.
            statistics: of the training windows.
            hidden: last steps that the anchor and the network are not to know even where they are observed; their
                values are still `values`.
            ahead: whether the last steps alone are drawn, `Wanted.ahead`; a matter of models with an anchor.
        """
        if config.scaling == "anchor":
            return _anchored(places, config, statistics, hidden, ahead)
        raw = np.stack([config.transformed(cut_with_lags(series.values, first, config)) for series, first in places])
        default = default_scale(raw[:, : config.context_length, : config.channels], config)
        scales = [
            window_scale(window[None], config.transformed(series.values)[None], config, default)
            for window, (series, _) in zip(raw, places, strict=True)
        ]
        own_loc, size = (np.concatenate(part) for part in zip(*scales, strict=True))
        loc, scale = without_level(raw, own_loc, size, statistics, config)
        numbers = scaled(raw, loc, scale, statistics, config)
        seen = ~np.isnan(numbers)
        values, observed = torch.from_numpy(np.where(seen, numbers, np.float32(0))), torch.from_numpy(seen).float()
        # Statistics of the network are one for all channels.
        loc, scale = (loc + scale * statistics.center)[:, None], (scale * statistics.spread)[:, None]
        inputs = inputs_of(places, config, statistics, size)
        if config.conditional:
            inputs["known"] = known_features(values, observed, _lagged(places, config, loc[:, 0], scale[:, 0]))
        least = _least(config.untransformed(raw), places)
        constant = np.stack([series.constant for series, _ in places])
        return cls(values, observed, inputs, loc, scale, least, constant, config.transform)

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, chosen: np.ndarray, device: torch.device | str = "cpu") -> Windows:
        """Windows by their places in this batch, (n,), each as often as it is named, on a device."""
        places = torch.from_numpy(chosen)

        def taken(part: Tensor) -> Tensor:
            return part[places].to(device)

        if "of_row" in self.inputs:
            inputs = {name: part.to(device) for name, part in self.inputs.items()}
            inputs["of_row"] = taken(self.inputs["of_row"])
        else:
            inputs = {name: taken(part) for name, part in self.inputs.items()}
        values, observed = taken(self.values), taken(self.observed)
        loc, scale, least, constant = (part[chosen] for part in (self.loc, self.scale, self.least, self.constant))
        missed = tuple(self.missed[place] for place in chosen) if self.missed else ()
        return Windows(
            values, observed, inputs, loc, scale, least, constant, self.transform, self.around_anchor, missed
        )

    def observing(self, values: Tensor, observed: Tensor) -> Windows:
        """The same windows with other values observed, shaped like `values`; a conditional network sees those, but
        for one with an anchor, which goes by what was observed at first."""
        values, observed = values.to(self.values), observed.to(self.observed)
        inputs = dict(self.inputs)
        if "known" in inputs and "of_row" not in inputs:
            lagged = inputs["known"][..., : -2 * values.shape[-1]]
            inputs["known"] = known_features(values, observed, lagged)
        return replace(self, values=values, observed=observed, inputs=inputs)

    def bridged(self, seasons: Sequence[int] = ()) -> Tensor:
        """`values` with straight lines over what is missing, or the values of other seasons (`patch_gaps`)."""
        seen = torch.where(self.observed > 0, self.values, torch.nan)
        return torch.from_numpy(patch_gaps(seen.cpu().numpy(), seasons)[0]).to(self.values)

    def to_series(self, values: np.ndarray) -> np.ndarray:
        """(…, rows, steps, channels, or network_channels) in the network's units → the series', float64."""
        loc, scale = self._units(values)
        units = np.asarray(values, dtype=np.float64)
        whole = (residuals(units) if self.around_anchor else units) * scale + loc
        return whole if self.transform is None else self.transform.inverse(whole)

    def to_network(self, values: np.ndarray) -> np.ndarray:
        """(…, rows, steps, channels, or network_channels) in the series' units → the network's, float64."""
        loc, scale = self._units(values)
        own = np.asarray(values, dtype=np.float64)
        units = ((own if self.transform is None else self.transform.forward(own)) - loc) / scale
        return residual_units(units) if self.around_anchor else units

    def log_slope(self, values: Tensor) -> Tensor:
        """log dz/dx of values z (rows, steps, network_channels) in the network's units: what a log density of z gains
        as one of the series' x; float64, on the CPU."""
        z = values.double().cpu()
        _, scale = self._units(z.numpy())
        slope = -torch.from_numpy(np.log(scale)).expand_as(z)
        if self.around_anchor:
            slope = slope - residual_slope(z).log()
        if self.transform is not None:
            slope = slope + torch.from_numpy(self.transform.log_slope(self.to_series(z.numpy())))
        return slope

    def drawn(
        self, values: np.ndarray, minimum: float | None, nonnegative: bool, maximum: float | None = None
    ) -> np.ndarray:
        """`to_series` of draws (…, rows, steps, channels), within what is known of the series' values.

        A channel that has never changed goes on as it was: how far it might jump, nothing tells. What is below
        `minimum` is raised to it, what is above `maximum` lowered, and what is below 0 raised if that is asked for and
        no observed value is below it.
        """
        constant = self.constant[:, None]
        made = np.where(np.isnan(constant), self.to_series(values), constant)
        floor = np.full(len(self), -np.inf if minimum is None else minimum)
        if nonnegative:
            floor = np.where(self.least < 0, floor, np.maximum(floor, 0.0))
        return np.clip(made, floor[:, None, None], maximum)

    def _units(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Location and scale of each of the last axis' columns, lags in the units of their channel; of fewer steps than
        a window has these are its last."""
        copies = values.shape[-1] // self.loc.shape[2]
        loc, scale = (
            np.tile(part[:, -values.shape[-2] :] if part.shape[1] > 1 else part, copies)
            for part in (self.loc, self.scale)
        )
        return loc, scale


def _anchored(
    places: Sequence[Place], config: WindowConfig, statistics: Statistics, hidden: int, ahead: bool
) -> Windows:
    """Windows of one channel, each around its anchor, in units of its error."""
    hide = np.arange(config.length) >= config.length - hidden
    seasons = seasons_of(config.freq)
    wanted = (Wanted(series.values[:, 0], first, hide, seasons, ahead) for series, first in places)
    made = anchored_windows(wanted, statistics.weighing)
    raw = np.stack([cut(series.values, first, config.length) for series, first in places])
    if hide.all():  # the network is told nothing; level and spread are the windows' own
        loc = np.nan_to_num(np.nanmean(raw, axis=1, keepdims=True))
        scale = np.nan_to_num(np.nanstd(raw, axis=1, keepdims=True))
        scale[scale == 0] = 1.0
    else:
        loc, scale = (
            np.stack(parts)[..., None] for parts in zip(*((one.anchor, one.scale) for one in made), strict=True)
        )
    if ahead and config.universal and not any(seasons):
        scale = _WITHOUT_SEASON * scale
    with np.errstate(over="ignore"):  # becomes infinite, which is refused with the series' name
        numbers = residual_units((raw - loc) / scale).astype(np.float32)
    seen = ~np.isnan(numbers)
    inputs = inputs_of(places, config, statistics, scale.mean(1)) | anchored_inputs(made)
    least = _least(raw, places)
    constant = np.stack([series.constant for series, _ in places])
    values, observed = torch.from_numpy(np.where(seen, numbers, np.float32(0))), torch.from_numpy(seen).float()
    missed, changed = tuple(one.missed for one in made), tuple(one.changed for one in made)
    return Windows(
        values, observed, inputs, loc, scale, least, constant, around_anchor=True, missed=missed, changed=changed
    )


def _least(raw: np.ndarray, places: Sequence[Place]) -> np.ndarray:
    """The smallest value of each window (rows, length, …), or of its series where it holds none."""
    least = np.fmin.reduce(raw.reshape(len(raw), -1), axis=1, initial=np.nan)
    whole = [np.fmin.reduce(s.values, axis=None) if np.isnan(x) else x for x, (s, _) in zip(least, places, strict=True)]
    return np.array(whole)


def anchored_inputs(windows: Sequence[AnchoredWindow]) -> dict[str, Tensor]:
    """What the network is told of windows with an anchor, beside the calendar."""
    return {
        "known": torch.from_numpy(np.stack([window.known for window in windows])),
        "about": torch.from_numpy(np.stack([window.about for window in windows])),
        "of_row": torch.arange(len(windows)),
    }


def inputs_of(
    places: Sequence[Place], config: WindowConfig, statistics: Statistics, scale: np.ndarray
) -> dict[str, Tensor]:
    """`network_inputs` of windows of series that have these scales, (rows, channels)."""

    @cache
    def calendar(start: pd.Period, first: int) -> np.ndarray:
        return calendar_features(shifted(start, first), config.length, config.calendar, first)

    return network_inputs(
        config,
        statistics,
        scale=scale,
        calendar=[calendar(series.start, first) for series, first in places],  # most series end together
        static=[series.static for series, _ in places],
        dynamic=[cut(series.dynamic, first, config.length) for series, first in places],
        categories=[series.categories for series, _ in places],
    )


def _lagged(places: Sequence[Place], config: WindowConfig, loc: np.ndarray, scale: np.ndarray) -> Tensor | None:
    """The series `known_lags` steps before each step, (rows, length, lags·channels) float32 in the network's units, 0
    where it is not known; None where the network is not told."""
    if not config.known_lags:
        return None
    before = [
        np.stack([config.transformed(cut(series.values, first - lag, config.length)) for series, first in places])
        for lag in config.known_lags
    ]
    units = np.concatenate([(part - loc[:, None]) / scale[:, None] for part in before], axis=2)
    return torch.from_numpy(np.nan_to_num(units).astype(np.float32))
