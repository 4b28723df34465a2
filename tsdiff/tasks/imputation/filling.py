"""Filling gaps anywhere in a series, with intervals: the forecast's own guidance, with other values unobserved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from shared.checks import Chance, checked
from tsdiff.data.entries import Series
from tsdiff.data.frequency import quiet
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.sampling.drawing import Rows, draw_windows, finished, for_each_draw, quantile_levels, refuse_unfinite
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.conditioning import cut_with_lags

TABLE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)

# A gap that reaches past this share of a window is left to the next one, which sees both of its sides.
_TRUSTED = 0.75
_SEAM = 4
"""Steps by whose mean draws of two windows are put together."""


@dataclass(frozen=True)
class Imputation:
    """A series whose missing values are filled.

    Attributes:
        item_id: of the series.
        start: time of the first value.
        target: what was given, (length,) or (channels, length), NaN where missing.
        samples: (num_samples, n): draws of the n missing values, in the order of `np.argwhere(np.isnan(target))`.
    """

    item_id: str
    start: pd.Period
    target: np.ndarray
    samples: np.ndarray

    def quantile(self, level: float) -> np.ndarray:
        """The target with its missing values at this quantile of their draws; of whole ones it is one of them.

        Raises:
            ConfigError: the level is not between 0 and 1.
        """
        checked(Chance, level=level)
        between, drawn = (np.quantile(self.samples, level, axis=0, method=how) for how in ("linear", "nearest"))
        whole = (self.samples == np.rint(self.samples)).all(axis=0)
        return self._filled(np.where(whole, drawn, between))

    @property
    def median(self) -> np.ndarray:
        """The target with its missing values at their median."""
        return self.quantile(0.5)

    @property
    def mean(self) -> np.ndarray:
        """The target with its missing values at their mean."""
        return self._filled(self.samples.mean(axis=0))

    def _filled(self, values: np.ndarray) -> np.ndarray:
        filled = self.target.copy()
        filled[np.isnan(filled)] = values
        return filled

    @property
    def paths(self) -> np.ndarray:
        """The target once for each draw, its missing values filled: (num_samples, …)."""
        filled = np.repeat(self.target[None], len(self.samples), axis=0)
        filled[:, np.isnan(self.target)] = self.samples
        return filled

    def to_frame(self, levels: Sequence[float] = TABLE_LEVELS) -> pd.DataFrame:
        """A long frame: item_id, timestamp (pd.Period), channel where there are several, value, imputed, mean, and a
        column a level; a value that was observed is its own mean and quantile."""
        rows = np.atleast_2d(self.target)
        channels, length = rows.shape
        columns: dict[str, object] = {"item_id": self.item_id}
        if self.target.ndim > 1:
            columns["channel"] = np.repeat(np.arange(channels), length)
        columns |= {"value": rows.ravel(), "imputed": np.isnan(rows).ravel(), "mean": self.mean.ravel()}
        columns |= {str(level): self.quantile(level).ravel() for level in levels}
        made = pd.DataFrame(columns)
        with quiet():
            times = pd.period_range(self.start, periods=length, freq=self.start.freq)
            made.insert(1, "timestamp", times.append([times] * (channels - 1)))
        return made


def joined(made: Sequence[Imputation]) -> Imputation:
    """One of the draws of several of the same series, in their order."""
    return replace(made[0], samples=np.concatenate([one.samples for one in made]))


class _Filling:
    """A series while its gaps are being filled: one draft for each sample, window after window."""

    def __init__(self, series: Series, num_samples: int):
        self.series = series
        self.drafts = np.repeat(series.values[:, None], num_samples, axis=1)  # (length, num_samples, channels)

    def next_window(self, config: TSDiffConfig) -> int | None:
        """First step of the window that fills the next gap, or None when nothing is missing."""
        gaps = np.flatnonzero(np.isnan(self.drafts[:, 0]).any(axis=1))
        if not len(gaps):
            return None
        last = len(self.series) - config.length
        return last if last <= 0 else int(np.clip(gaps[0] - config.length // 2, 0, last))

    def fill(self, first: int, windows: np.ndarray, config: TSDiffConfig) -> None:
        """Take missing values from a window's draws (num_samples, length, channels), in the series' units."""
        at_end = first >= len(self.series) - config.length
        begin, stop = max(first, 0), first + (config.length if at_end else round(_TRUSTED * config.length))
        part = self.drafts[begin:stop]
        drawn = windows[:, begin - first : stop - first].swapaxes(0, 1)
        if config.scaling == "anchor":
            drawn = self._in_order(drawn, begin)
        self.drafts[begin:stop] = np.where(np.isnan(part), drawn, part)

    def _in_order(self, drawn: np.ndarray, begin: int) -> np.ndarray:
        """Draws (steps, num_samples, channels) from step `begin` on, each where the draft is that it goes on from.

        A network that goes by the series' own values does not see the drafts: where both have filled a gap they are put
        together by how high they are there, as in `tsdiff.sampling.continued`.
        """
        filled = ~np.isnan(self.drafts[begin : begin + len(drawn), 0, 0])
        to_come = int(np.argmin(filled))
        known = ~np.isnan(self.series.values[begin : begin + to_come, 0])
        seam = slice(max(to_come - _SEAM, int(np.flatnonzero(known)[-1]) + 1 if known.any() else 0), to_come)
        if seam.start >= seam.stop:
            return drawn
        drafts = self.drafts[begin : begin + len(drawn)]
        ranks, order = (part[seam, :, 0].mean(axis=0).argsort(kind="stable") for part in (drafts, drawn))
        made = np.empty_like(drawn)
        made[:, ranks] = drawn[:, order]
        return made

    def result(self) -> Imputation:
        """What the drafts have come to."""
        series = self.series
        samples = self.drafts.transpose(1, 2, 0)[:, np.isnan(series.values).T]
        refuse_unfinite([samples], [f"imputation of series {series.name!r}"])
        target = np.asarray(series.target, dtype=np.float64)
        return Imputation(series.name, series.start, target[0] if target.shape[:-1] == (1,) else target, samples)


def impute_series(model: TSDiff, sampling: Sampling, group: Sequence[Series], num_samples: int) -> Iterator[Imputation]:
    """Fill the gaps of a few series, whose windows are drawn together.

    A window is laid around the first gap, its draws are taken, and the next one sees them as observed, each sample
    its own.

    Args:
        model: in evaluation mode.
        sampling: how to draw.
        group: series that hold observed values.
        num_samples: draws of every missing value.

    Yields:
        One Imputation a series, in order.

    Raises:
        DataError: a draw is not finite.
    """
    config, levels = model.config, quantile_levels(num_samples)
    fillings = [_Filling(series, num_samples) for series in group]
    while pairs := [(f, first) for f in fillings if (first := f.next_window(config)) is not None]:
        drawn = _drawn(model, sampling, pairs, levels)
        for (filling, first), windows in zip(pairs, drawn, strict=True):
            filling.fill(first, windows, config)
    for filling in fillings:
        yield filling.result()


def _drawn(model: TSDiff, sampling: Sampling, pairs: list[tuple[_Filling, int]], levels: np.ndarray) -> np.ndarray:
    """Draws of each window given its series' drafts, (windows, num_samples, length, channels), the series' units."""
    keys = [("impute", filling.series.name, first) for filling, first in pairs]

    def work(rows: Rows) -> np.ndarray:
        drafts = np.stack(
            [
                cut_with_lags(pairs[item][0].drafts[:, draw], pairs[item][1], model.config)
                for item, draw in zip(rows.items, rows.draws, strict=True)
            ]
        )
        known = rows.windows.to_network(drafts).astype(np.float32)
        windows = rows.windows.observing(torch.from_numpy(np.nan_to_num(known)), torch.from_numpy(~np.isnan(known)))
        return draw_windows(model, sampling, windows, levels[rows.draws], rows.generators(sampling.seed, keys))[0]

    places = [(filling.series, first) for filling, first in pairs]
    finish = partial(finished, sampling=sampling)
    return for_each_draw(model, places, len(levels), sampling.batch_rows, work, finish=finish)
