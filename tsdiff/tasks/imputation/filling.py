"""Filling gaps anywhere in a series, with intervals: the forecast's own guidance, with other values unobserved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from shared.errors import ConfigError, DataError
from shared.random import make_generator
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff
from tsdiff.sampling.drawing import draw_windows, quantile_levels
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.conditioning import Conditioning, Conditions, cut_with_lags, windows_of
from tsdiff.windows.entries import Series

# A gap that reaches past this share of a window is left to the next one, which sees both of its sides.
_TRUSTED = 0.75


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
        """The target with its missing values at this quantile of their draws.

        Raises:
            ConfigError: the level is not between 0 and 1.
        """
        if not 0 <= level <= 1:
            raise ConfigError(f"level={level}: a quantile's level lies between 0 and 1")
        return self._filled(np.quantile(self.samples, level, axis=0))

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

    def to_frame(self, levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> pd.DataFrame:
        """A long frame: item_id, timestamp (pd.Period), channel where there are several, value, imputed, mean, and a
        column a level; a value that was observed is its own mean and quantile."""
        rows = np.atleast_2d(self.target)
        channels, length = rows.shape
        columns: dict[str, object] = {
            "item_id": self.item_id,
            "timestamp": list(pd.period_range(self.start, periods=length, freq=self.start.freq)) * channels,
        }
        if self.target.ndim > 1:
            columns["channel"] = np.repeat(np.arange(channels), length)
        columns |= {"value": rows.ravel(), "imputed": np.isnan(rows).ravel(), "mean": self.mean.ravel()}
        return pd.DataFrame(columns | {str(level): self.quantile(level).ravel() for level in levels})


class _Filling:
    """A series while its gaps are being filled: one draft for each sample, window after window."""

    def __init__(self, series: Series, num_samples: int):
        self.series = series
        self.drafts = np.repeat(series.target[:, None], num_samples, axis=1)  # (length, num_samples, channels)

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
        self.drafts[begin:stop] = np.where(np.isnan(part), drawn, part)

    def result(self) -> Imputation:
        """What the drafts have come to."""
        series = self.series
        missing = np.isnan(series.target).T
        samples = self.drafts.transpose(1, 2, 0)[:, missing]
        if not np.isfinite(samples).all():
            raise DataError(
                f"the imputation of series {series.name!r} is not finite: its values leave the range of single "
                "precision, or the guidance is too strong; rescale the series or lower `scale`"
            )
        target = series.target.T if series.target.shape[1] > 1 else series.target[:, 0]
        return Imputation(series.name, series.start, target, samples)


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
    config = model.config
    fillings = [_Filling(series, num_samples) for series in group]
    while work := [(f, first) for f in fillings if (first := f.next_window(config)) is not None]:
        windows = windows_of([(f.series, first) for f, first in work], config, model.statistics)
        drawn = _draw(model, sampling, work, windows, num_samples)
        for (filling, first), window, draws in zip(work, windows, drawn, strict=True):
            filling.fill(first, window.drawn(draws, sampling.minimum, sampling.nonnegative), config)
    for filling in fillings:
        yield filling.result()


@torch.inference_mode(False)  # guidance differentiates, whatever mode the caller is in
def _draw(
    model: TSDiff,
    sampling: Sampling,
    work: Sequence[tuple[_Filling, int]],
    windows: Sequence[Conditioning],
    num_samples: int,
) -> np.ndarray:
    """Draws of each window given its series' drafts, (windows, num_samples, length, channels), network units."""
    config = model.config
    rows = [(place, draw) for place in range(len(work)) for draw in range(num_samples)]
    levels = quantile_levels(num_samples)
    out = np.empty((len(work), num_samples, config.length, config.channels), dtype=np.float32)
    for begin in range(0, len(rows), sampling.batch_rows):
        chunk = rows[begin : begin + sampling.batch_rows]
        places = torch.tensor([place for place, _ in chunk])
        drafts = np.stack([_draft(work[place], windows[place], draw, config) for place, draw in chunk])
        values, observed = torch.from_numpy(np.nan_to_num(drafts)), torch.from_numpy(~np.isnan(drafts))
        conditions = Conditions.stack(windows, config, places, model.device).observing(values, observed.float())
        generators = [
            make_generator(sampling.seed, "impute", work[place][0].series.name, work[place][1], draw)
            for place, draw in chunk
        ]
        drawn, _ = draw_windows(model, sampling, conditions, levels[[draw for _, draw in chunk]], generators)
        for (place, draw), window in zip(chunk, drawn.numpy(), strict=True):
            out[place, draw] = window[:, : config.channels]
    return out


def _draft(work: tuple[_Filling, int], window: Conditioning, draw: int, config: TSDiffConfig) -> np.ndarray:
    """What one sample knows of its window so far, (length, network_channels), network units, NaN where missing."""
    filling, first = work
    values = cut_with_lags(filling.drafts[:, draw], first, config)
    copies = 1 + len(config.lags)
    return ((values - np.tile(window.loc, copies)) / np.tile(window.scale, copies)).astype(np.float32)
