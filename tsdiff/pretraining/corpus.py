"""Training windows for a model of all frequencies: from groups of real and of synthetic series.

A window ends somewhere in a series. The part that will be the horizon, and how much of the rest is known, are drawn at
random, and the window is scaled by what is known, as it will be when the model forecasts any horizon from a history of
any length. What lies before the known part does not exist for the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from shared.errors import ConfigError, DataError
from shared.random import log_uniform
from shared.training.batches import Batch
from tsdiff.data.entries import Entry, named_entries, read_series
from tsdiff.data.frequency import shifted
from tsdiff.model.config import TSDiffConfig
from tsdiff.windows.anchors import seasons_of
from tsdiff.windows.calendar import SEASON_WIDTH, calendar_features
from tsdiff.windows.gaps import bridge
from tsdiff.windows.inputs import network_inputs
from tsdiff.windows.scales import Statistics, context_scale
from tsdiff.windows.simple import Seasons

_CLIP = 8.0
"""Deviations of the context beyond which training values are cut off."""

_FEWEST = 8
"""Known steps of the shortest context."""

_WHOLE, _FLIPPED = 0.6, 0.15
"""Chances of a window whose whole context is known, and of one turned upside down."""


@dataclass(frozen=True)
class Place:
    """A series in a group: its values, and where its features lie."""

    values: np.ndarray
    table: int
    shift: int


class CorpusGroup:
    """Series of one frequency that are drawn alike.

    Args:
        name: for messages.
        share: of the windows; shares need not add up to 1.
        places: the series.
        tables: features (steps, `SEASON_WIDTH`); those of a series' step i are row i + shift of its table.
        seasons: of the series.
    """

    def __init__(
        self,
        name: str,
        share: float,
        places: Sequence[Place],
        tables: Sequence[np.ndarray],
        seasons: Seasons = (0, 0),
    ):
        self.name, self.share, self.places, self.tables, self.seasons = name, share, places, tables, seasons

    @classmethod
    def of_entries(cls, name: str, share: float, entries: Iterable[Entry], length: int) -> CorpusGroup:
        """GluonTS entries of one frequency; those without an observed value are left out.

        Args:
            name, share: see the class.
            entries: "start", "target" (length,).
            length: steps of a window.

        Raises:
            DataError: none has an observed value.
        """
        places: list[Place] = []
        tables: list[np.ndarray] = []
        known: dict[tuple[pd.Period, int], int] = {}
        for item, entry in named_entries(entries):
            series = read_series(entry, item, covariates=())
            if series.empty:
                continue
            key = (series.start, len(series))
            if key not in known:
                known[key] = len(tables)
                tables.append(calendar_features(shifted(key[0], -length), key[1] + length, "season"))
            places.append(Place(series.values[:, 0], known[key], length))
        if not places:
            raise DataError(f"group {name!r}: no series holds an observed value")
        return cls(name, share, places, tables, seasons_of(series.start.freqstr))

    def features(self, place: Place, first: int, length: int) -> np.ndarray:
        """Features (length, `SEASON_WIDTH`) of a series from one of its steps on, a copy; 0 before its table begins."""
        rows = self.tables[place.table][max(first + place.shift, 0) : first + place.shift + length]
        return np.concatenate([np.zeros((length - len(rows), SEASON_WIDTH), np.float32), rows])

    def window(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Values (length,), NaN where missing, features (length, `SEASON_WIDTH`), and the series' place.

        It ends in the series; where that is shorter than a window, in the later half of it.
        """
        number = int(rng.integers(len(self.places)))
        place = self.places[number]
        count = len(place.values)
        least = length if count >= length else max(count // 2, min(count, 2 * _FEWEST))
        end = int(rng.integers(least, count + 1))
        first = end - length
        values = np.full(length, np.nan)
        values[max(-first, 0) :] = place.values[max(first, 0) : end]
        features = self.features(place, first, length)
        features[:, -1] = np.arange(first, end) < 0
        return values, features, number


@dataclass(frozen=True)
class Corpus:
    """What a model of all frequencies is trained on.

    Attributes:
        real: groups of real series.
        synthetic: groups of synthetic ones.
    """

    real: Sequence[CorpusGroup]
    synthetic: Sequence[CorpusGroup] = ()


class GroupDraw:
    """Draws the groups of a corpus by their shares.

    Args:
        corpus: of series.
        synthetic_share: of the draws; the real groups have the rest.

    Raises:
        ConfigError: there is no group to draw.
    """

    def __init__(self, corpus: Corpus, synthetic_share: float):
        self.groups = [*corpus.real, *corpus.synthetic]
        shares = [(corpus.real, 1 - synthetic_share), (corpus.synthetic, synthetic_share)]
        weights = [part * g.share / sum(g.share for g in groups) for groups, part in shares for g in groups]
        if not self.groups or sum(weights) <= 0:
            raise ConfigError("the corpus has no group of series to draw from; give one, or change synthetic_share")
        self._cumulative = np.cumsum(weights) / sum(weights)

    def __call__(self, rng: np.random.Generator) -> CorpusGroup:
        """One group."""
        return self.groups[int(np.searchsorted(self._cumulative, rng.random(), side="right"))]


class CorpusSource:
    """Draws training windows of a corpus. A `shared.training.batches.BatchSource`.

    Args:
        corpus: of series.
        config: of the model: calendar "season", one channel, nothing else that a network takes.
        batch_size: windows in a batch.
        horizons: smallest and largest horizon drawn (log-uniform); None takes 1 … prediction_length.
        synthetic_share: of the windows; the real groups have the rest.
        whole: chance that the whole context is known.

    Raises:
        ConfigError: a model that takes other windows, no group, or horizons that do not fit a window.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: TSDiffConfig,
        batch_size: int = 64,
        *,
        horizons: tuple[int, int] | None = None,
        synthetic_share: float = 0.5,
        whole: float = _WHOLE,
    ):
        if not config.universal or config.network_channels > 1 or config.dynamic_features or config.static_features:
            raise ConfigError(
                "only models of all frequencies (calendar='season') with one channel and no covariates, as 'default' "
                f"is, learn from any series; this one has calendar={config.calendar!r}, {config.channels} channels and "
                f"{config.dynamic_features + config.static_features} covariates"
            )
        low, high = horizons or (1, config.prediction_length)
        if not 1 <= low <= high < config.length:
            raise ConfigError(f"horizons={horizons}: need 1 <= smallest <= largest < {config.length}, the window")
        self.config, self.batch_size, self.whole = config, batch_size, whole
        self.low, self.high = low, high
        self.draw_group = GroupDraw(corpus, synthetic_share)

    def batch(self, rng: np.random.Generator) -> Batch:
        """x0 and mask (batch, length, 1), and the features."""
        config, length = self.config, self.config.length
        windows = np.empty((self.batch_size, length))
        features = np.empty((self.batch_size, length, SEASON_WIDTH), dtype=np.float32)
        contexts = np.full((self.batch_size, length), np.nan)
        ids = []
        for row in range(self.batch_size):
            for _ in range(20):
                group = self.draw_group(rng)
                windows[row], features[row], number = group.window(rng, length)
                horizon = int(log_uniform(rng, self.low, self.high + 1))
                known = self._known(rng, length - horizon)
                first = length - horizon - known
                windows[row, :first] = np.nan
                features[row, :first, -1] = 1.0
                contexts[row] = np.nan
                contexts[row, first : length - horizon] = windows[row, first : length - horizon]
                if not np.isnan(contexts[row]).all():
                    break
            else:
                raise DataError(f"group {group.name!r}: 20 windows in a row hold no observed value; leave it out")
            ids.append(f"{group.name}, series {number}")
        loc, scale = context_scale(contexts, config.scaling, contexts)
        units = np.clip((windows - loc) / scale, -_CLIP, _CLIP).astype(np.float32)
        units *= np.where(rng.random((self.batch_size, 1)) < _FLIPPED, np.float32(-1), np.float32(1))
        filled, observed = bridge(units[..., None])
        filled *= 1 - features[..., -1:]
        return Batch(
            torch.from_numpy(filled),
            mask=torch.from_numpy(observed),
            condition=network_inputs(config, Statistics(), scale=scale, calendar=list(features)),
            ids=ids,
        )

    def _known(self, rng: np.random.Generator, context: int) -> int:
        """Known steps of a context."""
        if rng.random() < self.whole or context <= _FEWEST:
            return context
        return int(log_uniform(rng, _FEWEST, context))
