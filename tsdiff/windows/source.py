"""Training windows, drawn at random from a set of series."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import chain

import numpy as np
import torch

from shared.errors import DataError
from shared.training.batches import Batch
from tsdiff.data.entries import ROUNDING, Entry
from tsdiff.data.store import SPOOL_ABOVE, SeriesStore
from tsdiff.data.windows import HeldBack
from tsdiff.windows.calendar import CalendarTable
from tsdiff.windows.conditioning import with_lags
from tsdiff.windows.config import WindowConfig
from tsdiff.windows.covariance import RANK, WindowCovariance
from tsdiff.windows.gaps import patch_gaps
from tsdiff.windows.inputs import known_features, network_inputs, regression_mean
from tsdiff.windows.missing import MissingContext
from tsdiff.windows.scales import Statistics, relative, scaled, window_scale
from tsdiff.windows.series import trainable_series
from tsdiff.windows.short import ShortSeries

_LOW, _HIGH = 0.001, 0.999
_MOST_MEASURED = 1 << 23
"""Values of the windows that tell the statistics: each takes 42 bytes. Fewer windows are drawn where they are long."""
_LEAST_SEEN = 0.5
"""Share of a window's steps within its series that are observed, where the series has such windows."""


class TrainingSeries(SeriesStore):
    """Series that suit a model and hold an observed value; make one with `training_series`."""


def training_series(
    entries: Iterable[Entry],
    config: WindowConfig,
    *,
    spool_above: int | None = SPOOL_ABOVE,
    folder: str | os.PathLike[str] | None = None,
) -> TrainingSeries:
    """Series to train on.

    Args:
        entries: series, targets (length,) or (channels, length); read once.
        config: of the model.
        spool_above: bytes of values from which they go to a file; None keeps them in memory.
        folder: of that file; None takes the system's temporary folder.

    Raises:
        DataError: no series has an observed value, or one cannot be used (`tsdiff.windows.series.suited_series`).
    """
    usable = (series.as_entry() for series in trainable_series(entries, config))
    first = next(usable, None)
    if first is None:
        raise DataError("no series holds an observed value to train on; check the target column")
    made = TrainingSeries.of(chain([first], usable), spool_above=spool_above, folder=folder)
    assert isinstance(made, TrainingSeries)
    return made


class WindowSource:
    """Draws training windows: a series, then a place in it with equal chance. A `shared.training.batches.BatchSource`.

    Series shorter than a window are padded in front with missing values; windows of which less than half is observed,
    or whose context holds no value, are drawn again, a few times. What is missing is filled as `patch_gaps` does.
    Series that are too many to be held in memory go to a file while they are read (see `tsdiff.data.SeriesStore`); a
    batch is the same either way.

    Args:
        entries: GluonTS entries, read once; or `training_series` of them.
        config: of the model.
        batch_size: windows in a batch.
        missing: what else than the horizon is hidden from a conditional network.
        scale_power: a series is drawn with a chance proportional to this power of its mean absolute value (as DeepAR
            does with power 1; Salinas et al. 2020, §3.3); 0 draws all alike. Sums of errors over series, as the
            weighted quantile loss, are ruled by the large ones.
        horizon_weight: weight of the horizon's steps in the loss, where the context's have 1.
        held: windows at the ends of some of the series that are not drawn from.

    Raises:
        DataError: see `training_series`.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        config: WindowConfig,
        batch_size: int = 64,
        missing: MissingContext | None = None,
        scale_power: float = 0.0,
        horizon_weight: float = 1.0,
        *,
        held: HeldBack | None = None,
    ):
        self.config, self.batch_size, self.missing = config, batch_size, missing
        self.horizon_weight = horizon_weight
        self.statistics = Statistics()
        self.store = entries if isinstance(entries, TrainingSeries) else training_series(entries, config)
        self._ends = self.store.lengths.copy()
        if held is not None:
            self._ends[list(held.places)] -= held.steps
        self._shares = _cumulative_shares(self.store, scale_power)
        starts = [self.store.start(series) for series in range(len(self.store))]
        short = ShortSeries(config, config.length)
        for series, length in enumerate(self.store.lengths.tolist()):
            short.see(self.store.name(series), length)
        short.tell()
        self._calendar = CalendarTable(starts, self.store.lengths.tolist(), config.calendar, margin=config.length)

    def __len__(self) -> int:
        return len(self.store)

    def batch(self, rng: np.random.Generator) -> Batch:
        """One batch: x0 and mask (batch, length, network_channels), and what the network takes besides."""
        windows, places = self._draw(rng, self.batch_size)
        shown = self._shown(rng, windows.shape) if self.config.conditional else None
        # What is hidden must not tell the scale either: it will not when the model forecasts.
        visible = windows if shown is None else np.where(shown > 0, windows, np.float32(np.nan))
        loc, scale = window_scale(visible, windows[..., : self.config.channels], self.config)
        filled, observed = patch_gaps(
            scaled(windows, loc, scale, self.statistics, self.config), self.config.gap_seasons
        )
        x0, mask = torch.from_numpy(filled), torch.from_numpy(observed)
        condition = self._inputs(places, scale)
        anchor = None
        if shown is not None:
            seen = mask * torch.from_numpy(shown)
            condition["known"] = known_features(x0, seen)
            anchor = regression_mean(self.config, condition["known"])
            mask = mask - seen
        if self.horizon_weight != 1:
            mask = mask.clone()
            mask[:, self.config.context_length :] *= self.horizon_weight
        ids = [f"{self.store.name(series)} from step {first}" for series, first in places]
        return Batch(x0, anchor, mask, condition, ids)

    def measure(self, rng: np.random.Generator, windows: int = 2048) -> Statistics:
        """Find the statistics of scaled windows, and use them from now on."""
        self.statistics = Statistics()
        filled, seen = self._scaled_windows(rng, windows)
        features = self._feature_statistics()
        if not seen.size:
            self.statistics = Statistics(feature_center=features[0], feature_spread=features[1])
            return self.statistics
        center, spread = float(seen.mean()), float(seen.std())
        spread = spread if spread > ROUNDING else 1.0
        units = (filled - center) / spread
        flat = torch.from_numpy(units[:, : self.config.context_length].reshape(len(units), -1))
        top = float(torch.linalg.matrix_norm(flat, ord=2)) ** 2 / len(flat)
        covariance = WindowCovariance.of(units) if len(units) > 1 else None
        self.statistics = Statistics(center, spread, max(top, 1.0), *features, covariance)
        return self.statistics

    def measure_covariance(self, rng: np.random.Generator, windows: int = 2048) -> WindowCovariance:
        """The covariance of windows in the units that the statistics give them.

        Raises:
            DataError: fewer than two windows are finite.
        """
        filled, _ = self._scaled_windows(rng, windows)
        if len(filled) < 2:
            raise DataError("fewer than two training windows are finite; rescale the series")
        return WindowCovariance.of(filled)

    def _scaled_windows(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Finite windows (n, length, network_channels) under the statistics, and their observed values, float64.

        Both are clipped: a few windows whose context is nearly zero would otherwise set the scale of all.
        """
        # As many at least as a covariance has directions.
        most = max(_MOST_MEASURED // (self.config.length * self.config.network_channels), RANK)
        drawn, _ = self._draw(rng, min(count, most))
        loc, scale = window_scale(drawn, drawn[..., : self.config.channels], self.config)
        filled, observed = patch_gaps(
            relative(drawn, loc, scale, self.statistics, self.config), self.config.gap_seasons
        )
        # Windows that overflow say nothing of the others; training on one stops with its name.
        usable = (np.abs(filled) <= np.finfo(np.float32).max).all(axis=(1, 2))
        filled, seen = filled[usable], filled[usable][observed[usable] > 0]
        if not seen.size:
            return filled[:0], seen
        low, high = np.quantile(seen, [_LOW, _HIGH])
        return np.clip(filled, low, high), np.clip(seen, low, high)

    def _feature_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each static and dynamic feature; a constant one keeps its size."""
        static = np.stack([self.store.reals(series) for series in range(len(self.store))]).astype(np.float64)
        center, spread = [*static.mean(axis=0)], [*static.std(axis=0)]
        if self.config.dynamic_features:
            mean = self._dynamic_mean(lambda values: values)
            center.extend(mean)
            spread.extend(np.sqrt(self._dynamic_mean(lambda values: (values - mean[:, None]) ** 2)))
        return tuple(map(float, center)), tuple(float(s) if s > 1e-8 else 1.0 for s in spread)

    def _dynamic_mean(self, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Mean over all series and steps of a function of the dynamic features, series by series."""
        total, steps = np.zeros(self.config.dynamic_features), 0
        for series in range(len(self.store)):
            values = of(np.asarray(self.store.dynamic(series), dtype=np.float64))
            total, steps = total + values.sum(axis=1), steps + values.shape[1]
        return total / steps

    def _draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
        places: list[tuple[int, int]] = []
        rows: list[np.ndarray] = []
        for _ in range(count):
            for _ in range(10):
                series = int(self._shares.searchsorted(rng.random(), side="right"))
                free = int(self._ends[series]) - self.config.length
                first = int(rng.integers(free + 1)) if free >= 0 else free
                row = self._window(series, first)
                if self._tells(row[:, : self.config.channels], series, first):
                    break
            places.append((series, first))
            rows.append(row)
        return np.stack(rows), places

    def _tells(self, row: np.ndarray, series: int, first: int) -> bool:
        """Whether a window is worth training on: its context holds a value, and half of its steps do."""
        seen = ~np.isnan(row)
        steps = min(first + len(row), int(self._ends[series])) - max(first, 0)
        held, needed = np.count_nonzero(seen), _LEAST_SEEN * steps * row.shape[1]
        return bool(held >= needed and seen[: self.config.context_length].any())

    def _window(self, series: int, first: int) -> np.ndarray:
        window = with_lags(lambda start: self.store.window(series, start, self.config.length).T, first, self.config)
        return self.config.transformed(window)

    def _inputs(self, places: list[tuple[int, int]], scale: np.ndarray) -> dict[str, torch.Tensor]:
        store, length = self.store, self.config.length
        return network_inputs(
            self.config,
            self.statistics,
            scale=scale,
            calendar=[self._calendar.window(store.start(series), first, length) for series, first in places],
            static=[store.reals(series) for series, _ in places],
            dynamic=[store.dynamic_window(series, first, length).T for series, first in places],
            categories=[store.categories(series) for series, _ in places],
        )

    def _shown(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """What a conditional network is shown of each window, (rows, length, network_channels) of 0 and 1: the context,
        less what `missing` hides of it, and the lags that are known when the context ends."""
        config = self.config
        shown = np.zeros(shape, dtype=np.float32)
        for copy, lag in enumerate((0, *config.lags)):
            channels = slice(copy * config.channels, (copy + 1) * config.channels)
            shown[:, : config.context_length + lag, channels] = 1.0
        if self.missing is not None:
            hidden = np.stack([self.missing.hidden(config.context_length, rng) for _ in range(shape[0])])
            shown[:, : config.context_length, : config.channels][hidden] = 0.0
        return shown


def _cumulative_shares(store: SeriesStore, power: float) -> np.ndarray:
    """Cumulative chance of each series to be drawn, (series,); none is rarer than a millionth power of the largest."""
    weights = np.ones(len(store))
    if power:
        sizes = np.array([np.nanmean(np.abs(store.target(i).astype(np.float64))) for i in range(len(store))])
        weights = np.maximum(sizes / sizes.max() if sizes.max() > 0 else weights, 1e-6) ** power
    shares = np.cumsum(weights) / weights.sum()
    shares[-1] = 1.0
    return shares
